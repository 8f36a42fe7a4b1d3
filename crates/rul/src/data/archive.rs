//! Text files in a folder or in a zip file, also in a zip file within a zip file, as NASA's site delivers them.

use faithful_core::{Error, Result, open_file, read_file};
use std::io::{Cursor, Read, Seek};
use std::path::Path;
use zip::ZipArchive;

/// No file of these sets is a tenth as long; a longer one is a mistake or a bomb.
const LONGEST: u64 = 1 << 28;

/// The text of the file `name` in the folder or zip file `place`.
///
/// # Errors
/// [`Error::Io`] where it cannot be read, [`Error::Format`] where the zip file is damaged or does not have it.
pub(crate) fn text(place: &Path, name: &str) -> Result<String> {
    let bytes = if place.is_dir() {
        read_file(&place.join(name))?
    } else {
        let what = place.display().to_string();
        let file = open_file(place)?;
        find(&what, file, name, 0)?.ok_or_else(|| Error::format(&what, format!("there is no {name} in it")))?
    };
    String::from_utf8(bytes).map_err(|_| Error::format(name, "it is no text"))
}

/// The bytes of an entry of that file name, in any folder of the archive or of an archive in it.
fn find(what: &str, source: impl Read + Seek, name: &str, depth: usize) -> Result<Option<Vec<u8>>> {
    let broken = |error: zip::result::ZipError| {
        Error::format_because(what, format!("it is no zip file or damaged: {error}"), error)
    };
    let mut archive = ZipArchive::new(source).map_err(broken)?;
    let mut inner = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(broken)?;
        let path = String::from_utf8_lossy(entry.name_raw()).into_owned();
        let file = path.rsplit(['/', '\\']).next().unwrap_or(&path);
        if file == name {
            return entry_bytes(what, entry).map(Some);
        }
        if path.to_lowercase().ends_with(".zip") && depth < 2 {
            inner.push((path, entry_bytes(what, entry)?));
        }
    }
    for (path, bytes) in inner {
        if let Some(found) = find(&format!("{what}: {path}"), Cursor::new(bytes), name, depth + 1)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// An entry's content. candle builds the `zip` crate without its decompressors; the only one that is needed is `flate2`.
fn entry_bytes<R: Read>(what: &str, entry: zip::read::ZipFile<'_, R>) -> Result<Vec<u8>> {
    let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
    let refuse = |reason: String| Error::format(format!("{what}: {name}"), reason);
    if entry.encrypted() {
        return Err(refuse("it is encrypted".into()));
    }
    let (method, checksum, size) = (format!("{:?}", entry.compression()), entry.crc32(), entry.size());
    let mut bytes = Vec::new();
    let read = match method.as_str() {
        "Stored" => entry.take(LONGEST + 1).read_to_end(&mut bytes),
        "Deflated" | "Unsupported(8)" => {
            flate2::read::DeflateDecoder::new(entry).take(LONGEST + 1).read_to_end(&mut bytes)
        }
        other => return Err(refuse(format!("it is compressed by {other}; only deflate is known"))),
    };
    read.map_err(|error| Error::format_from(format!("{what}: {name}"), error))?;
    if bytes.len() as u64 > LONGEST {
        return Err(refuse(format!("it has more than {LONGEST} bytes")));
    }
    if bytes.len() as u64 != size || crc32fast::hash(&bytes) != checksum {
        return Err(refuse("it is damaged: its checksum differs".into()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::DeflateEncoder};
    use std::io::Write;

    /// A zip file of deflated entries, written by hand: the format's local headers, directory and end.
    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let (mut bytes, mut directory) = (Vec::new(), Vec::new());
        for (name, content) in entries {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(content).unwrap();
            let packed = encoder.finish().unwrap();
            let mut common = vec![20, 0, 0, 0, 8, 0, 0, 0, 0, 0];
            common.extend(crc32fast::hash(content).to_le_bytes());
            common.extend((packed.len() as u32).to_le_bytes());
            common.extend((content.len() as u32).to_le_bytes());
            common.extend((name.len() as u16).to_le_bytes());
            common.extend([0, 0]);
            let start = bytes.len() as u32;
            directory.extend(b"PK\x01\x02\x14\x00");
            directory.extend(&common);
            directory.extend([0; 10]);
            directory.extend(start.to_le_bytes());
            directory.extend(name.as_bytes());
            bytes.extend(b"PK\x03\x04");
            bytes.extend(&common);
            bytes.extend(name.as_bytes());
            bytes.extend(&packed);
        }
        let start = bytes.len() as u32;
        let count = (entries.len() as u16).to_le_bytes();
        bytes.extend(&directory);
        bytes.extend(b"PK\x05\x06\x00\x00\x00\x00");
        bytes.extend([count, count].concat());
        bytes.extend((directory.len() as u32).to_le_bytes());
        bytes.extend(start.to_le_bytes());
        bytes.extend([0, 0]);
        bytes
    }

    #[test]
    fn files_are_found_in_folders_of_zip_files_and_in_zip_files_within() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.zip");
        let inner = archive(&[("readme.txt", b"x"), ("CMAPSS/RUL_FD001.txt", b"112 \n98 \n")]);
        std::fs::write(&path, &inner).unwrap();
        assert_eq!(text(&path, "RUL_FD001.txt").unwrap(), "112 \n98 \n");
        std::fs::write(&path, archive(&[("6. Turbofan/CMAPSSData.zip", &inner)])).unwrap();
        assert_eq!(text(&path, "RUL_FD001.txt").unwrap(), "112 \n98 \n");
        let error = text(&path, "RUL_FD002.txt").unwrap_err().to_string();
        assert!(error.contains("no RUL_FD002.txt"), "{error}");
    }

    #[test]
    fn damage_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.zip");
        let whole = archive(&[("RUL_FD001.txt", b"112 \n98 \n")]);
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(text(&path, "RUL_FD001.txt").is_err(), "cut to {length}");
        }
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x55;
            std::fs::write(&path, bytes).unwrap();
            if let Ok(text) = text(&path, "RUL_FD001.txt") {
                assert_eq!(text, "112 \n98 \n", "byte {place}");
            }
        }
        assert!(text(&folder.path().join("absent.zip"), "x").is_err());
    }
}
