use faithful_core::{Error, Preprocessing, Resampling, Result, read_file_within, suggest};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What stands in the JSON beside a model's file; every field may be left out.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct SideFile {
    input_size: Option<Sides>,
    resize: Option<usize>,
    crop: Option<Sides>,
    interpolation: Option<String>,
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
    #[serde(default)]
    pub(crate) labels: Vec<String>,
    #[serde(default)]
    pub(crate) synsets: Vec<String>,
    /// Values of inputs that are no picture.
    #[serde(default)]
    pub(crate) inputs: BTreeMap<String, serde_json::Value>,
    /// Whatever else its author wrote down.
    #[serde(flatten)]
    other: BTreeMap<String, serde_json::Value>,
}

const FIELDS: [&str; 9] =
    ["input_size", "resize", "crop", "interpolation", "mean", "std", "labels", "synsets", "inputs"];

/// Bytes of such a file, at most: a hundred thousand labels have a few millions.
const LONGEST: u64 = 64 << 20;

/// `224` or `[224, 298]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number of pixels or [height, width]")]
enum Sides {
    Square(usize),
    Both([usize; 2]),
}

impl From<Sides> for [usize; 2] {
    fn from(sides: Sides) -> Self {
        match sides {
            Sides::Square(side) => [side; 2],
            Sides::Both(sides) => sides,
        }
    }
}

impl SideFile {
    /// Reads `model` with its extension replaced by `json`; without such a file, every field is left out.
    pub(crate) fn beside(model: &Path) -> Result<Self> {
        let path = model.with_extension("json");
        match read_file_within(&path, LONGEST) {
            Ok(text) => Self::parse(&path.display().to_string(), &text),
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Reads JSON; `what` names it in errors.
    pub(crate) fn parse(what: &str, text: &[u8]) -> Result<Self> {
        let parsed: Self = serde_json::from_slice(text).map_err(|error| Error::format_from(what, error))?;
        // Notes of any kind may stand there, but a misspelt field must not be taken for one.
        for name in parsed.other.keys() {
            if let [meant, ..] = suggest(name, FIELDS).as_slice() {
                return Err(Error::format(what, format!("unknown field `{name}`; did you mean `{meant}`?")));
            }
        }
        Ok(parsed)
    }

    /// What a photo goes through for a network whose input is `[channels, height, width]`; what the file leaves out
    /// is `ImageNet`'s. With a size of its own, the shorter side is by default resized to what the crop needs.
    pub(crate) fn preprocessing(&self, what: &str, [channels, height, width]: [usize; 3]) -> Result<Preprocessing> {
        let refuse = |reason: String| Error::format(what, reason);
        let imagenet = Preprocessing::default();
        let given = self.input_size.or(self.crop).map(<[usize; 2]>::from);
        let input_size = given.unwrap_or([height, width]);
        let crop = self.crop.map_or(input_size, <[usize; 2]>::from);
        if crop != input_size {
            return Err(refuse(format!("crop {crop:?} and input_size {input_size:?} differ; leave one of them out")));
        }
        let usual = if given.is_none() && input_size == imagenet.input_size { imagenet.resize } else { None };
        let resize = self.resize.or(usual).unwrap_or(crop[0].max(crop[1]));
        let (mean, std) = match (&self.mean, &self.std) {
            (Some(mean), Some(std)) => (mean.clone(), std.clone()),
            (None, None) if channels == 1 => (vec![average(&imagenet.mean)], vec![average(&imagenet.std)]),
            (None, None) => (imagenet.mean, imagenet.std),
            _ => return Err(refuse("mean and std belong together: give both or none".into())),
        };
        if mean.len() != channels {
            return Err(refuse(format!("mean has {} values, but the network takes {channels} channels", mean.len())));
        }
        let interpolation = match &self.interpolation {
            Some(name) => Resampling::from_name(name).map_err(|error| refuse(error.to_string()))?,
            None => imagenet.interpolation,
        };
        let preprocessing =
            Preprocessing { input_size, resize: Some(resize), crop: Some(crop), interpolation, mean, std };
        preprocessing.validated().map_err(|error| refuse(error.to_string()))
    }

    /// The input size that the file asks for.
    pub(crate) fn input_size(&self) -> Option<[usize; 2]> {
        self.input_size.or(self.crop).map(Into::into)
    }
}

fn average(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preprocessing(text: &str, input: [usize; 3]) -> Result<Preprocessing> {
        SideFile::parse("m.json", text.as_bytes())?.preprocessing("m.json", input)
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
    fn mistakes_are_named() {
        let mistakes = [
            ("[]", "invalid type"),
            ("{", "EOF"),
            (r#"{"interpolaton": "bilinear"}"#, "did you mean `interpolation`?"),
            (r#"{"interpolation": "quadratic"}"#, "`quadratic` is not one of"),
            (r#"{"input_size": "big"}"#, "a number of pixels or [height, width]"),
            (r#"{"input_size": 224, "crop": 200}"#, "differ"),
            (r#"{"resize": 100, "crop": 200}"#, "does not fit"),
            (r#"{"mean": [0.5, 0.5, 0.5]}"#, "belong together"),
            (r#"{"mean": [0.5], "std": [0.5]}"#, "takes 3 channels"),
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
