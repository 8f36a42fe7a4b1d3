use super::convolution::{Window, window};
use crate::Op;
use crate::onnx::call::Call;
use crate::onnx::import::Importer;
use crate::onnx::value::Value;
use faithful_core::Result;
use faithful_tensor::{Pool, Reduction};

/// `MaxPool` and `AveragePool` over one or two axes.
pub(super) fn pool(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    if call.gives(1) {
        return Err(call.unsupported("its second output, the places of the maxima"));
    }
    let kernel = call.integers("kernel_shape").unwrap_or_default();
    let kernel: Vec<usize> = kernel.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
    if kernel.iter().any(|size| !(1..1 << 20).contains(size)) {
        return Err(call.damaged(format!("kernel_shape {kernel:?}")));
    }
    let axes = kernel.len();
    if axes == 3 {
        return super::volume::pool(importer, call);
    }
    let Window { kernel, stride, dilation, padding } = window(call, &kernel, &importer.sizes(&x)?)?;
    let pool = Pool {
        kernel,
        stride,
        padding,
        dilation,
        ceil: call.integer("ceil_mode", 0) != 0,
        count_padding: call.integer("count_include_pad", 0) != 0,
    };
    let op = if call.node.op_type == "MaxPool" {
        Op::MaxPool2d(pool)
    } else if dilation == [1, 1] {
        Op::AvgPool2d(pool)
    } else {
        return Err(call.unsupported("a dilated mean"));
    };
    Ok(vec![two_dimensional(importer, call, op, x, axes)?])
}

/// Runs an operation on images over series too, as images of height 1.
pub(super) fn two_dimensional(importer: &mut Importer, call: &Call, op: Op, x: Value, axes: usize) -> Result<Value> {
    if axes == 2 {
        return importer.emit(&call.name, op, &[x]);
    }
    let x = importer.emit(&format!("{}/unsqueeze", call.name), Op::Unsqueeze(vec![2]), &[x])?;
    let y = importer.emit(&format!("{}/{}", call.name, op.kind()), op, &[x])?;
    importer.emit(&call.name, Op::Squeeze(vec![2]), &[y])
}

pub(super) fn global(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let x = call.required(0)?;
    let mean = call.node.op_type == "GlobalAveragePool";
    let rank = importer.rank(&x)?;
    let op = match (rank, mean) {
        (4, true) => Op::AdaptiveAvgPool2d([1, 1]),
        (4, false) => Op::AdaptiveMaxPool2d([1, 1]),
        (3.., _) => {
            let reduction = if mean { Reduction::Mean } else { Reduction::Max };
            Op::Reduce { axes: (2..rank).collect(), keep: true, reduction }
        }
        _ => return Err(call.damaged(format!("an input of {rank} axes"))),
    };
    Ok(vec![importer.emit(&call.name, op, &[x])?])
}
