//! Convolutions in `f32` on the CPU by the kernels of `faithful-kernel`: from planes to maps, the kernel, and back.
//!
//! Weights are repacked at every call, as a tensor's elements may change between two. That pays where each image has
//! enough pixels; the batch is not looked at, so that a row's result does not depend on it. A network that runs often
//! is better made a `faithful_model::Graph`, which keeps repacked weights and maps.

use crate::convolution::Geometry;
use candle_core::Result;
use faithful_kernel::{
    Buffer, Depthwise, Direct, Finish, Isa, Map, MapMut, Tile, Transposed, Winograd, from_planar, to_planar,
};

/// Fewer pixels per image do not pay for repacking, or for transforming, the weights. `F(2x2)` rounds about as a plain sum
/// does; larger tiles are faster and round more.
const FEWEST_PIXELS: usize = 400;
const FEWEST_FOR_WINOGRAD: usize = 2000;

fn weight_shape(g: &Geometry) -> [usize; 4] {
    [g.outputs, g.channels_per_group(), g.kernel[0], g.kernel[1]]
}

fn pays(g: &Geometry) -> bool {
    g.result_pixels().min(g.pixels()) >= FEWEST_PIXELS && g.batch > 0 && g.outputs * g.taps() > 0
}

/// `y` `(N, O, oh, ow)` of `x` `(N, C, H, W)`; `None` where it does not pay.
pub(crate) fn forward(x: &[f32], weight: &[f32], bias: Option<&[f32]>, g: &Geometry) -> Result<Option<Vec<f32>>> {
    if !pays(g) {
        return Ok(None);
    }
    let (isa, shape) = (Isa::best(), weight_shape(g));
    let finish = Finish { bias, ..Finish::default() };
    let out = [g.batch, g.result[0], g.result[1], g.outputs];
    through_maps(x, [g.batch, g.size[0], g.size[1], g.channels], out, |input, out| {
        if g.is_depthwise() && g.outputs == g.conv.groups {
            return Depthwise::new(isa, weight, shape, &g.conv)?.run(input, out, &finish);
        }
        if Winograd::suits(Tile::Two, shape, &g.conv, 16) && g.result_pixels() >= FEWEST_FOR_WINOGRAD {
            let padding = [g.conv.padding[0], g.conv.padding[1]];
            return Winograd::new(isa, Tile::Two, weight, [shape[0], shape[1]])?.run(input, padding, out, &finish);
        }
        Direct::new(isa, weight, shape, &g.conv)?.run(input, out, &finish)
    })
    .map(Some)
}

/// The gradient `(N, C, H, W)` of the input from that of the result; `None` where it does not pay.
pub(crate) fn input_gradient(gradient: &[f32], weight: &[f32], g: &Geometry) -> Result<Option<Vec<f32>>> {
    if !pays(g) {
        return Ok(None);
    }
    let (isa, shape, finish) = (Isa::best(), weight_shape(g), Finish::default());
    let out = [g.batch, g.size[0], g.size[1], g.channels];
    through_maps(gradient, [g.batch, g.result[0], g.result[1], g.outputs], out, |input, out| {
        if g.is_depthwise() && g.outputs == g.conv.groups {
            let kernels = Depthwise::new(isa, weight, shape, &g.conv)?;
            // A transposed convolution may have rows of its result that no window reaches.
            if kernels.output_shape(out.shape())? == input.shape() {
                return kernels.gradient(input, out, &finish);
            }
        }
        let [top, left, ..] = g.conv.padding;
        if Winograd::suits(Tile::Two, shape, &g.conv, 16) && g.pixels() >= FEWEST_FOR_WINOGRAD && top <= 2 && left <= 2
        {
            let kernel = Winograd::gradient(isa, Tile::Two, weight, [shape[0], shape[1]])?;
            return kernel.run(input, [2 - top, 2 - left], out, &finish);
        }
        Transposed::new(isa, weight, shape, &g.conv)?.run(input, out, &finish)
    })
    .map(Some)
}

/// Runs `work` on planes as maps; shapes are `[N, H, W, C]`.
fn through_maps(
    planes: &[f32],
    from: [usize; 4],
    to: [usize; 4],
    work: impl FnOnce(Map, MapMut) -> Result<()>,
) -> Result<Vec<f32>> {
    let mut input = Buffer::zeros(planes.len());
    from_planar(planes, MapMut::new(&mut input, from)?)?;
    let mut out = Buffer::zeros(to.iter().product());
    work(Map::new(&input, from)?, MapMut::new(&mut out, to)?)?;
    let mut result = vec![0.0; out.len()];
    to_planar(Map::new(&out, to)?, &mut result)?;
    Ok(result)
}
