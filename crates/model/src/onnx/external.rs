//! Tensors whose data lie in files beside the model.

use super::proto;
use faithful_core::{Error, Result};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// Where data outside the model's own file may be.
#[derive(Clone)]
pub(super) struct External {
    folder: Option<PathBuf>,
}

impl External {
    /// Files in `folder` or below; none at all where it is not given.
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self { folder: folder.map(Path::to_path_buf) }
    }

    /// The bytes of `tensor`.
    pub(super) fn read(&self, tensor: &proto::Tensor) -> Result<Vec<u8>> {
        let damaged = |reason: String| Error::format(format!("tensor `{}`", tensor.name), reason);
        let entry = |key: &str| tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| &entry.value);
        let number = |key: &str| -> Result<Option<u64>> {
            let parse = |text: &String| text.parse().map_err(|_| damaged(format!("its {key} `{text}` is no number")));
            entry(key).map(parse).transpose()
        };
        let location = entry("location").ok_or_else(|| damaged("it names no file for its data".into()))?;
        let folder = self
            .folder
            .as_ref()
            .ok_or_else(|| damaged(format!("its data are in the file `{location}`; load the model by its path")))?;
        // A model from a stranger must not read files elsewhere.
        if !Path::new(location).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(damaged(format!("its data file `{location}` is not below the model's folder")));
        }
        let path = folder.join(location);
        let failed = |source| Error::Io { path: path.display().to_string(), source };
        let mut file = File::open(&path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let offset = number("offset")?.unwrap_or(0);
        let available = size.checked_sub(offset);
        let length = match (number("length")?, available) {
            (Some(length), Some(available)) if length <= available => length,
            (None, Some(available)) => available,
            (length, _) => {
                let end = length.unwrap_or(0).saturating_add(offset);
                return Err(damaged(format!("`{location}` has {size} bytes, but its data end at {end}")));
            }
        };
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }
}
