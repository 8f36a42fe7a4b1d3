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

/// How a photo of other proportions comes into a network's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fit {
    /// The shorter side is resized and the centre cut out: the ends of the longer side are not seen.
    #[default]
    Crop,
    /// The whole photo is squashed to `[height, width]`, and the centre cut out where the input is smaller.
    Stretch([usize; 2]),
    /// The whole photo, in its proportions, in the middle of the input; the bars around it have this colour, red, green
    /// and blue.
    Pad([u8; 3]),
}

/// What the channels of a network's input are, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Channels {
    /// One channel is grey, two are grey and opacity, three are red, green and blue, four have opacity behind them;
    /// more are the bands of an array or a TIFF, in its order.
    #[default]
    Rgb,
    /// As [`Rgb`](Self::Rgb) with blue first, as OpenCV and Caffe have it.
    Bgr,
    /// Every channel is grey: networks of three channels that were made of grey pictures.
    Grey,
}

impl Channels {
    /// Every order with its name in configuration files.
    pub const ALL: [(&'static str, Self); 3] = [("rgb", Self::Rgb), ("bgr", Self::Bgr), ("grey", Self::Grey)];

    /// The order called `name`.
    ///
    /// # Errors
    /// [`Error::Parameter`] lists the names.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        // The other spelling of grey is as good.
        let found = found.map(|(_, channels)| *channels).or((name == "gray").then_some(Self::Grey));
        found.ok_or_else(|| Error::parameter("channels", format!("`{name}` is not one of rgb, bgr, grey")))
    }

    /// Its name in configuration files.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, channels)| *channels == self).map_or("rgb", |(name, _)| *name)
    }
}

/// How a photo becomes a network's input: brought to its size, then `(value - mean) / std` per channel with values in
/// `[0, 1]`.
///
/// Plain data: the model knows it, the crate `faithful-data` applies it. A network that takes pixels of 0 to 255 has a
/// mean of 0 and a standard deviation of 1/255.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocessing {
    /// The network's usual input, `[height, width]` in pixels.
    pub input_size: [usize; 2],
    /// How many slices of that size a volume has; `None` for photos. A volume is given at the network's own size.
    pub slices: Option<usize>,
    /// The shorter side's length before the crop, the other side following; `None` leaves the photo at its size. Only
    /// [`Fit::Crop`] asks for it.
    pub resize: Option<usize>,
    /// The centre that is cut out, `[height, width]`; `None` keeps the whole photo at its aspect ratio, for networks
    /// whose input size is free. The size that [`Fit::Pad`] fills; there, `None` is `input_size`.
    pub crop: Option<[usize; 2]>,
    /// What happens to a photo of other proportions.
    pub fit: Fit,
    /// What the channels are.
    pub channels: Channels,
    /// How the resized photo gets its pixels.
    pub interpolation: Resampling,
    /// What is subtracted, per channel of the network's input.
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
            slices: None,
            resize: Some(256),
            crop: Some([224, 224]),
            fit: Fit::Crop,
            channels: Channels::Rgb,
            interpolation: Resampling::Bilinear,
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
        }
    }
}

impl Preprocessing {
    /// The most channels that an input may have.
    pub const MOST_CHANNELS: usize = 16;

    /// The number of channels of the network's input: 3 for colour, 1 for grey.
    pub fn channels(&self) -> usize {
        self.mean.len()
    }

    /// What each channel of the network's input is, of red 0, green 1, blue 2, grey 3, opacity 4; `None` for a band of
    /// its own.
    pub fn sources(&self) -> Vec<Option<usize>> {
        let colour = if self.channels == Channels::Bgr { [2, 1, 0] } else { [0, 1, 2] };
        match (self.channels(), self.channels) {
            (1, _) => vec![Some(3)],
            (2, _) => vec![Some(3), Some(4)],
            (3, Channels::Grey) => vec![Some(3); 3],
            (3, _) => colour.map(Some).to_vec(),
            (4, Channels::Grey) => vec![Some(3), Some(3), Some(3), Some(4)],
            (4, _) => colour.into_iter().chain([4]).map(Some).collect(),
            (more, _) => vec![None; more],
        }
    }

    /// A mean and a standard deviation of values whose white is `scale`, for values in `[0, 1]`. Where it is not said,
    /// numbers above 2, of up to four channels, are of pixels of 0 to 255.
    ///
    /// ```
    /// use faithful_core::Preprocessing;
    /// let (mean, std) = Preprocessing::of_scale(vec![127.5], vec![255.0], None);
    /// assert_eq!((mean, std), (vec![0.5], vec![1.0]));
    /// ```
    pub fn of_scale(mut mean: Vec<f32>, mut std: Vec<f32>, scale: Option<f32>) -> (Vec<f32>, Vec<f32>) {
        let large = mean.len() <= 4 && mean.iter().chain(&std).any(|value| *value > 2.0);
        let scale = scale.unwrap_or(if large { 255.0 } else { 1.0 });
        if scale != 1.0 {
            mean.iter_mut().chain(&mut std).for_each(|value| *value /= scale);
        }
        (mean, std)
    }

    /// A colour, red, green and blue in `[0, 1]`, as each channel of the network's input has it; opaque, and grey in
    /// bands that are no colours.
    pub fn standardised(&self, color: [f64; 3]) -> Vec<f64> {
        let grey = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2];
        let all = [color[0], color[1], color[2], grey, 1.0];
        let value = |source: Option<usize>| source.map_or(grey, |source| all[source]);
        let numbers = self.mean.iter().zip(&self.std);
        let channels = self.sources().into_iter().zip(numbers);
        channels.map(|(source, (mean, std))| (value(source) - f64::from(*mean)) / f64::from(*std)).collect()
    }

    /// The size of the input before a batch: `None` where it depends on the photo.
    pub fn fixed_size(&self) -> Option<[usize; 2]> {
        match self.fit {
            Fit::Crop => self.crop,
            Fit::Stretch(size) => Some(self.crop.unwrap_or(size)),
            Fit::Pad(_) => Some(self.crop.unwrap_or(self.input_size)),
        }
    }

    /// Itself if it can be applied.
    ///
    /// # Errors
    /// [`Error::Parameter`] where a size is zero or above 16384, the crop does not fit into the resized photo, the
    /// channels are none or more than [`MOST_CHANNELS`](Self::MOST_CHANNELS), a mean is not finite or a standard
    /// deviation not positive.
    pub fn validated(self) -> Result<Self> {
        let stretched = if let Fit::Stretch(size) = self.fit { Some(size) } else { None };
        let sizes = [("input_size", Some(self.input_size)), ("crop", self.crop), ("resize", stretched)];
        for (name, size) in sizes.into_iter().chain([("resize", self.resize.map(|side| [side; 2]))]) {
            if let Some(size) = size.filter(|size| size.iter().any(|side| !(1..=16384).contains(side))) {
                return Err(Error::parameter(name, format!("{size:?} is outside 1..=16384 pixels")));
            }
        }
        match (self.fit, self.resize, self.crop) {
            (Fit::Crop, Some(shorter), Some([height, width])) if shorter < height.min(width) => {
                let reason =
                    format!("{height} x {width} does not fit into a photo whose shorter side is resized to {shorter}");
                return Err(Error::parameter("crop", reason));
            }
            (Fit::Stretch([rows, columns]), _, Some([height, width])) if height > rows || width > columns => {
                let reason =
                    format!("{height} x {width} does not fit into a photo that is squashed to {rows} x {columns}");
                return Err(Error::parameter("crop", reason));
            }
            _ => {}
        }
        if self.mean.len() != self.std.len() || !(1..=Self::MOST_CHANNELS).contains(&self.mean.len()) {
            let reason = format!(
                "{} values, and std {}; both need one per channel, 3 for colour or 1 for grey, {} at most",
                self.mean.len(),
                self.std.len(),
                Self::MOST_CHANNELS
            );
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
            (Preprocessing { fit: Fit::Stretch([300, 200]), ..Default::default() }, "crop: 224 x 224 does not fit"),
            (Preprocessing { fit: Fit::Stretch([0, 200]), crop: None, ..Default::default() }, "resize: [0, 200]"),
            (Preprocessing { mean: vec![0.5; 17], std: vec![0.5; 17], ..Default::default() }, "16 at most"),
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

    #[test]
    fn a_colour_is_standardised_as_the_channels_are() {
        let of = |channels, mean: &[f32]| {
            let std = vec![0.5; mean.len()];
            Preprocessing { channels, mean: mean.to_vec(), std, ..Default::default() }.standardised([1.0, 0.5, 0.0])
        };
        assert_eq!(of(Channels::Rgb, &[0.5, 0.5, 0.25]), [1.0, 0.0, -0.5]);
        assert_eq!(of(Channels::Bgr, &[0.5, 0.5, 0.25]), [-1.0, 0.0, 1.5]);
        assert_eq!(of(Channels::Bgr, &[0.0, 0.0, 0.0, 0.5]), [0.0, 1.0, 2.0, 1.0]);
        assert!((of(Channels::Rgb, &[0.0, 0.0])[0] - 1.185).abs() < 1e-12);
        assert_eq!(of(Channels::Rgb, &[0.0; 6]).len(), 6);
        assert_eq!(Channels::from_name("gray").unwrap(), Channels::Grey);
        assert!(Channels::from_name("rbg").unwrap_err().to_string().contains("rgb, bgr, grey"));
    }
}
