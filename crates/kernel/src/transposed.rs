use super::gather::Gather;
use super::map::{Buffer, Finish, Map, MapMut, Source, Target};
use super::matrix::Matrix;
use super::{Factors, Isa};
use crate::Conv;
use candle_core::{Result, bail};

/// A convolution run backwards: the gradient with respect to its input, or a transposed convolution's forward.
///
/// Result pixels that are reached by the same taps (their coordinates agree modulo the stride) form a phase; each phase
/// is a product of gradient pixels, where they lie, with that phase's weights.
#[derive(Clone, Debug)]
pub struct Transposed {
    conv: Conv,
    kernel: [usize; 2],
    channels: usize,
    gradient_channels: usize,
    /// Per phase (row by row) and group.
    phases: Vec<Phase>,
    zeros: Buffer,
}

#[derive(Clone, Debug)]
struct Phase {
    taps: Vec<[usize; 2]>,
    groups: Vec<Matrix>,
}

impl Transposed {
    /// Packs the convolution's `weight` of shape `[O, C / groups, kh, kw]`: the result has `C` channels, the gradient
    /// that comes in has `O`.
    pub fn new(isa: Isa, weight: &[f32], shape: [usize; 4], conv: &Conv) -> Result<Self> {
        Self::with_factors(isa, Factors::F32, weight, shape, conv)
    }

    /// The same, with weights and gradients that are rounded before they are multiplied.
    pub fn with_factors(isa: Isa, factors: Factors, weight: &[f32], shape: [usize; 4], conv: &Conv) -> Result<Self> {
        let [o, c, kh, kw] = shape;
        let groups = conv.groups;
        if groups == 0 || o % groups != 0 || weight.len() != o * c * kh * kw || conv.stride.contains(&0) {
            bail!("weights of shape {shape:?} do not go with {} numbers in {groups} groups", weight.len());
        }
        let depth = o / groups;
        let mut phases = Vec::new();
        for phase_y in 0..conv.stride[0] {
            for phase_x in 0..conv.stride[1] {
                let reaches =
                    |k: usize, axis: usize, phase: usize| k * conv.dilation[axis] % conv.stride[axis] == phase;
                let mut taps = Vec::new();
                for ky in (0..kh).filter(|&ky| reaches(ky, 0, phase_y)) {
                    taps.extend((0..kw).filter(|&kx| reaches(kx, 1, phase_x)).map(|kx| [ky, kx]));
                }
                let pack = |group: usize| {
                    Matrix::pack_segments(isa, factors, [taps.len(), depth], c, |k, n| {
                        let ([ky, kx], row) = (taps[k / depth], group * depth + k % depth);
                        weight[((row * c + n) * kh + ky) * kw + kx]
                    })
                };
                phases.push(Phase { groups: (0..groups).map(pack).collect(), taps });
            }
        }
        Ok(Self {
            conv: *conv,
            kernel: [kh, kw],
            channels: c * groups,
            gradient_channels: o,
            phases,
            zeros: Buffer::zeros(depth),
        })
    }

    /// Pulls `gradient` `[N, oh, ow, O]` back into `out` `[N, H, W, C]`.
    pub fn run(&self, gradient: Map, mut out: MapMut, finish: &Finish) -> Result<()> {
        let ([n, oh, ow, o], [rows, h, w, c]) = (gradient.shape(), out.shape());
        if n != rows || o != self.gradient_channels || c != self.channels {
            bail!("a gradient of shape {:?} does not go with an input of shape {:?}", gradient.shape(), out.shape());
        }
        let finish = finish.prepare(&mut out)?;
        let (out_pixel, out_start) = (out.pixel(), out.pointer());
        let ([sy, sx], [dy, dx], [top, left, ..]) = (self.conv.stride, self.conv.dilation, self.conv.padding);
        let (pixel, source, zeros) = (gradient.pixel(), gradient.pointer(), Source(self.zeros.as_ptr()));
        let depth = self.zeros.len();
        let columns = self.channels / self.conv.groups;
        for (index, phase) in self.phases.iter().enumerate() {
            // The first row and column whose padded coordinate is of this phase, and how many there are.
            let first_y = (index / sx + sy - top % sy) % sy;
            let first_x = (index % sx + sx - left % sx) % sx;
            let (count_y, count_x) = (h.saturating_sub(first_y).div_ceil(sy), w.saturating_sub(first_x).div_ceil(sx));
            for (group, matrix) in phase.groups.iter().enumerate() {
                let place = |row: usize, starts: &mut [*const f32], step: usize| {
                    let image = row / (count_y * count_x);
                    let y = first_y + row / count_x % count_y * sy;
                    let x = first_x + row % count_x * sx;
                    for (segment, &[ky, kx]) in phase.taps.iter().enumerate() {
                        // A tap before the first window wraps around and is too large as well.
                        let gy = (y + top).wrapping_sub(ky * dy);
                        let gx = (x + left).wrapping_sub(kx * dx);
                        let inside = gy / sy < oh && gx / sx < ow;
                        starts[segment * step] = if inside {
                            source.at(((image * oh + gy / sy) * ow + gx / sx) * pixel + group * depth)
                        } else {
                            zeros.at(0)
                        };
                    }
                    (image * h + y) * w + x
                };
                let gather = Gather {
                    matrix,
                    rows: n * count_y * count_x,
                    segments: phase.taps.len(),
                    length: depth,
                    place,
                    out: Target(out_start.at(group * columns)),
                    out_pixel,
                    finish: finish.starting_at_channel(group * columns),
                };
                // SAFETY: starts are pixels of the gradient or zeros; each pixel of the result is of one phase.
                unsafe { gather.run() };
            }
        }
        Ok(())
    }

    /// The convolution's window.
    pub fn kernel(&self) -> [usize; 2] {
        self.kernel
    }
}
