//! An evaluation run with methods and images of one's own: `cargo run -p faithful-evaluate --example small_run`

use candle_core::{Device, Tensor};
use faithful_core::{CandleModel, CandleNetwork, LayerInfo, Objective, Probabilities, Probe, Result, Stream, Target};
use faithful_evaluate::{
    Event, Explained, Explainer, Format, Manifest, Plan, Sample, Shard, Source, Store, Subject, Table, VERSION, run,
};
use faithful_metric::{Metric, Protocol, Steps};
use rand::Rng;
use std::num::NonZeroUsize;

/// Answers by each channel's sum over a picture of 8 by 8 pixels.
struct Sums;

impl CandleModel for Sums {
    fn layers(&self) -> &[LayerInfo] {
        &[]
    }

    fn forward(&self, input: &Tensor, _: &mut dyn Probe) -> Result<Tensor> {
        Ok(input.flatten_from(2)?.sum(2)?)
    }
}

/// Pictures that are drawn when they are asked for.
struct Drawn(Vec<String>);

impl Source for Drawn {
    fn names(&self) -> &[String] {
        &self.0
    }

    fn load(&self, index: usize) -> Result<Sample> {
        let mut generator = Stream::new(1, self.0[index].as_bytes()).draw(0);
        let values: Vec<f32> = (0..3 * 64).map(|_| generator.random()).collect();
        Ok(Sample {
            input: Tensor::from_vec(values, (1, 3, 8, 8), &Device::Cpu)?,
            label: None,
            object: None,
            reading: None,
        })
    }
}

/// The size of input times gradient.
struct InputTimesGradient;

impl Explainer for InputTimesGradient {
    fn name(&self) -> &'static str {
        "input-times-gradient"
    }

    fn explain(&self, subject: &Subject) -> Result<Explained> {
        let target = Target::Output(subject.class);
        let objective = Objective::new(subject.network, &target).with_batch(subject.batch);
        let product = (objective.input_gradient(subject.input)? * subject.input)?;
        Ok(Explained { map: product.abs()?.sum(1)?.squeeze(0)?, layer: None })
    }
}

/// What every method must beat.
struct Chance;

impl Explainer for Chance {
    fn name(&self) -> &'static str {
        "chance"
    }

    fn explain(&self, subject: &Subject) -> Result<Explained> {
        let mut generator = subject.stream.derive("chance").draw(0);
        let values: Vec<f32> = (0..64).map(|_| generator.random()).collect();
        Ok(Explained { map: Tensor::from_vec(values, (8, 8), &Device::Cpu)?, layer: None })
    }
}

fn main() -> Result<()> {
    let pictures = Drawn((0..12).map(|number| format!("picture {number}")).collect());
    let explainers: Vec<Box<dyn Explainer>> = vec![Box::new(InputTimesGradient), Box::new(Chance)];
    let metrics = ["insertion", "deletion"].map(Metric::parse).into_iter().collect::<Result<Vec<_>>>()?;
    let number = |count| NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN);
    let protocol = Protocol { steps: Steps::Count(number(16)), ..Protocol::thesis() };
    let plan = Plan {
        network: &CandleNetwork(Sums),
        probabilities: Probabilities::Softmax,
        explainers: &explainers,
        metrics: &metrics,
        protocol: &protocol,
        seed: 7,
        batch: Box::new(|_| Ok(number(8))),
        explain_label: false,
        only_correct: false,
    };
    let manifest = Manifest {
        format: Manifest::FORMAT,
        version: VERSION.into(),
        model: "sums".into(),
        images: "drawn".into(),
        image_count: pictures.0.len(),
        methods: explainers.iter().map(|explainer| explainer.name().to_owned()).collect(),
        metrics: vec!["insertion".into(), "deletion".into()],
        protocol: protocol.to_string(),
        layer: "none".into(),
        class: "predicted".into(),
        seed: plan.seed,
        ..Manifest::default()
    };
    // A run that is killed goes on with `Store::resume` in the same folder.
    let folder = tempfile::tempdir().map_err(|source| faithful_core::Error::Io { path: "a folder".into(), source })?;
    let store = Store::create(folder.path(), &manifest)?;
    let summary = run(&plan, &pictures, &store, Shard::WHOLE, &mut |event| {
        if let Event::Failed { image, reason, .. } = event {
            eprintln!("{image}: {reason}");
        }
        Ok(())
    })?;
    println!("{} images, {} failed", summary.images, summary.failed);
    print!("{}", Table::new(&store.rows()?, &manifest.methods, Some("chance"))?.write(Format::Text));
    Ok(())
}
