use candle_core::Tensor;
use faithful_core::{Error, Result, TokenGrid, has_channels_last};
use std::str::FromStr;

/// How a layer's output is laid out: where its channels are, and what its places mean.
///
/// Rules work on `(N, C, h, w)` for images and `(N, C, t)` for series; transformers give tokens, which a layout
/// brings into that form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layout {
    /// What [`Layout::infer`] finds.
    #[default]
    Auto,
    /// `(N, C, …)`: a convolutional layer.
    ChannelsFirst,
    /// `(N, …, C)`, as Swin's blocks give `(N, h, w, C)`.
    ChannelsLast,
    /// `(N, T, C)` with `prefix` class and register tokens before the `h w` patch tokens, row by row.
    Tokens {
        /// How many tokens stand before the patches: 1 for `ViT`, 2 for distilled `DeiT`, 5 for `DINOv2` with registers.
        prefix: usize,
        /// The grid of patches `[h, w]`.
        grid: [usize; 2],
    },
    /// `(N, C, T)`, the same with the channels first: what a transformer from ONNX may have been brought to.
    TokensLast {
        /// How many tokens stand before the patches.
        prefix: usize,
        /// The grid of patches `[h, w]`.
        grid: [usize; 2],
    },
}

impl FromStr for Layout {
    type Err = Error;

    /// Reads `auto`, `channels-first`, `channels-last`, `tokens:PREFIX:HxW`, as `tokens:1:14x14`, and `tokens-last:…`.
    fn from_str(text: &str) -> Result<Self> {
        let tokens = |text: &str| -> Option<Self> {
            let (kind, rest) = text.split_once(':')?;
            let (prefix, grid) = rest.split_once(':')?;
            let (height, width) = grid.split_once('x')?;
            let (prefix, grid) = (prefix.parse().ok()?, [height.parse().ok()?, width.parse().ok()?]);
            match kind {
                _ if grid.contains(&0) => None,
                "tokens" => Some(Self::Tokens { prefix, grid }),
                "tokens-last" => Some(Self::TokensLast { prefix, grid }),
                _ => None,
            }
        };
        match text {
            "auto" => Ok(Self::Auto),
            "channels-first" => Ok(Self::ChannelsFirst),
            "channels-last" => Ok(Self::ChannelsLast),
            _ => tokens(text).ok_or_else(|| {
                let reason = format!(
                    "`{text}` is not `auto`, `channels-first`, `channels-last` or `tokens:PREFIX:HxW`, as \
                     `tokens:1:14x14` for one class token before 14 rows of 14 patches, or `tokens-last:…` where the \
                     channels come first"
                );
                Error::parameter("layout", reason)
            }),
        }
    }
}

impl Layout {
    /// The layout of a layer with output `(N, …)` in a network with input `(N, …)`.
    ///
    /// For an image: three axes are tokens along the second axis, or else the third, as [`TokenGrid::of`] finds them; where
    /// both axes could be, the one with a class token. Four axes have their channels last where only so the places
    /// have the image's aspect. Anything else is channels first.
    ///
    /// # Errors
    /// [`Error::Shape`] for tokens that make no grid.
    pub fn infer(input: &[usize], output: &[usize]) -> Result<Self> {
        let [_, _, height, width] = *input else { return Ok(Self::ChannelsFirst) };
        match *output {
            [_, second, third] => {
                let [second, third] = [second, third].map(|tokens| TokenGrid::of(tokens, [height, width]));
                // Channels may be a square number too, but hardly one more: a class token tells which axis is which.
                let rank = |grid: TokenGrid| match grid.prefix {
                    1 | 5 => 0,
                    0 => 1,
                    _ => 2,
                };
                match (second, third) {
                    (Some(grid), other) if other.is_none_or(|other| rank(grid) <= rank(other)) => {
                        Ok(Self::Tokens { prefix: grid.prefix, grid: grid.size })
                    }
                    (_, Some(grid)) => Ok(Self::TokensLast { prefix: grid.prefix, grid: grid.size }),
                    _ => {
                        let expected = format!(
                            "tokens that make a grid of the input's aspect {height}:{width}, after up to 8 others; \
                             name the layout, or choose a layer with places"
                        );
                        Err(Error::shape("the target layer's output", expected, output))
                    }
                }
            }
            [_, a, b, c] if has_channels_last([a, b, c], [height, width]) => Ok(Self::ChannelsLast),
            _ => Ok(Self::ChannelsFirst),
        }
    }

    /// This, or what is inferred where it is [`Layout::Auto`].
    pub fn resolve(self, input: &[usize], output: &[usize]) -> Result<Self> {
        match self {
            Self::Auto => Self::infer(input, output),
            known => Ok(known),
        }
    }

    /// Brings `(N, …)` into channels-first form, `(N, C, h, w)` for images. [`Layout::Auto`] is taken for channels first.
    ///
    /// # Errors
    /// [`Error::Shape`] for tokens of another number than the layout's.
    pub fn channels_first(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Auto | Self::ChannelsFirst => Ok(x.clone()),
            Self::ChannelsLast => {
                let last = x.rank() - 1;
                let axes: Vec<usize> = [0, last].into_iter().chain(1..last).collect();
                Ok(x.permute(axes)?.contiguous()?)
            }
            Self::Tokens { prefix, grid: [height, width] } => {
                let wrong = || Error::shape("tokens", format!("(N, {prefix} + {height} {width}, C)"), x.dims());
                let (rows, tokens, channels) = x.dims3().map_err(|_| wrong())?;
                if tokens != prefix + height * width {
                    return Err(wrong());
                }
                let patches = x.narrow(1, prefix, height * width)?.transpose(1, 2)?.contiguous()?;
                Ok(patches.reshape((rows, channels, height, width))?)
            }
            Self::TokensLast { prefix, grid: [height, width] } => {
                let wrong = || Error::shape("tokens", format!("(N, C, {prefix} + {height} {width})"), x.dims());
                let (rows, channels, tokens) = x.dims3().map_err(|_| wrong())?;
                if tokens != prefix + height * width {
                    return Err(wrong());
                }
                let patches = x.narrow(2, prefix, height * width)?.contiguous()?;
                Ok(patches.reshape((rows, channels, height, width))?)
            }
        }
    }

    /// A layer's output `x` `(N, …)` whose places are those of `places` `(N, C, h, w)`; tokens of no place stay.
    ///
    /// # Errors
    /// [`Error::Shape`] for tokens of another number than the layout's.
    pub fn with_places(self, x: &Tensor, places: &Tensor) -> Result<Tensor> {
        let tokens = |places: &Tensor| places.flatten_from(2);
        Ok(match self {
            Self::Auto | Self::ChannelsFirst => places.clone(),
            Self::ChannelsLast => {
                let axes: Vec<usize> = [0].into_iter().chain(2..places.rank()).chain([1]).collect();
                places.permute(axes)?.contiguous()?
            }
            Self::Tokens { prefix: 0, .. } => tokens(places)?.transpose(1, 2)?.contiguous()?,
            Self::Tokens { prefix, .. } => {
                Tensor::cat(&[&x.narrow(1, 0, prefix)?, &tokens(places)?.transpose(1, 2)?.contiguous()?], 1)?
            }
            Self::TokensLast { prefix: 0, .. } => tokens(places)?,
            Self::TokensLast { prefix, .. } => Tensor::cat(&[&x.narrow(2, 0, prefix)?, &tokens(places)?], 2)?,
        })
    }

    /// Which axis has the channels in the layer's own form.
    pub(crate) fn channel_axis(self, rank: usize) -> usize {
        match self {
            Self::Auto | Self::ChannelsFirst | Self::TokensLast { .. } => 1,
            Self::ChannelsLast | Self::Tokens { .. } => rank - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn layouts_of_known_networks_are_inferred() {
        let photo = [1, 3, 224, 224];
        assert_eq!(Layout::infer(&photo, &[1, 512, 14, 14]).unwrap(), Layout::ChannelsFirst);
        assert_eq!(Layout::infer(&photo, &[1, 7, 7, 768]).unwrap(), Layout::ChannelsLast);
        let vit = Layout::Tokens { prefix: 1, grid: [14, 14] };
        assert_eq!(Layout::infer(&photo, &[1, 197, 768]).unwrap(), vit);
        let registers = Layout::Tokens { prefix: 5, grid: [16, 16] };
        assert_eq!(Layout::infer(&photo, &[1, 261, 384]).unwrap(), registers);
        let wide = Layout::Tokens { prefix: 1, grid: [14, 28] };
        assert_eq!(Layout::infer(&[1, 3, 224, 448], &[1, 393, 192]).unwrap(), wide);
        let first = Layout::TokensLast { prefix: 1, grid: [14, 14] };
        assert_eq!(Layout::infer(&photo, &[1, 768, 197]).unwrap(), first);
        // 256 channels are the square of 16 as well.
        let few = Layout::TokensLast { prefix: 1, grid: [14, 14] };
        assert_eq!(Layout::infer(&photo, &[1, 256, 197]).unwrap(), few);
        // Four registers without a class token.
        let registers = Layout::Tokens { prefix: 4, grid: [14, 14] };
        assert_eq!(Layout::infer(&photo, &[1, 200, 768]).unwrap(), registers);
        assert!(Layout::infer(&photo, &[1, 210, 768]).is_err());
        // A series: channels and time.
        assert_eq!(Layout::infer(&[1, 14, 30], &[1, 64, 28]).unwrap(), Layout::ChannelsFirst);
    }

    #[test]
    fn layouts_are_read() {
        let tokens = Layout::Tokens { prefix: 1, grid: [14, 7] };
        for (text, layout) in
            [("auto", Layout::Auto), ("channels-last", Layout::ChannelsLast), ("tokens:1:14x7", tokens)]
        {
            assert_eq!(text.parse::<Layout>().unwrap(), layout);
        }
        for wrong in ["", "tokens", "tokens:14x14", "tokens:1:14", "tokens:1:0x4", "tokens:-1:2x2", "nchw"] {
            assert!(wrong.parse::<Layout>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn tokens_become_a_grid_without_the_class_token() {
        let tokens = Tensor::arange(0f32, 10., &Device::Cpu).unwrap().reshape((1, 5, 2)).unwrap();
        let map = Layout::Tokens { prefix: 1, grid: [2, 2] }.channels_first(&tokens).unwrap();
        assert_eq!(map.get(0).unwrap().to_vec3::<f32>().unwrap(), [[[2., 4.], [6., 8.]], [[3., 5.], [7., 9.]]]);
        let turned = Layout::TokensLast { prefix: 1, grid: [2, 2] };
        let same = turned.channels_first(&tokens.transpose(1, 2).unwrap()).unwrap();
        assert_eq!(
            same.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            map.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        );
        for (layout, x) in [
            (Layout::Tokens { prefix: 1, grid: [2, 2] }, tokens.clone()),
            (turned, tokens.transpose(1, 2).unwrap().contiguous().unwrap()),
            (Layout::Tokens { prefix: 0, grid: [5, 1] }, tokens.clone()),
            (Layout::ChannelsLast, tokens.reshape((1, 5, 1, 2)).unwrap()),
        ] {
            let twice = (layout.channels_first(&x).unwrap() * 2.0).unwrap();
            let again = layout.with_places(&x, &twice).unwrap();
            assert_eq!((again.dims(), layout.channel_axis(x.rank())), (x.dims(), layout.channel_axis(again.rank())));
            let same = (layout.channels_first(&again).unwrap() - twice).unwrap().abs().unwrap().max_all().unwrap();
            assert_eq!(same.to_scalar::<f32>().unwrap(), 0.0);
        }
        let last = Tensor::arange(0f32, 8., &Device::Cpu).unwrap().reshape((1, 2, 2, 2)).unwrap();
        let map = Layout::ChannelsLast.channels_first(&last).unwrap();
        assert_eq!(map.get(0).unwrap().to_vec3::<f32>().unwrap(), [[[0., 2.], [4., 6.]], [[1., 3.], [5., 7.]]]);
    }
}
