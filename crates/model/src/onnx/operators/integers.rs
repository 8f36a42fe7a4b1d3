//! Arithmetic on shapes and indices, which may depend on the size of the batch.

use crate::onnx::call::Call;
use crate::onnx::import::small;
use crate::onnx::value::{Integers, Size};
use crate::op::shape::broadcast;
use faithful_core::Result;
use std::cmp::Ordering;

/// Operators of two or more operands.
pub(super) fn several(call: &Call, operands: &[Integers]) -> Result<Integers> {
    let Some((first, rest)) = operands.split_first() else { return Err(call.damaged("no operands")) };
    let operator = call.node.op_type.as_str();
    rest.iter().try_fold(first.clone(), |total, operand| zip(call, &total, operand, |a, b| two(operator, a, b)))
}

fn two(operator: &str, a: Size, b: Size) -> Option<Size> {
    let truth = |bit: bool| Some(Size::from(i64::from(bit)));
    let set = |size: Size| size != Size::from(0);
    match operator {
        "Add" | "Sum" => a.add(b),
        "Sub" => a.add(b.negated()?),
        "Mul" => a.multiply(b),
        "Div" => a.divide(b),
        "Mod" => {
            // The sign is the divisor's, as in Python.
            let (number, divisor) = (a.fixed()?, b.fixed()?);
            let rest = number.checked_rem(divisor)?;
            let other_sign = rest != 0 && (rest < 0) != (divisor < 0);
            Some(Size::from(if other_sign { rest + divisor } else { rest }))
        }
        "Pow" => Some(Size::from(a.fixed()?.checked_pow(u32::try_from(b.fixed()?).ok()?)?)),
        "Min" => Some(if a.order(b) == Ordering::Greater { b } else { a }),
        "Max" => Some(if a.order(b) == Ordering::Less { b } else { a }),
        "Equal" => truth(a == b),
        "Greater" => truth(a.order(b) == Ordering::Greater),
        "Less" => truth(a.order(b) == Ordering::Less),
        "GreaterOrEqual" => truth(a.order(b) != Ordering::Less),
        "LessOrEqual" => truth(a.order(b) != Ordering::Greater),
        "And" => truth(set(a) && set(b)),
        "Or" => truth(set(a) || set(b)),
        "Xor" => truth(set(a) != set(b)),
        _ => None,
    }
}

/// Operators of one operand.
pub(super) fn one(call: &Call, operand: &Integers) -> Result<Integers> {
    let operator = call.node.op_type.as_str();
    let value = |size: Size| match operator {
        "Neg" => size.negated(),
        "Abs" => {
            if size.order(Size::from(0)) == Ordering::Less {
                size.negated()
            } else {
                Some(size)
            }
        }
        "Sign" => Some(Size::from(size.order(Size::from(0)) as i64)),
        "Not" => Some(Size::from(i64::from(size == Size::from(0)))),
        "Floor" | "Ceil" | "Round" => Some(size),
        _ => None,
    };
    let values: Option<Vec<Size>> = operand.values.iter().map(|&size| value(size)).collect();
    let values = values.ok_or_else(|| call.unsupported("this arithmetic on the size of the batch"))?;
    Ok(Integers { shape: operand.shape.clone(), values })
}

/// `x` where `condition` is not zero, `y` elsewhere.
pub(super) fn choose(call: &Call, condition: &Integers, x: &Integers, y: &Integers) -> Result<Integers> {
    // The choice between the two, made in two steps of two operands each: which, then what.
    let places = |integers: &Integers| Integers {
        shape: integers.shape.clone(),
        values: (0..integers.values.len() as i64).map(Size::from).collect(),
    };
    let count = x.values.len() as i64 + 1;
    // The pair (i, j) of places is the number i + count * j.
    let pairs = zip(call, &places(x), &places(y), |i, j| i.add(j.multiply(Size::from(count))?))?;
    zip(call, condition, &pairs, |bit, pair| {
        let pair = pair.fixed()?;
        if bit == Size::from(0) {
            y.values.get(usize::try_from(pair / count).ok()?).copied()
        } else {
            x.values.get(usize::try_from(pair % count).ok()?).copied()
        }
    })
}

/// Joins two arrays that broadcast, element by element.
fn zip(call: &Call, a: &Integers, b: &Integers, join: impl Fn(Size, Size) -> Option<Size>) -> Result<Integers> {
    let shape = broadcast(&a.shape, &b.shape)
        .ok_or_else(|| call.damaged(format!("shapes {:?} and {:?} do not broadcast", a.shape, b.shape)))?;
    let count = small(&call.name, &shape)?;
    let (first, second) = (steps(&a.shape, &shape), steps(&b.shape, &shape));
    let mut values = Vec::with_capacity(count);
    for index in 0..count {
        let (mut rest, mut i, mut j) = (index, 0, 0);
        for (axis, &size) in shape.iter().enumerate().rev() {
            let place = rest % size;
            rest /= size;
            i += place * first[axis];
            j += place * second[axis];
        }
        let joined = join(a.values[i], b.values[j]);
        values.push(joined.ok_or_else(|| {
            call.unsupported(
                "this arithmetic on shapes (an overflow, a division by zero, or more than linear in the batch)",
            )
        })?);
    }
    Ok(Integers { shape, values })
}

/// How far one step along each axis of `goal` goes in an array of `shape`: 0 where it is broadcast.
fn steps(shape: &[usize], goal: &[usize]) -> Vec<usize> {
    let mut steps = vec![0; goal.len()];
    let mut step = 1;
    for (axis, &size) in shape.iter().enumerate().rev() {
        steps[goal.len() - shape.len() + axis] = if size == 1 { 0 } else { step };
        step *= size;
    }
    steps
}
