//! Hyper Expected Grad-CAM: high resolution and class-discriminative, from class activation maps alone.

mod baseline;
mod decomposition;
mod dependency;
mod evidence;
pub mod formula;
mod fusion;
mod placement;
mod quality;
mod refinement;
mod rounds;
mod scale;
mod stage;

use crate::accumulation::accumulate;
use crate::expectation::{AtInput, Difference, PathExpectation, Request};
use crate::method::Explanation;
use crate::{CamParameters, EstimatorParameters, rule};
use candle_core::{DType, Tensor};
use faithful_baseline::{AlphaSampler, Blurred};
use faithful_core::{Error, Grid, LayerId, Objective, Probabilities, Result, Score};
use faithful_tensor::{log_softmax, softmax};
use std::sync::Arc;

pub use decomposition::{DecompositionParameters, Filter, FrequencyMap, Level, decompose, decomposition_layers};
pub use dependency::{DependencyParameters, Supermap, Weighting};
pub use evidence::Evidence;
pub use fusion::{Combination, Fused, FusionParameters, fuse_parts};
pub use quality::Quality;
pub use refinement::{Calibration, Mixture, Refined, Refinement};
pub use scale::{SOFT_STEEPNESS, soft_scale};
pub use stage::{Stage, StageParameters, StagePlan, plan_stages};

use baseline::PartlyBlurred;
use decomposition::Levels;
use dependency::{Neighbourhoods, feature_dependencies};
use placement::placed;
use refinement::{Scorer, refine};
use rounds::{Asked, Drawn, draw_in_rounds};

/// What the channels' weights of the base map are multiplied by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BaseMap {
    /// The activation: Expected Grad-CAM at the target layer, as the thesis has it. An activation that the baselines have too, of an empty
    /// background, is part of it.
    Activation,
    /// The expected difference from the baselines' activation: what the input adds to them. It is 0 where the input is as its
    /// baselines are; the default.
    #[default]
    Difference,
}

impl BaseMap {
    /// Its name: `activation` or `difference`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Activation => "activation",
            Self::Difference => "difference",
        }
    }
}

/// What Hyper Expected Grad-CAM may be told beyond draws and baselines.
#[derive(Clone, Debug, PartialEq)]
pub struct HyperParameters {
    /// The share of draws, in `[0, 1]`, whose baseline is the blurred input instead of the sampler's; one half. An input that
    /// is one pixel wide or high cannot be blurred.
    pub blurred: f64,
    /// The width of that blur, a Gaussian's standard deviation in pixels; 5.
    pub blur: f64,
    /// Whether places on the paths are stratified where the estimator's are uniform: each draw has a share of the path of its own,
    /// and maps of two seeds differ less. On.
    pub stratified: bool,
    /// The first map of all.
    pub base: BaseMap,
    /// Part I.
    pub stages: StageParameters,
    /// Part II.
    pub dependencies: DependencyParameters,
    /// Part III.
    pub decomposition: DecompositionParameters,
    /// Part IV.
    pub fusion: FusionParameters,
    /// What becomes of part IV's map; by default nothing.
    pub refinement: Refinement,
    /// Whether outputs become log probabilities before they are scored, so that what speaks for other classes too
    /// counts less. Under a softmax, networks with a single output are left as they are. On.
    pub contrast: bool,
    /// How the network's outputs become probabilities.
    pub probabilities: Probabilities,
    /// The rank correlation with the map of another seed, in `[0, 1]`, for which draws are added, up to twice those asked for; none
    /// are added without it. It is told from two halves of the draws.
    pub agreement: Option<f64>,
}

impl Default for HyperParameters {
    fn default() -> Self {
        Quality::Standard.parameters()
    }
}

/// Everything that one explanation went through.
#[derive(Clone, Debug)]
pub struct HyperParts {
    /// `(1, h, w)`, not negative: Expected Grad-CAM at the target layer, of the activation or of what the input adds to the
    /// baselines ([`BaseMap`]).
    pub base: Tensor,
    /// Part I.
    pub plan: StagePlan,
    /// Part II, coarsest stage first.
    pub supermaps: Vec<Supermap>,
    /// Part III.
    pub frequency: FrequencyMap,
    /// Part IV.
    pub fused: Fused,
    /// What became of it.
    pub refined: Refined,
    /// The rank correlation that the map of another seed would have with that of parts I, III and IV, as told from the draws' rounds; none with
    /// very few draws or a stopping rule.
    pub agreement: Option<f64>,
    /// The explanation: the map on its soft scale (signed), or calibrated, the scores that were asked for and how the draws went. The
    /// standard error is that of the positive part of the map on its soft scale.
    pub explanation: Explanation,
}

impl HyperParts {
    /// Every intermediate map `(1, …)` with a name for its file.
    pub fn maps(&self) -> Vec<(String, &Tensor)> {
        let mut maps = vec![("base".to_owned(), &self.base)];
        maps.extend(self.supermaps.iter().map(|supermap| {
            let [height, width] = supermap.stage.side;
            (format!("stage-{height}x{width}"), &supermap.map)
        }));
        for (place, level) in self.frequency.levels.iter().enumerate() {
            maps.push((format!("level-{place}"), &level.map));
            maps.push((format!("detail-{place}"), &level.detail));
        }
        maps.push(("frequency".to_owned(), &self.frequency.map));
        maps.extend(self.fused.stages.iter().map(|stages| ("stages".to_owned(), stages)));
        maps.push(("combined".to_owned(), &self.fused.combined));
        maps.push(("refined".to_owned(), &self.refined.map));
        maps
    }
}

/// Explains an image `(1, C, H, W)` at a target layer by Hyper Expected Grad-CAM, one set of parts per score
/// (Buono and Åkesson 2023, 4.8).
///
/// Part III needs one tracked pass with the gradients of all its layers; the base map of part I comes from the same
/// draws. Of `parameters`, the estimator's draws, sampler, alphas, stream and cache count, and
/// [`CamParameters::hyper`].
///
/// # Errors
/// [`Error::Shape`] for an input that is no single image or a target layer without places; what the parts refuse.
pub fn hyper_parts(
    objective: &Objective<'_>,
    input: &Tensor,
    layer: LayerId,
    scores: &[&dyn Score],
    parameters: &CamParameters,
) -> Result<Vec<HyperParts>> {
    let [1, _, height, width] = *input.dims() else {
        let expected = "one image (1, C, H, W)";
        return Err(Error::shape("the input of Hyper Expected Grad-CAM", expected, input.dims()));
    };
    let size = [height, width];
    let HyperParameters {
        blurred,
        blur,
        stratified,
        stages,
        dependencies,
        fusion,
        refinement,
        contrast,
        probabilities,
        agreement,
        ..
    } = &parameters.hyper;
    if !(0.0..=1.0).contains(blurred) {
        return Err(Error::parameter("blurred", format!("{blurred} is outside [0, 1]")));
    }
    if let Some(wanted) = agreement.filter(|wanted| !(0.0..=1.0).contains(wanted)) {
        return Err(Error::parameter("agreement", format!("{wanted} is outside [0, 1]")));
    }
    let sampler = PartlyBlurred {
        sampler: Arc::clone(&parameters.gradient.sampler),
        blurred: Blurred { sigmas: vec![*blur] },
        share: if height.min(width) > 1 { *blurred } else { 0.0 },
    };
    let mut own = EstimatorParameters { sampler: Arc::new(sampler), ..parameters.gradient.clone() };
    if *stratified && own.alphas == AlphaSampler::Uniform {
        own.alphas = AlphaSampler::Stratified;
    }
    let contrasted: Vec<OfClasses<'_>> = scores
        .iter()
        .map(|score| OfClasses { score: *score, turned: contrast.then_some((*probabilities, true)) })
        .collect();
    let explained: Vec<&dyn Score> = contrasted.iter().map(|score| score as &dyn Score).collect();
    let levels = Levels::of(objective.network(), layer)?;
    let layers: Vec<LayerId> = levels.layers.iter().flatten().copied().collect();
    let request = Request {
        objective: *objective,
        scores: &explained,
        input,
        layers: &layers,
        at_input: AtInput::Nothing,
        layout: parameters.layout,
        difference: Difference::Activation,
        sensitivity: rule::gradient,
        mean_difference: true,
    };
    objective.network().announce(refinement.rows() * scores.len(), 0);
    let asked = Asked { request, estimator: &own, levels: &levels, hyper: &parameters.hyper, size };
    let found = draw_in_rounds(&asked)?;
    let asked_scores = objective.network().evaluate(input, &[])?.0;
    let hidden = parameters.gradient.sampler.sample(input, &parameters.gradient.stream, 0..1)?;
    let mut parts = Vec::with_capacity(found.len());
    for (index, one) in found.into_iter().enumerate() {
        let Drawn { base, maps, convergence, agreement } = one;
        let Together { frequency, enlarged, fused } = put_together(&base, &maps, &levels, size, &parameters.hyper)?;
        // Nothing that a map could show: the stages would look for it in vain.
        let silent = frequency.map.abs()?.to_dtype(DType::F64)?.max_all()?.to_scalar::<f64>()? == 0.0;
        let plan = plan_stages(&base, size, stages)?;
        let neighbourhoods = Neighbourhoods {
            objective: *objective,
            scores: &explained[index..=index],
            input,
            layer,
            layout: parameters.layout,
            estimator: &own,
            parameters: *dependencies,
        };
        let wanted = if silent { &[][..] } else { &plan.stages[..] };
        let supermaps = feature_dependencies(&neighbourhoods, wanted)?.pop().unwrap_or_default();
        let maps: Vec<Tensor> = supermaps.iter().map(|supermap| supermap.map.clone()).collect();
        let fused = if maps.is_empty() { fused } else { fuse_parts(&maps, &frequency.map, &enlarged, fusion)? };
        let probable = OfClasses { score: scores[index], turned: contrast.then_some((*probabilities, false)) };
        let scorer = Scorer { objective: objective.with_score(&probable), input, hidden: &hidden };
        let refinement = if silent { &Refinement::None } else { refinement };
        let refined = refine(&scorer, &fused.combined, plan.inflate, refinement)?;
        let explanation = Explanation {
            map: refined.calibrated.clone(),
            score: scores[index].score(&asked_scores)?,
            convergence: vec![convergence],
            completeness: Vec::new(),
        };
        parts.push(HyperParts { base, plan, supermaps, frequency, fused, refined, agreement, explanation });
    }
    Ok(parts)
}

/// The first map of all, `(1, h, w)`, not negative, averaged over paths.
fn base_map(paths: &[PathExpectation], base: BaseMap) -> Result<Tensor> {
    let grad_cam = rule("grad-cam")?;
    let mut sum: Option<Tensor> = None;
    for path in paths {
        let missing = || Error::internal("a path of the expectation without a target layer");
        let mut target = path.layers.last().ok_or_else(missing)?.clone();
        if target.activation.rank() != 4 {
            let expected = "(1, C, h, w): a target layer with places down and across";
            return Err(Error::shape("the target layer's output", expected, target.activation.dims()));
        }
        if base == BaseMap::Difference {
            target.activation = target.sensitivities.get(1).ok_or_else(missing)?.clone();
        }
        accumulate(&mut sum, &((grad_cam.map)(&target)? / paths.len() as f64)?, 1.0)?;
    }
    sum.ok_or_else(|| Error::internal("an expectation without a path"))
}

/// Parts III and IV without stages.
struct Together {
    frequency: FrequencyMap,
    /// `(1, H, W)`: the base map at the input's size.
    enlarged: Tensor,
    fused: Fused,
}

fn put_together(
    base: &Tensor,
    maps: &[Tensor],
    levels: &Levels,
    size: [usize; 2],
    hyper: &HyperParameters,
) -> Result<Together> {
    let frequency = decompose(&levels.layers, maps, &levels.grids, size, &hyper.decomposition)?;
    let grid = levels.grids.last().copied().flatten();
    let places = [base.dim(1)?, base.dim(2)?];
    let enlarged = placed(base, &grid.unwrap_or_else(|| Grid::even(size, places)), size)?;
    let fused = fuse_parts(&[], &frequency.map, &enlarged, &hyper.fusion)?;
    Ok(Together { frequency, enlarged, fused })
}

/// A score of the probabilities of classes, or of their logarithms; a single output under a softmax stays as it is, for
/// its softmax is 1 whatever it is.
struct OfClasses<'a> {
    score: &'a dyn Score,
    /// The probabilities, what a person would read, or (`true`) their logarithms, in which what is the same for all classes
    /// does not count.
    turned: Option<(Probabilities, bool)>,
}

impl Score for OfClasses<'_> {
    fn score(&self, output: &Tensor) -> Result<Tensor> {
        match self.turned {
            Some((Probabilities::Softmax, logarithm)) if output.rank() == 2 && output.dim(1)? > 1 => {
                self.score.score(&if logarithm { log_softmax(output, 1)? } else { softmax(output, 1)? })
            }
            Some((Probabilities::Sigmoid, logarithm)) => {
                let log = Probabilities::Sigmoid.log_of(output)?;
                self.score.score(&if logarithm { log } else { log.exp()? })
            }
            _ => self.score.score(output),
        }
    }
}
