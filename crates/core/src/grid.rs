/// Where the places of a layer's map lie on the input: the centre of what place `i` sees is `first + stride * i`.
///
/// In pixels down and across, the middle of the first pixel being 0. The grid follows from the strides, windows and paddings on
/// the way to the layer: a convolution of 3 taps that strides by 2 without padding has the centres 1, 3, 5 …, which is not what
/// an even division of the input's size among the places gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// The centre of the first place, `[down, across]`.
    pub first: [f64; 2],
    /// How far one place is from the next, above 0.
    pub stride: [f64; 2],
}

impl Grid {
    /// The places of a map of `places` `[h, w]` that divide an input of `size` `[H, W]` evenly: for layers whose grid is not known.
    ///
    /// ```
    /// let grid = faithful_core::Grid::even([8, 6], [4, 2]);
    /// assert_eq!((grid.first, grid.stride), ([0.5, 1.0], [2.0, 3.0]));
    /// ```
    pub fn even(size: [usize; 2], places: [usize; 2]) -> Self {
        let stride = [0, 1].map(|axis: usize| size[axis] as f64 / places[axis].max(1) as f64);
        Self { first: stride.map(|stride| (stride - 1.0) / 2.0), stride }
    }
}
