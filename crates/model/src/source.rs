use crate::home::{faithful_home, pulled_file, pulled_names};
use crate::shipped::SHIPPED;
use crate::{ARCHITECTURES, Architecture, Task, architecture};
use faithful_core::{Error, Probabilities, Result};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a model comes from: what stands behind `--model`.
///
/// ```
/// use faithful_model::ModelSource;
/// let source: ModelSource = "vgg16:weights.safetensors".parse()?;
/// assert!(matches!(&source, ModelSource::Weights { architecture, .. } if architecture.name == "vgg16"));
/// assert_eq!(source.to_string(), "vgg16:weights.safetensors");
/// assert!(matches!("nets/mine.onnx".parse()?, ModelSource::Onnx(_)));
/// assert!(matches!("resnet50".parse()?, ModelSource::Named(_)));
/// let error = "vgg61:weights.safetensors".parse::<ModelSource>().unwrap_err();
/// assert!(error.to_string().starts_with("no architecture `vgg61`; did you mean"));
/// # Ok::<(), faithful_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub enum ModelSource {
    /// A model that is part of this program or was fetched before, by its name.
    Named(String),
    /// An ONNX file.
    Onnx(PathBuf),
    /// Safetensors for a known architecture.
    Weights {
        /// The architecture.
        architecture: &'static Architecture,
        /// The file.
        path: PathBuf,
    },
}

impl FromStr for ModelSource {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let extension = Path::new(text).extension().and_then(|extension| extension.to_str()).map(str::to_lowercase);
        let refuse = |reason: String| Err(Error::parameter("model", reason));
        match extension.as_deref() {
            Some("onnx") => Ok(Self::Onnx(text.into())),
            Some("safetensors") => match text.split_once(':') {
                // A single letter is a drive.
                Some((name, path)) if name.len() > 1 => {
                    Ok(Self::Weights { architecture: architecture(name)?, path: path.into() })
                }
                _ => refuse(format!("`{text}` holds weights only: say whose, as in `vgg16:{text}`")),
            },
            Some(other @ ("pth" | "pt" | "bin" | "ckpt")) => refuse(format!(
                "`{text}`: .{other} files are not read; `faithful model convert {text} OUT.safetensors` takes the weights of a \
                 known architecture out, for another network export the model to ONNX"
            )),
            Some(other @ ("h5" | "keras" | "pb" | "tflite")) => refuse(format!(
                "`{text}`: .{other} files cannot be read; export the model to ONNX, or save its weights as safetensors"
            )),
            _ if text.is_empty() || text.contains(['/', '\\', ':']) => {
                refuse(format!("`{text}` is neither a model's name nor FILE.onnx nor ARCHITECTURE:FILE.safetensors"))
            }
            _ => Ok(Self::Named(text.into())),
        }
    }
}

impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Onnx(path) => write!(f, "{}", path.display()),
            Self::Weights { architecture, path } => write!(f, "{}:{}", architecture.name, path.display()),
        }
    }
}

/// A model that can be asked for by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownModel {
    /// Its name.
    pub name: String,
    /// Whether and where it is on this machine.
    pub place: Place,
}

/// Where a known model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Part of this program.
    Shipped,
    /// Fetched before, in this file.
    Pulled(PathBuf),
    /// Not on this machine; its architecture is known.
    Absent,
}

/// Every model that has a name: shipped ones, then fetched ones in `home`, then architectures without weights here.
pub fn known_models(home: Option<&Path>) -> Vec<KnownModel> {
    let mut known: Vec<KnownModel> =
        SHIPPED.iter().map(|shipped| KnownModel { name: shipped.name.into(), place: Place::Shipped }).collect();
    if let Some(home) = home {
        let files = pulled_names(home).into_iter().filter_map(|name| Some((name.clone(), pulled_file(home, &name)?)));
        known.extend(files.map(|(name, file)| KnownModel { name, place: Place::Pulled(file) }));
    }
    for Architecture { name, .. } in &ARCHITECTURES {
        if !known.iter().any(|model| model.name == *name) {
            known.push(KnownModel { name: (*name).into(), place: Place::Absent });
        }
    }
    known
}

/// The file of the fetched model `name` in `home`.
///
/// # Errors
/// [`Error::Parameter`] says how to get a model that could be there, [`Error::UnknownName`] what else was meant.
pub(crate) fn find_pulled(home: Option<&Path>, name: &str) -> Result<PathBuf> {
    if let Some(file) = home.and_then(|home| pulled_file(home, name)) {
        return Ok(file);
    }
    if ARCHITECTURES.iter().any(|known| known.name == name) {
        let searched = match home {
            Some(home) => format!("it is not in {}", home.join("models").display()),
            None => "this system names no cache folder; set FAITHFUL_HOME".into(),
        };
        let reason = format!(
            "the weights of `{name}` are not on this machine ({searched}); `faithful model pull {name}` fetches them, or name \
             a file that has them: `--model {name}:FILE.safetensors`"
        );
        return Err(Error::parameter("model", reason));
    }
    let known = known_models(home);
    Err(Error::unknown("model", name, known.iter().map(|model| model.name.as_str())))
}

/// How models are loaded.
#[derive(Clone, Debug)]
pub struct Loading {
    /// Where fetched models are.
    pub home: Option<PathBuf>,
    /// Where the weights go.
    pub device: candle_core::Device,
    /// The output that is explained, by its name or its number, where an ONNX file has several.
    pub output: Option<String>,
    /// The size `[height, width]` of a picture, where an ONNX file leaves it free.
    pub input_size: Option<[usize; 2]>,
    /// How logits become probabilities, where the user says it; otherwise the JSON beside the file does, or the network.
    pub activation: Option<Probabilities>,
    /// What the output is, where the user says it; likewise.
    pub task: Option<Task>,
    /// The names of the classes, where the user gives them; otherwise those beside the file.
    pub labels: Option<Vec<String>>,
    /// Whether the user says what photos are standardised by, so that nothing has to be assumed.
    pub values_said: bool,
    /// Whether the outputs are wanted as the file has them: what is read off them is no class.
    pub as_they_are: bool,
}

impl Default for Loading {
    fn default() -> Self {
        Self {
            home: faithful_home(),
            device: candle_core::Device::Cpu,
            output: None,
            input_size: None,
            activation: None,
            task: None,
            labels: None,
            values_said: false,
            as_they_are: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_model_is_refused_with_the_way_out() {
        let refusals = [
            ("weights.safetensors", "`vgg16:weights.safetensors`"),
            ("C:\\weights.safetensors", "say whose"),
            ("resnet50.pth", "export the model to ONNX"),
            ("nets/vgg16", "FILE.onnx"),
            ("", "neither a model's name"),
        ];
        for (text, word) in refusals {
            let error = text.parse::<ModelSource>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!(matches!("C:\\nets\\a.ONNX".parse().unwrap(), ModelSource::Onnx(_)));
    }

    #[test]
    fn a_name_is_looked_up_and_its_absence_explained() {
        let folder = tempfile::tempdir().unwrap();
        let home = Some(folder.path());
        std::fs::create_dir(folder.path().join("models")).unwrap();
        let file = folder.path().join("models/resnet18.safetensors");
        std::fs::write(&file, []).unwrap();
        std::fs::write(file.with_extension("json"), "{}").unwrap();
        assert_eq!(find_pulled(home, "resnet18").unwrap(), file);
        let error = find_pulled(home, "resnet50").unwrap_err().to_string();
        assert!(
            error.contains("resnet50:FILE.safetensors") && error.contains("faithful model pull resnet50"),
            "{error}"
        );
        let error = find_pulled(None, "resnet50").unwrap_err().to_string();
        assert!(error.contains("FAITHFUL_HOME"), "{error}");
        let error = find_pulled(home, "resnt18").unwrap_err().to_string();
        assert!(error.starts_with("no model `resnt18`; did you mean") && error.contains("`resnet18`"), "{error}");
        let known = known_models(home);
        let place = |name: &str| known.iter().filter(|model| model.name == name).map(|m| &m.place).collect::<Vec<_>>();
        assert_eq!(place("resnet18"), [&Place::Pulled(file)]);
        assert_eq!(place("vgg16"), [&Place::Absent]);
    }
}
