//! Builds the graph's nodes while the file's are read one after the other.

use super::call::Call;
use super::external::External;
use super::layout;
use super::operators;
use super::order::label;
use super::proto;
use super::value::{Integers, Size, Value};
use crate::op::{self, choice::Choose, shape};
use crate::{Dim, Node, NodeId, Op};
use candle_core::{DType, Device, Tensor, TensorId};
use faithful_core::{BackwardRule, Error, Result};
use std::collections::{HashMap, HashSet};

/// Two sizes of a free batch for which shapes are inferred; a size that is linear in the batch follows from them.
pub(super) const FREE: [usize; 2] = [2, 3];

/// No constant that is computed while loading has more elements: a file that asks for it is damaged.
const LARGEST_CONSTANT: usize = 1 << 24;

/// What names stand for.
pub(super) type Scope = HashMap<String, Value>;

/// A graph in the making.
pub(super) struct Importer<'a> {
    pub(super) nodes: Vec<Node>,
    /// The sizes of the batch for which shapes are inferred, [`FREE`] or the same twice.
    batches: [usize; 2],
    shapes: Vec<[Vec<usize>; 2]>,
    names: HashSet<String>,
    repeats: HashMap<String, usize>,
    constants: HashMap<TensorId, NodeId>,
    /// The size that the file gives the batch, where it gives one.
    pub(super) fixed_batch: Option<i64>,
    opset: i64,
    functions: HashMap<(&'a str, &'a str), &'a proto::Function>,
    /// The element types of names, where the file says them.
    elements: HashMap<&'a str, i32>,
    /// Every name that a node reads or that is an output.
    read: HashSet<&'a str>,
    pub(super) external: External,
    /// Matrices and what they are transposed, so that the steps of a loop share one copy.
    transposed: HashMap<TensorId, (Tensor, Tensor)>,
    /// How many operators the steps of loops had so far.
    pub(super) unrolled: usize,
    pub(super) unsupported: Vec<String>,
}

impl<'a> Importer<'a> {
    /// Shapes are inferred for two sizes of the batch: [`FREE`], or twice the one that shapes in the file are written for.
    pub(super) fn new(model: &'a proto::Model, external: External, batches: [usize; 2]) -> Self {
        let opset = model.opset_import.iter().find(|set| matches!(set.domain.as_str(), "" | "ai.onnx"));
        let mut read = HashSet::new();
        let graphs = model.graph.iter().flat_map(|graph| &graph.node);
        read_names(graphs.chain(model.functions.iter().flat_map(|function| &function.node)), &mut read);
        read.extend(model.graph.iter().flat_map(|graph| graph.output.iter().map(|output| output.name.as_str())));
        read.extend(model.functions.iter().flat_map(|function| function.output.iter().map(String::as_str)));
        let elements = model.graph.iter().flat_map(elements).collect();
        let functions = model.functions.iter().map(|f| ((f.domain.as_str(), f.name.as_str()), f)).collect();
        Self {
            nodes: Vec::new(),
            batches,
            shapes: Vec::new(),
            names: HashSet::new(),
            repeats: HashMap::new(),
            constants: HashMap::new(),
            fixed_batch: None,
            opset: opset.map_or(1, |set| set.version),
            functions,
            elements,
            read,
            external,
            transposed: HashMap::new(),
            unrolled: 0,
            unsupported: Vec::new(),
        }
    }

    /// Says that `name` is the network's output.
    pub(super) fn also_read(&mut self, name: &'a str) {
        self.read.insert(name);
    }

    /// The element type of the value called `name`, where the file says it.
    pub(super) fn element(&self, name: &str) -> Option<i32> {
        self.elements.get(name).copied()
    }

    /// Appends the network's input, whose shape without the batch is `input_shape`; `batched` where the file has a batch.
    pub(super) fn input(&mut self, name: &str, input_shape: &[usize], batched: bool) -> Result<NodeId> {
        let whole = |batch: usize| -> Vec<usize> {
            batched.then_some(batch).into_iter().chain(input_shape.iter().copied()).collect()
        };
        let shapes = self.batches.map(whole);
        for shape in &shapes {
            if shape::elements(shape).is_none_or(|count| count == 0 || count > shape::LARGEST) {
                return Err(Error::shape(format!("input `{name}`"), "a size that fits into memory", shape));
            }
        }
        let name = self.unique(name);
        self.nodes.push(Node { name, op: Op::Input, inputs: Vec::new() });
        self.shapes.push(shapes);
        Ok(NodeId(self.nodes.len() - 1))
    }

    /// The shapes of all nodes for the first of the batches.
    pub(super) fn shapes(&self) -> Vec<&[usize]> {
        self.shapes.iter().map(|[first, _]| first.as_slice()).collect()
    }

    /// Reads `node`, whose operands `scope` knows, and adds its outputs there.
    pub(super) fn read(&mut self, node: &proto::Node, scope: &mut Scope, depth: usize) -> Result<()> {
        let mut operands = Vec::with_capacity(node.input.len());
        for name in &node.input {
            operands.push(match scope.get(name) {
                _ if name.is_empty() => Value::Absent,
                Some(value) => value.clone(),
                None => {
                    let reason = format!("nothing in the file makes its operand `{name}`");
                    return Err(Error::format(format!("node `{}`", label(node)), reason));
                }
            });
        }
        let unknown = operands.iter().any(|operand| matches!(operand, Value::Unknown));
        let read = node.output.iter().map(|name| !name.is_empty() && self.read.contains(name.as_str())).collect();
        let call = Call { node, name: label(node).to_owned(), operands, read, opset: self.opset };
        let outputs = if unknown {
            // What stands behind something unknown is looked up at least.
            if self.is_known(node) { Ok(Vec::new()) } else { Err(missing(node)) }
        } else {
            self.outputs(&call, scope, depth)
        };
        let outputs = match outputs {
            Ok(outputs) => outputs,
            // All that is missing is collected, so that the user learns it at once.
            Err(Error::Unsupported(mut missing)) => {
                self.unsupported.append(&mut missing);
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        let mut outputs = outputs.into_iter();
        for name in &node.output {
            let value = outputs.next().unwrap_or(Value::Unknown);
            if !name.is_empty() {
                scope.insert(name.clone(), value);
            }
        }
        Ok(())
    }

    fn outputs(&mut self, call: &Call, scope: &mut Scope, depth: usize) -> Result<Vec<Value>> {
        let node = call.node;
        if depth > 16 {
            return Err(call.damaged("functions or branches are nested too deeply"));
        }
        if let Some(function) = self.functions.get(&(node.domain.as_str(), node.op_type.as_str())).copied() {
            return self.inline(call, function, depth);
        }
        if matches!(node.domain.as_str(), "" | "ai.onnx") {
            match node.op_type.as_str() {
                "If" => return self.branch(call, scope, depth),
                "Loop" => return self.unroll_loop(call, scope, depth),
                "Scan" => return self.unroll_scan(call, scope, depth),
                _ => {}
            }
        }
        match operators::find_in(&node.domain, &node.op_type) {
            Some(operator) => operator(self, call),
            None if node.domain == "com.microsoft.nchwc" => Err(call.unsupported(
                "ONNX Runtime's layout for one processor; save the model with a lower optimisation level \
                 (ORT_ENABLE_EXTENDED)",
            )),
            None if !matches!(node.domain.as_str(), "" | "ai.onnx") => {
                Err(call.unsupported(format!("it is of the operator set `{}`", node.domain)))
            }
            None => Err(missing(node)),
        }
    }

    fn is_known(&self, node: &proto::Node) -> bool {
        let own = matches!(node.domain.as_str(), "" | "ai.onnx");
        self.functions.contains_key(&(node.domain.as_str(), node.op_type.as_str()))
            || (own && matches!(node.op_type.as_str(), "If" | "Loop" | "Scan"))
            || operators::find_in(&node.domain, &node.op_type).is_some()
    }

    /// The outputs of a function that the model brings along.
    fn inline(&mut self, call: &Call, function: &proto::Function, depth: usize) -> Result<Vec<Value>> {
        if self.unrolled > 0 {
            self.count_operators(call, function.node.len())?;
        }
        let mut scope: Scope =
            function.input.iter().enumerate().map(|(i, name)| (name.clone(), call.operand(i))).collect();
        for node in &function.node {
            let mut node = node.clone();
            node.name = format!("{}/{}", call.name, label(&node));
            node.attribute = node.attribute.iter().filter_map(|own| resolve(own, call.node, function)).collect();
            self.read(&node, &mut scope, depth + 1)?;
        }
        Ok(function.output.iter().map(|name| scope.get(name).cloned().unwrap_or(Value::Unknown)).collect())
    }

    /// The outputs of the branch that a constant condition takes, or of both, of which a condition that depends on the input
    /// chooses.
    fn branch(&mut self, call: &Call, scope: &mut Scope, depth: usize) -> Result<Vec<Value>> {
        let mut read = |name: &str| -> Result<Vec<Value>> {
            let graph = call.graph(name).ok_or_else(|| call.damaged("a branch is missing"))?;
            self.read_stored(graph, scope)?;
            self.read_body(graph, scope, depth)
        };
        if !matches!(call.operand(0), Value::Node(_)) {
            let condition = call.optional_fixed(0)?.and_then(|values| values.first().copied());
            let condition = condition.ok_or_else(|| call.damaged("it has no condition"))?;
            return read(if condition == 0 { "else_branch" } else { "then_branch" });
        }
        let [taken, other] = [read("then_branch")?, read("else_branch")?];
        if taken.iter().chain(&other).any(|value| matches!(value, Value::Unknown)) {
            return Ok(vec![Value::Unknown; taken.len()]);
        }
        let mut chosen = Vec::with_capacity(taken.len());
        for (output, (a, b)) in taken.into_iter().zip(other).enumerate() {
            if self.sizes(&a)? != self.sizes(&b)? {
                return Err(call.unsupported("a condition that depends on the input, for branches of different shapes"));
            }
            let name = if output == 0 { call.name.clone() } else { format!("{}/{output}", call.name) };
            chosen.push(self.emit(&name, Op::composed(Choose), &[call.operand(0), a, b])?);
        }
        Ok(chosen)
    }

    /// The value of `op`: computed now where no operand depends on the input, a new node called `name` otherwise.
    pub(super) fn emit(&mut self, name: &str, op: Op, operands: &[Value]) -> Result<Value> {
        let all_integers = operands.iter().all(|operand| matches!(operand, Value::Integers(_)));
        if all_integers && !operands.is_empty() && moves_only(&op) {
            return move_integers(name, op, operands);
        }
        if !mentions_batch(&op) {
            let constants: Option<Vec<Tensor>> = operands.iter().map(|operand| constant(operand).ok()).collect();
            if let Some(constants) = constants {
                return Ok(Value::Constant(evaluate(name, op, &constants)?));
            }
        }
        let inputs = operands.iter().map(|operand| self.node_of(name, operand)).collect::<Result<Vec<_>>>()?;
        layout::push(self, name, op, inputs).map(Value::Node)
    }

    /// Appends a node as it is.
    pub(super) fn push(&mut self, name: &str, op: Op, inputs: Vec<NodeId>) -> Result<NodeId> {
        let node = Node { name: self.unique(name), op, inputs };
        let infer = |size: usize| {
            let operands: Vec<&[usize]> = node.inputs.iter().map(|id| self.shapes[id.0][size].as_slice()).collect();
            shape::infer(&node, &operands, self.batches[size])
        };
        let shapes = [infer(0)?, infer(1)?];
        self.names.insert(node.name.clone());
        self.shapes.push(shapes);
        self.nodes.push(node);
        Ok(NodeId(self.nodes.len() - 1))
    }

    /// The node that holds `value`; constants become one for `user`.
    pub(super) fn node_of(&mut self, user: &str, value: &Value) -> Result<NodeId> {
        if let Value::Node(node) = value {
            return Ok(*node);
        }
        let tensor = constant(value).map_err(|reason| Error::format(format!("node `{user}`"), reason))?;
        if let Some(&node) = self.constants.get(&tensor.id()) {
            return Ok(node);
        }
        let id = tensor.id();
        let node = self.push(&format!("{user}/constant"), Op::Constant(tensor), Vec::new())?;
        self.constants.insert(id, node);
        Ok(node)
    }

    /// A constant matrix with rows and columns exchanged; the same one gives the same tensor.
    pub(super) fn transposed(&mut self, matrix: &Tensor) -> Result<Tensor> {
        if let Some((_, known)) = self.transposed.get(&matrix.id()) {
            return Ok(known.clone());
        }
        let turned = matrix.t()?.contiguous()?;
        // The matrix itself is kept too: its number is its own as long as it is there.
        self.transposed.insert(matrix.id(), (matrix.clone(), turned.clone()));
        Ok(turned)
    }

    /// Constant numbers as floats.
    #[allow(clippy::unused_self)] // Reads like the other ways to make a value.
    pub(super) fn floats(&self, value: &Value) -> Result<Value> {
        constant(value).map(Value::Constant).map_err(|reason| Error::Unsupported(vec![reason]))
    }

    /// The sizes of `value`'s axes.
    pub(super) fn sizes(&self, value: &Value) -> Result<Vec<Size>> {
        match value {
            Value::Node(node) => Ok(self.node_sizes(*node)),
            Value::Constant(tensor) => Ok(tensor.dims().iter().map(|&size| Size::from(size as i64)).collect()),
            Value::Integers(integers) => Ok(integers.shape.iter().map(|&size| Size::from(size as i64)).collect()),
            Value::Absent | Value::Unknown => Err(Error::format("ONNX", "an operand without a value has no shape")),
        }
    }

    /// The sizes of a node's axes.
    pub(super) fn node_sizes(&self, node: NodeId) -> Vec<Size> {
        let [first, second] = &self.shapes[node.0];
        self.linear(first, second)
    }

    /// The sizes of `input`'s axes after `reshape`.
    pub(super) fn reshaped(&self, input: NodeId, reshape: &Op) -> Option<Vec<Size>> {
        let node = Node { name: String::new(), op: reshape.clone(), inputs: vec![input] };
        let operand = |size: usize| self.shapes[input.0][size].as_slice();
        let infer = |size: usize| shape::infer(&node, &[operand(size)], self.batches[size]).ok();
        Some(self.linear(&infer(0)?, &infer(1)?))
    }

    /// The sizes that are these for the two batches.
    fn linear(&self, first: &[usize], second: &[usize]) -> Vec<Size> {
        let [few, more] = self.batches.map(|batch| batch as i64);
        let size = |(&first, &second): (&usize, &usize)| {
            let (first, second) = (first as i64, second as i64);
            let batches = if few == more { 0 } else { (second - first) / (more - few) };
            Size { constant: first - batches * few, batches }
        };
        first.iter().zip(second).map(size).collect()
    }

    /// The number of `value`'s axes.
    pub(super) fn rank(&self, value: &Value) -> Result<usize> {
        Ok(self.sizes(value)?.len())
    }

    fn unique(&mut self, name: &str) -> String {
        let name = if name.is_empty() { "unnamed" } else { name };
        let mut candidate = name.to_owned();
        while !self.names.insert(candidate.clone()) {
            // Counting on from the last number keeps a file of many equal names from taking for ever.
            let number = self.repeats.entry(name.to_owned()).or_insert(0);
            *number += 1;
            candidate = format!("{name}_{number}");
        }
        candidate
    }
}

/// Moves integers about as the operation would move any tensor: it is run on their places.
fn move_integers(name: &str, op: Op, operands: &[Value]) -> Result<Value> {
    let mut pool = Vec::new();
    let mut places = Vec::new();
    for operand in operands {
        if let Value::Integers(integers) = operand {
            let from = pool.len();
            pool.extend_from_slice(&integers.values);
            let numbers: Vec<f64> = (from..pool.len()).map(|place| place as f64).collect();
            places.push((integers.shape.clone(), numbers));
        }
    }
    let node = Node { name: name.to_owned(), op, inputs: Vec::new() };
    let shapes: Vec<&[usize]> = places.iter().map(|(shape, _)| shape.as_slice()).collect();
    let goal = shape::infer(&node, &shapes, 1)?;
    if small(name, &goal)? == 0 {
        return Ok(Value::Integers(Integers { shape: goal, values: Vec::new() }));
    }
    // Empty parts add nothing, and not every kernel takes them.
    places.retain(|(shape, _)| !shape.contains(&0));
    let tensors: Vec<Tensor> = places
        .into_iter()
        .map(|(shape, numbers)| Ok(Tensor::from_vec(numbers, shape, &Device::Cpu)?))
        .collect::<Result<_>>()?;
    let operands: Vec<&Tensor> = tensors.iter().collect();
    let moved = op::apply(&node, &operands, 1, BackwardRule::Plain)?;
    let moved: Vec<f64> = moved.flatten_all()?.to_vec1()?;
    let values = moved.into_iter().map(|place| pool[place as usize]).collect();
    Ok(Value::Integers(Integers { shape: goal, values }))
}

fn missing(node: &proto::Node) -> Error {
    Error::Unsupported(vec![format!("{} (node `{}`)", node.op_type, label(node))])
}

/// The element types that a graph says of its tensors, constants and conversions.
fn elements(graph: &proto::Graph) -> impl Iterator<Item = (&str, i32)> {
    let stored = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor.data_type));
    let made = graph.node.iter().filter_map(|node| {
        let kind = match node.op_type.as_str() {
            "Constant" => node.attribute.iter().find_map(|attribute| attribute.t.as_ref())?.data_type,
            "Cast" => node.attribute.iter().find(|attribute| attribute.name == "to")?.i as i32,
            _ => return None,
        };
        Some((node.output.first()?.as_str(), kind))
    });
    stored.chain(made)
}

/// Every name that these nodes and their branches read.
fn read_names<'a>(nodes: impl Iterator<Item = &'a proto::Node>, names: &mut HashSet<&'a str>) {
    for node in nodes {
        names.extend(node.input.iter().map(String::as_str));
        for graph in node.attribute.iter().filter_map(|attribute| attribute.g.as_ref()) {
            names.extend(graph.output.iter().map(|output| output.name.as_str()));
            // As a trait object: the type would contain itself.
            read_names(Box::new(graph.node.iter()) as Box<dyn Iterator<Item = &'a proto::Node>>, names);
        }
    }
}

/// A function's attribute as the caller or the function's default gives it.
fn resolve(own: &proto::Attribute, caller: &proto::Node, function: &proto::Function) -> Option<proto::Attribute> {
    if own.ref_attr_name.is_empty() {
        return Some(own.clone());
    }
    let given = caller.attribute.iter().chain(&function.attribute_proto).find(|a| a.name == own.ref_attr_name)?;
    Some(proto::Attribute { name: own.name.clone(), ..given.clone() })
}

/// A constant as floats.
fn constant(value: &Value) -> std::result::Result<Tensor, String> {
    match value {
        Value::Constant(tensor) => Ok(tensor.clone()),
        Value::Integers(integers) => {
            let fixed = integers.fixed().ok_or("a number that depends on the size of the batch is used as a tensor")?;
            let floats: Vec<f32> = fixed.into_iter().map(|value| value as f32).collect();
            Tensor::from_vec(floats, integers.shape.as_slice(), &Device::Cpu).map_err(|error| error.to_string())
        }
        Value::Node(_) => Err("it depends on the input".into()),
        Value::Absent | Value::Unknown => Err("an operand is missing".into()),
    }
}

/// Runs an operation whose operands are constant.
fn evaluate(name: &str, op: Op, operands: &[Tensor]) -> Result<Tensor> {
    if let Op::Constant(tensor) = op {
        return Ok(tensor);
    }
    let node = Node { name: name.to_owned(), op, inputs: Vec::new() };
    let shapes: Vec<&[usize]> = operands.iter().map(candle_core::Tensor::dims).collect();
    let goal = shape::infer(&node, &shapes, 1)?;
    // Weights that only change their layout may be large; nothing may become larger than it was.
    let largest = operands.iter().map(Tensor::elem_count).max().unwrap_or(0);
    if goal.iter().product::<usize>() > largest {
        small(name, &goal)?;
    }
    if goal.contains(&0) {
        return Ok(Tensor::zeros(goal, DType::F32, &Device::Cpu)?);
    }
    let operands: Vec<&Tensor> = operands.iter().collect();
    Ok(op::apply(&node, &operands, 1, BackwardRule::Plain)?.contiguous()?)
}

/// The number of elements of a constant that is about to be computed.
pub(super) fn small(name: &str, shape: &[usize]) -> Result<usize> {
    match shape::elements(shape) {
        Some(count) if count <= LARGEST_CONSTANT => Ok(count),
        _ => Err(Error::shape(format!("constant `{name}`"), format!("at most {LARGEST_CONSTANT} elements"), shape)),
    }
}

/// Whether an operation only moves elements about, whatever the batch.
fn moves_only(op: &Op) -> bool {
    (op.moves_values() || matches!(op, Op::Concat { .. })) && !mentions_batch(op)
}

fn mentions_batch(op: &Op) -> bool {
    match op {
        Op::Reshape(dims) | Op::Expand(dims) => dims.iter().any(|dim| matches!(dim, Dim::Batch | Dim::Times(_))),
        _ => false,
    }
}
