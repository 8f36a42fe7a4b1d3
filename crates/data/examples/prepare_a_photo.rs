//! From a photo's file to a network's input and back: `cargo run -p faithful-data --example prepare_a_photo -- photo.jpg`;
//! without a file, a drawn scene.

use candle_core::Device;
use faithful_core::{Preprocessing, Result, Stream};
use faithful_data::{Decoding, SceneSpec, draw_scene, preprocess, read_photo};

fn main() -> Result<()> {
    let photo = match std::env::args_os().nth(1) {
        Some(path) => read_photo(path.as_ref(), &Decoding::default())?,
        None => draw_scene(&SceneSpec::default(), &mut Stream::new(1, "example").draw(0))?.picture,
    };
    let seen = preprocess(&photo, &Preprocessing::default(), &Device::Cpu)?;
    println!("a photo of {} x {} pixels becomes {:?}", photo.width, photo.height, seen.tensor.dims());
    let [y, x] = seen.placement.to_photo([112.0, 112.0]);
    println!("the input's centre is the photo's row {y:.1}, column {x:.1}");
    Ok(())
}
