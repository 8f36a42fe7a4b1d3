use super::gather::Gather;
use super::map::{Buffer, Finish, Map, MapMut, Source};
use super::matrix::Matrix;
use super::scratch::with_scratch;
use super::{Factors, Isa, output_size};
use crate::Conv;
use candle_core::{Result, bail};

/// A convolution of any geometry as products of its windows, where they lie, with repacked weights.
///
/// A 1x1 convolution multiplies pixels without copying anything; a larger window is one segment per tap. Where a pixel
/// is short (a photo's three channels), the input is copied into a padded frame once and a window's whole row is one
/// segment.
#[derive(Clone, Debug)]
pub struct Direct {
    conv: Conv,
    kernel: [usize; 2],
    input_channels: usize,
    groups: Vec<Matrix>,
    /// What a tap outside of the map reads.
    zeros: Buffer,
    by_rows: bool,
}

impl Direct {
    /// Packs `weight` of shape `[O, C / groups, kh, kw]`.
    pub fn new(isa: Isa, weight: &[f32], shape: [usize; 4], conv: &Conv) -> Result<Self> {
        Self::with_factors(isa, Factors::F32, weight, shape, conv)
    }

    /// The same, with weights and inputs that are rounded before they are multiplied.
    pub fn with_factors(isa: Isa, factors: Factors, weight: &[f32], shape: [usize; 4], conv: &Conv) -> Result<Self> {
        let [o, c, kh, kw] = shape;
        let groups = conv.groups;
        if groups == 0 || o % groups != 0 || weight.len() != o * c * kh * kw {
            bail!("weights of shape {shape:?} do not go with {} numbers in {groups} groups", weight.len());
        }
        let columns = o / groups;
        let by_rows = groups == 1 && conv.dilation[1] == 1 && kw > 1 && c < 8;
        let depth = if by_rows { [kh, kw * c] } else { [kh * kw, c] };
        let pack = |group: usize| {
            Matrix::pack_segments(isa, factors, depth, columns, |k, n| {
                let (tap, channel) = (k / c, k % c);
                weight[((group * columns + n) * c + channel) * kh * kw + tap]
            })
        };
        Ok(Self {
            conv: *conv,
            kernel: [kh, kw],
            input_channels: c * groups,
            groups: (0..groups).map(pack).collect(),
            zeros: Buffer::zeros(c),
            by_rows,
        })
    }

    /// The window's height and width, and how it moves.
    pub fn window(&self) -> ([usize; 2], &Conv) {
        (self.kernel, &self.conv)
    }

    /// The same weights for inputs that bring their margin along.
    pub fn without_padding(&self) -> Self {
        Self { conv: Conv { padding: [0; 4], ..self.conv }, ..self.clone() }
    }

    /// How many numbers the packed weights are.
    pub fn elements(&self) -> usize {
        self.groups.iter().map(Matrix::elements).sum()
    }

    /// The output's shape for an input.
    pub fn output_shape(&self, input: [usize; 4]) -> Result<[usize; 4]> {
        let [n, h, w, c] = input;
        if c != self.input_channels {
            bail!("{c} input channels where the weights have {}", self.input_channels);
        }
        let [h, w] = output_size([h, w], self.kernel, &self.conv)?;
        Ok([n, h, w, self.groups.iter().map(Matrix::columns).sum()])
    }

    /// Convolves `input` into `out`.
    pub fn run(&self, input: Map, mut out: MapMut, finish: &Finish) -> Result<()> {
        let expected = self.output_shape(input.shape())?;
        if out.shape() != expected {
            bail!("the result has shape {expected:?}, not {:?}", out.shape());
        }
        let finish = finish.prepare(&mut out)?;
        let out_pixel = out.pixel();
        let out_start = out.pointer();
        if self.by_rows {
            let [n, h, w, c] = input.shape();
            let [top, left, bottom, right] = self.conv.padding;
            let (height, width) = (h + top + bottom, w + left + right);
            with_scratch(n * height * width * c, |frame| {
                frame_with_zeros(input, frame, [height, width], [top, left]);
                let gather = Gather {
                    matrix: &self.groups[0],
                    rows: expected[0] * expected[1] * expected[2],
                    segments: self.kernel[0],
                    length: self.kernel[1] * c,
                    place: self.place_rows(Source(frame.as_ptr()), [height, width, c], expected),
                    out: out_start,
                    out_pixel,
                    finish,
                };
                // SAFETY: `place_rows` stays inside the frame, shapes were checked above.
                unsafe { gather.run() };
            });
            return Ok(());
        }
        let columns = self.groups.first().map_or(0, Matrix::columns);
        let length = self.zeros.len();
        for (group, matrix) in self.groups.iter().enumerate() {
            let gather = Gather {
                matrix,
                rows: expected[0] * expected[1] * expected[2],
                segments: self.kernel[0] * self.kernel[1],
                length,
                place: self.place_taps(input, group * length, expected),
                out: super::map::Target(out_start.at(group * columns)),
                out_pixel,
                finish: finish.starting_at_channel(group * columns),
            };
            // SAFETY: `place_taps` gives pixels of the map or zeros, shapes were checked above.
            unsafe { gather.run() };
        }
        Ok(())
    }

    fn place_rows(
        &self,
        frame: Source,
        [height, width, channels]: [usize; 3],
        [_, oh, ow, _]: [usize; 4],
    ) -> impl Fn(usize, &mut [*const f32], usize) -> usize + Sync {
        let ([sy, sx], [dy, _], kh) = (self.conv.stride, self.conv.dilation, self.kernel[0]);
        move |row, starts, step| {
            let (image, y, x) = (row / (oh * ow), row / ow % oh, row % ow);
            for ky in 0..kh {
                starts[ky * step] = frame.at(((image * height + y * sy + ky * dy) * width + x * sx) * channels);
            }
            row
        }
    }

    fn place_taps(
        &self,
        input: Map,
        channel: usize,
        [_, oh, ow, _]: [usize; 4],
    ) -> impl Fn(usize, &mut [*const f32], usize) -> usize + Sync {
        let [_, h, w, _] = input.shape();
        let (pixel, source, zeros) = (input.pixel(), input.pointer(), Source(self.zeros.as_ptr()));
        let ([sy, sx], [dy, dx], [top, left, ..]) = (self.conv.stride, self.conv.dilation, self.conv.padding);
        let [kh, kw] = self.kernel;
        let plain = [kh, kw, sy, sx, oh, ow] == [1, 1, 1, 1, h, w];
        move |row, starts, step| {
            if plain {
                starts[0] = source.at(row * pixel + channel);
                return row;
            }
            let (image, y, x) = (row / (oh * ow), row / ow % oh, row % ow);
            for ky in 0..kh {
                // Outside on the upper side wraps around and is too large as well.
                let iy = (y * sy + ky * dy).wrapping_sub(top);
                for kx in 0..kw {
                    let ix = (x * sx + kx * dx).wrapping_sub(left);
                    starts[(ky * kw + kx) * step] = if iy < h && ix < w {
                        source.at(((image * h + iy) * w + ix) * pixel + channel)
                    } else {
                        zeros.at(0)
                    };
                }
            }
            row
        }
    }
}

/// Copies `input` into the middle of a frame of zeros.
fn frame_with_zeros(input: Map, frame: &mut [f32], [height, width]: [usize; 2], [top, left]: [usize; 2]) {
    let [_, h, w, c] = input.shape();
    for (line, target) in frame.chunks_exact_mut((width * c).max(1)).enumerate() {
        let (image, y) = (line / height, (line % height).wrapping_sub(top));
        target.fill(0.0);
        if y < h {
            for x in 0..w {
                let from = ((image * h + y) * w + x) * input.pixel();
                target[(left + x) * c..(left + x + 1) * c].copy_from_slice(&input.data()[from..from + c]);
            }
        }
    }
}
