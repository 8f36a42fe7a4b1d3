use candle_core::{DType, Result, Tensor, bail};
use rayon::prelude::*;

/// Maps `(H, W)` or `(N, H, W)` as planes of numbers, and the way back.
///
/// Maps are small beside a network's activations and their filters are recursive or global, so all of this crate
/// works in f64 on the CPU, whatever the tensor's type and device.
pub(crate) struct Planes<'a> {
    pub(crate) values: Vec<f64>,
    pub(crate) height: usize,
    pub(crate) width: usize,
    like: &'a Tensor,
}

impl<'a> Planes<'a> {
    pub(crate) fn of(what: &str, map: &'a Tensor) -> Result<Self> {
        let ([height, width] | [_, height, width]) = *map.dims() else {
            bail!("{what}: expected a map (H, W) or (N, H, W), got {:?}", map.dims())
        };
        if map.elem_count() == 0 {
            bail!("{what}: the map has no pixels, its shape is {:?}", map.dims());
        }
        let values = map.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
        Ok(Self { values, height, width, like: map })
    }

    /// A tensor of the map's shape, type and device.
    pub(crate) fn tensor(&self, values: Vec<f64>) -> Result<Tensor> {
        self.sized(values, [self.height, self.width])
    }

    /// A tensor of planes of another size.
    pub(crate) fn sized(&self, values: Vec<f64>, [height, width]: [usize; 2]) -> Result<Tensor> {
        let mut shape = self.like.dims().to_vec();
        let rank = shape.len();
        shape[rank - 2] = height;
        shape[rank - 1] = width;
        Tensor::from_vec(values, shape, self.like.device())?.to_dtype(self.like.dtype())
    }

    /// Each plane through a function that keeps its size.
    pub(crate) fn map(&self, transform: impl Fn(&[f64]) -> Vec<f64> + Sync) -> Result<Tensor> {
        let size = self.height * self.width;
        let mut values = vec![0.0; self.values.len()];
        let pairs = values.par_chunks_exact_mut(size).zip(self.values.par_chunks_exact(size));
        pairs.for_each(|(changed, plane)| changed.copy_from_slice(&transform(plane)));
        self.tensor(values)
    }
}

/// Where `place` lies once a line of `size` is mirrored at both ends, the ends repeated (`c b a | a b c | c b a`).
///
/// This mirror, unlike the one that does not repeat the ends, exists for a single pixel and conserves the mean under
/// any symmetric kernel.
pub(crate) fn mirror(place: isize, size: usize) -> usize {
    let period = 2 * size as isize;
    let place = place.rem_euclid(period);
    (if place < size as isize { place } else { period - 1 - place }) as usize
}
