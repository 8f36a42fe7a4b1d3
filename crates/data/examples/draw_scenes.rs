//! Draws the scenes that stand in `fixtures/`: `cargo xtask draw-scenes`.
//!
//! `scenes/NAME.png` are the pictures, `scene-masks/NAME.CLASS.png` the exact masks of their objects (beside the
//! pictures' folder, so that a folder of scenes holds scenes only), and `scenes.json` lists both with classes and boxes.

use faithful_core::Stream;
use faithful_data::{SCENE_CLASSES, SceneSpec, draw_scene_of, write_picture};
use std::path::PathBuf;

/// What is drawn: a seed that was chosen by eye among the first, and the classes.
const SCENES: [(usize, &[usize]); 8] =
    [(0, &[0]), (1, &[8]), (2, &[11]), (3, &[2, 4]), (4, &[5, 9]), (5, &[7, 10]), (6, &[1, 6]), (7, &[3, 8, 11])];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "fixtures".into()));
    let stream = Stream::new(1, "fixture scenes");
    let mut listed = Vec::new();
    std::fs::create_dir_all(out.join("scenes"))?;
    std::fs::create_dir_all(out.join("scene-masks"))?;
    for (index, classes) in SCENES {
        let scene = draw_scene_of(&SceneSpec::sized(224), classes, &mut stream.draw(index))?;
        let labels: Vec<String> = classes.iter().map(|&class| SCENE_CLASSES[class].label.replace(' ', "-")).collect();
        let name = labels.join("_");
        write_picture(&out.join("scenes").join(format!("{name}.png")), &scene.picture)?;
        let mut objects = Vec::new();
        for (object, label) in scene.objects.iter().zip(&labels) {
            let mask = format!("scene-masks/{name}.{label}.png");
            object.mask.write(&out.join(&mask))?;
            let rectangle = object.bounding_box;
            objects.push(serde_json::json!({
                "class": object.class,
                "label": SCENE_CLASSES[object.class].label,
                "mask": mask,
                "box": {
                    "top": rectangle.top,
                    "left": rectangle.left,
                    "height": rectangle.height,
                    "width": rectangle.width,
                },
            }));
        }
        listed.push(serde_json::json!({ "scene": format!("scenes/{name}.png"), "objects": objects }));
    }
    std::fs::write(out.join("scenes.json"), serde_json::to_string_pretty(&listed)? + "\n")?;
    println!("{} scenes in {}", SCENES.len(), out.join("scenes").display());
    Ok(())
}
