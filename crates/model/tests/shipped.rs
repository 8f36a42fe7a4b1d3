//! The shipped model against scenes that it has never seen.

use candle_core::Device;
use faithful_core::{Network, Stream};
use faithful_data::{SCENE_CLASSES, SceneSpec, draw_scene, picture_tensor};
use faithful_model::{Loading, Model};

fn shipped() -> Model {
    let source = Model::default_source().expect("a model is shipped");
    Model::load(&source, &Loading::default()).unwrap()
}

/// How many of `count` scenes have a class that is present on top.
fn right(model: &Model, spec: &SceneSpec, key: &str, count: usize) -> usize {
    let stream = Stream::new(2026, key);
    let preprocessing = model.preprocessing.as_ref().unwrap();
    (0..count)
        .filter(|&index| {
            let scene = draw_scene(spec, &mut stream.draw(index)).unwrap();
            let input = picture_tensor(&scene.picture, preprocessing, &Device::Cpu).unwrap();
            let (output, _) = model.graph.evaluate(&input, &[]).unwrap();
            let best = output.argmax(1).unwrap().to_vec1::<u32>().unwrap()[0] as usize;
            scene.classes().contains(&best)
        })
        .count()
}

#[test]
fn it_knows_fresh_scenes() {
    let model = shipped();
    assert_eq!((model.name.as_str(), model.labels.count()), ("scenes-vgg", SCENE_CLASSES.len()));
    for (class, scene_class) in SCENE_CLASSES.iter().enumerate() {
        assert_eq!(model.labels.name(class), scene_class.label);
    }
    let usual = right(&model, &SceneSpec::default(), "fresh scenes", 300);
    assert!(usual >= 260, "{usual} of 300 scenes");
    let one = SceneSpec { objects: 1..=1, ..SceneSpec::default() };
    let single = right(&model, &one, "fresh single objects", 200);
    assert!(single >= 165, "{single} of 200 scenes with one object");
}

#[test]
fn it_takes_inputs_of_other_sizes() {
    let model = shipped();
    let spec = SceneSpec { height: 128, width: 160, ..SceneSpec::default() };
    let scene = draw_scene(&spec, &mut Stream::new(1, "large").draw(0)).unwrap();
    let input = picture_tensor(&scene.picture, model.preprocessing.as_ref().unwrap(), &Device::Cpu).unwrap();
    let (output, layers) = model.graph.evaluate(&input, &[model.target.unwrap()]).unwrap();
    assert_eq!(output.dims(), [1, 12]);
    assert_eq!(layers[0].dims(), [1, 64, 16, 20]);
}
