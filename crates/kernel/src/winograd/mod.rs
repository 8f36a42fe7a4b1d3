mod input_transform;
mod job;
mod output_transform;
mod transform;

use super::factors::Kept;
use super::map::{Buffer, Finish, Map, MapMut};
use super::matrix::{Panel, panels};
use super::{Factors, Isa};
use crate::Conv;
use candle_core::{Result, bail};
use job::Job;
use rayon::prelude::*;
use transform::{Balanced, Four, MOST, Six, StridedFour, StridedTwo, Transform, Two};

/// How many outputs per axis one tile of [`Winograd`] computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tile {
    /// `F(2x2, 3x3)`: 2.25 times fewer products; the most accurate, and for tiny maps.
    Two,
    /// `F(4x4, 3x3)`: 4 times fewer.
    Four,
    /// `F(4x4, 3x3)` with other points: for factors that are rounded to `bf16`, where its error is less than half.
    FourBalanced,
    /// `F(6x6, 3x3)`: 5.06 times fewer; its rounding error is the largest.
    Six,
    /// `F(2x2, 3x3)` of stride 2: 1.44 times fewer.
    StridedTwo,
    /// `F(4x4, 3x3)` of stride 2: 1.78 times fewer.
    StridedFour,
}

/// A 3x3 convolution of stride 1 or 2 by Winograd's minimal filtering.
///
/// Blocks of tiles are transformed, multiplied frequency by frequency with the transformed weights, and transformed
/// back, all while the block is in the cache.
#[derive(Clone, Debug)]
pub struct Winograd {
    isa: Isa,
    kept: Kept,
    tile: Tile,
    channels: usize,
    outputs: usize,
    panels: Vec<Panel>,
    /// Per panel, per frequency, the panel of the `(channels, outputs)` matrix.
    data: Buffer,
}

/// What is to know of a tile's [`Transform`] before it runs.
struct Line {
    outputs: usize,
    stride: usize,
    /// How many different transformed weights there are.
    filters: usize,
    filter: fn([f64; 3]) -> [f64; MOST],
}

impl Line {
    fn of<T: Transform>() -> Self {
        Self { outputs: T::OUTPUTS, stride: T::STRIDE, filters: T::FILTERS, filter: T::filter }
    }
}

impl Tile {
    fn line(self) -> Line {
        match self {
            Self::Two => Line::of::<Two>(),
            Self::Four => Line::of::<Four>(),
            Self::FourBalanced => Line::of::<Balanced>(),
            Self::Six => Line::of::<Six>(),
            Self::StridedTwo => Line::of::<StridedTwo>(),
            Self::StridedFour => Line::of::<StridedFour>(),
        }
    }

    /// How far its outputs are apart, in inputs.
    pub fn stride(self) -> usize {
        self.line().stride
    }
}

impl Winograd {
    /// Whether `tile` applies to weights of `shape` `[O, C / groups, kh, kw]`, with at least `fewest` channels on either
    /// side to pay for the transforms.
    pub fn suits(tile: Tile, [o, c, kh, kw]: [usize; 4], conv: &Conv, fewest: usize) -> bool {
        let Conv { stride, dilation, groups, .. } = *conv;
        [kh, kw] == [3, 3] && stride == [tile.stride(); 2] && dilation == [1, 1] && groups == 1 && c.min(o) >= fewest
    }

    /// Transforms `weight` of shape `[O, C, 3, 3]`.
    pub fn new(isa: Isa, tile: Tile, weight: &[f32], size: [usize; 2]) -> Result<Self> {
        Self::with_factors(isa, Factors::F32, tile, weight, size)
    }

    /// The same, with transformed weights and inputs that are rounded before they are multiplied.
    pub fn with_factors(isa: Isa, factors: Factors, tile: Tile, weight: &[f32], [o, c]: [usize; 2]) -> Result<Self> {
        if weight.len() != o * c * 9 {
            bail!("{} numbers are not {o} x {c} kernels of 3x3", weight.len());
        }
        Ok(Self::pack(isa, factors, tile, [o, c], |output, channel, tap| weight[(output * c + channel) * 9 + tap]))
    }

    /// The gradient with respect to the input of the convolution that [`Winograd::new`] makes of the same weights:
    /// again a convolution, with the kernels turned by half a turn and their two channel axes exchanged. Its padding is
    /// 2 minus the convolution's on every side. An error for tiles of stride 2.
    pub fn gradient(isa: Isa, tile: Tile, weight: &[f32], size: [usize; 2]) -> Result<Self> {
        Self::gradient_with_factors(isa, Factors::F32, tile, weight, size)
    }

    /// The same, with transformed weights and gradients that are rounded before they are multiplied.
    pub fn gradient_with_factors(
        isa: Isa,
        factors: Factors,
        tile: Tile,
        weight: &[f32],
        [o, c]: [usize; 2],
    ) -> Result<Self> {
        if weight.len() != o * c * 9 {
            bail!("{} numbers are not {o} x {c} kernels of 3x3", weight.len());
        }
        if tile.stride() != 1 {
            bail!("the gradient of a convolution of stride 2 is none");
        }
        Ok(Self::pack(isa, factors, tile, [c, o], |output, channel, tap| weight[(channel * c + output) * 9 + 8 - tap]))
    }

    fn pack(
        isa: Isa,
        factors: Factors,
        tile: Tile,
        [outputs, channels]: [usize; 2],
        tap: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let isa = isa.checked();
        let kept = Kept::of(isa, factors);
        let elements = kept.elements(channels);
        let Line { filters: side, filter, .. } = tile.line();
        let panels = panels(isa, outputs, side * side * elements);
        let lanes = isa.lanes();
        let length = panels.iter().map(|panel| panel.vectors * lanes * side * side * elements).sum();
        let mut data = Buffer::zeros(length);
        let mut rest: &mut [f32] = &mut data;
        let mut parts = Vec::new();
        for panel in &panels {
            let (part, others) = rest.split_at_mut(panel.vectors * lanes * side * side * elements);
            parts.push((panel, part));
            rest = others;
        }
        parts.into_par_iter().for_each(|(panel, part)| {
            let width = panel.vectors * lanes;
            for channel in 0..channels {
                for column in 0..panel.width {
                    let g = |y: usize, x: usize| f64::from(tap(panel.column + column, channel, y * 3 + x));
                    let lines: [[f64; MOST]; 3] = std::array::from_fn(|x| filter([g(0, x), g(1, x), g(2, x)]));
                    for y in 0..side {
                        let line = filter([lines[0][y], lines[1][y], lines[2][y]]);
                        for (x, value) in line.into_iter().enumerate().take(side) {
                            let element = (y * side + x) * elements + channel / kept.each();
                            kept.put(&mut part[element * width + column], channel, value as f32);
                        }
                    }
                }
            }
        });
        Self { isa, kept, tile, channels, outputs, panels, data }
    }

    /// How many numbers the transformed weights are.
    pub fn elements(&self) -> usize {
        self.data.len()
    }

    /// How far outputs are apart, in inputs.
    pub fn stride(&self) -> usize {
        self.tile.stride()
    }

    /// The number of output channels.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Convolves `input` `[N, H, W, C]` with zeros around it into `out`; `padding` is `[top, left]`, and the output's
    /// size says how much there is on the other sides.
    pub fn run(&self, input: Map, padding: [usize; 2], mut out: MapMut, finish: &Finish) -> Result<()> {
        let ([n, h, w, c], [rows, oh, ow, o]) = (input.shape(), out.shape());
        if n != rows || c != self.channels || o != self.outputs {
            bail!("an input of shape {:?} does not go with a result of shape {:?}", input.shape(), out.shape());
        }
        let m = self.tile.line().outputs;
        let grid = [oh.div_ceil(m), ow.div_ceil(m)];
        let job = Job {
            weights: self,
            input: input.pointer(),
            input_size: [h, w],
            input_pixel: input.pixel(),
            padding,
            finish: finish.prepare(&mut out)?,
            out_pixel: out.pixel(),
            out: out.pointer(),
            out_size: [oh, ow],
            grid,
            tiles: n * grid[0] * grid[1],
        };
        match self.tile {
            Tile::Two => job.run::<Two>(),
            Tile::Four => job.run::<Four>(),
            Tile::FourBalanced => job.run::<Balanced>(),
            Tile::Six => job.run::<Six>(),
            Tile::StridedTwo => job.run::<StridedTwo>(),
            Tile::StridedFour => job.run::<StridedFour>(),
        }
        Ok(())
    }
}
