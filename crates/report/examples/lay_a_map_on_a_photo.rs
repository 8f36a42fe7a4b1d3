//! Draws a map on a photo: `cargo run -p faithful-report --example lay_a_map_on_a_photo -- out.png`; without a name, nothing
//! is written.

use faithful_report::image::RgbImage;
use faithful_report::{Map, Region, Scale, Style, encode_png, overlay, rescale, write_atomic};

fn main() -> faithful_core::Result<()> {
    let photo = RgbImage::from_fn(90, 60, |x, y| [2 * x as u8, 3 * y as u8, 120].into());
    let map = Map::new(2, 3, vec![0.0, 1.0, 0.5, 0.2, 4.0, 0.1])?;
    // The network saw the middle of the photo.
    let seen = Region { left: 15.0, top: 0.0, width: 60.0, height: 60.0 };
    let style = Style { legend: true, ..Style::default() };
    let png = encode_png(&overlay(&photo, &rescale(&map, &Scale::default())?, seen, &style)?)?;
    println!("{} bytes of PNG", png.len());
    match std::env::args_os().nth(1) {
        Some(path) => write_atomic(path.as_ref(), &png),
        None => Ok(()),
    }
}
