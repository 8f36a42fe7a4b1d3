use super::{Event, OneCycle, Training, train};
use crate::{Fleet, PreparationOptions, RulModel, SyntheticSpec, draw_fleet};
use faithful_core::{Error, Stream};

fn fleet() -> Fleet {
    let spec = SyntheticSpec { units: 8, life: 45..=60, decline: 25..=30, ..SyntheticSpec::default() };
    draw_fleet(&spec, &Stream::new(1, "pumps")).unwrap()
}

fn training() -> Training {
    let preparation = PreparationOptions { window: 8, cap: 25.0, smoothing: 0.5, ..PreparationOptions::default() };
    Training {
        kind: "cnn-lstm".into(),
        preparation,
        stride: 1,
        members: 2,
        crossed: false,
        validation: 0.25,
        epochs: 3,
        batch: 32,
        cycle: OneCycle { rate: 1e-2, warmup: 0.3 },
        noise: 0.05,
        dropout: 0.1,
        ..Training::default()
    }
}

fn bytes(model: &RulModel) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    model.save(&path).unwrap();
    let loaded = RulModel::load(&path).unwrap();
    assert_eq!(loaded.about, model.about);
    assert_eq!(loaded.predict(&model.typical).unwrap(), model.predict(&model.typical).unwrap());
    std::fs::read(path).unwrap()
}

#[test]
fn a_killed_training_goes_on_to_the_same_weights() {
    let (fleet, training) = (fleet(), training());
    let mut epochs = Vec::new();
    let whole = train(&fleet, &training, None, &mut |event| {
        if let Event::Epoch(epoch) = event {
            epochs.push(epoch);
        }
        Ok(())
    });
    let whole = whole.unwrap();
    assert!(epochs[2].training < epochs[0].training, "{epochs:?}");
    assert!(whole.about.validation.unwrap().rmse < 10.0, "{:?}", whole.about.validation);
    assert_eq!(whole.calibration.as_ref().map(crate::Calibration::machines), Some(2));

    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("model.checkpoint");
    // Killed in the middle of an epoch of the first training, then of the second.
    for second in [false, true] {
        let (mut counts, mut steps) = (false, 0);
        let killed = train(&fleet, &training, Some((&checkpoint, second)), &mut |event| {
            if let Event::Start { refit, .. } = event {
                counts = refit == second;
            }
            steps += usize::from(counts && matches!(event, Event::Step { .. }));
            if steps > 12 { Err(Error::parameter("test", "killed")) } else { Ok(()) }
        });
        assert!(killed.is_err() && checkpoint.exists());
    }
    let mut begun = None;
    let resumed = train(&fleet, &training, Some((&checkpoint, true)), &mut |event| {
        if let Event::Start { done, refit, .. } = event {
            begun = Some((done > 0, refit));
        }
        Ok(())
    });
    assert_eq!(begun, Some((true, true)));
    assert_eq!(bytes(&resumed.unwrap()), bytes(&whole));

    let other = Training { seed: 9, ..training.clone() };
    let error = train(&fleet, &other, Some((&checkpoint, true)), &mut |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("of another training: then seed: 0, now seed: 9"), "{error}");
    // The same machines, cycles and options, and one reading that is another.
    let mut changed = fleet.clone();
    changed.units[3].readings[7] += 0.001;
    let error = train(&changed, &training, Some((&checkpoint, true)), &mut |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("of another training: then data: 8 engines") && error.contains("digest"), "{error}");
    let half = std::fs::read(&checkpoint).unwrap();
    std::fs::write(&checkpoint, &half[..half.len() / 2]).unwrap();
    assert!(train(&fleet, &training, Some((&checkpoint, true)), &mut |_| Ok(())).is_err());
}

#[test]
fn a_member_knows_nothing_of_the_machines_that_it_leaves_out() {
    let fleet = fleet();
    // With one epoch there is none to choose by what is held out.
    let training = Training { crossed: true, epochs: 1, loss: super::Loss::Nasa, ..training() };
    let whole = train(&fleet, &training, None, &mut |_| Ok(())).unwrap();
    assert_eq!(whole.calibration.as_ref().map(crate::Calibration::machines), Some(8));
    assert!(whole.about.training["refit"].is_null());
    let left_out = whole.about.training["left_out"].as_array().unwrap();
    assert_eq!(left_out.iter().map(|names| names.as_array().unwrap().len()).collect::<Vec<_>>(), [4, 4]);
    // Lives that only one member learns from are others.
    let mut changed = fleet.clone();
    for unit in &mut changed.units {
        if left_out[1].as_array().unwrap().iter().any(|name| *name == unit.name.as_str()) {
            unit.end = Some(9.0);
        }
    }
    let other = train(&changed, &training, None, &mut |_| Ok(())).unwrap();
    let said = |model: &RulModel| crate::members(&model.graph, &whole.typical, 25.0).unwrap();
    for (before, after) in said(&whole).iter().zip(said(&other)) {
        assert_eq!(before[1], after[1]);
        assert_ne!(before[0], after[0]);
    }
    let intervals = whole.intervals(&whole.typical, 0.5).unwrap().unwrap();
    assert!(intervals.iter().all(|own| own.low <= own.high && own.low >= 0.0 && own.high <= 25.0));

    let training = Training { epochs: 2, ..training };
    let whole = train(&fleet, &training, None, &mut |_| Ok(())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("model.checkpoint");
    let mut epochs = 0;
    let killed = train(&fleet, &training, Some((&checkpoint, false)), &mut |event| {
        epochs += usize::from(matches!(event, Event::Epoch(_)));
        if epochs > 0 { Err(Error::parameter("test", "killed")) } else { Ok(()) }
    });
    assert!(killed.is_err());
    let resumed = train(&fleet, &training, Some((&checkpoint, true)), &mut |_| Ok(())).unwrap();
    assert_eq!(bytes(&resumed), bytes(&whole));
    let few = Training { members: 9, ..training };
    let error = train(&fleet, &few, None, &mut |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("8 engines are too few for 9 networks"), "{error}");
}

#[test]
fn patience_ends_a_training_and_the_best_weights_win() {
    let training =
        Training { epochs: 30, patience: 1, refit: false, cycle: OneCycle { rate: 0.5, warmup: 0.5 }, ..training() };
    let mut errors = Vec::new();
    let model = train(&fleet(), &training, None, &mut |event| {
        if let Event::Epoch(epoch) = event {
            errors.extend(epoch.validation);
        }
        Ok(())
    });
    let best = errors.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(errors.len() < 30, "{errors:?}");
    assert!((model.unwrap().about.validation.unwrap().rmse - best).abs() < 1e-9);
}

#[test]
fn options_outside_their_range_are_named() {
    let refuse = |training: Training, word: &str| {
        let error = train(&fleet(), &training, None, &mut |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    };
    refuse(Training { epochs: 0, ..training() }, "epochs");
    refuse(Training { dropout: 1.0, ..training() }, "dropout");
    refuse(Training { cycle: OneCycle { rate: f64::NAN, warmup: 0.3 }, ..training() }, "rate");
    refuse(Training { validation: 0.99, ..training() }, "validation");
    refuse(Training { kind: "cnn".into(), ..training() }, "`cnn`");
    let preparation = PreparationOptions { window: 50, ..training().preparation };
    refuse(Training { preparation, ..training() }, "window of 50");
}

#[test]
fn the_searches_suggest_what_can_be_trained_with() {
    let found = crate::find_rate(&fleet(), &training()).unwrap();
    assert!(found.suggestion > 1e-5 && found.suggestion < 1.0, "{found:?}");
    let found = crate::find_batch(&fleet(), &training()).unwrap();
    assert!(found.sizes.contains(&found.suggestion));
}
