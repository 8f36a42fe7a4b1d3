//! Where a run's files lie: a folder, or a prefix in a bucket.

#[cfg(feature = "s3")]
use crate::bucket::Bucket;
use bytes::Bytes;
use faithful_core::{Error, Result, write_atomic};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A run's place. Names are relative to it, with `/` between their parts.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Folder(PathBuf),
    #[cfg(feature = "s3")]
    Bucket(Bucket),
}

/// A right that ends with the value or with the process, also with one that is killed.
#[derive(Debug)]
pub(crate) struct Lock {
    // Unlocked when it is closed. The file stays: another process may have it open already.
    _file: Option<File>,
}

impl Place {
    /// The place that a path names: `s3://bucket/prefix`, or a folder.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a bucket where this build has no S3, or without what S3 needs to know.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        match path.to_str().and_then(|text| text.strip_prefix("s3://")) {
            None => Ok(Self::Folder(path.to_owned())),
            #[cfg(feature = "s3")]
            Some(rest) => Bucket::new(rest).map(Self::Bucket),
            #[cfg(not(feature = "s3"))]
            Some(_) => {
                let reason = format!("{} is in S3, which this build has not: `--features s3` adds it", path.display());
                Err(Error::parameter("run", reason))
            }
        }
    }

    pub(crate) fn is_folder(&self) -> bool {
        matches!(self, Self::Folder(_))
    }

    /// A file's name for people.
    pub(crate) fn label(&self, name: &str) -> String {
        match self {
            Self::Folder(folder) => folder.join(name).display().to_string(),
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.label(name),
        }
    }

    /// Makes the place ready for files in `folder`.
    pub(crate) fn prepare(&self, folder: &str) -> Result<()> {
        match self {
            Self::Folder(root) => fs::create_dir_all(root.join(folder)).map_err(|source| self.failed(folder, source)),
            #[cfg(feature = "s3")]
            Self::Bucket(_) => Ok(()),
        }
    }

    /// A file's bytes; none where there is no such file.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Bytes>> {
        match self {
            Self::Folder(root) => match fs::read(root.join(name)) {
                Ok(bytes) => Ok(Some(bytes.into())),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(source) => Err(self.failed(name, source)),
            },
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.read(name),
        }
    }

    /// Writes a file as a whole or not at all.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Folder(root) => write_atomic(&root.join(name), bytes),
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.write(name, bytes),
        }
    }

    /// Writes a file as a whole, unless there is one of that name already; whether it was written. Of several processes
    /// one writes it.
    pub(crate) fn create(&self, name: &str, bytes: &[u8]) -> Result<bool> {
        match self {
            Self::Folder(root) => {
                let path = root.join(name);
                let beside = root.join(format!(".{name}.{}", std::process::id()));
                write_atomic(&beside, bytes)?;
                // Unlike a renaming, a link does not replace what is there.
                let linked = fs::hard_link(&beside, &path);
                let created = match linked {
                    Ok(()) => Ok(true),
                    Err(_) if path.exists() => Ok(false),
                    // A file system without links.
                    Err(_) => write_atomic(&path, bytes).map(|()| true),
                };
                let _ = fs::remove_file(&beside);
                created
            }
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.create(name, bytes),
        }
    }

    /// The right to do what `name` stands for, which one process has at a time and which ends with it; none where another has
    /// it. In a bucket, and where a file system knows no locks, everyone has it.
    pub(crate) fn lock(&self, name: &str) -> Result<Option<Lock>> {
        match self {
            Self::Folder(root) => {
                let path = root.join(name);
                let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
                let file = file.map_err(|source| self.failed(name, source))?;
                match file.try_lock() {
                    Err(TryLockError::WouldBlock) => Ok(None),
                    Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(Lock { _file: Some(file) })),
                }
            }
            #[cfg(feature = "s3")]
            Self::Bucket(_) => Ok(Some(Lock { _file: None })),
        }
    }

    /// Removes a file, where it is still there.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        match self {
            Self::Folder(root) => match fs::remove_file(root.join(name)) {
                Err(source) if source.kind() != ErrorKind::NotFound => Err(self.failed(name, source)),
                _ => Ok(()),
            },
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.remove(name),
        }
    }

    /// The names of the files right in `folder` (the place itself where it is empty) that end in `ending`, sorted. What is
    /// hidden, as the temporary files of a killed process are, is not among them.
    pub(crate) fn list(&self, folder: &str, ending: &str) -> Result<Vec<String>> {
        let mut names: Vec<String> = match self {
            Self::Folder(root) => {
                let entries = match fs::read_dir(root.join(folder)) {
                    Ok(entries) => entries,
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
                    Err(source) => return Err(self.failed(folder, source)),
                };
                entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect()
            }
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.list(folder)?,
        };
        names.retain(|name| name.ends_with(ending) && !name.starts_with('.'));
        names.sort();
        let below = |name: String| if folder.is_empty() { name } else { format!("{folder}/{name}") };
        Ok(names.into_iter().map(below).collect())
    }

    fn failed(&self, name: &str, source: std::io::Error) -> Error {
        Error::Io { path: self.label(name), source }
    }
}
