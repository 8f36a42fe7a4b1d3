//! Activations that do not only clamp, and their gradients.

use super::isa::Kernel;
use super::lines::Lines;
use super::map::{Map, MapMut, Source, Target};
use super::simd::Simd;
use super::transcendental::{normal, sigmoid, slope_of_sigmoid, slope_of_tanh, tanh};
use super::{Isa, each_task};
use crate::activation::GELU_TANH;
use crate::{Activation, BackwardRule, Pointwise};
use candle_core::{Result, bail};

macro_rules! by_kind {
    ($kind:expr, $function:ident => $work:expr) => {
        match $kind {
            Activation::Sigmoid => {
                let $function = Sigmoid;
                $work
            }
            Activation::Tanh => {
                let $function = Tanh;
                $work
            }
            Activation::Silu => {
                let $function = Silu;
                $work
            }
            Activation::Gelu => {
                let $function = Gelu;
                $work
            }
            Activation::GeluTanh => {
                let $function = GeluTanh;
                $work
            }
            Activation::HardSwish => {
                let $function = HardSwish;
                $work
            }
            other => {
                let $function = Other(other);
                $work
            }
        }
    };
}

/// Writes `kind` of every element of `input` to `out`.
///
/// # Errors
/// Where the shapes differ.
pub fn activate(isa: Isa, kind: Activation, input: Map, mut out: MapMut) -> Result<()> {
    if input.shape() != out.shape() {
        bail!("the activation of a map of shape {:?} does not have the shape {:?}", input.shape(), out.shape());
    }
    let lines = Lines::of(out.shape(), &[input.pixel(), out.pixel()]);
    let (from, to) = (input.pointer(), out.pointer());
    by_kind!(kind, function => apply(isa, function, &lines, from, to));
    Ok(())
}

/// Writes what `gradient`, that at the values of `kind`, is at its `input`; see [`activate`].
///
/// # Errors
/// Where the shapes differ.
pub fn activation_gradient(
    isa: Isa,
    (kind, rule): (Activation, BackwardRule),
    input: Map,
    gradient: Map,
    mut out: MapMut,
    accumulate: bool,
) -> Result<()> {
    if input.shape() != out.shape() || gradient.shape() != out.shape() {
        bail!("a gradient of shape {:?} at a map of shape {:?}", gradient.shape(), input.shape());
    }
    let lines = Lines::of(out.shape(), &[input.pixel(), gradient.pixel(), out.pixel()]);
    let pointers = (input.pointer(), gradient.pointer(), out.pointer());
    by_kind!(kind, function => apply_back(isa, (function, rule), &lines, pointers, accumulate));
    Ok(())
}

/// Applies `kind` to `length` elements where they lie.
///
/// # Safety
/// `isa` is checked, and the elements are the caller's alone.
pub(super) unsafe fn in_place(isa: Isa, kind: Activation, start: Target, length: usize) {
    by_kind!(kind, function => isa.run(InPlace { function, start, length }));
}

struct InPlace<F> {
    function: F,
    start: Target,
    length: usize,
}

impl<F: Function> Kernel for InPlace<F> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for i in (0..self.length).step_by(S::LANES) {
            let (at, count) = (self.start.at(i), self.length - i);
            // SAFETY: `in_place`'s.
            unsafe { S::store_up_to(at, self.function.value::<S>(S::load_up_to(at, count)), count) }
        }
    }
}

/// A function of one element and its derivative.
trait Function: Copy + Send + Sync {
    /// # Safety
    /// [`Simd`]'s.
    unsafe fn value<S: Simd>(self, x: S::Vector) -> S::Vector;
    /// # Safety
    /// [`Simd`]'s.
    unsafe fn slope<S: Simd>(self, x: S::Vector) -> S::Vector;
}

fn apply<F: Function>(isa: Isa, function: F, lines: &Lines, from: Source, to: Target) {
    let isa = isa.checked();
    each_task(lines.tasks(), |task| isa.run(Forward { function, lines, task, from, to }));
}

fn apply_back<F: Function>(
    isa: Isa,
    (function, rule): (F, BackwardRule),
    lines: &Lines,
    (input, gradient, to): (Source, Source, Target),
    accumulate: bool,
) {
    let isa = isa.checked();
    each_task(lines.tasks(), |task| isa.run(Backward { function, rule, lines, task, input, gradient, to, accumulate }));
}

struct Forward<'a, F> {
    function: F,
    lines: &'a Lines,
    task: usize,
    from: Source,
    to: Target,
}

impl<F: Function> Kernel for Forward<'_, F> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for line in self.lines.range(self.task) {
            let (from, to) = (self.from.at(self.lines.start(0, line)), self.to.at(self.lines.start(1, line)));
            let length = self.lines.length(line);
            for i in (0..length).step_by(S::LANES) {
                // SAFETY: the shapes agree, and the lines are this task's.
                unsafe {
                    let value = self.function.value::<S>(S::load_up_to(from.wrapping_add(i), length - i));
                    S::store_up_to(to.wrapping_add(i), value, length - i);
                }
            }
        }
    }
}

struct Backward<'a, F> {
    function: F,
    rule: BackwardRule,
    lines: &'a Lines,
    task: usize,
    input: Source,
    gradient: Source,
    to: Target,
    accumulate: bool,
}

impl<F: Function> Kernel for Backward<'_, F> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let lines = self.lines;
        for line in lines.range(self.task) {
            let (input, gradient) = (self.input.at(lines.start(0, line)), self.gradient.at(lines.start(1, line)));
            let (to, length) = (self.to.at(lines.start(2, line)), lines.length(line));
            for i in (0..length).step_by(S::LANES) {
                // SAFETY: the shapes agree, and the lines are this task's.
                unsafe {
                    let mut value = S::load_up_to(gradient.wrapping_add(i), length - i);
                    if self.rule != BackwardRule::Plain {
                        value = S::max(S::splat(0.0), value);
                    }
                    if self.rule != BackwardRule::Deconvnet {
                        let x = S::load_up_to(input.wrapping_add(i), length - i);
                        value = S::mul(self.function.slope::<S>(x), value);
                    }
                    let to = to.wrapping_add(i);
                    if self.accumulate {
                        value = S::add(S::load_up_to(to, length - i), value);
                    }
                    S::store_up_to(to, value, length - i);
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Sigmoid;
#[derive(Clone, Copy)]
struct Tanh;
#[derive(Clone, Copy)]
struct Silu;
#[derive(Clone, Copy)]
struct Gelu;
#[derive(Clone, Copy)]
struct GeluTanh;
#[derive(Clone, Copy)]
struct HardSwish;
/// Whatever has no vectors, element by element.
#[derive(Clone, Copy)]
struct Other(Activation);

impl Function for Sigmoid {
    #[inline(always)]
    unsafe fn value<S: Simd>(self, x: S::Vector) -> S::Vector {
        // SAFETY: the caller's.
        unsafe { sigmoid::<S>(x) }
    }
    #[inline(always)]
    unsafe fn slope<S: Simd>(self, x: S::Vector) -> S::Vector {
        // SAFETY: the caller's.
        unsafe { slope_of_sigmoid::<S>(sigmoid::<S>(x)) }
    }
}

impl Function for Tanh {
    #[inline(always)]
    unsafe fn value<S: Simd>(self, x: S::Vector) -> S::Vector {
        // SAFETY: the caller's.
        unsafe { tanh::<S>(x) }
    }
    #[inline(always)]
    unsafe fn slope<S: Simd>(self, x: S::Vector) -> S::Vector {
        // SAFETY: the caller's.
        unsafe { slope_of_tanh::<S>(tanh::<S>(x)) }
    }
}

impl Function for Silu {
    #[inline(always)]
    unsafe fn value<S: Simd>(self, x: S::Vector) -> S::Vector {
        // SAFETY: the caller's.
        unsafe { S::mul(x, sigmoid::<S>(x)) }
    }
    #[inline(always)]
    unsafe fn slope<S: Simd>(self, x: S::Vector) -> S::Vector {
        // SAFETY: the caller's.
        unsafe {
            let (value, one) = (sigmoid::<S>(x), S::splat(1.0));
            S::mul(value, S::mul_add(x, S::sub(one, value), one))
        }
    }
}

impl Function for Gelu {
    #[inline(always)]
    unsafe fn value<S: Simd>(self, x: S::Vector) -> S::Vector {
        // SAFETY: the caller's.
        unsafe { S::mul(x, normal::<S>(x)[0]) }
    }
    #[inline(always)]
    unsafe fn slope<S: Simd>(self, x: S::Vector) -> S::Vector {
        // SAFETY: the caller's.
        unsafe {
            let [below, density] = normal::<S>(x);
            S::mul_add(x, density, below)
        }
    }
}

impl Function for GeluTanh {
    #[inline(always)]
    unsafe fn value<S: Simd>(self, x: S::Vector) -> S::Vector {
        // SAFETY: the caller's. `(1 + tanh u) / 2` is `sigmoid(2 u)`, and keeps its digits below zero.
        unsafe { S::mul(x, sigmoid::<S>(inner::<S>(x)[0])) }
    }
    #[inline(always)]
    unsafe fn slope<S: Simd>(self, x: S::Vector) -> S::Vector {
        // SAFETY: the caller's.
        unsafe {
            let [inner, slope] = inner::<S>(x);
            let (value, one) = (sigmoid::<S>(inner), S::splat(1.0));
            S::mul(value, S::mul_add(S::mul(x, slope), S::sub(one, value), one))
        }
    }
}

/// Twice the tanh approximation's argument, and its slope.
#[inline(always)]
unsafe fn inner<S: Simd>(x: S::Vector) -> [S::Vector; 2] {
    let (line, cubic) = (2.0 * GELU_TANH.0 as f32, 2.0 * (GELU_TANH.0 * GELU_TANH.1) as f32);
    // SAFETY: the caller's.
    unsafe {
        let square = S::mul(x, x);
        let value = S::mul(x, S::mul_add(square, S::splat(cubic), S::splat(line)));
        [value, S::mul_add(square, S::splat(3.0 * cubic), S::splat(line))]
    }
}

impl Function for HardSwish {
    #[inline(always)]
    unsafe fn value<S: Simd>(self, x: S::Vector) -> S::Vector {
        // SAFETY: the caller's.
        unsafe {
            let line = S::mul_add(x, S::splat(1.0 / 6.0), S::splat(0.5));
            S::mul(x, S::min(S::splat(1.0), S::max(S::splat(0.0), line)))
        }
    }
    #[inline(always)]
    unsafe fn slope<S: Simd>(self, x: S::Vector) -> S::Vector {
        // SAFETY: the caller's.
        unsafe {
            let (zero, one) = (S::splat(0.0), S::splat(1.0));
            let line = S::mul_add(x, S::splat(1.0 / 3.0), S::splat(0.5));
            // At 3 the slope is 1, at -3 it is 0.
            let below = S::select_greater_or_nan(x, S::splat(-3.0), line, zero);
            S::select_greater_or_nan(S::splat(3.0), x, below, one)
        }
    }
}

impl Function for Other {
    #[inline(always)]
    unsafe fn value<S: Simd>(self, x: S::Vector) -> S::Vector {
        // SAFETY: the caller's.
        unsafe { element_by_element::<S>(x, |x| self.0.value(x)) }
    }
    #[inline(always)]
    unsafe fn slope<S: Simd>(self, x: S::Vector) -> S::Vector {
        // SAFETY: the caller's.
        unsafe { element_by_element::<S>(x, |x| self.0.derivative(x)) }
    }
}

#[inline(always)]
unsafe fn element_by_element<S: Simd>(x: S::Vector, function: impl Fn(f32) -> f32) -> S::Vector {
    /// As many as any vector has.
    const MOST: usize = 16;
    let mut values = [0.0; MOST];
    // SAFETY: the caller's; there is room for every vector.
    unsafe {
        S::store(values.as_mut_ptr(), x);
        for value in &mut values[..S::LANES] {
            *value = function(*value);
        }
        S::load(values.as_ptr())
    }
}
