use faithful_core::{Error, Result};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The endings, in lower case, of files that [`list_photos`] takes for photos.
pub const PHOTO_ENDINGS: [&str; 8] = ["bmp", "gif", "jpeg", "jpg", "png", "tif", "tiff", "webp"];

/// The photos in a folder and in the folders below it, by their endings, in the order of their paths; a path that is
/// no folder is returned as it is, whatever its ending. Hidden files and folders (`.name`) are passed over.
///
/// # Errors
/// [`Error::Io`] where a folder cannot be read; [`Error::Format`] where there is no photo.
pub fn list_photos(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        std::fs::metadata(path).map_err(|source| io(path, source))?;
        return Ok(vec![path.to_path_buf()]);
    }
    let mut photos = Vec::new();
    visit(path, &mut photos, &mut HashSet::new())?;
    photos.sort();
    if photos.is_empty() {
        let reason = format!("no photos in this folder; files that end in {} count", PHOTO_ENDINGS.join(", "));
        return Err(Error::format(path.display().to_string(), reason));
    }
    Ok(photos)
}

fn visit(folder: &Path, photos: &mut Vec<PathBuf>, seen: &mut HashSet<PathBuf>) -> Result<()> {
    // A link may lead back to a folder above it.
    if !seen.insert(folder.canonicalize().map_err(|source| io(folder, source))?) {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder).map_err(|source| io(folder, source))? {
        let path = entry.map_err(|source| io(folder, source))?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            continue;
        }
        if path.is_dir() {
            visit(&path, photos, seen)?;
        } else if let Some(ending) = path.extension() {
            let ending = ending.to_string_lossy().to_lowercase();
            if PHOTO_ENDINGS.contains(&ending.as_str()) {
                photos.push(path);
            }
        }
    }
    Ok(())
}

fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io { path: path.display().to_string(), source }
}

/// Words in a photo's path that may name its class, most likely first: the file name up to the first `_` (the synset
/// of `n01440764_tench.JPEG`), the rest of it with spaces, the whole name, the folder's name.
///
/// ```
/// let words = faithful_data::class_words(std::path::Path::new("photos/hen/n01514859_house_hen.JPEG"));
/// assert_eq!(words, ["n01514859", "house hen", "n01514859_house_hen", "hen"]);
/// ```
pub fn class_words(photo: &Path) -> Vec<String> {
    let mut words = Vec::new();
    let name = photo.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if let Some((first, rest)) = name.split_once('_') {
        words.extend([first.to_owned(), rest.replace('_', " ")]);
    }
    words.push(name);
    if let Some(folder) = photo.parent().and_then(Path::file_name) {
        words.push(folder.to_string_lossy().into_owned());
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_listed_in_order_and_without_what_is_no_photo() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("b/c")).unwrap();
        for name in ["z.JPEG", "b/c/1.png", "b/2.webp", "notes.txt", ".hidden.png", "b/README", "a.tiff"] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path(), folder.path().join("b/loop")).unwrap();
        let listed = list_photos(folder.path()).unwrap();
        let names: Vec<_> =
            listed.iter().map(|path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.tiff", "b/2.webp", "b/c/1.png", "z.JPEG"]);
        assert_eq!(list_photos(&folder.path().join("notes.txt")).unwrap().len(), 1);
    }

    #[test]
    fn nothing_to_list_is_an_error_with_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        assert!(list_photos(folder.path()).unwrap_err().to_string().contains("no photos in this folder"));
        assert!(matches!(list_photos(&folder.path().join("absent")), Err(Error::Io { .. })));
    }
}
