//! Reads ONNX models.
//!
//! Files as `PyTorch`'s exporters (`TorchScript` and dynamo), `TensorFlow`'s and Keras's write them: arithmetic on shapes and
//! constants is done while loading, the batch stays free even where the file fixes it, channels come second even
//! where the file has them last, and the layers carry the nodes' names.

mod call;
mod external;
mod import;
mod layout;
mod operators;
mod order;
mod proto;
mod tensor;
mod value;

use crate::{Graph, GraphBuilder, NodeId, Op};
use candle_core::DType;
use external::External;
use faithful_core::{Error, Result, read_file};
use import::{Importer, Scope};
use prost::Message;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use value::{Size, Value};

/// How an ONNX model is read. The default takes everything from the file.
#[derive(Clone, Debug, Default)]
pub struct OnnxOptions {
    /// The shape of one input without the batch: `[3, 224, 224]`. Needed where the file leaves it free, and for
    /// another size than the file's.
    pub input_shape: Option<Vec<usize>>,
    /// The size `[height, width]` of a picture where the file leaves it free; `ImageNet`'s where this is not given either.
    pub free_size: Option<[usize; 2]>,
    /// The value that the network gives, where it is not the file's first output.
    pub output: Option<String>,
}

/// Reads the model in `path`; weights may lie in files beside it.
///
/// The output is `(N, K)`: further axes are flattened. See [`read_onnx`] for errors, and [`Error::Io`] where a file
/// cannot be read.
pub fn load_onnx(path: &Path, options: &OnnxOptions) -> Result<Graph> {
    load_with_files(path, options).map(|(graph, _)| graph)
}

/// As [`load_onnx`], with the files beside the model that hold its data.
pub(crate) fn load_with_files(path: &Path, options: &OnnxOptions) -> Result<(Graph, Vec<PathBuf>)> {
    let bytes = read_file(path)?;
    let external = External::beside(path)?;
    let graph = read(bytes.into(), &external, options)?;
    Ok((graph, external.files()))
}

/// Reads a model that is complete in itself from memory.
///
/// # Errors
/// [`Error::Format`] where `bytes` are no ONNX model, damaged or contradictory; [`Error::Unsupported`] with every
/// operator (and the name of its node) that is not implemented; [`Error::Shape`] where shapes do not fit;
/// [`Error::NotFinite`] where a weight is not a number.
pub fn read_onnx(bytes: &[u8], options: &OnnxOptions) -> Result<Graph> {
    read(bytes.to_vec().into(), &External::none(), options)
}

fn read(bytes: prost::bytes::Bytes, external: &External, options: &OnnxOptions) -> Result<Graph> {
    let not_onnx = |reason: String| Error::format("ONNX model", reason);
    if bytes.is_empty() {
        return Err(not_onnx("the file is empty".into()));
    }
    let model = proto::Model::decode(bytes)
        .map_err(|error| not_onnx(format!("it is damaged, cut short or no ONNX file: {error}")))?;
    let file = model.graph.as_ref().filter(|graph| !graph.node.is_empty());
    let file = file.ok_or_else(|| not_onnx("it holds no graph; is it an ONNX file?".into()))?;
    // It stands at the end of what exporters write: a file that was cut short may lack nothing else.
    if model.opset_import.is_empty() {
        return Err(not_onnx("it says no version of its operators: it is cut short, or from before ONNX 1.0".into()));
    }
    let stored: HashSet<&str> = file.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let inputs: Vec<&proto::ValueInfo> =
        file.input.iter().filter(|input| !stored.contains(input.name.as_str())).collect();
    let outputs: Vec<&str> = file.output.iter().map(|output| output.name.as_str()).collect();
    let output = match &options.output {
        Some(name) => name.as_str(),
        None => outputs.first().copied().ok_or_else(|| not_onnx("its graph has no output".into()))?,
    };
    let known: HashSet<&str> = stored.iter().copied().chain(inputs.iter().map(|input| input.name.as_str())).collect();
    let order = order::needed(&file.node, &known, output)?;

    // Only inputs that the output needs count: exporters leave others behind.
    let read: HashSet<&str> =
        order.iter().flat_map(|&index| order::operands(&file.node[index])).chain(std::iter::once(output)).collect();
    let used: Vec<&proto::ValueInfo> = inputs.iter().copied().filter(|i| read.contains(i.name.as_str())).collect();
    let [input] = used.as_slice() else {
        let names: Vec<&str> = used.iter().map(|input| input.name.as_str()).collect();
        return Err(Error::Unsupported(vec![format!("a model with {} inputs ({})", names.len(), names.join(", "))]));
    };

    let mut importer = Importer::new(&model, external.clone());
    importer.also_read(output);
    let mut scope = Scope::new();
    let source = declare(&mut importer, input, options)?;
    scope.insert(input.name.clone(), Value::Node(source));
    for tensor in file.initializer.iter().filter(|tensor| read.contains(tensor.name.as_str())) {
        scope.insert(tensor.name.clone(), tensor::read(tensor, &importer.external)?);
    }
    for index in order {
        importer.read(&file.node[index], &mut scope, 0)?;
    }
    if !importer.unsupported.is_empty() {
        importer.unsupported.dedup();
        return Err(Error::Unsupported(importer.unsupported));
    }
    let Some(Value::Node(last)) = scope.get(output) else {
        return Err(not_onnx(format!("its output `{output}` does not depend on its input")));
    };
    let last = as_rows(&mut importer, output, *last)?;
    let input_shape = importer.node_sizes(NodeId(0))[1..].iter().map(|size| size.constant as usize).collect();
    let graph = GraphBuilder::from_nodes(importer.nodes, input_shape).finish(last)?.folded()?;
    match graph.check_finite() {
        Ok(()) => Ok(graph),
        Err(error) => Err(broken_tensor(file, &read, external)?.unwrap_or(error)),
    }
}

/// The first stored tensor with NaN or infinity, by its name in the file; none where arithmetic made it.
fn broken_tensor(file: &proto::Graph, read: &HashSet<&str>, external: &External) -> Result<Option<Error>> {
    for tensor in file.initializer.iter().filter(|tensor| read.contains(tensor.name.as_str())) {
        let Value::Constant(values) = tensor::read(tensor, external)? else { continue };
        let values = values.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
        // Minus infinity is how a constant masks attention.
        let broken = |value: &f32| value.is_nan() || *value == f32::INFINITY;
        if let Some(first) = values.iter().position(broken) {
            let place = Some(format!("element {first} of {} ({})", values.len(), values[first]));
            return Ok(Some(Error::NotFinite { what: format!("tensor `{}`", tensor.name), place }));
        }
    }
    Ok(None)
}

/// Appends the input, and behind it a transposition where the file has channels last.
fn declare(importer: &mut Importer, input: &proto::ValueInfo, options: &OnnxOptions) -> Result<NodeId> {
    let what = || format!("input `{}`", input.name);
    let declared = input.r#type.as_ref().and_then(|kind| kind.tensor.as_ref());
    let declared = declared.ok_or_else(|| Error::format(what(), "it is no tensor"))?;
    if !tensor::element::is_float(declared.element) && declared.element != 0 {
        let reason = format!("{} is not of floating-point numbers (element type {})", what(), declared.element);
        return Err(Error::Unsupported(vec![reason]));
    }
    let sizes: Option<Vec<Option<usize>>> = declared.shape.as_ref().map(|shape| {
        shape
            .dim
            .iter()
            .map(|dim| dim.value.filter(|&size| size > 0).and_then(|size| usize::try_from(size).ok()))
            .collect()
    });
    if let Some((batch, _)) = sizes.as_ref().and_then(|sizes| sizes.split_first()) {
        importer.fixed_batch = batch.map(|batch| batch as i64);
    }
    let own = sizes.as_ref().and_then(|sizes| sizes.get(1..)).map(<[Option<usize>]>::to_vec);
    // Pictures have one, three or four channels.
    let channels = |size: &Option<usize>| matches!(size, Some(1 | 3 | 4));
    let last = matches!(own.as_deref(), Some([first, _, third]) if channels(third) && !channels(first));
    let shape: Vec<usize> = match (&options.input_shape, own) {
        (Some(given), Some(own)) if given.len() != own.len() => {
            return Err(Error::shape(what(), format!("{} axes without the batch", own.len()), given));
        }
        (Some(given), _) => given.clone(),
        (None, Some(own)) => {
            let sizes: Option<Vec<usize>> = own.iter().copied().collect();
            let order = |sizes: Vec<usize>| if last { vec![sizes[2], sizes[0], sizes[1]] } else { sizes };
            match (sizes, own.as_slice()) {
                (Some(sizes), _) => order(sizes),
                (None, [first, second, third]) if channels(first) || last => {
                    let (c, h, w) = if last { (third, first, second) } else { (first, second, third) };
                    let [height, width] = options.free_size.unwrap_or([224, 224]);
                    vec![c.unwrap_or(3), h.unwrap_or(height), w.unwrap_or(width)]
                }
                _ => return Err(Error::format(what(), "its size is free; give the input shape")),
            }
        }
        (None, None) => return Err(Error::format(what(), "its shape is missing; give the input shape")),
    };
    let node = importer.input(&input.name, &shape)?;
    if last {
        return importer.push(&format!("{}/channels-last", input.name), Op::Transpose(vec![0, 2, 3, 1]), vec![node]);
    }
    Ok(node)
}

/// The output as `(N, K)`.
fn as_rows(importer: &mut Importer, name: &str, node: NodeId) -> Result<NodeId> {
    let sizes = importer.node_sizes(node);
    let batch = Size { constant: 0, batches: 1 };
    if sizes.first() != Some(&batch) || sizes[1..].iter().any(|size| size.batches != 0) {
        let reason = "its first axis is not the batch, or another axis grows with the batch";
        return Err(Error::format(format!("output `{name}`"), reason));
    }
    match sizes.len() {
        1 => importer.push(&format!("{name}/rows"), Op::Unsqueeze(vec![1]), vec![node]),
        2 => Ok(node),
        _ => importer.push(&format!("{name}/rows"), Op::Flatten { axis: 1 }, vec![node]),
    }
}
