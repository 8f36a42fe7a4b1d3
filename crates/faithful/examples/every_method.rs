//! Explains a photo by every method that needs one pass: `cargo run -p faithful --example every_method -- PHOTO`.

use faithful::explain::Method;
use faithful::{Classifier, Setup, methods};
use std::path::PathBuf;

fn main() -> faithful::Result<()> {
    let path = std::env::args_os().nth(1).map_or_else(|| "fixtures/scenes/dotted-star.png".into(), PathBuf::from);
    let classifier = Classifier::built_in()?;
    for info in methods() {
        let method = Method::new(info.name, None, "paper")?;
        if method.draws() || info.family == faithful::core::Family::Perturbation {
            continue;
        }
        let session = Setup { methods: vec![method.into()], ..Setup::default() }.session(&classifier);
        // Some methods are for some networks only.
        match session.and_then(|session| session.explain(&session.read(&path)?, &session.methods[0])) {
            Ok(maps) => println!("{}: {:?}", info.name, maps[0].map.dims()),
            Err(reason) => println!("{}: {reason}", info.name),
        }
    }
    Ok(())
}
