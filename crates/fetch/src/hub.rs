//! The Hugging Face hub's cache: `models--OWNER--NAME/{blobs/DIGEST, refs/BRANCH, snapshots/COMMIT/FILE}`.

use crate::error::{Result, at};
use std::fs;
use std::path::{Path, PathBuf};

fn folder(cache: &Path, repository: &str) -> PathBuf {
    cache.join(format!("models--{}", repository.replace('/', "--")))
}

pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Where `file` of a repository is, if some program has fetched it.
pub(crate) fn place(cache: &Path, repository: &str, revision: &str, file: &str) -> PathBuf {
    let folder = folder(cache, repository);
    let commit = if is_commit(revision) {
        revision.to_owned()
    } else {
        fs::read_to_string(folder.join("refs").join(revision)).unwrap_or_default().trim().to_owned()
    };
    folder.join("snapshots").join(commit).join(file)
}

/// Moves `from` into the cache, as `huggingface_hub` would have put it there; returns where it is now.
pub(crate) fn keep(
    cache: &Path,
    repository: &str,
    commit: &str,
    file: &str,
    from: &Path,
    sha256: &str,
) -> Result<PathBuf> {
    let folder = folder(cache, repository);
    let (blobs, snapshot) = (folder.join("blobs"), folder.join("snapshots").join(commit));
    for folder in [&blobs, &snapshot] {
        fs::create_dir_all(folder).map_err(at(folder))?;
    }
    let blob = blobs.join(sha256);
    move_file(from, &blob)?;
    let place = snapshot.join(file);
    if !place.exists() {
        // A link that leads nowhere is in the way.
        let _ = fs::remove_file(&place);
        link(&blob, sha256, &place).map_err(at(&place))?;
    }
    Ok(place)
}

#[cfg(unix)]
fn link(_: &Path, sha256: &str, place: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(Path::new("../../blobs").join(sha256), place)
}

/// Links need a privilege elsewhere; the hub's own program copies too.
#[cfg(not(unix))]
fn link(blob: &Path, _: &str, place: &Path) -> std::io::Result<()> {
    fs::copy(blob, place).map(drop)
}

/// Moves a file, also to another file system, where it appears as a whole or not at all.
pub(crate) fn move_file(from: &Path, to: &Path) -> Result<()> {
    if fs::rename(from, to).is_ok() {
        return Ok(());
    }
    copy_file(from, to)?;
    fs::remove_file(from).map_err(at(from))
}

/// Copies a file, which appears as a whole or not at all.
pub(crate) fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let temporary = to.with_extension(format!("{}.part", std::process::id()));
    let copied = fs::copy(from, &temporary)
        .and_then(|_| fs::File::options().write(true).open(&temporary)?.sync_all())
        .and_then(|()| fs::rename(&temporary, to));
    copied.map_err(|error| {
        // Best effort: the error that matters is the first one.
        let _ = fs::remove_file(&temporary);
        at(to)(error)
    })
}
