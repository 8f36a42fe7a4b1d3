//! What a map answers: a name that tells it from the maps of other questions, and a record of it inside the picture, so that
//! no map is written over by the answer to another question.

use crate::arguments::ExplainArguments;
use anyhow::Result;
use faithful_core::Digest;
use faithful_explain::class::AUTO_SCORE;
use faithful_explain::{Method, MethodAt, Read, model::source};
use faithful_model::Model;
use serde_json::{Value, json};
use std::path::Path;

/// Bytes of the part of a name that stands for the question, at most: the photo's part and endings need room too.
const LONGEST: usize = 80;

/// What is asked of every photo of a run.
#[derive(Debug)]
pub(crate) struct Question {
    words: Vec<String>,
    record: Value,
}

impl Question {
    /// What the arguments ask of a model by one method.
    pub(crate) fn new(arguments: &ExplainArguments, model: &Model, method: &MethodAt) -> Self {
        let path = model.file.as_deref().and_then(|file| file.canonicalize().ok());
        let layers = method.layer_names(&model.graph);
        let spec = &method.spec;
        let record = json!({
            "model": path.map_or_else(|| source(model), |path| path.display().to_string()),
            "output": arguments.model.output,
            "read": arguments.model.name.reading.read().words(),
            "preprocessing": format!("{:?}", model.preprocessing),
            "probabilities": model.probabilities.name(),
            "method": spec.label,
            "layers": layers,
            "score": score_in_words(&arguments.score, &spec.method),
            "draws": arguments.draws,
            "mini_batches": arguments.cam.mini_batches.map(|both| format!("{}x{}", both.paths, both.draws)),
            "difference": arguments.cam.difference,
            "fusion": arguments.cam.fusion,
            "layout": arguments.layout,
            "mask_channels": arguments.cam.mask_channels,
            "quality": arguments.quality,
            "augment": arguments.augment,
            "eigen": arguments.cam.eigen,
            "stop": arguments.stop,
            "baselines": arguments.baselines,
            "alphas": format!("{:?}", arguments.cam.alphas),
            "gradient": format!("{:?}", arguments.gradient_options),
            "noise": arguments.noise,
            "seed": arguments.seed,
        });
        Self { words: words(arguments, method), record }
    }

    /// What results are called: `heron.layer-cam.expected.probability.layer3.class7`; the classes are named where
    /// they were asked for.
    pub(crate) fn name(&self, stem: &str, class: Option<String>) -> String {
        let words: Vec<String> = self.words.iter().cloned().chain(class).collect();
        format!("{stem}.{}", shortened(&words.join(".")))
    }

    /// What is written into the picture of one class of one photo. The photo counts by its bytes, wherever it lies.
    pub(crate) fn record(&self, photo: &Path, class: usize, label: &str) -> Result<String> {
        self.record_with(photo, [("class", json!(class)), ("label", json!(label))])
    }

    /// What is written into the picture of several classes of one photo.
    pub(crate) fn record_of_classes(&self, photo: &Path, classes: &[usize]) -> Result<String> {
        self.record_with(photo, [("classes", json!(classes))])
    }

    fn record_with(&self, photo: &Path, about: impl IntoIterator<Item = (&'static str, Value)>) -> Result<String> {
        let mut record = self.record.clone();
        if let Value::Object(fields) = &mut record {
            let name = photo.file_name().unwrap_or(photo.as_os_str()).to_string_lossy();
            fields.insert("photo".into(), json!(name));
            fields.insert("photo_sha256".into(), json!(Digest::of_file(photo)?));
            fields.extend(about.into_iter().map(|(key, value)| (key.to_owned(), value)));
        }
        Ok(serde_json::to_string(&record)?)
    }
}

/// Which score a method explains: the one that was asked for, or its own.
pub(crate) fn score_in_words(asked: &str, method: &Method) -> String {
    if asked == AUTO_SCORE { method.score().to_string() } else { asked.to_owned() }
}

/// The choices that people vary, as parts of a name; nothing for what is as usual.
fn words(arguments: &ExplainArguments, method: &MethodAt) -> Vec<String> {
    let mut words = vec![method.spec.label.clone()];
    words.extend(arguments.cam.mini_batches.map(|both| format!("{}x{}", both.paths, both.draws)));
    words.extend((arguments.quality != "standard").then(|| arguments.quality.clone()));
    words.extend(arguments.augment.then(|| "augmented".to_owned()));
    words.extend(arguments.cam.eigen.then(|| "eigen".to_owned()));
    words
        .extend((arguments.cam.difference != "activation").then(|| format!("difference-{}", arguments.cam.difference)));
    words.extend(arguments.cam.fusion.clone());
    let score = score_in_words(&arguments.score, &method.spec.method);
    words.extend((score != method.spec.method.score().to_string()).then_some(score));
    words.extend(read_words(&arguments.model.name.reading.read()));
    words.extend((!arguments.layer.is_empty()).then(|| arguments.layer.join("+")));
    let compares = method.spec.method.compares();
    words.extend(arguments.baselines.as_ref().filter(|_| compares).map(|baselines| {
        let folder = Path::new(baselines).file_name().map(|name| name.to_string_lossy().into_owned());
        format!("from-{}", folder.unwrap_or_else(|| baselines.clone()))
    }));
    words.iter().map(|word| plain(word)).filter(|word| !word.is_empty()).collect()
}

/// What is read off the outputs, as a part of a name.
fn read_words(read: &Read) -> Option<String> {
    let file = |text: &Path| text.file_stem().unwrap_or(text.as_os_str()).to_string_lossy().into_owned();
    match read {
        Read::Classes => None,
        Read::Region(text) if text.contains(':') || text == "class" => Some(format!("region-{text}")),
        Read::Region(mask) => Some(format!("region-{}", file(Path::new(mask)))),
        Read::Detection(text) => Some(format!("detection-{text}")),
        Read::SimilarTo(path) => Some(format!("similar-to-{}", file(path))),
        Read::Sums(sums) => Some(sums.join("+")),
    }
}

/// A word without what file systems or shells give a meaning.
fn plain(word: &str) -> String {
    let kept = |letter: char| if letter.is_alphanumeric() || "-_.+±".contains(letter) { letter } else { '-' };
    word.chars().map(kept).collect::<String>().trim_matches(['-', '.']).to_owned()
}

fn shortened(name: &str) -> String {
    if name.len() <= LONGEST {
        return name.to_owned();
    }
    let end = (0..=LONGEST - 9).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    format!("{}-{}", &name[..end], &Digest::of(name.as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_names_are_plain_and_short() {
        assert_eq!(plain("/layer4/layer4.2/relu/Relu"), "layer4-layer4.2-relu-Relu");
        assert_eq!(
            (plain("margin:crane bird"), plain("grad-cam++"), plain("../..")),
            ("margin-crane-bird".into(), "grad-cam++".into(), String::new())
        );
        let long = "\u{e4}".repeat(100);
        let (one, other) = (shortened(&format!("{long}1")), shortened(&format!("{long}2")));
        assert!(one.len() <= LONGEST && one != other, "{one}");
    }
}
