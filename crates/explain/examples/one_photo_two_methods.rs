//! From a photo's file to a picture of what a method finds in it:
//! `cargo run -p faithful-explain --example one_photo_two_methods -- PHOTO OUT.png`.

use faithful_core::Result;
use faithful_explain::{Classifier, Setup};
use std::path::PathBuf;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let path = arguments.next().unwrap_or_else(|| "fixtures/scenes/dotted-star.png".into());
    let out = arguments.next().unwrap_or_else(|| "target/photo-to-map.png".into());
    let classifier = Classifier::built_in()?;
    // Two methods, the two most probable classes, compared with the photo itself, blurred.
    let setup = Setup {
        methods: vec!["grad-cam".parse()?, "layer-cam.expected".parse()?],
        classes: vec!["top2".into()],
        baselines: Some("blur:10".into()),
        ..Setup::default()
    };
    let session = setup.session(&classifier)?;
    let seen = session.read(&path)?;
    for method in &session.methods {
        for (class, found) in seen.classes.iter().zip(session.explain(&seen, method)?) {
            let label = classifier.model.labels.name(*class);
            println!("{} of {label}: {:.3}, {:?} cells", method.spec.label, found.score, found.map.dims());
            found.write_png(&seen.photo, &out)?;
        }
    }
    Ok(())
}
