use faithful_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// Everything that defines a run's values. A run can only be resumed, and shards can only be merged, under an equal
/// manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of faithful.
    pub version: String,
    /// The model as it was asked for, and a digest of its weights.
    pub model: String,
    /// The images' names, in order, as a digest; a folder that changed makes another run.
    pub images: String,
    /// How many images there are.
    pub image_count: usize,
    /// The methods with their parameters.
    pub methods: Vec<String>,
    /// The metrics.
    pub metrics: Vec<String>,
    /// The insertion and deletion protocol, with everything that defines it.
    pub protocol: String,
    /// The target layer, or how it is chosen.
    pub layer: String,
    /// Which class of an image is explained.
    pub class: String,
    /// The seed.
    pub seed: u64,
}

impl Manifest {
    /// The manifest in a file of that name.
    pub(crate) fn parse(name: &str, bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| Error::format(name, error.to_string()))
    }

    /// The manifest as JSON for people.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a manifest is plain data")
    }

    /// The fields in which two manifests differ, with both values.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let values = |manifest| match serde_json::to_value::<&Self>(manifest) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => unreachable!("a manifest is a JSON object"),
        };
        let (ours, theirs) = (values(self), values(other));
        let differ = ours.iter().filter(|(name, value)| theirs.get(*name) != Some(value));
        differ.map(|(name, value)| format!("{name} is {value} now and was {}", theirs[name])).collect()
    }
}
