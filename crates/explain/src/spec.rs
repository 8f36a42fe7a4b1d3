//! Methods as users name them.

use crate::{CamChoices, Method, Requested, Settings};
use faithful_cam::{Definition, Difference, Filter, Quality};
use faithful_core::{Error, Result};
use std::num::NonZeroUsize;
use std::str::FromStr;

/// `5x5`: paths by draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MiniBatches {
    /// Paths, each from one baseline.
    pub paths: NonZeroUsize,
    /// Draws on each path.
    pub draws: NonZeroUsize,
}

/// `48ch`: how many channels a masking method tries.
fn channels_of(word: &str) -> Option<NonZeroUsize> {
    word.strip_suffix("ch")?.parse().ok()
}

impl FromStr for MiniBatches {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let number = |text: &str| text.parse().ok();
        text.split_once('x')
            .and_then(|(paths, draws)| Some(Self { paths: number(paths)?, draws: number(draws)? }))
            .ok_or_else(|| format!("`{text}` is not KxM, such as 5x5: paths by draws, both above 0"))
            .and_then(|both| match both.paths.checked_mul(both.draws) {
                Some(all) if all.get() <= 1_000_000 => Ok(both),
                _ => Err(format!("`{text}` are more than 1,000,000 draws")),
            })
    }
}

/// A method with what its name says about it: `layer-cam`; after dots a gradient (`layer-cam.expected`), mini-batches
/// (`expected-grad-cam.5x5`), what the gradient is multiplied by (`expected-grad-cam.difference-none`), a quality and a filter (`hyper-expected-grad-cam.thesis.dog`), whose definition (`grad-cam++.torchcam`), how many channels are tried (`score-cam.48ch`),
/// `augmented` or `eigen` (`layer-cam.augmented.eigen`).
#[derive(Clone, Debug)]
pub struct MethodSpec {
    /// The method.
    pub method: Method,
    /// The layers where it explains, by name; empty for those of the setup, or the model's own.
    pub layers: Vec<String>,
    /// As it was named.
    pub label: String,
    /// What its name says of class activation maps.
    pub cam: CamChoices,
    /// How many draws its name says.
    pub draws: Option<NonZeroUsize>,
}

impl MethodSpec {
    /// A run's settings with what the name says.
    pub fn settings(&self, common: &Settings) -> Settings {
        Settings { cam: self.cam, draws: self.draws.or(common.draws), ..common.clone() }
    }
}

impl From<Method> for MethodSpec {
    fn from(method: Method) -> Self {
        Self { method, layers: Vec::new(), label: method.label(), cam: CamChoices::default(), draws: None }
    }
}

impl FromStr for MethodSpec {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let mut words = name.split('.');
        let method = words.next().unwrap_or_default();
        let (mut gradient, mut definition, mut cam, mut draws) = (None, "paper", CamChoices::default(), None);
        let mut quality = None;
        for word in words {
            if let Ok(MiniBatches { paths, draws: each }) = word.parse() {
                cam.paths = Some(paths);
                draws = Some(each);
            } else if let Some(channels) = channels_of(word) {
                cam.channels = Some(channels);
            } else if let Some(named) = word.strip_prefix("difference-") {
                cam.difference = Difference::named(named)?;
            } else if let Ok(named) = Quality::named(word) {
                quality = Some(named);
            } else if let Ok(filter) = Filter::named(word) {
                cam.hyper.filter = Some(filter);
            } else if word == "augmented" {
                cam.augmented = true;
            } else if word == "eigen" {
                cam.eigen = true;
            } else if Definition::named(word).is_ok() {
                definition = word;
            } else {
                gradient = Some(word);
            }
        }
        let found = Method::new(method, gradient, definition)?;
        if let Some(chosen) = quality {
            if !found.has_parts() {
                return Err(Error::parameter("methods", format!("`{method}` has no qualities to choose from")));
            }
            cam.quality = chosen;
        }
        if cam.channels.is_some() && !matches!(found, Method::Cam { method, .. } if method.tries_channels()) {
            return Err(Error::parameter("methods", format!("`{method}` does not try channel by channel")));
        }
        if cam.difference != Difference::default() && !(found.compares() && found.needs_layers()) {
            return Err(Error::parameter("methods", format!("`{method}` has no difference from baselines at a layer")));
        }
        let CamChoices { hyper, augmented, eigen, .. } = cam;
        found.check(&Requested { hyper, augmented, eigen, ..Requested::default() })?;
        if draws.is_some() && !(found.compares() && found.draws() && found.needs_layers()) {
            return Err(Error::parameter("methods", format!("`{method}` has no mini-batches")));
        }
        Ok(Self { method: found, layers: Vec::new(), label: name.to_owned(), cam, draws })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_to_the_maps_is_read_and_refused_where_the_method_does_not_listen() {
        let spec: MethodSpec = "layer-cam.augmented.eigen".parse().unwrap();
        assert!(spec.cam.augmented && spec.cam.eigen && spec.method.label() == "layer-cam");
        let error = |name: &str| name.parse::<MethodSpec>().unwrap_err().to_string();
        assert!(error("saliency.augmented").starts_with("augment: `saliency`"), "{}", error("saliency.augmented"));
        assert!(error("score-cam.eigen").starts_with("eigen: `score-cam`"), "{}", error("score-cam.eigen"));
    }

    #[test]
    fn fewer_channels_are_read_and_refused_where_none_are_tried() {
        let spec: MethodSpec = "poly-cam±.48ch".parse().unwrap();
        assert_eq!(spec.cam.channels.map(NonZeroUsize::get), Some(48));
        let error = "grad-cam.48ch".parse::<MethodSpec>().unwrap_err().to_string();
        assert!(error.contains("does not try channel by channel"), "{error}");
        assert!("score-cam.0ch".parse::<MethodSpec>().is_err());
    }

    #[test]
    fn the_difference_is_read_and_refused_where_there_is_none() {
        let spec: MethodSpec = "expected-grad-cam.difference-none".parse().unwrap();
        assert_eq!(spec.cam.difference, Difference::named("none").unwrap());
        let error = |name: &str| name.parse::<MethodSpec>().unwrap_err().to_string();
        assert!(error("grad-cam.difference-none").contains("has no difference"));
        assert!(error("expected-grad-cam.difference-nine").contains("`none`"));
    }

    #[test]
    fn mini_batches_are_read() {
        let number = |n| NonZeroUsize::new(n).unwrap();
        assert_eq!("5x10".parse(), Ok(MiniBatches { paths: number(5), draws: number(10) }));
        for wrong in ["", "5", "0x5", "5x", "5x5x5", "-1x2", "1000x1001", "9999999999x9999999999"] {
            assert!(wrong.parse::<MiniBatches>().is_err(), "{wrong}");
        }
    }
}
