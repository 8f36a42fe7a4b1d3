//! Hyper Expected Grad-CAM of the shipped network on drawn scenes: it stays with its class, two seeds agree, and it forgets with the
//! network.

use candle_core::Tensor;
use faithful_cam::{CamParameters, Quality, explain, method};
use faithful_core::{LayerId, Network, Objective, Stream, Target};
use faithful_data::{Scene, SceneSpec, draw_scene, preprocess};
use faithful_metric::{energy_inside, parameter_randomisation, pointing_game, similarity};
use faithful_model::{Loading, Model, Randomisation};

/// Scenes of two objects that the network finds the most probable classes of, and the network's input.
fn scenes(model: &Model, count: usize) -> Vec<(Scene, [usize; 2], Tensor)> {
    let spec = SceneSpec { objects: 2..=2, ..SceneSpec::default() };
    let stream = Stream::new(0, "two objects");
    let drawn = (0..).filter_map(|draw| {
        let scene = draw_scene(&spec, &mut stream.draw(draw)).unwrap();
        let [one, other] = scene.classes()[..] else { return None };
        let preprocessing = model.photo_preprocessing().unwrap();
        let input = preprocess(&scene.picture, preprocessing, &model.graph.device()).unwrap().tensor;
        let logits: Vec<f32> = model.graph.evaluate(&input, &[]).unwrap().0.squeeze(0).unwrap().to_vec1().unwrap();
        let better = |class: usize| logits.iter().filter(|logit| **logit > logits[class]).count();
        (better(one) < 2 && better(other) < 2).then_some((scene, [one, other], input))
    });
    drawn.take(count).collect()
}

fn map(network: &dyn Network, layer: LayerId, input: &Tensor, class: usize, seed: u64) -> Tensor {
    let mut parameters = CamParameters { hyper: Quality::Standard.parameters(), ..CamParameters::default() };
    parameters.gradient.draws = Quality::Standard.draws();
    parameters.gradient.stream = Stream::new(seed, "scene");
    let score = Target::Output(class);
    let objective = Objective::new(network, &score);
    let hyper = method("hyper-expected-grad-cam").unwrap();
    explain(hyper, &objective, input, &[layer], &parameters).unwrap().map.squeeze(0).unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn a_map_stays_with_its_class_and_two_seeds_agree() {
    let model = Model::load(&"scenes-vgg".parse().unwrap(), &Loading::default()).unwrap();
    let layer = model.target.unwrap();
    let (mut own, mut pointed, mut maps, mut agreement) = (0, 0, 0, Vec::new());
    for (scene, classes, input) in scenes(&model, 12) {
        for (place, class) in classes.into_iter().enumerate() {
            let one = map(&model.graph, layer, &input, class, 0);
            let inside = |class: usize| scene.mask_of(class).inside;
            let (mine, others) = (inside(class), inside(classes[1 - place]));
            maps += 1;
            own += usize::from(energy_inside(&one, &mine).unwrap() > energy_inside(&one, &others).unwrap());
            pointed += usize::from(pointing_game(&one, &mine).unwrap() > 0.5);
            agreement.push(similarity(&one, &map(&model.graph, layer, &input, class, 1)).unwrap().spearman);
        }
    }
    assert!(10 * own >= 9 * maps && 10 * pointed >= 8 * maps, "of {maps}: {own} more energy, {pointed} pointed");
    assert!(median(agreement.clone()) > 0.9, "{agreement:?}");
}

#[test]
fn a_map_forgets_with_the_network() {
    let model = Model::load(&"scenes-vgg".parse().unwrap(), &Loading::default()).unwrap();
    let layer = model.target.unwrap();
    let mut left: Vec<Vec<f64>> = Vec::new();
    for (_, [class, _], input) in scenes(&model, 5) {
        let randomised = model.graph.randomised(Randomisation::Cascading, &Stream::new(0, "forgets")).take(3);
        let mut explained = |network: &dyn Network| Ok(map(network, layer, &input, class, 0));
        let all = parameter_randomisation(&model.graph, randomised, &mut explained).unwrap();
        left.push(all.iter().map(|one| one.similarity.spearman).collect());
    }
    let after_three = median(left.iter().map(|one| one[2]).collect());
    assert!(after_three < 0.5, "{left:?}");
}
