//! What an evaluation's images and masks held when it was begun: rows of other bytes are rows of another run.

use faithful_core::{Digest, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The SHA-256 of every image's file and of its mask's, by the image's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents(BTreeMap<String, Content>);

/// One image's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    photo: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mask: Option<String>,
}

/// An image's mask: a file, or the digest of what has been read already.
pub(crate) enum Held {
    File(PathBuf),
    Digest(String),
}

/// Of a file that cannot be read: its row will say why.
const UNREADABLE: &str = "unreadable";
/// Names that are listed where images differ.
const LISTED: usize = 3;

impl Contents {
    /// Reads all files: names with their images, and their masks where there are some.
    pub(crate) fn read(files: &[(&String, &PathBuf, Option<Held>)]) -> Self {
        let digest = |path: &Path| Digest::of_file(path).unwrap_or_else(|_| UNREADABLE.to_owned());
        let of_mask = |mask: &Held| match mask {
            Held::File(path) => digest(path),
            Held::Digest(digest) => digest.clone(),
        };
        let one = |(name, photo, mask): &(&String, &PathBuf, Option<Held>)| {
            ((*name).clone(), Content { photo: digest(photo), mask: mask.as_ref().map(of_mask) })
        };
        Self(files.par_iter().map(one).collect())
    }

    /// Images without files.
    pub(crate) fn of_names(names: &[String]) -> Self {
        let drawn = |name: &String| (name.clone(), Content { photo: String::new(), mask: None });
        Self(names.iter().map(drawn).collect())
    }

    /// What tells these images from any others.
    pub fn digest(&self) -> String {
        let mut digest = Digest::new();
        for (name, Content { photo, mask }) in &self.0 {
            digest.add(name);
            digest.add(photo);
            digest.add(mask.as_deref().unwrap_or_default());
        }
        digest.finish()
    }

    /// The digest of an image, or of its mask, at the beginning.
    pub(crate) fn of(&self, name: &str, mask: bool) -> Option<&str> {
        let content = self.0.get(name)?;
        if mask { content.mask.as_deref() } else { Some(&content.photo) }
    }

    /// In words, how the images that were here `before` differ: some names, and how many more there are. Nothing where they
    /// do not.
    pub fn difference(&self, before: &Self) -> Option<String> {
        let own = self.0.iter().filter_map(|(name, now)| match before.0.get(name) {
            None => Some(format!("{name} is new")),
            Some(then) if then.photo != now.photo => Some(format!("{name} has other bytes")),
            Some(then) if then.mask != now.mask => Some(format!("{name} has another mask")),
            Some(_) => None,
        });
        let gone = before.0.keys().filter(|name| !self.0.contains_key(*name));
        let all: Vec<String> = own.chain(gone.map(|name| format!("{name} is gone"))).collect();
        let more = all.len().saturating_sub(LISTED);
        let mut text = all.get(..all.len() - more).filter(|some| !some.is_empty())?.join(", ");
        if more > 0 {
            text = format!("{text}, and {more} more");
        }
        Some(text)
    }
}

/// A digest of photos' names and bytes, in their order; empty for none.
///
/// # Errors
/// [`faithful_core::Error::Io`] where one cannot be read any more.
pub fn digest_of_photos(photos: &[PathBuf]) -> Result<String> {
    if photos.is_empty() {
        return Ok(String::new());
    }
    let mut digest = Digest::new();
    for path in photos {
        digest.add(path.file_name().unwrap_or_default().to_string_lossy().as_bytes());
        digest.add(Digest::of_file(path)?);
    }
    Ok(digest.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let names: Vec<String> = ["a", "b", "c", "d", "e"].map(String::from).to_vec();
        let paths: Vec<PathBuf> = names.iter().map(|name| folder.path().join(name)).collect();
        for path in &paths {
            std::fs::write(path, "x").unwrap();
        }
        let mask = folder.path().join("mask");
        std::fs::write(&mask, "1").unwrap();
        let read = |which: &[usize]| {
            let files: Vec<_> =
                which.iter().map(|&i| (&names[i], &paths[i], (i == 1).then(|| Held::File(mask.clone())))).collect();
            Contents::read(&files)
        };
        let before = read(&[0, 1, 2]);
        assert_eq!(read(&[0, 1, 2]).difference(&before), None);
        assert_eq!(read(&[0, 1, 2]).digest(), before.digest());
        std::fs::write(&paths[0], "y").unwrap();
        std::fs::write(&mask, "2").unwrap();
        let now = read(&[0, 1, 3, 4]);
        assert_ne!(now.digest(), before.digest());
        let said = now.difference(&before).unwrap();
        assert_eq!(said, "a has other bytes, b has another mask, d is new, and 2 more");
        let text = serde_json::to_string(&now).unwrap();
        assert_eq!(serde_json::from_str::<Contents>(&text).unwrap(), now);
    }
}
