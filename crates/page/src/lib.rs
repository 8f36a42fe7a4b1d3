//! Pages that open anywhere: one HTML file with its style, script, photos and maps inside, that asks the network for
//! nothing.
//!
//! A [`Page`] is sections: a [`Gallery`] shows photos with their maps under common controls (colours, opacity,
//! threshold, interpolation, linked zoom and read-outs), a [`Chart`] lines, a [`HeatMap`] a matrix with axes, a [`Table`] words and
//! numbers. All are plain data: this crate knows neither networks nor methods. Every text may hold anything: it is
//! escaped, and the page's content security policy allows no script but its own.
//!
//! ```
//! use faithful_page::{Chart, Page, Section, Series, Table};
//! let mut page = Page::new("Remaining useful life of FD001");
//! page.fact("seed", "7");
//! page.push(Section::charts("Engine 24", vec![Chart {
//!     x_name: "cycle".into(),
//!     y_name: "cycles left".into(),
//!     series: vec![
//!         Series::line("true", vec![1.0, 2.0, 3.0], vec![3.0, 2.0, 1.0]),
//!         Series::dashed("predicted", vec![1.0, 2.0, 3.0], vec![3.5, 2.0, 0.5]),
//!     ],
//!     ..Chart::new("True and predicted")
//! }]));
//! let mut table = Table::new(&["engine", "<error>"]);
//! table.row(vec!["24".into(), 0.5.into()]);
//! page.push(Section::table("Fleet", table));
//! let html = page.html();
//! assert!(html.starts_with("<!doctype html>") && html.contains("&lt;error&gt;"));
//! ```

mod blobs;
mod chart;
mod diagram;
mod escape;
mod gallery;
mod grid;
mod heat;
mod page;
mod picture;
mod table;

pub use chart::{Chart, Mark, Series};
pub use diagram::{Block, Diagram};
pub use escape::escape;
pub use gallery::{Column, Download, Gallery, Group, Guess, Measure, Overlay, Photo, View};
pub use grid::{Detail, Grid};
pub use heat::HeatMap;
pub use page::{Extra, Fold, Page, Section};
pub use picture::Encoded;
pub use table::{Cell, Table};
