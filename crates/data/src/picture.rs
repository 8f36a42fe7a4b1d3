use faithful_core::{Error, Result};

/// An RGB picture in memory: rows from the top, three bytes per pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `height * width * 3` bytes: red, green, blue.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// A picture of one colour.
    pub fn filled(height: usize, width: usize, colour: [u8; 3]) -> Self {
        Self { height, width, pixels: colour.repeat(height * width) }
    }

    /// The colour at a row and a column inside the picture.
    pub fn at(&self, row: usize, column: usize) -> [u8; 3] {
        let start = (row * self.width + column) * 3;
        [self.pixels[start], self.pixels[start + 1], self.pixels[start + 2]]
    }

    /// Sets the colour at a row and a column inside the picture.
    pub(crate) fn set(&mut self, row: usize, column: usize, colour: [u8; 3]) {
        let start = (row * self.width + column) * 3;
        self.pixels[start..start + 3].copy_from_slice(&colour);
    }

    /// Fields are public: what computes with a picture asks first whether they fit together.
    pub(crate) fn check(&self) -> Result<()> {
        let (height, width, bytes) = (self.height, self.width, self.pixels.len());
        if bytes == 0 || bytes != height.saturating_mul(width).saturating_mul(3) {
            return Err(Error::shape("picture", "height * width * 3 bytes, above 0", &[height, width, bytes]));
        }
        Ok(())
    }
}
