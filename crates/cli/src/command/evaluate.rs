//! `faithful evaluate`: many photos, many methods, many metrics, into a run's folder.

use super::run::left_out;
use crate::arguments::{CurveScoreName, EvaluateArguments};
use crate::failure::Outcome;
use crate::model;
use crate::output::Output;
use crate::recorded::Recorded;
use anyhow::{Context, Result};
use faithful_evaluate::{Event, Shard, Source, Store, Summary, Table};
use faithful_explain::{Budget, Classifier, Measurement, MeasurementSetup};
use faithful_metric::{CurveScore, Protocol};
use serde_json::json;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;

/// Steps of insertion and deletion where nothing is said of them.
const FIRST_LOOK: NonZeroUsize = NonZeroUsize::new(50).unwrap();

/// The classifier that a run measures.
pub(crate) fn classifier(arguments: &EvaluateArguments, output: &Output) -> Result<Classifier> {
    // What needs no model is refused first.
    setup(arguments)?.check()?;
    model::classifier(&arguments.model, output)
}

/// Everything that makes a run's values, from what the user said.
pub(crate) fn measurement<'a>(
    arguments: &EvaluateArguments,
    classifier: &'a Classifier,
    output: &Output,
) -> Result<Measurement<'a>> {
    let measurement = Measurement::new(setup(arguments)?, classifier, &|text| output.note(text));
    measurement.map_err(|error| model::with_hint(&classifier.model, error))
}

fn setup(arguments: &EvaluateArguments) -> Result<MeasurementSetup> {
    Ok(MeasurementSetup {
        precision: arguments.model.name.compute.compute()?.precision(),
        images: arguments.images.clone(),
        samples: arguments.samples,
        masks: arguments.masks.clone(),
        methods: arguments.methods.clone(),
        metrics: arguments.metrics.clone(),
        layer: arguments.layer.clone(),
        score: arguments.score.clone(),
        baselines: arguments.baselines.clone(),
        draws: arguments.draws,
        stop: arguments.stop.clone(),
        seed: arguments.seed,
        batch: arguments.batch,
        memory: arguments.memory.map(Budget::new),
        max_megapixels: arguments.max_megapixels,
        protocol: arguments.protocol.clone().unwrap_or_else(|| "thesis".into()),
        steps: arguments.steps.or(arguments.protocol.is_none().then_some(FIRST_LOOK)),
        insertion_canvas: arguments.insertion_canvas.clone(),
        deletion_canvas: arguments.deletion_canvas.clone(),
        curve_score: arguments.curve_score.map(|score| match score {
            CurveScoreName::Probability => CurveScore::Probability,
            CurveScoreName::Logit => CurveScore::Logit,
        }),
        relative_curves: arguments.relative_curves,
        explain_label: arguments.explain_label,
        only_correct: arguments.only_correct,
    })
}

pub(crate) fn run_evaluation(arguments: &EvaluateArguments, output: &Output) -> Result<Outcome> {
    output.writes_files();
    let shard = shard(arguments)?;
    let classifier = classifier(arguments, output)?;
    let evaluation = measurement(arguments, &classifier, output)?;
    let images = evaluation.images()?;
    if images.results > 0 {
        output.note(&left_out(images.results));
    }
    if let &[_, height, width] = classifier.model.graph.nominal_input()
        && evaluation.has_curves()
        && let Some(note) = first_look(arguments, [height, width])
    {
        output.note(&note);
    }
    let store = evaluation.store(&arguments.out, &images, arguments.resume || shard.count > 1)?;
    Recorded::now().write(&store)?;
    let mine = (0..images.names().len()).filter(|&image| shard.has(image)).count();
    // A photo's methods are its steps: a run of few photos is otherwise long without a sign.
    let methods = evaluation.session.methods.len().max(1);
    let mut images_done = 0;
    output.start(mine * methods, "evaluating");
    let mut means: BTreeMap<String, (f64, usize)> = BTreeMap::new();
    let summary = evaluation.run(&images, &store, shard, &mut |event| {
        match event {
            Event::Image { .. } => {
                images_done += 1;
                output.advance_to(images_done * methods);
            }
            Event::Failed { image, method: "", reason } => output.error(&format!("{image}: {reason}")),
            Event::Failed { image, method, reason } => output.error(&format!("{image}: {method}: {reason}")),
            Event::Rows(rows) => {
                output.advance();
                // The first metric's mean per method so far.
                if let Some((row, value)) = rows.first().and_then(|row| Some((row, row.value?))) {
                    let (sum, count) = means.entry(row.method.clone()).or_default();
                    (*sum, *count) = (*sum + value, *count + 1);
                    let mean = |(method, (sum, count)): (&String, &(f64, usize))| {
                        format!("{method} {:.3}", sum / *count as f64)
                    };
                    output.say(&format!("{}: {}", row.metric, means.iter().map(mean).collect::<Vec<_>>().join(", ")));
                }
            }
            Event::Misclassified(_) => {}
        }
        Ok(())
    });
    output.finish();
    let summary = summary.with_context(|| {
        format!("the run stopped; what is finished is kept in `{}`, go on with --resume", arguments.out.display())
    })?;
    let methods: Vec<String> = evaluation.session.methods.iter().map(|method| method.spec.label.clone()).collect();
    report(arguments, &methods, &store, summary, output)
}

fn report(
    arguments: &EvaluateArguments,
    methods: &[String],
    store: &Store,
    summary: Summary,
    output: &Output,
) -> Result<Outcome> {
    let Summary { images, resumed, failed, misclassified } = summary;
    output.object(&json!({
        "run": arguments.out.display().to_string(), "images": images, "resumed": resumed, "failed": failed,
        "misclassified": misclassified,
    }))?;
    if misclassified > 0 {
        output.note(&format!("{misclassified} of {images} images are left out: the network takes them for others"));
    }
    match Table::new(&store.rows()?, methods, None) {
        Ok(table) => output.line(table.write_within(faithful_evaluate::Format::Text, output.width()).trim_end())?,
        Err(error) => output.note(&format!("no table yet: {error}")),
    }
    output.note(&format!("`faithful table {0}` prints this table in other forms, `faithful report {0} --out page.html` makes a page of it", arguments.out.display()));
    Ok(Outcome::of_failures(failed))
}

/// What a first look leaves out, where neither a protocol nor its steps were asked for.
fn first_look(arguments: &EvaluateArguments, [height, width]: [usize; 2]) -> Option<String> {
    if arguments.protocol.is_some() || arguments.steps.is_some() {
        return None;
    }
    let all = Protocol::thesis().steps.points(height * width, width);
    let times = all as f64 / (FIRST_LOOK.get() + 1) as f64;
    Some(format!(
        "insertion and deletion take {FIRST_LOOK} steps, for a first look; `--protocol thesis` takes {} as the thesis does, \
         {times:.0} times as much of the network's work, and --steps any number",
        all - 1
    ))
}

fn shard(arguments: &EvaluateArguments) -> Result<Shard> {
    match arguments.shard {
        Some(shard) => Ok(shard),
        None => Ok(Shard::from_environment(|name| std::env::var(name).ok())?.unwrap_or(Shard::WHOLE)),
    }
}
