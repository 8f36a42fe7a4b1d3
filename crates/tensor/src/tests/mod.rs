//! What the tests of all operations share: numbers, and gradients compared with finite differences.

// `[x.clone()]` beside `[x.clone(), y.clone()]` reads as what it is: the list of a function's inputs.
#![allow(clippy::cloned_ref_to_slice_refs)]

mod candle;
mod cells;
mod choice;
mod composed;
mod convolution;
mod elementwise;
mod golden;
mod laws;
mod linear;
mod pooling;
mod recurrent;
mod shaping;

use candle_core::{DType, Device, Result, Tensor, Var};

/// `count` numbers in (-1, 1) without ties, the same on every run.
pub(crate) fn numbers(shape: &[usize], seed: u64) -> Tensor {
    let count = shape.iter().product();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as f64) / f64::from(1u32 << 30) - 1.
    };
    let values: Vec<f64> = (0..count).map(|_| next()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

pub(crate) fn values(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

pub(crate) fn tensor(values: &[f64], shape: &[usize]) -> Tensor {
    Tensor::from_vec(values.to_vec(), shape, &Device::Cpu).unwrap()
}

/// The gradients of `sum(f(x) * cotangent)` for a fixed cotangent with respect to each of `inputs`.
pub(crate) fn gradients(inputs: &[Tensor], f: &dyn Fn(&[Tensor]) -> Result<Tensor>) -> Vec<Tensor> {
    let variables: Vec<Var> = inputs.iter().map(|x| Var::from_tensor(x).unwrap()).collect();
    let tracked: Vec<Tensor> = variables.iter().map(|x| x.as_tensor().clone()).collect();
    let y = f(&tracked).unwrap();
    let store = (&y * cotangent(&y)).unwrap().sum_all().unwrap().backward().unwrap();
    tracked.iter().map(|x| store.get(x).cloned().unwrap_or_else(|| x.zeros_like().unwrap())).collect()
}

fn cotangent(y: &Tensor) -> Tensor {
    numbers(y.dims(), 99).to_dtype(y.dtype()).unwrap()
}

/// Asserts that `f` by the CPU kernels is `f` by the compositions that run on a GPU: values and gradients.
#[track_caller]
pub(crate) fn assert_composed(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let (value, composed) = (f(inputs).unwrap(), crate::by_composition(|| f(inputs)).unwrap());
    assert_close(&value, &composed, 1e-6);
    let composed = crate::by_composition(|| gradients(inputs, &f));
    for (gradient, composed) in gradients(inputs, &f).iter().zip(&composed) {
        assert_close(gradient, composed, 1e-6);
    }
}

/// Asserts that gradients in f64 equal central differences for every element of every input, and that the
/// compositions agree.
#[track_caller]
pub(crate) fn check_gradients(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    assert_composed(inputs, &f);
    let objective = |inputs: &[Tensor]| -> f64 {
        let y = f(inputs).unwrap();
        values(&(&y * cotangent(&y)).unwrap()).iter().sum()
    };
    let step = 1e-5;
    for (which, gradient) in gradients(inputs, &f).iter().enumerate() {
        assert_eq!(gradient.dims(), inputs[which].dims(), "the gradient's shape");
        let at = values(&inputs[which]);
        for (i, gradient) in values(gradient).iter().enumerate() {
            let shifted = |by: f64| {
                let mut moved = at.clone();
                moved[i] += by;
                let mut inputs = inputs.to_vec();
                inputs[which] = tensor(&moved, inputs[which].dims());
                objective(&inputs)
            };
            let expected = (shifted(step) - shifted(-step)) / (2. * step);
            assert!(
                (gradient - expected).abs() <= 1e-7 * (1. + expected.abs()),
                "input {which}, element {i}: gradient {gradient}, finite difference {expected}"
            );
        }
    }
}

#[track_caller]
pub(crate) fn assert_close(a: &Tensor, b: &Tensor, tolerance: f64) {
    assert_eq!(a.dims(), b.dims());
    for (i, (a, b)) in values(a).iter().zip(values(b)).enumerate() {
        assert!((a - b).abs() <= tolerance * (1. + b.abs()), "element {i}: {a} and {b}");
    }
}

/// Asserts that `f` of a batch is, row by row and bit by bit, what `f` gives of each row alone, forward and back.
#[track_caller]
pub(crate) fn check_rows_alone(batch: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) {
    let run = |x: &Tensor| {
        let x = Var::from_tensor(x).unwrap();
        let y = f(&x).unwrap();
        let store = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        (y.detach(), store.get(&x).unwrap().clone())
    };
    let (together, gradient) = run(batch);
    for row in 0..batch.dim(0).unwrap() {
        let (alone, gradient_alone) = run(&batch.narrow(0, row, 1).unwrap().contiguous().unwrap());
        assert_eq!(values(&together.narrow(0, row, 1).unwrap()), values(&alone), "row {row}");
        assert_eq!(values(&gradient.narrow(0, row, 1).unwrap()), values(&gradient_alone), "gradient of row {row}");
    }
}
