//! Activations and their derivatives, as ONNX's operators.

use super::OnnxWriter;
use super::attribute::float;
use super::symbol::Symbol;
use faithful_core::{BackwardRule, Result};
use faithful_kernel::{GELU_TANH, NORMAL_DENSITY};
use faithful_tensor::Activation;
use std::f64::consts::FRAC_1_SQRT_2;

/// The activation of `x`, the last node called `name`.
pub(super) fn value(writer: &mut OnnxWriter, name: &str, x: &Symbol, kind: Activation) -> Result<Symbol> {
    let (operator, attributes) = match kind {
        Activation::Relu => ("Relu", Vec::new()),
        Activation::LeakyRelu { slope } => ("LeakyRelu", vec![float("alpha", slope)]),
        Activation::Elu { alpha } => ("Elu", vec![float("alpha", alpha)]),
        Activation::Sigmoid => ("Sigmoid", Vec::new()),
        Activation::Tanh => ("Tanh", Vec::new()),
        Activation::Softplus => ("Softplus", Vec::new()),
        Activation::Softsign => ("Softsign", Vec::new()),
        Activation::HardSwish => ("HardSwish", Vec::new()),
        Activation::HardSigmoid { alpha, beta } => ("HardSigmoid", vec![float("alpha", alpha), float("beta", beta)]),
        Activation::Clip { low, high } => {
            let bound = |writer: &mut OnnxWriter, value: f64| {
                if value.is_finite() { writer.number(value) } else { OnnxWriter::absent() }
            };
            let (low, high) = (bound(writer, low), bound(writer, high));
            return Ok(writer.named_node(name, "Clip", &[x, &low, &high], Vec::new(), x.shape.clone()));
        }
        Activation::Selu { alpha, beta, gamma } => {
            let positive = writer.affine(x, gamma, 0.0)?;
            let inner = writer.affine(x, 1.0 / beta, 0.0)?;
            // Above 0 the exponential is not taken, and must not be infinite.
            let zero = writer.number(0.0);
            let inner = writer.binary("Min", &inner, &zero)?;
            let power = writer.unary("Exp", &inner);
            let negative = writer.affine(&power, gamma * alpha, -gamma * alpha)?;
            let above = writer.binary("Greater", x, &zero)?;
            return writer.choose(&above, &positive, &negative);
        }
        Activation::Gelu => {
            let share = normal_share(writer, x)?;
            return Ok(writer.named_node(name, "Mul", &[x, &share], Vec::new(), x.shape.clone()));
        }
        Activation::GeluTanh => {
            let t = gelu_tanh(writer, x)?;
            let share = writer.affine(&t, 0.5, 0.5)?;
            return Ok(writer.named_node(name, "Mul", &[x, &share], Vec::new(), x.shape.clone()));
        }
        Activation::Silu => {
            let share = writer.unary("Sigmoid", x);
            return Ok(writer.named_node(name, "Mul", &[x, &share], Vec::new(), x.shape.clone()));
        }
        Activation::Mish => {
            let soft = writer.unary("Softplus", x);
            let share = writer.unary("Tanh", &soft);
            return Ok(writer.named_node(name, "Mul", &[x, &share], Vec::new(), x.shape.clone()));
        }
    };
    Ok(writer.named_node(name, operator, &[x], attributes, x.shape.clone()))
}

/// `Phi(x)`.
fn normal_share(writer: &mut OnnxWriter, x: &Symbol) -> Result<Symbol> {
    let scaled = writer.affine(x, FRAC_1_SQRT_2, 0.0)?;
    let erf = writer.unary("Erf", &scaled);
    writer.affine(&erf, 0.5, 0.5)
}

/// The hyperbolic tangent in GELU's approximation.
fn gelu_tanh(writer: &mut OnnxWriter, x: &Symbol) -> Result<Symbol> {
    let square = writer.mul(x, x)?;
    let factor = writer.affine(&square, GELU_TANH.0 * GELU_TANH.1, GELU_TANH.0)?;
    let inner = writer.mul(x, &factor)?;
    Ok(writer.unary("Tanh", &inner))
}

/// The gradient of the operand `x`, whose value `y` has the gradient `g`.
pub(super) fn gradient(
    writer: &mut OnnxWriter,
    [x, y, g]: [&Symbol; 3],
    kind: Activation,
    rule: BackwardRule,
) -> Result<Symbol> {
    match rule {
        BackwardRule::Deconvnet => Ok(writer.unary("Relu", g)),
        BackwardRule::Guided => {
            let positive = writer.unary("Relu", g);
            plain(writer, [x, y, &positive], kind)
        }
        BackwardRule::Plain => plain(writer, [x, y, g], kind),
    }
}

/// The derivative times `g`.
fn plain(writer: &mut OnnxWriter, [x, y, g]: [&Symbol; 3], kind: Activation) -> Result<Symbol> {
    let zero = writer.number(0.0);
    let one_minus_square = |writer: &mut OnnxWriter, t: &Symbol| -> Result<Symbol> {
        let square = writer.mul(t, t)?;
        writer.affine(&square, -1.0, 1.0)
    };
    let derivative = match kind {
        Activation::Relu => {
            let above = writer.binary("Greater", x, &zero)?;
            return writer.choose(&above, g, &zero);
        }
        Activation::Clip { low, high } => {
            let inside = between(writer, x, low, high)?;
            return match inside {
                Some(inside) => writer.choose(&inside, g, &zero),
                None => Ok(g.clone()),
            };
        }
        Activation::LeakyRelu { slope } => {
            let above = writer.binary("Greater", x, &zero)?;
            let less = writer.affine(g, slope, 0.0)?;
            return writer.choose(&above, g, &less);
        }
        Activation::Elu { alpha } => {
            let derivative = exponential(writer, x, 1.0, alpha)?;
            let above = writer.binary("Greater", x, &zero)?;
            let less = writer.mul(g, &derivative)?;
            return writer.choose(&above, g, &less);
        }
        Activation::Selu { alpha, beta, gamma } => {
            let below = exponential(writer, x, 1.0 / beta, gamma * alpha / beta)?;
            let above = writer.binary("Greater", x, &zero)?;
            let slope = writer.number(gamma);
            writer.choose(&above, &slope, &below)?
        }
        Activation::Gelu => {
            let share = normal_share(writer, x)?;
            let square = writer.mul(x, x)?;
            let exponent = writer.affine(&square, -0.5, 0.0)?;
            let power = writer.unary("Exp", &exponent);
            let density = writer.affine(&power, NORMAL_DENSITY, 0.0)?;
            let moved = writer.mul(x, &density)?;
            writer.add(&share, &moved)?
        }
        Activation::GeluTanh => {
            let t = gelu_tanh(writer, x)?;
            let share = writer.affine(&t, 0.5, 0.5)?;
            let slope = one_minus_square(writer, &t)?;
            let square = writer.mul(x, x)?;
            let inner = writer.affine(&square, 1.5 * GELU_TANH.0 * GELU_TANH.1, 0.5 * GELU_TANH.0)?;
            let moved = writer.mul(x, &slope)?;
            let moved = writer.mul(&moved, &inner)?;
            writer.add(&share, &moved)?
        }
        Activation::Silu => {
            let share = writer.unary("Sigmoid", x);
            // share + y (1 - share)
            let rest = writer.affine(&share, -1.0, 1.0)?;
            let moved = writer.mul(y, &rest)?;
            writer.add(&share, &moved)?
        }
        Activation::Sigmoid => {
            let rest = writer.affine(y, -1.0, 1.0)?;
            writer.mul(y, &rest)?
        }
        Activation::Tanh => one_minus_square(writer, y)?,
        Activation::Softplus => writer.unary("Sigmoid", x),
        Activation::Softsign => {
            let size = writer.unary("Abs", x);
            let size = writer.affine(&size, 1.0, 1.0)?;
            let square = writer.mul(&size, &size)?;
            return writer.div(g, &square);
        }
        Activation::Mish => {
            let soft = writer.unary("Softplus", x);
            let t = writer.unary("Tanh", &soft);
            let slope = one_minus_square(writer, &t)?;
            let share = writer.unary("Sigmoid", x);
            let moved = writer.mul(x, &share)?;
            let moved = writer.mul(&moved, &slope)?;
            writer.add(&t, &moved)?
        }
        Activation::HardSwish => {
            let line = writer.affine(x, 1.0 / 3.0, 0.5)?;
            let (low, high) = (writer.number(-3.0), writer.number(3.0));
            let above = writer.binary("Greater", x, &low)?;
            let rising = writer.choose(&above, &line, &zero)?;
            let full = writer.binary("GreaterOrEqual", x, &high)?;
            let one = writer.number(1.0);
            writer.choose(&full, &one, &rising)?
        }
        Activation::HardSigmoid { alpha, .. } => {
            let inside = between(writer, y, 0.0, 1.0)?.unwrap_or_else(|| y.clone());
            let scaled = writer.affine(g, alpha, 0.0)?;
            return writer.choose(&inside, &scaled, &zero);
        }
    };
    writer.mul(g, &derivative)
}

/// `factor * exp(min(rate * x, 0))`.
fn exponential(writer: &mut OnnxWriter, x: &Symbol, rate: f64, factor: f64) -> Result<Symbol> {
    let zero = writer.number(0.0);
    let inner = writer.affine(x, rate, 0.0)?;
    let inner = writer.binary("Min", &inner, &zero)?;
    let power = writer.unary("Exp", &inner);
    writer.affine(&power, factor, 0.0)
}

/// Where `x` lies strictly between bounds; `None` where neither is finite.
fn between(writer: &mut OnnxWriter, x: &Symbol, low: f64, high: f64) -> Result<Option<Symbol>> {
    let mut all: Option<Symbol> = None;
    for (operator, bound) in [("Greater", low), ("Less", high)] {
        if !bound.is_finite() {
            continue;
        }
        let bound = writer.number(bound);
        let one = writer.binary(operator, x, &bound)?;
        all = Some(match all {
            Some(other) => writer.binary("And", &other, &one)?,
            None => one,
        });
    }
    Ok(all)
}
