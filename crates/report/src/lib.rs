//! From raw maps to pictures: colour maps, rescaling for display, overlays on the photo, PNG and `.npy` files; and line
//! charts as SVG or PNG.
//!
//! Methods give raw maps and never touch a colour; this crate is the only place where a map is rescaled. A map covers
//! the [`Region`] of the photo that the network saw, and [`overlay`] draws it on the photo's own pixels.
//!
//! ```
//! use faithful_report::{Map, Region, Scale, Style, image::RgbImage, overlay, rescale};
//! # fn main() -> faithful_core::Result<()> {
//! let photo = RgbImage::from_pixel(60, 40, [90, 120, 60].into());
//! let map = Map::new(2, 2, vec![0.0, 1.0, 2.0, 4.0])?;
//! let scaled = rescale(&map, &Scale::default())?;
//! assert_eq!(scaled.map.values(), [0.0, 0.25, 0.5, 1.0]);
//! let centre = Region { left: 10.0, top: 0.0, width: 40.0, height: 40.0 };
//! assert_eq!(overlay(&photo, &scaled, centre, &Style::default())?.dimensions(), (60, 40));
//! # Ok(())
//! # }
//! ```

mod boxes;
mod chart;
mod classes;
mod colormap;
mod figure;
mod legend;
mod lettering;
mod map;
mod npy;
mod overlay;
mod png_file;
mod resample;
mod scale;
mod series_chart;

pub use boxes::{Boxed, draw_boxes};
pub use chart::{Axis, Chart, Level, Line, chart_png, chart_svg};
pub use classes::{CLASS_COLORS, overlay_classes};
pub use colormap::Colormap;
pub use faithful_core::write_atomic;
pub use figure::{Anchor, Color, Figure};
pub use image;
pub use legend::with_caption;
pub use map::Map;
pub use npy::{decode_npy, encode_npy, encode_npy_slices};
pub use overlay::{Style, overlay};
pub use png_file::{encode_png, encode_png_with_note, read_png_note};
pub use resample::{Region, Resampled, resample};
pub use scale::{Scale, Scaled, rescale};
pub use series_chart::{Bars, SeriesMap, bar_chart, prediction_chart, series_chart};
