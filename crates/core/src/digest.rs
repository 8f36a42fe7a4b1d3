use crate::{Result, open_file};
use sha2::{Digest as _, Sha256};
use std::io::Read;
use std::path::Path;

/// SHA-256 over parts, each led by its length: lists that are divided otherwise have other digests.
///
/// ```
/// use faithful_core::Digest;
/// assert_ne!(Digest::new().with("ab").with("c").finish(), Digest::new().with("a").with("bc").finish());
/// assert_eq!(&Digest::of(b"abc")[..8], "ba7816bf"); // what `sha256sum` says
/// ```
#[derive(Clone, Debug, Default)]
pub struct Digest(Sha256);

impl Digest {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One part more.
    pub fn with(mut self, part: impl AsRef<[u8]>) -> Self {
        self.add(part);
        self
    }

    /// One part more.
    pub fn add(&mut self, part: impl AsRef<[u8]>) {
        let part = part.as_ref();
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    /// 64 hexadecimal digits.
    pub fn finish(self) -> String {
        hexadecimal(&self.0.finalize())
    }

    /// The SHA-256 of bytes.
    pub fn of(bytes: &[u8]) -> String {
        hexadecimal(&Sha256::digest(bytes))
    }

    /// The SHA-256 of a file's bytes, which need not fit into memory.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) where it cannot be read or is no regular file.
    pub fn of_file(path: &Path) -> Result<String> {
        let failed = |source| crate::Error::Io { path: path.display().to_string(), source };
        let mut file = open_file(path)?;
        let (mut state, mut chunk) = (Sha256::new(), vec![0; 1 << 18]);
        loop {
            match file.read(&mut chunk).map_err(failed)? {
                0 => return Ok(hexadecimal(&state.finalize())),
                count => state.update(&chunk[..count]),
            }
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_digest_is_the_standards() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((Digest::of_file(file.path()).unwrap(), Digest::of(b"abc")), (expected.into(), expected.into()));
        assert!(Digest::of_file(Path::new("absent")).is_err());
    }
}
