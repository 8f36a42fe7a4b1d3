//! From what was named on the command line to photos, each with a name of its own for what is written.

use crate::Method;
use faithful_core::Digest;
use faithful_report::read_png_note;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A photo to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Where it is, as the user named it.
    pub path: PathBuf,
    /// What the names of its results begin with; unlike any other's of the run, also where case is ignored.
    pub stem: String,
}

/// What was found, and what could not be.
#[derive(Debug, Default)]
pub struct Inputs {
    /// The photos.
    pub photos: Vec<Input>,
    /// A path and why there is no photo.
    pub failures: Vec<(PathBuf, String)>,
    /// How many pictures of folders are results of earlier runs, and therefore left out.
    pub results: usize,
}

const EXTENSIONS: [&str; 9] = ["jpg", "jpeg", "jpe", "png", "webp", "bmp", "gif", "tif", "tiff"];

/// Expands folders to the photos in them and in their folders, in the order of their names. A photo that is named twice counts once.
pub fn collect(paths: &[PathBuf]) -> Inputs {
    let (mut found, mut failures, mut results) = (Vec::new(), Vec::new(), 0);
    for path in paths {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => match photos_below(path) {
                Ok((photos, left_out)) if photos.is_empty() => {
                    let mut reason = "the folder and its folders have no photos".to_owned();
                    if left_out > 0 {
                        reason = format!("{reason} but {left_out} that `explain` made");
                    }
                    failures.push((path.clone(), reason));
                }
                Ok((photos, left_out)) => {
                    found.extend(photos);
                    results += left_out;
                }
                Err(error) => failures.push((path.clone(), error.to_string())),
            },
            Ok(_) => found.push(path.clone()),
            Err(error) => failures.push((path.clone(), error.to_string())),
        }
    }
    let mut seen = HashSet::new();
    found.retain(|path| seen.insert(fs::canonicalize(path).unwrap_or_else(|_| path.clone())));
    let stems = stems(&found);
    let photos = found.into_iter().zip(stems).map(|(path, stem)| Input { path, stem }).collect();
    Inputs { photos, failures, results }
}

/// Whether a picture is one that `explain` wrote: it is called `STEM.METHOD.png`, and it says so itself or its map lies beside
/// it.
pub fn is_result(picture: &Path) -> bool {
    let is_png = picture.extension().is_some_and(|extension| extension == "png");
    let stem = picture.file_stem().unwrap_or_default().to_string_lossy();
    let mut words = stem.split('.').skip(1);
    let is_named = is_png && words.any(|word| Method::new(word, None, "paper").is_ok());
    is_named && (picture.with_extension("npy").exists() || read_png_note(picture).is_some())
}

/// Folders within folders, at most.
const DEEPEST: usize = 32;

/// As [`photos_in`], with those of the folder's folders; hidden ones and links to folders are left out.
///
/// # Errors
/// Where a folder cannot be read.
pub fn photos_below(folder: &Path) -> std::io::Result<(Vec<PathBuf>, usize)> {
    let (mut photos, mut results) = (Vec::new(), 0);
    let mut folders = vec![(folder.to_path_buf(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let (own, left_out) = photos_in(&folder)?;
        photos.extend(own);
        results += left_out;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if depth < DEEPEST && !hidden && entry.file_type()?.is_dir() {
                folders.push((entry.path(), depth + 1));
            }
        }
    }
    photos.sort();
    Ok((photos, results))
}

/// The photos of a folder by their extension, and how many pictures are [results](is_result) of an earlier run and left out.
///
/// # Errors
/// Where the folder cannot be read.
pub fn photos_in(folder: &Path) -> std::io::Result<(Vec<PathBuf>, usize)> {
    let mut results = 0;
    let mut photos = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        let is_photo = extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()));
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        // What is neither a file nor a folder is refused when it is read, with its name.
        if !is_photo || hidden || path.is_dir() {
            continue;
        }
        if is_result(&path) {
            results += 1;
        } else {
            photos.push(path);
        }
    }
    photos.sort();
    Ok((photos, results))
}

/// Bytes of a name that results are called by: what is put behind it must fit into the 255 that file systems take.
const LONGEST: usize = 160;

/// A name as it is, or its beginning and a digest where it is too long.
fn shortened(name: &str) -> String {
    if name.len() <= LONGEST {
        return name.to_owned();
    }
    let end = (0..=LONGEST - 9).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    format!("{}-{}", &name[..end], &Digest::of(name.as_bytes())[..8])
}

/// A name per path: its stem; where several share it, with the extension; then with the folder; then with a number.
fn stems(paths: &[PathBuf]) -> Vec<String> {
    let part = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let stem = |path: &Path| part(path.file_stem()).unwrap_or_else(|| "photo".into());
    let name_of = |path: &Path| part(path.file_name()).unwrap_or_else(|| "photo".into());
    let folder = |path: &Path| part(path.parent().and_then(Path::file_name)).unwrap_or_else(|| "folder".into());
    let candidates: [&dyn Fn(&Path) -> String; 3] =
        [&stem, &name_of, &|path| format!("{}-{}", folder(path), name_of(path))];
    let mut chosen: Vec<Option<String>> = vec![None; paths.len()];
    let mut taken: HashSet<String> = HashSet::new();
    for candidate in candidates {
        let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, path) in paths.iter().enumerate().filter(|(index, _)| chosen[*index].is_none()) {
            groups.entry(candidate(path).to_lowercase()).or_default().push(index);
        }
        for (key, members) in groups {
            if let &[only] = members.as_slice()
                && taken.insert(key)
            {
                chosen[only] = Some(candidate(&paths[only]));
            }
        }
    }
    let mut names = Vec::new();
    for (path, chosen) in paths.iter().zip(chosen) {
        let name = chosen.unwrap_or_else(|| {
            let free = (2..).map(|number| format!("{}-{number}", name_of(path)));
            let mut free = free.filter(|name| taken.insert(name.to_lowercase()));
            free.next().unwrap_or_default()
        });
        names.push(shortened(&name));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(paths: &[&str]) -> Vec<String> {
        stems(&paths.iter().map(PathBuf::from).collect::<Vec<_>>())
    }

    #[test]
    fn names_are_short_where_they_can_be() {
        assert_eq!(named(&["a/heron.jpg", "b/otter.png"]), ["heron", "otter"]);
    }

    #[test]
    fn names_that_are_too_long_are_cut_and_stay_different() {
        let long = "\u{e4}".repeat(125);
        let names = named(&[&format!("{long}1.jpg"), &format!("{long}2.jpg")]);
        assert!(names[0] != names[1] && names.iter().all(|name| name.len() <= LONGEST), "{names:?}");
    }

    #[test]
    fn names_never_meet() {
        assert_eq!(named(&["a/heron.jpg", "a/heron.png", "a/otter.png"]), ["heron.jpg", "heron.png", "otter"]);
        assert_eq!(named(&["a/heron.jpg", "b/heron.jpg"]), ["a-heron.jpg", "b-heron.jpg"]);
        assert_eq!(named(&["Heron.jpg", "heron.JPG"]), ["Heron.jpg-2", "heron.JPG-3"]);
        assert_eq!(named(&["x/a/heron.jpg", "y/a/heron.jpg"]), ["heron.jpg-2", "heron.jpg-3"]);
        // A photo whose stem is another's name with extension.
        let names = named(&["heron.jpg", "heron.png", "z/heron.jpg.png"]);
        let distinct: HashSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), 3, "{names:?}");
    }

    #[test]
    fn folders_give_their_photos_once_and_not_earlier_results() {
        let folder = tempfile::tempdir().unwrap();
        let here = |name: &str| folder.path().join(name);
        let own = ["a.grad-cam.png", "a.grad-cam.npy", "a.rise.class3.png", "a.rise.class3.npy"];
        // Numbers of one's own beside photos make no results of them.
        for name in ["b.PNG", "a.jpg", "notes.txt", ".hidden.png", "b.npy", "a.npy"].iter().chain(&own) {
            fs::write(here(name), b"x").unwrap();
        }
        fs::create_dir(here("deeper.png")).unwrap();
        for name in ["cats/c.png", "cats/small/d.jpg", ".thumbnails/b.png"] {
            fs::create_dir_all(here(name).parent().unwrap()).unwrap();
            fs::write(here(name), b"x").unwrap();
        }
        let inputs = collect(&[folder.path().to_path_buf(), here("a.jpg"), here("absent.jpg")]);
        let names: Vec<_> = inputs.photos.iter().map(|input| input.stem.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
        assert_eq!((inputs.failures.len(), inputs.results), (1, 2));
        let inputs = collect(&[here("deeper.png")]);
        assert!(inputs.failures[0].1.contains("have no photos"), "{:?}", inputs.failures);
    }
}
