use crate::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Writes `bytes` to `path` as a whole or not at all.
///
/// The bytes go to a hidden file beside `path`, to the disk, and only then to their name: a full disk leaves what was
/// there before, and whoever reads `path` sees the old file or the new one.
///
/// # Errors
/// [`Error::Io`] with the path and the operating system's word.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |source| Error::Io { path: path.display().to_string(), source };
    write_atomic_with(path, |file| file.write_all(bytes).map_err(failed))
}

/// Writes what `fill` writes to `path` as a whole or, where `fill` fails, not at all; see [`write_atomic`]. The file is
/// open for reading too, so that `fill` can look at what it has written.
///
/// # Errors
/// [`Error::Io`] with the path and the operating system's word, and what `fill` returns.
pub fn write_atomic_with<T>(path: &Path, fill: impl FnOnce(&mut File) -> Result<T>) -> Result<T> {
    let failed = |source| Error::Io { path: path.display().to_string(), source };
    let name = path.file_name().ok_or_else(|| failed(io::Error::from(io::ErrorKind::InvalidInput)))?;
    let (temporary, mut file) = create_beside(path, &name.to_string_lossy()).map_err(failed)?;
    let filled = fill(&mut file).and_then(|result| {
        // Some file systems report a full disk only here.
        file.sync_all().map_err(failed)?;
        Ok(result)
    });
    drop(file);
    let written = filled.and_then(|result| fs::rename(&temporary, path).map(|()| result).map_err(failed));
    written.inspect_err(|_| {
        // Best effort: the error that matters is the first one.
        let _ = fs::remove_file(&temporary);
    })
}

fn create_beside(path: &Path, name: &str) -> io::Result<(PathBuf, File)> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    // A long name must not get longer than what file systems take (255 bytes).
    let short: String = name.chars().take(40).collect();
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_file_name(format!(".{short}.{}-{count}.part", std::process::id()));
        match OpenOptions::new().read(true).write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_what_was_there_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map.npy");
        write_atomic(&path, b"old").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_names_the_file_and_cleans_up() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_atomic(&folder.path().join("absent/map.npy"), b"x").unwrap_err();
        assert!(error.to_string().contains("map.npy"), "{error}");
        // A folder of that name cannot be replaced by a file: the rename fails.
        let taken = folder.path().join("taken");
        fs::create_dir(&taken).unwrap();
        assert!(matches!(write_atomic(&taken, b"x"), Err(Error::Io { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_atomic(Path::new("/"), b"x").is_err());
    }

    #[test]
    fn what_fails_half_way_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        let half = |file: &mut File| -> Result<()> {
            file.write_all(b"half").unwrap();
            Err(Error::Io { path: "weights".into(), source: io::ErrorKind::StorageFull.into() })
        };
        let error = write_atomic_with(&path, half).unwrap_err();
        assert!(matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(write_atomic_with(&path, |file| Ok(file.write_all(b"all").is_ok())).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"all");
    }
}
