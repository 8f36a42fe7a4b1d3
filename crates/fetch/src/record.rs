use crate::error::{Result, at};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What was fetched from where, kept in a file: an address whose digest nobody publishes must give the same bytes the
/// next time.
pub(crate) struct Record {
    path: PathBuf,
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Entry {
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
}

impl Record {
    /// Reads the record at `path`; where there is none, it is empty.
    pub(crate) fn read(path: PathBuf) -> Result<Self> {
        let entries = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| at(&path)(error.into()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(at(&path)(error)),
        };
        Ok(Self { path, entries })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn get(&self, url: &str) -> Option<&Entry> {
        self.entries.get(url)
    }

    /// Adds an entry and writes the file, as a whole or not at all.
    pub(crate) fn put(&mut self, url: &str, entry: Entry) -> Result<()> {
        if self.entries.get(url) == Some(&entry) {
            return Ok(());
        }
        self.entries.insert(url.to_owned(), entry);
        let text = serde_json::to_vec_pretty(&self.entries).map_err(|error| at(&self.path)(error.into()))?;
        let temporary = self.path.with_extension("part");
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)
        };
        write().map_err(at(&self.path))
    }
}
