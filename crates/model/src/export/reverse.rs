//! An operation's gradient in ONNX's operators: the vector-Jacobian products of its operands.
//!
//! Ties and kinks are those of `faithful_tensor`: a maximum's gradient goes to its first place, and a relu's is 0 at 0.

use super::attribute::counts;
use super::forward::{adaptive_places, grouped, spread, times_channels, window};
use super::separable;
use super::symbol::{Extent, Symbol, TRIALS, fixed, sizes};
use super::windows;
use super::{OnnxWriter, activation, recurrent};
use crate::onnx::tensor::element;
use crate::{Node, Op};
use candle_core::Tensor;
use faithful_core::{BackwardRule, Error, Result};
use faithful_tensor::{Binary, Conv, PadMode, Pool, Reduction, Unary, adaptive_avg_pool2d};
use std::f64::consts::FRAC_2_SQRT_PI;

/// A node whose operands' gradients are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Backward<'a> {
    /// The operands' values.
    pub operands: &'a [&'a Symbol],
    /// Which operands' gradients are wanted.
    pub wanted: &'a [bool],
    /// The node's value.
    pub y: &'a Symbol,
    /// The gradient of the value.
    pub g: &'a Symbol,
    /// How gradients go back through activations.
    pub rule: BackwardRule,
}

/// The gradients of the wanted operands; none where it is zero.
pub(super) fn write(writer: &mut OnnxWriter, node: &Node, of: &Backward<'_>) -> Result<Vec<Option<Symbol>>> {
    let Backward { operands, y, g, rule, .. } = *of;
    let x = || operands[0];
    let one = |gradient: Symbol| Ok(vec![Some(gradient)]);
    match &node.op {
        Op::Input | Op::Constant(_) => Ok(Vec::new()),
        Op::Identity => one(g.clone()),
        Op::Conv2d { weight, conv, .. } => {
            let window = Window::of(conv, &[0, 1]);
            one(convolution(writer, g, weight, &window, x())?)
        }
        Op::Conv1d { weight, conv, .. } => {
            let window = Window::of(conv, &[1]);
            one(convolution(writer, g, weight, &window, x())?)
        }
        Op::ConvTranspose2d { weight, conv, .. } => {
            let window = Window::of(conv, &[0, 1]);
            one(transposed_convolution(writer, g, weight, &window, x())?)
        }
        Op::Linear { weight, .. } => one(linear(writer, g, weight)?),
        Op::MatMul => matmul(writer, of),
        Op::BatchNorm { scale, .. } => one(times_channels(writer, g, scale)?),
        Op::LayerNorm { axis, weight, epsilon, .. } => {
            let g = match weight {
                Some(weight) => {
                    let weight = writer.tensor(weight)?;
                    writer.mul(g, &weight)?
                }
                None => g.clone(),
            };
            let axes: Vec<usize> = (*axis..x().rank()).collect();
            one(standardized(writer, x(), &g, &axes, *epsilon)?)
        }
        Op::GroupNorm { groups, weight, epsilon, .. } => {
            let g = match weight {
                Some(weight) => times_channels(writer, g, weight)?,
                None => g.clone(),
            };
            let (runs, g) = (grouped(writer, x(), *groups)?, grouped(writer, &g, *groups)?);
            let dx = standardized(writer, &runs, &g, &[2], *epsilon)?;
            one(writer.reshape_like(&dx, x())?)
        }
        Op::Activation(kind) => one(activation::gradient(writer, [x(), y, g], *kind, rule)?),
        Op::Softmax { axis, log } => one(softmax(writer, y, g, *axis, *log)?),
        Op::MaxPool2d(pool) => one(max_pool(writer, x(), y, g, pool)?),
        Op::AvgPool2d(pool) => {
            let [rows, columns] = separable::of_pool(writer, x(), pool)?;
            one(separable::gradient(writer, g, &rows, &columns)?)
        }
        Op::AdaptiveAvgPool2d([1, 1]) => one(mean(writer, x(), g, &[2, 3])?),
        Op::AdaptiveAvgPool2d(size) => {
            let size = *size;
            let [rows, columns] = separable::matrices(writer, x(), |x, rows| {
                adaptive_avg_pool2d(x, if rows { [size[0], 1] } else { [1, size[1]] })
            })?;
            one(separable::gradient(writer, g, &rows, &columns)?)
        }
        Op::AdaptiveMaxPool2d([1, 1]) => one(extreme(writer, x(), g, &[2, 3], false)?),
        Op::AdaptiveMaxPool2d(size) => {
            let (seen, pool) = spread(writer, x(), *size)?;
            let mut dx = max_pool(writer, &seen, y, g, &pool)?;
            for axis in [2, 3] {
                let places = writer.size(x().shape[axis])?;
                let index = adaptive_places(places, size[axis - 2]);
                dx = ungathered(writer, &dx, axis, &index, places)?;
            }
            one(dx)
        }
        Op::Lstm { weights, direction } => {
            let layer = recurrent::Backward { x: x(), states: y, gradient: g, weights, direction: *direction };
            one(recurrent::lstm_gradient(writer, &layer)?)
        }
        Op::Gru { weights, direction, reset_after } => {
            let layer = recurrent::Backward { x: x(), states: y, gradient: g, weights, direction: *direction };
            one(recurrent::gru_gradient(writer, &layer, *reset_after)?)
        }
        Op::Binary(operation) => binary(writer, of, *operation),
        Op::Unary(operation) => match unary(writer, x(), y, g, *operation)? {
            Some(dx) => one(dx),
            None => Ok(vec![None]),
        },
        Op::Concat { axis } => concat(writer, of, *axis),
        Op::Slice { axis, start, end, step } => one(sliced(writer, x(), g, *axis, (*start, *end, *step))?),
        Op::Pad { pads, mode } => one(padded(writer, x(), g, pads, *mode)?),
        Op::Reshape(_) | Op::Flatten { .. } | Op::Squeeze(_) | Op::Unsqueeze(_) => one(writer.reshape_like(g, x())?),
        Op::Transpose(order) => {
            let mut back = vec![0; order.len()];
            order.iter().enumerate().for_each(|(place, &axis)| back[axis] = place);
            one(writer.transpose(g, &back))
        }
        Op::Expand(_) => one(writer.sum_to(g, &x().shape)?),
        Op::Reduce { axes, keep, reduction } => {
            let axes = if axes.is_empty() { (0..x().rank()).collect() } else { axes.clone() };
            one(reduced(writer, of, &axes, *keep, *reduction)?)
        }
        Op::Gather { axis, index } => {
            let places = writer.size(x().shape[*axis])?;
            one(ungathered(writer, g, *axis, index, places)?)
        }
        Op::Resize { size, rules } => {
            let [rows, columns] = separable::of_resize(writer, x(), *size, *rules)?;
            one(separable::gradient(writer, g, &rows, &columns)?)
        }
        Op::Composed(composition) => composition.write_gradient(writer, of),
    }
}

/// The gradient of a linear layer, `g W`.
///
/// With a square `W` it is `(W' g')'`: `OpenVINO` 2026.4 takes one for the other where a file multiplies by both `W` and its transpose.
fn linear(writer: &mut OnnxWriter, g: &Symbol, weight: &Tensor) -> Result<Symbol> {
    let is_square = weight.dim(0)? == weight.dim(1)?;
    if !is_square || g.rank() < 2 {
        let weight = writer.tensor(weight)?;
        return writer.matmul(g, &weight);
    }
    let weight = writer.transposed(weight)?;
    let mut order: Vec<usize> = (0..g.rank()).collect();
    order.swap(g.rank() - 2, g.rank() - 1);
    let columns = writer.transpose(g, &order);
    let product = writer.matmul(&weight, &columns)?;
    Ok(writer.transpose(&product, &order))
}

/// A convolution's window over any number of axes.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    pub(crate) stride: Vec<usize>,
    pub(crate) dilation: Vec<usize>,
    /// Before and after each axis.
    pub(crate) padding: Vec<[usize; 2]>,
    pub(crate) groups: usize,
}

impl Window {
    /// Of a convolution's `axes` (0 for rows, 1 for columns).
    fn of(conv: &Conv, axes: &[usize]) -> Self {
        Self {
            stride: axes.iter().map(|&axis| conv.stride[axis]).collect(),
            dilation: axes.iter().map(|&axis| conv.dilation[axis]).collect(),
            padding: axes.iter().map(|&axis| [conv.padding[axis], conv.padding[axis + 2]]).collect(),
            groups: conv.groups,
        }
    }

    /// What the taps of `kernel` reach over along `axis`.
    fn reach(&self, axis: usize, kernel: usize) -> usize {
        self.dilation[axis] * (kernel - 1) + 1
    }
}

/// A convolution's input gradient: a transposed convolution to the input's own size.
pub(crate) fn convolution(
    writer: &mut OnnxWriter,
    g: &Symbol,
    weight: &Tensor,
    window: &Window,
    x: &Symbol,
) -> Result<Symbol> {
    let kernel = weight.dims()[2..].to_vec();
    let weight = writer.kernel_for_the_way_back(weight)?;
    scattered(writer, g, &weight, &kernel, window, x)
}

/// Each place of `g` times the kernel, added up where the windows lie in `x`.
fn scattered(
    writer: &mut OnnxWriter,
    g: &Symbol,
    weight: &Symbol,
    kernel: &[usize],
    window: &Window,
    x: &Symbol,
) -> Result<Symbol> {
    let axes = kernel.len();
    let known = (0..axes).all(|axis| fixed(x.shape[axis + 2]).is_some());
    let mut padding = vec![0; 2 * axes];
    let mut extra = vec![0; axes];
    let mut whole = x.shape.clone();
    for axis in 0..axes {
        let (stride, reach) = (window.stride[axis], window.reach(axis, kernel[axis]));
        let [before, after] = window.padding[axis];
        if known {
            let covered = (g.shape[axis + 2][0] - 1) * stride + reach;
            let padded = x.shape[axis + 2][0] + before + after;
            padding[axis] = before;
            padding[axes + axis] = after;
            extra[axis] = padded.saturating_sub(covered);
        } else {
            // As much as any size may need; what is too much is cut off.
            extra[axis] = stride - 1;
            whole[axis + 2] = std::array::from_fn(|trial| (g.shape[axis + 2][trial] - 1) * stride + reach + stride - 1);
        }
    }
    let mut attributes = self::window(&window.stride, &padding, &window.dilation, window.groups);
    attributes.push(counts("kernel_shape", kernel));
    if extra.iter().any(|extra| *extra > 0) {
        attributes.push(counts("output_padding", &extra));
    }
    let y = writer.node("ConvTranspose", &[g, weight], attributes, whole);
    if known {
        return Ok(y);
    }
    // `x` has the place from `before` on, with as many places as it has.
    let sizes = writer.sizes_of(x, 2..axes + 2);
    let starts: Vec<i64> = window.padding.iter().map(|pad| pad[0] as i64).collect();
    let starts = writer.list(&starts);
    let ends = writer.add(&starts, &sizes)?;
    let numbers: Vec<i64> = (2..axes as i64 + 2).collect();
    let numbers = writer.list(&numbers);
    Ok(writer.node("Slice", &[&y, &starts, &ends, &numbers], Vec::new(), x.shape.clone()))
}

/// A transposed convolution's input gradient: the convolution.
pub(crate) fn transposed_convolution(
    writer: &mut OnnxWriter,
    g: &Symbol,
    weight: &Tensor,
    window: &Window,
    x: &Symbol,
) -> Result<Symbol> {
    let axes = weight.rank() - 2;
    let mut padding = vec![0; 2 * axes];
    let mut goal = x.shape.clone();
    for axis in 0..axes {
        let [before, after] = window.padding[axis];
        padding[axis] = before;
        padding[axes + axis] = after;
        let reach = window.reach(axis, weight.dims()[axis + 2]);
        goal[axis + 2] = g.shape[axis + 2].map(|size| (size + before + after - reach) / window.stride[axis] + 1);
    }
    let stored = writer.tensor(weight)?;
    let attributes = self::window(&window.stride, &padding, &window.dilation, window.groups);
    let mut dx = writer.node("Conv", &[g, &stored], attributes, goal);
    // Output padding of a stride or more makes windows that belong to nothing.
    for axis in 2..axes + 2 {
        if dx.shape[axis] != x.shape[axis] {
            let size = writer.size(x.shape[axis])?;
            dx = writer.narrow(&dx, axis, 0, size);
        }
    }
    Ok(dx)
}

/// The gradients of a matrix product.
fn matmul(writer: &mut OnnxWriter, of: &Backward<'_>) -> Result<Vec<Option<Symbol>>> {
    let (a, b) = (of.operands[0], of.operands[1]);
    let one = [1; TRIALS];
    // A vector gets an axis that the result does not have.
    let row: Vec<Extent> = if a.rank() == 1 { vec![one, a.shape[0]] } else { a.shape.clone() };
    let column: Vec<Extent> = if b.rank() == 1 { vec![b.shape[0], one] } else { b.shape.clone() };
    let (left, right) = (writer.reshape(a, &row)?, writer.reshape(b, &column)?);
    let mut whole = of.y.shape.clone();
    if a.rank() == 1 {
        whole.insert(whole.len() - usize::from(b.rank() != 1), one);
    }
    if b.rank() == 1 {
        whole.push(one);
    }
    let g = writer.reshape(of.g, &whole)?;
    let turned = |writer: &mut OnnxWriter, x: &Symbol| {
        let mut order: Vec<usize> = (0..x.rank()).collect();
        order.swap(x.rank() - 2, x.rank() - 1);
        writer.transpose(x, &order)
    };
    let mut gradients = vec![None, None];
    if of.wanted[0] {
        let other = turned(writer, &right);
        let product = writer.matmul(&g, &other)?;
        let sum = writer.sum_to(&product, &left.shape)?;
        gradients[0] = Some(writer.reshape(&sum, &a.shape)?);
    }
    if of.wanted[1] {
        let other = turned(writer, &left);
        let product = writer.matmul(&other, &g)?;
        let sum = writer.sum_to(&product, &right.shape)?;
        gradients[1] = Some(writer.reshape(&sum, &b.shape)?);
    }
    Ok(gradients)
}

/// The gradient of `(x - mean) / sqrt(variance + epsilon)` over `axes`:
/// `(g - mean(g) - y mean(g y)) / sqrt(variance + epsilon)`.
fn standardized(writer: &mut OnnxWriter, x: &Symbol, g: &Symbol, axes: &[usize], epsilon: f64) -> Result<Symbol> {
    let mean = writer.reduce("ReduceMean", x, axes, true);
    let centred = writer.sub(x, &mean)?;
    let square = writer.mul(&centred, &centred)?;
    let variance = writer.reduce("ReduceMean", &square, axes, true);
    let variance = writer.affine(&variance, 1.0, epsilon)?;
    let deviation = writer.unary("Sqrt", &variance);
    let y = writer.div(&centred, &deviation)?;
    let product = writer.mul(g, &y)?;
    let along = writer.reduce("ReduceMean", &product, axes, true);
    let along = writer.mul(&y, &along)?;
    let mean = writer.reduce("ReduceMean", g, axes, true);
    let rest = writer.sub(g, &mean)?;
    let rest = writer.sub(&rest, &along)?;
    writer.div(&rest, &deviation)
}

/// `y (g - sum(g y))`, or `g - exp(y) sum(g)` of the logarithm.
fn softmax(writer: &mut OnnxWriter, y: &Symbol, g: &Symbol, axis: usize, log: bool) -> Result<Symbol> {
    if log {
        let share = writer.unary("Exp", y);
        let sum = writer.reduce("ReduceSum", g, &[axis], true);
        let product = writer.mul(&share, &sum)?;
        return writer.sub(g, &product);
    }
    let product = writer.mul(g, y)?;
    let sum = writer.reduce("ReduceSum", &product, &[axis], true);
    let rest = writer.sub(g, &sum)?;
    writer.mul(y, &rest)
}

/// The gradient of a mean over `axes`, which `g` has with size 1.
fn mean(writer: &mut OnnxWriter, x: &Symbol, g: &Symbol, axes: &[usize]) -> Result<Symbol> {
    let known: Option<Vec<usize>> = axes.iter().map(|&axis| fixed(x.shape[axis])).collect();
    let g = if let Some(sizes) = known {
        writer.affine(g, 1.0 / sizes.iter().product::<usize>() as f64, 0.0)?
    } else {
        let mut total: Option<Symbol> = None;
        for &axis in axes {
            let size = writer.size_of(x, axis);
            total = Some(match total {
                Some(total) => writer.mul(&total, &size)?,
                None => size,
            });
        }
        let total = total.ok_or_else(|| Error::internal("a mean over no axes"))?;
        let total = writer.cast(&total, element::FLOAT);
        writer.div(g, &total)?
    };
    writer.expand_like(&g, x)
}

/// The gradient of a maximum (or minimum) over `axes`, which `g` has with size 1: all of it at the first place.
fn extreme(writer: &mut OnnxWriter, x: &Symbol, g: &Symbol, axes: &[usize], least: bool) -> Result<Symbol> {
    let kept: Vec<usize> = (0..x.rank()).filter(|axis| !axes.contains(axis)).collect();
    let order: Vec<usize> = kept.iter().chain(axes).copied().collect();
    let moved = writer.transpose(x, &order);
    let lengths: Vec<Extent> = axes.iter().map(|&axis| x.shape[axis]).collect();
    let length = writer.sizes(&lengths)?.into_iter().product::<usize>();
    let leading: Vec<Extent> = kept.iter().map(|&axis| x.shape[axis]).collect();
    let rows: Vec<Extent> = leading.iter().copied().chain([[length; TRIALS]]).collect();
    let flat = writer.reshape(&moved, &rows)?;
    let flat = if least { writer.unary("Neg", &flat) } else { flat };
    let hot = writer.first_highest(&flat, kept.len(), length)?;
    let single: Vec<Extent> = leading.iter().copied().chain([[1; TRIALS]]).collect();
    let g = writer.transpose(g, &order);
    let g = writer.reshape(&g, &single)?;
    let spread = writer.mul(&hot, &g)?;
    let spread = writer.reshape_like(&spread, &moved)?;
    let mut back = vec![0; order.len()];
    order.iter().enumerate().for_each(|(place, &axis)| back[axis] = place);
    Ok(writer.transpose(&spread, &back))
}

/// The gradient of a maximum over windows: all of it at the first place of each window.
///
/// Every window becomes a column of its places by a convolution with kernels of a single 1 each, which changes no number;
/// a transposed convolution brings them back. Channels are rows of the batch, so that the kernels are few.
pub(crate) fn max_pool(writer: &mut OnnxWriter, x: &Symbol, y: &Symbol, g: &Symbol, pool: &Pool) -> Result<Symbol> {
    let taps = pool.kernel[0] * pool.kernel[1];
    let channels = x.shape[1];
    let rows: Extent = std::array::from_fn(|trial| x.shape[0][trial] * channels[trial]);
    let one = [1; TRIALS];
    let planes = writer.reshape(x, &[rows, one, x.shape[2], x.shape[3]])?;
    let mut padding = pool.padding;
    if pool.ceil {
        for axis in 0..2 {
            let size = writer.size(x.shape[axis + 2])?;
            padding[axis + 2] = windows::covering(pool, axis, size);
        }
    }
    let [top, left, bottom, right] = padding;
    // Below all numbers, and still a number: 0 times it is 0.
    let seen = writer.pad(&planes, &[[0, 0], [0, 0], [top, bottom], [left, right]], f64::from(f32::MIN));
    let mut kernels = vec![0.0; taps * taps];
    (0..taps).for_each(|tap| kernels[tap * taps + tap] = 1.0);
    let kernels = writer.numbers(&[taps, 1, pool.kernel[0], pool.kernel[1]], &kernels);
    let window =
        Window { stride: pool.stride.to_vec(), dilation: pool.dilation.to_vec(), padding: vec![[0, 0]; 2], groups: 1 };
    let attributes = self::window(&window.stride, &[0; 4], &window.dilation, 1);
    let (height, width) = (y.shape[2], y.shape[3]);
    let columns = writer.node("Conv", &[&seen, &kernels], attributes, vec![rows, [taps; TRIALS], height, width]);
    let hot = writer.first_highest(&columns, 1, taps)?;
    let g = writer.reshape(g, &[rows, one, height, width])?;
    let spread = writer.mul(&hot, &g)?;
    let window = Window { padding: vec![[top, bottom], [left, right]], ..window };
    let planes = scattered(writer, &spread, &kernels, &pool.kernel, &window, &planes)?;
    writer.reshape_like(&planes, x)
}

/// The gradients of an operation of two operands.
fn binary(writer: &mut OnnxWriter, of: &Backward<'_>, operation: Binary) -> Result<Vec<Option<Symbol>>> {
    let (a, b, g) = (of.operands[0], of.operands[1], of.g);
    let mut gradients = vec![None, None];
    for side in 0..2 {
        if !of.wanted[side] {
            continue;
        }
        let own = of.operands[side];
        let other = of.operands[1 - side];
        let whole = match (operation, side) {
            (Binary::Add, _) | (Binary::Sub, 0) => g.clone(),
            (Binary::Sub, _) => writer.unary("Neg", g),
            (Binary::Mul, _) => writer.mul(g, other)?,
            (Binary::Div, 0) => writer.div(g, b)?,
            (Binary::Div, _) => {
                let product = writer.mul(g, of.y)?;
                let quotient = writer.div(&product, b)?;
                writer.unary("Neg", &quotient)
            }
            (Binary::Pow, 0) => {
                // 0 where the exponent is 0, whatever the base.
                let less = writer.affine(b, 1.0, -1.0)?;
                let power = writer.binary("Pow", a, &less)?;
                let partial = writer.mul(b, &power)?;
                let zero = writer.number(0.0);
                let constant = writer.binary("Equal", b, &zero)?;
                let partial = writer.choose(&constant, &zero, &partial)?;
                writer.times_asked(&partial, g)?
            }
            (Binary::Pow, _) => {
                let (zero, one) = (writer.number(0.0), writer.number(1.0));
                let flat = writer.binary("Equal", a, &zero)?;
                let base = writer.choose(&flat, &one, a)?;
                let log = writer.unary("Log", &base);
                let partial = writer.mul(of.y, &log)?;
                writer.times_asked(&partial, g)?
            }
            (Binary::Min | Binary::Max, _) => {
                // Half where both are the same.
                let wins = writer.binary(if operation == Binary::Max { "Greater" } else { "Less" }, own, other)?;
                let tied = writer.binary("Equal", own, other)?;
                let (zero, half) = (writer.number(0.0), writer.number(0.5));
                let one = writer.number(1.0);
                let rest = writer.choose(&tied, &half, &zero)?;
                let share = writer.choose(&wins, &one, &rest)?;
                writer.mul(&share, g)?
            }
        };
        gradients[side] = Some(writer.sum_to(&whole, &own.shape)?);
    }
    Ok(gradients)
}

/// The gradient of an operation of one operand; none where it is a step.
fn unary(writer: &mut OnnxWriter, x: &Symbol, y: &Symbol, g: &Symbol, operation: Unary) -> Result<Option<Symbol>> {
    let derivative = match operation {
        Unary::Floor | Unary::Ceil | Unary::Round | Unary::Sign => return Ok(None),
        Unary::Neg => return Ok(Some(writer.unary("Neg", g))),
        Unary::Abs => {
            let sign = writer.unary("Sign", x);
            return Ok(Some(writer.mul(g, &sign)?));
        }
        Unary::Exp => y.clone(),
        Unary::Log => writer.unary("Reciprocal", x),
        Unary::Sqrt => {
            let half = writer.number(0.5);
            writer.div(&half, y)?
        }
        Unary::Reciprocal => {
            let square = writer.mul(y, y)?;
            writer.unary("Neg", &square)
        }
        Unary::Erf => {
            let square = writer.mul(x, x)?;
            let exponent = writer.unary("Neg", &square);
            let power = writer.unary("Exp", &exponent);
            writer.affine(&power, FRAC_2_SQRT_PI, 0.0)?
        }
        Unary::Sin => writer.unary("Cos", x),
        Unary::Cos => {
            let sine = writer.unary("Sin", x);
            writer.unary("Neg", &sine)
        }
    };
    writer.times_asked(&derivative, g).map(Some)
}

/// The parts of the gradient of what was joined.
fn concat(writer: &mut OnnxWriter, of: &Backward<'_>, axis: usize) -> Result<Vec<Option<Symbol>>> {
    let mut start = 0;
    let mut gradients = Vec::with_capacity(of.operands.len());
    for (operand, wanted) in of.operands.iter().zip(of.wanted) {
        let size = writer.size(operand.shape[axis])?;
        gradients.push(wanted.then(|| writer.narrow(of.g, axis, start, size)));
        start += size;
    }
    Ok(gradients)
}

/// The gradient of a slice: zeros where nothing was taken.
fn sliced(
    writer: &mut OnnxWriter,
    x: &Symbol,
    g: &Symbol,
    axis: usize,
    (start, end, step): (usize, Option<usize>, isize),
) -> Result<Symbol> {
    if x.shape[axis] == g.shape[axis] && step == 1 {
        return Ok(g.clone());
    }
    let (size, taken) = (writer.size(x.shape[axis])?, writer.size(g.shape[axis])?);
    if step < 0 {
        let index: Vec<usize> = (0..taken).map(|place| start - place * step.unsigned_abs()).collect();
        return ungathered(writer, g, axis, &index, size);
    }
    let _ = end;
    spaced(writer, g, axis, (start, step.unsigned_abs()), (taken, size))
}

/// `taken` places at `start`, `start + step` … of an axis of `size`, zeros between them.
fn spaced(
    writer: &mut OnnxWriter,
    g: &Symbol,
    axis: usize,
    (start, step): (usize, usize),
    (taken, size): (usize, usize),
) -> Result<Symbol> {
    let mut pads = vec![[0, 0]; g.rank()];
    if step == 1 {
        pads[axis] = [start, size - start - taken];
        return Ok(writer.pad(g, &pads, 0.0));
    }
    // Each place becomes the first of `step`.
    let mut shape = g.shape.clone();
    shape.insert(axis + 1, [1; TRIALS]);
    let apart = writer.reshape(g, &shape)?;
    let mut between = vec![[0, 0]; shape.len()];
    between[axis + 1] = [0, step - 1];
    let apart = writer.pad(&apart, &between, 0.0);
    let mut joined = g.shape.clone();
    joined[axis] = [taken * step; TRIALS];
    let mut y = writer.reshape(&apart, &joined)?;
    let room = size - start;
    if taken * step > room {
        y = writer.narrow(&y, axis, 0, room);
    }
    pads[axis] = [start, room.saturating_sub(taken * step)];
    Ok(writer.pad(&y, &pads, 0.0))
}

/// The gradient of a selection: each place gets the sum of where it went.
pub(crate) fn ungathered(
    writer: &mut OnnxWriter,
    g: &Symbol,
    axis: usize,
    index: &[usize],
    size: usize,
) -> Result<Symbol> {
    let Some(&first) = index.first() else { return Err(Error::internal("a selection of nothing")) };
    if index.iter().enumerate().all(|(place, &from)| from == first + place) {
        return spaced(writer, g, axis, (first, 1), (index.len(), size));
    }
    let mut places = vec![None; size];
    for (place, &from) in index.iter().enumerate() {
        places[from] = Some(place);
    }
    if index.len() == size
        && let Some(inverse) = places.into_iter().collect::<Option<Vec<usize>>>()
    {
        return Ok(writer.gather(g, axis, &inverse));
    }
    let mut hits = vec![0.0; index.len() * size];
    index.iter().enumerate().for_each(|(place, &from)| hits[place * size + from] = 1.0);
    let matrix = writer.numbers(&[index.len(), size], &hits);
    let mut order: Vec<usize> = (0..g.rank()).collect();
    order.swap(axis, g.rank() - 1);
    let last = writer.transpose(g, &order);
    let sums = if last.rank() == 1 {
        let row = writer.reshape(&last, &[[1; TRIALS], last.shape[0]])?;
        let sums = writer.matmul(&row, &matrix)?;
        writer.reshape(&sums, &sizes(&[size]))?
    } else {
        writer.matmul(&last, &matrix)?
    };
    Ok(writer.transpose(&sums, &order))
}

/// The gradient of what was padded.
fn padded(writer: &mut OnnxWriter, x: &Symbol, g: &Symbol, pads: &[[isize; 2]], mode: PadMode) -> Result<Symbol> {
    let mut dx = g.clone();
    for (axis, &[before, after]) in pads.iter().enumerate() {
        if [before, after] == [0, 0] {
            continue;
        }
        let size = writer.size(x.shape[axis])?;
        if let PadMode::Constant(_) = mode {
            // What was cut off has no gradient, what was added is dropped.
            let (start, end) = (before.max(0).unsigned_abs(), after.max(0).unsigned_abs());
            let whole = writer.size(dx.shape[axis])?;
            dx = writer.narrow(&dx, axis, start, whole - start - end);
            let mut zeros = vec![[0, 0]; x.rank()];
            zeros[axis] = [before.min(0).unsigned_abs(), after.min(0).unsigned_abs()];
            dx = writer.pad(&dx, &zeros, 0.0);
            continue;
        }
        let last = size as isize - 1;
        let source = |place: isize| match mode {
            PadMode::Reflect if place < 0 => -place,
            PadMode::Reflect if place > last => 2 * last - place,
            _ => place.clamp(0, last),
        };
        let index: Vec<usize> = (-before..size as isize + after).map(|place| source(place).unsigned_abs()).collect();
        dx = ungathered(writer, &dx, axis, &index, size)?;
    }
    Ok(dx)
}

/// The gradient of what was reduced.
fn reduced(
    writer: &mut OnnxWriter,
    of: &Backward<'_>,
    axes: &[usize],
    keep: bool,
    reduction: Reduction,
) -> Result<Symbol> {
    let x = of.operands[0];
    let mut kept = x.shape.clone();
    for &axis in axes {
        kept[axis] = [1; TRIALS];
    }
    let (g, y) =
        if keep { (of.g.clone(), of.y.clone()) } else { (writer.reshape(of.g, &kept)?, writer.reshape(of.y, &kept)?) };
    match reduction {
        Reduction::Mean => mean(writer, x, &g, axes),
        Reduction::Sum => writer.expand_like(&g, x),
        Reduction::Max => extreme(writer, x, &g, axes, false),
        Reduction::Min => extreme(writer, x, &g, axes, true),
        Reduction::L1 => {
            let sign = writer.unary("Sign", x);
            writer.mul(&sign, &g)
        }
        Reduction::L2 => {
            let direction = writer.divide_or_zero(x, &y)?;
            writer.mul(&direction, &g)
        }
        Reduction::SumSquare => {
            let double = writer.affine(x, 2.0, 0.0)?;
            writer.mul(&double, &g)
        }
        Reduction::LogSumExp => {
            let less = writer.sub(x, &y)?;
            let share = writer.unary("Exp", &less);
            writer.mul(&share, &g)
        }
    }
}
