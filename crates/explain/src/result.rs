//! What a method finds, and how it is asked.

use crate::{Drawing, Method, Photo, Settings};
use candle_core::{DType, Tensor};
use faithful_cam::{CamParameters, EstimatorParameters, HyperParameters, Layout, hyper_parts};
use faithful_core::{Convergence, Error, LayerId, Objective, Result, Score, Stream, TokenGrid, write_atomic};
use faithful_gradient::{Channels, GradientParameters, attribute_at_layer, reduce_channels};
use faithful_report::image::RgbImage;
use faithful_report::{Map, Scale, Style, encode_png};
use std::path::Path;

/// What a method found, for one input and one score.
#[derive(Clone, Debug)]
pub struct MethodResult {
    /// The raw map `(h, w)`; for a series `(t)` or `(sensors, t)`, for a volume `(slices, h, w)`.
    pub map: Tensor,
    /// Whether the map has the places of a layer, and not of the input.
    pub at_layer: bool,
    /// How the map is shown unless the user says otherwise.
    pub scale: Scale,
    /// The score that was explained.
    pub score: f64,
    /// How the draws went, where there were some.
    pub convergence: Option<Convergence>,
    /// The completeness axiom's two sides, where it applies: what the map sums to, and what it should.
    pub completeness: Option<(f64, f64)>,
    /// What the reader of the map should know.
    pub notes: Vec<String>,
    /// The raw maps, of the same axes, that it went through, by name, where they were asked for.
    pub parts: Vec<(String, Tensor)>,
}

impl MethodResult {
    /// The raw map in `f32`.
    pub fn raw(&self) -> Result<Map> {
        Map::from_tensor(&self.map.to_dtype(DType::F32)?)
    }

    /// The map of a photo or a volume, laid on it at its own size.
    pub fn picture(&self, photo: &Photo, style: &Style) -> Result<RgbImage> {
        Ok(Drawing::new(&self.map, photo, &self.scale, style)?.picture)
    }

    /// Writes [`picture`](Self::picture) as a PNG, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be written.
    pub fn write_png(&self, photo: &Photo, path: &Path) -> Result<()> {
        write_atomic(path, &encode_png(&self.picture(photo, &Style::default())?)?)
    }
}

impl Method {
    /// Explains one photo `(1, C, H, W)`, volume `(1, C, slices, H, W)` or series `(1, C, T)`, for each of the scores, in their order.
    ///
    /// # Errors
    /// What the method itself returns.
    pub fn explain(
        &self,
        objective: &Objective<'_>,
        input: &Tensor,
        layers: &[LayerId],
        scores: &[&dyn Score],
        settings: &Settings,
        stream: Stream,
    ) -> Result<Vec<MethodResult>> {
        let Settings { draws, stop, sampler, alphas, spread, layout, gradient: own, cam, probabilities, cache } =
            settings.clone();
        let (at_layer, scale) = (self.is_at_layer(layers.len()), self.scale(layers.len()));
        match *self {
            Self::Cam { method, gradient, definition } => {
                let mut estimator = EstimatorParameters {
                    stop,
                    sampler,
                    alphas,
                    spread,
                    stream,
                    difference: cam.difference,
                    cache: Some(cache),
                    ..Default::default()
                };
                let usual = if self.has_parts() { cam.quality.draws() } else { estimator.draws };
                estimator.draws = draws.unwrap_or(usual);
                estimator.paths = cam.paths.unwrap_or(estimator.paths);
                let mut parameters = CamParameters {
                    estimator: gradient,
                    gradient: estimator,
                    fusion: cam.fusion,
                    layout,
                    definition,
                    hyper: HyperParameters { probabilities, ..cam.hyper.parameters(cam.quality) },
                    augmented: cam.augmented,
                    eigen: cam.eigen,
                    ..Default::default()
                };
                parameters.perturbation.draws = draws;
                parameters.perturbation.channels = cam.channels;
                let mut parts = Vec::new();
                let found = match *layers {
                    [layer] if cam.parts && self.has_parts() => {
                        let all = hyper_parts(objective, input, layer, scores, &parameters)?;
                        for one in &all {
                            let planes = one.maps().into_iter().map(|(name, map)| Ok((name, plane(map)?)));
                            parts.push(planes.collect::<Result<Vec<_>>>()?);
                        }
                        all.into_iter().map(|one| one.explanation).collect()
                    }
                    _ => faithful_cam::explain_scores(method, objective, input, layers, scores, &parameters)?,
                };
                parts.resize(found.len(), Vec::new());
                found
                    .into_iter()
                    .zip(parts)
                    .map(|(explanation, parts)| {
                        Ok(MethodResult {
                            map: places(&explanation.map, input)?,
                            at_layer,
                            scale,
                            score: number(&explanation.score)?,
                            convergence: explanation.convergence.into_iter().next(),
                            completeness: explanation.completeness.first().map(|both| (both.attributed, both.expected)),
                            notes: Vec::new(),
                            parts,
                        })
                    })
                    .collect()
            }
            Self::Attention(method) => {
                let found = faithful_attention::explain(method, objective, input, scores, token_grid(layout)?)?;
                let result = |one: faithful_attention::Explanation| {
                    Ok(MethodResult {
                        map: places(&one.map, input)?,
                        at_layer,
                        scale,
                        score: number(&one.score)?,
                        convergence: None,
                        completeness: None,
                        notes: Vec::new(),
                        parts: Vec::new(),
                    })
                };
                found.into_iter().map(result).collect()
            }
            Self::Gradient(method) => {
                let parameters = GradientParameters { draws, stop, sampler, alphas, spread, stream, ..own };
                let explain = |score: &&dyn Score| {
                    let objective = objective.with_score(*score);
                    let (attribution, map) = match *layers {
                        [] => {
                            let attribution = (method.attribute)(&objective, input, &parameters)?;
                            let map = attribution.map.clone();
                            (attribution, map)
                        }
                        [layer] => {
                            let attribution = attribute_at_layer(method, &objective, input, layer, &parameters)?;
                            let map = in_places(&attribution.map, &objective, input, layer, layout)?;
                            (attribution, map)
                        }
                        _ => {
                            let reason = format!("`{}` explains one layer at a time", method.info.name);
                            return Err(Error::parameter("layer", reason));
                        }
                    };
                    Ok(MethodResult {
                        map: places(&map, input)?,
                        at_layer,
                        scale,
                        score: number(&objective.scores(input)?)?,
                        convergence: attribution.convergence,
                        completeness: None,
                        notes: attribution.notes.iter().map(ToString::to_string).collect(),
                        parts: Vec::new(),
                    })
                };
                scores.iter().map(explain).collect()
            }
        }
    }
}

/// How tokens lie over a photo, where the layout says it.
fn token_grid(layout: Layout) -> Result<Option<TokenGrid>> {
    match layout {
        Layout::Auto => Ok(None),
        Layout::Tokens { prefix, grid } | Layout::TokensLast { prefix, grid } => {
            Ok(Some(TokenGrid { prefix, size: grid }))
        }
        Layout::ChannelsFirst | Layout::ChannelsLast => {
            let reason = "attention is over tokens, as `tokens:1:14x14` says how they lie";
            Err(Error::parameter("layout", reason))
        }
    }
}

/// A layer's attribution `(1, …)` with its channels first and its places in rows and columns.
fn in_places(
    map: &Tensor,
    objective: &Objective<'_>,
    input: &Tensor,
    layer: LayerId,
    layout: Layout,
) -> Result<Tensor> {
    let layout = match layout {
        Layout::Auto => {
            let activation = objective.network().activations(input, &[layer])?.remove(0);
            Layout::infer(input.dims(), activation.dims())?
        }
        known => known,
    };
    match (layout, map.rank()) {
        // Saliency has lost its channels already.
        (Layout::ChannelsFirst, 3) => Ok(map.clone()),
        (Layout::ChannelsLast, 3) | (Layout::Tokens { .. } | Layout::TokensLast { .. }, 2) => {
            let reason =
                "the largest over the channels is taken where they come first; explain with `gradient` instead";
            Err(Error::parameter("method", reason))
        }
        _ => layout.channels_first(map),
    }
}

/// The map of a photo as `(h, w)`, of a volume as `(slices, h, w)`; that of a series as the method gave it, `(t)` or
/// `(sensors, t)`.
fn places(map: &Tensor, input: &Tensor) -> Result<Tensor> {
    match input.rank() {
        3 => Ok(map.squeeze(0)?),
        5 => volume(map),
        _ => plane(map),
    }
}

/// A map `(1, C, slices, H, W)` or `(1, slices, h, w)` as `(slices, h, w)`: channels are summed.
fn volume(map: &Tensor) -> Result<Tensor> {
    let map = if map.rank() == 5 { map.sum(1)? } else { map.clone() };
    match map.dims() {
        [1, _, _, _] => Ok(map.squeeze(0)?),
        other => Err(Error::shape("the map", "one map with slices, height and width", other)),
    }
}

/// A map `(1, C, H, W)` or `(1, h, w)` as `(h, w)`: channels are summed, which keeps the sign and the total.
fn plane(map: &Tensor) -> Result<Tensor> {
    let map = if map.rank() == 4 { reduce_channels(map, Channels::Sum)? } else { map.clone() };
    match map.dims() {
        [1, _, _] => Ok(map.squeeze(0)?),
        other => Err(Error::shape("the map", "one map with height and width", other)),
    }
}

fn number(score: &Tensor) -> Result<f64> {
    Ok(score.to_dtype(DType::F64)?.squeeze(0)?.to_scalar()?)
}
