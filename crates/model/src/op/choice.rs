//! Choices and comparisons on values that depend on the input.

use super::Composition;
use super::shape::broadcast;
use crate::export::{Backward, Extent, OnnxWriter, Symbol};
use candle_core::{Result, Tensor};
use faithful_core::BackwardRule;
use faithful_tensor::{Binary, choose, guarded_binary};
use std::sync::Arc;

/// What operands of these shapes broadcast to.
fn joined(operands: &[&[usize]]) -> std::result::Result<Vec<usize>, String> {
    let shape = operands.iter().try_fold(Vec::new(), |whole, shape| broadcast(&whole, shape));
    shape.ok_or_else(|| format!("shapes that broadcast, not {operands:?}"))
}

/// [`faithful_tensor::choose`]: condition, what is taken where it is not zero, what elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choose;

impl Composition for Choose {
    fn kind(&self) -> &'static str {
        "where"
    }

    fn arity(&self) -> (usize, usize) {
        (3, 3)
    }

    fn weights(&self) -> Vec<&Tensor> {
        Vec::new()
    }

    fn with_weights(&self, _: Vec<Tensor>) -> Arc<dyn Composition> {
        Arc::new(*self)
    }

    fn shape(&self, operands: &[&[usize]]) -> std::result::Result<Vec<usize>, String> {
        joined(operands)
    }

    fn evaluate(&self, operands: &[&Tensor], _: BackwardRule) -> Result<Tensor> {
        choose(operands[0], operands[1], operands[2])
    }

    fn is_elementwise(&self) -> bool {
        true
    }

    fn chooses(&self) -> bool {
        true
    }

    fn write(&self, writer: &mut OnnxWriter, operands: &[&Symbol], _: &[Extent]) -> faithful_core::Result<Symbol> {
        let condition = writer.as_condition(operands[0]);
        writer.choose(&condition, operands[1], operands[2])
    }

    fn write_gradient(&self, writer: &mut OnnxWriter, of: &Backward<'_>) -> faithful_core::Result<Vec<Option<Symbol>>> {
        let condition = writer.as_condition(of.operands[0]);
        let zero = writer.number(0.0);
        let mut gradients = vec![None; 3];
        for side in [1, 2] {
            if of.wanted[side] {
                let [taken, other] = if side == 1 { [of.g, &zero] } else { [&zero, of.g] };
                let part = writer.choose(&condition, taken, other)?;
                gradients[side] = Some(writer.sum_to(&part, of.operands[side].shape())?);
            }
        }
        Ok(gradients)
    }
}

/// [`faithful_tensor::guarded_binary`]: a product or quotient in a branch that need not be taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guarded(pub(crate) Binary);

impl Composition for Guarded {
    fn kind(&self) -> &'static str {
        if self.0 == Binary::Div { "div" } else { "mul" }
    }

    fn arity(&self) -> (usize, usize) {
        (2, 2)
    }

    fn weights(&self) -> Vec<&Tensor> {
        Vec::new()
    }

    fn with_weights(&self, _: Vec<Tensor>) -> Arc<dyn Composition> {
        Arc::new(*self)
    }

    fn shape(&self, operands: &[&[usize]]) -> std::result::Result<Vec<usize>, String> {
        joined(operands)
    }

    fn evaluate(&self, operands: &[&Tensor], _: BackwardRule) -> Result<Tensor> {
        guarded_binary(operands[0], operands[1], self.0)
    }

    fn is_elementwise(&self) -> bool {
        true
    }

    fn write(&self, writer: &mut OnnxWriter, operands: &[&Symbol], _: &[Extent]) -> faithful_core::Result<Symbol> {
        writer.binary(if self.0 == Binary::Div { "Div" } else { "Mul" }, operands[0], operands[1])
    }

    fn write_gradient(&self, writer: &mut OnnxWriter, of: &Backward<'_>) -> faithful_core::Result<Vec<Option<Symbol>>> {
        let mut gradients = vec![None; 2];
        for (side, gradient) in gradients.iter_mut().enumerate().filter(|(side, _)| of.wanted[*side]) {
            let other = of.operands[1 - side];
            let partial = match (self.0, side) {
                (Binary::Div, 0) => writer.unary("Reciprocal", other),
                (Binary::Div, _) => {
                    let quotient = writer.div(of.y, of.operands[1])?;
                    writer.unary("Neg", &quotient)
                }
                _ => other.clone(),
            };
            let part = writer.times_asked(&partial, of.g)?;
            *gradient = Some(writer.sum_to(&part, of.operands[side].shape())?);
        }
        Ok(gradients)
    }
}

/// A comparison or a logical operation: 1 where it holds, 0 elsewhere; its gradient is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub(crate) enum Truth {
    Equal,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    And,
    Or,
    Xor,
    Not,
    /// Not zero.
    Set,
    IsNaN,
    /// Infinite, `[negative, positive]`.
    IsInf([bool; 2]),
}

impl Truth {
    /// ONNX's operator of that name.
    pub(crate) fn named(operator: &str) -> Option<Self> {
        Some(match operator {
            "Equal" => Self::Equal,
            "Greater" => Self::Greater,
            "Less" => Self::Less,
            "GreaterOrEqual" => Self::GreaterOrEqual,
            "LessOrEqual" => Self::LessOrEqual,
            "And" => Self::And,
            "Or" => Self::Or,
            "Xor" => Self::Xor,
            "Not" => Self::Not,
            "IsNaN" => Self::IsNaN,
            _ => return None,
        })
    }

    /// Whether an operation of that kind gives truth values.
    pub(crate) fn is_kind(kind: &str) -> bool {
        let all =
            [Self::Equal, Self::Greater, Self::Less, Self::GreaterOrEqual, Self::LessOrEqual, Self::And, Self::Or];
        let others = [Self::Xor, Self::Not, Self::Set, Self::IsNaN, Self::IsInf([true; 2])];
        all.iter().chain(&others).any(|truth| truth.kind() == kind)
    }

    fn takes_one(self) -> bool {
        matches!(self, Self::Not | Self::Set | Self::IsNaN | Self::IsInf(_))
    }

    fn bits(self, operands: &[&Tensor]) -> Result<Tensor> {
        let a = operands[0].detach();
        let b = operands.last().map_or_else(|| a.clone(), |b| b.detach());
        let set = |x: &Tensor| x.ne(0.);
        match self {
            Self::Equal => a.broadcast_eq(&b),
            Self::Greater => a.broadcast_gt(&b),
            Self::Less => a.broadcast_lt(&b),
            Self::GreaterOrEqual => a.broadcast_ge(&b),
            Self::LessOrEqual => a.broadcast_le(&b),
            Self::And => set(&a)?.broadcast_mul(&set(&b)?),
            Self::Or => set(&a)?.broadcast_maximum(&set(&b)?),
            Self::Xor => set(&a)?.broadcast_ne(&set(&b)?),
            Self::Not => a.eq(0.),
            Self::Set => set(&a),
            Self::IsNaN => a.ne(&a),
            Self::IsInf([negative, positive]) => {
                let of = |sign: bool, value: f64| if sign { a.eq(value) } else { a.zeros_like()?.ne(0.) };
                of(negative, f64::NEG_INFINITY)?.maximum(&of(positive, f64::INFINITY)?)
            }
        }
    }
}

impl Composition for Truth {
    fn kind(&self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Greater => "greater",
            Self::Less => "less",
            Self::GreaterOrEqual => "greater-or-equal",
            Self::LessOrEqual => "less-or-equal",
            Self::And => "and",
            Self::Or => "or",
            Self::Xor => "xor",
            Self::Not => "not",
            Self::Set => "not-zero",
            Self::IsNaN => "is-nan",
            Self::IsInf(_) => "is-infinite",
        }
    }

    fn arity(&self) -> (usize, usize) {
        if self.takes_one() { (1, 1) } else { (2, 2) }
    }

    fn weights(&self) -> Vec<&Tensor> {
        Vec::new()
    }

    fn with_weights(&self, _: Vec<Tensor>) -> Arc<dyn Composition> {
        Arc::new(*self)
    }

    fn shape(&self, operands: &[&[usize]]) -> std::result::Result<Vec<usize>, String> {
        joined(operands)
    }

    fn evaluate(&self, operands: &[&Tensor], _: BackwardRule) -> Result<Tensor> {
        self.bits(operands)?.to_dtype(operands[0].dtype())
    }

    fn is_elementwise(&self) -> bool {
        true
    }

    fn write(&self, writer: &mut OnnxWriter, operands: &[&Symbol], _: &[Extent]) -> faithful_core::Result<Symbol> {
        let name = match self {
            Self::Equal => "Equal",
            Self::Greater => "Greater",
            Self::Less => "Less",
            Self::GreaterOrEqual => "GreaterOrEqual",
            Self::LessOrEqual => "LessOrEqual",
            Self::And | Self::Or | Self::Xor => {
                let [a, b] = [writer.as_condition(operands[0]), writer.as_condition(operands[1])];
                let name = match self {
                    Self::And => "And",
                    Self::Or => "Or",
                    _ => "Xor",
                };
                let held = writer.binary(name, &a, &b)?;
                return Ok(writer.as_number(&held));
            }
            Self::Not => {
                let condition = writer.as_condition(operands[0]);
                let held = writer.unary("Not", &condition);
                return Ok(writer.as_number(&held));
            }
            Self::Set => {
                let held = writer.as_condition(operands[0]);
                return Ok(writer.as_number(&held));
            }
            Self::IsNaN => {
                let held = writer.unary("IsNaN", operands[0]);
                return Ok(writer.as_number(&held));
            }
            Self::IsInf(signs) => {
                let held = writer.is_infinite(operands[0], *signs);
                return Ok(writer.as_number(&held));
            }
        };
        let held = writer.binary(name, operands[0], operands[1])?;
        Ok(writer.as_number(&held))
    }

    fn write_gradient(&self, _: &mut OnnxWriter, of: &Backward<'_>) -> faithful_core::Result<Vec<Option<Symbol>>> {
        Ok(vec![None; of.operands.len()])
    }
}
