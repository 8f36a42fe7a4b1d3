//! Where results are written, and what they must not overwrite.

use anyhow::{Context, Result};
use faithful_core::{Digest, Error, remove_left_over};
use faithful_data::PHOTO_ENDINGS;
use faithful_report::{read_png_note, write_atomic};
use std::path::{Path, PathBuf};

/// A folder that was found to be writable.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// What is read from there and must stay.
    inputs: Vec<PathBuf>,
}

impl Folder {
    /// Makes the folder if it is not there, and tries it before any work is done. What a killed process left half-written
    /// there is removed.
    pub(crate) fn prepare(path: &Path) -> Result<Self> {
        let hint = || format!("cannot write to `{}`; name another folder with --out", path.display());
        std::fs::create_dir_all(path).with_context(hint)?;
        let probe = path.join(format!(".faithful-{}", std::process::id()));
        std::fs::write(&probe, b"").with_context(hint)?;
        std::fs::remove_file(&probe).with_context(hint)?;
        remove_left_over(path);
        Ok(Self { path: path.to_path_buf(), inputs: Vec::new() })
    }

    /// No file of these is written over.
    pub(crate) fn spare<'a>(&mut self, inputs: impl IntoIterator<Item = &'a Path>) {
        self.inputs = inputs.into_iter().filter_map(|input| input.canonicalize().ok()).collect();
    }

    /// What results of the question that `record` tells are called: `name`, unless files of that name answer another question or
    /// come from elsewhere; then the name with a digest of the question. The picture of a question holds its record.
    pub(crate) fn name_for(&self, name: &str, record: &str) -> String {
        let digest = Digest::of(record.as_bytes());
        let other = |number: usize| match number {
            0 => name.to_owned(),
            1 => format!("{name}.{}", &digest[..8]),
            more => format!("{name}.{}-{more}", &digest[..8]),
        };
        // There are fewer files than numbers.
        (0..usize::MAX).map(other).find(|name| self.is_free(name, record)).unwrap_or_default()
    }

    /// Whether the files of a name are missing, or are answers to the same question.
    fn is_free(&self, name: &str, record: &str) -> bool {
        let there = |ending: &str| self.path.join(format!("{name}.{ending}")).symlink_metadata().is_ok();
        if there("png") {
            return read_png_note(&self.path.join(format!("{name}.png"))).as_deref() == Some(record);
        }
        !["npy", "jsonl", "svg"].into_iter().any(there)
    }

    /// Writes a file as a whole or not at all; its path.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.path.join(name);
        if !self.inputs.is_empty() && path.canonicalize().is_ok_and(|real| self.inputs.contains(&real)) {
            return Err(kept(&path, "it is one of the photos that are read"));
        }
        write_atomic(&path, bytes)?;
        Ok(path)
    }
}

/// Refuses an output that is one of the inputs, a photo of a folder that is read, or a file of a run.
pub(crate) fn spare<'a>(out: &Path, inputs: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (Ok(folder), Some(name)) = (folder.canonicalize(), out.file_name()) else { return Ok(()) };
    let own = folder.join(name);
    let real = own.canonicalize().unwrap_or(own);
    if real.is_file() {
        let ending = real.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        let is_photo = ending.is_some_and(|ending| PHOTO_ENDINGS.contains(&ending.as_str()));
        for input in inputs.into_iter().filter_map(|input| input.canonicalize().ok()) {
            if input == real {
                return Err(kept(out, "it is what is read"));
            }
            if is_photo && input.is_dir() && real.starts_with(input) {
                return Err(kept(out, "it is one of the photos that are read"));
            }
        }
    }
    if is_of_a_run(&real) { Err(kept(out, "a file of that name belongs to the evaluation run there")) } else { Ok(()) }
}

/// Whether a file is, or would be, one of those that an evaluation run consists of.
fn is_of_a_run(file: &Path) -> bool {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name().and_then(|name| name.to_str())) else {
        return false;
    };
    let is_rows = name.ends_with(".parquet");
    let parts = folder.file_name().is_some_and(|name| name == "parts");
    let is_run = |folder: &Path| folder.join("manifest.json").is_file() && folder.join("parts").is_dir();
    is_run(folder) && (is_rows || ["manifest.json", "command.json", "images.json"].contains(&name))
        || parts && is_rows && folder.parent().is_some_and(is_run)
}

fn kept(path: &Path, reason: &str) -> anyhow::Error {
    let reason = format!("`{}` is not written over: {reason}; name another place", path.display());
    Error::parameter("out", reason).into()
}
