use candle_core::{DType, Tensor};
use faithful_core::{Error, Result};

/// A map in main memory: `height` rows of `width` values, as raw as the method gave them.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    height: usize,
    width: usize,
    values: Vec<f32>,
}

impl Map {
    /// The map whose rows are laid one after another in `values`.
    ///
    /// # Errors
    /// [`Error::Shape`] when a side is zero or `values` has another length than `height * width`.
    pub fn new(height: usize, width: usize, values: Vec<f32>) -> Result<Self> {
        if height == 0 || width == 0 || height.checked_mul(width) != Some(values.len()) {
            let expected = format!("{height} x {width} values, at least one");
            return Err(Error::shape("map", expected, &[values.len()]));
        }
        Ok(Self { height, width, values })
    }

    /// The map in a tensor `(h, w)` or `(1, h, w)` of any floating type on any device.
    pub fn from_tensor(tensor: &Tensor) -> Result<Self> {
        let ([height, width] | [1, height, width]) = *tensor.dims() else {
            return Err(Error::shape("map", "(h, w)", tensor.dims()));
        };
        let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        Self::new(height, width, values)
    }

    /// The number of rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The values, row after row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn takes_a_tensor_of_any_float_type_and_refuses_other_ranks() {
        let tensor = Tensor::new(&[[1f64, 2., 3.], [4., 5., 6.]], &Device::Cpu).unwrap();
        let map = Map::from_tensor(&tensor).unwrap();
        assert_eq!((map.height(), map.width(), map.values()), (2, 3, &[1f32, 2., 3., 4., 5., 6.][..]));
        assert_eq!(Map::from_tensor(&tensor.unsqueeze(0).unwrap()).unwrap(), map);
        assert!(matches!(Map::from_tensor(&tensor.flatten_all().unwrap()), Err(Error::Shape { .. })));
        assert!(matches!(Map::new(2, 2, vec![0.0; 3]), Err(Error::Shape { .. })));
        assert!(matches!(Map::new(0, 2, vec![]), Err(Error::Shape { .. })));
    }
}
