use crate::{Error, Result};

/// How a resized photo gets its pixels; all of them average over the source where they shrink, as Pillow does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Resampling {
    /// The nearest pixel.
    Nearest,
    /// The triangle filter: what torchvision's `ImageNet` models were measured with.
    #[default]
    Bilinear,
    /// The cubic filter with `a = -0.5`.
    Bicubic,
    /// The Lanczos filter with three lobes.
    Lanczos,
}

impl Resampling {
    /// Every filter with its name in configuration files.
    pub const ALL: [(&'static str, Self); 4] = [
        ("nearest", Self::Nearest),
        ("bilinear", Self::Bilinear),
        ("bicubic", Self::Bicubic),
        ("lanczos", Self::Lanczos),
    ];

    /// The filter called `name`.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, filter)| *filter).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|(known, _)| *known).collect();
            Error::parameter("interpolation", format!("`{name}` is not one of {}", names.join(", ")))
        })
    }
}

/// How a photo becomes a network's input: resize the shorter side, cut the centre, then `(value - mean) / std` per
/// channel with values in `[0, 1]`.
///
/// Plain data: the model knows it, the crate `faithful-data` applies it.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocessing {
    /// The network's usual input, `[height, width]` in pixels.
    pub input_size: [usize; 2],
    /// The shorter side's length before the crop, the other side following; `None` leaves the photo at its size.
    pub resize: Option<usize>,
    /// The centre that is cut out, `[height, width]`; `None` keeps the whole photo at its aspect ratio, for networks
    /// whose input size is free.
    pub crop: Option<[usize; 2]>,
    /// How the resized photo gets its pixels.
    pub interpolation: Resampling,
    /// What is subtracted, per channel: three values for red, green and blue, one for grey.
    pub mean: Vec<f32>,
    /// What it is divided by afterwards, per channel.
    pub std: Vec<f32>,
}

impl Default for Preprocessing {
    /// What torchvision's `ImageNet` classifiers expect: shorter side 256, centre 224 x 224, bilinear, `ImageNet`'s
    /// mean and standard deviation.
    fn default() -> Self {
        Self {
            input_size: [224, 224],
            resize: Some(256),
            crop: Some([224, 224]),
            interpolation: Resampling::Bilinear,
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
        }
    }
}

impl Preprocessing {
    /// The number of channels of the network's input: 3 for colour, 1 for grey.
    pub fn channels(&self) -> usize {
        self.mean.len()
    }

    /// Itself if it can be applied.
    ///
    /// # Errors
    /// [`Error::Parameter`] where a size is zero or above 16384, the crop does not fit into the resized photo, the
    /// channels are neither one nor three, a mean is not finite or a standard deviation not positive.
    pub fn validated(self) -> Result<Self> {
        let sizes = [("input_size", Some(self.input_size)), ("crop", self.crop)];
        for (name, size) in sizes.into_iter().chain([("resize", self.resize.map(|side| [side; 2]))]) {
            if let Some(size) = size.filter(|size| size.iter().any(|side| !(1..=16384).contains(side))) {
                return Err(Error::parameter(name, format!("{size:?} is outside 1..=16384 pixels")));
            }
        }
        if let (Some(shorter), Some([height, width])) = (self.resize, self.crop)
            && shorter < height.min(width)
        {
            let reason =
                format!("{height} x {width} does not fit into a photo whose shorter side is resized to {shorter}");
            return Err(Error::parameter("crop", reason));
        }
        if self.mean.len() != self.std.len() || ![1, 3].contains(&self.mean.len()) {
            let reason =
                format!("{} values, and std {}; both need 3 (colour) or 1 (grey)", self.mean.len(), self.std.len());
            return Err(Error::parameter("mean", reason));
        }
        if let Some(value) = self.mean.iter().find(|value| !value.is_finite()) {
            return Err(Error::parameter("mean", format!("{value} is not a finite number")));
        }
        if let Some(value) = self.std.iter().find(|value| !(value.is_finite() && **value > 0.0)) {
            return Err(Error::parameter("std", format!("{value} is not a positive number")));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imagenet_is_valid_and_its_numbers_are_torchvisions() {
        let imagenet = Preprocessing::default().validated().unwrap();
        assert_eq!((imagenet.resize, imagenet.crop, imagenet.channels()), (Some(256), Some([224, 224]), 3));
        assert_eq!(Resampling::from_name("bilinear").unwrap(), imagenet.interpolation);
    }

    #[test]
    fn what_cannot_be_applied_is_refused_by_name() {
        let refusals = [
            (Preprocessing { input_size: [0, 5], ..Default::default() }, "input_size"),
            (Preprocessing { resize: Some(100_000), ..Default::default() }, "resize"),
            (Preprocessing { resize: Some(200), ..Default::default() }, "crop: 224 x 224 does not fit"),
            (Preprocessing { mean: vec![0.5], ..Default::default() }, "mean: 1 values, and std 3"),
            (Preprocessing { mean: vec![0.5, f32::NAN, 0.5], ..Default::default() }, "mean: NaN"),
            (Preprocessing { std: vec![0.5, 0.0, 0.5], ..Default::default() }, "std: 0 is not"),
        ];
        for (preprocessing, word) in refusals {
            let error = preprocessing.validated().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(Resampling::from_name("bilinaer").unwrap_err().to_string().contains("nearest, bilinear"));
    }
}
