//! Comparisons and logic: whole numbers where everything is constant, 0 and 1 as numbers where it depends on the input.

use crate::Op;
use crate::onnx::call::Call;
use crate::onnx::import::{Importer, small};
use crate::onnx::value::Value;
use crate::op::choice::Truth;
use crate::op::shape::broadcast;
use faithful_core::Result;

/// `Equal`, `Greater` and their kin, `And`, `Or`, `Xor`, `Not`, `IsNaN`, `IsInf`.
pub(super) fn truth(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let truth = match call.node.op_type.as_str() {
        "IsInf" => {
            let detects = |name: &str| call.integer(name, 1) != 0;
            Truth::IsInf([detects("detect_negative"), detects("detect_positive")])
        }
        operator => Truth::named(operator).ok_or_else(|| call.unsupported("on these values"))?,
    };
    hold(importer, call, truth, &call.operands)
}

/// Where `truth` holds of `operands`.
pub(super) fn hold(importer: &mut Importer, call: &Call, truth: Truth, operands: &[Value]) -> Result<Vec<Value>> {
    let op = Op::composed(truth);
    if operands.len() != op.arity().0 {
        return Err(call.damaged(format!("{} operands", operands.len())));
    }
    let constant = operands.iter().all(|operand| matches!(operand, Value::Constant(_) | Value::Integers(_)));
    if constant {
        let sizes = operands.iter().map(|operand| importer.sizes(operand)).collect::<Result<Vec<_>>>()?;
        let dims = |sizes: &Vec<_>| -> Vec<usize> {
            sizes.iter().map(|size: &crate::onnx::value::Size| size.constant as usize).collect()
        };
        let shape = sizes.iter().map(dims).try_fold(Vec::new(), |whole, shape| broadcast(&whole, &shape));
        small(&call.name, &shape.ok_or_else(|| call.damaged("operands that do not broadcast"))?)?;
    }
    let held = importer.emit(&call.name, op, operands)?;
    Ok(vec![super::as_whole(held)?])
}
