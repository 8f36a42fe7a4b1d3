//! Remaining useful life across crates: attributions find what made drawn pumps fail, and every method runs on series.

use candle_core::Tensor;
use faithful_baseline::DataSet;
use faithful_cam::{CamParameters, EstimatorParameters};
use faithful_core::{Network, Objective, SeriesLayout, SeriesView, Stream, Target};
use faithful_gradient::{ExpectedGradients, GradientParameters, Integration, expected_gradients, integrated_gradients};
use faithful_model::SeriesNetwork;
use faithful_rul::{
    Attributed, CmapssSet, Cycles, FAULTS, Fleet, Preparation, PreparationOptions, RulModel, SyntheticSpec, Windows,
    draw_fleet,
};
use faithful_tests::shared;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Pumps that the shipped network has never seen, within the second half of their decline.
fn failing_pumps(units: usize) -> Fleet {
    let spec = SyntheticSpec { units, stopped: true, ..SyntheticSpec::default() };
    let mut fleet = draw_fleet(&spec, &Stream::new(77, "pumps of the planted cause")).unwrap();
    fleet.units.retain(|unit| unit.end.unwrap() <= 50.0);
    fleet
}

/// The share of machines whose two planted sensors come first.
fn found(fleet: &Fleet, model: &RulModel, attribute: impl Fn(&Objective, &Tensor, &Stream) -> Tensor) -> f64 {
    let windows = Windows::last(fleet, &model.about.preparation).unwrap();
    let wear = Cycles::LIFE.wear(model.about.preparation.cap);
    let objective = Objective::new(&model.graph, &wear).with_batch(NonZeroUsize::new(64).unwrap());
    let sensors = &model.about.preparation.sensors;
    let right = (0..windows.len()).filter(|&place| {
        let window = windows.inputs.narrow(0, place, 1).unwrap();
        let unit = &fleet.units[place];
        let map = attribute(&objective, &window, &Stream::new(0, &unit.name));
        let map = map.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let drivers = Attributed::of(&map, sensors.len()).drivers(sensors);
        let mut first = [drivers[0].sensor.as_str(), drivers[1].sensor.as_str()];
        let fault = FAULTS.iter().find(|fault| Some(fault.name) == unit.fault.as_deref()).unwrap();
        let mut planted = fault.sensors;
        first.sort_unstable();
        planted.sort_unstable();
        first == planted
    });
    right.count() as f64 / windows.len() as f64
}

#[test]
fn attributions_rank_the_sensors_of_the_planted_fault_first() {
    let model = RulModel::shipped().unwrap();
    let fleet = failing_pumps(80);
    assert!(fleet.units.len() >= 30, "{}", fleet.units.len());
    let healthy = model.healthy.mean_keepdim(0).unwrap();
    let integrated = found(&fleet, &model, |objective, window, _| {
        integrated_gradients(objective, window, &healthy, &Integration::default()).unwrap().map
    });
    assert!(integrated >= 0.95, "integrated gradients: {integrated}");
    let sampler = DataSet::new(model.healthy.clone()).unwrap();
    let parameters = ExpectedGradients { draws: NonZeroUsize::new(60).unwrap(), ..ExpectedGradients::default() };
    let expected = found(&fleet, &model, |objective, window, stream| {
        expected_gradients(objective, window, &sampler, stream, &parameters).unwrap().map
    });
    assert!(expected >= 0.95, "expected gradients: {expected}");
    eprintln!("planted sensors first: integrated {integrated}, expected {expected}, of {}", fleet.units.len());
}

/// Normalisation within each regime is explained away: the same network sees the same machines.
#[test]
fn planted_causes_are_found_in_a_fleet_that_is_run_in_several_ways() {
    let mut model = RulModel::shipped().unwrap();
    let own = &model.about.preparation;
    let regimes = |spec: SyntheticSpec| SyntheticSpec { regimes: 5, ..spec };
    let training = draw_fleet(&regimes(SyntheticSpec::default()), &Stream::new(5, "pumps that failed")).unwrap();
    let options = PreparationOptions {
        window: own.window,
        shortest: Some(own.shortest),
        cap: own.cap,
        smoothing: own.smoothing,
        sensors: Some(own.sensors.clone()),
        ..PreparationOptions::default()
    };
    let preparation = Preparation::fit(&training, &options).unwrap();
    assert_eq!(preparation.conditions.len(), 5);
    model.about.preparation = preparation;
    let spec = regimes(SyntheticSpec { units: 60, stopped: true, ..SyntheticSpec::default() });
    let mut fleet = draw_fleet(&spec, &Stream::new(78, "pumps of the planted cause")).unwrap();
    fleet.units.retain(|unit| unit.end.unwrap() <= 50.0);
    let healthy = model.healthy.mean_keepdim(0).unwrap();
    let integrated = found(&fleet, &model, |objective, window, _| {
        integrated_gradients(objective, window, &healthy, &Integration::default()).unwrap().map
    });
    assert!(integrated >= 0.9, "integrated gradients: {integrated}");
}

#[test]
fn every_method_explains_a_series() {
    let model = RulModel::shipped().unwrap();
    let window = model.typical.narrow(0, 20, 1).unwrap();
    let (_, sensors, cycles) = window.dims3().unwrap();
    let layer = model.graph.layer(SeriesNetwork::TARGET).unwrap();
    let draws = NonZeroUsize::new(4).unwrap();
    for method in faithful_gradient::METHODS {
        let sampler = Arc::new(DataSet::new(model.healthy.clone()).unwrap());
        let parameters = GradientParameters { draws: Some(draws), sampler, ..Default::default() };
        let objective = Objective::new(&model.graph, &Target::Output(0));
        let map = (method.attribute)(&objective, &window, &parameters).unwrap().map;
        let expected = if method.info.name == "saliency" { vec![1, cycles] } else { vec![1, sensors, cycles] };
        assert_eq!(map.dims(), expected, "{}", method.info.name);
    }
    let view = SeriesView::new(&model.graph, SeriesLayout::SensorsTime).unwrap();
    let picture = view.clone().as_picture();
    for method in faithful_cam::METHODS.iter() {
        let as_picture = method.images_only();
        let (network, input): (&dyn Network, _) =
            if as_picture { (&picture, window.unsqueeze(2).unwrap()) } else { (&view, window.clone()) };
        let healthy = if as_picture { model.healthy.unsqueeze(2).unwrap() } else { model.healthy.clone() };
        let sampler = Arc::new(DataSet::new(healthy).unwrap());
        let gradient = EstimatorParameters { draws, sampler, ..Default::default() };
        let mut parameters = CamParameters { gradient, ..CamParameters::default() };
        parameters.perturbation.draws = Some(draws);
        // A window has one size.
        parameters.perturbation.points = Some(NonZeroUsize::MIN);
        let objective = Objective::new(network, &Target::Output(0));
        let layers = if method.needs_layers() { vec![layer] } else { Vec::new() };
        let found = faithful_cam::explain(method, &objective, &input, &layers, &parameters);
        if method.info.name == "cam" {
            let error = found.unwrap_err().to_string();
            assert!(error.contains("linear"), "{error}");
            continue;
        }
        let map = found.unwrap_or_else(|error| panic!("{}: {error}", method.info.name)).map;
        let values = map.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let tells_sensors_apart =
            ["rise", "occlusion"].contains(&method.info.name) || method.info.name.starts_with("guided");
        let expected = match (tells_sensors_apart, as_picture) {
            (true, _) => vec![1, sensors, cycles],
            (false, true) => vec![1, 1, cycles],
            (false, false) => vec![1, cycles],
        };
        assert_eq!(map.dims(), expected, "{}", method.info.name);
        assert!(values.iter().all(|value| value.is_finite()), "{}", method.info.name);
        // Where every channel speaks against the score, a rectified map is zero.
        if ["rise", "occlusion", "full-grad"].contains(&method.info.name) {
            assert!(values.iter().any(|value| *value != 0.0), "{}", method.info.name);
        }
    }
}

#[test]
fn nasas_files_are_whole() {
    let Some(folder) = shared("data/cmapss") else { return };
    let set = CmapssSet::named("FD001").unwrap();
    let (train, test) = (set.train(&folder).unwrap(), set.test(&folder).unwrap());
    let cycles = |fleet: &Fleet| fleet.units.iter().map(|unit| unit.cycles.len()).sum::<usize>();
    assert_eq!((train.units.len(), cycles(&train)), (100, 20631));
    assert_eq!((test.units.len(), cycles(&test)), (100, 13096));
    assert_eq!(test.units[0].end, Some(112.0));
    let kept = Preparation::fit(&train, &PreparationOptions::default()).unwrap().sensors;
    let informative =
        ["T24", "T30", "T50", "P30", "Nf", "Nc", "Ps30", "phi", "NRf", "NRc", "BPR", "htBleed", "W31", "W32"];
    assert_eq!(kept, informative);
}
