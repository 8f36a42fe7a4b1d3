//! The map of a network that is written already.

use super::draws::{Draws, Given, Plan, drawn, midpoints, one_more, rows};
use super::file::value;
use super::layout::channels_first;
use super::rules::{Rule, Trace};
use super::{AtInput, Export, Formula, Guide, Statistic, score};
use crate::Method;
use faithful_baseline::BaselineSampler;
use faithful_cam::{BaselineUse, Difference, Layout};
use faithful_core::{BackwardRule, Error, Network, Result};
use faithful_gradient::{ExpectedGradients, Integration, SmoothGrad};
use faithful_model::export::{OnnxWriter, Symbol};
use faithful_model::{Graph, Model, NodeId};
use std::num::NonZeroUsize;

/// A network with the classes that are explained.
pub(super) struct Explained<'a> {
    pub(super) export: &'a Export,
    pub(super) model: &'a Model,
    pub(super) input: &'a Symbol,
    /// What was written for the network's nodes.
    pub(super) values: &'a [Option<Symbol>],
    pub(super) layers: &'a [NodeId],
    pub(super) layout: Layout,
    /// 1 at each row's class.
    pub(super) hot: &'a Symbol,
}

impl Explained<'_> {
    pub(super) fn graph(&self) -> &Graph {
        &self.model.graph
    }

    pub(super) fn layer(&self) -> Result<NodeId> {
        match self.layers {
            &[layer] => Ok(layer),
            _ => Err(Error::parameter("layer", "one target layer is written at a time")),
        }
    }

    /// The map `(N, h, w)`, as the export wants it.
    pub(super) fn write(&self, writer: &mut OnnxWriter, formula: &Formula) -> Result<Symbol> {
        let map = match formula {
            Formula::Rule(rule, guide) => self.rule(writer, rule, *guide)?,
            Formula::AtInput(kind, rule) => self.at_input(writer, *kind, *rule)?,
            Formula::FullGrad => self.full_grad(writer)?,
            Formula::Reciprocal => self.reciprocal(writer)?,
            Formula::Channels => self.channels(writer)?,
            Formula::Hyper => self.hyper(writer)?,
        };
        writer.enter("map");
        if self.export.display { self.displayed(writer, &map) } else { Ok(map) }
    }

    /// The score's gradient at the outputs `values` of rows, each row's class repeated `count` times.
    fn cotangent(&self, writer: &mut OnnxWriter, values: &[Option<Symbol>], count: usize) -> Result<Symbol> {
        writer.enter("score");
        let logits = value(values, self.graph().output())?;
        let hot = self.repeated_classes(writer, count)?;
        score::cotangent(writer, &logits, &hot, self.export.score, self.model.probabilities)
    }

    fn repeated_classes(&self, writer: &mut OnnxWriter, count: usize) -> Result<Symbol> {
        if count == 1 {
            return Ok(self.hot.clone());
        }
        let apart = writer.reshape(self.hot, &one_more(self.hot, 1))?;
        let all = writer.expand(&apart, &one_more(self.hot, count))?;
        writer.reshape(&all, &rows(self.hot, count))
    }

    /// Gradients at `taps` for rows that were written as `values`.
    pub(super) fn gradients(
        &self,
        writer: &mut OnnxWriter,
        values: &[Option<Symbol>],
        (count, rule, prefix): (usize, BackwardRule, &str),
        taps: &[NodeId],
    ) -> Result<Vec<Symbol>> {
        let seed = self.cotangent(writer, values, count)?;
        let from = self.graph().output();
        writer.gradients(self.graph(), values, (from, seed), taps, rule, prefix)
    }

    // Class activation maps.

    fn rule(&self, writer: &mut OnnxWriter, rule: &Rule, guide: Option<Guide>) -> Result<Symbol> {
        let layer = self.layer()?;
        let draws = self.cam_draws()?;
        let own = channels_first(writer, &value(self.values, layer)?, self.layout)?;
        if own.rank() < 3 {
            let expected =
                "(N, C, h, w) or (N, C, t); choose a layer that still has places, before pooling and flattening";
            return Err(Error::shape("the target layer's output", expected, &own.nominal()));
        }
        let guided = guide == Some(Guide::Attribution);
        let taps: Vec<NodeId> = [layer].into_iter().chain(guided.then(|| self.graph().input())).collect();
        let (sensitivities, attribution) = match draws {
            None => {
                let found = self.gradients(writer, self.values, (1, BackwardRule::Plain, ""), &taps)?;
                writer.enter("map");
                let gradient = channels_first(writer, &found[0], self.layout)?;
                let trace = Trace { activation: own.clone(), gradient };
                ((rule.sensitivity)(writer, &trace)?, found.get(1).cloned())
            }
            Some(plan) => self.expected(writer, rule, &plan, &own, &taps)?,
        };
        writer.enter("map");
        let map = (rule.map)(writer, &own, &sensitivities)?;
        let Some(guide) = guide else { return Ok(map) };
        let attribution = if let (Guide::Attribution, Some(attribution)) = (guide, attribution) {
            attribution
        } else {
            let input = [self.graph().input()];
            self.gradients(writer, self.values, (1, BackwardRule::Guided, "guided/"), &input)?.remove(0)
        };
        writer.enter("map");
        let enlarged = self.enlarged(writer, &map)?;
        let product = writer.mul(&attribution, &enlarged)?;
        Ok(plane(writer, &product))
    }

    /// The draws of the estimator under the rule; none for a plain gradient.
    fn cam_draws(&self) -> Result<Option<Plan<'_>>> {
        let Method::Cam { method, gradient, .. } = self.export.method else { return Ok(None) };
        let Some(estimator) = gradient.or(method.estimator()) else { return Ok(None) };
        if estimator.propagation.is_some() {
            return Err(Error::Unsupported(vec![format!("the gradient `{}` as ONNX's operators", estimator.name)]));
        }
        if estimator.single {
            return Ok(None);
        }
        let settings = &self.export.settings;
        let count = settings.draws.map_or(50, NonZeroUsize::get);
        let stream = self.export.stream();
        let shared = estimator.baselines == BaselineUse::PerPath;
        let baselines = (estimator.baselines != BaselineUse::None).then_some((&*settings.sampler as _, shared));
        let places = match estimator.name {
            "integrated" => Some(midpoints(count)),
            "expected" | "expected-smooth" => Some(drawn(settings.alphas, &stream, count)),
            "smooth" => None,
            other => return Err(Error::Unsupported(vec![format!("the gradient `{other}` as ONNX's operators")])),
        };
        let noisy = matches!(estimator.name, "smooth" | "expected-smooth");
        let noise = noisy.then(|| (settings.spread, stream.derive("neighbourhood")));
        let given = Given { baselines: self.export.given, places: self.export.given && estimator.name != "integrated" };
        Ok(Some(Plan { count, places, baselines, noise, stream, given }))
    }

    /// The means of a rule's sensitivities over draws, and of the attribution at the input where that is a tap.
    fn expected(
        &self,
        writer: &mut OnnxWriter,
        rule: &Rule,
        plan: &Plan<'_>,
        own: &Symbol,
        taps: &[NodeId],
    ) -> Result<(Vec<Symbol>, Option<Symbol>)> {
        let graph = self.graph();
        let draws = plan.write(writer, self.input)?;
        let wanted = [taps[0], graph.output()];
        let values = writer.forward(graph, &draws.points, &wanted, "draws/")?;
        let found = self.gradients(writer, &values, (draws.count, BackwardRule::Plain, "draws/"), taps)?;
        let difference = self.layer_difference(writer, &draws, taps[0], own)?;
        writer.enter("draws/map");
        let trace = Trace {
            activation: channels_first(writer, &value(&values, taps[0])?, self.layout)?,
            gradient: channels_first(writer, &found[0], self.layout)?,
        };
        let mut means = Vec::new();
        for sensitivity in (rule.sensitivity)(writer, &trace)? {
            means.push(mean_over_draws(writer, &sensitivity, own, draws.count, difference.as_ref())?);
        }
        let attribution = match found.get(1) {
            Some(gradient) => {
                let difference = self.input_difference(writer, &draws)?;
                Some(mean_over_draws(writer, gradient, self.input, draws.count, difference.as_ref())?)
            }
            None => None,
        };
        Ok((means, attribution))
    }

    /// By what each draw's gradient is multiplied at the layer, `(N, R, C, …)`.
    fn layer_difference(
        &self,
        writer: &mut OnnxWriter,
        draws: &Draws,
        layer: NodeId,
        own: &Symbol,
    ) -> Result<Option<Symbol>> {
        let Some(baselines) = &draws.baselines else { return Ok(None) };
        let (compared, from_input) = match self.export.settings.cam.difference {
            Difference::None => return Ok(None),
            Difference::Activation => (baselines.clone(), false),
            Difference::Encoded => (self.input_difference(writer, draws)?.unwrap_or_else(|| baselines.clone()), true),
        };
        let there = self.layers_of(writer, &compared, &[(layer, self.layout)], "baselines")?.remove(0);
        if from_input {
            return Ok(Some(there));
        }
        let own = writer.reshape(own, &one_more(own, 1))?;
        writer.sub(&own, &there).map(Some)
    }

    /// Layers of the network for other inputs `(1 or N, R, …)`: `(1 or N, R, C, …)` each.
    pub(super) fn layers_of(
        &self,
        writer: &mut OnnxWriter,
        inputs: &Symbol,
        layers: &[(NodeId, Layout)],
        scope: &str,
    ) -> Result<Vec<Symbol>> {
        writer.enter(scope);
        // As rows of a batch.
        let count = inputs.shape()[1][0];
        let mut whole = inputs.shape().to_vec();
        whole[2..].copy_from_slice(&self.input.shape()[1..]);
        let inputs = writer.expand(inputs, &whole)?;
        let mut flat = whole.clone();
        let leading = flat.remove(0);
        flat[0] = leading.map(|rows| rows * count);
        let batch = writer.reshape(&inputs, &flat)?;
        let wanted: Vec<NodeId> = layers.iter().map(|(layer, _)| *layer).collect();
        let values = writer.forward(self.graph(), &batch, &wanted, &format!("{scope}/"))?;
        writer.enter(scope);
        let mut found = Vec::with_capacity(layers.len());
        for &(layer, layout) in layers {
            let there = channels_first(writer, &value(&values, layer)?, layout)?;
            let mut apart = one_more(&there, count);
            apart[0] = leading;
            found.push(writer.reshape(&there, &apart)?);
        }
        Ok(found)
    }

    /// `x - x'`, `(N, R, …)`.
    fn input_difference(&self, writer: &mut OnnxWriter, draws: &Draws) -> Result<Option<Symbol>> {
        let Some(baselines) = &draws.baselines else { return Ok(None) };
        writer.enter("draws");
        let own = writer.reshape(self.input, &one_more(self.input, 1))?;
        writer.sub(&own, baselines).map(Some)
    }

    // Attributions at the input.

    fn at_input(&self, writer: &mut OnnxWriter, kind: AtInput, rule: BackwardRule) -> Result<Symbol> {
        let input = [self.graph().input()];
        if !matches!(kind, AtInput::Gradient | AtInput::Saliency | AtInput::TimesInput) {
            return self.sampled(writer, kind);
        }
        let gradient = self.gradients(writer, self.values, (1, rule, ""), &input)?.remove(0);
        writer.enter("map");
        match kind {
            AtInput::Saliency => {
                let size = writer.unary("Abs", &gradient);
                Ok(writer.reduce("ReduceMax", &size, &[1], false))
            }
            AtInput::TimesInput => {
                let product = writer.mul(&gradient, self.input)?;
                Ok(plane(writer, &product))
            }
            _ => Ok(plane(writer, &gradient)),
        }
    }

    fn sampled(&self, writer: &mut OnnxWriter, kind: AtInput) -> Result<Symbol> {
        let settings = &self.export.settings;
        let stream = self.export.stream();
        let count = |usual: NonZeroUsize| settings.draws.unwrap_or(usual).get();
        let sampler: &dyn BaselineSampler = &*settings.sampler;
        let mut weights = None;
        let plan = match kind {
            AtInput::Integrated => {
                let steps = settings.draws.unwrap_or(Integration::default().steps);
                let nodes = settings.gradient.quadrature.nodes(steps);
                weights = Some(nodes.iter().map(|(_, weight)| *weight).collect::<Vec<f64>>());
                let places: Vec<f64> = nodes.iter().map(|(place, _)| *place).collect();
                Plan {
                    count: places.len(),
                    places: Some(places),
                    baselines: Some((sampler, true)),
                    noise: None,
                    stream,
                    given: Given { baselines: self.export.given, places: false },
                }
            }
            AtInput::Expected => {
                let count = count(ExpectedGradients::default().draws);
                let places = drawn(settings.alphas, &stream, count);
                let given = Given { baselines: self.export.given, places: self.export.given };
                Plan { count, places: Some(places), baselines: Some((sampler, false)), noise: None, stream, given }
            }
            _ => {
                let noise = Some((settings.spread, stream.derive("gaussian baseline")));
                let count = count(SmoothGrad::default().draws);
                Plan { count, places: None, baselines: None, noise, stream, given: Given::default() }
            }
        };
        let draws = plan.write(writer, self.input)?;
        let graph = self.graph();
        let values = writer.forward(graph, &draws.points, &[graph.output()], "draws/")?;
        let draw = (draws.count, BackwardRule::Plain, "draws/");
        let gradient = self.gradients(writer, &values, draw, &[graph.input()])?.remove(0);
        let difference = self.input_difference(writer, &draws)?;
        writer.enter("map");
        let mut gradient = gradient;
        if let Some(weights) = weights {
            // A mean over draws follows: each weight counts as often as there are draws.
            let apart = writer.reshape(&gradient, &one_more(self.input, draws.count))?;
            let mut dims = vec![1; apart.rank()];
            dims[1] = draws.count;
            let weights: Vec<f32> = weights.iter().map(|weight| (weight * draws.count as f64) as f32).collect();
            let weights = writer.numbers(&dims, &weights);
            let weighted = writer.mul(&apart, &weights)?;
            gradient = writer.reshape(&weighted, gradient.shape())?;
        }
        let mean = |writer: &mut OnnxWriter, x: &Symbol| {
            mean_over_draws(writer, x, self.input, draws.count, difference.as_ref())
        };
        let map = match kind {
            AtInput::Smooth(Statistic::Square) => {
                let square = writer.mul(&gradient, &gradient)?;
                mean(writer, &square)?
            }
            AtInput::Smooth(Statistic::Variance) => {
                // About the mean, which keeps more digits than the difference of two moments.
                let centre = mean(writer, &gradient)?;
                let centre = writer.reshape(&centre, &one_more(self.input, 1))?;
                let apart = writer.reshape(&gradient, &one_more(self.input, draws.count))?;
                let rest = writer.sub(&apart, &centre)?;
                let square = writer.mul(&rest, &rest)?;
                writer.reduce("ReduceMean", &square, &[1], false)
            }
            AtInput::Smooth(Statistic::TimesPoints) => {
                let product = writer.mul(&gradient, &draws.points)?;
                mean(writer, &product)?
            }
            _ => mean(writer, &gradient)?,
        };
        Ok(plane(writer, &map))
    }

    // Others.

    /// `psi(x g_x) + sum psi(b g)`: absolute values, each channel scaled to 0 to 1, enlarged and summed.
    fn full_grad(&self, writer: &mut OnnxWriter) -> Result<Symbol> {
        if !self.single_gradient() {
            return Err(Error::Unsupported(vec!["`full-grad` on draws as ONNX's operators".into()]));
        }
        let graph = self.graph();
        let image = self.input.rank() == 4;
        let mut biases = Vec::new();
        for (layer, bias) in graph.biases()? {
            let node = NodeId::from(layer);
            let of_layer = value(self.values, node)?;
            let rank = of_layer.rank();
            // Windows that are folded into the batch have no place of the image.
            let is_folded = of_layer.shape()[0] != self.input.shape()[0];
            if !is_folded && (rank == 4 || (!image && rank == 3 && matches!(*bias.dims(), [1, _, 1]))) {
                biases.push((node, bias));
            }
        }
        let taps: Vec<NodeId> = biases.iter().map(|(node, _)| *node).chain([graph.input()]).collect();
        let mut found = self.gradients(writer, self.values, (1, BackwardRule::Plain, ""), &taps)?;
        writer.enter("map");
        let at_input = found.pop().ok_or_else(|| Error::internal("the input's gradient is missing"))?;
        let term = writer.mul(self.input, &at_input)?;
        let mut map = self.scaled_channels(writer, &term)?;
        for ((_, bias), gradient) in biases.iter().zip(found) {
            let along_last = bias.rank() == 1;
            let bias = writer.tensor(bias)?;
            let mut term = writer.mul(&gradient, &bias)?;
            if along_last && term.rank() == 4 {
                term = writer.transpose(&term, &[0, 3, 1, 2]);
            }
            let one = self.scaled_channels(writer, &term)?;
            map = writer.add(&map, &one)?;
        }
        Ok(map)
    }

    fn single_gradient(&self) -> bool {
        !matches!(self.export.method, Method::Cam { gradient: Some(gradient), .. } if !gradient.single)
    }

    /// Each channel's absolute values in 0 to 1, summed at the input's size: `(N, H, W)`.
    fn scaled_channels(&self, writer: &mut OnnxWriter, term: &Symbol) -> Result<Symbol> {
        let places: Vec<usize> = (2..term.rank()).collect();
        let size = writer.unary("Abs", term);
        let lowest = writer.reduce("ReduceMin", &size, &places, true);
        let above = writer.sub(&size, &lowest)?;
        let highest = writer.reduce("ReduceMax", &above, &places, true);
        let scaled = writer.divide_or_zero(&above, &highest)?;
        let sum = writer.reduce("ReduceSum", &scaled, &[1], false);
        let enlarged = self.enlarged(writer, &sum)?;
        let mut shape = enlarged.shape().to_vec();
        shape.remove(1);
        writer.reshape(&enlarged, &shape)
    }

    /// What the network says when the layer is active around one place alone, less the lowest of it (Recipro-CAM).
    fn reciprocal(&self, writer: &mut OnnxWriter) -> Result<Symbol> {
        let (graph, layer) = (self.graph(), self.layer()?);
        let raw = value(self.values, layer)?;
        let laid = channels_first(writer, &raw, self.layout)?;
        if laid.rank() != 4 {
            return Err(Error::shape("the target layer's output", "(N, C, h, w)", &laid.nominal()));
        }
        writer.enter("places");
        let height = writer.size(laid.shape()[2])?;
        let width = writer.size(laid.shape()[3])?;
        let windows = faithful_cam::windows_of_places([height, width], self.layout)?;
        let count = height * width;
        let windows = writer.tensor(&windows.unsqueeze(0)?)?;
        let apart = writer.reshape(&raw, &one_more(&raw, 1))?;
        let seen = writer.mul(&apart, &windows)?;
        let seen = writer.reshape(&seen, &rows(&raw, count))?;
        let values = writer.forward_from(graph, (layer, &seen), self.input, &[graph.output()], "places/")?;
        writer.enter("map");
        let logits = value(&values, graph.output())?;
        let hot = self.repeated_classes(writer, count)?;
        let scores = score::value(writer, &logits, &hot, self.export.score, self.model.probabilities)?;
        let scores = writer.reshape(&scores, &[raw.shape()[0], [count; 3]])?;
        let lowest = writer.reduce("ReduceMin", &scores, &[1], true);
        let above = writer.sub(&scores, &lowest)?;
        writer.reshape(&above, &[raw.shape()[0], [height; 3], [width; 3]])
    }

    /// `ReLU(sum_k w_k A_k)`, `w = softmax_k(S(x * M_k))`, `M_k` the enlarged channel from 0 to 1 (Score-CAM).
    fn channels(&self, writer: &mut OnnxWriter) -> Result<Symbol> {
        let (graph, layer) = (self.graph(), self.layer()?);
        let laid = channels_first(writer, &value(self.values, layer)?, self.layout)?;
        if laid.rank() != 4 || self.input.rank() != 4 {
            return Err(Error::shape("the target layer's output", "(N, C, h, w) of an image", &laid.nominal()));
        }
        writer.enter("channels");
        let count = writer.size(laid.shape()[1])?;
        let above = from_lowest(writer, &laid)?;
        let enlarged = writer.resize_to(&above, self.input)?;
        let above = from_lowest(writer, &enlarged)?;
        let highest = writer.reduce("ReduceMax", &above, &[2, 3], true);
        let masks = writer.divide_or_zero(&above, &highest)?;
        let mut each = masks.shape().to_vec();
        each.insert(2, [1; 3]);
        let masks = writer.reshape(&masks, &each)?;
        let own = writer.reshape(self.input, &one_more(self.input, 1))?;
        let seen = writer.mul(&own, &masks)?;
        let seen = writer.reshape(&seen, &rows(self.input, count))?;
        let values = writer.forward(graph, &seen, &[graph.output()], "channels/")?;
        writer.enter("map");
        let logits = value(&values, graph.output())?;
        let hot = self.repeated_classes(writer, count)?;
        let scores = score::value(writer, &logits, &hot, self.export.score, self.model.probabilities)?;
        let scores = writer.reshape(&scores, &[laid.shape()[0], [count; 3]])?;
        let weights = writer.softmax(&scores, 1);
        let weights = writer.reshape(&weights, &[laid.shape()[0], [count; 3], [1; 3], [1; 3]])?;
        let weighted = writer.mul(&laid, &weights)?;
        let sum = writer.reduce("ReduceSum", &weighted, &[1], false);
        Ok(writer.unary("Relu", &sum))
    }

    // Shapes.

    /// `(N, h, w)` as `(N, 1, H, W)`, or `(N, t)` as `(N, 1, T)`.
    fn enlarged(&self, writer: &mut OnnxWriter, map: &Symbol) -> Result<Symbol> {
        if self.input.rank() == 4 {
            let apart = writer.reshape(map, &one_more(map, 1))?;
            return writer.resize_to(&apart, self.input);
        }
        // A series is a picture of height one.
        let one = [1; 3];
        let time = *map.shape().last().unwrap_or(&one);
        let picture = writer.reshape(map, &[map.shape()[0], one, one, time])?;
        let shape = self.input.shape().to_vec();
        let like = writer.reshape(self.input, &[shape[0], shape[1], one, shape[2]])?;
        let enlarged = writer.resize_to(&picture, &like)?;
        writer.reshape(&enlarged, &[shape[0], one, shape[2]])
    }

    /// At the input's size, from 0 to 1: the lowest value as 0 and the highest as 1, or zero as 0.5 where maps are signed.
    fn displayed(&self, writer: &mut OnnxWriter, map: &Symbol) -> Result<Symbol> {
        let at_layer = self.export.method.is_at_layer(self.layers.len());
        let map = if at_layer && self.input.rank() == 4 {
            let enlarged = self.enlarged(writer, map)?;
            let mut shape = enlarged.shape().to_vec();
            shape.remove(1);
            writer.reshape(&enlarged, &shape)?
        } else {
            map.clone()
        };
        let axes: Vec<usize> = (1..map.rank()).collect();
        if self.export.method.info().signed {
            let size = writer.unary("Abs", &map);
            let most = writer.reduce("ReduceMax", &size, &axes, true);
            let share = writer.divide_or_zero(&map, &most)?;
            return writer.affine(&share, 0.5, 0.5);
        }
        let lowest = writer.reduce("ReduceMin", &map, &axes, true);
        let above = writer.sub(&map, &lowest)?;
        let most = writer.reduce("ReduceMax", &above, &axes, true);
        writer.divide_or_zero(&above, &most)
    }
}

/// Each channel of `(N, C, h, w)` less its lowest value.
fn from_lowest(writer: &mut OnnxWriter, x: &Symbol) -> Result<Symbol> {
    let lowest = writer.reduce("ReduceMin", x, &[2, 3], true);
    writer.sub(x, &lowest)
}

/// `(N, C, H, W)` summed over the channels; that of a series stays `(N, C, T)`.
fn plane(writer: &mut OnnxWriter, map: &Symbol) -> Symbol {
    if map.rank() == 4 { writer.reduce("ReduceSum", map, &[1], false) } else { map.clone() }
}

/// The mean over draws of `x` `(N S, …)` times the difference `(N, R, …)`, of the shape of `own` `(N, …)`.
fn mean_over_draws(
    writer: &mut OnnxWriter,
    x: &Symbol,
    own: &Symbol,
    count: usize,
    difference: Option<&Symbol>,
) -> Result<Symbol> {
    let mut apart = writer.reshape(x, &one_more(own, count))?;
    if let Some(difference) = difference {
        apart = writer.mul(&apart, difference)?;
    }
    Ok(writer.reduce("ReduceMean", &apart, &[1], false))
}
