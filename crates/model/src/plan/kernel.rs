use candle_core::{DType, Result, Tensor};
use faithful_kernel::{Depthwise, Direct, Factors, Finish, Isa, Map, MapMut, Tile, Transposed, Winograd};
use faithful_tensor::Conv;

/// A convolution's repacked weights, forward or back, batch normalisation folded in.
#[derive(Debug)]
pub(super) enum Kernel {
    Winograd { weights: Winograd, padding: [usize; 2] },
    Direct(Direct),
    Depthwise(Depthwise),
    WinogradBack { weights: Winograd, padding: [usize; 2] },
    DepthwiseBack(Depthwise),
    Transposed(Transposed),
}

/// A convolution as the graph has it.
pub(super) struct Convolution<'a> {
    pub(super) weight: &'a Tensor,
    pub(super) conv: &'a Conv,
    /// The batch normalisation behind it, if it is folded in.
    pub(super) scale: Option<&'a Tensor>,
}

impl Convolution<'_> {
    /// `[O, C / groups, kh, kw]`, and the weights times their output's scale.
    fn scaled(&self) -> Result<([usize; 4], Vec<f32>)> {
        let (o, c, kh, kw) = self.weight.dims4()?;
        let mut weight = numbers(self.weight)?;
        if let Some(scale) = self.scale {
            let per_output = (c * kh * kw).max(1);
            for (weight, scale) in weight.chunks_mut(per_output).zip(numbers(scale)?) {
                for weight in weight.iter_mut() {
                    *weight *= scale;
                }
            }
        }
        Ok(([o, c, kh, kw], weight))
    }

    fn is_depthwise(&self, [o, c, ..]: [usize; 4]) -> bool {
        c == 1 && self.conv.groups == o && o > 1
    }

    /// The kernel that computes the output.
    pub(super) fn forward(&self, isa: Isa, factors: Factors) -> Result<Kernel> {
        let (shape, weight) = self.scaled()?;
        if self.is_depthwise(shape) {
            return Ok(Kernel::Depthwise(Depthwise::new(isa, &weight, shape, self.conv)?));
        }
        let (factors, tile) = rounding(shape[1], self.conv.stride, factors);
        if Winograd::suits(tile, shape, self.conv, 16) {
            let weights = Winograd::with_factors(isa, factors, tile, &weight, [shape[0], shape[1]])?;
            return Ok(Kernel::Winograd { weights, padding: [self.conv.padding[0], self.conv.padding[1]] });
        }
        Ok(Kernel::Direct(Direct::with_factors(isa, factors, &weight, shape, self.conv)?))
    }

    /// The kernel that pulls a gradient back to the input, in `f32`: gradients are not rounded.
    pub(super) fn back(&self, isa: Isa) -> Result<Kernel> {
        let (shape, weight) = self.scaled()?;
        if self.is_depthwise(shape) {
            return Ok(Kernel::DepthwiseBack(Depthwise::new(isa, &weight, shape, self.conv)?));
        }
        let [top, left, ..] = self.conv.padding;
        // With few channels in the result, as at a photo, the products are few but the transforms are not saved.
        if Winograd::suits(Tile::Four, shape, self.conv, 1) && top <= 2 && left <= 2 {
            let weights = Winograd::gradient(isa, Tile::Four, &weight, [shape[0], shape[1]])?;
            return Ok(Kernel::WinogradBack { weights, padding: [2 - top, 2 - left] });
        }
        Ok(Kernel::Transposed(Transposed::new(isa, &weight, shape, self.conv)?))
    }
}

/// What factors are rounded to where the graph asks for `factors`, and the tile of a 3x3 kernel: where few channels are added
/// up, as at a photo, rounding them takes longer than it saves. Of stride 2, rounded factors and many channels, whose
/// transformed weights would not stay in a cache, are multiplied directly: a tile of stride 1 does not suit them.
fn rounding(channels: usize, stride: [usize; 2], factors: Factors) -> (Factors, Tile) {
    const FEWEST: usize = 32;
    match factors {
        Factors::Bf16 if channels >= FEWEST => (factors, Tile::FourBalanced),
        _ if stride == [2, 2] && channels <= 128 => (Factors::F32, Tile::StridedFour),
        _ if stride == [2, 2] && channels <= 256 => (Factors::F32, Tile::StridedTwo),
        _ => (Factors::F32, Tile::Four),
    }
}

impl Kernel {
    /// How many numbers its weights are; those of depthwise and transposed kernels do not count.
    pub(super) fn elements(&self) -> usize {
        match self {
            Self::Winograd { weights, .. } | Self::WinogradBack { weights, .. } => weights.elements(),
            Self::Direct(weights) => weights.elements(),
            _ => 0,
        }
    }

    /// How the window of a kernel that computes an output moves: its size, and the geometry.
    pub(super) fn window(&self) -> Option<([usize; 2], Conv)> {
        match self {
            Self::Winograd { weights, padding: [top, left] } => {
                let stride = [weights.stride(); 2];
                Some(([3, 3], Conv { stride, padding: [*top, *left, *top, *left], ..Conv::default() }))
            }
            Self::Direct(weights) => Some(weights.window()).map(|(size, conv)| (size, *conv)),
            Self::Depthwise(weights) => Some(weights.window()).map(|(size, conv)| (size, *conv)),
            _ => None,
        }
    }

    /// The same for inputs that bring their margin along; none where this kernel is as good.
    pub(super) fn without_padding(&self) -> Option<Self> {
        match self {
            Self::Direct(weights) => Some(Self::Direct(weights.without_padding())),
            Self::Depthwise(weights) => Some(Self::Depthwise(weights.without_padding())),
            _ => None,
        }
    }

    /// [`run`](Self::run) on inputs that bring their margin along.
    pub(super) fn run_without_padding(&self, input: Map, out: MapMut, finish: &Finish) -> Result<()> {
        match self {
            Self::Winograd { weights, .. } => weights.run(input, [0, 0], out, finish),
            other => other.run(input, out, finish),
        }
    }

    pub(super) fn run(&self, input: Map, out: MapMut, finish: &Finish) -> Result<()> {
        match self {
            Self::Winograd { weights, padding } | Self::WinogradBack { weights, padding } => {
                weights.run(input, *padding, out, finish)
            }
            Self::Direct(weights) => weights.run(input, out, finish),
            Self::Depthwise(weights) => weights.run(input, out, finish),
            Self::DepthwiseBack(weights) => weights.gradient(input, out, finish),
            Self::Transposed(weights) => weights.run(input, out, finish),
        }
    }
}

/// A tensor's elements in order, as `f32`.
pub(super) fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()
}
