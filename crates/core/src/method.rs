use crate::{Result, ScoreKind, find_named};

/// How a method comes to its map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// A class activation map: channels of a layer, weighted by gradients.
    Cam,
    /// The input or the channels of a layer are masked and the score is watched; no gradient.
    Perturbation,
    /// What the attentions of a transformer look at, over the grid of its patches.
    Attention,
    /// The gradient with respect to the input, and what is made of it.
    Gradient,
}

/// Where a method's map lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// `(N, h, w)` at the target layer's size.
    Layer,
    /// `(N, H, W)` or `(N, C, H, W)` at the input's size.
    Input,
}

/// What one knows of a method without running it: one line of a method table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodInfo {
    /// The name by which it is asked for: `expected-grad-cam`.
    pub name: &'static str,
    /// One sentence for people.
    pub summary: &'static str,
    /// Authors, year, equation.
    pub source: &'static str,
    /// How it comes to its map.
    pub family: Family,
    /// Where the map lives.
    pub resolution: Resolution,
    /// Whether every class gets the same map.
    pub class_agnostic: bool,
    /// Whether the raw map can be negative.
    pub signed: bool,
    /// What of a class its source explains.
    pub score: ScoreKind,
    /// Whether baselines or noise are drawn, so that the seed and the number of draws matter.
    pub draws: bool,
}

impl MethodInfo {
    /// The entry called `name` among `methods`, with suggestions where there is none.
    pub fn find<'a, T>(name: &str, methods: &'a [T], info: impl Fn(&T) -> &Self) -> Result<&'a T> {
        find_named("method", name, methods, |method| info(method).name)
    }
}
