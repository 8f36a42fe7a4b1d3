//! Vectorised kernels for `f32` maps on the CPU, with the instruction set chosen at run time.
//!
//! Maps are stored with their channels innermost (`(N, H, W, C)`, [`Map`]): every kernel then runs along channels with
//! full vectors, a 1x1 convolution is a matrix product without any copy, and joining channels costs nothing because a
//! pixel may be wider than the map that looks at it. Weights are repacked once ([`Matrix`], [`Winograd`] …).
//!
//! Every kernel is written once over the crate's `Simd` trait; [`Isa`] says which instantiation runs and can be forced.
//! Each output element is computed by one task in one order, so results do not depend on the number of threads, nor
//! on the batch around a row.
//!
//! `faithful-tensor` makes differentiable operations of these kernels, and `faithful-model` runs whole networks by them.

// A function with vectors must become part of one that has their instruction set enabled; see `isa::Kernel`.
#![allow(clippy::inline_always)]

mod activate;
mod activation;
mod attention;
mod depthwise;
mod direct;
mod elementwise;
mod factors;
mod gather;
mod geometry;
mod isa;
mod layout;
mod linear;
mod lines;
mod map;
mod matrix;
mod normalization;
mod peak;
mod pooling;
mod product;
mod recurrent;
mod scalar;
mod scratch;
mod simd;
#[cfg(target_arch = "x86_64")]
mod simd_x86;
mod strided;
mod team;
mod transcendental;
mod transposed;
mod winograd;

pub use activate::{activate, activation_gradient};
pub use activation::{Activation, BackwardRule, GELU_TANH, NORMAL_DENSITY};
pub use attention::{Attention, Operand};
pub use depthwise::Depthwise;
pub use direct::Direct;
pub use elementwise::{copy, finish_in_place, map, zip_map};
pub use factors::Factors;
pub use geometry::{Conv, Direction, Pool};
pub use isa::Isa;
pub use layout::{from_planar, to_planar};
pub use linear::{Linear, linear, linear_gradient};
pub use map::{Buffer, Finish, Gate, Map, MapMut};
pub use matrix::Matrix;
pub use normalization::LayerNorm;
pub use peak::peak;
pub use pooling::{PoolGate, Windows, average_pool, average_pool_gradient, max_pool, max_pool_gradient};
pub use product::{multiply, sum_of_products};
pub use recurrent::{RecurrentCell, RecurrentLayer, RecurrentSteps};
pub use scalar::{Pointwise, Real};
pub use strided::{Strided, gather_strided, scatter_strided};
pub use team::with_team;
pub use transposed::Transposed;
pub use winograd::{Tile, Winograd};

use candle_core::{Result, bail};
use rayon::prelude::*;

/// Runs tasks in parallel, handed out one by one: rayon otherwise leaves a few of them together, and one thread waits for the
/// other at the end.
fn each_task(count: usize, task: impl Fn(usize) + Sync + Send) {
    if count <= 1 {
        (0..count).for_each(task);
    } else if !team::share(count, &task) {
        (0..count).into_par_iter().with_max_len(1).for_each(task);
    }
}

/// The height and width of a convolution's result.
fn output_size(input: [usize; 2], kernel: [usize; 2], conv: &Conv) -> Result<[usize; 2]> {
    let [top, left, bottom, right] = conv.padding;
    let mut size = [0; 2];
    for (axis, padding) in [top + bottom, left + right].into_iter().enumerate() {
        let reach = conv.dilation[axis] * kernel[axis].saturating_sub(1) + 1;
        let padded = input[axis] + padding;
        if kernel[axis] == 0 || conv.stride[axis] == 0 || padded < reach {
            bail!("a window of {kernel:?} does not fit in an input of {input:?} with {conv:?}");
        }
        size[axis] = (padded - reach) / conv.stride[axis] + 1;
    }
    Ok(size)
}

#[cfg(test)]
mod tests;
