//! How tokens lie over an input.

use candle_core::Tensor;
use faithful_core::{Error, Result, TokenGrid};

/// Where the tokens of an input lie.
pub(crate) struct Places {
    prefix: usize,
    /// Rows and columns of a photo's patches; the one axis of a series.
    size: Vec<usize>,
}

impl Places {
    /// The places of so many `tokens` on an input `(N, …)`: those of `grid`, or what their number says.
    pub(crate) fn of(tokens: usize, input: &[usize], grid: Option<TokenGrid>) -> Result<Self> {
        match *input {
            [_, _, height, width] => {
                let named = grid.filter(|grid| grid.prefix + grid.size[0] * grid.size[1] == tokens);
                let found = if grid.is_some() { named } else { TokenGrid::of(tokens, [height, width]) };
                let expected = || {
                    let on = format!("of the input's aspect {height}:{width}");
                    format!(
                        "tokens that make a grid {on}, after up to 8 others; name it with a layout tokens:PREFIX:HxW"
                    )
                };
                let found = found.ok_or_else(|| Error::shape("the attention's keys", expected(), &[tokens]))?;
                Ok(Self { prefix: found.prefix, size: found.size.to_vec() })
            }
            // A class token stands before the times, or each token is a time or a patch of several.
            [_, _, time] => {
                let prefix = usize::from(tokens == time + 1);
                Ok(Self { prefix, size: vec![tokens - prefix] })
            }
            ref other => {
                let expected = "a photo (N, C, H, W) or a series (N, C, T)";
                Err(Error::shape("the input of a method of attention", expected, other))
            }
        }
    }

    /// `(N, tokens)` as `(N, h, w)` or `(N, t)`.
    pub(crate) fn map(&self, tokens: &Tensor) -> Result<Tensor> {
        let rows = tokens.dim(0)?;
        let patches = tokens.narrow(1, self.prefix, self.size.iter().product())?.contiguous()?;
        let shape: Vec<usize> = std::iter::once(rows).chain(self.size.iter().copied()).collect();
        Ok(patches.reshape(shape)?)
    }
}
