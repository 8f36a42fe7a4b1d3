use super::attribute::{integer, integers, text};
use super::symbol::{Extent, Symbol, TRIALS, fixed, from_trials, sizes};
use crate::onnx::proto;
use crate::onnx::tensor::element;
use crate::op::shape::broadcast;
use candle_core::{DType, Tensor, TensorId};
use faithful_core::{Error, Result};
use half::f16;
use std::collections::{HashMap, HashSet};

/// ONNX operators in the making: nodes in execution order and the constants that they read.
///
/// Every function appends a node and gives its value. Constants are stored once, however often they are read.
#[derive(Debug, Default)]
pub struct OnnxWriter {
    pub(super) nodes: Vec<proto::Node>,
    pub(super) initializers: Vec<proto::Tensor>,
    names: HashSet<String>,
    weights: HashMap<TensorId, Symbol>,
    transposed: HashMap<TensorId, Symbol>,
    /// Stored tensors as values of their own.
    copies: HashMap<TensorId, Symbol>,
    /// What was made of stored tensors.
    derived: HashMap<TensorId, Tensor>,
    /// Names that only [`call`](Self::call) gives.
    reserved: HashSet<String>,
    small: HashMap<(i32, Vec<usize>, Vec<u8>), Symbol>,
    scope: String,
    /// What a batch is read from at run time.
    pub(super) source: Option<Symbol>,
    /// Whether something needed a size that was still free.
    needs_size: bool,
    /// Further inputs of numbers.
    pub(super) given: Vec<Symbol>,
    pub(super) missing: Vec<String>,
}

/// Tensors of at least so many elements are stored in half precision where that changes none of them.
const MANY: usize = 1024;

impl OnnxWriter {
    /// Whether what failed needs the size of the input, which was left free.
    pub fn needs_size(&self) -> bool {
        self.needs_size
    }

    /// The names of the nodes that follow begin with `scope`.
    pub fn enter(&mut self, scope: impl Into<String>) {
        self.scope = scope.into();
    }

    /// `name`, or with a number behind it where something is called so.
    pub(super) fn unique(&mut self, name: &str) -> String {
        let mut candidate = name.to_owned();
        let mut number = 1;
        while !self.names.insert(candidate.clone()) {
            number += 1;
            candidate = format!("{name}_{number}");
        }
        candidate
    }

    /// What a node of an operator is called here.
    pub(crate) fn name_of(&self, operator: &str) -> String {
        format!("{}/{operator}", self.scope)
    }

    /// Keeps a name for [`call`](Self::call): `name`, or with a number behind it where something is called so.
    pub fn reserve(&mut self, name: &str) -> String {
        let name = self.unique(name);
        self.reserved.insert(name.clone());
        name
    }

    /// A value that comes from outside, called `name`.
    pub(super) fn outside(&mut self, name: &str, shape: Vec<Extent>) -> Symbol {
        let name = self.unique(name);
        Symbol { name, shape }
    }

    /// Appends a node; its value is of `shape`.
    pub(crate) fn node(
        &mut self,
        operator: &str,
        operands: &[&Symbol],
        attributes: Vec<proto::Attribute>,
        shape: Vec<Extent>,
    ) -> Symbol {
        let name = self.name_of(operator);
        self.named_node(&name, operator, operands, attributes, shape)
    }

    /// [`node`](Self::node), called `name` where that is free.
    pub(crate) fn named_node(
        &mut self,
        name: &str,
        operator: &str,
        operands: &[&Symbol],
        attributes: Vec<proto::Attribute>,
        shape: Vec<Extent>,
    ) -> Symbol {
        let name = self.unique(name);
        self.nodes.push(proto::Node {
            input: operands.iter().map(|operand| operand.name.clone()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: operator.into(),
            attribute: attributes,
            domain: String::new(),
            metadata_props: Vec::new(),
        });
        Symbol { name, shape }
    }

    /// `value` under a name that is known outside, and was [reserved](Self::reserve).
    pub fn call(&mut self, name: &str, value: &Symbol) -> Symbol {
        if self.reserved.remove(name) {
            self.names.remove(name);
        }
        self.named_node(name, "Identity", &[value], Vec::new(), value.shape.clone())
    }

    // Constants.

    /// A stored tensor of floating-point numbers.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn tensor(&mut self, tensor: &Tensor) -> Result<Symbol> {
        if let Some(known) = self.weights.get(&tensor.id()) {
            return Ok(known.clone());
        }
        let name = format!("{}/weight", self.scope);
        let stored = self.stored(&name, tensor)?;
        self.weights.insert(tensor.id(), stored.clone());
        Ok(stored)
    }

    fn stored(&mut self, name: &str, tensor: &Tensor) -> Result<Symbol> {
        let shape: Vec<Extent> = sizes(tensor.dims());
        let values: Vec<f32> = tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
        let is_half = |value: &f32| f16::from_f32(*value).to_f32().to_bits() == value.to_bits();
        if values.len() < MANY || !values.iter().all(is_half) {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            return Ok(self.initializer(name, element::FLOAT, tensor.dims(), bytes));
        }
        let bytes = values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect();
        let half = self.initializer(&format!("{name}/half"), element::FLOAT16, tensor.dims(), bytes);
        let to = vec![integer("to", i64::from(element::FLOAT))];
        Ok(self.named_node(name, "Cast", &[&half], to, shape))
    }

    fn initializer(&mut self, name: &str, kind: i32, dims: &[usize], bytes: Vec<u8>) -> Symbol {
        let few = bytes.len() <= 1 << 16;
        let key = (kind, dims.to_vec(), if few { bytes.clone() } else { Vec::new() });
        if few && let Some(known) = self.small.get(&key) {
            return known.clone();
        }
        let name = self.unique(name);
        self.initializers.push(proto::Tensor {
            name: name.clone(),
            dims: dims.iter().map(|&size| size as i64).collect(),
            data_type: kind,
            raw_data: Some(bytes.into()),
            ..proto::Tensor::default()
        });
        let symbol = Symbol { name, shape: sizes(dims) };
        if few {
            self.small.insert(key, symbol.clone());
        }
        symbol
    }

    /// Numbers that belong to no layer.
    pub fn numbers(&mut self, dims: &[usize], values: &[f32]) -> Symbol {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.initializer(&format!("{}/constant", self.scope), element::FLOAT, dims, bytes)
    }

    /// One number.
    pub fn number(&mut self, value: f64) -> Symbol {
        self.numbers(&[], &[value as f32])
    }

    /// A list of whole numbers: axes, shapes, indices.
    pub(super) fn list(&mut self, values: &[i64]) -> Symbol {
        self.whole(&[values.len()], values)
    }

    /// Whole numbers in a shape.
    pub(super) fn whole(&mut self, dims: &[usize], values: &[i64]) -> Symbol {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.initializer(&format!("{}/list", self.scope), element::INT64, dims, bytes)
    }

    /// A stored matrix with its axes exchanged.
    pub(super) fn transposed(&mut self, matrix: &Tensor) -> Result<Symbol> {
        if let Some(known) = self.transposed.get(&matrix.id()) {
            return Ok(known.clone());
        }
        let stored = self.tensor(matrix)?;
        let turned = self.transpose(&stored, &[1, 0]);
        self.transposed.insert(matrix.id(), turned.clone());
        Ok(turned)
    }

    /// What `make` gives for a stored tensor, made once.
    pub(super) fn derived(&mut self, of: &Tensor, make: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        if let Some(known) = self.derived.get(&of.id()) {
            return Ok(known.clone());
        }
        let made = make(of)?;
        self.derived.insert(of.id(), made.clone());
        Ok(made)
    }

    /// What stands for an optional operand that is left out.
    pub(super) fn absent() -> Symbol {
        Symbol { name: String::new(), shape: Vec::new() }
    }

    /// A stored kernel for the way back. `OpenVINO` 2026.4 takes a kernel that is repacked for a convolution for that of the
    /// transposed one where both read one constant with as many inputs as outputs: such a kernel is put together anew, which
    /// runtimes do once, while they load the file.
    pub(super) fn kernel_for_the_way_back(&mut self, weight: &Tensor) -> Result<Symbol> {
        let stored = self.tensor(weight)?;
        let outputs = weight.dims()[0];
        if weight.dims()[1] != outputs || outputs < 2 {
            return Ok(stored);
        }
        if let Some(known) = self.copies.get(&weight.id()) {
            return Ok(known.clone());
        }
        let half = outputs / 2;
        let parts = [self.narrow(&stored, 0, 0, half), self.narrow(&stored, 0, half, outputs - half)];
        let copy = self.concat(&[&parts[0], &parts[1]], 0);
        self.copies.insert(weight.id(), copy.clone());
        Ok(copy)
    }

    // Sizes.

    /// The size of an axis, which must be known.
    ///
    /// # Errors
    /// Where it follows the batch or the image; [`needs_size`](Self::needs_size) then says which.
    pub fn size(&mut self, extent: Extent) -> Result<usize> {
        if let Some(size) = fixed(extent) {
            return Ok(size);
        }
        if extent[0] == extent[1] {
            self.needs_size = true;
        }
        Err(Error::internal("a size that follows the batch or the image is needed as a number"))
    }

    /// The axes of a value, which must be known.
    pub(crate) fn sizes(&mut self, extents: &[Extent]) -> Result<Vec<usize>> {
        extents.iter().map(|&extent| self.size(extent)).collect()
    }

    /// The size of axis `axis` of `x` at run time, `(1,)`.
    pub(super) fn size_of(&mut self, x: &Symbol, axis: usize) -> Symbol {
        let shape = self.node("Shape", &[x], Vec::new(), sizes(&[x.shape.len()]));
        let index = self.list(&[axis as i64]);
        self.node("Gather", &[&shape, &index], vec![integer("axis", 0)], sizes(&[1]))
    }

    /// The sizes of some axes of `x` at run time.
    pub(super) fn sizes_of(&mut self, x: &Symbol, axes: std::ops::Range<usize>) -> Symbol {
        let shape = self.node("Shape", &[x], Vec::new(), sizes(&[x.shape.len()]));
        let numbers: Vec<i64> = axes.map(|axis| axis as i64).collect();
        let index = self.list(&numbers);
        self.node("Gather", &[&shape, &index], vec![integer("axis", 0)], sizes(&[numbers.len()]))
    }

    /// All sizes of `goal` as an operand, those that follow the batch or the image read from `x` at run time.
    pub(super) fn whole_shape(&mut self, x: &Symbol, goal: &[Extent]) -> Result<Symbol> {
        let mut pieces = Vec::with_capacity(goal.len());
        for &extent in goal {
            pieces.push(match fixed(extent) {
                Some(size) => self.list(&[size as i64]),
                None => self.size_at_run_time(x, extent)?,
            });
        }
        let operands: Vec<&Symbol> = pieces.iter().collect();
        Ok(self.node("Concat", &operands, vec![integer("axis", 0)], sizes(&[goal.len()])))
    }

    /// `goal` as numbers for an operator on `x`, where that can be: `same` stands for an axis that has `x`'s own size, and
    /// one axis may be left to the operator where `rest` says so.
    fn shape_numbers(x: &Symbol, goal: &[Extent], same: i64, mut rest: bool) -> Vec<Option<i64>> {
        let number = |(axis, &extent): (usize, &Extent)| match fixed(extent) {
            Some(size) => Some(size as i64),
            None if x.shape.get(axis) == Some(&extent) => Some(same),
            None => std::mem::take(&mut rest).then_some(-1),
        };
        goal.iter().enumerate().map(number).collect()
    }

    /// `goal` as an operand of an operator on `x`: as numbers, as the shape of `like`, or put together at run time.
    fn shape_operand(
        &mut self,
        x: &Symbol,
        goal: &[Extent],
        numbers: &[Option<i64>],
        like: Option<&Symbol>,
    ) -> Result<Symbol> {
        if let Some(all) = numbers.iter().copied().collect::<Option<Vec<i64>>>() {
            return Ok(self.list(&all));
        }
        if let Some(like) = like {
            return Ok(self.node("Shape", &[like], Vec::new(), sizes(&[goal.len()])));
        }
        let mut pieces = Vec::with_capacity(goal.len());
        for (&extent, number) in goal.iter().zip(numbers) {
            pieces.push(match number {
                Some(number) => self.list(&[*number]),
                None => self.size_at_run_time(x, extent)?,
            });
        }
        let operands: Vec<&Symbol> = pieces.iter().collect();
        Ok(self.node("Concat", &operands, vec![integer("axis", 0)], sizes(&[goal.len()])))
    }

    /// A size that is only known at run time: that of an axis of `x`, or a multiple of the batch.
    fn size_at_run_time(&mut self, x: &Symbol, extent: Extent) -> Result<Symbol> {
        if let Some(axis) = x.shape.iter().position(|own| *own == extent) {
            return Ok(self.size_of(x, axis));
        }
        if let Some(source) = self.source.clone() {
            if let Some(axis) = source.shape.iter().position(|own| *own == extent) {
                return Ok(self.size_of(&source, axis));
            }
            let batch = source.shape[0];
            let times = extent[0] / batch[0].max(1);
            if times > 0 && extent.iter().zip(batch).all(|(size, batch)| *size == batch * times) {
                let batch = self.size_of(&source, 0);
                let times = self.list(&[times as i64]);
                return Ok(self.node("Mul", &[&batch, &times], Vec::new(), sizes(&[1])));
            }
        }
        self.size(extent)?;
        Err(Error::internal("a size that nothing has at run time"))
    }

    // Operators.

    /// An operator of one operand that keeps its shape.
    pub fn unary(&mut self, operator: &str, x: &Symbol) -> Symbol {
        self.node(operator, &[x], Vec::new(), x.shape.clone())
    }

    /// Softmax along `axis`.
    pub fn softmax(&mut self, x: &Symbol, axis: usize) -> Symbol {
        self.node("Softmax", &[x], vec![integer("axis", axis as i64)], x.shape.clone())
    }

    /// An operator of two operands that broadcast.
    ///
    /// # Errors
    /// [`Error::Shape`] where they do not.
    pub fn binary(&mut self, operator: &str, a: &Symbol, b: &Symbol) -> Result<Symbol> {
        let shape = joined(a, b)?;
        Ok(self.node(operator, &[a, b], Vec::new(), shape))
    }

    /// `a + b`.
    ///
    /// # Errors
    /// As [`binary`](Self::binary); so for those that follow.
    pub fn add(&mut self, a: &Symbol, b: &Symbol) -> Result<Symbol> {
        self.binary("Add", a, b)
    }

    /// `a - b`.
    ///
    /// # Errors
    /// As [`binary`](Self::binary).
    pub fn sub(&mut self, a: &Symbol, b: &Symbol) -> Result<Symbol> {
        self.binary("Sub", a, b)
    }

    /// `a * b`.
    ///
    /// # Errors
    /// As [`binary`](Self::binary).
    pub fn mul(&mut self, a: &Symbol, b: &Symbol) -> Result<Symbol> {
        self.binary("Mul", a, b)
    }

    /// `a / b`.
    ///
    /// # Errors
    /// As [`binary`](Self::binary).
    pub fn div(&mut self, a: &Symbol, b: &Symbol) -> Result<Symbol> {
        self.binary("Div", a, b)
    }

    /// `factor * x + shift`.
    ///
    /// # Errors
    /// None are expected.
    pub fn affine(&mut self, x: &Symbol, factor: f64, shift: f64) -> Result<Symbol> {
        let mut y = x.clone();
        if factor != 1.0 {
            let factor = self.number(factor);
            y = self.mul(&y, &factor)?;
        }
        if shift != 0.0 {
            let shift = self.number(shift);
            y = self.add(&y, &shift)?;
        }
        Ok(y)
    }

    /// `a` where `condition` holds, `b` elsewhere.
    ///
    /// # Errors
    /// As [`binary`](Self::binary).
    pub fn choose(&mut self, condition: &Symbol, a: &Symbol, b: &Symbol) -> Result<Symbol> {
        let both = Symbol { name: String::new(), shape: joined(a, b)? };
        let shape = joined(condition, &both)?;
        Ok(self.node("Where", &[condition, a, b], Vec::new(), shape))
    }

    /// `x` where `condition` holds, 0 elsewhere.
    ///
    /// # Errors
    /// As [`binary`](Self::binary).
    pub fn only_where(&mut self, condition: &Symbol, x: &Symbol) -> Result<Symbol> {
        let zero = self.number(0.0);
        self.choose(condition, x, &zero)
    }

    /// `numerator / denominator`, 0 where the denominator is 0.
    ///
    /// # Errors
    /// As [`binary`](Self::binary).
    pub fn divide_or_zero(&mut self, numerator: &Symbol, denominator: &Symbol) -> Result<Symbol> {
        let (zero, one) = (self.number(0.0), self.number(1.0));
        let is_zero = self.binary("Equal", denominator, &zero)?;
        let safe = self.choose(&is_zero, &one, denominator)?;
        let quotient = self.div(numerator, &safe)?;
        self.choose(&is_zero, &zero, &quotient)
    }

    /// `x` as another type: [`element`]'s numbers.
    pub(super) fn cast(&mut self, x: &Symbol, kind: i32) -> Symbol {
        self.node("Cast", &[x], vec![integer("to", i64::from(kind))], x.shape.clone())
    }

    /// A condition as 1 and 0.
    pub fn as_number(&mut self, condition: &Symbol) -> Symbol {
        self.cast(condition, element::FLOAT)
    }

    /// Where `x` is not 0.
    pub(crate) fn as_condition(&mut self, x: &Symbol) -> Symbol {
        self.cast(x, element::BOOL)
    }

    /// Where `x` is minus or plus infinity.
    pub(crate) fn is_infinite(&mut self, x: &Symbol, [negative, positive]: [bool; 2]) -> Symbol {
        let signs = [("detect_negative", negative), ("detect_positive", positive)];
        let attributes = signs.map(|(name, detects)| integer(name, i64::from(detects))).to_vec();
        self.node("IsInf", &[x], attributes, x.shape.clone())
    }

    /// `partial g`, 0 where `g` is 0: what nothing asks for has no derivative, were it infinite.
    pub(crate) fn times_asked(&mut self, partial: &Symbol, g: &Symbol) -> Result<Symbol> {
        let zero = self.number(0.0);
        let product = self.mul(partial, g)?;
        let unasked = self.binary("Equal", g, &zero)?;
        self.choose(&unasked, &zero, &product)
    }

    /// `ReduceSum`, `ReduceMean` and their kin over `axes`, which stay with size 1 where `keep` says so.
    pub fn reduce(&mut self, operator: &str, x: &Symbol, axes: &[usize], keep: bool) -> Symbol {
        let mut shape = Vec::with_capacity(x.shape.len());
        for (axis, &extent) in x.shape.iter().enumerate() {
            if !axes.contains(&axis) {
                shape.push(extent);
            } else if keep {
                shape.push([1; TRIALS]);
            }
        }
        let keep = integer("keepdims", i64::from(keep));
        let numbers: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
        // From operator set 13 on the sum has its axes as an operand, the others from 18 on.
        if operator == "ReduceSum" {
            let axes = self.list(&numbers);
            return self.node(operator, &[x, &axes], vec![keep], shape);
        }
        self.node(operator, &[x], vec![integers("axes", &numbers), keep], shape)
    }

    /// The same elements in another shape.
    ///
    /// # Errors
    /// Where a size cannot be told at run time.
    pub fn reshape(&mut self, x: &Symbol, goal: &[Extent]) -> Result<Symbol> {
        self.reshaped(x, goal, None)
    }

    /// The same elements in the shape of `like`.
    pub(super) fn reshape_like(&mut self, x: &Symbol, like: &Symbol) -> Result<Symbol> {
        self.reshaped(x, &like.shape, Some(like))
    }

    fn reshaped(&mut self, x: &Symbol, goal: &[Extent], like: Option<&Symbol>) -> Result<Symbol> {
        if x.shape == goal {
            return Ok(x.clone());
        }
        let numbers = Self::shape_numbers(x, goal, 0, true);
        let shape = self.shape_operand(x, goal, &numbers, like)?;
        Ok(self.node("Reshape", &[x, &shape], Vec::new(), goal.to_vec()))
    }

    /// `x` broadcast to `goal`.
    ///
    /// # Errors
    /// Where a size cannot be told at run time.
    pub fn expand(&mut self, x: &Symbol, goal: &[Extent]) -> Result<Symbol> {
        self.expanded(x, goal, None)
    }

    /// `x` broadcast to the shape of `like`.
    pub(super) fn expand_like(&mut self, x: &Symbol, like: &Symbol) -> Result<Symbol> {
        self.expanded(x, &like.shape, Some(like))
    }

    fn expanded(&mut self, x: &Symbol, goal: &[Extent], like: Option<&Symbol>) -> Result<Symbol> {
        if x.shape == goal {
            return Ok(x.clone());
        }
        // Axes are compared from the last on.
        let missing = goal.len().saturating_sub(x.shape.len());
        let whole: Vec<Extent> = std::iter::repeat_n([1; TRIALS], missing).chain(x.shape.iter().copied()).collect();
        let aligned = if missing == 0 { x.clone() } else { self.reshape(x, &whole)? };
        let numbers = Self::shape_numbers(&aligned, goal, 1, false);
        let shape = self.shape_operand(&aligned, goal, &numbers, like)?;
        Ok(self.node("Expand", &[&aligned, &shape], Vec::new(), goal.to_vec()))
    }

    /// `x` summed over the axes along which it was broadcast from `goal`.
    ///
    /// # Errors
    /// Where a size cannot be told at run time.
    pub(crate) fn sum_to(&mut self, x: &Symbol, goal: &[Extent]) -> Result<Symbol> {
        let leading = x.shape.len() - goal.len();
        let widened =
            |axis: &usize| *axis < leading || (goal[*axis - leading] == [1; TRIALS] && x.shape[*axis] != [1; TRIALS]);
        let axes: Vec<usize> = (0..x.shape.len()).filter(widened).collect();
        if axes.is_empty() {
            return Ok(x.clone());
        }
        let sum = self.reduce("ReduceSum", x, &axes, true);
        self.reshape(&sum, goal)
    }

    /// `(N, C, h, w)` enlarged bilinearly to the places of `like` `(N, C, H, W)`, as `PyTorch`'s `interpolate` without
    /// aligned corners.
    ///
    /// # Errors
    /// Where a size cannot be told at run time.
    pub fn resize_to(&mut self, x: &Symbol, like: &Symbol) -> Result<Symbol> {
        let goal = [x.shape[0], x.shape[1], like.shape[2], like.shape[3]];
        if x.shape == goal {
            return Ok(x.clone());
        }
        let none = Self::absent();
        let mut sizes: Vec<Symbol> = Vec::with_capacity(4);
        for (axis, of) in [x, x, like, like].into_iter().enumerate() {
            sizes.push(match fixed(of.shape[axis]) {
                Some(size) => self.list(&[size as i64]),
                None => self.size_of(of, axis),
            });
        }
        let operands: Vec<&Symbol> = sizes.iter().collect();
        let sizes = self.node("Concat", &operands, vec![integer("axis", 0)], self::sizes(&[4]));
        let attributes = vec![text("mode", "linear"), text("coordinate_transformation_mode", "half_pixel")];
        Ok(self.node("Resize", &[x, &none, &none, &sizes], attributes, goal.to_vec()))
    }

    /// The axes in a new order.
    pub fn transpose(&mut self, x: &Symbol, order: &[usize]) -> Symbol {
        if order.is_sorted() {
            return x.clone();
        }
        let shape = order.iter().map(|&axis| x.shape[axis]).collect();
        let numbers: Vec<i64> = order.iter().map(|&axis| axis as i64).collect();
        self.node("Transpose", &[x], vec![integers("perm", &numbers)], shape)
    }

    /// The product of matrices, with leading axes that broadcast; no vectors.
    ///
    /// # Errors
    /// [`Error::Shape`] where they do not fit.
    pub fn matmul(&mut self, a: &Symbol, b: &Symbol) -> Result<Symbol> {
        let shape = from_trials(|trial| {
            let (a, b) = (a.at(trial), b.at(trial));
            let (a, rows) = (&a[..a.len().saturating_sub(2)], a.get(a.len().wrapping_sub(2)).copied());
            let columns = b.last().copied();
            let mut shape = broadcast(a, &b[..b.len().saturating_sub(2)])?;
            shape.extend([rows?, columns?]);
            Some(shape)
        });
        let shape = shape.ok_or_else(|| unfit("a matrix", b))?;
        Ok(self.node("MatMul", &[a, b], Vec::new(), shape))
    }

    /// `x` from `start` to `end` (all that follows where there is none) along `axis`, every `step`-th.
    pub(super) fn slice(&mut self, x: &Symbol, axis: usize, [start, end, step]: [i64; 3], size: Extent) -> Symbol {
        let mut shape = x.shape.clone();
        shape[axis] = size;
        let operands = [start, end, axis as i64, step].map(|number| self.list(&[number]));
        let [start, end, axis, step] = &operands;
        self.node("Slice", &[x, start, end, axis, step], Vec::new(), shape)
    }

    /// `size` places of `x` from `start` on along `axis`.
    pub fn narrow(&mut self, x: &Symbol, axis: usize, start: usize, size: usize) -> Symbol {
        if start == 0 && x.shape[axis] == [size; TRIALS] {
            return x.clone();
        }
        self.slice(x, axis, [start as i64, (start + size) as i64, 1], [size; TRIALS])
    }

    /// `x` with zeros before and after each axis.
    pub(super) fn pad(&mut self, x: &Symbol, pads: &[[usize; 2]], value: f64) -> Symbol {
        if pads.iter().all(|pad| *pad == [0, 0]) {
            return x.clone();
        }
        let shape = x.shape.iter().zip(pads).map(|(extent, [before, after])| extent.map(|size| size + before + after));
        let shape = shape.collect();
        let all: Vec<i64> = (0..2).flat_map(|side| pads.iter().map(move |pad| pad[side] as i64)).collect();
        let (pads, value) = (self.list(&all), self.number(value));
        self.node("Pad", &[x, &pads, &value], Vec::new(), shape)
    }

    /// `parts` one after the other along `axis`.
    pub fn concat(&mut self, parts: &[&Symbol], axis: usize) -> Symbol {
        if let [only] = parts {
            return (*only).clone();
        }
        let mut shape = parts[0].shape.clone();
        for part in &parts[1..] {
            for (sum, size) in shape[axis].iter_mut().zip(part.shape[axis]) {
                *sum += size;
            }
        }
        self.node("Concat", parts, vec![integer("axis", axis as i64)], shape)
    }
}

/// What operands broadcast to.
fn joined(a: &Symbol, b: &Symbol) -> Result<Vec<Extent>> {
    from_trials(|trial| broadcast(&a.at(trial), &b.at(trial))).ok_or_else(|| unfit("one that broadcasts", b))
}

fn unfit(expected: &str, value: &Symbol) -> Error {
    Error::shape(format!("operand `{}`", value.name), expected, &value.at(0))
}
