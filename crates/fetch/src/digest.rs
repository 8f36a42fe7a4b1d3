use crate::error::{Error, Result, at};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The SHA-256 of a file as 64 hexadecimal digits, and its length in bytes.
pub(crate) fn of_file(path: &Path) -> Result<(String, u64)> {
    let mut file = File::open(path).map_err(at(path))?;
    let mut state = Sha256::new();
    let mut chunk = vec![0; 1 << 18];
    let mut length = 0;
    loop {
        let count = file.read(&mut chunk).map_err(at(path))?;
        if count == 0 {
            return Ok((hexadecimal(&state.finalize()), length));
        }
        state.update(&chunk[..count]);
        length += count as u64;
    }
}

/// The first digits of the SHA-256 of `text`, to name files by.
pub(crate) fn short(text: &str) -> String {
    hexadecimal(&Sha256::digest(text.as_bytes())[..6])
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// A SHA-256 as people type it, in small letters.
///
/// # Errors
/// [`Error::Parameter`] for anything but 64 hexadecimal digits.
pub fn parse_sha256(text: &str) -> Result<String> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Error::Parameter { what: "sha256", reason: format!("`{text}` is not 64 hexadecimal digits") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standard() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of_file(file.path()).unwrap(), (expected.to_owned(), 3));
        assert_eq!(short("abc"), "ba7816bf8f01");
        assert_eq!(parse_sha256(&expected.to_uppercase()).unwrap(), expected);
        for wrong in ["", "abc", &expected[1..], &expected.replace('b', "g")] {
            assert!(parse_sha256(wrong).is_err(), "{wrong}");
        }
        assert!(of_file(Path::new("absent")).is_err());
    }
}
