use faithful_core::Stream;
use faithful_data::{SceneSpec, draw_scene, write_picture};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A folder for one test, with photos in it.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A scene such as the smallest built-in model was trained on.
    pub(crate) fn scene(&self, name: &str, index: usize) -> PathBuf {
        let scene = draw_scene(&SceneSpec::default(), &mut Stream::new(11, "tests").draw(index)).unwrap();
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_picture(&path, &scene.picture).unwrap();
        path
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// A command in this folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_faithful"));
        command.current_dir(self.0.path()).args(arguments).env("FAITHFUL_HOME", self.path("home"));
        // The smallest network that is built in, and nothing that the developer has set for their own work.
        command.env("FAITHFUL_MODEL", "scenes-vgg").env_remove("FAITHFUL_DEVICE").env_remove("FAITHFUL_ISA");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran(self.command(arguments).output().unwrap())
    }

    /// The names in a folder, sorted; none where there is no folder.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).into_iter().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// What a run left behind.
pub(crate) struct Ran(pub(crate) Output);

impl Ran {
    pub(crate) fn code(&self) -> i32 {
        self.0.status.code().expect("ended by itself")
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    /// The objects of a run that must have gone well.
    pub(crate) fn objects(&self) -> Vec<Value> {
        assert_eq!(self.code(), 0, "{}", self.stderr());
        self.lines_as_json()
    }

    pub(crate) fn lines_as_json(&self) -> Vec<Value> {
        self.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Asserts that the run was refused as a whole, in one line on stderr that has all `words`.
    pub(crate) fn refused(&self, code: i32, words: &[&str]) {
        let text = self.stderr();
        assert_eq!(self.code(), code, "{text}");
        assert_eq!(self.stdout(), "", "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        for word in words {
            assert!(text.contains(word), "`{word}` is not in: {text}");
        }
    }
}

pub(crate) fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A file that the repository ships.
pub(crate) fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(path)
}
