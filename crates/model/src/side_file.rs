use crate::beside::Beside;
use crate::dense::Background;
use crate::{BoxCoding, Task};
use faithful_core::{
    Channels, Error, Fit, Preprocessing, Probabilities, Resampling, Result, read_file_within, suggest,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What stands in the JSON beside a model's file; every field may be left out.
///
/// | field | says |
/// |---|---|
/// | `input_size` | the network's input, in pixels: `224` or `[height, width]` |
/// | `resize` | the photo's shorter side before the crop; or `[height, width]` that it is squashed to |
/// | `crop` | the centre that is cut out, as `input_size` |
/// | `fit` | `"crop"`, `"stretch"` (the whole photo squashed) or `"pad"` (the whole photo between bars) |
/// | `pad_color` | the bars' colour, 0 to 255: one number, `[red, green, blue]` or `"mean"`; black unless said |
/// | `interpolation` | `"bilinear"`, `"bicubic"`, `"nearest"` or `"lanczos"` |
/// | `channels` | `"rgb"`, `"bgr"` or `"grey"` |
/// | `scale` | which number white is before `mean` and `std` are applied: 1 unless said, 255 for pixels as they are |
/// | `mean`, `std` | per channel of the network's input. Numbers above 2 are of pixels of 0 to 255, unless `scale` is said |
/// | `activation` | how outputs become probabilities: `"softmax"` or `"sigmoid"` |
/// | `task` | `"classification"`, `"segmentation"` or `"detection"` |
/// | `boxes` | of a detection, what the four numbers of a box are: `"xyxy"`, `"yxyx"` or `"cxcywh"` in the input's pixels; with an `n` behind it, as shares of its size |
/// | `background` | of a detection, which class is that of no object: `"none"`, `"first"` or `"last"` |
/// | `labels`, `synsets` | one per class |
///
/// What only people read stands in [`NOTES`] or in fields that begin with `_` or `x-`.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct SideFile {
    pub(crate) input_size: Option<Sides>,
    pub(crate) resize: Option<Sides>,
    pub(crate) crop: Option<Sides>,
    pub(crate) fit: Option<String>,
    #[serde(alias = "pad_colour")]
    pub(crate) pad_color: Option<Bars>,
    pub(crate) interpolation: Option<String>,
    pub(crate) channels: Option<String>,
    pub(crate) scale: Option<f32>,
    pub(crate) mean: Option<Numbers>,
    pub(crate) std: Option<Numbers>,
    pub(crate) activation: Option<String>,
    pub(crate) task: Option<String>,
    pub(crate) boxes: Option<String>,
    pub(crate) background: Option<String>,
    /// Sums of outputs, by their names.
    #[serde(default)]
    pub(crate) scores: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) labels: Vec<String>,
    #[serde(default)]
    pub(crate) synsets: Vec<String>,
    /// Names that lie beside the model in another program's file; they count where there are as many as outputs.
    #[serde(skip)]
    pub(crate) found_labels: Vec<String>,
    /// Whether the sizes are of another program's file; they count where the network takes them.
    #[serde(skip)]
    pub(crate) found_sizes: bool,
    /// Values of inputs that are no picture.
    #[serde(default)]
    pub(crate) inputs: BTreeMap<String, serde_json::Value>,
    /// Whatever else its author wrote down.
    #[serde(flatten)]
    pub(crate) other: BTreeMap<String, serde_json::Value>,
}

const FIELDS: [&str; 18] = [
    "input_size",
    "resize",
    "crop",
    "fit",
    "pad_color",
    "interpolation",
    "channels",
    "scale",
    "mean",
    "std",
    "activation",
    "task",
    "boxes",
    "background",
    "scores",
    "labels",
    "synsets",
    "inputs",
];

/// Bytes of such a file, at most: a hundred thousand labels have a few millions.
pub(crate) const LONGEST: u64 = 64 << 20;

/// Fields that are for people.
const NOTES: [&str; 18] = [
    // What `faithful model pull` writes down.
    "about",
    "sha256",
    "name",
    "description",
    "source",
    "license",
    "licence",
    "author",
    "authors",
    "comment",
    "comments",
    "note",
    "notes",
    "accuracy",
    "training",
    "version",
    "date",
    "url",
];

/// `224` or `[224, 298]`; for a volume, `[slices, height, width]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged, expecting = "expected a number of pixels or [height, width]")]
pub(crate) enum Sides {
    Square(usize),
    Both([usize; 2]),
    Volume([usize; 3]),
}

impl Sides {
    /// `[height, width]`.
    pub(crate) fn plane(&self) -> [usize; 2] {
        match *self {
            Self::Square(side) => [side; 2],
            Self::Both(sides) | Self::Volume([_, sides @ ..]) => sides,
        }
    }
}

/// The colour of bars.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number from 0 to 255, [red, green, blue] or \"mean\"")]
pub(crate) enum Bars {
    Grey(u8),
    Color([u8; 3]),
    Named(String),
}

/// One number for all channels, or one per channel.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number or a list of numbers")]
pub(crate) enum Numbers {
    One(f32),
    Each(Vec<f32>),
}

impl Numbers {
    fn of(&self, channels: usize) -> Vec<f32> {
        match self {
            Self::One(value) => vec![*value; channels],
            Self::Each(values) if values.len() == 1 => vec![values[0]; channels],
            Self::Each(values) => values.clone(),
        }
    }
}

impl SideFile {
    /// Reads `model` with its extension replaced by `json`; without such a file, every field is left out. What it
    /// leaves out is taken from what exporters write beside a model ([`Beside`]).
    pub(crate) fn beside(model: &Path) -> Result<Self> {
        let path = model.with_extension("json");
        let own = match read_file_within(&path, LONGEST) {
            Ok(text) => Self::parse(&path.display().to_string(), &text)?,
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(error) => return Err(error),
        };
        Ok(own.or_found(Beside::of(model)?.0))
    }

    /// Reads JSON; `what` names it in errors.
    pub(crate) fn parse(what: &str, text: &[u8]) -> Result<Self> {
        let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        let parsed: Self = serde_json::from_slice(text).map_err(|error| Error::format_from(what, error))?;
        let is_note = |name: &str| NOTES.contains(&name) || name.starts_with('_') || name.starts_with("x-");
        if let Some(name) = parsed.other.keys().find(|name| !is_note(name)) {
            let way_out = match suggest(name, FIELDS).first() {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!(
                    "there are {}; remarks stand in `comment`, or in fields that begin with `_`",
                    FIELDS.join(", ")
                ),
            };
            return Err(Error::format(what, format!("unknown field `{name}`; {way_out}")));
        }
        Ok(parsed)
    }

    /// This, and what it leaves out as another program's file says it.
    pub(crate) fn or_found(self, found: Self) -> Self {
        let says_sizes = |side: &Self| {
            side.input_size.is_some() || side.resize.is_some() || side.crop.is_some() || side.fit.is_some()
        };
        let found_sizes = self.found_sizes || (!says_sizes(&self) && says_sizes(&found));
        let known = if self.found_labels.is_empty() { found.labels.clone() } else { self.found_labels.clone() };
        let all = self.or(Self { labels: Vec::new(), ..found });
        Self { found_labels: known, found_sizes, ..all }
    }

    /// Without the sizes of another program's file, where the network has others.
    pub(crate) fn without_found_sizes(self) -> Self {
        if !self.found_sizes {
            return self;
        }
        Self { input_size: None, resize: None, crop: None, fit: None, found_sizes: false, ..self }
    }

    /// This, and what it leaves out as `other` says it.
    pub(crate) fn or(self, other: Self) -> Self {
        // Sizes belong together, and so do mean, deviation and scale.
        let sized = self.input_size.is_some() || self.resize.is_some() || self.crop.is_some() || self.fit.is_some();
        let scaled = self.mean.is_some() || self.std.is_some() || self.scale.is_some();
        let (sizes, numbers) = (if sized { &self } else { &other }, if scaled { &self } else { &other });
        Self {
            input_size: sizes.input_size.clone(),
            resize: sizes.resize.clone(),
            crop: sizes.crop.clone(),
            fit: sizes.fit.clone(),
            pad_color: sizes.pad_color.clone(),
            scale: numbers.scale,
            mean: numbers.mean.clone(),
            std: numbers.std.clone(),
            interpolation: self.interpolation.or(other.interpolation),
            channels: self.channels.or(other.channels),
            activation: self.activation.or(other.activation),
            task: self.task.or(other.task),
            boxes: self.boxes,
            background: self.background,
            scores: self.scores,
            labels: if self.labels.is_empty() { other.labels } else { self.labels },
            synsets: if self.synsets.is_empty() { other.synsets } else { self.synsets },
            found_labels: self.found_labels,
            found_sizes: self.found_sizes,
            inputs: self.inputs,
            other: self.other,
        }
    }

    /// Whether it says what a photo's values are.
    pub(crate) fn says_values(&self) -> bool {
        self.mean.is_some() || self.std.is_some() || self.scale.is_some()
    }

    /// What a photo goes through for a network whose input is `[channels, height, width]`; what the file leaves out
    /// is `ImageNet`'s, or what a network that scales pixels itself needs: `white` is the value that it takes for
    /// white. With a size of its own, the shorter side is by default resized to what the crop needs.
    pub(crate) fn preprocessing(
        &self,
        what: &str,
        [channels, height, width]: [usize; 3],
        white: Option<f32>,
    ) -> Result<Preprocessing> {
        let refuse = |reason: String| Error::format(what, reason);
        let imagenet = Preprocessing::default();
        let given = self.input_size.as_ref().or(self.crop.as_ref()).map(Sides::plane);
        let squashed = if let Some(Sides::Both(size)) = self.resize { Some(size) } else { None };
        let input_size = given.or(squashed.filter(|_| self.fit.as_deref() != Some("pad"))).unwrap_or([height, width]);
        let crop = self.crop.as_ref().map_or(input_size, Sides::plane);
        if crop != input_size {
            return Err(refuse(format!("crop {crop:?} and input_size {input_size:?} differ; leave one of them out")));
        }
        let usual = if given.is_none() && input_size == imagenet.input_size { imagenet.resize } else { None };
        let side = if let Some(Sides::Square(side)) = self.resize { Some(side) } else { None };
        let fit = match (self.fit.as_deref(), squashed) {
            (None | Some("stretch"), Some(size)) => Fit::Stretch(size),
            (Some("stretch"), None) => Fit::Stretch(side.filter(|_| crop[0] == crop[1]).map_or(crop, |side| [side; 2])),
            (None | Some("crop"), None) => Fit::Crop,
            (Some("crop"), Some(size)) => {
                return Err(refuse(format!("resize {size:?} squashes the photo; \"fit\": \"crop\" needs one number")));
            }
            (Some("pad"), size) if size.is_none_or(|size| size == crop) => Fit::Pad([0; 3]),
            (Some("pad"), size) => {
                let reason =
                    format!("resize {:?} and the input {crop:?} differ; leave resize out", size.unwrap_or(crop));
                return Err(refuse(reason));
            }
            (Some(other), _) => return Err(refuse(unknown_fit(other))),
        };
        let resize = (fit == Fit::Crop).then(|| side.or(usual).unwrap_or(crop[0].max(crop[1])));
        let (mean, std) = self.numbers(what, channels, white)?;
        if mean.len() != channels {
            return Err(refuse(format!("mean has {} values, but the network takes {channels} channels", mean.len())));
        }
        let interpolation = match &self.interpolation {
            Some(name) => Resampling::from_name(name).map_err(|error| refuse(error.to_string()))?,
            None => imagenet.interpolation,
        };
        let order = match &self.channels {
            Some(name) => Channels::from_name(name).map_err(|error| refuse(error.to_string()))?,
            None => Channels::Rgb,
        };
        let mut preprocessing = Preprocessing {
            input_size,
            slices: None,
            resize,
            crop: Some(crop),
            fit,
            channels: order,
            interpolation,
            mean,
            std,
        };
        if let Fit::Pad(_) = fit {
            preprocessing.fit = Fit::Pad(self.bars(what, &preprocessing.sources(), &preprocessing.mean)?);
        }
        preprocessing.validated().map_err(|error| refuse(error.to_string()))
    }

    /// Mean and standard deviation for values in `[0, 1]`.
    fn numbers(&self, what: &str, channels: usize, white: Option<f32>) -> Result<(Vec<f32>, Vec<f32>)> {
        let imagenet = Preprocessing::default();
        let refuse = |reason: &str| Error::format(what, reason);
        if self.scale.is_some_and(|scale| !(scale.is_finite() && scale > 0.0)) {
            return Err(refuse("scale is the number that white has, as 1 or 255"));
        }
        let (mean, std) = match (&self.mean, &self.std) {
            (Some(mean), Some(std)) => (mean.of(channels), std.of(channels)),
            (None, None) => match self.scale.or(white) {
                Some(scale) => return Ok((vec![0.0; channels], vec![1.0 / scale; channels])),
                None if channels == 3 => return Ok((imagenet.mean, imagenet.std)),
                None if channels <= 4 => {
                    return Ok((vec![average(&imagenet.mean); channels], vec![average(&imagenet.std); channels]));
                }
                // Bands have no usual numbers.
                None => return Ok((vec![0.0; channels], vec![1.0; channels])),
            },
            _ => return Err(refuse("mean and std belong together: give both or none")),
        };
        Ok(Preprocessing::of_scale(mean, std, self.scale))
    }

    /// The colour of the bars.
    fn bars(&self, what: &str, sources: &[Option<usize>], mean: &[f32]) -> Result<[u8; 3]> {
        match &self.pad_color {
            None => Ok([0; 3]),
            Some(Bars::Grey(value)) => Ok([*value; 3]),
            Some(Bars::Color(color)) => Ok(*color),
            Some(Bars::Named(name)) if name == "mean" => {
                let of = |color: usize| {
                    let place = sources.iter().position(|source| *source == Some(color) || *source == Some(3));
                    (place.map_or(0.5, |place| mean[place]) * 255.0).round() as u8
                };
                Ok([of(0), of(1), of(2)])
            }
            Some(Bars::Named(name)) => {
                let reason = format!("pad_color `{name}` is no number from 0 to 255, [red, green, blue] or \"mean\"");
                Err(Error::format(what, reason))
            }
        }
    }

    /// How outputs become probabilities.
    pub(crate) fn probabilities(&self, what: &str) -> Result<Option<Probabilities>> {
        let named = self.activation.as_deref().map(Probabilities::from_name).transpose();
        named.map_err(|error| Error::format(what, error.to_string()))
    }

    /// What the output is.
    pub(crate) fn task(&self, what: &str) -> Result<Option<Task>> {
        let named = self.task.as_deref().map(Task::from_name).transpose();
        named.map_err(|error| Error::format(what, error.to_string()))
    }

    /// What the four numbers of a detection's boxes are.
    pub(crate) fn boxes(&self, what: &str) -> Result<Option<BoxCoding>> {
        let named = self.boxes.as_deref().map(BoxCoding::from_name).transpose();
        named.map_err(|error| Error::format(what, error.to_string()))
    }

    /// Which class of a detection is that of no object.
    pub(crate) fn background(&self, what: &str) -> Result<Option<Background>> {
        let named = self.background.as_deref().map(Background::from_name).transpose();
        named.map_err(|error| Error::format(what, error.to_string()))
    }

    /// The input size that the file asks for.
    pub(crate) fn input_size(&self) -> Option<[usize; 2]> {
        let squashed = self.resize.as_ref().filter(|sides| matches!(sides, Sides::Both(_)));
        self.input_size.as_ref().or(self.crop.as_ref()).or(squashed).map(Sides::plane)
    }
}

fn unknown_fit(name: &str) -> String {
    match suggest(name, ["crop", "stretch", "pad"]).first() {
        Some(meant) => format!("fit `{name}` is not one of crop, stretch, pad; did you mean `{meant}`?"),
        None => format!("fit `{name}` is not one of crop, stretch, pad"),
    }
}

fn average(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preprocessing(text: &str, input: [usize; 3]) -> Result<Preprocessing> {
        SideFile::parse("m.json", text.as_bytes())?.preprocessing("m.json", input, None)
    }

    #[test]
    fn what_is_left_out_is_imagenets() {
        assert_eq!(preprocessing("{}", [3, 224, 224]).unwrap(), Preprocessing::default());
        let cifar = preprocessing(r#"{"input_size": 32, "source": "a note"}"#, [3, 224, 224]).unwrap();
        assert_eq!((cifar.input_size, cifar.resize, cifar.crop), ([32, 32], Some(32), Some([32, 32])));
        let own =
            preprocessing(r#"{"crop": [224, 288], "resize": 300, "interpolation": "bicubic"}"#, [3, 9, 9]).unwrap();
        assert_eq!((own.input_size, own.resize, own.interpolation), ([224, 288], Some(300), Resampling::Bicubic));
        let grey = preprocessing("{}", [1, 28, 28]).unwrap();
        assert_eq!((grey.channels(), grey.resize), (1, Some(28)));
        assert!((grey.mean[0] - 0.449).abs() < 1e-6);
    }

    #[test]
    fn every_way_to_fit_a_photo_can_be_said() {
        let fit = |text: &str| {
            let found = preprocessing(text, [3, 32, 48]).unwrap();
            (found.fit, found.resize, found.crop, found.input_size)
        };
        let squashed = (Fit::Stretch([32, 48]), None, Some([32, 48]), [32, 48]);
        assert_eq!(fit(r#"{"resize": [32, 48]}"#), squashed);
        assert_eq!(fit(r#"{"fit": "stretch"}"#), squashed);
        assert_eq!(fit(r#"{"fit": "stretch", "resize": 64}"#), squashed);
        let larger = fit(r#"{"resize": [40, 50], "crop": [32, 48]}"#);
        assert_eq!(larger, (Fit::Stretch([40, 50]), None, Some([32, 48]), [32, 48]));
        assert_eq!(fit(r#"{"fit": "pad", "pad_color": 114}"#).0, Fit::Pad([114; 3]));
        let mean = r#"{"fit": "pad", "pad_color": "mean", "channels": "bgr", "mean": [0.2, 0.4, 1], "std": [1, 1, 1]}"#;
        assert_eq!(fit(mean).0, Fit::Pad([255, 102, 51]));
        assert_eq!(preprocessing(r#"{"channels": "bgr"}"#, [3, 8, 8]).unwrap().channels, Channels::Bgr);
    }

    #[test]
    fn values_may_be_of_pixels() {
        let caffe = preprocessing(r#"{"mean": [103.939, 116.779, 123.68], "std": 1}"#, [3, 8, 8]).unwrap();
        assert_eq!((caffe.mean[0], caffe.std[2]), (103.939 / 255.0, 1.0 / 255.0));
        let pixels = preprocessing(r#"{"scale": 255}"#, [1, 8, 8]).unwrap();
        assert_eq!((pixels.mean, pixels.std), (vec![0.0], vec![1.0 / 255.0]));
        let tf = preprocessing(r#"{"mean": 127.5, "std": 127.5}"#, [3, 8, 8]).unwrap();
        assert_eq!((tf.mean, tf.std), (vec![0.5; 3], vec![0.5; 3]));
        let inside = SideFile::default().preprocessing("m.json", [3, 8, 8], Some(255.0)).unwrap();
        assert_eq!((inside.mean, inside.std), (vec![0.0; 3], vec![1.0 / 255.0; 3]));
        // The file's word goes before what the network seems to need, and bands have no usual numbers.
        let said = SideFile::parse("m.json", br#"{"scale": 1}"#).unwrap();
        assert_eq!(said.preprocessing("m.json", [3, 8, 8], Some(255.0)).unwrap().std, vec![1.0; 3]);
        let bands = preprocessing(r#"{"mean": 1200, "std": 300}"#, [6, 8, 8]).unwrap();
        assert_eq!((bands.mean, bands.std), (vec![1200.0; 6], vec![300.0; 6]));
    }

    #[test]
    fn remarks_have_their_places() {
        let text = r#"{"source": "x", "license": "MIT", "_anything": {"a": 1}, "x-run": 3, "accuracy": 0.9}"#;
        assert!(SideFile::parse("m.json", text.as_bytes()).is_ok());
        let error = SideFile::parse("m.json", br#"{"mood": "good"}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `mood`") && error.contains("begin with `_`"), "{error}");
    }

    #[test]
    fn mistakes_are_named() {
        let mistakes = [
            ("[]", "invalid type"),
            ("{", "EOF"),
            (r#"{"interpolaton": "bilinear"}"#, "did you mean `interpolation`?"),
            (r#"{"interpolation": "quadratic"}"#, "`quadratic` is not one of"),
            (r#"{"input_size": "big"}"#, "a number of pixels or [height, width]"),
            (r#"{"input_size": 224, "crop": 200}"#, "differ"),
            (r#"{"fit": "squash"}"#, "`squash` is not one of crop, stretch, pad"),
            (r#"{"fit": "crop", "resize": [8, 9]}"#, "needs one number"),
            (r#"{"fit": "pad", "resize": [8, 9]}"#, "leave resize out"),
            (r#"{"fit": "pad", "pad_color": "pink"}"#, "`pink`"),
            (r#"{"channels": "rbg"}"#, "rgb, bgr, grey"),
            (r#"{"scale": 0}"#, "as 1 or 255"),
            (r#"{"resize": 100, "crop": 200}"#, "does not fit"),
            (r#"{"mean": [0.5, 0.5, 0.5]}"#, "belong together"),
            (r#"{"mean": [0.5, 0.5], "std": [0.5, 0.5]}"#, "takes 3 channels"),
            (r#"{"mean": [0, 0, 0], "std": [1, -1, 1]}"#, "-1 is not a positive"),
            (r#"{"input_size": [0, 8]}"#, "1..=16384"),
            (r#"{"labels": [1, 2]}"#, "expected a string"),
        ];
        for (text, word) in mistakes {
            let error = preprocessing(text, [3, 224, 224]).unwrap_err().to_string();
            assert!(error.starts_with("m.json: ") && error.contains(word), "{text}: {error}");
        }
    }
}
