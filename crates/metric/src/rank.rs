use candle_core::{DType, Tensor};
use faithful_core::{Error, Result};

/// The cells of a map from the highest to the lowest value; ties keep scan order.
///
/// Insertion, deletion and percentile masks see nothing of a map but this. Maps of rectified methods have many zeros,
/// so the order of ties must be defined: an unstable sort makes such metrics irreproducible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rank {
    positions: Vec<u32>,
    order: Vec<u32>,
}

impl Rank {
    /// The rank of a map of any shape, in scan order.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where the map has NaN or infinity.
    pub fn of(map: &Tensor) -> Result<Self> {
        Self::of_values(&map.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?)
    }

    /// The rank of values.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where a value is NaN or infinite.
    pub fn of_values(values: &[f32]) -> Result<Self> {
        if let Some(cell) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite { what: "the map".into(), place: Some(format!("cell {cell}")) });
        }
        let mut order: Vec<u32> = (0..values.len() as u32).collect();
        order.sort_by(|&a, &b| compare(values[b as usize], values[a as usize]).then(a.cmp(&b)));
        let mut positions = vec![0; values.len()];
        for (position, &cell) in order.iter().enumerate() {
            positions[cell as usize] = position as u32;
        }
        Ok(Self { positions, order })
    }

    /// Each cell's place in the order: 0 for the highest.
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// The cells in this order, the highest first.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// How many cells there are.
    pub fn cells(&self) -> usize {
        self.positions.len()
    }

    /// Whether `cell` is among the `count` highest.
    pub fn is_top(&self, cell: usize, count: usize) -> bool {
        (self.positions[cell] as usize) < count
    }
}

/// Compares finite values; unlike `total_cmp`, zero equals negative zero.
fn compare(a: f32, b: f32) -> std::cmp::Ordering {
    a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal)
}

/// How a map's cells lie over an input row: each cell repeats over `channels` blocks of `cells` entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cover {
    pub(crate) channels: usize,
    pub(crate) cells: usize,
}

impl Cover {
    /// The cover of one input `(1, C, …)` by a map of `(…)` or `(C, …)`.
    pub(crate) fn new(input: &Tensor, map: &Tensor) -> Result<Self> {
        let dims = input.dims();
        let spatial = dims.get(2..).unwrap_or_default();
        if dims.first() != Some(&1) || dims.len() < 2 {
            return Err(Error::shape("the explained input", "(1, C, …): one image or series", dims));
        }
        if map.dims() == spatial && !spatial.is_empty() {
            Ok(Self { channels: dims[1], cells: spatial.iter().product() })
        } else if map.dims() == &dims[1..] {
            Ok(Self { channels: 1, cells: dims[1..].iter().product() })
        } else {
            let expected = format!("{spatial:?}, the input's cells, or {:?}, its entries", &dims[1..]);
            Err(Error::shape("the map", expected, map.dims()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_descending_and_ties_keep_scan_order() {
        let rank = Rank::of_values(&[0.0, 2.0, -1.0, 2.0, 0.0]).unwrap();
        assert_eq!(rank.positions(), [2, 0, 4, 1, 3]);
        assert!(rank.is_top(3, 2) && !rank.is_top(0, 2));
    }

    #[test]
    fn negative_zero_ties_with_zero() {
        assert_eq!(Rank::of_values(&[-0.0, 0.0]).unwrap().positions(), [0, 1]);
    }

    #[test]
    fn nan_is_refused_with_its_cell() {
        let error = Rank::of_values(&[0.0, f32::NAN]).unwrap_err().to_string();
        assert!(error.contains("cell 1"), "{error}");
    }
}
