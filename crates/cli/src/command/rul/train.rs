//! `faithful rul train`.

use super::source::Source;
use crate::arguments::RulTrainArguments;
use crate::failure::Outcome;
use crate::files::spare;
use crate::output::Output;
use anyhow::{Context, Result};
use faithful_core::{Error, remove_left_over};
use faithful_rul::{Event, Fleet, OneCycle, PreparationOptions, Training, find_batch, find_rate, train};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub(crate) fn run(arguments: &RulTrainArguments, output: &Output) -> Result<Outcome> {
    let source = Source::of(&arguments.fleet)?;
    let mut training = training(arguments)?;
    let (auto_batch, auto_rate) = (is_auto(arguments.batch.as_deref()), is_auto(arguments.rate.as_deref()));
    if let Some(batch) = arguments.batch.as_deref().filter(|_| !auto_batch) {
        training.batch = number("batch", batch)?;
    }
    if let Some(rate) = arguments.rate.as_deref().filter(|_| !auto_rate) {
        training.cycle.rate = number("rate", rate)?;
    }
    let name = || format!("{}-{}.safetensors", source.name(), training.kind);
    let out = arguments.out.clone().unwrap_or_else(|| name().into());
    if out.extension().is_none_or(|extension| extension != "safetensors") {
        let reason = format!("`{}`: weights are written to a file that ends in .safetensors", out.display());
        return Err(Error::parameter("out", reason).into());
    }
    let fleet = source.training()?;
    writable(&out)?;
    spare(&out, arguments.fleet.data.as_deref())?;
    output.writes_files();
    search(&fleet, &mut training, auto_batch, auto_rate, output)?;
    let checkpoint = out.with_extension("checkpoint");
    let start = Instant::now();
    let model = train(&fleet, &training, Some((&checkpoint, arguments.resume)), &mut |event| {
        match event {
            Event::Start { steps, done, refit } => {
                output.finish();
                output.start(steps, if refit { "training on all machines" } else { "training" });
                (0..done).for_each(|_| output.advance());
            }
            Event::Step { training } => {
                output.advance();
                output.say(&format!("training, off by {training:.1} cycles"));
            }
            Event::Epoch(epoch) => {
                let held = epoch.validation.map_or(String::new(), |error| format!(", held-out machines {error:.2}"));
                let text = format!("epoch {}: off by {:.2} cycles{held}", epoch.number, epoch.training);
                output.note(&text);
            }
        }
        Ok(())
    });
    output.finish();
    let model = model?;
    model.save(&out)?;
    // The model is there; what is left of the way to it may go.
    let _ = std::fs::remove_file(&checkpoint);
    let seconds = start.elapsed().as_secs_f64();
    let validation = model.about.validation;
    output.object(&json!({
        "model": out.display().to_string(), "kind": training.kind, "trained_on": model.about.trained_on,
        "seed": training.seed, "members": training.members, "refit": model.about.training["refit"].is_array(), "sensors": model.about.preparation.sensors, "validation": validation,
        "batch": training.batch, "rate": training.cycle.rate, "seconds": seconds,
    }))?;
    // The weights of a second training have seen all machines.
    let before = if model.about.training["refit"].is_array() {
        " before it learnt from all"
    } else if model.about.training["left_out"].is_array() {
        ", each judged by the network that left it out"
    } else {
        ""
    };
    let held =
        validation.map_or(String::new(), |scores| format!(", RMSE on held-out machines {:.2}{before}", scores.rmse));
    output.line(&format!("{} in {seconds:.0} s{held}: {}", training.kind, out.display()))?;
    Ok(Outcome::Complete)
}

fn training(arguments: &RulTrainArguments) -> Result<Training> {
    let usual = Training { kind: arguments.model.clone(), ..Training::of(&arguments.model)? };
    let window = arguments.window.unwrap_or(usual.preparation.window);
    let preparation = PreparationOptions {
        window,
        // A shorter window asks for no more than its own cycles.
        shortest: arguments.shortest.or(usual.preparation.shortest.map(|shortest| shortest.min(window))),
        cap: arguments.cap,
        smoothing: arguments.smoothing.unwrap_or(usual.preparation.smoothing),
        conditions: arguments.conditions,
        age: arguments.age,
        sensors: (!arguments.fleet.sensors.is_empty()).then(|| arguments.fleet.sensors.clone()),
        ..usual.preparation
    };
    Ok(Training {
        seed: arguments.seed,
        preparation,
        stride: arguments.stride.unwrap_or(usual.stride),
        members: arguments.members.unwrap_or(usual.members),
        trends: arguments.trends.clone().unwrap_or(usual.trends),
        crossed: arguments.validation.is_none(),
        loss: arguments.loss.into(),
        validation: arguments.validation.unwrap_or(usual.validation),
        refit: !arguments.no_refit,
        epochs: arguments.epochs.unwrap_or(usual.epochs),
        patience: arguments.patience.unwrap_or(usual.patience),
        cycle: OneCycle { ..usual.cycle },
        decay: arguments.decay.unwrap_or(usual.decay),
        dropout: arguments.dropout.unwrap_or(usual.dropout),
        noise: arguments.noise.unwrap_or(usual.noise),
        ..usual
    })
}

fn is_auto(text: Option<&str>) -> bool {
    text == Some("auto")
}

fn number<T: std::str::FromStr>(name: &'static str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::parameter(name, format!("`{text}` is neither a number nor `auto`")))
}

fn search(fleet: &Fleet, training: &mut Training, batch: bool, rate: bool, output: &Output) -> Result<()> {
    if batch {
        let found = find_batch(fleet, training)?;
        training.batch = found.suggestion;
        let tried: Vec<String> =
            found.sizes.iter().zip(&found.speeds).map(|(size, speed)| format!("{size}: {speed:.0}/s")).collect();
        output.note(&format!("batches of {} windows; tried {}", found.suggestion, tried.join(", ")));
    }
    if rate {
        let found = find_rate(fleet, training)?;
        training.cycle.rate = found.suggestion;
        output.note(&format!("the learning rate rises to {:.2e}, where the error fell fastest", found.suggestion));
    }
    Ok(())
}

/// Tries the place of the result before hours are spent.
fn writable(out: &Path) -> Result<()> {
    let folder =
        out.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Into::into);
    let probe = folder.join(format!(".faithful-{}", std::process::id()));
    let hint = || format!("cannot write to `{}`; name another file with --out", folder.display());
    std::fs::write(&probe, b"").with_context(hint)?;
    std::fs::remove_file(&probe).with_context(hint)?;
    remove_left_over(&folder);
    Ok(())
}
