use crate::candle_model::gradient_of;
use crate::not_finite::{check_gradients, check_input, check_values};
use crate::{Cotangents, LayerId, Network, Result, Score, Stop, Tap, VectorJacobianProducts};
use candle_core::{Tensor, Var};
use std::num::NonZeroUsize;
use std::ops::{ControlFlow, Range};

/// A layer's activation and the gradient of the score with respect to it.
///
/// Both are detached and of the same shape: `(N, C, h, w)` for images, `(N, C, t)` for series.
#[derive(Clone, Debug)]
pub struct LayerTrace {
    /// What the layer gave.
    pub activation: Tensor,
    /// The derivative of each row's score with respect to that row's activation.
    pub gradient: Tensor,
}

/// What one differentiation gives.
#[derive(Clone, Debug)]
pub struct Differentiated {
    /// The network's outputs `(N, K)`.
    pub outputs: Tensor,
    /// The scores `(N,)`.
    pub scores: Tensor,
    /// One trace per layer that was asked for, in that order.
    pub traces: Vec<LayerTrace>,
    /// The gradient with respect to the input, of the input's shape, where it was asked for.
    pub input_gradient: Option<Tensor>,
}

/// What [`Objective::sample`] takes of every draw.
#[derive(Clone, Copy)]
pub struct Sampling<'a> {
    /// What is differentiated; all share their forward passes.
    pub scores: &'a [&'a dyn Score],
    /// The layers whose traces are wanted.
    pub layers: &'a [LayerId],
    /// Whether the gradient with respect to the input is wanted.
    pub with_input: bool,
    /// How many draws at most.
    pub draws: usize,
    /// The rule by which `take` ends earlier.
    pub stop: Stop,
}

/// A network, the score that is explained, and how many rows go through at a time.
///
/// It is the only caller of a network's reverse pass outside of training. Rows are independent, so the batch limit
/// bounds memory and changes no result.
///
/// # Errors
/// Besides those of the network: [`Error::NotFinite`](crate::Error::NotFinite) where an input, an activation that was
/// asked for, an output or a gradient has NaN or infinity, with the layer where it began.
#[derive(Clone, Copy)]
pub struct Objective<'a> {
    network: &'a dyn Network,
    score: &'a dyn Score,
    batch: NonZeroUsize,
}

impl<'a> Objective<'a> {
    /// The objective of `score` on `network`, eight rows at a time.
    pub fn new(network: &'a dyn Network, score: &'a dyn Score) -> Self {
        Self { network, score, batch: NonZeroUsize::new(8).expect("eight is not zero") }
    }

    /// The same objective with at most `batch` rows at a time.
    pub fn with_batch(self, batch: NonZeroUsize) -> Self {
        Self { batch, ..self }
    }

    /// The same network and batch with another score.
    pub fn with_score<'b>(self, score: &'b dyn Score) -> Objective<'b>
    where
        'a: 'b,
    {
        Objective { network: self.network, score, batch: self.batch }
    }

    /// The network.
    pub fn network(&self) -> &'a dyn Network {
        self.network
    }

    /// The score.
    pub fn score(&self) -> &'a dyn Score {
        self.score
    }

    /// The batch limit.
    pub fn batch(&self) -> NonZeroUsize {
        self.batch
    }

    /// The outputs `(N, K)` of inputs `(N, …)`.
    pub fn outputs(&self, input: &Tensor) -> Result<Tensor> {
        let parts = chunks(input, self.batch)?;
        let outputs: Vec<Tensor> = parts.iter().map(|part| self.outputs_of(part)).collect::<Result<_>>()?;
        stack(&outputs)
    }

    fn outputs_of(&self, part: &Tensor) -> Result<Tensor> {
        check_input(part)?;
        let output = self.network.evaluate(part, &[])?.0;
        check_values(self.network, part, [&output])?;
        Ok(output)
    }

    /// The scores `(N,)` of inputs `(N, …)`, without gradients.
    pub fn scores(&self, input: &Tensor) -> Result<Tensor> {
        // Part by part: an output may be as large as a picture.
        let parts = chunks(input, self.batch)?;
        let scores: Vec<Tensor> =
            parts.iter().map(|part| self.score.score(&self.outputs_of(part)?)).collect::<Result<_>>()?;
        stack(&scores)
    }

    /// The scores `(N,)` of inputs `(N, …)` of which each differs from the one before in few places; see
    /// [`Network::evaluate_similar`].
    pub fn similar_scores(&self, input: &Tensor) -> Result<Tensor> {
        let parts = chunks(input, self.batch)?;
        let scores: Vec<Tensor> =
            parts.iter().map(|part| self.score.score(&self.network.evaluate_similar(part)?)).collect::<Result<_>>()?;
        stack(&scores)
    }

    /// The activations of `layers`, each `(N, …)`, without gradients.
    pub fn activations(&self, input: &Tensor, layers: &[LayerId]) -> Result<Vec<Tensor>> {
        let mut kept: Vec<Vec<Tensor>> = vec![Vec::new(); layers.len()];
        for part in chunks(input, self.batch)? {
            check_input(&part)?;
            let activations = self.network.activations(&part, layers)?;
            check_values(self.network, &part, &activations)?;
            for (kept, activation) in kept.iter_mut().zip(activations) {
                kept.push(activation);
            }
        }
        kept.iter().map(|parts| stack(parts)).collect()
    }

    /// The outputs `(N, K)` and the activations of `layers`, each `(N, …)`, without gradients.
    ///
    /// As [`differentiate_scores`](Self::differentiate_scores), several batches go together behind the last of the layers,
    /// where the network can start there.
    pub fn evaluate(&self, input: &Tensor, layers: &[LayerId]) -> Result<(Tensor, Vec<Tensor>)> {
        if input.dim(0)? > self.batch.get()
            && let Some((place, &last)) = layers.iter().enumerate().max_by_key(|(_, layer)| **layer)
            && self.network.can_vjp_from(last, &[Tap::Layer(last)])
        {
            let activations = self.activations(input, layers)?;
            // Behind the layer is a pass that no method has announced.
            self.network.announce(input.dim(0)?, 0);
            if let Some(output) = self.network.resume(last, &activations[place]) {
                let output = output?;
                check_values(self.network, input, [&output])?;
                return Ok((output, activations));
            }
        }
        let mut outputs = Vec::new();
        let mut kept: Vec<Vec<Tensor>> = vec![Vec::new(); layers.len()];
        for part in chunks(input, self.batch)? {
            check_input(&part)?;
            let (output, activations) = self.network.evaluate(&part, layers)?;
            check_values(self.network, &part, activations.iter().chain([&output]))?;
            outputs.push(output);
            for (kept, activation) in kept.iter_mut().zip(activations) {
                kept.push(activation);
            }
        }
        Ok((stack(&outputs)?, kept.iter().map(|parts| stack(parts)).collect::<Result<_>>()?))
    }

    /// The activation and gradient of `layers`.
    pub fn traces(&self, input: &Tensor, layers: &[LayerId]) -> Result<Vec<LayerTrace>> {
        Ok(self.differentiate(input, layers, false)?.traces)
    }

    /// The gradient of each row's score with respect to that row's input, of the input's shape.
    pub fn input_gradient(&self, input: &Tensor) -> Result<Tensor> {
        let differentiated = self.differentiate(input, &[], true)?;
        Ok(differentiated.input_gradient.expect("the input's gradient was asked for"))
    }

    /// Scores, traces of `layers` and, where `with_input`, the input's gradient, all from one pass.
    pub fn differentiate(&self, input: &Tensor, layers: &[LayerId], with_input: bool) -> Result<Differentiated> {
        let mut all = self.differentiate_scores(input, layers, with_input, &[self.score])?;
        Ok(all.pop().expect("one score was given"))
    }

    /// Like [`differentiate`](Self::differentiate) for several scores that share their forward pass, in their order.
    pub fn differentiate_scores(
        &self,
        input: &Tensor,
        layers: &[LayerId],
        with_input: bool,
        scores: &[&dyn Score],
    ) -> Result<Vec<Differentiated>> {
        let taps: Vec<Tap> =
            layers.iter().map(|&layer| Tap::Layer(layer)).chain(with_input.then_some(Tap::Input)).collect();
        let mut parts: Vec<Vec<Differentiated>> = vec![Vec::new(); scores.len()];
        for part in chunks(input, self.rows_together(input.dims(), layers, with_input))? {
            let mut values = Vec::new();
            let products = self.vjp(&part, &taps, &mut |output| {
                scores
                    .iter()
                    .map(|score| {
                        let (value, cotangent) = value_and_cotangent(*score, output)?;
                        values.push(value);
                        Ok(cotangent)
                    })
                    .collect()
            })?;
            check_values(self.network, &part, products.values.iter().chain([&products.output]))?;
            for (score, gradients) in scores.iter().zip(&products.gradients) {
                let cotangent = |output: &Tensor| Ok(value_and_cotangent(*score, output)?.1);
                check_gradients(self.network, &part, gradients, &cotangent)?;
            }
            for ((parts, mut gradients), value) in parts.iter_mut().zip(products.gradients).zip(values) {
                let input_gradient = with_input.then(|| gradients.pop().expect("the input is the last tap"));
                let pairs = products.values.iter().zip(gradients);
                let traces = pairs
                    .map(|(activation, gradient)| LayerTrace { activation: activation.clone(), gradient })
                    .collect();
                parts.push(Differentiated { outputs: products.output.clone(), scores: value, traces, input_gradient });
            }
        }
        parts.iter().map(|parts| join(parts)).collect()
    }

    /// Takes the gradients of up to so many draws, a batch or [several](Self::rows_together) at a time, until `take` has
    /// enough: every method whose result is an expectation over draws runs here.
    ///
    /// `draw` gives the points `(n, …)` of a range of draws, for inputs of shape `input`, and what else `take` is to know of
    /// them. Draws come in their order, so that a sum over them is the same whatever the batch.
    ///
    /// # Errors
    /// Those of `draw`, `take` and [`differentiate_scores`](Self::differentiate_scores).
    #[allow(clippy::type_complexity)] // What is drawn and taken is said where it is used.
    pub fn sample<C>(
        &self,
        sampling: &Sampling<'_>,
        input: &[usize],
        draw: &mut dyn FnMut(Range<usize>) -> Result<(Tensor, C)>,
        take: &mut dyn FnMut(Range<usize>, &Tensor, C, Vec<Differentiated>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let Sampling { scores, layers, with_input, draws, stop } = *sampling;
        self.network.announce(0, draws);
        let together = match stop {
            Stop::Draws => self.rows_together(input, layers, with_input),
            // What the rule may not need is not drawn ahead.
            _ => self.batch,
        };
        for start in (0..draws).step_by(together.get()) {
            let span = start..(start + together.get()).min(draws);
            let (points, context) = draw(span.clone())?;
            let all = self.differentiate_scores(&points, layers, with_input, scores)?;
            if take(span, &points, context, all)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// How many rows of an input `(N, …)` are best differentiated at a time: a batch, or several where the layers lie so
    /// late that what is kept of a row from them on is small. Such rows go batch by batch up to the first of the layers, and
    /// from there on together, so that the weights of large dense layers are read less often.
    pub fn rows_together(&self, input: &[usize], layers: &[LayerId], with_input: bool) -> NonZeroUsize {
        let times = if with_input { None } else { self.batches_together(input, layers) };
        self.batch.saturating_mul(times.unwrap_or(NonZeroUsize::MIN))
    }

    fn batches_together(&self, input: &[usize], layers: &[LayerId]) -> Option<NonZeroUsize> {
        /// How many times the numbers of a batch's inputs the activations at the first layer may have.
        const ROOM: usize = 5;
        let first = *layers.iter().min()?;
        let numbers: usize = self.network.layers().get(first.0)?.shape.iter().product();
        let own: usize = self.network.input_shape().or(input.get(1..))?.iter().product();
        let taps: Vec<Tap> = layers.iter().copied().map(Tap::Layer).collect();
        let times = NonZeroUsize::new((ROOM * own).checked_div(numbers)?)?;
        (times.get() > 1 && self.network.can_vjp_from(first, &taps)).then_some(times)
    }

    /// The vector-Jacobian products of the rows of `part`, which may be more than a batch where [`rows_together`](Self::rows_together) says so.
    fn vjp(&self, part: &Tensor, taps: &[Tap], cotangents: &mut Cotangents<'_>) -> Result<VectorJacobianProducts> {
        let first = taps.iter().filter_map(|tap| if let Tap::Layer(layer) = tap { Some(*layer) } else { None }).min();
        match first {
            Some(first) if part.dim(0)? > self.batch.get() => {
                let activation = self.activations(part, &[first])?.remove(0);
                self.network.vjp_from(first, &activation, taps, cotangents)
            }
            _ => {
                check_input(part)?;
                self.network.vjp(part, taps, cotangents)
            }
        }
    }
}

/// A score's value `(N,)` and its derivative with respect to the output `(N, K)`.
fn value_and_cotangent(score: &dyn Score, output: &Tensor) -> Result<(Tensor, Tensor)> {
    let output = Var::from_tensor(&output.detach())?;
    let value = score.score(output.as_tensor())?;
    let cotangent = gradient_of(&value.sum_all()?.backward()?, &output)?;
    Ok((value.detach(), cotangent))
}

fn chunks(input: &Tensor, batch: NonZeroUsize) -> Result<Vec<Tensor>> {
    let rows = input.dim(0)?;
    if rows <= batch.get() {
        return Ok(vec![input.clone()]);
    }
    let starts = (0..rows).step_by(batch.get());
    starts.map(|start| Ok(input.narrow(0, start, batch.get().min(rows - start))?)).collect()
}

fn stack(parts: &[Tensor]) -> Result<Tensor> {
    match parts {
        [one] => Ok(one.clone()),
        many => Ok(Tensor::cat(many, 0)?),
    }
}

fn join(parts: &[Differentiated]) -> Result<Differentiated> {
    if let [one] = parts {
        return Ok(one.clone());
    }
    let gather = |pick: &dyn Fn(&Differentiated) -> &Tensor| -> Result<Tensor> {
        stack(&parts.iter().map(|part| pick(part).clone()).collect::<Vec<_>>())
    };
    let traces = (0..parts[0].traces.len())
        .map(|i| {
            Ok(LayerTrace {
                activation: gather(&|part| &part.traces[i].activation)?,
                gradient: gather(&|part| &part.traces[i].gradient)?,
            })
        })
        .collect::<Result<_>>()?;
    let input_gradient = match parts[0].input_gradient {
        Some(_) => Some(gather(&|part| part.input_gradient.as_ref().expect("every part has it"))?),
        None => None,
    };
    Ok(Differentiated { outputs: gather(&|p| &p.outputs)?, scores: gather(&|p| &p.scores)?, traces, input_gradient })
}
