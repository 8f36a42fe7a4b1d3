use serde_json::Value;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is done with photos.
pub trait Engine: Send + Sync {
    /// Whether a question makes sense, before its photo is queued.
    ///
    /// # Errors
    /// The reason for the user, in a sentence.
    fn check(&self, request: &Request) -> Result<(), String>;

    /// Answers a question about a photo, the bytes of an image file of any quality and origin.
    ///
    /// # Errors
    /// The reason for the user, in a sentence.
    fn answer(&self, photo: &[u8], request: &Request, progress: &Progress) -> Result<Answer, String>;
}

/// What a user asks of a photo: the fields of the form, and the file's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The fields, in the order in which they came.
    pub fields: Vec<(String, String)>,
}

impl Request {
    /// A field's value; nothing where it is absent or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// What was found: data for the page's script, and files to be saved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// What the page shows. Files are linked to as `files/NAME`.
    pub shown: Value,
    /// The files.
    pub files: Vec<File>,
}

/// A file of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Its name: letters, digits, dots and dashes.
    pub name: String,
    /// Its media type.
    pub media: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// How far an answer is, for its user to watch; and whether the user still wants it.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    all: AtomicU64,
    unwanted: AtomicBool,
}

impl Progress {
    /// So many steps more will come.
    pub fn announce(&self, steps: u64) {
        self.all.fetch_add(steps, Ordering::Relaxed);
    }

    /// So many steps more are done.
    pub fn advance(&self, steps: u64) {
        self.done.fetch_add(steps, Ordering::Relaxed);
    }

    /// Whether the user has given up: the engine may stop with any error.
    pub fn unwanted(&self) -> bool {
        self.unwanted.load(Ordering::Relaxed)
    }

    /// The steps that are done, and all there are (0 where unknown).
    pub fn so_far(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.all.load(Ordering::Relaxed))
    }

    pub(crate) fn give_up(&self) {
        self.unwanted.store(true, Ordering::Relaxed);
    }
}
