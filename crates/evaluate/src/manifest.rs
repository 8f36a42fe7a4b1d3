use faithful_core::{Digest, Error, Result};
use serde::{Deserialize, Serialize};

/// The version of faithful, and behind the plus a number that is raised with every change after which a map or a metric may
/// have other values: rows of two such programs are not mixed.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "+numbers.5");

/// Everything that defines a run's values. A run can only be resumed, and shards can only be merged, under an equal
/// manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// How the run's files are written: [`Manifest::FORMAT`]; 0 for runs of before files of rows had a digest.
    #[serde(default)]
    pub format: u32,
    /// The version of faithful, usually [`VERSION`].
    pub version: String,
    /// The model as it was asked for, and the digest of its file's bytes.
    pub model: String,
    /// What the outputs are called, as a digest.
    #[serde(default)]
    pub labels: String,
    /// What a photo goes through before the network.
    #[serde(default)]
    pub preprocessing: String,
    /// The images' names and bytes, and those of their masks, in order, as a digest; a folder that changed makes another run.
    pub images: String,
    /// How many images there are.
    pub image_count: usize,
    /// The methods with their parameters.
    pub methods: Vec<String>,
    /// The baselines' photos, their names and bytes, as a digest; empty where there are none.
    #[serde(default)]
    pub baselines: String,
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
    /// The instruction set of the process that began the run; empty for runs of before. Another one goes on with it: its
    /// values differ by rounding alone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instructions: String,
}

impl Manifest {
    /// How this version writes a run's files: each file of rows names its run and has a digest of its rows.
    pub const FORMAT: u32 = 1;

    /// The manifest in a file of that name.
    pub(crate) fn parse(name: &str, bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| Error::format_from(name, error))
    }

    /// The manifest as JSON for people.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a manifest is plain data")
    }

    /// What tells this run from any other.
    pub(crate) fn digest(&self) -> String {
        let pinned = Self { instructions: String::new(), ..self.clone() };
        Digest::of(serde_json::to_string(&pinned).expect("a manifest is plain data").as_bytes())
    }

    /// The fields in which two manifests differ, with both values.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let values = |manifest| match serde_json::to_value::<&Self>(manifest) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => unreachable!("a manifest is a JSON object"),
        };
        let (ours, theirs) = (values(self), values(other));
        let pinned = ours.iter().filter(|(name, _)| *name != "instructions");
        let differ = pinned.filter(|(name, value)| theirs.get(*name) != Some(value));
        differ.map(|(name, value)| format!("{name} is {value} now and was {}", theirs[name])).collect()
    }
}
