//! The rules of class activation maps as ONNX's operators: each formula once more, beside `faithful_cam`'s own; the tests
//! compare the two.

use faithful_core::Result;
use faithful_model::export::{OnnxWriter, Symbol};

/// A layer's activation and its gradient, `(N, C, h, w)` or `(N, C, t)`.
pub(super) struct Trace {
    pub(super) activation: Symbol,
    pub(super) gradient: Symbol,
}

/// A rule: what of a draw is averaged, and the map of the averages and the input's own activation.
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) sensitivity: fn(&mut OnnxWriter, &Trace) -> Result<Vec<Symbol>>,
    pub(super) map: fn(&mut OnnxWriter, &Symbol, &[Symbol]) -> Result<Symbol>,
}

/// Every rule that has a form in ONNX.
pub(super) const RULES: &[Rule] = &[
    Rule { name: "grad-cam", sensitivity: gradient, map: grad_cam },
    Rule { name: "cam", sensitivity: gradient, map: cam },
    Rule { name: "grad-cam++", sensitivity: grad_cam_plus_plus, map: summed },
    Rule { name: "expected-grad-cam++", sensitivity: plus_plus_weights, map: grad_cam },
    Rule { name: "smooth-grad-cam++", sensitivity: powers, map: smooth_grad_cam_plus_plus },
    Rule { name: "xgrad-cam", sensitivity: gradient, map: xgrad_cam },
    Rule { name: "hires-cam", sensitivity: gradient, map: hires_cam },
    Rule { name: "layer-cam", sensitivity: gradient, map: layer_cam },
    Rule { name: "grad-cam-elementwise", sensitivity: gradient, map: element_wise },
];

/// The axes of place.
fn places(x: &Symbol) -> Vec<usize> {
    (2..x.rank()).collect()
}

fn sum_places(writer: &mut OnnxWriter, x: &Symbol) -> Symbol {
    writer.reduce("ReduceSum", x, &places(x), true)
}

/// The sum over channels.
fn sum_channels(writer: &mut OnnxWriter, x: &Symbol) -> Symbol {
    writer.reduce("ReduceSum", x, &[1], false)
}

fn rectified(writer: &mut OnnxWriter, x: &Symbol) -> Symbol {
    writer.unary("Relu", x)
}

#[allow(clippy::unnecessary_wraps)] // A line of the table: others can fail.
fn gradient(_: &mut OnnxWriter, trace: &Trace) -> Result<Vec<Symbol>> {
    Ok(vec![trace.gradient.clone()])
}

/// `ReLU(sum_k A_k mean(S_k))`.
fn grad_cam(writer: &mut OnnxWriter, activation: &Symbol, of: &[Symbol]) -> Result<Symbol> {
    let weights = writer.reduce("ReduceMean", &of[0], &places(&of[0]), true);
    let weighted = writer.mul(activation, &weights)?;
    let map = sum_channels(writer, &weighted);
    Ok(rectified(writer, &map))
}

/// `sum_k A_k sum(S_k)`, signed.
fn cam(writer: &mut OnnxWriter, activation: &Symbol, of: &[Symbol]) -> Result<Symbol> {
    let weights = sum_places(writer, &of[0]);
    let weighted = writer.mul(activation, &weights)?;
    Ok(sum_channels(writer, &weighted))
}

/// `ReLU(sum_k A_k sum(S_k))`.
fn summed(writer: &mut OnnxWriter, activation: &Symbol, of: &[Symbol]) -> Result<Symbol> {
    let map = cam(writer, activation, of)?;
    Ok(rectified(writer, &map))
}

/// `1 / (2 + g sum(A))`, 0 where the gradient or the denominator is 0.
fn alphas(writer: &mut OnnxWriter, trace: &Trace) -> Result<Symbol> {
    let total = sum_places(writer, &trace.activation);
    let denominator = writer.mul(&trace.gradient, &total)?;
    let denominator = writer.affine(&denominator, 1.0, 2.0)?;
    let zero = writer.number(0.0);
    let still = writer.binary("Equal", &trace.gradient, &zero)?;
    let one = writer.number(1.0);
    let active = writer.choose(&still, &zero, &one)?;
    writer.divide_or_zero(&active, &denominator)
}

fn grad_cam_plus_plus(writer: &mut OnnxWriter, trace: &Trace) -> Result<Vec<Symbol>> {
    let alphas = alphas(writer, trace)?;
    let positive = rectified(writer, &trace.gradient);
    Ok(vec![writer.mul(&alphas, &positive)?])
}

/// `g^2 / (2 g^2 + sum(A g^3))`, both divided by the square of the channel's largest gradient.
fn plus_plus_weights(writer: &mut OnnxWriter, trace: &Trace) -> Result<Vec<Symbol>> {
    let size = writer.unary("Abs", &trace.gradient);
    let largest = writer.reduce("ReduceMax", &size, &places(&size), true);
    let relative = writer.divide_or_zero(&trace.gradient, &largest)?;
    let square = writer.mul(&relative, &relative)?;
    let cube = writer.mul(&square, &relative)?;
    let product = writer.mul(&trace.activation, &cube)?;
    let inner = sum_places(writer, &product);
    let inner = writer.mul(&inner, &largest)?;
    let double = writer.affine(&square, 2.0, 0.0)?;
    let denominator = writer.add(&double, &inner)?;
    Ok(vec![writer.divide_or_zero(&square, &denominator)?])
}

/// The gradient and its second and third power.
fn powers(writer: &mut OnnxWriter, trace: &Trace) -> Result<Vec<Symbol>> {
    let square = writer.mul(&trace.gradient, &trace.gradient)?;
    let cube = writer.mul(&square, &trace.gradient)?;
    Ok(vec![trace.gradient.clone(), square, cube])
}

/// `D1 / (2 D2 + D3 sum(A))` times `ReLU(D1)`, summed over places, as weights.
fn smooth_grad_cam_plus_plus(writer: &mut OnnxWriter, activation: &Symbol, of: &[Symbol]) -> Result<Symbol> {
    let total = sum_places(writer, activation);
    let inner = writer.mul(&of[2], &total)?;
    let double = writer.affine(&of[1], 2.0, 0.0)?;
    let denominator = writer.add(&double, &inner)?;
    let alphas = writer.divide_or_zero(&of[0], &denominator)?;
    let positive = rectified(writer, &of[0]);
    let weights = writer.mul(&alphas, &positive)?;
    summed(writer, activation, &[weights])
}

/// `ReLU(sum_k A_k sum(S_k A_k) / sum(A_k))`, a channel without activation left out.
fn xgrad_cam(writer: &mut OnnxWriter, activation: &Symbol, of: &[Symbol]) -> Result<Symbol> {
    let product = writer.mul(&of[0], activation)?;
    let product = sum_places(writer, &product);
    let total = sum_places(writer, activation);
    let weights = writer.divide_or_zero(&product, &total)?;
    let weighted = writer.mul(activation, &weights)?;
    let map = sum_channels(writer, &weighted);
    Ok(rectified(writer, &map))
}

/// `ReLU(sum_k S_k A_k)`.
fn hires_cam(writer: &mut OnnxWriter, activation: &Symbol, of: &[Symbol]) -> Result<Symbol> {
    let product = writer.mul(&of[0], activation)?;
    let map = sum_channels(writer, &product);
    Ok(rectified(writer, &map))
}

/// `ReLU(sum_k ReLU(S_k) A_k)`.
fn layer_cam(writer: &mut OnnxWriter, activation: &Symbol, of: &[Symbol]) -> Result<Symbol> {
    let positive = rectified(writer, &of[0]);
    hires_cam(writer, activation, &[positive])
}

/// `sum_k ReLU(S_k A_k)`.
fn element_wise(writer: &mut OnnxWriter, activation: &Symbol, of: &[Symbol]) -> Result<Symbol> {
    let product = writer.mul(&of[0], activation)?;
    let positive = rectified(writer, &product);
    Ok(sum_channels(writer, &positive))
}
