/// One metric's value for one method's map of one image; or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The image's name: its path below the run's folder.
    pub image: String,
    /// The explanation method; empty where the image itself failed.
    pub method: String,
    /// The metric; empty where the image or the method failed.
    pub metric: String,
    /// The value; none where something failed.
    pub value: Option<f64>,
    /// The reason, where something failed.
    pub error: Option<String>,
    /// The class that was explained.
    pub class: Option<u32>,
    /// The network's probability of that class on the whole image.
    pub probability: Option<f64>,
    /// The layer that was explained, where the method has one.
    pub layer: Option<String>,
    /// How long the explanation took, in seconds; not the measurement.
    pub seconds: Option<f64>,
    /// The run's seed.
    pub seed: u64,
    /// How insertion and deletion are measured in this run: the preset's name, or `own`, and the whole definition.
    pub protocol: String,
    /// The version of faithful.
    pub version: String,
    /// The curve under `insertion` and `deletion`.
    pub curve: Option<Curve>,
}

/// Points of a curve.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// The fraction of changed cells, from 0 to 1.
    pub fraction: Vec<f64>,
    /// The score there.
    pub score: Vec<f64>,
}

impl Row {
    /// What makes a row one of its kind: a run holds each key once.
    pub fn key(&self) -> (&str, &str, &str) {
        (&self.image, &self.method, &self.metric)
    }
}
