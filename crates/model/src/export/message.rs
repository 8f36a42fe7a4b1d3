//! The file around the operators.

use super::OnnxWriter;
use super::symbol::{Extent, Symbol, fixed};
use crate::onnx::proto;
use crate::onnx::tensor::element;
use faithful_core::{Error, Result};
use prost::Message;

/// The operator set that is written: the first with layer normalisation, which every current runtime reads.
const OPSET: i64 = 17;
/// ONNX's format number that goes with it.
const FORMAT: i64 = 8;
/// Values of at least so many bytes go into the file beside, where there is one.
const OUTSIDE: usize = 1024;

/// What a file says of itself.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The graph's name.
    pub name: String,
    /// A sentence for people.
    pub description: String,
    /// Pairs for programs.
    pub properties: Vec<(String, String)>,
}

/// A complete file.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The ONNX model.
    pub model: Vec<u8>,
    /// What goes into the file of data beside it.
    pub data: Option<Vec<u8>>,
}

impl OnnxWriter {
    /// The ONNX file with these inputs and outputs, which have their names, and the [given](Self::given) inputs; `whole` inputs are of whole numbers. With
    /// `beside`, the name of a file, large constants go there.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with everything that could not be written.
    pub fn finish(
        self,
        [inputs, whole, outputs]: [&[Symbol]; 3],
        about: &About,
        beside: Option<&str>,
    ) -> Result<Encoded> {
        let Self { nodes, mut initializers, missing, given, .. } = self;
        if !missing.is_empty() {
            return Err(Error::Unsupported(missing));
        }
        let data = beside.map(|file| move_out(&mut initializers, file));
        let batch = inputs.first().and_then(|input| input.shape.first()).copied();
        let declared = |symbol: &Symbol, kind: i32| declared(symbol, kind, batch);
        let pair = |(key, value): &(String, String)| proto::Property {
            key: key.as_bytes().to_vec(),
            value: value.as_bytes().to_vec(),
        };
        let graph = proto::Graph {
            name: about.name.as_bytes().to_vec(),
            node: nodes,
            initializer: initializers,
            input: inputs
                .iter()
                .map(|input| declared(input, element::FLOAT))
                .chain(whole.iter().map(|input| declared(input, element::INT64)))
                .chain(given.iter().map(|input| declared(input, element::FLOAT)))
                .collect(),
            output: outputs.iter().map(|output| declared(output, element::FLOAT)).collect(),
        };
        let model = proto::Model {
            ir_version: FORMAT,
            producer_name: "faithful".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            doc_string: about.description.as_bytes().to_vec(),
            graph: Some(graph),
            opset_import: vec![proto::OperatorSet { domain: String::new(), version: OPSET }],
            functions: Vec::new(),
            metadata_props: about.properties.iter().map(pair).collect(),
        };
        if model.encoded_len() > i32::MAX as usize {
            return Err(Error::internal("a file of more than 2 GiB, which needs a file of data beside it"));
        }
        Ok(Encoded { model: model.encode_to_vec(), data })
    }
}

/// Moves the values of large constants out of the file; each begins at a multiple of 4096, as memory maps need it.
fn move_out(tensors: &mut [proto::Tensor], file: &str) -> Vec<u8> {
    let mut all: Vec<u8> = Vec::new();
    for tensor in tensors {
        let Some(data) = tensor.raw_data.take_if(|data| data.len() >= OUTSIDE) else { continue };
        all.resize(all.len().next_multiple_of(4096), 0);
        let entry = |key: &str, value: String| proto::Entry { key: key.into(), value };
        tensor.data_location = 1;
        tensor.external_data = vec![
            entry("location", file.into()),
            entry("offset", all.len().to_string()),
            entry("length", data.len().to_string()),
        ];
        all.extend_from_slice(&data);
    }
    all
}

/// A value's type; the batch has a name, and other sizes that are free have none.
fn declared(symbol: &Symbol, kind: i32, batch: Option<Extent>) -> proto::ValueInfo {
    let dimension = |extent: &Extent| proto::Dimension {
        value: fixed(*extent).map(|size| size as i64),
        name: if Some(*extent) == batch && fixed(*extent).is_none() { b"batch".to_vec() } else { Vec::new() },
    };
    let shape = proto::Shape { dim: symbol.shape.iter().map(dimension).collect() };
    let tensor = proto::TensorType { element: kind, shape: Some(shape) };
    proto::ValueInfo { name: symbol.name.clone(), r#type: Some(proto::Type { tensor: Some(tensor) }) }
}
