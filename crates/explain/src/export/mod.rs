//! An explanation as a file: an ONNX network that gives its output and its own map, the reverse pass written out in
//! standard operators. Any runtime runs it, without this program.

mod draws;
mod file;
mod hyper;
mod layout;
mod map;
mod rules;
mod score;

use crate::{Method, ScoreKind, Settings};
use faithful_core::{BackwardRule, Error, LayerId, Result, Stream};
use faithful_model::export::{Encoded, OnnxWriter};
use faithful_model::{FileOutput, Model};
use file::File;
use rules::{RULES, Rule};

/// Which class of a row is explained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClassOf {
    /// The one with the highest output.
    #[default]
    Top,
    /// The one that a second input, `class`, names for each row.
    Input,
    /// Always the same.
    Index(usize),
}

/// What is exported.
#[derive(Clone)]
pub struct Export {
    /// The method.
    pub method: Method,
    /// The target layer; none for methods at the input.
    pub layers: Vec<LayerId>,
    /// Which class is explained.
    pub class: ClassOf,
    /// Which score of it.
    pub score: ScoreKind,
    /// Whether the map has the input's size and lies in 0 to 1; otherwise it is the raw one.
    pub display: bool,
    /// Draws, baselines, noise, layout.
    pub settings: Settings,
    /// The seed of the draws that the file holds.
    pub seed: u64,
    /// Whether baselines, and the places between them and the input where those are drawn, are inputs of the file: `baselines`
    /// `(S, …)` and `alphas` `(S,)` for all rows.
    pub given: bool,
    /// What else the file says of itself, for programs.
    pub properties: Vec<(String, String)>,
}

/// A file that explains itself.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The file.
    pub file: Encoded,
    /// The outputs' names and shapes, the map's last; nothing for a size that is free.
    pub outputs: Vec<(String, Vec<Option<usize>>)>,
    /// The input's shape.
    pub input: Vec<Option<usize>>,
    /// What people should know.
    pub notes: Vec<String>,
}

impl Export {
    /// The draws' random stream: the same for every input that the file will see.
    pub fn stream(&self) -> Stream {
        Stream::new(self.seed, "export")
    }

    /// Writes the network of `model` with the method's map; `output` is what its file gives, where it is one. Large
    /// constants go into a file called `beside`, where that is given.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a method that has no form in ONNX's operators, and with every operation of the network that
    /// has none; [`Error::Parameter`] for what does not fit together.
    pub fn write(&self, model: &Model, output: Option<&FileOutput>, beside: Option<&str>) -> Result<Exported> {
        let formula = Formula::of(self)?;
        let mut free = output.is_none_or(|output| output.free_size);
        let mut notes = Vec::new();
        loop {
            let mut writer = OnnxWriter::default();
            let file = File { export: self, model, output, free };
            match file.write(&mut writer, &formula) {
                Ok(ends) => return file.finish(writer, &ends, beside, notes),
                // Draws, windows and matrices are made for one size.
                Err(_) if free && writer.needs_size() => {
                    free = false;
                    notes.push("the size of the input is fixed: the map needs it as a number".into());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// How a method comes to its map, as operators.
enum Formula {
    /// A rule of the gradient at a layer, the map refined by the gradient at the input where a guide says so.
    Rule(&'static Rule, Option<Guide>),
    /// The gradient at the input.
    AtInput(AtInput, BackwardRule),
    /// The input's and all biases' terms.
    FullGrad,
    /// The outputs for a layer that is active at one place.
    Reciprocal,
    /// The outputs for inputs that show the places of one channel each.
    Channels,
    /// Levels of several layers' expected gradients, summed at the input's size.
    Hyper,
}

impl Formula {
    /// Of a rule, for methods with draws under it as without.
    fn of(export: &Export) -> Result<Self> {
        let name = export.method.info().name;
        let none = |why: &str| Err(Error::Unsupported(vec![format!("`{name}` as ONNX's operators: {why}")]));
        let cam = &export.settings.cam;
        if cam.augmented || cam.eigen || cam.paths.is_some_and(|paths| paths.get() > 1) {
            return none("mirrored photos, principal components and mini-batches are not written");
        }
        match export.method {
            Method::Cam { definition, .. } if definition != faithful_cam::Definition::Paper => {
                none("only the paper's definition is written")
            }
            Method::Attention(_) => none("it looks at every attention"),
            Method::Gradient(_) if !export.layers.is_empty() => none("at the input alone"),
            Method::Gradient(method) => match AtInput::named(method.info.name) {
                Some((kind, rule)) => Ok(Self::AtInput(kind, rule)),
                None => none("its propagation or path depends on what it meets on the way"),
            },
            Method::Cam { .. } => {
                let named = |name: &str| RULES.iter().find(|rule| rule.name == name);
                let guide = match name {
                    "guided-grad-cam" => Some(Guide::Backpropagation),
                    "guided-expected-grad-cam" => Some(Guide::Attribution),
                    _ => None,
                };
                match name {
                    "full-grad" => Ok(Self::FullGrad),
                    "recipro-cam" => Ok(Self::Reciprocal),
                    "score-cam" if cam.channels.is_some() => none("a file tries all channels"),
                    "score-cam" => Ok(Self::Channels),
                    "eigen-cam" | "eigen-grad-cam" => none("there is no operator for principal components"),
                    "hyper-expected-grad-cam" => match hyper::refusal(export) {
                        Some(reason) => none(reason),
                        None => Ok(Self::Hyper),
                    },
                    _ => {
                        let rule =
                            named(name).or_else(|| if name.ends_with("grad-cam") { named("grad-cam") } else { None });
                        match rule {
                            Some(rule) => Ok(Self::Rule(rule, guide)),
                            None => none("it runs the network again and again on what it has found so far"),
                        }
                    }
                }
            }
        }
    }
}

/// What refines a map to the input's resolution.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guide {
    Backpropagation,
    Attribution,
}

/// What is made of the gradient at the input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AtInput {
    Gradient,
    /// The largest magnitude over the channels.
    Saliency,
    TimesInput,
    /// Statistics over noisy copies.
    Smooth(Statistic),
    /// Weighted along the path from one baseline.
    Integrated,
    /// Over pairs of a baseline and a place.
    Expected,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Statistic {
    Mean,
    Square,
    Variance,
    TimesPoints,
}

impl AtInput {
    fn named(name: &str) -> Option<(Self, BackwardRule)> {
        let plain = |kind| Some((kind, BackwardRule::Plain));
        match name {
            "gradient" => plain(Self::Gradient),
            "saliency" => plain(Self::Saliency),
            "gradient-times-input" => plain(Self::TimesInput),
            "deconvnet" => Some((Self::Gradient, BackwardRule::Deconvnet)),
            "guided-backpropagation" => Some((Self::Gradient, BackwardRule::Guided)),
            "smooth-grad" => plain(Self::Smooth(Statistic::Mean)),
            "smooth-grad-squared" => plain(Self::Smooth(Statistic::Square)),
            "var-grad" => plain(Self::Smooth(Statistic::Variance)),
            "smooth-grad-times-input" => plain(Self::Smooth(Statistic::TimesPoints)),
            "integrated-gradients" => plain(Self::Integrated),
            "expected-gradients" => plain(Self::Expected),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
