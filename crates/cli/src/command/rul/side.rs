//! What is known of an .onnx network of the remaining life: from the command, else from the JSON beside it.

use crate::arguments::{ReadingScale, RulModelArguments, SeriesOrder};
use anyhow::Result;
use faithful_core::{Error, read_file_within};
use faithful_rul::Cycles;
use serde::Deserialize;
use std::io::ErrorKind;
use std::path::Path;

/// `net.json` beside `net.onnx`; every field may be left out, and the command overrules it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SideFile {
    layout: Option<SeriesOrder>,
    window: Option<usize>,
    scaling: Option<ReadingScale>,
    cap: Option<f32>,
    sensors: Option<Vec<String>>,
    smoothing: Option<f32>,
    output_scale: Option<f64>,
    output_shift: Option<f64>,
    /// Whatever else its author wants to say.
    #[serde(rename = "notes")]
    _notes: Option<serde_json::Value>,
}

/// How an .onnx network is used.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Usage {
    pub(super) layout: SeriesOrder,
    pub(super) window: Option<usize>,
    pub(super) scaling: ReadingScale,
    pub(super) cap: f32,
    /// Nothing for all that are not constant.
    pub(super) sensors: Option<Vec<String>>,
    pub(super) smoothing: f32,
    pub(super) life: Cycles,
}

impl Usage {
    /// For the network in `path`; `sensors` are those of the command.
    pub(super) fn of(path: &Path, arguments: &RulModelArguments, sensors: &[String]) -> Result<Self> {
        let side = path.with_extension("json");
        let what = || side.display().to_string();
        let file = match read_file_within(&side, 1 << 20) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| Error::format_from(what(), error)),
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(SideFile::default()),
            Err(error) => Err(error),
        }?;
        let factor = arguments.output_scale.or(file.output_scale).unwrap_or(1.0);
        let offset = arguments.output_shift.or(file.output_shift).unwrap_or(0.0);
        if !(factor.is_finite() && factor != 0.0) {
            let reason = format!("{factor} is not a number of cycles other than 0");
            return Err(Error::parameter("output-scale", reason).into());
        }
        if !offset.is_finite() {
            return Err(Error::parameter("output-shift", format!("{offset} is not a number of cycles")).into());
        }
        Ok(Self {
            layout: arguments.layout.or(file.layout).unwrap_or(SeriesOrder::SensorsTime),
            window: arguments.window.or(file.window),
            scaling: arguments.scaling.or(file.scaling).unwrap_or(ReadingScale::Standard),
            cap: arguments.cap.or(file.cap).unwrap_or(125.0),
            sensors: if sensors.is_empty() { file.sensors } else { Some(sensors.to_vec()) },
            smoothing: file.smoothing.unwrap_or(1.0),
            life: Cycles { factor, offset },
        })
    }
}
