use std::path::{Path, PathBuf};

/// The folder where fetched models are kept, in `models/NAME.safetensors` or `models/NAME.onnx` with `NAME.json` beside
/// them: `$FAITHFUL_HOME`, else `faithful` in the platform's cache folder; `None` on a system that names neither.
pub fn faithful_home() -> Option<PathBuf> {
    home_from(|variable| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from))
}

fn home_from(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let cache = || {
        if cfg!(windows) {
            variable("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            variable("HOME").map(|home| home.join("Library/Caches"))
        } else {
            variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")))
        }
    };
    variable("FAITHFUL_HOME").or_else(|| cache().map(|cache| cache.join("faithful")))
}

/// The file of the fetched model `name`, if it is there.
pub(crate) fn pulled_file(home: &Path, name: &str) -> Option<PathBuf> {
    let candidates = ["safetensors", "onnx"].map(|extension| home.join("models").join(format!("{name}.{extension}")));
    candidates.into_iter().find(|path| path.is_file())
}

/// The names of all fetched models, in alphabetical order.
pub(crate) fn pulled_names(home: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(home.join("models")).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let path = entry.path();
            let known = path.extension().is_some_and(|extension| extension == "safetensors" || extension == "onnx");
            known.then(|| path.file_stem()?.to_str().map(str::to_owned)).flatten()
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_is_what_the_user_says_or_the_platforms_cache() {
        let set = |pairs: &'static [(&str, &str)]| {
            home_from(move |wanted| {
                pairs.iter().find(|(name, _)| *name == wanted).map(|(_, value)| PathBuf::from(value))
            })
        };
        assert_eq!(set(&[("FAITHFUL_HOME", "own"), ("HOME", "me")]), Some(PathBuf::from("own")));
        assert_eq!(set(&[]), None);
        if cfg!(target_os = "linux") {
            assert_eq!(set(&[("HOME", "me")]), Some(PathBuf::from("me/.cache/faithful")));
            assert_eq!(set(&[("XDG_CACHE_HOME", "c"), ("HOME", "me")]), Some(PathBuf::from("c/faithful")));
        }
    }
}
