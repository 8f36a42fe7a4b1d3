use faithful_core::{Error, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// Writes `content` to `path` so that the file appears whole or not at all: into a temporary file beside it, to the
/// disk, and then renamed. What was there before stays until then.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&temporary, path)).map_err(|source| {
        let _ = fs::remove_file(&temporary);
        Error::Io { path: path.display().to_string(), source }
    })
}
