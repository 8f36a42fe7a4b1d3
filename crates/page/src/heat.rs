use crate::Grid;
use crate::blobs::Blobs;
use serde_json::{Value, json};

/// A matrix in colours: named rows, columns along an axis; for instance sensors over cycles.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatMap {
    /// The title.
    pub title: String,
    /// The rows' names, from the top; as many as the grid has rows.
    pub rows: Vec<String>,
    /// What columns are, with the unit.
    pub x_name: String,
    /// The first and the last column's place on the axis.
    pub columns: [f64; 2],
    /// The values.
    pub grid: Grid,
    /// What one sees in it, for those who cannot.
    pub summary: Option<String>,
}

impl HeatMap {
    pub(crate) fn json(&self, blobs: &mut Blobs) -> Value {
        json!({
            "kind": "heat", "title": self.title, "rows": self.rows, "x_name": self.x_name, "columns": self.columns,
            "map": self.grid.json(blobs), "summary": self.summary,
        })
    }
}
