use crate::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
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
    let failed = |source| file_error(path, source);
    write_atomic_with(path, |file| file.write_all(bytes).map_err(failed))
}

/// Writes what `fill` writes to `path` as a whole or, where `fill` fails, not at all; see [`write_atomic`]. The file is
/// open for reading too, so that `fill` can look at what it has written.
///
/// # Errors
/// [`Error::Io`] with the path and the operating system's word, and what `fill` returns.
pub fn write_atomic_with<T>(path: &Path, fill: impl FnOnce(&mut File) -> Result<T>) -> Result<T> {
    let failed = |source| file_error(path, source);
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

/// Opens a regular file, or a link to one. A pipe, a socket or a device is refused: it may have no end, or never begin.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn open_file(path: &Path) -> Result<File> {
    let failed = |source| file_error(path, source);
    let mut options = OpenOptions::new();
    options.read(true);
    // A pipe that nobody writes to is then opened at once, and refused below.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    // Opening a device may already do something: it is looked at first.
    refuse_special(&fs::metadata(path).map_err(failed)?).map_err(failed)?;
    let file = options.open(path).map_err(failed)?;
    refuse_special(&file.metadata().map_err(failed)?).map_err(failed)?;
    Ok(file)
}

fn refuse_special(metadata: &fs::Metadata) -> io::Result<()> {
    if metadata.is_file() {
        Ok(())
    } else if metadata.is_dir() {
        Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder, not a file"))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a pipe, a socket or a device, not a regular file"))
    }
}

/// The bytes of a regular file; see [`open_file`].
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    read_file_within(path, u64::MAX)
}

/// The bytes of a regular file that has at most `most` of them.
///
/// # Errors
/// [`Error::Io`] with the path; [`Error::Format`] where there are more.
pub fn read_file_within(path: &Path, most: u64) -> Result<Vec<u8>> {
    let failed = |source| file_error(path, source);
    let file = open_file(path)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut bytes = Vec::new();
    if length <= most {
        bytes.try_reserve_exact(length as usize).map_err(|_| failed(io::ErrorKind::OutOfMemory.into()))?;
        // It may have grown since its length was asked for.
        file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    }
    let length = length.max(bytes.len() as u64);
    if length > most {
        return Err(Error::format(path.display().to_string(), format!("it has {length} bytes, more than {most}")));
    }
    Ok(bytes)
}

/// What went wrong with the file at `path`.
pub fn file_error(path: &Path, source: io::Error) -> Error {
    Error::Io { path: path.display().to_string(), source }
}

fn create_beside(path: &Path, name: &str) -> io::Result<(PathBuf, File)> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    // A long name must not get longer than what file systems take (255 bytes).
    let short: String = name.chars().take(40).collect();
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_file_name(format!(".{short}.{}-{count}.part", std::process::id()));
        match OpenOptions::new().read(true).write(true).create_new(true).open(&temporary) {
            Ok(file) => {
                // As long as this process writes it, no other takes it for left over.
                let _ = file.try_lock();
                return Ok((temporary, file));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Removes the hidden files that [`write_atomic_with`] began in a folder in processes that were killed.
pub fn remove_left_over(folder: &Path) {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    // Best effort: what cannot be looked at or removed takes room and does no other harm.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(writer_of) else { continue };
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        // Where the system says which processes there are, one that is there may be about to lock its file.
        let alive = Path::new("/proc/self").exists() && Path::new("/proc").join(process.to_string()).exists();
        if is_file && !alive {
            let unlocked = OpenOptions::new().write(true).open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
            if unlocked {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// The process that wrote a file of that name, `.NAME.PROCESS-COUNT.part`.
fn writer_of(name: &str) -> Option<u32> {
    let (_, numbers) = name.strip_prefix('.')?.strip_suffix(".part")?.rsplit_once('.')?;
    let (process, count) = numbers.split_once('-')?;
    count.parse::<usize>().ok()?;
    process.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn pipes_devices_and_folders_are_no_files() {
        use std::os::unix::net::UnixListener;
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [&socket, &pipe, Path::new("/dev/zero")] {
            let error = read_file(path).unwrap_err().to_string();
            assert!(error.contains("not a regular file") && error.contains(&path.display().to_string()), "{error}");
        }
        assert!(read_file(folder.path()).unwrap_err().to_string().contains("it is a folder"));
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "four").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!((read_file(&link).unwrap(), read_file_within(&file, 4).unwrap()), (b"four".into(), b"four".into()));
        assert!(read_file_within(&file, 3).unwrap_err().to_string().contains("it has 4 bytes, more than 3"));
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // No process has the highest number there is.
        let left = [".weights.safetensors.4294967295-0.part", ".a.b.4294967295-12.part"];
        let own = format!(".weights.safetensors.{}-7.part", std::process::id());
        let kept = ["weights.safetensors", ".hidden.part", "x.4294967295-0.part", ".x.4294967295-0", own.as_str()];
        for name in left.iter().chain(&kept) {
            fs::write(at(name), "x").unwrap();
        }
        remove_left_over(folder.path());
        assert!(left.iter().all(|name| !at(name).exists()) && kept.iter().all(|name| at(name).exists()));
        remove_left_over(&at("absent"));
    }

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
