use crate::{Curve, Row, Shard, Store, VERSION};
use candle_core::{DType, Tensor};
use faithful_core::{Error, Network, Objective, Probabilities, ReadOut, Reading, Result, Score, Stream, Target};
use faithful_metric::{CurveScore, Explanation, Metric, Protocol, measure};
use faithful_tensor::{Resize, resize2d};
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

/// An image as the network sees it, with what is known of it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The input `(1, C, …)`.
    pub input: Tensor,
    /// The class it truly shows, where that is known.
    pub label: Option<usize>,
    /// The mask of what should be found, one flag per cell of the input, where that is known.
    pub object: Option<Vec<bool>>,
    /// What of the network's outputs are this image's classes, where that is not the outputs as they are.
    pub reading: Option<Arc<dyn Reading>>,
}

/// The network as an image has it.
fn network_of<'a>(plan: &Plan<'a>, sample: &Sample) -> Box<dyn Network + 'a> {
    match &sample.reading {
        Some(reading) => Box::new(ReadOut::new(plan.network, reading.clone())),
        None => Box::new(plan.network),
    }
}

/// Where images come from.
pub trait Source {
    /// The images' names, in the run's order; each once.
    fn names(&self) -> &[String];

    /// Reads image `index`.
    fn load(&self, index: usize) -> Result<Sample>;
}

/// What an explainer is asked.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The network.
    pub network: &'a dyn Network,
    /// The input `(1, C, …)`.
    pub input: &'a Tensor,
    /// The class to explain.
    pub class: usize,
    /// The image's own random stream, the same for every method.
    pub stream: &'a Stream,
    /// How many rows may go through the network at a time.
    pub batch: NonZeroUsize,
}

/// What an explainer answers.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The raw map over the input's cells `(…)` or entries `(C, …)`; a coarser map `(h, w)` of an image is enlarged
    /// bilinearly.
    pub map: Tensor,
    /// The layer it is of, where it has one.
    pub layer: Option<String>,
}

/// A method with its parameters.
pub trait Explainer {
    /// The name in the table.
    fn name(&self) -> &str;

    /// The map of `subject`. Must depend on nothing but the subject.
    fn explain(&self, subject: &Subject) -> Result<Explained>;
}

/// What a run does.
pub struct Plan<'a> {
    /// The network.
    pub network: &'a dyn Network,
    /// How its outputs become probabilities.
    pub probabilities: Probabilities,
    /// The methods.
    pub explainers: &'a [Box<dyn Explainer>],
    /// The metrics.
    pub metrics: &'a [Metric],
    /// How insertion and deletion are measured.
    pub protocol: &'a Protocol,
    /// The seed of every random draw.
    pub seed: u64,
    /// How many rows of an input `(1, …)` go through the network at a time.
    #[allow(clippy::type_complexity)]
    pub batch: Box<dyn Fn(&Tensor) -> Result<NonZeroUsize> + 'a>,
    /// Whether the labelled class is explained instead of the predicted one.
    pub explain_label: bool,
    /// Whether images that the network takes for something else are left out.
    pub only_correct: bool,
}

/// What happened in a run, as it happens.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// An image is done, or was already.
    Image {
        /// Its name.
        name: &'a str,
        /// Whether it was finished before this call.
        resumed: bool,
    },
    /// A method's rows for an image are on the disk.
    Rows(&'a [Row]),
    /// An image or a method failed; the run goes on.
    Failed {
        /// The image.
        image: &'a str,
        /// The method; empty for the image itself.
        method: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// The network takes the image for another class than its label, and only correct ones are wanted.
    Misclassified(&'a str),
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Images of this shard.
    pub images: usize,
    /// Images that were finished before.
    pub resumed: usize,
    /// Images and methods that failed, now or before.
    pub failed: usize,
    /// Images that were left out because the network takes them for something else.
    pub misclassified: usize,
}

/// The metric of the row that says an image was left out because the network takes it for another class.
const MISCLASSIFIED: &str = "misclassified";

/// Explains and measures every image of `shard`, keeps what is finished, and gathers it in the end.
///
/// An image or a method that fails is a row with its reason. Only errors of `observe` and of the store end a run, another process at the same
/// share among them: what is finished by
/// then stays.
pub fn run(
    plan: &Plan,
    source: &dyn Source,
    store: &Store,
    shard: Shard,
    observe: &mut dyn FnMut(Event) -> Result<()>,
) -> Result<Summary> {
    let _working = store.work(shard)?;
    let done = store.rows()?.rows;
    let done: BTreeSet<(&str, &str)> = done.iter().map(|row| (row.image.as_str(), row.method.as_str())).collect();
    let mut summary = Summary::default();
    for (index, name) in source.names().iter().enumerate().filter(|(index, _)| shard.has(*index)) {
        summary.images += 1;
        // A row without a method speaks for the whole image.
        let finished = |method: &str| done.contains(&(name, method)) || done.contains(&(name, ""));
        let missing: Vec<&Box<dyn Explainer>> =
            plan.explainers.iter().filter(|explainer| !finished(explainer.name())).collect();
        if missing.is_empty() {
            summary.resumed += 1;
            observe(Event::Image { name, resumed: true })?;
            continue;
        }
        let blank = Row {
            image: name.clone(),
            method: String::new(),
            metric: String::new(),
            value: None,
            error: None,
            class: None,
            probability: None,
            layer: None,
            seconds: None,
            seed: plan.seed,
            protocol: plan.protocol.to_string(),
            version: VERSION.into(),
            curve: None,
        };
        match prepare(plan, source, index) {
            Err(error) => {
                let reason = error.to_string();
                summary.failed += 1;
                store.add(&[Row { error: Some(reason.clone()), ..blank }])?;
                observe(Event::Failed { image: name, method: "", reason: &reason })?;
            }
            Ok(Prepared { misclassified: true, class, .. }) => {
                summary.misclassified += 1;
                let row = Row { metric: MISCLASSIFIED.into(), class: Some(class as u32), ..blank };
                store.add(&[Row { value: Some(1.0), ..row }])?;
                observe(Event::Misclassified(name))?;
            }
            Ok(prepared) => {
                let stream = Stream::new(plan.seed, name);
                let blank =
                    Row { class: Some(prepared.class as u32), probability: Some(prepared.probability), ..blank };
                for explainer in missing {
                    let blank = Row { method: explainer.name().into(), ..blank.clone() };
                    let rows = match measured(plan, &prepared, explainer.as_ref(), &stream, &blank) {
                        Ok(rows) => rows,
                        Err(error) => {
                            let reason = error.to_string();
                            summary.failed += 1;
                            observe(Event::Failed { image: name, method: explainer.name(), reason: &reason })?;
                            vec![Row { error: Some(reason), ..blank }]
                        }
                    };
                    store.add(&rows)?;
                    observe(Event::Rows(&rows))?;
                }
            }
        }
        observe(Event::Image { name, resumed: false })?;
    }
    store.gather(shard, source.names())?;
    Ok(summary)
}

struct Prepared {
    sample: Sample,
    batch: NonZeroUsize,
    class: usize,
    probability: f64,
    misclassified: bool,
}

fn prepare(plan: &Plan, source: &dyn Source, index: usize) -> Result<Prepared> {
    let mut sample = source.load(index)?;
    sample.input = sample.input.to_device(&plan.network.device())?;
    let batch = (plan.batch)(&sample.input)?;
    let output = Objective::new(&*network_of(plan, &sample), &Target::Output(0)).outputs(&sample.input)?;
    let logits: Vec<f32> = output.squeeze(0)?.to_dtype(DType::F32)?.to_vec1()?;
    let best = |best: usize, class: usize| if logits[class] > logits[best] { class } else { best };
    let predicted = (0..logits.len()).fold(0, best);
    let wanted = if plan.explain_label { sample.label } else { Some(predicted) };
    let class = wanted.ok_or_else(|| Error::parameter("class", "the label is to be explained, and it is not known"))?;
    let misclassified = plan.only_correct && sample.label.is_some_and(|label| label != predicted);
    let probability = plan.probabilities.probability(class).score(&output)?.to_dtype(DType::F64)?.to_vec1::<f64>()?[0];
    Ok(Prepared { sample, batch, class, probability, misclassified })
}

fn measured(
    plan: &Plan,
    prepared: &Prepared,
    explainer: &dyn Explainer,
    stream: &Stream,
    blank: &Row,
) -> Result<Vec<Row>> {
    let Sample { input, object, .. } = &prepared.sample;
    let (class, batch) = (prepared.class, prepared.batch);
    let network = network_of(plan, &prepared.sample);
    let network = &*network;
    let start = Instant::now();
    let explained = explainer.explain(&Subject { network, input, class, stream, batch })?;
    let seconds = start.elapsed().as_secs_f64();
    let target = plan.probabilities.probability(class);
    let objective = Objective::new(network, &target).with_batch(batch);
    let logit = Target::Output(class);
    let logit_objective = objective.with_score(&logit);
    let curve_objective = match plan.protocol.score {
        CurveScore::Probability => objective,
        CurveScore::Logit => logit_objective,
    };
    let map = fitted(&explained.map, input)?;
    let mut explain = |input: &Tensor| {
        let subject = Subject { network, input, class, stream, batch };
        fitted(&explainer.explain(&subject)?.map, input)
    };
    let mut explanation = Explanation {
        objective: &objective,
        curve_objective: &curve_objective,
        logit_objective: &logit_objective,
        input,
        map: &map,
        object: object.as_deref(),
        stream,
        explain: Some(&mut explain),
    };
    let measured = measure(&mut explanation, plan.metrics, plan.protocol)?;
    let row = |one: faithful_metric::Measured| Row {
        metric: one.name,
        value: Some(one.value),
        layer: explained.layer.clone(),
        seconds: Some(seconds),
        curve: one.curve.map(|(fraction, score)| Curve { fraction, score }),
        ..blank.clone()
    };
    Ok(measured.into_iter().map(row).collect())
}

/// The map at the input's size, where it is a coarser one of an image.
pub fn fitted(map: &Tensor, input: &Tensor) -> Result<Tensor> {
    match (map.dims(), input.dims()) {
        (&[h, w], &[_, _, height, width]) if [h, w] != [height, width] => {
            let enlarged = resize2d(&map.unsqueeze(0)?.unsqueeze(0)?, [height, width], &Resize::default())?;
            Ok(enlarged.squeeze(0)?.squeeze(0)?)
        }
        _ => Ok(map.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Manifest;
    use candle_core::Device;
    use faithful_core::{CandleModel, CandleNetwork, LayerInfo, Probe};
    use rand::Rng;

    struct Sums;

    impl CandleModel for Sums {
        fn layers(&self) -> &[LayerInfo] {
            &[]
        }

        fn forward(&self, input: &Tensor, _: &mut dyn Probe) -> Result<Tensor> {
            Ok(input.flatten_from(2)?.sum(2)?)
        }
    }

    struct Pictures(Vec<String>);

    impl Source for Pictures {
        fn names(&self) -> &[String] {
            &self.0
        }

        fn load(&self, index: usize) -> Result<Sample> {
            if index == 3 {
                return Err(Error::format(&self.0[index], "the file ends in mid-image"));
            }
            let values: Vec<f32> = (0..12).map(|i| ((i * 7 + index * 5) % 11) as f32 / 11.0).collect();
            let sums: Vec<f32> = values.chunks(4).map(|channel| channel.iter().sum()).collect();
            let predicted = (0..3).fold(0, |best, class| if sums[class] > sums[best] { class } else { best });
            // Every other picture is taken for something else.
            let label = Some((predicted + index % 2) % 3);
            let input = Tensor::from_vec(values, (1, 3, 2, 2), &Device::Cpu)?;
            Ok(Sample { input, label, object: Some(vec![true, false, false, true]), reading: None })
        }
    }

    struct Noise(&'static str);

    impl Explainer for Noise {
        fn name(&self) -> &str {
            self.0
        }

        fn explain(&self, subject: &Subject) -> Result<Explained> {
            let mut generator = subject.stream.derive(self.0).draw(0);
            let values: Vec<f32> = (0..4).map(|_| generator.random()).collect();
            Ok(Explained { map: Tensor::from_vec(values, (2, 2), &Device::Cpu)?, layer: None })
        }
    }

    struct Bench {
        pictures: Pictures,
        explainers: Vec<Box<dyn Explainer>>,
        metrics: Vec<Metric>,
        protocol: Protocol,
        manifest: Manifest,
    }

    fn bench() -> Bench {
        let protocol = Protocol { insertion: faithful_metric::Canvas::Mean, ..Protocol::thesis() };
        let manifest = Manifest {
            format: Manifest::FORMAT,
            version: VERSION.into(),
            model: "sums".into(),
            image_count: 7,
            protocol: protocol.to_string(),
            seed: 5,
            ..Manifest::default()
        };
        Bench {
            pictures: Pictures((0..7).map(|i| format!("picture {i}")).collect()),
            explainers: vec![Box::new(Noise("one")), Box::new(Noise("two"))],
            metrics: ["insertion", "road", "max-sensitivity", "infidelity", "drop@50", "energy"]
                .map(|name| Metric::parse(name).unwrap())
                .to_vec(),
            protocol,
            manifest,
        }
    }

    fn plan(bench: &Bench, batch: usize) -> Plan<'_> {
        Plan {
            network: &CandleNetwork(Sums),
            probabilities: Probabilities::Softmax,
            explainers: &bench.explainers,
            metrics: &bench.metrics,
            protocol: &bench.protocol,
            seed: 5,
            batch: Box::new(move |_| Ok(NonZeroUsize::new(batch).unwrap())),
            explain_label: false,
            only_correct: false,
        }
    }

    fn without_seconds(rows: Vec<Row>) -> Vec<Row> {
        rows.into_iter().map(|row| Row { seconds: None, ..row }).collect()
    }

    fn whole(bench: &Bench, batch: usize) -> Vec<Row> {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path(), &bench.manifest).unwrap();
        let summary = run(&plan(bench, batch), &bench.pictures, &store, Shard::WHOLE, &mut |_| Ok(())).unwrap();
        assert_eq!(summary, Summary { images: 7, resumed: 0, failed: 1, misclassified: 0 });
        without_seconds(store.rows().unwrap().rows)
    }

    #[test]
    fn every_image_has_every_row_and_a_broken_one_its_reason() {
        let rows = whole(&bench(), 8);
        assert_eq!(rows.len(), 6 * 2 * 6 + 1);
        let broken: Vec<&Row> = rows.iter().filter(|row| row.error.is_some()).collect();
        assert_eq!(broken.len(), 1);
        assert_eq!(broken[0].image, "picture 3");
        assert!(broken[0].error.as_ref().unwrap().contains("ends in mid-image"));
        let insertion = rows.iter().find(|row| row.metric == "insertion").unwrap();
        assert_eq!(insertion.curve.as_ref().unwrap().fraction.len(), 1004);
    }

    #[test]
    fn shards_and_batches_change_nothing() {
        let bench = bench();
        let expected = whole(&bench, 8);
        assert_eq!(whole(&bench, 1), expected);
        let folder = tempfile::tempdir().unwrap();
        for index in [2, 0, 1] {
            let store = Store::resume(folder.path(), &bench.manifest).unwrap();
            run(&plan(&bench, 3), &bench.pictures, &store, Shard { index, count: 3 }, &mut |_| Ok(())).unwrap();
        }
        let store = Store::open(folder.path()).unwrap().0;
        assert_eq!(without_seconds(store.rows().unwrap().rows), expected);
    }

    #[test]
    fn the_batch_is_that_of_each_image_and_one_that_is_too_large_fails_alone() {
        let bench = bench();
        let asked = std::cell::Cell::new(0);
        let batch = |input: &Tensor| {
            assert_eq!(input.dims(), [1, 3, 2, 2]);
            asked.set(asked.get() + 1);
            if asked.get() == 2 {
                return Err(Error::parameter("memory", "one row takes too much"));
            }
            Ok(NonZeroUsize::new(asked.get()).unwrap())
        };
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path(), &bench.manifest).unwrap();
        let plan = Plan { batch: Box::new(batch), ..plan(&bench, 8) };
        let summary = run(&plan, &bench.pictures, &store, Shard::WHOLE, &mut |_| Ok(())).unwrap();
        assert_eq!((asked.get(), summary.failed), (6, 2));
        let rows = without_seconds(store.rows().unwrap().rows);
        let others = whole(&bench, 8).into_iter().filter(|row| row.image != "picture 1");
        assert_eq!(
            rows.iter().filter(|row| row.image != "picture 1").cloned().collect::<Vec<_>>(),
            others.collect::<Vec<_>>()
        );
        assert!(rows.iter().any(|row| row.image == "picture 1" && row.error.is_some()));
    }

    #[test]
    fn a_run_that_died_goes_on_where_it_was() {
        struct Mortal<'a> {
            pictures: &'a Pictures,
            left: std::cell::Cell<usize>,
        }
        impl Source for Mortal<'_> {
            fn names(&self) -> &[String] {
                self.pictures.names()
            }
            fn load(&self, index: usize) -> Result<Sample> {
                assert!(self.left.get() > 0, "killed");
                self.left.set(self.left.get() - 1);
                self.pictures.load(index)
            }
        }
        let bench = bench();
        let folder = tempfile::tempdir().unwrap();
        let mut loads = 0;
        for lives in [2, 1, 3, 9] {
            let store = Store::resume(folder.path(), &bench.manifest).unwrap();
            let source = Mortal { pictures: &bench.pictures, left: std::cell::Cell::new(lives) };
            let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                run(&plan(&bench, 8), &source, &store, Shard::WHOLE, &mut |_| Ok(()))
            }));
            assert_eq!(attempt.is_ok(), lives == 9);
            loads += lives - source.left.get();
        }
        assert_eq!(loads, 7, "nothing is done twice");
        let store = Store::open(folder.path()).unwrap().0;
        assert_eq!(without_seconds(store.rows().unwrap().rows), whole(&bench, 8));
    }

    #[test]
    fn misclassified_images_are_left_out_when_asked() {
        let bench = bench();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path(), &bench.manifest).unwrap();
        let plan = Plan { only_correct: true, ..plan(&bench, 8) };
        let summary = run(&plan, &bench.pictures, &store, Shard::WHOLE, &mut |_| Ok(())).unwrap();
        // Pictures 1 and 5; picture 3 is broken.
        assert_eq!((summary.misclassified, summary.failed), (2, 1));
        let again = run(&plan, &bench.pictures, &store, Shard::WHOLE, &mut |_| Ok(())).unwrap();
        assert_eq!(again.resumed, 7);
    }
}
