use crate::sensitivity::disturbed;
use crate::{
    Arcc, Canvas, Curves, Infidelity, Masked, Masking, Protocol, Road, RoadScores, Sensitivities, Sensitivity,
    SensitivityN, arcc, best_intersection_over_union, complexity, energy_inside, infidelity, insertion_deletion,
    intersection_over_union, masked_scores, pointing_game, resolution, road, sensitivity_n, sensitivity_to,
    single_deletion, sparseness,
};
use candle_core::Tensor;
use faithful_core::{Error, Objective, Result, Stream, find_named};

/// Which way a metric points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

/// What one knows of a metric without computing it: one line of the metric table.
#[derive(Clone, Copy, Debug)]
pub struct MetricInfo {
    /// The name by which it is asked for.
    pub name: &'static str,
    /// One sentence for people.
    pub summary: &'static str,
    /// Authors, year, equation.
    pub source: &'static str,
    /// Which way is better.
    pub direction: Direction,
    /// The values it can take when scores are probabilities, in words.
    pub range: &'static str,
    /// Whether `NAME@P` asks for the mask of the highest P percent instead of the soft mask.
    pub masked: bool,
    /// Whether it needs the object's mask.
    pub needs_mask: bool,
    /// Whether changed inputs must be explained anew: it costs as much as the map, ten times for the sensitivities and once for ARCC.
    pub needs_explainer: bool,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Curve(fn(&Curves) -> f64),
    Mask(fn(&Masked) -> f64),
    /// The same on the network's own output of the class, its activation score.
    LogitMask(fn(&Masked) -> f64),
    Map(fn(&Tensor) -> Result<f64>),
    Object(fn(&Tensor, &[bool]) -> Result<f64>),
    Road(fn(&RoadScores) -> f64),
    Infidelity,
    SensitivityN,
    SingleDeletion,
    Arcc(fn(&Arcc) -> f64),
    Sensitivity(fn(&Sensitivities) -> f64),
}

const fn info(
    name: &'static str,
    summary: &'static str,
    source: &'static str,
    direction: Direction,
    range: &'static str,
    kind: Kind,
) -> MetricInfo {
    let masked = matches!(kind, Kind::Mask(_) | Kind::LogitMask(_));
    let needs_mask = matches!(kind, Kind::Object(_));
    let needs_explainer = matches!(kind, Kind::Sensitivity(_) | Kind::Arcc(_));
    MetricInfo { name, summary, source, direction, range, masked, needs_mask, needs_explainer, kind }
}

use Direction::{Higher, Lower};

/// Every metric.
pub const METRICS: &[MetricInfo] = &[
    info(
        "insertion",
        "area under the score as the most important cells appear on a blurred canvas",
        "Petsiuk, Das and Saenko 2018; thesis 5.1.3",
        Higher,
        "[0, 1]",
        Kind::Curve(Curves::insertion_area),
    ),
    info(
        "deletion",
        "area under the score as the most important cells are removed",
        "Petsiuk, Das and Saenko 2018; thesis 5.1.3",
        Lower,
        "[0, 1]",
        Kind::Curve(Curves::deletion_area),
    ),
    info(
        "ins-del",
        "insertion minus deletion",
        "Englebert et al. 2022; thesis 5.1.3",
        Higher,
        "[-1, 1]",
        Kind::Curve(Curves::difference),
    ),
    info(
        "drop",
        "relative fall of the score when only the masked input is shown",
        "Chattopadhay et al. 2018; thesis Eq. 63",
        Lower,
        "[0, 1]",
        Kind::Mask(Masked::drop),
    ),
    info(
        "increase",
        "how often the score rises when only the masked input is shown",
        "Chattopadhay et al. 2018; thesis Eq. 65",
        Higher,
        "[0, 1]",
        Kind::Mask(Masked::increase),
    ),
    info(
        "increase-sign",
        "mean sign of the score's change when only the masked input is shown",
        "thesis Eq. 64 as written",
        Higher,
        "[-1, 1]",
        Kind::Mask(Masked::increase_sign),
    ),
    info(
        "gain",
        "relative rise of the score towards 1 when only the masked input is shown",
        "Zhang et al. 2023",
        Higher,
        "[0, 1]",
        Kind::Mask(Masked::gain),
    ),
    info(
        "add",
        "relative fall of the score when the masked input is removed",
        "Jung and Oh 2021; thesis 5.1",
        Higher,
        "at most 1",
        Kind::Mask(Masked::drop_in_deletion),
    ),
    info(
        "drop.logit",
        "relative fall of the activation score (logit) when only the masked input is shown",
        "thesis 1.5, Eq. 63 on the activation score",
        Lower,
        "at least 0",
        Kind::LogitMask(Masked::drop),
    ),
    info(
        "increase.logit",
        "how often the activation score (logit) rises when only the masked input is shown",
        "thesis 1.5, Eq. 65 on the activation score",
        Higher,
        "[0, 1]",
        Kind::LogitMask(Masked::increase),
    ),
    info(
        "add.logit",
        "relative fall of the activation score (logit) when the masked input is removed",
        "Jung and Oh 2021 on the activation score",
        Higher,
        "any",
        Kind::LogitMask(Masked::drop_in_deletion),
    ),
    info(
        "road",
        "half the difference of road-lerf and road-morf",
        "Rong et al. 2022; pytorch-grad-cam",
        Higher,
        "[-0.5, 0.5]",
        Kind::Road(RoadScores::combined),
    ),
    info(
        "road-morf",
        "mean change of the score as the most relevant cells are removed and imputed from their neighbours",
        "Rong et al. 2022",
        Lower,
        "[-1, 1]",
        Kind::Road(RoadScores::morf),
    ),
    info(
        "road-lerf",
        "mean change of the score as the least relevant cells are removed and imputed from their neighbours",
        "Rong et al. 2022",
        Higher,
        "[-1, 1]",
        Kind::Road(RoadScores::lerf),
    ),
    info(
        "infidelity",
        "mean squared error of the best scaled map as a forecast of what removed blocks cost",
        "Yeh et al. 2019",
        Lower,
        "[0, 1]",
        Kind::Infidelity,
    ),
    info(
        "sensitivity-n",
        "correlation of the map's sum over random patches with the score's fall without them",
        "Ancona et al. 2018, Eq. 8",
        Higher,
        "[-1, 1]",
        Kind::SensitivityN,
    ),
    info(
        "single-deletion",
        "rank correlation of the map's sum in each of 16 patches with the score's fall without it",
        "Hesse et al. 2024",
        Higher,
        "[-1, 1]",
        Kind::SingleDeletion,
    ),
    info(
        "arcc",
        "harmonic mean of coherency, one minus the mean of the scaled map, and twice ROAD",
        "Domeniconi et al. 2026 (arXiv 2605.14641)",
        Higher,
        "[0, 1]",
        Kind::Arcc(Arcc::combined),
    ),
    info(
        "coherency",
        "correlation of the map with the map of the input seen through it, from 0 to 1",
        "Poppi et al. 2021",
        Higher,
        "[0, 1]",
        Kind::Arcc(|parts| parts.coherency),
    ),
    info(
        "max-sensitivity",
        "largest relative change of the map under small noise on the input",
        "Yeh et al. 2019; Captum",
        Lower,
        "at least 0",
        Kind::Sensitivity(Sensitivities::max),
    ),
    info(
        "avg-sensitivity",
        "mean relative change of the map under small noise on the input",
        "Bhatt et al. 2020; Yeh et al. 2019",
        Lower,
        "at least 0",
        Kind::Sensitivity(Sensitivities::average),
    ),
    info(
        "sparseness",
        "Gini index of the magnitudes",
        "Chalasani et al. 2020",
        Higher,
        "[0, 1)",
        Kind::Map(sparseness),
    ),
    info(
        "complexity",
        "entropy of the magnitudes' shares, in nats",
        "Bhatt et al. 2020",
        Lower,
        "[0, ln(cells)]",
        Kind::Map(complexity),
    ),
    info(
        "resolution",
        "share of the ranks' spectral power finer than a seventh of the shorter side",
        "faithful, docs/metrics.md",
        Higher,
        "[0, 1]",
        Kind::Map(resolution),
    ),
    info(
        "energy",
        "share of the positive map inside the object",
        "Wang et al. 2020",
        Higher,
        "[0, 1]",
        Kind::Object(energy_inside),
    ),
    info(
        "pointing",
        "whether a highest cell lies inside the object",
        "Zhang et al. 2018",
        Higher,
        "[0, 1]",
        Kind::Object(pointing_game),
    ),
    info(
        "iou",
        "intersection over union of the object and the map above half its range",
        "Jaccard 1912",
        Higher,
        "[0, 1]",
        Kind::Object(|map, mask| intersection_over_union(map, mask, 0.5)),
    ),
    info(
        "iou-best",
        "the best intersection over union at any threshold",
        "Choe et al. 2020",
        Higher,
        "[0, 1]",
        Kind::Object(|map, mask| Ok(best_intersection_over_union(map, mask)?.0)),
    ),
];

/// One metric as it was asked for: `insertion`, `drop`, `drop@30`, `drop.logit@30`.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The metric.
    pub info: &'static MetricInfo,
    /// The mask, for metrics that have one.
    pub masking: Masking,
}

impl Metric {
    /// The metric called `name`.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with suggestions; [`Error::Parameter`] for a percentage outside `(0, 100]` or where
    /// there is no mask.
    pub fn parse(name: &str) -> Result<Self> {
        let (base, percent) = name.split_once('@').map_or((name, None), |(base, percent)| (base, Some(percent)));
        let info = find_named("metric", base, METRICS, |metric| metric.name)?;
        let masking = match percent {
            None => Masking::Soft,
            Some(_) if !info.masked => {
                return Err(Error::parameter("metric", format!("`{base}` has no mask, so `{name}` has no meaning")));
            }
            Some(text) => match text.parse::<f64>() {
                Ok(percent) if percent > 0.0 && percent <= 100.0 => Masking::Top(percent / 100.0),
                _ => {
                    return Err(Error::parameter("metric", format!("`{name}`: `{text}` is no percentage in (0, 100]")));
                }
            },
        };
        Ok(Self { info, masking })
    }

    /// Its name as it is asked for.
    pub fn name(&self) -> String {
        match self.masking {
            Masking::Top(share) if self.info.masked => format!("{}@{}", self.info.name, share * 100.0),
            _ => self.info.name.into(),
        }
    }
}

/// One metric's value for one map.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The metric's name as it was asked for.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// The curve under it, `(x, y)`, for `insertion` and `deletion`.
    pub curve: Option<(Vec<f64>, Vec<f64>)>,
}

/// A method as a function of its input: the raw map over the cells of `(1, C, …)`.
pub type Explain<'a> = dyn FnMut(&Tensor) -> Result<Tensor> + 'a;

/// One map, what it explains, and what is known of that.
pub struct Explanation<'a> {
    /// The network and the score that was explained; it should be a probability.
    pub objective: &'a Objective<'a>,
    /// The same network and the number that insertion and deletion follow, by the protocol's
    /// [`CurveScore`](crate::CurveScore).
    pub curve_objective: &'a Objective<'a>,
    /// The same network and the explained class's activation score, for the metrics that are named after the logit.
    pub logit_objective: &'a Objective<'a>,
    /// The input `(1, C, …)`.
    pub input: &'a Tensor,
    /// The raw map over the input's cells `(…)` or entries `(C, …)`.
    pub map: &'a Tensor,
    /// The mask of what should have been found, one flag per cell of the map, where it is known.
    pub object: Option<&'a [bool]>,
    /// The input's own random stream: ROAD's noise, infidelity's blocks, sensitivity's noise. The same for every method,
    /// so that they are compared under the same disturbances.
    pub stream: &'a Stream,
    /// The method, for metrics that explain disturbed inputs ([`sensitivity`](crate::sensitivity) says what it must
    /// hold fixed).
    pub explain: Option<&'a mut Explain<'a>>,
}

/// Everything that is measured on one map, sharing passes: one insertion and deletion for all metrics that need it, one
/// batch for all masks, one ROAD, one series of disturbed inputs. Everything but `metrics` and `protocol` has its
/// default parameters.
///
/// # Errors
/// [`Error::Parameter`] where a metric needs the object's mask or the method and there is none; otherwise as the single
/// metrics.
pub fn measure(explanation: &mut Explanation, metrics: &[Metric], protocol: &Protocol) -> Result<Vec<Measured>> {
    let Explanation { objective, curve_objective, logit_objective, input, map, object, stream, ref mut explain } =
        *explanation;
    let asked = |is: fn(Kind) -> bool| metrics.iter().find(|metric| is(metric.info.kind));
    let curves = match asked(|kind| matches!(kind, Kind::Curve(_))) {
        Some(_) => Some(insertion_deletion(curve_objective, input, map, protocol)?),
        None => None,
    };
    let imputed = match asked(|kind| matches!(kind, Kind::Road(_))) {
        Some(_) => Some(road(objective, input, map, &Road::default(), &stream.derive("road"))?),
        None => None,
    };
    let needs_method = metrics.iter().find(|metric| metric.info.needs_explainer);
    let (mut moved, mut parts) = (None, None);
    match (needs_method, explain) {
        (None, _) => {}
        (Some(metric), None) => {
            let reason = format!("`{}` needs the method, which was not given: only its map is here", metric.name());
            return Err(Error::parameter("metric", reason));
        }
        (Some(_), Some(explain)) => {
            if asked(|kind| matches!(kind, Kind::Sensitivity(_))).is_some() {
                let (parameters, stream) = (Sensitivity::default(), stream.derive("sensitivity"));
                moved = Some(sensitivity_to(map, disturbed(input, &parameters, &stream)?, *explain)?);
            }
            if asked(|kind| matches!(kind, Kind::Arcc(_))).is_some() {
                parts = Some(arcc(objective, input, map, &stream.derive("road"), *explain)?);
            }
        }
    }
    let masked = |objective: &Objective, is: fn(Kind) -> bool| -> Result<Vec<(Masking, Masked)>> {
        let mut maskings: Vec<Masking> = Vec::new();
        for metric in metrics.iter().filter(|metric| is(metric.info.kind)) {
            if !maskings.contains(&metric.masking) {
                maskings.push(metric.masking);
            }
        }
        if maskings.is_empty() {
            return Ok(Vec::new());
        }
        let scores = masked_scores(objective, input, map, &maskings, &Canvas::Zero)?;
        Ok(maskings.into_iter().zip(scores).collect())
    };
    let probabilities = masked(objective, |kind| matches!(kind, Kind::Mask(_)))?;
    let logits = masked(logit_objective, |kind| matches!(kind, Kind::LogitMask(_)))?;
    metrics
        .iter()
        .map(|metric| {
            let name = metric.name();
            let (value, curve) = match metric.info.kind {
                Kind::Curve(area) => {
                    let curves = curves.as_ref().expect("curves were measured for this kind");
                    let points = match metric.info.name {
                        "insertion" => Some(&curves.insertion),
                        "deletion" => Some(&curves.deletion),
                        _ => None,
                    };
                    (area(curves), points.map(|points| (curves.fractions.clone(), points.clone())))
                }
                Kind::Mask(value) | Kind::LogitMask(value) => {
                    let of_logits = matches!(metric.info.kind, Kind::LogitMask(_));
                    let mut all = if of_logits { &logits } else { &probabilities }.iter();
                    let found = all.find(|(masking, _)| *masking == metric.masking);
                    (value(&found.expect("every mask was measured").1), None)
                }
                Kind::Map(value) => (value(map)?, None),
                Kind::Road(value) => (value(imputed.as_ref().expect("ROAD was measured for this kind")), None),
                Kind::Sensitivity(value) => (value(moved.as_ref().expect("it was measured for this kind")), None),
                Kind::Arcc(value) => (value(parts.as_ref().expect("it was measured for this kind")), None),
                Kind::SensitivityN => {
                    let stream = stream.derive("sensitivity-n");
                    (sensitivity_n(objective, input, map, &SensitivityN::default(), &stream)?, None)
                }
                Kind::SingleDeletion => (single_deletion(objective, input, map)?, None),
                Kind::Infidelity => {
                    let stream = stream.derive("infidelity");
                    (infidelity(objective, input, map, &Infidelity::default(), &stream)?, None)
                }
                Kind::Object(value) => {
                    let object = object.ok_or_else(|| {
                        Error::parameter(
                            "metric",
                            format!("`{name}` needs the object's mask, which this image has not"),
                        )
                    })?;
                    (value(map, object)?, None)
                }
            };
            Ok(Measured { name, value, curve })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Sum;
    use candle_core::Device;
    use faithful_core::{CandleModel, CandleNetwork, LayerInfo, Probe, Target};

    #[test]
    fn names_round_trip_and_mistakes_get_suggestions() {
        for name in ["insertion", "drop", "drop@30", "add@12.5", "drop.logit", "drop.logit@30", "iou-best"] {
            assert_eq!(Metric::parse(name).unwrap().name(), name);
        }
        let error = Metric::parse("insertoin").unwrap_err().to_string();
        assert!(error.contains("`insertion`"), "{error}");
        for wrong in ["drop@0", "drop@101", "drop@x", "deletion@30"] {
            assert!(Metric::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn activation_scores_have_metrics_of_their_own() {
        // Two outputs, the sums of the left and of the right column; the left one is explained.
        struct Columns;
        impl CandleModel for Columns {
            fn layers(&self) -> &[LayerInfo] {
                &[]
            }
            fn forward(&self, input: &Tensor, _: &mut dyn Probe) -> Result<Tensor> {
                Ok(input.sum(2)?.squeeze(1)?)
            }
        }
        let input = Tensor::new(&[[[[2f32, 1.0], [-1.0, 0.0]]]], &Device::Cpu).unwrap();
        let map = Tensor::new(&[[3f32, 1.0], [2.0, 0.0]], &Device::Cpu).unwrap();
        let (probability, logit) = (Target::Probability(0), Target::Output(0));
        let columns = CandleNetwork(Columns);
        let objective = Objective::new(&columns, &probability);
        let logit_objective = objective.with_score(&logit);
        let metrics =
            ["drop@25", "drop.logit@25", "increase.logit@25", "drop.logit@50", "increase.logit", "add.logit@25"];
        let metrics = metrics.map(|name| Metric::parse(name).unwrap());
        let stream = Stream::new(0, "input");
        let mut explanation = Explanation {
            objective: &objective,
            curve_objective: &objective,
            logit_objective: &logit_objective,
            input: &input,
            map: &map,
            object: None,
            stream: &stream,
            explain: None,
        };
        let values: Vec<f64> =
            measure(&mut explanation, &metrics, &Protocol::thesis()).unwrap().iter().map(|one| one.value).collect();
        // The logit is 1; with the highest quarter alone 2, without it -1; the upper half of the map is the left column: 1.
        // The soft mask shows 2 - 2/3.
        let expected = [0.0, 0.0, 1.0, 0.0, 1.0, 2.0];
        for (value, expected) in values.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{values:?}");
        }
        // A mask of what speaks against the class.
        let against = Tensor::new(&[[0f32, 1.0], [3.0, 2.0]], &Device::Cpu).unwrap();
        explanation.map = &against;
        let values = measure(&mut explanation, &metrics, &Protocol::thesis()).unwrap();
        // -1 alone is a fall by 2; without it 2.
        assert_eq!((values[1].value, values[2].value, values[5].value), (2.0, 0.0, -1.0));
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let drop = (sigmoid(0.0) - sigmoid(-1.0)) / sigmoid(0.0);
        assert!((values[0].value - drop).abs() < 1e-6, "{}", values[0].value);
    }

    #[test]
    fn every_metric_can_be_measured_and_passes_are_shared() {
        let input = Tensor::new(&[[[[4f32, 3.0], [2.0, 1.0]]]], &Device::Cpu).unwrap();
        let map = input.squeeze(0).unwrap().squeeze(0).unwrap();
        let network = Sum::default();
        let objective = Objective::new(&network, &Target::Output(0));
        let logit_objective = objective.with_score(&Target::Output(0));
        let metrics: Vec<Metric> = METRICS.iter().map(|info| Metric::parse(info.name).unwrap()).collect();
        let object = [true, false, false, false];
        let stream = Stream::new(0, "input");
        let explained = std::cell::Cell::new(0);
        let mut explain = |_: &Tensor| {
            explained.set(explained.get() + 1);
            Ok(map.clone())
        };
        let mut explanation = Explanation {
            objective: &objective,
            curve_objective: &objective,
            logit_objective: &logit_objective,
            input: &input,
            map: &map,
            object: Some(&object),
            stream: &stream,
            explain: Some(&mut explain),
        };
        let all = measure(&mut explanation, &metrics, &Protocol::torchcam()).unwrap();
        assert_eq!(all.len(), METRICS.len());
        assert!(all.iter().all(|measured| measured.value.is_finite()));
        let passes = [8, 3 + 3, 19, 51, 1 + 64, 1 + 4, 9];
        let what = "insertion and deletion, a soft mask per score, ROAD, infidelity, sensitivity-n, single deletion, ARCC's ROAD, once each";
        assert_eq!(network.0.rows(), passes.iter().sum::<usize>(), "{what}");
        assert_eq!(explained.get(), 10 + 1, "both sensitivities, and ARCC");
        explanation.object = None;
        let error = measure(&mut explanation, &metrics, &Protocol::torchcam()).unwrap_err();
        assert!(error.to_string().contains("mask"), "{error}");
        explanation.explain = None;
        let error = measure(&mut explanation, &metrics, &Protocol::torchcam()).unwrap_err();
        assert!(error.to_string().contains("needs the method"), "{error}");
    }
}
