//! From a photo's file to its map as a picture, in ten lines:
//! `cargo run -p faithful-examples --bin photo_to_map -- fixtures/scenes/dotted-star.png map.png`.

use faithful::{Classifier, Setup};
use std::path::PathBuf;

fn main() -> faithful::Result<()> {
    let [photo, map] = [1, 2].map(|place| std::env::args_os().nth(place).map(PathBuf::from).expect("PHOTO MAP.png"));
    let classifier = Classifier::built_in()?;
    let session = Setup::method("expected-grad-cam")?.session(&classifier)?;
    let seen = session.read(&photo)?;
    for found in session.explain(&seen, &session.methods[0])? {
        found.write_png(&seen.photo, &map)?;
    }
    Ok(())
}
