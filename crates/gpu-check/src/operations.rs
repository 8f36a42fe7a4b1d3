//! Every operation of `faithful-tensor`, with its gradients, in every type that the device computes.

use crate::numbers::{as_on_a_gpu, numbers, relative_difference};
use crate::report::{Line, Report};
use candle_core::{DType, Device, Result, Tensor, Var};
use faithful_tensor::{
    Activation, BackwardRule, Binary, Conv, CoordinateRule, Direction, Interpolation, PadMode, Pool, Recurrent,
    Reduction, Resize, Unary, activate, adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, batch_norm, binary,
    concat, conv_transpose2d, conv1d, conv2d, gather, gaussian_blur2d, group_norm, gru, layer_norm, linear,
    log_softmax, lstm, matmul, max_pool2d, pad, reduce, resize2d, slice, softmax, unary,
};

type Function = dyn Fn(&[Tensor]) -> Result<Tensor>;

struct Case {
    name: String,
    inputs: Vec<Tensor>,
    function: Box<Function>,
}

/// What each type may be off by, forward and back. `bf16` has three digits, and sums of its products fewer.
const TYPES: [(&str, DType, f64); 3] =
    [("f64", DType::F64, 1e-6), ("f32", DType::F32, 1e-4), ("bf16", DType::BF16, 6e-2)];

pub(crate) fn check(name: &str, device: &Device, report: &mut Report) -> anyhow::Result<()> {
    report.table(&format!("Operations on {name} and their gradients, compared with the CPU's kernels in f64"));
    for case in cases()? {
        let expected = results(&case, DType::F64, &Device::Cpu)?;
        for (numbers, dtype, allowed) in TYPES {
            // On the CPU half precision is computed in f32 whichever way.
            if device.is_cpu() && dtype == DType::BF16 {
                continue;
            }
            let difference = as_on_a_gpu(device, || results(&case, dtype, device)).and_then(|found| {
                let pairs = expected.iter().zip(&found);
                pairs.map(|(a, b)| relative_difference(a, b)).try_fold(0.0, |most, one| Ok(f64::max(most, one?)))
            });
            let difference = difference.map_err(|error| error.to_string());
            report.add(&Line { what: case.name.clone(), numbers, difference, allowed });
        }
    }
    Ok(())
}

/// The value, then the gradient of every input.
fn results(case: &Case, dtype: DType, device: &Device) -> Result<Vec<Tensor>> {
    let variable = |x: &Tensor| Var::from_tensor(&x.to_dtype(dtype)?.to_device(device)?).map(Var::into_inner);
    let inputs: Vec<Tensor> = case.inputs.iter().map(variable).collect::<Result<_>>()?;
    let y = (case.function)(&inputs)?;
    let cotangent = numbers(y.dims(), 99)?.to_dtype(dtype)?.to_device(device)?;
    let store = (&y * cotangent)?.sum_all()?.backward()?;
    let mut results = vec![y.detach()];
    for input in &inputs {
        results.push(store.get(input).map_or_else(|| input.zeros_like(), |gradient| Ok(gradient.clone()))?);
    }
    Ok(results)
}

/// The cases while they are written down.
#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn add(
        &mut self,
        name: impl Into<String>,
        shapes: &[&[usize]],
        function: impl Fn(&[Tensor]) -> Result<Tensor> + 'static,
    ) -> Result<()> {
        let inputs = shapes.iter().enumerate().map(|(place, shape)| numbers(shape, place as u64 + 1));
        let inputs = inputs.collect::<Result<_>>()?;
        self.0.push(Case { name: name.into(), inputs, function: Box::new(function) });
        Ok(())
    }

    /// A function of -1, 0 and 1 only: most extremes are tied, and many numbers are exactly at a kink.
    fn add_tied(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        function: impl Fn(&Tensor) -> Result<Tensor> + 'static,
    ) -> Result<()> {
        let inputs = vec![(numbers(shape, 1)? * 1.5)?.round()?];
        let name = format!("{}, ties", name.into());
        self.0.push(Case { name, inputs, function: Box::new(move |t| function(&t[0])) });
        Ok(())
    }
}

fn cases() -> Result<Vec<Case>> {
    let mut cases = Cases::default();
    convolutions(&mut cases)?;
    pools(&mut cases)?;
    products_and_norms(&mut cases)?;
    pointwise(&mut cases)?;
    shaping(&mut cases)?;
    recurrent(&mut cases)?;
    Ok(cases.0)
}

fn convolutions(cases: &mut Cases) -> Result<()> {
    let conv = |stride, padding, dilation, groups| Conv { stride, padding, dilation, groups };
    for (name, x, weight, conv) in [
        ("3x3", [2, 4, 9, 8], [6, 4, 3, 3], conv([1, 1], [1; 4], [1, 1], 1)),
        ("7x7 step 2", [2, 3, 15, 14], [4, 3, 7, 7], conv([2, 2], [3; 4], [1, 1], 1)),
        ("1x1 step 2", [2, 4, 7, 6], [3, 4, 1, 1], conv([2, 2], [0; 4], [1, 1], 1)),
        ("dilated, uneven padding", [1, 2, 9, 9], [3, 2, 3, 2], conv([1, 1], [2, 0, 1, 3], [2, 2], 1)),
        ("step by axis", [1, 2, 9, 8], [3, 2, 3, 3], conv([2, 1], [1; 4], [1, 2], 1)),
        ("groups", [2, 4, 7, 7], [6, 2, 3, 3], conv([1, 1], [1; 4], [1, 1], 2)),
        ("depthwise step 2", [2, 5, 8, 7], [5, 1, 3, 3], conv([2, 2], [1; 4], [1, 1], 5)),
    ] {
        let bias = [weight[0]];
        cases
            .add(format!("conv2d {name}"), &[&x, &weight, &bias], move |t| conv2d(&t[0], &t[1], Some(&t[2]), &conv))?;
    }
    let series = conv([1, 2], [0, 2, 0, 1], [1, 2], 1);
    cases.add("conv1d", &[&[2, 3, 12], &[4, 3, 3], &[4]], move |t| conv1d(&t[0], &t[1], Some(&t[2]), &series))?;
    let up = conv([2, 2], [1; 4], [1, 1], 1);
    cases.add("conv_transpose2d", &[&[2, 3, 5, 4], &[3, 4, 3, 3], &[4]], move |t| {
        conv_transpose2d(&t[0], &t[1], Some(&t[2]), &up, [1, 1])
    })?;
    let grouped = conv([2, 1], [0, 1, 1, 0], [1, 1], 2);
    cases.add("conv_transpose2d groups", &[&[1, 4, 5, 4], &[4, 2, 3, 3]], move |t| {
        conv_transpose2d(&t[0], &t[1], None, &grouped, [0, 0])
    })
}

fn pools(cases: &mut Cases) -> Result<()> {
    let pool = |kernel, stride, padding, ceil| Pool { kernel, stride, padding, ceil, ..Pool::default() };
    for (name, pool) in [
        ("2/2", Pool::default()),
        ("3/2 padded", pool([3, 3], [2, 2], [1; 4], false)),
        ("3/2 ceil", pool([3, 3], [2, 2], [0; 4], true)),
        ("by axis", pool([2, 3], [1, 2], [0, 1, 1, 0], false)),
    ] {
        cases.add(format!("max_pool2d {name}"), &[&[2, 3, 9, 8]], move |t| max_pool2d(&t[0], &pool))?;
        // The first of each window gets the gradient.
        cases.add_tied(format!("max_pool2d {name}"), &[2, 2, 9, 8], move |x| max_pool2d(x, &pool))?;
        cases.add(format!("avg_pool2d {name}"), &[&[2, 3, 9, 8]], move |t| avg_pool2d(&t[0], &pool))?;
    }
    cases.add("adaptive_avg_pool2d", &[&[2, 3, 9, 8]], |t| adaptive_avg_pool2d(&t[0], [4, 3]))?;
    cases.add("adaptive_avg_pool2d to one", &[&[2, 3, 20, 18]], |t| adaptive_avg_pool2d(&t[0], [1, 1]))?;
    cases.add("adaptive_max_pool2d", &[&[2, 3, 9, 8]], |t| adaptive_max_pool2d(&t[0], [4, 3]))
}

fn products_and_norms(cases: &mut Cases) -> Result<()> {
    cases.add("linear", &[&[3, 5, 7], &[4, 7], &[4]], |t| linear(&t[0], &t[1], Some(&t[2])))?;
    cases.add("matmul", &[&[2, 3, 4, 5], &[3, 5, 2]], |t| matmul(&t[0], &t[1]))?;
    cases.add("batch_norm", &[&[2, 3, 4, 5], &[3], &[3]], |t| batch_norm(&t[0], &t[1], &t[2]))?;
    cases.add("layer_norm", &[&[2, 5, 8], &[8], &[8]], |t| layer_norm(&t[0], 2, Some(&t[1]), Some(&t[2]), 1e-5))?;
    cases.add("group_norm", &[&[2, 6, 4, 3], &[6], &[6]], |t| group_norm(&t[0], 3, Some(&t[1]), Some(&t[2]), 1e-5))?;
    cases.add("softmax", &[&[4, 7]], |t| softmax(&t[0], 1))?;
    cases.add("log_softmax", &[&[4, 7]], |t| log_softmax(&t[0], 1))?;
    for reduction in [
        Reduction::Mean,
        Reduction::Sum,
        Reduction::Max,
        Reduction::Min,
        Reduction::L1,
        Reduction::L2,
        Reduction::SumSquare,
        Reduction::LogSumExp,
    ] {
        cases.add(format!("reduce {reduction:?}"), &[&[3, 4, 5]], move |t| reduce(&t[0], &[0, 2], false, reduction))?;
    }
    for reduction in [Reduction::Max, Reduction::Min, Reduction::L2] {
        cases.add_tied(format!("reduce {reduction:?}"), &[6, 40], move |x| reduce(x, &[1], false, reduction))?;
    }
    Ok(())
}

fn pointwise(cases: &mut Cases) -> Result<()> {
    for activation in [
        Activation::Relu,
        Activation::Clip { low: 0.0, high: 0.5 },
        Activation::LeakyRelu { slope: 0.1 },
        Activation::Elu { alpha: 1.0 },
        Activation::Selu { alpha: 1.67, beta: 1.0, gamma: 1.05 },
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Silu,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Softplus,
        Activation::Softsign,
        Activation::Mish,
        Activation::HardSwish,
        Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
    ] {
        for rule in [BackwardRule::Plain, BackwardRule::Deconvnet, BackwardRule::Guided] {
            let name = format!("{activation:?} {rule:?}");
            cases.add(name, &[&[60]], move |t| activate(&(&t[0] * 4.0)?, activation, rule))?;
        }
    }
    for activation in [Activation::Relu, Activation::Clip { low: 0.0, high: 1.0 }, Activation::LeakyRelu { slope: 0.1 }]
    {
        let name = format!("{activation:?}");
        cases.add_tied(name, &[60], move |x| activate(x, activation, BackwardRule::Plain))?;
    }
    cases.add_tied("Abs", &[60], |x| unary(x, Unary::Abs))?;
    for operation in [Binary::Min, Binary::Max] {
        cases.add_tied(format!("{operation:?}"), &[6, 10], move |x| {
            binary(&x.narrow(0, 0, 3)?, &x.narrow(0, 3, 3)?, operation)
        })?;
    }
    for operation in [
        Unary::Neg,
        Unary::Abs,
        Unary::Exp,
        Unary::Log,
        Unary::Sqrt,
        Unary::Reciprocal,
        Unary::Erf,
        Unary::Sin,
        Unary::Cos,
        Unary::Floor,
        Unary::Ceil,
        Unary::Round,
        Unary::Sign,
    ] {
        let shift = if matches!(operation, Unary::Log | Unary::Sqrt | Unary::Reciprocal) { 2.0 } else { 0.0 };
        cases.add(format!("{operation:?}"), &[&[60]], move |t| unary(&(&t[0] + shift)?, operation))?;
    }
    for operation in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Min, Binary::Max, Binary::Pow] {
        // Away from 0, where quotients and powers have no end.
        let base = if matches!(operation, Binary::Div | Binary::Pow) { 2.0 } else { 0.0 };
        cases.add(format!("{operation:?}"), &[&[6, 5], &[5]], move |t| {
            binary(&(&t[0] + base)?, &(&t[1] + base)?, operation)
        })?;
    }
    Ok(())
}

fn shaping(cases: &mut Cases) -> Result<()> {
    cases.add("concat", &[&[2, 3, 4], &[2, 2, 4]], |t| concat(&[&t[0], &t[1]], 1))?;
    cases.add("slice backwards", &[&[2, 9, 3]], |t| slice(&t[0], 1, 8, Some(1), -3))?;
    cases.add("gather, one place twice", &[&[3, 5, 2]], |t| gather(&t[0], 1, &[4, 0, 4]))?;
    for mode in [PadMode::Constant(0.5), PadMode::Reflect, PadMode::Edge] {
        cases.add(format!("pad {mode:?}"), &[&[2, 5, 4]], move |t| pad(&t[0], &[[0, 0], [2, 1], [-1, 2]], mode))?;
    }
    for interpolation in
        [Interpolation::Nearest, Interpolation::NearestFloor, Interpolation::Linear, Interpolation::Cubic]
    {
        for coordinates in [CoordinateRule::HalfPixel, CoordinateRule::AlignCorners, CoordinateRule::Asymmetric] {
            let rules = Resize { interpolation, coordinates, exclude_outside: false };
            let name = format!("resize2d {interpolation:?} {coordinates:?}");
            cases.add(name, &[&[1, 2, 7, 6]], move |t| resize2d(&t[0], [40, 4], &rules))?;
        }
    }
    cases.add("gaussian_blur2d", &[&[1, 2, 24, 22]], |t| gaussian_blur2d(&t[0], [5, 19], [1.0, 4.0]))
}

fn recurrent(cases: &mut Cases) -> Result<()> {
    let layer = |t: &[Tensor]| Recurrent {
        input_weight: t[1].clone(),
        hidden_weight: t[2].clone(),
        input_bias: Some(t[3].clone()),
        hidden_bias: Some(t[4].clone()),
    };
    for direction in [Direction::Forward, Direction::Reverse] {
        let shapes: [&[usize]; 5] = [&[2, 6, 3], &[16, 3], &[16, 4], &[16], &[16]];
        cases.add(format!("lstm {direction:?}"), &shapes, move |t| lstm(&t[0], &layer(t), direction))?;
        for reset_after in [true, false] {
            let shapes: [&[usize]; 5] = [&[2, 6, 3], &[12, 3], &[12, 4], &[12], &[12]];
            let name = format!("gru {direction:?}{}", if reset_after { " reset after" } else { "" });
            cases.add(name, &shapes, move |t| gru(&t[0], &layer(t), direction, reset_after))?;
        }
    }
    Ok(())
}
