use candle_core::{DType, Tensor};
use faithful_core::{Error, Result};
use faithful_tensor::{Conv, conv2d, gaussian_blur2d};
use std::fmt;

/// What stands where a cell is hidden.
#[derive(Clone, Debug)]
pub enum Canvas {
    /// Zero of the network's input space: ImageNet's mean colour for the usual preprocessing.
    Zero,
    /// One value per channel, in the network's input space.
    Color(Vec<f32>),
    /// The input's own mean per channel.
    Mean,
    /// The input blurred by a Gaussian (an odd number of taps, sigma in pixels), the edge reflected: Poly-CAM's canvas
    /// and, with 11 taps and sigma 5, the thesis's.
    Blur {
        /// The number of taps per axis.
        taps: usize,
        /// The standard deviation in pixels.
        sigma: f64,
    },
    /// RISE's blur: the 11 x 11 kernel that `scipy.ndimage.gaussian_filter` makes of a point with sigma 5, zeros
    /// outside the image. Unlike [`Canvas::Blur`], it darkens the border.
    RiseBlur,
    /// Any tensor of the input's shape `(1, C, …)`.
    Given(Tensor),
}

impl Canvas {
    /// The canvas of that name: `zero`, `mean`, `blur` (11 taps, sigma 5), `blur:TAPS:SIGMA`, `rise-blur`, or `grey`, which is
    /// the colour `grey` in the network's input space.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with suggestions; [`Error::Parameter`] for an even number of taps or a sigma that is none.
    pub fn parse(name: &str, grey: &[f32]) -> Result<Self> {
        let (base, numbers) = name.split_once(':').map_or((name, None), |(base, numbers)| (base, Some(numbers)));
        match (base, numbers) {
            ("zero", None) => Ok(Self::Zero),
            ("mean", None) => Ok(Self::Mean),
            ("grey", None) => Ok(Self::Color(grey.to_vec())),
            ("rise-blur", None) => Ok(Self::RiseBlur),
            ("blur", None) => Ok(Self::Blur { taps: 11, sigma: 5.0 }),
            ("blur", Some(numbers)) => {
                let (taps, sigma) = numbers.split_once(':').unwrap_or((numbers, ""));
                let (taps, sigma) = (taps.parse::<usize>().ok(), sigma.parse::<f64>().ok());
                let odd = taps.filter(|taps| taps % 2 == 1);
                let positive = sigma.filter(|sigma| *sigma > 0.0 && sigma.is_finite());
                let blur = odd.zip(positive).map(|(taps, sigma)| Self::Blur { taps, sigma });
                blur.ok_or_else(|| {
                    let reason = format!("`{name}`: blur:TAPS:SIGMA has an odd number of taps and a positive sigma");
                    Error::parameter("canvas", reason)
                })
            }
            _ => Err(Error::unknown("canvas", name, ["zero", "mean", "grey", "blur", "blur:11:5", "rise-blur"])),
        }
    }

    /// The canvas for `input` `(1, C, …)`, of its shape. Blurs are for images.
    pub fn paint(&self, input: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Zero => input.zeros_like()?,
            Self::Color(color) => {
                let mut shape = vec![1; input.rank()];
                shape[1] = color.len();
                let color = Tensor::new(color.as_slice(), input.device())?.to_dtype(input.dtype())?;
                color.reshape(shape)?.broadcast_as(input.shape())?.contiguous()?
            }
            Self::Mean => {
                let axes: Vec<usize> = (2..input.rank()).collect();
                input.mean_keepdim(axes)?.broadcast_as(input.shape())?.contiguous()?
            }
            Self::Blur { taps, sigma } => gaussian_blur2d(input, [*taps; 2], [*sigma; 2])?,
            Self::RiseBlur => rise_blur(input)?,
            Self::Given(canvas) => canvas.broadcast_as(input.shape())?.contiguous()?,
        })
    }
}

impl fmt::Display for Canvas {
    /// As [`Canvas::parse`] reads it, where that knows it.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Zero => f.write_str("zero"),
            Self::Color(color) => write!(f, "color {color:?}"),
            Self::Mean => f.write_str("mean"),
            Self::Blur { taps, sigma } => write!(f, "blur:{taps}:{sigma}"),
            Self::RiseBlur => f.write_str("rise-blur"),
            Self::Given(_) => f.write_str("a given tensor"),
        }
    }
}

fn rise_blur(input: &Tensor) -> Result<Tensor> {
    let (_, channels, _, _) = input.dims4()?;
    let taps = rise_taps();
    let kernel: Vec<f64> = taps.iter().flat_map(|a| taps.iter().map(move |b| a * b)).collect();
    let kernel = Tensor::from_vec(kernel, (1, 1, 11, 11), input.device())?.to_dtype(input.dtype())?;
    let kernel = kernel.repeat((channels, 1, 1, 1))?;
    Ok(conv2d(input, &kernel, None, &Conv { padding: [5; 4], groups: channels, ..Conv::default() })?)
}

/// `gaussian_filter1d` of a point in the middle of eleven places: sigma 5, cut at four sigma, the ends mirrored
/// (`d c b a | a b c d | d c b a`), so that what would leave comes back in.
fn rise_taps() -> [f64; 11] {
    let weight = |distance: i64| (-0.5 * (distance as f64 / 5.0).powi(2)).exp();
    let total: f64 = (-20..=20).map(weight).sum();
    std::array::from_fn(|place| {
        let images = (-3..=3).flat_map(|turn| [5 + 22 * turn, -6 + 22 * turn]);
        let near = images.map(|image| place as i64 - image).filter(|distance| distance.abs() <= 20);
        near.map(weight).sum::<f64>() / total
    })
}

/// Pictures of one input on a canvas that differ from each other in few cells, made one from the other.
pub(crate) struct Reveal<'a> {
    picture: Vec<f32>,
    shown: &'a [f32],
    /// Cells in the order in which they are shown, and how many are.
    order: &'a [u32],
    count: usize,
    cells: usize,
}

impl<'a> Reveal<'a> {
    /// Nothing of `shown` on `canvas` yet; both are rows of `order.len()` cells in some channels.
    pub(crate) fn new(shown: &'a [f32], canvas: Vec<f32>, order: &'a [u32]) -> Self {
        Self { picture: canvas, shown, order, count: 0, cells: order.len() }
    }

    /// Shows the first `count` cells, which must not be fewer than before, and says whether that changed the picture.
    pub(crate) fn until(&mut self, count: usize) -> bool {
        let channels = self.picture.len().checked_div(self.cells).unwrap_or(0);
        let mut changed = false;
        for channel in 0..channels {
            let offset = channel * self.cells;
            for &cell in &self.order[self.count..count] {
                let place = offset + cell as usize;
                changed |= self.picture[place].to_bits() != self.shown[place].to_bits();
                self.picture[place] = self.shown[place];
            }
        }
        self.count = count;
        changed
    }

    /// The picture as it is now.
    pub(crate) fn picture(&self) -> &[f32] {
        &self.picture
    }
}

/// A tensor's values in scan order.
pub(crate) fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

/// A map's values in scan order.
///
/// # Errors
/// [`Error::NotFinite`] where the map has NaN or infinity.
pub(crate) fn finite(map: &Tensor) -> Result<Vec<f64>> {
    let map = values(map)?;
    if let Some(cell) = map.iter().position(|value| !value.is_finite()) {
        return Err(Error::NotFinite { what: "the map".into(), place: Some(format!("cell {cell}")) });
    }
    Ok(map.into_iter().map(f64::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn rise_taps_are_scipys() {
        // scipy.ndimage.gaussian_filter1d(np.eye(11)[5], 5)
        let scipy = [0.087_958_15, 0.088_896_12, 0.090_474_2, 0.092_191_12, 0.093_489_39, 0.093_982_06];
        let taps = rise_taps();
        for (place, expected) in scipy.into_iter().enumerate() {
            assert!((taps[place] - expected).abs() < 1e-8, "{taps:?}");
            assert!((taps[10 - place] - expected).abs() < 1e-8, "{taps:?}");
        }
    }

    #[test]
    fn names_round_trip_and_mistakes_are_errors() {
        for name in ["zero", "mean", "blur:11:5", "blur:5:1.5", "rise-blur"] {
            assert_eq!(Canvas::parse(name, &[]).unwrap().to_string(), name);
        }
        assert_eq!(Canvas::parse("blur", &[]).unwrap().to_string(), "blur:11:5");
        assert_eq!(Canvas::parse("grey", &[0.5]).unwrap().to_string(), "color [0.5]");
        for wrong in ["blurr", "blur:4:1", "blur:5", "blur:5:0", "blur:5:inf", "mean:3", ""] {
            assert!(Canvas::parse(wrong, &[]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn mean_and_color_are_per_channel() {
        let input = Tensor::new(&[[[[1f32, 3.0]], [[5.0, 7.0]]]], &Device::Cpu).unwrap();
        assert_eq!(values(&Canvas::Mean.paint(&input).unwrap()).unwrap(), [2.0, 2.0, 6.0, 6.0]);
        assert_eq!(values(&Canvas::Color(vec![0.5, -1.0]).paint(&input).unwrap()).unwrap(), [0.5, 0.5, -1.0, -1.0]);
    }
}
