//! Vector functions on every instruction set, against `f64`.

use crate::Isa;
use crate::isa::Kernel;
use crate::simd::Simd;
use crate::transcendental::{exp, sigmoid, tanh};

#[derive(Clone, Copy)]
enum Function {
    Exp,
    Sigmoid,
    Tanh,
}

struct Apply<'a> {
    function: Function,
    values: &'a mut [f32],
}

impl Kernel for Apply<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for values in self.values.chunks_mut(S::LANES) {
            // SAFETY: the chunk's elements, on a processor that has the instructions.
            unsafe {
                let x = S::load_up_to(values.as_ptr(), values.len());
                let y = match self.function {
                    Function::Exp => exp::<S>(x),
                    Function::Sigmoid => sigmoid::<S>(x),
                    Function::Tanh => tanh::<S>(x),
                };
                S::store_up_to(values.as_mut_ptr(), y, values.len());
            }
        }
    }
}

/// Applies a function and compares with `exact`, in units of the last place of the result.
fn check(function: Function, exact: impl Fn(f64) -> f64, range: std::ops::RangeInclusive<f32>, most: f64) {
    let steps = 200_003;
    let (low, high) = (*range.start(), *range.end());
    let mut inputs: Vec<f32> = (0..steps).map(|i| low + (high - low) * i as f32 / (steps - 1) as f32).collect();
    // Around zero on all scales.
    inputs.extend((0..200).flat_map(|i| [1.0, -1.0].map(|sign| sign * 0.6_f32 * 0.8_f32.powi(i))));
    for isa in Isa::available() {
        let mut values = inputs.clone();
        isa.run(Apply { function, values: &mut values });
        for (&x, &y) in inputs.iter().zip(&values) {
            let expected = exact(f64::from(x));
            let unit = f64::from((expected as f32).abs().max(f32::MIN_POSITIVE)) * f64::from(f32::EPSILON);
            let error = (f64::from(y) - expected).abs() / unit;
            assert!(error <= most, "{isa:?}: f({x}) = {y}, must be {expected}: {error} units off");
        }
        let mut odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 200.0, -200.0, 0.0];
        isa.run(Apply { function, values: &mut odd });
        assert!(odd[0].is_nan(), "{isa:?}");
        for (y, x) in odd[1..].iter().zip([100.0, -100.0, 100.0, -100.0, 0.0]) {
            let expected = exact(x);
            let near = (f64::from(*y) - expected).abs() < 1e-30 + 1e-6 * expected.abs();
            // `e^x` ends at its bounds.
            assert!(near || matches!(function, Function::Exp) && (*y > 1e38 || *y < 1e-37), "{isa:?}: {y}, {expected}");
        }
    }
}

#[test]
fn vector_functions_are_right_to_a_few_units_of_the_last_place() {
    check(Function::Exp, f64::exp, -86.9..=87.9, 3.0);
    check(Function::Sigmoid, |x| 1.0 / (1.0 + (-x).exp()), -86.9..=30.0, 4.0);
    check(Function::Tanh, f64::tanh, -12.0..=12.0, 3.0);
}
