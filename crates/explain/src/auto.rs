//! Which method serves a network, where its user names none.

use crate::{Classifier, Method, MethodSpec};
use faithful_core::{LayerId, Result};
use faithful_model::{Graph, Head};

/// The word for it, in a method's place.
pub const AUTO: &str = "auto";

/// A method that was chosen, and why.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The method.
    pub method: Method,
    /// Why, in a clause.
    pub reason: &'static str,
}

/// Chooses a class activation map by what lies behind the `layers` where it explains ([`Graph::head`]; measured in
/// docs/results/auto.md): behind a mean over all places and linear layers alone, or a mean of what
/// each place gives alone, Grad-CAM, where draws change little; before dense
/// layers, which give every place weights of its own, LayerCAM on expected gradients; otherwise Expected Grad-CAM. Of one `place` of the photo, a
/// box or a region, LayerCAM. `gradient` is the one under it that the user names; `draws` whether the user asks for draws or baselines, which
/// only an expectation has.
///
/// # Errors
/// [`UnknownName`](faithful_core::Error::UnknownName) for a gradient that is not there.
pub fn choose(graph: &Graph, layers: &[LayerId], gradient: Option<&str>, draws: bool, place: bool) -> Result<Chosen> {
    let head = layers.last().map_or(Head::Other, |layer| graph.head(*layer));
    let expected = gradient.or(draws.then_some("expected"));
    let (name, gradient, reason) = match head {
        _ if place => (
            "layer-cam",
            expected,
            "one place of the photo is explained, and weights per channel alone mark others that look like it",
        ),
        Head::PooledLinear if expected.is_none() => (
            "grad-cam",
            None,
            "behind the layer are a mean over its places and linear layers alone, so that draws would repeat Grad-CAM",
        ),
        Head::Dense => (
            "layer-cam",
            gradient.or(Some("expected")),
            "behind the layer are dense layers with weights for every place, which weights per channel alone mislead",
        ),
        _ if gradient.is_some() => ("grad-cam", gradient, "the gradient under it was named"),
        Head::PooledPlaces if expected.is_none() => (
            "grad-cam",
            None,
            "behind the layer each place gives classes of its own, whose mean is taken, so that draws would repeat Grad-CAM",
        ),
        Head::PooledLinear | Head::PooledPlaces => ("expected-grad-cam", None, "draws or baselines were asked for"),
        Head::Other => {
            ("expected-grad-cam", None, "behind the layer the gradient changes with the photo, and is averaged")
        }
    };
    Ok(Chosen { method: Method::new(name, gradient, "paper")?, reason })
}

/// The method that serves the classifier ([`choose`]) at the `layers` that are named, or at its own where none is.
///
/// # Errors
/// Those of [`choose`], and [`UnknownLayer`](faithful_core::Error::UnknownLayer).
pub fn serving(classifier: &Classifier, layers: &[String], gradient: Option<&str>, draws: bool) -> Result<Chosen> {
    let model = &classifier.model;
    let named = layers.iter().map(|name| model.layer(name)).collect::<Result<Vec<_>>>()?;
    let places = if named.is_empty() { model.target.into_iter().collect() } else { named };
    choose(&model.graph, &places, gradient, draws, classifier.reads_each_photo())
}

/// The methods called `names` as far as they are known without a network: [`AUTO`] stands for one that it may become.
///
/// # Errors
/// What a name can be wrong by ([`MethodSpec`]).
pub fn parsed(names: &[String]) -> Result<Vec<MethodSpec>> {
    names.iter().map(|name| if name == AUTO { "expected-grad-cam" } else { name.as_str() }.parse()).collect()
}

/// The methods called `names`. In the place of [`AUTO`] stands the one that serves the network ([`choose`]) at the `layers` that are
/// named, or at its own, and none where that is named too; `told` hears which and why. `draws`: whether the user asks for draws or
/// baselines.
///
/// # Errors
/// What a name can be wrong by; [`UnknownLayer`](faithful_core::Error::UnknownLayer).
pub fn methods(
    names: &[String],
    classifier: &Classifier,
    layers: &[String],
    draws: bool,
    told: &dyn Fn(&str),
) -> Result<Vec<MethodSpec>> {
    let mut methods = Vec::new();
    for name in names {
        if name != AUTO {
            methods.push(name.parse()?);
            continue;
        }
        let chosen = serving(classifier, layers, None, draws)?;
        let label = chosen.method.label();
        told(&format!("`{label}` is chosen: {}", chosen.reason));
        if !names.contains(&label) {
            methods.push(chosen.method.into());
        }
    }
    Ok(methods)
}

/// What should be known of a method that draws at `layers`: that its draws are pointless, where they are.
pub fn pointless_draws(graph: &Graph, layers: &[LayerId], method: &Method) -> Option<String> {
    let linear = !layers.is_empty() && layers.iter().all(|layer| graph.head(*layer) == Head::PooledLinear);
    (linear && method.needs_layers() && !method.has_parts() && method.draws()).then(|| {
        format!(
            "behind the layer are a mean over its places and linear layers alone: the gradient is the same in every draw, and \
             `{}` differs from `grad-cam`, which takes one pass, only by the difference from the baselines",
            method.label()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use faithful_core::Network;
    use faithful_model::architecture;

    #[test]
    fn a_method_is_chosen_by_the_head() {
        let chosen = |name: &str, gradient, draws| {
            let architecture = architecture(name).unwrap();
            let graph = architecture.random(3, 0, &Device::Cpu).unwrap();
            let layers = [graph.layer(architecture.target).unwrap()];
            let method = choose(&graph, &layers, gradient, draws, false).unwrap().method;
            (method.label(), pointless_draws(&graph, &layers, &method).is_some())
        };
        assert_eq!(chosen("resnet18", None, false), ("grad-cam".into(), false));
        assert_eq!(chosen("resnet18", None, true), ("expected-grad-cam".into(), true));
        assert_eq!(chosen("resnet18", Some("smooth"), false), ("grad-cam.smooth".into(), true));
        assert_eq!(chosen("vgg11", None, false), ("layer-cam.expected".into(), false));
        assert_eq!(chosen("vgg11", Some("smooth"), false), ("layer-cam.smooth".into(), false));
        assert_eq!(chosen("squeezenet1_1", None, false), ("grad-cam".into(), false));
        assert_eq!(chosen("squeezenet1_1", None, true), ("expected-grad-cam".into(), false));
    }
}
