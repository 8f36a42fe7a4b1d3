/// How many tokens stand before the patches in known transformers, the usual ones first: none, a class token, a distilled
/// `DeiT`'s two, a class token and four registers, four registers alone, and what else fewer than nine may be.
const PREFIXES: [usize; 9] = [0, 1, 2, 5, 4, 3, 6, 7, 8];

/// How the tokens of a transformer lie over its image: the grid of patches row by row, after some others.
///
/// ```
/// use faithful_core::TokenGrid;
///
/// let grid = TokenGrid::of(197, [224, 224]).unwrap();
/// assert_eq!((grid.prefix, grid.size), (1, [14, 14]));
/// assert!(TokenGrid::of(210, [224, 224]).is_none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenGrid {
    /// How many class and register tokens stand before the patches.
    pub prefix: usize,
    /// Rows and columns of patches.
    pub size: [usize; 2],
}

impl TokenGrid {
    /// The grid of `tokens` on an image `[height, width]`: it has the image's aspect, and its patches are whole pixels; or,
    /// where no number of leading tokens gives that, the image's aspect alone (stages that round a size up).
    ///
    /// `None` where there is no such grid of more than one patch.
    pub fn of(tokens: usize, [height, width]: [usize; 2]) -> Option<Self> {
        let grids = PREFIXES.into_iter().filter_map(|prefix| {
            let patches = tokens.checked_sub(prefix)?;
            (prefix < patches).then_some(Self { prefix, size: grid(patches, height, width)? })
        });
        let whole = |grid: &Self| height.is_multiple_of(grid.size[0]) && width.is_multiple_of(grid.size[1]);
        // Without whole patches any square number would do, so that only a class token may stand before them.
        grids.clone().find(whole).or_else(|| grids.take(2).find(|grid| grid.prefix < 2))
    }
}

/// Whether a layer's `[a, b, c]`, without the batch, is a map `[h, w, C]` of an image `[height, width]`: only so its places have the
/// image's aspect, and there are more channels than columns.
pub fn has_channels_last([a, b, c]: [usize; 3], [height, width]: [usize; 2]) -> bool {
    let aspect = |rows: usize, columns: usize| rows.saturating_mul(width) == columns.saturating_mul(height);
    aspect(a, b) && !aspect(b, c) && c > b
}

/// The grid of `patches` square patches on an image of that height and width.
fn grid(patches: usize, height: usize, width: usize) -> Option<[usize; 2]> {
    // rows / columns = height / width, so that rows² = patches height / width.
    let rows = patches.checked_mul(height)?.checked_div(width)?.isqrt();
    let exact = patches > 1 && rows > 0 && patches.is_multiple_of(rows) && rows * width == patches / rows * height;
    exact.then(|| [rows, patches / rows])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_have_their_channels_last_where_only_so_the_places_have_the_images_aspect() {
        assert!(has_channels_last([7, 7, 768], [224, 224]));
        assert!(has_channels_last([7, 14, 96], [112, 224]));
        for shape in [[768, 7, 7], [7, 7, 7], [7, 14, 96], [8, 8, 4]] {
            assert!(!has_channels_last(shape, [224, 224]), "{shape:?}");
        }
    }

    #[test]
    fn grids_have_the_images_aspect_after_class_and_register_tokens() {
        let of = |tokens, size| TokenGrid::of(tokens, size).map(|grid| (grid.prefix, grid.size));
        for (tokens, prefix, side) in [(196, 0, 14), (197, 1, 14), (198, 2, 14), (261, 5, 16), (200, 4, 14), (17, 1, 4)]
        {
            assert_eq!(of(tokens, [224, 224]), Some((prefix, [side, side])), "{tokens}");
        }
        assert_eq!(of(393, [224, 448]), Some((1, [14, 28])));
        assert_eq!(of(8, [192, 64]), None);
        assert_eq!(of(12, [192, 64]), Some((0, [6, 2])));
        // Stages of 160 pixels that round up: 10, then 5, then 3 rows.
        assert_eq!(of(9, [160, 160]), Some((0, [3, 3])));
        assert_eq!(of(49, [216, 216]), Some((0, [7, 7])));
        assert_eq!(of(50, [216, 216]), Some((1, [7, 7])));
        for none in [0, 1, 210] {
            assert_eq!(of(none, [224, 224]), None, "{none}");
        }
        assert_eq!(of(usize::MAX, [224, 224]), None);
        assert_eq!(of(16, [0, 0]), None);
    }
}
