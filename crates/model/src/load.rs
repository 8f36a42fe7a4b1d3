use crate::dense::{Background, Said};
use crate::onnx::{Imported, import_onnx, metadata};
use crate::shipped::{SHIPPED, Shipped};
use crate::side_file::SideFile;
use crate::source::{Loading, ModelSource, find_pulled};
use crate::{Architecture, Dense, Graph, Labels, NodeId, OnnxOptions, Task, architecture, fixed_inputs};
use faithful_core::{Digest, Error, LayerId, Network, Preprocessing, Probabilities, Result, open_file};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// As many outputs as `ImageNet` has classes.
const IMAGENET: usize = 1000;

/// A network with everything that is known about it.
#[derive(Clone, Debug)]
pub struct Model {
    /// How it is called: `vgg16`, or the file's name without its ending.
    pub name: String,
    /// The network.
    pub graph: Graph,
    /// What its outputs are called.
    pub labels: Labels,
    /// How its outputs, which are logits, become probabilities.
    pub probabilities: Probabilities,
    /// What a photo goes through; `None` for a network whose input is no photo.
    pub preprocessing: Option<Preprocessing>,
    /// The layer whose output class activation maps are drawn from, unless another is asked for; `None` for a network
    /// without spatial layers.
    pub target: Option<LayerId>,
    /// The file it was read from; `None` where it is part of this program.
    pub file: Option<PathBuf>,
    /// Files beside it that hold its data.
    pub data: Vec<PathBuf>,
    /// The outputs of the file that can be explained, where there are several; the network gives one of them.
    pub outputs: Vec<String>,
    /// The paths of the modules that made the file's nodes (`layer3.0.relu`) by the nodes' names, where the exporter noted them.
    pub modules: BTreeMap<String, String>,
    /// What was found or assumed while it was loaded, a sentence each, that people should know.
    pub notes: Vec<String>,
    /// Of a segmentation or a detection: its places or boxes, of which `graph` makes one score per class.
    pub dense: Option<Dense>,
    /// The outputs that `graph` gives, one after the other, with their shapes without the batch; of one whose outputs became scores,
    /// those scores.
    pub parts: Vec<(String, Vec<usize>)>,
    /// The sums of outputs that the JSON beside the file names; with them, the outputs are as the file has them.
    pub sums: BTreeMap<String, String>,
}

impl Model {
    /// What a photo goes through.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a network that takes no photos.
    pub fn photo_preprocessing(&self) -> Result<&Preprocessing> {
        self.preprocessing.as_ref().ok_or_else(|| {
            let shape = self.graph.nominal_input();
            Error::parameter("model", format!("`{}` takes no photos: its input has the shape {shape:?}", self.name))
        })
    }

    /// The SHA-256 of the file that it was read from, or of what is part of this program; with files of data beside it, of
    /// all their digests.
    ///
    /// # Errors
    /// [`Error::Io`] where a file cannot be read any more.
    pub fn digest(&self) -> Result<String> {
        let Some(file) = &self.file else {
            let shipped = SHIPPED.iter().find(|shipped| shipped.name == self.name);
            return Ok(Digest::of(shipped.map_or(&[], |shipped| shipped.weights)));
        };
        let own = Digest::of_file(file)?;
        if self.data.is_empty() {
            return Ok(own);
        }
        let data = self.data.iter().map(|path| Digest::of_file(path)).collect::<Result<Vec<_>>>()?;
        Ok(data.iter().fold(Digest::new().with(own), Digest::with).finish())
    }

    /// The model that is used where none is asked for.
    pub fn default_source() -> Option<ModelSource> {
        SHIPPED.first().map(|shipped| ModelSource::Named(shipped.name.into()))
    }

    /// Loads what `source` names. The labels and the preprocessing come from the JSON beside the file, where there is
    /// one (`model.json` beside `model.onnx`), and from what exporters write there.
    ///
    /// A network that takes photos and ends in a softmax or a sigmoid is cut before it: its outputs are logits, and
    /// [`Model::probabilities`] says which of the two it was. A single output is the logit of one of two classes;
    /// with two labels, it is two outputs, the first of which is its negative. A segmentation or a detection network
    /// gives one score per class ([`Task`](crate::Task)).
    ///
    /// # Errors
    /// [`Error::Io`] for files that cannot be read, [`Error::Format`] for what is wrong with their content,
    /// [`Error::NotFinite`] for weights that are no numbers, [`Error::Unsupported`] for operations that are not
    /// implemented, [`Error::UnknownName`] and [`Error::Parameter`] for names that are not there.
    pub fn load(source: &ModelSource, loading: &Loading) -> Result<Self> {
        match source {
            ModelSource::Weights { architecture, path } => {
                Self::from_weights(architecture.name, architecture, path, loading)
            }
            ModelSource::Onnx(path) => Self::from_onnx(path, loading),
            ModelSource::Named(name) => {
                if let Some(shipped) = SHIPPED.iter().find(|shipped| shipped.name == name) {
                    return Self::from_shipped(shipped, loading);
                }
                let path = find_pulled(loading.home.as_deref(), name)?;
                if path.extension().is_some_and(|extension| extension == "onnx") {
                    return Self::from_onnx(&path, loading);
                }
                Self::from_weights(name, architecture(name)?, &path, loading)
            }
        }
    }

    fn from_shipped(shipped: &Shipped, loading: &Loading) -> Result<Self> {
        let architecture = architecture(shipped.architecture)?;
        let side = SideFile::parse(shipped.name, shipped.side.as_bytes())?;
        let size = side.input_size().unwrap_or(architecture.preprocessing().input_size);
        let graph = architecture.load(shipped.name, Cursor::new(shipped.weights), size, &loading.device)?;
        Self::complete(shipped.name, graph, side, Some(architecture), None, loading)
    }

    fn from_weights(name: &str, architecture: &Architecture, path: &Path, loading: &Loading) -> Result<Self> {
        let what = path.display().to_string();
        let file = open_file(path)?;
        let side = SideFile::beside(path)?;
        let size = side.input_size().unwrap_or(architecture.preprocessing().input_size);
        let graph = architecture.load(&what, file, size, &loading.device)?;
        Self::complete(name, graph, side, Some(architecture), Some(path.into()), loading)
    }

    fn from_onnx(path: &Path, loading: &Loading) -> Result<Self> {
        let pairs = metadata::pairs(path)?;
        let mut side = SideFile::beside(path)?.or_found(metadata::read(&pairs));
        let json = path.with_extension("json").display().to_string();
        let imported = imported(path, &side, loading)?;
        if metadata::map(&pairs) == Some(imported.output.as_str()) {
            let reason = format!(
                "output `{}` is itself an explanation, and explaining it takes second derivatives; explain another output",
                imported.output
            );
            return Err(Error::Unsupported(vec![reason]));
        }
        let mut notes = imported.notes(loading.output.is_some());
        let Imported { graph, outputs, output, files: data, modules, .. } = imported;
        let fixed = match *graph.nominal_input() {
            [_, height, width] | [_, _, height, width] => Some([height, width]),
            _ => None,
        };
        if side.input_size().is_some() && side.input_size() != fixed {
            side = side.without_found_sizes();
        }
        if let (Some(wanted), Some(fixed)) = (loading.input_size.or(side.input_size()), fixed)
            && wanted != fixed
        {
            let what = if loading.input_size.is_some() { "--input-size" } else { json.as_str() };
            let reason = format!(
                "input_size is {wanted:?}, but the model's file fixes {fixed:?}; export it with free axes, or correct the size"
            );
            return Err(Error::format(what, reason));
        }
        let graph = graph.to_device(&loading.device)?;
        let name = path.file_stem().map_or_else(|| "model".into(), |stem| stem.to_string_lossy().into_owned());
        let mut model = Self::complete(&name, graph, side, None, Some(path.into()), loading)?;
        // The file's names: a node of two axes is one row already, and has the name of what made it.
        let names: Vec<&str> = if model.parts.len() == 1 { vec![&output] } else { output.split(',').collect() };
        if names.len() == model.parts.len() {
            names.iter().zip(&mut model.parts).for_each(|(name, (own, _))| (*name).clone_into(own));
        }
        notes.extend(model.notes.iter().cloned());
        Ok(Self { data, outputs, modules, notes, ..model })
    }

    fn complete(
        name: &str,
        graph: Graph,
        mut side: SideFile,
        architecture: Option<&Architecture>,
        file: Option<PathBuf>,
        loading: &Loading,
    ) -> Result<Self> {
        let what = file.as_ref().map_or_else(|| name.into(), |file| file.with_extension("json").display().to_string());
        let mut notes = Vec::new();
        let (photo, slices) = match *graph.nominal_input() {
            [channels @ 1..=Preprocessing::MOST_CHANNELS, height, width] => (Some([channels, height, width]), None),
            [channels @ 1..=Preprocessing::MOST_CHANNELS, slices, height, width] => {
                (Some([channels, height, width]), Some(slices))
            }
            _ => (None, None),
        };
        let preprocessing = match photo {
            Some(input) => Some({
                let assumed = architecture.is_none() && !loading.values_said;
                let seen = Self::seen(&what, &graph, &side, input, assumed, &mut notes)?;
                Preprocessing { slices, ..seen }
            }),
            None => None,
        };
        let mut names = loading.labels.clone().unwrap_or_else(|| side.labels.clone());
        let mut answer = Answer { graph, probabilities: Probabilities::Softmax, notes, dense: None };
        let as_they_are = photo.is_some() && (loading.as_they_are || !side.scores.is_empty());
        if as_they_are {
            names.clear();
            side.found_labels.clear();
            side.synsets.clear();
        } else if photo.is_some() {
            let said = Said {
                labels: if names.is_empty() { &side.found_labels } else { &names },
                boxes: side.boxes(&what)?,
                background: side.background(&what)?,
                activation: loading.activation.or(side.probabilities(&what)?),
            };
            let background = answer.cut(said, loading.task.or(side.task(&what)?))?;
            let classes = answer.dense.as_ref().map_or(0, Dense::classes);
            for list in [&mut names, &mut side.found_labels].into_iter().filter(|list| list.len() == classes + 1) {
                match background {
                    Some(Background::First) => drop(list.remove(0)),
                    Some(Background::Last) => drop(list.pop()),
                    _ => {}
                }
            }
        }
        let target = match architecture {
            Some(architecture) => Some(answer.graph.layer(architecture.target)?),
            None => answer.graph.target_layer(),
        };
        let outputs = answer.graph.layers()[answer.graph.output().0].shape.last().copied().unwrap_or(1);
        let found = side.found_labels.len();
        if names.is_empty() && (found == outputs || (photo.is_some() && outputs == 1 && found == 2)) {
            names = side.found_labels;
        }
        let outputs = if photo.is_some() && !as_they_are && outputs == 1 && names.len() == 2 {
            answer.graph = answer.graph.with_both_answers()?;
            2
        } else {
            outputs
        };
        if names.is_empty() && photo.is_some() && !as_they_are && outputs == IMAGENET {
            if architecture.is_none() {
                answer.notes.push(format!(
                    "nothing names the network's {IMAGENET} classes; ImageNet's names are assumed in their usual order: \
                     --labels, or `labels` in the JSON beside the file, says otherwise"
                ));
            }
            let named = Labels::imagenet();
            names = (0..IMAGENET).map(|class| named.name(class)).collect();
            if side.synsets.is_empty() {
                side.synsets = (0..IMAGENET).filter_map(|class| named.synset(class).map(str::to_owned)).collect();
            }
        }
        let labels = Labels::new(outputs, names, side.synsets).map_err(|error| match &loading.labels {
            Some(_) => error,
            None => Error::format(what, error.to_string()),
        })?;
        let Answer { graph, probabilities, notes, dense } = answer;
        let (name, data, outputs, modules) = (name.into(), Vec::new(), Vec::new(), BTreeMap::new());
        let (parts, sums) = (graph.parts(), side.scores);
        Ok(Self {
            name,
            graph,
            labels,
            probabilities,
            preprocessing,
            target,
            file,
            data,
            outputs,
            modules,
            notes,
            dense,
            parts,
            sums,
        })
    }

    /// What a photo goes through for a network.
    fn seen(
        what: &str,
        graph: &Graph,
        side: &SideFile,
        input: [usize; 3],
        assumed: bool,
        notes: &mut Vec<String>,
    ) -> Result<Preprocessing> {
        let white = if assumed { graph.white() } else { None };
        if !side.says_values() && assumed {
            notes.push(match white {
                Some(white) if white > 1.0 => "the network scales pixels of 0 to 255 by itself and is given those; \
                    --scale, or `scale` in the JSON beside the file, says otherwise"
                    .into(),
                Some(_) => "the network standardises values of 0 to 1 by itself and is given those; --mean and --std, \
                    or the JSON beside the file, say otherwise"
                    .into(),
                None => "nothing says what the network's photos were standardised by; ImageNet's mean and deviation \
                    are assumed: --mean and --std, --scale 255, or the JSON beside the file, say otherwise"
                    .into(),
            });
        }
        side.preprocessing(what, input, white)
    }
}

/// The network of the file at `path` as it stands there.
fn imported(path: &Path, side: &SideFile, loading: &Loading) -> Result<Imported> {
    let json = path.with_extension("json").display().to_string();
    let options = OnnxOptions {
        input_shape: None,
        free_size: loading.input_size.or(side.input_size()),
        output: loading.output.clone(),
        inputs: fixed_inputs::numbers(&side.inputs, &json, path)?,
    };
    import_onnx(path, &options).map_err(|error| match error {
        Error::Format { what, reason, cause } => {
            Error::Format { what: format!("{}: {what}", path.display()), reason, cause }
        }
        other => other,
    })
}

/// What an ONNX file gives, before it became the logits that are explained.
#[derive(Clone, Debug)]
pub struct FileOutput {
    /// The file's network.
    pub graph: Graph,
    /// The node of the output.
    pub node: NodeId,
    /// The output's name.
    pub name: String,
    /// Whether the file leaves the size of its input free.
    pub free_size: bool,
    /// The file's own notes.
    pub properties: Vec<(String, String)>,
}

impl FileOutput {
    /// Of the file that `model` was read from; none where it was no ONNX file.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn of(model: &Model, loading: &Loading) -> Result<Option<Self>> {
        let Some(path) = model.file.as_ref().filter(|path| path.extension().is_some_and(|end| end == "onnx")) else {
            return Ok(None);
        };
        let properties = metadata::pairs(path)?;
        let side = SideFile::beside(path)?.or_found(metadata::read(&properties));
        let imported = imported(path, &side, loading)?;
        let node = imported.output_node();
        let Imported { graph, output: name, free_size, .. } = imported;
        Ok(Some(Self { graph, node, name, free_size, properties }))
    }
}

/// A network on the way to one logit per class.
struct Answer {
    graph: Graph,
    probabilities: Probabilities,
    notes: Vec<String>,
    dense: Option<Dense>,
}

impl Answer {
    /// One logit per class, and how they become probabilities: `said` is what is known of the network. Of a detection, which
    /// class was left out.
    fn cut(&mut self, said: Said<'_>, task: Option<Task>) -> Result<Option<Background>> {
        if let Some(found) = self.graph.as_classifier(said, task)? {
            self.notes.push(match found.task {
                Task::Segmentation => "the network gives every place a class; a class's score is its value where it \
                    wins: --region chooses the places, --task says otherwise"
                    .into(),
                _ => {
                    "the network gives boxes; a class's score is that of its best box: --detection chooses one, --task \
                      says otherwise"
                        .into()
                }
            });
            self.notes.extend(found.note.map(str::to_owned));
            self.graph = found.graph;
            let segmented = found.task == Task::Segmentation;
            self.probabilities = said.activation.filter(|_| segmented).unwrap_or(found.probabilities);
            self.dense = Some(found.dense);
            return Ok(found.background);
        }
        let single = |graph: &Graph| graph.layers()[graph.output().0].shape.iter().product::<usize>() == 1;
        if let Some((graph, found)) = self.graph.without_final_activation()? {
            let word = if found == Probabilities::Softmax { "softmax" } else { "sigmoid" };
            self.notes.push(format!("the network ends in a {word}; what comes before it is taken for its logits"));
            self.graph = graph;
            self.probabilities = found;
        } else if single(&self.graph) {
            self.probabilities = Probabilities::Sigmoid;
            self.notes.push(
                "the network has one output, which is taken for the logit of one of two classes; two labels name both"
                    .into(),
            );
        }
        if let Some(said) = said.activation {
            self.probabilities = said;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::random_file;

    fn loading(home: &Path) -> Loading {
        Loading { home: Some(home.into()), ..Loading::default() }
    }

    #[test]
    fn weights_with_a_json_beside_them_have_labels_and_sizes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("birds.safetensors");
        std::fs::write(&path, random_file("squeezenet1_1", 2)).unwrap();
        let source: ModelSource = format!("squeezenet1_1:{}", path.display()).parse().unwrap();
        let plain = Model::load(&source, &loading(folder.path())).unwrap();
        assert_eq!((plain.name.as_str(), plain.labels.name(1)), ("squeezenet1_1", "class 1".into()));
        assert_eq!(plain.photo_preprocessing().unwrap(), &Preprocessing::default());
        assert_eq!(plain.graph.layers()[plain.target.unwrap().0].name, "features.12");

        let side = path.with_extension("json");
        std::fs::write(&side, r#"{"labels": ["heron", "egret"], "input_size": [96, 128]}"#).unwrap();
        let labelled = Model::load(&source, &loading(folder.path())).unwrap();
        assert_eq!((labelled.labels.find("egret").unwrap(), labelled.graph.nominal_input()), (1, &[3, 96, 128][..]));
        assert_eq!(labelled.preprocessing.unwrap().crop, Some([96, 128]));

        std::fs::write(&side, r#"{"labels": ["heron"]}"#).unwrap();
        let error = Model::load(&source, &loading(folder.path())).unwrap_err().to_string();
        assert!(error.ends_with("birds.json: labels: 1 are given, but the network has 2 outputs"), "{error}");

        std::fs::write(&side, r#"{"input_size": 8}"#).unwrap();
        let error = Model::load(&source, &loading(folder.path())).unwrap_err().to_string();
        assert!(error.contains("`features."), "{error}");
    }

    #[test]
    fn a_fetched_model_is_loaded_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("models/squeezenet1_1.safetensors");
        std::fs::create_dir(file.parent().unwrap()).unwrap();
        std::fs::write(&file, random_file("squeezenet1_1", 2)).unwrap();
        let source = ModelSource::Named("squeezenet1_1".into());
        let model = Model::load(&source, &loading(folder.path())).unwrap();
        assert_eq!((model.file, model.labels.count()), (Some(file.clone()), 2));

        std::fs::write(&file, &random_file("squeezenet1_1", 2)[..100_000]).unwrap();
        let error = Model::load(&source, &loading(folder.path())).unwrap_err().to_string();
        assert!(error.contains("it is cut off") && error.contains("squeezenet1_1.safetensors"), "{error}");
        let source: ModelSource = "vgg16:nowhere.safetensors".parse().unwrap();
        assert!(matches!(Model::load(&source, &loading(folder.path())).unwrap_err(), Error::Io { .. }));
    }
}
