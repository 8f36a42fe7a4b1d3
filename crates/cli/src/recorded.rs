//! The command that began an evaluation run.

use anyhow::{Context, Result};
use faithful_evaluate::Store;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The command that began a run, as it is kept beside the manifest: what one needs to do it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recorded {
    /// The words of the command line, the program first.
    pub(crate) command: Vec<String>,
    /// The folder it was given in.
    pub(crate) folder: PathBuf,
}

impl Recorded {
    const FILE: &'static str = "command.json";

    /// The command of this process.
    pub(crate) fn now() -> Self {
        let command = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        Self { command, folder: std::env::current_dir().unwrap_or_default() }
    }

    /// Keeps it beside a run's manifest, unless the run has one already: it was begun by another.
    pub(crate) fn write(&self, run: &Store) -> Result<()> {
        if run.note(Self::FILE)?.is_some() {
            return Ok(());
        }
        Ok(run.keep_note(Self::FILE, &serde_json::to_vec_pretty(self)?)?)
    }

    /// The command of a run; nothing where none was kept.
    pub(crate) fn read(run: &Store) -> Result<Option<Self>> {
        let Some(bytes) = run.note(Self::FILE)? else { return Ok(None) };
        let recorded = serde_json::from_slice(&bytes);
        recorded.map(Some).with_context(|| format!("`{}` is damaged", run.label(Self::FILE)))
    }
}
