use faithful_core::{Error, Result};
use std::path::Path;

/// The pixels that belong to something, in the same rows and columns as its picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// One entry per pixel, rows from the top: whether it belongs.
    pub inside: Vec<bool>,
}

/// The smallest upright rectangle around something, in whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BoundingBox {
    /// The first row.
    pub top: usize,
    /// The first column.
    pub left: usize,
    /// The number of rows.
    pub height: usize,
    /// The number of columns.
    pub width: usize,
}

impl Mask {
    /// A mask without any pixel.
    pub fn empty(height: usize, width: usize) -> Self {
        Self { height, width, inside: vec![false; height * width] }
    }

    /// The mask of a rectangle; what lies outside the picture is cut off.
    pub fn of_box(height: usize, width: usize, rectangle: BoundingBox) -> Self {
        let mut mask = Self::empty(height, width);
        for row in rectangle.top..rectangle.top.saturating_add(rectangle.height).min(height) {
            for column in rectangle.left..rectangle.left.saturating_add(rectangle.width).min(width) {
                mask.inside[row * width + column] = true;
            }
        }
        mask
    }

    /// The number of pixels inside.
    pub fn area(&self) -> usize {
        self.inside.iter().filter(|&&inside| inside).count()
    }

    /// The smallest box around the pixels inside; `None` where there are none.
    pub fn bounding_box(&self) -> Option<BoundingBox> {
        let (mut top, mut left, mut bottom, mut right) = (usize::MAX, usize::MAX, 0, 0);
        for (index, _) in self.inside.iter().enumerate().filter(|(_, inside)| **inside) {
            let (row, column) = (index / self.width, index % self.width);
            top = top.min(row);
            left = left.min(column);
            bottom = bottom.max(row);
            right = right.max(column);
        }
        (top != usize::MAX).then(|| BoundingBox { top, left, height: bottom - top + 1, width: right - left + 1 })
    }

    /// Intersection over union, in `[0, 1]`; 0 where both masks are empty.
    ///
    /// # Errors
    /// [`Error::Shape`] where the masks have different sizes.
    pub fn intersection_over_union(&self, other: &Self) -> Result<f64> {
        self.same_size(other)?;
        let pairs = || self.inside.iter().zip(&other.inside);
        let intersection = pairs().filter(|(a, b)| **a && **b).count();
        let union = pairs().filter(|(a, b)| **a || **b).count();
        Ok(if union == 0 { 0.0 } else { intersection as f64 / union as f64 })
    }

    /// The pixels of either mask.
    ///
    /// # Errors
    /// [`Error::Shape`] where the masks have different sizes.
    pub fn union(&self, other: &Self) -> Result<Self> {
        self.same_size(other)?;
        let inside = self.inside.iter().zip(&other.inside).map(|(a, b)| *a || *b).collect();
        Ok(Self { inside, ..*self })
    }

    fn same_size(&self, other: &Self) -> Result<()> {
        if (self.height, self.width) == (other.height, other.width) {
            return Ok(());
        }
        let expected = format!("({}, {})", self.height, self.width);
        Err(Error::shape("mask", expected, &[other.height, other.width]))
    }

    /// Writes the mask as a black (outside) and white (inside) PNG.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be written; [`Error::Shape`] for a mask without pixels.
    pub fn write(&self, path: &Path) -> Result<()> {
        if self.inside.is_empty() || self.inside.len() != self.height.saturating_mul(self.width) {
            return Err(Error::shape(
                "mask",
                "height * width entries, above 0",
                &[self.height, self.width, self.inside.len()],
            ));
        }
        let bytes: Vec<u8> = self.inside.iter().map(|&inside| if inside { 255 } else { 0 }).collect();
        crate::photo::write_png(path, &bytes, self.height, self.width, image::ExtendedColorType::L8)
    }

    /// Reads a mask from any picture that this crate decodes: brighter than half is inside.
    ///
    /// # Errors
    /// As [`read_photo`](crate::read_photo).
    pub fn read(path: &Path) -> Result<Self> {
        let picture = crate::read_photo(path, &crate::Decoding::default())?;
        let inside =
            picture.pixels.chunks_exact(3).map(|p| p.iter().map(|&v| u32::from(v)).sum::<u32>() >= 384).collect();
        Ok(Self { height: picture.height, width: picture.width, inside })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corner() -> Mask {
        Mask::of_box(4, 5, BoundingBox { top: 1, left: 2, height: 2, width: 9 })
    }

    #[test]
    fn a_box_is_cut_to_the_picture_and_found_again() {
        assert_eq!(corner().area(), 6);
        assert_eq!(corner().bounding_box(), Some(BoundingBox { top: 1, left: 2, height: 2, width: 3 }));
        assert_eq!(Mask::empty(3, 3).bounding_box(), None);
    }

    #[test]
    fn overlap_is_a_fraction() {
        let row = Mask::of_box(4, 5, BoundingBox { top: 1, left: 0, height: 1, width: 5 });
        assert_eq!(corner().intersection_over_union(&row).unwrap(), 3.0 / 8.0);
        assert_eq!(corner().union(&row).unwrap().area(), 8);
        assert_eq!(corner().intersection_over_union(&corner()).unwrap(), 1.0);
        assert_eq!(Mask::empty(2, 2).intersection_over_union(&Mask::empty(2, 2)).unwrap(), 0.0);
        assert!(corner().intersection_over_union(&Mask::empty(5, 4)).is_err());
    }

    #[test]
    fn a_mask_survives_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.png");
        corner().write(&path).unwrap();
        assert_eq!(Mask::read(&path).unwrap(), corner());
    }
}
