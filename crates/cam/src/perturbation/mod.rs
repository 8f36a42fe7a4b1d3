//! Methods with passes of their own: they mask the input or a layer and watch the score, search, or look at other scores.

mod ablation;
mod cameras;
mod finer;
mod group;
mod iterated;
mod lift;
mod masks;
mod occlusion;
mod opti;
mod poly;
mod recipro;
mod refine;
mod rise;
mod score;
mod shapley;

pub use recipro::windows_of_places;

use crate::expectation::laid_out_activation;
use crate::{Definition, Fusion, Layout, fuse};
use candle_core::Tensor;
use faithful_baseline::BaselineSampler;
use faithful_core::{Error, Family, LayerId, Objective, Resolution, Result, Score, ScoreKind, Stream};
use std::num::NonZeroUsize;
use std::sync::Arc;

use poly::PolySign;

/// What a perturbation method may be told. Each reads what concerns it.
#[derive(Clone)]
pub struct PerturbationParameters {
    /// How often a random method draws: 35 for SS-CAM, 10 steps for IS-CAM, 4000 masks for RISE, 100 steps for Opti-CAM
    /// unless said.
    pub draws: Option<NonZeroUsize>,
    /// In how many sizes CAMERAS looks at a photo, 8 unless said; how many points Iterated Integrated Attributions have on either
    /// path, 10.
    pub points: Option<NonZeroUsize>,
    /// Only this many channels are tried, those whose activation varies most over places; all unless said.
    pub channels: Option<NonZeroUsize>,
    /// The standard deviation of SS-CAM's noise on masks in `[0, 1]`; 2.
    pub deviation: f64,
    /// Into how many groups Group-CAM puts the channels; 32.
    pub groups: NonZeroUsize,
    /// Below which percentile Group-CAM silences a mask; 70.
    pub percentile: f64,
    /// Along each axis, the cells of a RISE mask; 7.
    pub cells: NonZeroUsize,
    /// The probability that a cell of a RISE mask is open, in `(0, 1)`; one half.
    pub open: f64,
    /// The side of the square that occlusion hides, in pixels; a seventh of the input's shorter side unless said.
    pub window: Option<NonZeroUsize>,
    /// By how many pixels occlusion moves on; half the window unless said.
    pub stride: Option<NonZeroUsize>,
    /// What occlusion puts in the window's place, in the network's input space; 0.
    pub fill: f64,
    /// Noise of unit deviation from elsewhere, in place of the stream's: reproduces another program's draws.
    pub noise: Option<Arc<dyn BaselineSampler>>,
}

impl Default for PerturbationParameters {
    fn default() -> Self {
        let number = |n| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        Self {
            draws: None,
            points: None,
            channels: None,
            deviation: 2.0,
            groups: number(32),
            percentile: 70.0,
            cells: number(7),
            open: 0.5,
            window: None,
            stride: None,
            fill: 0.0,
            noise: None,
        }
    }
}

impl std::fmt::Debug for PerturbationParameters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PerturbationParameters")
            .field("draws", &self.draws)
            .field("channels", &self.channels)
            .field("groups", &self.groups)
            .finish_non_exhaustive()
    }
}

/// What a perturbation method is asked.
pub(crate) struct Perturbation<'a> {
    pub(crate) objective: Objective<'a>,
    /// What is explained; all share their forward passes.
    pub(crate) scores: &'a [&'a dyn Score],
    /// One image `(1, C, H, W)`; for a method at the input also a series `(1, C, T)`.
    pub(crate) input: &'a Tensor,
    /// Height and width; of a series its sensors and its time, which are masked apart from each other.
    pub(crate) size: [usize; 2],
    pub(crate) layers: &'a [LayerId],
    pub(crate) layout: Layout,
    pub(crate) fusion: Fusion,
    pub(crate) definition: Definition,
    pub(crate) stream: &'a Stream,
    pub(crate) parameters: &'a PerturbationParameters,
}

/// One method: a map `(1, h, w)` per score.
pub(crate) type PerturbationMethod = fn(&Perturbation<'_>) -> Result<Vec<Tensor>>;

/// A line of the table of perturbation methods.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) source: &'static str,
    pub(crate) family: Family,
    /// Where it takes gradients.
    pub(crate) gradients: Gradients,
    pub(crate) signed: bool,
    /// What of a class its authors explain.
    pub(crate) score: ScoreKind,
    pub(crate) draws: bool,
    pub(crate) at_input: bool,
    /// Where its map lives.
    pub(crate) resolution: Resolution,
    /// By how much the largest input that it looks at is higher and wider than the one that is explained.
    pub(crate) enlargement: f64,
    /// Whether it has a way of its own to make one map of several layers.
    pub(crate) multiplies: bool,
    /// Whether it tries channel by channel, of which there may be fewer ([`PerturbationParameters::channels`]).
    pub(crate) tries_channels: bool,
    pub(crate) method: PerturbationMethod,
}

/// Where a method with passes of its own takes gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gradients {
    /// Nowhere.
    None,
    /// At its layers.
    Layers,
    /// At the input.
    Input,
}

const LAYER: Entry = Entry {
    name: "",
    summary: "",
    source: "",
    family: Family::Perturbation,
    gradients: Gradients::None,
    signed: false,
    score: ScoreKind::Logit,
    draws: false,
    at_input: false,
    resolution: Resolution::Layer,
    enlargement: 1.0,
    multiplies: false,
    tries_channels: false,
    method: score::score_cam,
};

/// What methods without a target layer share.
const INPUT: Entry = Entry { at_input: true, resolution: Resolution::Input, ..LAYER };

/// Every perturbation method.
pub(crate) const PERTURBATIONS: &[Entry] = &[
    Entry {
        name: "score-cam",
        summary: "channels weighted by the score of the input seen through them",
        source: "Wang et al. 2020, Algorithm 1",
        tries_channels: true,
        ..LAYER
    },
    Entry {
        name: "ss-cam",
        summary: "Score-CAM, averaged over noise on the masks",
        source: "Naidu and Michael 2020, Eq. 5",
        draws: true,
        tries_channels: true,
        method: score::ss_cam,
        ..LAYER
    },
    Entry {
        name: "is-cam",
        summary: "Score-CAM, averaged over masks of rising strength",
        source: "Naidu et al. 2020, Eq. 7",
        tries_channels: true,
        method: score::is_cam,
        ..LAYER
    },
    Entry {
        name: "ablation-cam",
        summary: "channels weighted by how much of the score is lost without them",
        source: "Desai and Ramaswamy 2020, Eq. 5-6",
        tries_channels: true,
        method: ablation::ablation_cam,
        ..LAYER
    },
    Entry {
        name: "group-cam",
        summary: "groups of gradient-weighted channels, weighted by the score of the input seen through them",
        source: "Zhang et al. 2021, Eq. 3-8",
        score: ScoreKind::Probability,
        gradients: Gradients::Layers,
        method: group::group_cam,
        ..LAYER
    },
    Entry {
        name: "recipro-cam",
        summary: "the score when the layer is active around one place alone",
        source: "Byun and Lee 2022 (arXiv 2209.14074)",
        score: ScoreKind::Probability,
        method: recipro::recipro_cam,
        ..LAYER
    },
    Entry {
        name: "opti-cam",
        summary: "the channels' weights that make the network surest of what their map shows",
        source: "Zhang et al. 2023 (arXiv 2301.07002)",
        gradients: Gradients::Input,
        method: opti::opti_cam,
        ..LAYER
    },
    Entry {
        name: "poly-cam+",
        summary: "maps of several layers multiplied from coarse to fine, channels weighted by what they keep",
        source: "Englebert et al. 2022, Eq. 4-7",
        score: ScoreKind::Probability,
        multiplies: true,
        tries_channels: true,
        method: |perturbation| poly::poly_cam(perturbation, PolySign::Plus),
        ..LAYER
    },
    Entry {
        name: "poly-cam-",
        summary: "maps of several layers multiplied from coarse to fine, channels weighted by what their loss costs",
        source: "Englebert et al. 2022, Eq. 4-7",
        score: ScoreKind::Probability,
        multiplies: true,
        tries_channels: true,
        method: |perturbation| poly::poly_cam(perturbation, PolySign::Minus),
        ..LAYER
    },
    Entry {
        name: "poly-cam±",
        summary: "maps of several layers multiplied from coarse to fine, channels weighted by both",
        source: "Englebert et al. 2022, Eq. 4-7",
        score: ScoreKind::Probability,
        multiplies: true,
        tries_channels: true,
        method: |perturbation| poly::poly_cam(perturbation, PolySign::Both),
        ..LAYER
    },
    Entry {
        name: "lift-cam",
        summary: "channels weighted by what they contribute to the score, by DeepLIFT from a layer of zeros",
        source: "Jung and Oh 2021 (arXiv 2102.05228)",
        family: Family::Cam,
        gradients: Gradients::Layers,
        method: lift::lift_cam,
        ..LAYER
    },
    Entry {
        name: "shapley-cam",
        summary: "channels weighted by gradient minus half the curvature along the activation",
        source: "Cai 2025 (arXiv 2501.06261)",
        score: ScoreKind::LogitAndLogProbability,
        family: Family::Cam,
        gradients: Gradients::Layers,
        method: shapley::shapley_cam,
        ..LAYER
    },
    Entry {
        name: "finer-cam",
        summary: "Grad-CAM of a class's output less those of the classes most like it",
        source: "Zhang et al. 2025 (arXiv 2501.11309)",
        family: Family::Cam,
        gradients: Gradients::Layers,
        method: finer::finer_cam,
        ..LAYER
    },
    Entry {
        name: "refine-cam",
        summary: "the product of the Grad-CAM++ maps of several layers, coarse to fine",
        source: "Domeniconi et al. 2026 (arXiv 2605.14641)",
        family: Family::Cam,
        gradients: Gradients::Layers,
        multiplies: true,
        method: refine::refine_cam,
        ..LAYER
    },
    Entry {
        name: "cameras",
        summary: "activations times gradients of the photo in several sizes, at the photo's own resolution",
        source: "Jalwana et al. 2021 (CVPR), section 3",
        family: Family::Cam,
        gradients: Gradients::Layers,
        resolution: Resolution::Input,
        enlargement: cameras::ENLARGEMENT,
        method: cameras::cameras,
        ..LAYER
    },
    Entry {
        name: "iterated-integrated",
        summary: "activations times gradients along paths through the input and, from each of its points, the layer",
        source: "Barkan et al. 2023 (ICCV), Iterated Integrated Attributions",
        family: Family::Cam,
        gradients: Gradients::Layers,
        signed: true,
        method: iterated::iterated_integrated,
        ..LAYER
    },
    Entry {
        name: "rise",
        summary: "the mean of random masks, weighted by the score of the input seen through them",
        source: "Petsiuk et al. 2018, Eq. 6",
        score: ScoreKind::Probability,
        signed: true,
        draws: true,
        method: rise::rise,
        ..INPUT
    },
    Entry {
        name: "occlusion",
        summary: "how much of the score is lost when a window hides the place",
        source: "Zeiler and Fergus 2014, section 4.2",
        score: ScoreKind::Probability,
        signed: true,
        method: occlusion::occlusion,
        ..INPUT
    },
];

impl Perturbation<'_> {
    /// Whether the input is a series.
    fn is_series(&self) -> bool {
        self.input.rank() == 3
    }

    /// A mask `(1, 1, h, w)` in a shape that broadcasts to the input.
    fn mask(&self, mask: &Tensor) -> Result<Tensor> {
        Ok(if self.is_series() { mask.squeeze(1)? } else { mask.clone() })
    }

    /// The layers' activations `(1, C, h, w)`.
    fn activations(&self) -> Result<Vec<Tensor>> {
        let own = self.objective.network().activations(self.input, self.layers)?;
        own.iter()
            .map(|activation| {
                let activation = laid_out_activation(activation, self.input, self.layout)?;
                let shape = activation.dims().to_vec();
                if activation.rank() != self.input.rank() {
                    return Err(Error::shape(
                        "the target layer's output",
                        "(N, C, h, w), or (N, C, t) of a series",
                        &shape,
                    ));
                }
                Ok(activation)
            })
            .collect()
    }

    /// A method of one layer on each of the layers, fused: one map per score.
    fn each_layer(&self, one: impl Fn(&Tensor, LayerId) -> Result<Vec<Tensor>>) -> Result<Vec<Tensor>> {
        let activations = self.activations()?;
        let per_layer = activations
            .iter()
            .zip(self.layers)
            .map(|(activation, layer)| one(activation, *layer))
            .collect::<Result<Vec<_>>>()?;
        (0..self.scores.len())
            .map(|score| {
                let maps: Vec<Tensor> = per_layer.iter().map(|maps| maps[score].clone()).collect();
                fuse(&maps, self.fusion)
            })
            .collect()
    }
}
