//! A map cut into tiles: which of them changed, which others a window takes them to, and their values in and out.

use faithful_kernel::Windows;
use faithful_tensor::Conv;

/// A tile's side: that of the Winograd kernels, which compute such tiles apart.
pub(super) const TILE: usize = 4;

/// Which tiles of a map changed.
#[derive(Clone, Debug)]
pub(super) struct Tiles {
    pub(super) height: usize,
    pub(super) width: usize,
    flags: Vec<bool>,
}

impl Tiles {
    /// No tile of a map of these sides.
    pub(super) fn none([height, width]: [usize; 2]) -> Self {
        let (height, width) = (height.div_ceil(TILE), width.div_ceil(TILE));
        Self { height, width, flags: vec![false; height * width] }
    }

    pub(super) fn all(sides: [usize; 2]) -> Self {
        let mut tiles = Self::none(sides);
        tiles.flags.fill(true);
        tiles
    }

    pub(super) fn mark(&mut self, [y, x]: [usize; 2]) {
        self.flags[y * self.width + x] = true;
    }

    pub(super) fn total(&self) -> usize {
        self.flags.len()
    }

    fn is_marked(&self, y: usize, x: usize) -> bool {
        self.flags[y * self.width + x]
    }

    /// Whether one of the tiles over these rows and columns of cells is marked.
    fn touches(&self, rows: [usize; 2], columns: [usize; 2]) -> bool {
        let over = |[from, to]: [usize; 2], most: usize| from / TILE..to.div_ceil(TILE).min(most);
        over(rows, self.height).any(|y| over(columns, self.width).any(|x| self.is_marked(y, x)))
    }
}

/// The tiles of a map of sides `out` that are reached: whose windows, which `reach` gives along each axis for the cells from
/// one to another, touch a changed cell of `input`, or which changed in `add`.
pub(super) fn reached(
    out: [usize; 2],
    input: &Tiles,
    add: Option<&Tiles>,
    reach: &dyn Fn(usize, [usize; 2]) -> [usize; 2],
) -> Vec<[usize; 2]> {
    let tiles = Tiles::none(out);
    let ranges = |axis: usize, count: usize| -> Vec<[usize; 2]> {
        let cells = |tile: usize| [tile * TILE, ((tile + 1) * TILE).min(out[axis])];
        (0..count).map(|tile| reach(axis, cells(tile))).collect()
    };
    let (rows, columns) = (ranges(0, tiles.height), ranges(1, tiles.width));
    let all = (0..tiles.height).flat_map(|y| (0..tiles.width).map(move |x| [y, x]));
    all.filter(|&[y, x]| input.touches(rows[y], columns[x]) || add.is_some_and(|add| add.is_marked(y, x))).collect()
}

/// The input's cells that the windows of a convolution's outputs `from .. to` see along an axis of `side` cells.
pub(super) fn seen(size: usize, conv: &Conv, axis: usize, [from, to]: [usize; 2], side: usize) -> [usize; 2] {
    let span = (to - 1) * conv.stride[axis] + (size - 1) * conv.dilation[axis] + 1;
    let first = (from * conv.stride[axis]).saturating_sub(conv.padding[axis]);
    [first.min(side), span.saturating_sub(conv.padding[axis]).min(side)]
}

/// The same for a pooling.
pub(super) fn pooled(windows: &Windows, [from, to]: [usize; 2]) -> [usize; 2] {
    [windows.positions(from).0, windows.positions(to - 1).1]
}

/// Copies the cells from `corner` on, `[height, width]` of them, out of a dense map; what lies outside is zero.
pub(super) fn gather(
    map: &[f32],
    [h, w, c]: [usize; 3],
    corner: [isize; 2],
    [height, width]: [usize; 2],
    to: &mut [f32],
) {
    let left = corner[1].min(0).unsigned_abs().min(width);
    let right = (w as isize - corner[1]).clamp(left as isize, width as isize) as usize;
    for (row, to) in to.chunks_exact_mut(width * c).enumerate().take(height) {
        let y = corner[0] + row as isize;
        if y < 0 || y >= h as isize || left >= right {
            to.fill(0.0);
            continue;
        }
        to[..left * c].fill(0.0);
        to[right * c..].fill(0.0);
        let from = (y as usize * w + (corner[1] + left as isize) as usize) * c;
        to[left * c..right * c].copy_from_slice(&map[from..][..(right - left) * c]);
    }
}

/// Copies a tile's values into a dense map and says whether that changed it, bit for bit.
pub(super) fn scatter(tile: &[f32], map: &mut [f32], [h, w, c]: [usize; 3], [y, x]: [usize; 2]) -> bool {
    let (top, left) = (y * TILE, x * TILE);
    let (rows, columns) = (TILE.min(h - top), TILE.min(w - left));
    let mut changed = false;
    for (row, tile) in tile.chunks_exact(TILE * c).take(rows).enumerate() {
        let to = &mut map[((top + row) * w + left) * c..][..columns * c];
        let from = &tile[..columns * c];
        changed |= to.iter().zip(from).fold(false, |differ, (a, b)| differ | (a.to_bits() != b.to_bits()));
        to.copy_from_slice(from);
    }
    changed
}
