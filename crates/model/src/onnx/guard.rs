//! Products and quotients in a branch that need not be taken get a gradient that is zero where it is not.

use crate::op::choice::Guarded;
use crate::{Node, Op};
use faithful_tensor::Binary;

/// Replaces what may meet an infinite number or a divisor of zero before a choice, as far up as operations are of single
/// elements.
pub(super) fn branches(nodes: &mut [Node]) {
    let mut branch = vec![false; nodes.len()];
    for index in (0..nodes.len()).rev() {
        let chooses = matches!(&nodes[index].op, Op::Composed(own) if own.chooses());
        if !chooses && !branch[index] {
            continue;
        }
        let alone = match &nodes[index].op {
            Op::Unary(_) | Op::Binary(_) | Op::Activation(_) | Op::Identity => true,
            Op::Composed(own) => own.is_elementwise(),
            _ => false,
        };
        if alone {
            // A condition is no branch.
            let inputs = if chooses { &nodes[index].inputs[1..] } else { &nodes[index].inputs[..] };
            for input in inputs {
                branch[input.0] = true;
            }
        }
        let varies = |place: usize| {
            nodes[index].inputs.get(place).is_some_and(|input| !matches!(nodes[input.0].op, Op::Constant(_)))
        };
        let guarded = match nodes[index].op {
            Op::Binary(Binary::Mul) if branch[index] && varies(0) && varies(1) => Some(Binary::Mul),
            Op::Binary(Binary::Div) if branch[index] && varies(1) => Some(Binary::Div),
            _ => None,
        };
        if let Some(operation) = guarded {
            nodes[index].op = Op::composed(Guarded(operation));
        }
    }
}
