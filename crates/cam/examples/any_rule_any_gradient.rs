//! Every rule on the plain and on the expected gradient of the built-in network, on a drawn scene:
//! `cargo run -p faithful-cam --example any_rule_any_gradient`

use candle_core::Device;
use faithful_cam::{CamParameters, EstimatorParameters, RULES, estimator, explain, method};
use faithful_core::{Error, Objective, Result, Stream, Target};
use faithful_data::{SCENE_CLASSES, SceneSpec, draw_scene, preprocess};
use faithful_model::{Loading, Model};
use std::num::NonZeroUsize;

fn main() -> Result<()> {
    let source = Model::default_source().ok_or_else(|| Error::parameter("model", "none is built in"))?;
    let model = Model::load(&source, &Loading::default())?;
    let scene = draw_scene(&SceneSpec::default(), &mut Stream::new(3, "example").draw(0))?;
    let seen = preprocess(&scene.picture, model.photo_preprocessing()?, &Device::Cpu)?;
    let class = scene.classes()[0];
    let target = Target::Output(class);
    let objective = Objective::new(&model.graph, &target);
    let layer = model.target.ok_or_else(|| Error::parameter("layer", "there is none with places"))?;
    println!("where is the {}?", SCENE_CLASSES[class].label);
    for rule in RULES {
        for gradient in ["plain", "expected"] {
            let parameters = CamParameters {
                estimator: Some(estimator(gradient)?),
                gradient: EstimatorParameters {
                    draws: NonZeroUsize::new(8).unwrap_or(NonZeroUsize::MIN),
                    ..EstimatorParameters::default()
                },
                ..CamParameters::default()
            };
            // CAM needs a network that pools before its only linear layer.
            let found = match explain(method(rule.name)?, &objective, &seen.tensor, &[layer], &parameters) {
                Ok(found) => found,
                Err(error) => {
                    println!("{:<18} {gradient:<9} {error}", rule.name);
                    continue;
                }
            };
            let (_, _, width) = found.map.dims3()?;
            let place = found.map.flatten_all()?.argmax(0)?.to_scalar::<u32>()? as usize;
            println!("{:<18} {gradient:<9} strongest at row {}, column {}", rule.name, place / width, place % width);
        }
    }
    Ok(())
}
