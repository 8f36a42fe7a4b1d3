use crate::estimator::{BaselineUse, Span};
use crate::rule::Estimate;
use crate::{EstimatorParameters, GradientEstimator, Layout};
use candle_core::{DType, Tensor};
use faithful_baseline::{Reference, References};
use faithful_core::{
    Convergence, Differentiated, Error, LayerId, LayerTrace, Monitor, Objective, Result, Sampling, Score, value_named,
};
use faithful_tensor::{RowFactors, add_rows, add_weighted_rows, row_dots, row_moments, row_sums};
use std::ops::{ControlFlow, Range};

/// By what each draw's gradient at a layer is multiplied: the path's derivative `x - x'`, as the layer sees it
/// (thesis, 4.3.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Difference {
    /// `A(x) - A(x'_s)`: the difference of the activations.
    ///
    /// The default: it is what completeness at the layer asks for, and on an ImageNet `MobileNetV2` its maps are more
    /// faithful than the encoded difference's.
    #[default]
    Activation,
    /// `A(x - x'_s)`: the activation of the difference, the thesis's words. One more forward pass per draw.
    Encoded,
    /// 1: the expectation of the gradient itself.
    None,
}

impl Difference {
    /// Every difference by the name under which it is asked for.
    pub const NAMES: &'static [(&'static str, Self)] =
        &[("activation", Self::Activation), ("encoded", Self::Encoded), ("none", Self::None)];

    /// The difference called `name`.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with suggestions.
    pub fn named(name: &str) -> Result<Self> {
        value_named("difference", name, Self::NAMES)
    }
}

/// What is asked of an estimator.
pub(crate) struct Request<'a> {
    pub(crate) objective: Objective<'a>,
    /// What is explained; all share their forward passes.
    pub(crate) scores: &'a [&'a dyn Score],
    /// `(1, …)`; `(N, …)` only for an estimator with a single gradient.
    pub(crate) input: &'a Tensor,
    pub(crate) layers: &'a [LayerId],
    /// What is wanted at the input too.
    pub(crate) at_input: AtInput,
    pub(crate) layout: Layout,
    pub(crate) difference: Difference,
    pub(crate) sensitivity: fn(&LayerTrace) -> Result<Vec<Tensor>>,
    /// Whether the mean difference from the baselines' activation follows the sensitivities' means.
    pub(crate) mean_difference: bool,
}

/// What is averaged at the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtInput {
    Nothing,
    /// The gradient.
    Gradient,
    /// `(x - x'_s)` times the gradient, or the gradient alone where there are no baselines.
    Attribution,
}

/// What an estimator found for one score.
pub(crate) struct Expectation {
    /// One per path.
    pub(crate) paths: Vec<PathExpectation>,
    /// The score of the input itself `(N,)`.
    pub(crate) score: Tensor,
    /// How the draws went, where there were some.
    pub(crate) convergence: Option<Convergence>,
    /// Per layer and row, what was attributed in total and what should have been; of draws, at the first layer alone. Empty where that
    /// is not defined.
    pub(crate) completeness: Vec<Vec<Completeness>>,
}

/// What one path gives.
pub(crate) struct PathExpectation {
    /// One per layer.
    pub(crate) layers: Vec<Estimate>,
    /// The mean of what was [asked for](AtInput) at the input.
    pub(crate) input: Option<Tensor>,
}

/// The two sides of the completeness axiom (thesis, Eq. 34).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Completeness {
    /// The sum of all that was attributed at the layer.
    pub attributed: f64,
    /// The score of the input minus the mean score of the baselines.
    pub expected: f64,
}

impl Completeness {
    /// `|attributed - expected|`.
    pub fn gap(&self) -> f64 {
        (self.attributed - self.expected).abs()
    }
}

/// Runs an estimator: one expectation per score.
pub(crate) fn expectations(
    estimator: &GradientEstimator,
    parameters: &EstimatorParameters,
    request: &Request<'_>,
) -> Result<Vec<Expectation>> {
    let run = |request: &Request<'_>| {
        if estimator.single { single(request) } else { sampled(estimator, parameters, request) }
    };
    let Some(propagation) = estimator.propagation else { return run(request) };
    let own = request.objective;
    let network = own.network().with_propagation(propagation)?;
    run(&Request { objective: Objective::new(&*network, own.score()).with_batch(own.batch()), ..*request })
}

/// One gradient, at the input.
fn single(request: &Request<'_>) -> Result<Vec<Expectation>> {
    let Request { objective, scores, input, layers, at_input, layout, sensitivity, .. } = request;
    let with_input = *at_input != AtInput::Nothing;
    let differentiated = objective.differentiate_scores(input, layers, with_input, scores)?;
    differentiated
        .into_iter()
        .map(|Differentiated { scores, traces, input_gradient, .. }| {
            let traces = traces.iter().map(|trace| laid_out(trace, input, *layout)).collect::<Result<Vec<_>>>()?;
            let completeness = traces.iter().map(|trace| euler(trace, &scores)).collect::<Result<_>>()?;
            let layers = traces
                .into_iter()
                .map(|trace| {
                    let activation = trace.activation.clone();
                    Ok(Estimate { activation, sensitivities: sensitivity(&trace)?, last: trace })
                })
                .collect::<Result<_>>()?;
            let paths = vec![PathExpectation { layers, input: input_gradient }];
            Ok(Expectation { paths, score: scores, convergence: None, completeness })
        })
        .collect()
}

/// A trace in the form that rules work on.
fn laid_out(trace: &LayerTrace, input: &Tensor, layout: Layout) -> Result<LayerTrace> {
    let layout = layout.resolve(input.dims(), trace.activation.dims())?;
    Ok(LayerTrace {
        activation: layout.channels_first(&trace.activation)?,
        gradient: layout.channels_first(&trace.gradient)?,
    })
}

/// An activation in the form that rules work on.
pub(crate) fn laid_out_activation(activation: &Tensor, input: &Tensor, layout: Layout) -> Result<Tensor> {
    layout.resolve(input.dims(), activation.dims())?.channels_first(activation)
}

/// Euler's identity for a score that is homogeneous in the layer: `sum g A = y`, per row.
fn euler(trace: &LayerTrace, scores: &Tensor) -> Result<Vec<Completeness>> {
    let sums = row_dots(&trace.gradient, &trace.activation)?;
    let pairs = sums.into_iter().zip(values(scores)?);
    Ok(pairs.map(|(attributed, expected)| Completeness { attributed, expected }).collect())
}

/// Running sums of one path, in the order of its draws.
#[derive(Clone, Default)]
struct Sums {
    /// Per layer, per sensitivity.
    layers: Vec<Vec<Option<Tensor>>>,
    /// Per layer, of the baselines' activations in f64, where their mean is wanted.
    there: Vec<Option<Tensor>>,
    input: Option<Tensor>,
    /// Per layer, the last draw.
    last: Vec<LayerTrace>,
    draws: usize,
}

/// Running sums of one score.
struct Running {
    paths: Vec<Sums>,
    monitor: Monitor,
    stopped: bool,
    /// The sum of difference times gradient over everything, at the first layer or, without layers, at the input.
    attributed: Option<f64>,
    baseline_score: f64,
    /// The sum of the squared norms of the first layer's first sensitivity.
    squares: f64,
}

/// What of one batch of draws belongs to one score.
struct Batch<'a> {
    differentiated: &'a Differentiated,
    /// The traces in the form that rules work on.
    traces: Vec<LayerTrace>,
    /// The scores of the baselines, per draw.
    baseline_scores: Vec<f64>,
    /// Per layer; none where the gradient is taken as it is.
    differences: Option<&'a [Differences]>,
    input_difference: Option<&'a Tensor>,
    first: usize,
}

/// What a batch of draws is multiplied by and compared with.
struct Place {
    /// Per layer; none where the gradient is taken as it is.
    differences: Option<Vec<Differences>>,
    input_difference: Option<Tensor>,
    /// The network's outputs for the baselines.
    baseline_outputs: Option<Tensor>,
}

/// `d_s` for every draw of a span, at one layer.
enum Differences {
    /// `(S, …)`.
    Whole(Tensor),
    /// `own - there_s`, each `(1, …)`.
    Between { own: Tensor, there: Vec<Tensor> },
}

impl Differences {
    /// `sum`, in f64, and the baselines' activations of the rows; each that several rows share is added once.
    fn add_starts(&self, sum: Option<Tensor>, rows: Range<usize>) -> Result<Tensor> {
        let Self::Between { there, .. } = self else {
            return Err(Error::internal("the mean of baselines whose activations are not known"));
        };
        let mut counts: Vec<(&Tensor, f64)> = Vec::new();
        for one in &there[rows] {
            match counts.iter_mut().find(|(known, _)| known.id() == one.id()) {
                Some((_, count)) => *count += 1.0,
                None => counts.push((one, 1.0)),
            }
        }
        let mut sum = match (sum, counts.first()) {
            (Some(sum), _) => sum,
            (None, Some((one, _))) => Tensor::zeros(one.shape(), DType::F64, one.device())?,
            (None, None) => return Err(Error::internal("the mean of no baselines")),
        };
        for (one, count) in counts {
            sum = add_weighted_rows(&sum, one, RowFactors::One, &[count])?;
        }
        Ok(sum)
    }

    fn factors(&self) -> RowFactors<'_> {
        match self {
            Self::Whole(differences) => RowFactors::Rows(differences),
            Self::Between { own, there } => RowFactors::Between { own, there },
        }
    }
}

fn sampled(
    estimator: &GradientEstimator,
    parameters: &EstimatorParameters,
    request: &Request<'_>,
) -> Result<Vec<Expectation>> {
    let Request { objective, scores, input, layers, at_input, layout, difference, .. } = request;
    let with_input = *at_input != AtInput::Nothing;
    if input.dims().first() != Some(&1) {
        return Err(Error::shape("the input of a sampled gradient", "one input (1, …)", input.dims()));
    }
    let network = objective.network();
    let (own_output, own_activations) = network.evaluate(input, layers)?;
    let own_activations = own_activations
        .iter()
        .map(|activation| laid_out_activation(activation, input, *layout))
        .collect::<Result<Vec<_>>>()?;
    let (draws, paths) = (parameters.draws.get(), parameters.paths.get());
    let uses_baselines = estimator.baselines != BaselineUse::None;
    let measured = uses_baselines && *difference == Difference::Activation && !layers.is_empty();
    let mut running = scores
        .iter()
        .map(|_| {
            let monitor = Monitor::new(parameters.stop)?;
            if monitor.needs_gap() && !measured {
                let reason = "convergence-delta needs the completeness gap: an estimator with baselines \
                              (integrated, expected) and the difference of activations";
                return Err(Error::parameter("stop", reason));
            }
            Ok(Running {
                paths: vec![Sums::default(); paths],
                monitor,
                stopped: false,
                attributed: (!layers.is_empty()).then_some(0.0),
                baseline_score: 0.0,
                squares: 0.0,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let own_scores: Vec<Tensor> = scores.iter().map(|score| score.score(&own_output)).collect::<Result<_>>()?;
    let mut baselines = References::new(&*parameters.sampler, &parameters.stream, input, parameters.cache.as_deref());

    let sampling = Sampling { scores, layers, with_input, draws: draws * paths, stop: parameters.stop };
    let draw = &mut |span: Range<usize>| {
        let references = if uses_baselines {
            let per_path = estimator.baselines == BaselineUse::PerPath || paths > 1;
            let indices: Vec<usize> = span.clone().map(|draw| if per_path { draw / draws } else { draw }).collect();
            baselines.draw(objective, &indices, layers, measured)?
        } else {
            Vec::new()
        };
        let from = cat(&references, |reference| Some(&reference.baseline))?;
        let place = Span { input, baselines: from.as_ref(), parameters, draws: span };
        let points = (estimator.points)(&place)?;
        let differences = layer_differences(request, &references, from.as_ref(), &own_activations)?;
        let input_difference = match &from {
            Some(from) if *at_input == AtInput::Attribution => Some(input.broadcast_sub(from)?),
            _ => None,
        };
        let baseline_outputs = if measured { cat(&references, |reference| reference.output.as_ref())? } else { None };
        Ok((points, Place { differences, input_difference, baseline_outputs }))
    };
    objective.sample(&sampling, input.dims(), draw, &mut |span, points, place, all| {
        for (((differentiated, running), score), own) in all.iter().zip(&mut running).zip(*scores).zip(&own_scores) {
            let baseline_scores = match &place.baseline_outputs {
                Some(outputs) => values(&score.score(outputs)?)?,
                None => Vec::new(),
            };
            let traces = differentiated.traces.iter().map(|trace| laid_out(trace, points, *layout));
            let batch = Batch {
                differentiated,
                traces: traces.collect::<Result<_>>()?,
                baseline_scores,
                differences: place.differences.as_deref(),
                input_difference: place.input_difference.as_ref(),
                first: span.start,
            };
            running.take(&batch, request, draws, values(own)?[0])?;
        }
        Ok(if running.iter().all(|running| running.stopped) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    })?;
    running.into_iter().zip(own_scores).map(|(running, score)| running.finish(score, &own_activations)).collect()
}

impl Running {
    /// Adds a batch of draws, one after the other, up to the one at which the rule is satisfied.
    fn take(&mut self, batch: &Batch<'_>, request: &Request<'_>, per_path: usize, own_score: f64) -> Result<()> {
        if self.stopped {
            return Ok(());
        }
        let traces = &batch.traces;
        let factors = |layer: usize| batch.differences.map_or(RowFactors::One, |all| all[layer].factors());
        let sensitivities: Vec<Vec<Tensor>> = traces.iter().map(request.sensitivity).collect::<Result<_>>()?;
        let moments = traces.first().map(|trace| row_moments(&trace.gradient, factors(0))).transpose()?;
        let at_input = match (&batch.differentiated.input_gradient, batch.input_difference) {
            (Some(gradient), Some(difference)) => Some((gradient * difference)?),
            (gradient, _) => gradient.clone(),
        };
        let attributed: Option<Vec<f64>> = match &moments {
            Some(moments) => Some(moments.iter().map(|[sum, _]| *sum).collect()),
            None => at_input.as_ref().map(row_sums).transpose()?,
        };
        let squares: Vec<f64> = match (sensitivities.first().and_then(|all| all.first()), traces.first()) {
            // A rule of the gradient itself, whose squares are known.
            (Some(first), Some(trace)) if first.id() == trace.gradient.id() => {
                moments.iter().flatten().map(|[_, square]| *square).collect()
            }
            (Some(first), _) => row_moments(first, factors(0))?.iter().map(|[_, square]| *square).collect(),
            (None, _) => at_input.as_ref().map_or_else(|| Ok(Vec::new()), |all| row_dots(all, all))?,
        };
        let rows = batch.differentiated.scores.dim(0)?;
        let mut taken = 0;
        while taken < rows && !self.stopped {
            let path = (batch.first + taken) / per_path;
            let start = taken;
            while taken < rows && (batch.first + taken) / per_path == path && !self.stopped {
                let row = taken;
                let gradient_sum = attributed.as_ref().map_or(0.0, |attributed| attributed[row]);
                if let Some(sum) = &mut self.attributed {
                    *sum += gradient_sum;
                }
                self.squares += squares.get(row).unwrap_or(&0.0);
                let gap = batch.baseline_scores.get(row).map(|baseline| gradient_sum - (own_score - baseline));
                self.baseline_score += batch.baseline_scores.get(row).unwrap_or(&0.0);
                self.stopped = self.monitor.record(gradient_sum, gap);
                taken += 1;
            }
            let sums = &mut self.paths[path];
            sums.draws += taken - start;
            sums.layers.resize(traces.len(), Vec::new());
            for (layer, (sums, sensitivities)) in sums.layers.iter_mut().zip(&sensitivities).enumerate() {
                sums.resize(sensitivities.len(), None);
                for (sum, sensitivity) in sums.iter_mut().zip(sensitivities) {
                    *sum = Some(add_rows(sum.as_ref(), sensitivity, factors(layer), start..taken)?);
                }
            }
            if let Some(differences) = batch.differences.filter(|_| request.mean_difference) {
                sums.there.resize(traces.len(), None);
                for (sum, differences) in sums.there.iter_mut().zip(differences) {
                    *sum = Some(differences.add_starts(sum.take(), start..taken)?);
                }
            }
            if let Some(at_input) = &at_input {
                sums.input = Some(add_rows(sums.input.as_ref(), at_input, RowFactors::One, start..taken)?);
            }
            // Only a path's last draw is kept.
            if self.stopped || (batch.first + taken).is_multiple_of(per_path) {
                sums.last = last_row(traces, taken - 1)?;
            }
        }
        Ok(())
    }

    fn finish(self, score: Tensor, activations: &[Tensor]) -> Result<Expectation> {
        let own_score = values(&score)?[0];
        let squared_norm = self.squared_norm_of_mean()?;
        let mut convergence = self.monitor.finish();
        let drawn = convergence.draws as f64;
        let variance = (self.squares - drawn * squared_norm) / (drawn - 1.0);
        if drawn > 1.0 && squared_norm > 0.0 {
            convergence.standard_error = Some((variance.max(0.0) / drawn / squared_norm).sqrt());
        }
        let of_first = self.attributed.map(|attributed| {
            let reached = convergence.delta.map(|_| Completeness {
                attributed: attributed / drawn,
                expected: own_score - self.baseline_score / drawn,
            });
            reached.into_iter().collect()
        });
        let completeness = of_first.into_iter().collect();
        // Paths that a stopping rule never reached have nothing to say.
        let paths = self.paths.into_iter().filter(|path| path.draws > 0);
        let paths = paths.map(|sums| mean(sums, activations)).collect::<Result<_>>()?;
        Ok(Expectation { paths, score, convergence: Some(convergence), completeness })
    }

    /// Of the mean over all draws of the first layer's first sensitivity.
    fn squared_norm_of_mean(&self) -> Result<f64> {
        let mut total: Option<Tensor> = None;
        let mut draws = 0;
        for path in &self.paths {
            draws += path.draws;
            let first = path.layers.first().and_then(|all| all.first()).unwrap_or(&path.input);
            if let Some(first) = first {
                total = Some(add_rows(total.as_ref(), first, RowFactors::One, 0..1)?);
            }
        }
        let Some(total) = total else { return Ok(0.0) };
        Ok(row_dots(&total, &total)?[0] / (draws as f64).powi(2))
    }
}

/// One row of every trace.
fn last_row(traces: &[LayerTrace], row: usize) -> Result<Vec<LayerTrace>> {
    let one = |x: &Tensor| -> Result<Tensor> { Ok(x.narrow(0, row, 1)?.copy()?) };
    traces
        .iter()
        .map(|trace| Ok(LayerTrace { activation: one(&trace.activation)?, gradient: one(&trace.gradient)? }))
        .collect()
}

fn mean(sums: Sums, activations: &[Tensor]) -> Result<PathExpectation> {
    let share = 1.0 / sums.draws as f64;
    let sums_there = sums.there;
    let layers = sums
        .layers
        .into_iter()
        .zip(activations)
        .zip(sums.last)
        .enumerate()
        .map(|(layer, ((sums, activation), last))| {
            let mut sensitivities: Vec<Tensor> =
                sums.into_iter().flatten().map(|sum| Ok((sum * share)?)).collect::<Result<_>>()?;
            if let Some(there) = sums_there.get(layer).and_then(Option::as_ref) {
                let difference = (activation.to_dtype(DType::F64)? - (there * share)?)?;
                sensitivities.push(difference.to_dtype(activation.dtype())?);
            }
            Ok(Estimate { activation: activation.clone(), sensitivities, last })
        })
        .collect::<Result<_>>()?;
    let input = sums.input.map(|sum| sum * share).transpose()?;
    Ok(PathExpectation { layers, input })
}

/// `d_s` for every draw of a span, per layer; none where the gradient is taken as it is.
fn layer_differences(
    request: &Request<'_>,
    references: &[Reference],
    from: Option<&Tensor>,
    own: &[Tensor],
) -> Result<Option<Vec<Differences>>> {
    let Some(from) = from else { return Ok(None) };
    match request.difference {
        Difference::None => Ok(None),
        Difference::Encoded => {
            let difference = request.input.broadcast_sub(from)?;
            let encoded = request.objective.activations(&difference, request.layers)?;
            let encoded = encoded.iter().map(|one| laid_out_activation(one, &difference, request.layout));
            Ok(Some(encoded.map(|one| Ok(Differences::Whole(one?))).collect::<Result<_>>()?))
        }
        Difference::Activation => {
            let pairs = request.layers.iter().zip(own);
            let differences = pairs
                .map(|(layer, own)| {
                    let there = references.iter().map(|reference| {
                        let there = reference.activations.get(layer);
                        let there = there.ok_or_else(|| Error::internal("a baseline whose activation was not kept"))?;
                        laid_out_activation(there, from, request.layout)
                    });
                    Ok(Differences::Between { own: own.clone(), there: there.collect::<Result<_>>()? })
                })
                .collect::<Result<_>>()?;
            Ok(Some(differences))
        }
    }
}

fn cat<'a>(references: &'a [Reference], pick: impl Fn(&'a Reference) -> Option<&'a Tensor>) -> Result<Option<Tensor>> {
    let rows: Vec<&Tensor> = references.iter().filter_map(pick).collect();
    if rows.is_empty() {
        return Ok(None);
    }
    Ok(Some(Tensor::cat(&rows, 0)?))
}

/// A vector `(N,)` in f64.
pub(crate) fn values(x: &Tensor) -> Result<Vec<f64>> {
    Ok(x.to_dtype(DType::F64)?.to_vec1()?)
}
