//! Tensors whose data lie in files beside the model.

use super::proto;
use super::tensor::element;
use faithful_core::{Error, Result, file_error, open_file};
use std::collections::BTreeSet;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Where data outside the model's own file may be, and which files were read.
#[derive(Clone)]
pub(super) struct External {
    folder: Option<PathBuf>,
    /// Below which data may lie: the folder, and that of the model itself where its name there is a link.
    roots: Vec<PathBuf>,
    files: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl External {
    /// No files at all.
    pub(super) fn none() -> Self {
        Self { folder: None, roots: Vec::new(), files: Arc::default() }
    }

    /// Files in the folder of `model` or below.
    pub(super) fn beside(model: &Path) -> Result<Self> {
        let canonical = |path: &Path| path.canonicalize().map_err(|source| file_error(path, source));
        let folder = model.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut roots = vec![canonical(folder)?];
        // Caches keep models and their data in one folder, and links to them in another.
        roots.extend(canonical(model)?.parent().map(Path::to_path_buf));
        Ok(Self { folder: Some(folder.to_path_buf()), roots, files: Arc::default() })
    }

    /// The files that were read.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The bytes of `tensor`, which has `count` elements: as many as those need.
    pub(super) fn read(&self, tensor: &proto::Tensor, count: usize) -> Result<Vec<u8>> {
        let damaged = |reason: String| Error::format(format!("tensor `{}`", tensor.name), reason);
        let entry = |key: &str| tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| &entry.value);
        let number = |key: &str| -> Result<Option<u64>> {
            let parse = |text: &String| text.parse().map_err(|_| damaged(format!("its {key} `{text}` is no number")));
            entry(key).map(parse).transpose()
        };
        let location = entry("location").ok_or_else(|| damaged("it names no file for its data".into()))?;
        let path = self.resolve(location, &damaged)?;
        let needed = element::bits(tensor.data_type)
            .and_then(|bits| (count as u64).checked_mul(bits))
            .map(|bits| bits.div_ceil(8))
            .ok_or_else(|| damaged(format!("its element type {} has no size", tensor.data_type)))?;
        let failed = |source| file_error(&path, source);
        let mut file = open_file(&path)?;
        let size = file.metadata().map_err(failed)?.len();
        let offset = number("offset")?.unwrap_or(0);
        let length = match number("length")? {
            Some(length) if length != needed => {
                let shape = &tensor.dims;
                return Err(damaged(format!("its data have {length} bytes, but its shape {shape:?} needs {needed}")));
            }
            _ => needed,
        };
        let end = offset.saturating_add(length);
        if end > size {
            return Err(damaged(format!("`{location}` has {size} bytes, but its data end at {end}")));
        }
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 != length {
            return Err(damaged(format!("`{location}` became shorter while it was read")));
        }
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(path);
        Ok(bytes)
    }

    /// The file that `location` means. A model from a stranger must not read files elsewhere, whatever links lie beside it.
    fn resolve(&self, location: &str, damaged: &dyn Fn(String) -> Error) -> Result<PathBuf> {
        let folder = self
            .folder
            .as_ref()
            .ok_or_else(|| damaged(format!("its data are in the file `{location}`; load the model by its path")))?;
        let elsewhere = || damaged(format!("its data file `{location}` is not below the model's folder"));
        if !Path::new(location).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(elsewhere());
        }
        let path = folder.join(location);
        let real = path.canonicalize().map_err(|source| file_error(&path, source))?;
        if self.roots.iter().any(|root| real.starts_with(root)) { Ok(path) } else { Err(elsewhere()) }
    }
}
