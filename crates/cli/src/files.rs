//! Where results are written.

use anyhow::{Context, Result};
use faithful_report::write_atomic;
use std::path::{Path, PathBuf};

/// A folder that was found to be writable.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder if it is not there, and tries it before any work is done.
    pub(crate) fn prepare(path: &Path) -> Result<Self> {
        let hint = || format!("cannot write to `{}`; name another folder with --out", path.display());
        std::fs::create_dir_all(path).with_context(hint)?;
        let probe = path.join(format!(".faithful-{}", std::process::id()));
        std::fs::write(&probe, b"").with_context(hint)?;
        std::fs::remove_file(&probe).with_context(hint)?;
        Ok(Self(path.to_path_buf()))
    }

    /// Writes a file as a whole or not at all; its path.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.0.join(name);
        write_atomic(&path, bytes)?;
        Ok(path)
    }
}
