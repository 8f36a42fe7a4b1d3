//! Linear maps that act on rows and columns independently: means over windows, resizing, blurring.

use crate::composed::{self, has_kernels};
use crate::function::{Elements, Real, Value, attach, by_type, is_half_on_cpu, widen};
use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;
use std::sync::Arc;

/// One axis: which inputs, with which weights, each output is the sum of.
#[derive(Clone, Debug)]
pub(crate) struct LinearMap {
    pub(crate) inputs: usize,
    pub(crate) taps: Vec<Vec<(usize, f64)>>,
}

impl LinearMap {
    pub(crate) fn outputs(&self) -> usize {
        self.taps.len()
    }

    fn transposed(&self) -> Self {
        let mut taps = vec![Vec::new(); self.inputs];
        for (output, from) in self.taps.iter().enumerate() {
            for &(input, weight) in from {
                taps[input].push((output, weight));
            }
        }
        Self { inputs: self.outputs(), taps }
    }

    pub(crate) fn is_identity(&self) -> bool {
        self.inputs == self.outputs() && self.taps.iter().enumerate().all(|(i, taps)| taps[..] == [(i, 1.)])
    }
}

/// Applies `rows` along the height and `columns` along the width of `(N, C, H, W)`.
pub(crate) fn apply(name: &'static str, x: &Tensor, rows: LinearMap, columns: LinearMap) -> Result<Tensor> {
    let &[_, _, h, w] = x.dims() else { bail!("{name}: expected x (N, C, H, W), got {:?}", x.dims()) };
    if rows.inputs != h || columns.inputs != w {
        bail!("{name}: maps of {}x{} pixels do not fit x {:?}", rows.inputs, columns.inputs, x.dims());
    }
    if is_half_on_cpu(x) {
        return apply(name, &widen(x)?, rows, columns)?.to_dtype(x.dtype());
    }
    let x = x.contiguous()?;
    let maps = Arc::new((rows, columns));
    if !has_kernels(&x) {
        let value = composed::separable(&x.detach(), &maps.0, &maps.1)?;
        return attach(name, &[&x], Value::Device(value), move |backward| {
            Ok(vec![Some(composed::separable(backward.gradient, &maps.0.transposed(), &maps.1.transposed())?)])
        });
    }
    let value = by_type!(x, on_cpu(&x, &maps.0, &maps.1))?;
    attach(name, &[&x], value, move |backward| {
        let (rows, columns) = (maps.0.transposed(), maps.1.transposed());
        let gradient = backward.gradient;
        Ok(vec![Some(by_type!(gradient, on_cpu(gradient, &rows, &columns))?.into_tensor())])
    })
}

fn on_cpu<T: Real>(x: &Tensor, rows: &LinearMap, columns: &LinearMap) -> Result<Value> {
    let (n, c, h, w) = x.dims4()?;
    let (height, width) = (rows.outputs(), columns.outputs());
    let mut y = vec![T::zero(); n * c * height * width];
    let elements = Elements::of(x)?;
    let x = elements.slice::<T>()?;
    if !y.is_empty() {
        let (rows, columns) = (Taps::<T>::of(rows), Taps::<T>::of(columns));
        y.par_chunks_mut(height * width).enumerate().for_each(|(plane, y)| {
            let x = &x[plane * h * w..][..h * w];
            let mut line = vec![T::zero(); w];
            if columns.are_wide() {
                let mut turned = vec![T::zero(); w * height];
                for (row, taps) in rows.iter().enumerate() {
                    weighted_sum(&mut line, x, taps);
                    line.iter().enumerate().for_each(|(column, value)| turned[column * height + row] = *value);
                }
                let mut line = vec![T::zero(); height];
                for (column, taps) in columns.iter().enumerate() {
                    weighted_sum(&mut line, &turned, taps);
                    line.iter().enumerate().for_each(|(row, value)| y[row * width + column] = *value);
                }
                return;
            }
            for (into, taps) in y.chunks_mut(width).zip(rows.iter()) {
                weighted_sum(&mut line, x, taps);
                if columns.identity {
                    into.copy_from_slice(&line);
                    continue;
                }
                for (into, taps) in into.iter_mut().zip(columns.iter()) {
                    let mut sum = T::zero();
                    for &(column, weight) in taps {
                        sum += weight * line[column];
                    }
                    *into = sum;
                }
            }
        });
    }
    Ok(Value::new(y, (n, c, height, width)))
}

/// The weighted sum of lines of `x`, each as long as `line`, in the order of the taps.
fn weighted_sum<T: Real>(line: &mut [T], x: &[T], taps: &[(usize, T)]) {
    let length = line.len();
    let of = |(place, weight): (usize, T)| (&x[place * length..][..length], weight);
    line.fill(T::zero());
    // Four at a time: the sums are read and written less often.
    let (fours, rest) = taps.as_chunks::<4>();
    for four in fours {
        let [(a, u), (b, v), (c, w), (d, z)] = four.map(of);
        for (i, sum) in line.iter_mut().enumerate() {
            *sum = *sum + u * a[i] + v * b[i] + w * c[i] + z * d[i];
        }
    }
    for (values, weight) in rest.iter().copied().map(of) {
        line.iter_mut().zip(values).for_each(|(sum, &value)| *sum += weight * value);
    }
}

/// A [`LinearMap`]'s taps in one piece of memory, in the elements' own type.
struct Taps<T> {
    ends: Vec<usize>,
    all: Vec<(usize, T)>,
    identity: bool,
}

impl<T: Real> Taps<T> {
    fn of(map: &LinearMap) -> Self {
        let mut ends = vec![0];
        let mut taps = Vec::new();
        for from in &map.taps {
            taps.extend(from.iter().map(|&(input, weight)| (input, T::from_f64(weight))));
            ends.push(taps.len());
        }
        Self { ends, all: taps, identity: map.is_identity() }
    }

    /// Whether an output has so many taps that it is worth turning planes for, so that whole lines are added up.
    fn are_wide(&self) -> bool {
        self.all.len() >= 8 * (self.ends.len() - 1).max(1)
    }

    fn iter(&self) -> impl Iterator<Item = &[(usize, T)]> {
        self.ends.windows(2).map(|ends| &self.all[ends[0]..ends[1]])
    }
}
