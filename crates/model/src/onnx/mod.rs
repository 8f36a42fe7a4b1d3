//! Reads ONNX models.
//!
//! Files as `PyTorch`'s exporters (`TorchScript` and dynamo), `TensorFlow`'s and Keras's write them: arithmetic on shapes and
//! constants is done while loading, the batch stays free even where the file fixes it, channels come second even
//! where the file has them last, and the layers carry the nodes' names.

mod batch;
mod call;
mod ends;
mod external;
mod guard;
mod import;
mod input;
mod layout;
pub(crate) mod metadata;
mod operators;
mod order;
pub(crate) mod proto;
pub(crate) mod tensor;
mod unroll;
mod value;

use crate::layer_names::of_scopes;
use crate::{Graph, GraphBuilder, NodeId, Op};
use batch::Lead;
use candle_core::DType;
use external::External;
use faithful_core::{Error, Result, read_file};
use import::{Importer, Scope};
use input::{Input, Way};
use prost::Message;
use std::collections::{BTreeMap, HashSet};
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
    /// The value that the network gives, by its name or its number among the outputs; the first output of floating-point
    /// numbers unless another is named, or boxes and classes where the first are those of a detection. Several by commas become one
    /// row, one after the other.
    pub output: Option<String>,
    /// The values of inputs other than the one that is explained: one row's, or one number for all.
    pub inputs: BTreeMap<String, Vec<f64>>,
}

/// The node of a network with several outputs that has all in one row.
pub(crate) const SEVERAL: &str = "outputs";
/// Likewise, where they are the boxes and the scores that a suppression of boxes takes.
pub(crate) const BOXES_AND_SCORES: &str = "boxes and scores";
/// Likewise, where boxes are given by their middles.
pub(crate) const CENTRES_AND_SCORES: &str = "centres and scores";

/// A network with what its file says beside it.
pub(crate) struct Imported {
    pub(crate) graph: Graph,
    /// The outputs that can be explained.
    pub(crate) outputs: Vec<String>,
    /// Files beside it that hold its data.
    pub(crate) files: Vec<PathBuf>,
    /// The paths of the modules that made its nodes, by the nodes' names, where the exporter noted them.
    pub(crate) modules: BTreeMap<String, String>,
    /// Those that the graph gives, by commas.
    pub(crate) output: String,
    /// Whether they are what a suppression of boxes takes, in place of what it gives.
    suppressed: bool,
    /// Whether the file leaves the size of its pictures free.
    pub(crate) free_size: bool,
    /// How many rows the file computes for each input: the batch that it fixes, where it cannot be freed.
    copies: usize,
}

impl Imported {
    /// The node that has the value of the file's output, before it became rows.
    pub(crate) fn output_node(&self) -> NodeId {
        let last = self.graph.output();
        let node = self.graph.node(last);
        match node.inputs.as_slice() {
            [before] if node.name == format!("{}/rows", self.output) => *before,
            _ => last,
        }
    }

    /// What people should know of the file, a sentence each; `chosen` where they chose the output.
    pub(crate) fn notes(&self, chosen: bool) -> Vec<String> {
        let mut notes = Vec::new();
        if self.suppressed {
            let own = &self.output;
            notes.push(format!(
                "the file suppresses boxes; what goes into that is taken in place of its outputs ({own})"
            ));
        } else if self.outputs.len() > 1 && !chosen {
            let (all, own) = (self.outputs.join(", "), &self.output);
            notes.push(format!("the file has several outputs ({all}); `{own}` is taken: --output names another"));
        }
        if self.copies > 1 {
            let times = self.copies;
            notes.push(format!(
                "the file is for {times} inputs at once and cannot be freed of that: each is computed {times} times; an \
                 export for one, or with an open batch, is faster"
            ));
        }
        notes
    }
}

/// Reads the model in `path`; weights may lie in files beside it.
///
/// The output is `(N, K)`: further axes are flattened. See [`read_onnx`] for errors, and [`Error::Io`] where a file
/// cannot be read.
pub fn load_onnx(path: &Path, options: &OnnxOptions) -> Result<Graph> {
    Ok(import_onnx(path, options)?.graph)
}

/// [`load_onnx`], and what the file says beside the network.
pub(crate) fn import_onnx(path: &Path, options: &OnnxOptions) -> Result<Imported> {
    let bytes = read_file(path)?;
    let external = External::beside(path)?;
    let imported = read(bytes.into(), &external, options)?;
    Ok(Imported { files: external.files(), ..imported })
}

/// Reads a model that is complete in itself from memory.
///
/// # Errors
/// [`Error::Format`] where `bytes` are no ONNX model, damaged or contradictory; [`Error::Unsupported`] with every
/// operator (and the name of its node) that is not implemented; [`Error::Shape`] where shapes do not fit;
/// [`Error::NotFinite`] where a weight is not a number.
pub fn read_onnx(bytes: &[u8], options: &OnnxOptions) -> Result<Graph> {
    Ok(read(bytes.to_vec().into(), &External::none(), options)?.graph)
}

fn read(bytes: prost::bytes::Bytes, external: &External, options: &OnnxOptions) -> Result<Imported> {
    let not_onnx = |reason: String| Error::format("ONNX model", reason);
    if bytes.is_empty() {
        return Err(not_onnx("the file is empty".into()));
    }
    let model = proto::Model::decode(bytes).map_err(|error| {
        let reason = format!("it is damaged, cut short or no ONNX file: {error}");
        Error::format_because("ONNX model", reason, error)
    })?;
    let file = model.graph.as_ref().filter(|graph| !graph.node.is_empty());
    let file = file.ok_or_else(|| not_onnx("it holds no graph; is it an ONNX file?".into()))?;
    // It stands at the end of what exporters write: a file that was cut short may lack nothing else.
    if model.opset_import.is_empty() {
        return Err(not_onnx("it says no version of its operators: it is cut short, or from before ONNX 1.0".into()));
    }
    let stored: HashSet<&str> = file.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let inputs: Vec<&proto::ValueInfo> =
        file.input.iter().filter(|input| !stored.contains(input.name.as_str())).collect();
    let outputs = ends::outputs(file);
    let mut chosen = ends::chosen(file, &outputs, options.output.as_deref())?;
    let known: HashSet<&str> = stored.iter().copied().chain(inputs.iter().map(|input| input.name.as_str())).collect();
    let mut order = order::needed(&file.node, &known, &chosen)?;
    let before = ends::before_suppression(order.iter().map(|&index| &file.node[index]));
    let (before, several) = before.map_or((None, SEVERAL), |(before, name)| (Some(before), name));
    let suppressed = before.is_some();
    if let Some(before) = before {
        chosen = before.to_vec();
        order = order::needed(&file.node, &known, &chosen)?;
    }

    // Only inputs that the outputs need count: exporters leave others behind.
    let read: HashSet<&str> =
        order.iter().flat_map(|&index| order::operands(&file.node[index])).chain(chosen.iter().copied()).collect();
    let used: Vec<&proto::ValueInfo> = inputs.iter().copied().filter(|i| read.contains(i.name.as_str())).collect();
    let (input, fixed) = ends::inputs(&inputs, &used, &options.inputs)?;

    let whole =
        Whole { model: &model, file, external, outputs: &chosen, several, order: &order, read: &read, fixed: &fixed };
    let source = Input::of(input, file)?;
    let vector = file.output.iter().any(|one| chosen == [one.name.as_str()] && rank(one) == Some(1));
    let mut failed: Option<Error> = None;
    for way in source.ways(vector) {
        match whole.read_by(way, &source, options) {
            Ok(mut graph) => {
                graph.of_bytes = source.of_bytes;
                if let Err(error) = graph.check_finite() {
                    return Err(broken_tensor(file, &read, external)?.unwrap_or(error));
                }
                let copies = if let Way::AsWritten(Lead::Batch(rows)) = way { rows } else { 1 };
                let outputs = outputs.iter().map(ToString::to_string).collect();
                let (modules, output, free_size) = (modules(&model), chosen.join(","), source.is_free());
                return Ok(Imported {
                    graph,
                    outputs,
                    files: Vec::new(),
                    modules,
                    output,
                    suppressed,
                    free_size,
                    copies,
                });
            }
            // As the file writes it, all of its sizes are known: what is wrong then is said most plainly.
            Err(error) if failed.is_none() || matches!(way, Way::AsWritten(Lead::Batch(_))) => failed = Some(error),
            Err(_) => {}
        }
    }
    Err(failed.unwrap_or_else(|| not_onnx("its graph has no input".into())))
}

/// The paths of the modules that made a file's nodes, where `PyTorch`'s exporter noted them.
fn modules(model: &proto::Model) -> BTreeMap<String, String> {
    let nodes = model.graph.iter().flat_map(|graph| &graph.node);
    let noted = nodes.filter_map(|node| {
        let scopes = node.metadata_props.iter().find(|entry| entry.key == "pkg.torch.onnx.name_scopes")?;
        Some((order::label(node).to_owned(), of_scopes(&scopes.value)?))
    });
    noted.collect()
}

/// What is read of a file.
struct Whole<'a> {
    model: &'a proto::Model,
    file: &'a proto::Graph,
    external: &'a External,
    /// What the network gives: several become one row.
    outputs: &'a [&'a str],
    /// What several are called together.
    several: &'static str,
    /// The nodes that they need, in order.
    order: &'a [usize],
    /// The names that they read.
    read: &'a HashSet<&'a str>,
    /// The inputs that have a value.
    fixed: &'a [(String, Value)],
}

impl Whole<'_> {
    fn read_by(&self, way: Way, source: &Input, options: &OnnxOptions) -> Result<Graph> {
        let mut importer = Importer::new(self.model, self.external.clone(), way.batches());
        self.outputs.iter().for_each(|output| importer.also_read(output));
        let mut scope = Scope::new();
        let node = source.declare(&mut importer, way, options)?;
        scope.insert(source.name.to_owned(), Value::Node(node));
        scope.extend(self.fixed.iter().cloned());
        for tensor in self.file.initializer.iter().filter(|tensor| self.read.contains(tensor.name.as_str())) {
            scope.insert(tensor.name.clone(), tensor::read(tensor, &importer.external)?);
        }
        for &index in self.order {
            importer.read(&self.file.node[index], &mut scope, 0)?;
        }
        if !importer.unsupported.is_empty() {
            importer.unsupported.dedup();
            return Err(Error::Unsupported(importer.unsupported));
        }
        let (last, name) = self.last(&mut importer, &scope)?;
        guard::branches(&mut importer.nodes);
        let input_shape = |importer: &Importer, lead: usize| -> Vec<usize> {
            importer.node_sizes(NodeId(0)).iter().skip(lead).map(|size| size.constant as usize).collect()
        };
        match way {
            Way::Free => {
                let last = as_rows(&mut importer, name, last)?;
                let input_shape = input_shape(&importer, 1);
                GraphBuilder::from_nodes(importer.nodes, input_shape).finish(last)?.folded()
            }
            Way::AsWritten(lead) => {
                let (nodes, last) = batch::put_before(&importer.nodes, &importer.shapes(), lead, last, name)?;
                let input_shape = input_shape(&importer, usize::from(lead != Lead::Own));
                GraphBuilder::from_nodes(nodes, input_shape).finish(last)?.folded()
            }
        }
    }
}

impl Whole<'_> {
    /// The node of the output, or of all outputs in one row; and what it is called.
    fn last(&self, importer: &mut Importer, scope: &Scope) -> Result<(NodeId, &str)> {
        let find = |output: &&str| {
            if let Some(Value::Node(node)) = scope.get(*output) {
                return Ok(*node);
            }
            Err(Error::format("ONNX model", format!("its output `{output}` does not depend on its input")))
        };
        let nodes = self.outputs.iter().map(find).collect::<Result<Vec<_>>>()?;
        if let ([node], [name]) = (nodes.as_slice(), self.outputs) {
            return Ok((*node, name));
        }
        let name = self.several;
        let mut all = Vec::new();
        for (node, output) in nodes.into_iter().zip(self.outputs) {
            all.push(match rows(importer.node_sizes(node).len()) {
                Some(op) => importer.push(&format!("{output}/rows"), op, vec![node])?,
                None => node,
            });
        }
        Ok((importer.push(name, Op::Concat { axis: 1 }, all)?, name))
    }
}

/// The number of axes that the file declares of a value.
fn rank(value: &proto::ValueInfo) -> Option<usize> {
    Some(value.r#type.as_ref()?.tensor.as_ref()?.shape.as_ref()?.dim.len())
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

/// The output as `(N, K)`.
fn as_rows(importer: &mut Importer, name: &str, node: NodeId) -> Result<NodeId> {
    let sizes = importer.node_sizes(node);
    let batch = Size { constant: 0, batches: 1 };
    if sizes.first() != Some(&batch) || sizes[1..].iter().any(|size| size.batches != 0) {
        let reason = "its first axis is not the batch, or another axis grows with the batch";
        return Err(Error::format(format!("output `{name}`"), reason));
    }
    match rows(sizes.len()) {
        Some(op) => importer.push(&format!("{name}/rows"), op, vec![node]),
        None => Ok(node),
    }
}

/// What makes `(N, K)` of a value of so many axes, the batch included.
fn rows(rank: usize) -> Option<Op> {
    match rank {
        1 => Some(Op::Unsqueeze(vec![1])),
        2 => None,
        _ => Some(Op::Flatten { axis: 1 }),
    }
}
