//! One registry over the class activation maps, the perturbation methods and the gradient methods.

use crate::HyperChoices;
use faithful_cam::{BaselineUse, Definition, GradientEstimator, stage_layers};
use faithful_core::{Error, LayerId, MethodInfo, Network, Resolution, Result, ScoreKind, Stop};
use faithful_gradient::Parameter;
use faithful_report::Scale;

/// A method of the registry, with the gradient under it and whose definition of it is followed.
#[derive(Clone, Copy, Debug)]
pub enum Method {
    /// A class activation map or a perturbation method.
    Cam {
        /// The method.
        method: &'static faithful_cam::Method,
        /// Another gradient under it than its own.
        gradient: Option<&'static GradientEstimator>,
        /// Whose definition of it is followed.
        definition: Definition,
    },
    /// What a transformer's attentions look at.
    Attention(&'static faithful_attention::Method),
    /// An attribution with respect to the input.
    Gradient(&'static faithful_gradient::Method),
}

/// Every method, in the order in which they are listed.
pub fn methods() -> Vec<&'static MethodInfo> {
    let cams = faithful_cam::METHODS.iter().map(|method| &method.info);
    let attentions = faithful_attention::METHODS.iter().map(|method| &method.info);
    cams.chain(attentions).chain(faithful_gradient::METHODS.iter().map(|method| &method.info)).collect()
}

impl Method {
    /// The method called `name`, on the gradient called `gradient`, as `definition` defines it.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with suggestions; [`Error::Parameter`] for a gradient or a definition that the method does not
    /// have.
    pub fn new(name: &str, gradient: Option<&str>, definition: &str) -> Result<Self> {
        let gradient = gradient.map(faithful_cam::estimator).transpose()?;
        let definition = Definition::named(definition)?;
        let other = faithful_gradient::method(name).map(Self::Gradient);
        if let Ok(found) = other.or_else(|_| faithful_attention::method(name).map(Self::Attention)) {
            return match (gradient, definition) {
                (None, Definition::Paper) => Ok(found),
                (Some(_), _) => Err(Self::no_gradient(name)),
                _ => Err(Error::parameter("definition", format!("`{name}` has only the paper's"))),
            };
        }
        let Ok(method) = faithful_cam::method(name) else {
            return Err(Error::unknown("method", name, methods().iter().map(|info| info.name)));
        };
        if !definition.covers(method.info.name) {
            let reason = format!("{} has no `{name}`; leave it out for the paper's", definition.name());
            return Err(Error::parameter("definition", reason));
        }
        if gradient.is_some() && method.estimator().is_none() {
            return Err(Self::no_gradient(name));
        }
        Ok(Self::Cam { method, gradient, definition })
    }

    fn no_gradient(name: &str) -> Error {
        Error::parameter("gradient", format!("`{name}` is no class activation map that a gradient could be put under"))
    }

    /// What is known of the method.
    pub fn info(&self) -> &'static MethodInfo {
        match self {
            Self::Cam { method, .. } => &method.info,
            Self::Attention(method) => &method.info,
            Self::Gradient(method) => &method.info,
        }
    }

    /// What of a class it explains unless told otherwise: what its source does; libraries explain the logit.
    pub fn score(&self) -> ScoreKind {
        match self {
            Self::Cam { definition: Definition::TorchCam | Definition::PytorchGradCam, .. } => ScoreKind::Logit,
            _ => self.info().score,
        }
    }

    /// The name of the gradient that was put under a class activation map in place of its own.
    pub fn other_gradient(&self) -> Option<&'static str> {
        match self {
            Self::Cam { gradient, .. } => gradient.map(|gradient| gradient.name),
            Self::Attention(_) | Self::Gradient(_) => None,
        }
    }

    /// The gradient under a class activation map.
    fn estimator(&self) -> Option<&'static GradientEstimator> {
        match self {
            Self::Cam { method, gradient, .. } => gradient.or(method.estimator()),
            Self::Attention(_) | Self::Gradient(_) => None,
        }
    }

    /// The name for files: `layer-cam`, or `layer-cam.expected` with another gradient.
    pub fn label(&self) -> String {
        let mut label = self.info().name.to_owned();
        if let Self::Cam { gradient, definition, .. } = self {
            let definition = (*definition != Definition::Paper).then(|| definition.name());
            for part in gradient.map(|gradient| gradient.name).into_iter().chain(definition) {
                label = format!("{label}.{part}");
            }
        }
        label
    }

    /// Whether it explains at target layers, and at the model's own unless others are named.
    pub fn needs_layers(&self) -> bool {
        match self {
            Self::Cam { method, .. } => method.needs_layers(),
            Self::Attention(_) | Self::Gradient(_) => false,
        }
    }

    /// Whether its map has the places of a layer, when it explains at so many `layers`.
    pub fn is_at_layer(&self, layers: usize) -> bool {
        self.info().resolution == Resolution::Layer || layers > 0 && !self.needs_layers()
    }

    /// How its maps are shown unless the user says otherwise, when it explains at so many `layers`.
    ///
    /// Up to their 99th percentile, as of many cells a few outshine all others; whole where they have a layer's places,
    /// unless maps of several layers are multiplied.
    pub fn scale(&self, layers: usize) -> Scale {
        let multiplies = matches!(self, Self::Cam { method, .. } if method.multiplies());
        let percentile = if self.is_at_layer(layers) && !multiplies { 100.0 } else { 99.0 };
        Scale { signed: self.info().signed, percentile, ..Scale::default() }
    }

    /// Whether it is made of parts that can be looked at, with a quality to choose.
    pub fn has_parts(&self) -> bool {
        matches!(self, Self::Cam { method, .. } if method.has_parts())
    }

    /// Whether it explains images alone, and no series.
    pub fn images_only(&self) -> bool {
        matches!(self, Self::Cam { method, .. } if method.images_only())
    }

    /// The layers it explains at where none is named and the model's own is `target`.
    pub fn layers_of(&self, network: &dyn Network, target: LayerId) -> Result<Vec<LayerId>> {
        match self {
            Self::Cam { method, .. } if method.multiplies() => stage_layers(network, target),
            Self::Cam { method, .. } if method.needs_layers() => Ok(vec![target]),
            _ => Ok(Vec::new()),
        }
    }

    /// Refuses what the user asked for and this method would not listen to: the one place for it.
    ///
    /// # Errors
    /// [`Error::Parameter`] that names the option and the method.
    pub fn check(&self, requested: &Requested) -> Result<()> {
        let Requested { layers, fusion, layout, stop, parts, quality, hyper, augmented, eigen } = *requested;
        let name = self.info().name;
        let refuse = |parameter, reason: String| Err(Error::parameter(parameter, reason));
        if eigen && !matches!(self, Self::Cam { method, .. } if method.weighs()) {
            return refuse("eigen", format!("`{name}` does not sum weighted channels of a layer"));
        }
        if augmented && !matches!(self, Self::Cam { .. }) {
            let reason =
                format!("`{name}` is no class activation map or masking method, whose maps alone are averaged");
            return refuse("augment", reason);
        }
        if augmented && parts {
            return refuse("augment", "the parts are those of one photo; leave one of the two out".into());
        }
        let (takes, fuses, stops) = match self {
            Self::Cam { method, .. } => {
                let stops = self.estimator().is_some_and(|estimator| !estimator.single);
                (if method.needs_layers() { method.most_layers() } else { 0 }, method.fuses(), stops)
            }
            Self::Attention(_) => (0, false, false),
            Self::Gradient(method) => (1, false, method.reads(Parameter::Stop)),
        };
        let attends = matches!(self, Self::Attention(_));
        if takes == 0 && (layers > 0 || layout && !attends) {
            let parameter = if layers > 0 { "layer" } else { "layout" };
            let place = if attends { "at every attention" } else { "at the input" };
            return refuse(parameter, format!("`{name}` explains {place} and has no target layer"));
        }
        if layers > takes {
            return refuse("layer", format!("`{name}` explains one layer at a time, and {layers} are named"));
        }
        if layout && layers == 0 && !self.needs_layers() && !attends {
            return refuse("layout", format!("`{name}` explains at the input unless --layer names a layer"));
        }
        if fusion && !fuses {
            return refuse("fusion", format!("`{name}` does not fuse the maps of several layers"));
        }
        if fusion && layers < 2 {
            return refuse("fusion", "there is one layer; name several with --layer a,b".into());
        }
        if stop != Stop::Draws && !stops {
            return refuse("stop", format!("`{name}` has no draws that a rule could stop; leave it out"));
        }
        let own = [
            ("parts", parts),
            ("quality", quality),
            ("filter", hyper.filter.is_some()),
            ("evidence", hyper.evidence.is_some()),
            ("modulation", hyper.modulation.is_some()),
            ("stages", hyper.stages.is_some()),
        ];
        for (option, given) in own {
            if given && !self.has_parts() {
                let having: Vec<String> = methods()
                    .iter()
                    .filter(|info| has_parts(info.name))
                    .map(|info| format!("`{}`", info.name))
                    .collect();
                return refuse(option, format!("only {} has it; choose that by --method", having.join(", ")));
            }
        }
        Ok(())
    }

    /// Whether the seed and the number of draws matter.
    pub fn draws(&self) -> bool {
        self.estimator().map_or(self.info().draws, |estimator| !estimator.single)
    }

    /// Whether it may read a number of draws though nothing is random, as Opti-CAM does for its steps.
    pub fn counts_draws(&self) -> bool {
        matches!(self, Self::Cam { method, .. } if method.estimator().is_none())
    }

    /// Whether it compares with baselines.
    pub fn compares(&self) -> bool {
        match self {
            Self::Cam { .. } => self.estimator().is_some_and(|estimator| estimator.baselines != BaselineUse::None),
            Self::Attention(_) => false,
            Self::Gradient(method) => method.reads(Parameter::Baseline) || method.reads(Parameter::Baselines),
        }
    }

    /// Whether it compares with one baseline, and not with as many as there are draws.
    pub fn has_one_baseline(&self) -> bool {
        match self {
            Self::Cam { .. } => self.estimator().is_some_and(|estimator| estimator.baselines == BaselineUse::PerPath),
            Self::Attention(_) => false,
            Self::Gradient(method) => method.reads(Parameter::Baseline),
        }
    }
}

fn has_parts(name: &str) -> bool {
    faithful_cam::method(name).is_ok_and(faithful_cam::Method::has_parts)
}

/// What a user asked for that not every method listens to; see [`Method::check`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Requested {
    /// How many layers are named.
    pub layers: usize,
    /// Whether a fusion of several layers' maps is.
    pub fusion: bool,
    /// Whether a layout of a layer's output is.
    pub layout: bool,
    /// The stopping rule.
    pub stop: Stop,
    /// Whether the maps that an explanation goes through are wanted.
    pub parts: bool,
    /// Whether another quality than the usual one is.
    pub quality: bool,
    /// What of Hyper Expected Grad-CAM is otherwise than its quality has it.
    pub hyper: HyperChoices,
    /// Whether the mean over the mirrored and brightened photo is.
    pub augmented: bool,
    /// Whether the first principal component of the weighted channels is.
    pub eigen: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_listed_method_is_found_and_described() {
        let mut names = HashSet::new();
        for info in methods() {
            assert_eq!(Method::new(info.name, None, "paper").unwrap().info().name, info.name);
            assert!(!info.summary.is_empty() && !info.source.is_empty(), "{}", info.name);
            assert!(names.insert(info.name), "two methods are called {}", info.name);
        }
    }

    #[test]
    fn a_gradient_changes_the_label_and_whether_draws_matter() {
        let plain = Method::new("layer-cam", None, "paper").unwrap();
        assert_eq!((plain.label().as_str(), plain.draws(), plain.compares()), ("layer-cam", false, false));
        let expected = Method::new("layer-cam", Some("expected"), "paper").unwrap();
        assert_eq!(
            (expected.label().as_str(), expected.draws(), expected.compares()),
            ("layer-cam.expected", true, true)
        );
        let attribution = Method::new("integrated-gradients", None, "paper").unwrap();
        assert!(attribution.compares() && !attribution.needs_layers());
        assert_eq!(Method::new("layer-cam", None, "torchcam").unwrap().label(), "layer-cam.torchcam");
    }

    #[test]
    fn mistakes_lead_to_what_was_meant() {
        let error = |name: &str, gradient| Method::new(name, gradient, "paper").unwrap_err().to_string();
        assert!(error("gradcam", None).contains("`grad-cam`"), "{}", error("gradcam", None));
        assert!(error("salience", None).contains("`saliency`"));
        assert!(error("layer-cam", Some("expcted")).contains("`expected`"));
        assert!(error("saliency", Some("expected")).contains("gradient: `saliency`"));
        assert!(error("score-cam", Some("expected")).contains("gradient: `score-cam`"));
    }

    #[test]
    fn facts_that_commands_ask_for_come_from_the_registries() {
        let names = |fact: &dyn Fn(&Method) -> bool| -> Vec<&str> {
            let all = methods().into_iter().map(|info| info.name);
            all.filter(|name| fact(&Method::new(name, None, "paper").unwrap())).collect()
        };
        assert_eq!(names(&Method::has_parts), ["hyper-expected-grad-cam"]);
        let one = ["integrated-grad-cam", "integrated-gradients", "guided-integrated-gradients", "idgi"];
        assert_eq!(names(&Method::has_one_baseline), one);
        assert!(Method::new("layer-cam", Some("integrated"), "paper").unwrap().has_one_baseline());
        let images = names(&Method::images_only);
        assert!(images.contains(&"score-cam") && images.contains(&"hyper-expected-grad-cam"));
        assert!(!images.contains(&"rise") && !images.contains(&"grad-cam"));
    }

    #[test]
    fn what_a_method_would_not_listen_to_is_refused() {
        let check = |name: &str, layers, fused, laid_out, stop| {
            let method = Method::new(name, None, "paper").unwrap();
            method
                .check(&Requested { layers, fusion: fused, layout: laid_out, stop, ..Requested::default() })
                .map_err(|error| error.to_string())
        };
        let (all, rule) = (Stop::Draws, Stop::Difference(0.1));
        for (name, layers, fused) in
            [("grad-cam", 3, true), ("grad-cam", 0, false), ("poly-cam+", 4, false), ("saliency", 1, false)]
        {
            assert_eq!(check(name, layers, fused, layers > 0, all), Ok(()), "{name}");
        }
        assert_eq!(check("expected-gradients", 1, false, false, rule), Ok(()));
        for (name, layers, fused, laid_out, stop, word) in [
            ("full-grad", 1, false, false, all, "no target layer"),
            ("rise", 0, false, true, all, "layout"),
            ("saliency", 2, false, false, all, "one layer at a time"),
            ("saliency", 0, false, true, all, "--layer"),
            ("hyper-expected-grad-cam", 2, false, false, all, "one layer at a time"),
            ("poly-cam+", 2, true, false, all, "does not fuse"),
            ("grad-cam", 1, true, false, all, "name several"),
            ("grad-cam", 1, false, false, rule, "no draws"),
            ("score-cam", 0, false, false, rule, "no draws"),
            ("guided-integrated-gradients", 0, false, false, rule, "no draws"),
        ] {
            let error = check(name, layers, fused, laid_out, stop).unwrap_err();
            assert!(
                error.contains(word) && error.contains(if word.contains("several") { "" } else { name })
                    || word == "layout",
                "{error}"
            );
        }
    }
}
