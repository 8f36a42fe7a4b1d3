//! What an ONNX file says about its photos and classes: Windows ML's image properties (which Azure Custom Vision writes)
//! and Ultralytics' names.

use super::proto::Entry;
use crate::side_file::{Bars, Numbers, SideFile, Sides};
use faithful_core::{Result, open_file};
use prost::Message;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

/// The field of a model that holds its notes.
const NOTES: u64 = 14;
/// Bytes that a note has at the most; longer ones are not read.
const LONGEST: u64 = 1 << 20;
/// Notes that are read at the most.
const MOST: usize = 1000;

/// The notes of the file at `path`; nothing where it is damaged, which reading its graph will tell. The graph, with all
/// weights, is skipped and not read.
///
/// # Errors
/// [`Error::Io`] where the file cannot be opened.
pub(crate) fn pairs(path: &Path) -> Result<Vec<(String, String)>> {
    let notes = notes(&mut BufReader::new(open_file(path)?)).unwrap_or_default();
    Ok(notes.into_iter().map(|entry| (entry.key, entry.value)).collect())
}

/// What the notes of a file say of its photos and classes.
pub(crate) fn read(pairs: &[(String, String)]) -> SideFile {
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    understood(&pairs)
}

/// The output that an exported file's map is, where the notes say so.
pub(crate) fn map(pairs: &[(String, String)]) -> Option<&str> {
    pairs.iter().find(|(key, _)| key == "faithful.map").map(|(_, value)| value.as_str())
}

/// The notes among a model's fields.
fn notes(file: &mut BufReader<impl Read + Seek>) -> io::Result<Vec<Entry>> {
    let mut notes = Vec::new();
    while notes.len() < MOST && !file.fill_buf()?.is_empty() {
        let key = varint(file)?;
        let length = match key & 7 {
            0 => {
                varint(file)?;
                0
            }
            1 => 8,
            2 => varint(file)?,
            5 => 4,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        if key == NOTES << 3 | 2 && length <= LONGEST {
            let mut bytes = Vec::new();
            file.take(length).read_to_end(&mut bytes)?;
            notes.extend(Entry::decode(bytes.as_slice()));
        } else {
            file.seek_relative(i64::try_from(length).map_err(|_| io::ErrorKind::InvalidData)?)?;
        }
    }
    Ok(notes)
}

/// A number of protobuf's: seven bits a byte, the lowest first, the last byte below 128.
fn varint(file: &mut impl Read) -> io::Result<u64> {
    let mut number = 0;
    for place in 0..10 {
        let mut byte = [0];
        file.read_exact(&mut byte)?;
        number |= u64::from(byte[0] & 0x7f) << (7 * place);
        if byte[0] < 0x80 {
            return Ok(number);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn understood(pairs: &[(&str, &str)]) -> SideFile {
    let value = |key: &str| pairs.iter().find(|(own, _)| *own == key).map(|(_, value)| value.trim());
    let channels = match value("Image.BitmapPixelFormat") {
        Some("Bgr8" | "Bgra8") => Some("bgr".into()),
        Some("Gray8") => Some("grey".into()),
        _ => None,
    };
    let mut side = SideFile { channels, ..SideFile::default() };
    let values = |side: &mut SideFile, scale: f32, mean: f32, std: f32| {
        side.scale = Some(scale);
        (side.mean, side.std) = (Some(Numbers::One(mean)), Some(Numbers::One(std)));
    };
    match value("Image.NominalPixelRange") {
        Some("NominalRange_0_255") => values(&mut side, 255.0, 0.0, 1.0),
        Some("Normalized_0_1") => values(&mut side, 1.0, 0.0, 1.0),
        Some("Normalized_1_1") => values(&mut side, 1.0, 0.5, 0.5),
        _ => {}
    }
    let task = value("task");
    if value("author") == Some("Ultralytics") && matches!(task, Some("detect" | "classify")) {
        side.labels = value("names").and_then(names).unwrap_or_default();
        let sides: Vec<usize> = value("imgsz").map_or(Vec::new(), |text| {
            text.trim_matches(['[', ']']).split(',').filter_map(|side| side.trim().parse().ok()).collect()
        });
        if let &[height, width] = sides.as_slice() {
            side.input_size = Some(Sides::Both([height, width]));
        }
        values(&mut side, 1.0, 0.0, 1.0);
        if task == Some("detect") {
            side.task = Some("detection".into());
            (side.fit, side.pad_color) = (Some("pad".into()), Some(Bars::Grey(114)));
        }
    }
    side
}

/// `{0: 'person', 1: "driver's seat"}`: the names, where their numbers count from 0.
fn names(text: &str) -> Option<Vec<String>> {
    let mut rest = text.trim().strip_prefix('{')?;
    let mut names = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if rest.starts_with('}') {
            return Some(names);
        }
        let (number, behind) = rest.split_once(':')?;
        if number.trim().parse() != Ok(names.len()) {
            return None;
        }
        let behind = behind.trim_start();
        let quote = behind.chars().next().filter(|first| ['\'', '"'].contains(first))?;
        let (name, behind) = behind[1..].split_once(quote)?;
        names.push(name.to_owned());
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faithful_core::{Channels, Fit};

    #[test]
    fn notes_are_found_behind_a_graph_that_is_not_read() {
        let entry = Entry { key: "author".into(), value: "x".into() }.encode_to_vec();
        // A version, a graph of 20,000 bytes, a note.
        let mut bytes = vec![1 << 3, 200, 1, 7 << 3 | 2, 0xa0, 0x9c, 1];
        bytes.extend(vec![0xff; 20_000]);
        bytes.extend([14 << 3 | 2, entry.len() as u8]);
        bytes.extend(&entry);
        let found = |bytes: &[u8]| notes(&mut BufReader::new(io::Cursor::new(bytes)));
        let whole = found(&bytes).unwrap();
        assert_eq!((whole.len(), whole[0].key.as_str()), (1, "author"));
        for damaged in [&bytes[..2], &[14 << 3 | 7, 1], &[0x80; 11], &[7 << 3 | 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]]
        {
            assert!(found(damaged).is_err());
        }
        // What a length promises beyond the end is missing, and that is all.
        assert!(found(&bytes[..10_000]).unwrap().is_empty());
    }

    #[test]
    fn windows_mls_properties_are_understood() {
        let azure =
            [("Image.BitmapPixelFormat", "Bgr8"), ("Image.NominalPixelRange", "NominalRange_0_255"), ("other", "x")];
        let photo = understood(&azure).preprocessing("x", [3, 224, 224], None).unwrap();
        assert_eq!((photo.channels, photo.mean, photo.std), (Channels::Bgr, vec![0.0; 3], vec![1.0 / 255.0; 3]));
        let signed = understood(&[("Image.NominalPixelRange", "Normalized_1_1")]);
        assert_eq!(signed.preprocessing("x", [3, 8, 8], None).unwrap().mean, [0.5; 3]);
        assert!(!understood(&[("producer", "x")]).says_values());
    }

    #[test]
    fn ultralytics_names_are_understood() {
        let yolo = [
            ("author", "Ultralytics"),
            ("task", "detect"),
            ("imgsz", "[320, 640]"),
            ("names", "{0: 'person', 1: \"driver's seat\", 2: 'car'}"),
        ];
        let side = understood(&yolo);
        assert_eq!(side.labels, ["person", "driver's seat", "car"]);
        let photo = side.preprocessing("x", [3, 320, 640], None).unwrap();
        assert_eq!((photo.fit, photo.crop), (Fit::Pad([114; 3]), Some([320, 640])));
        for wrong in ["", "{", "{0 'a'}", "{1: 'a'}", "{0: a}", "{0: 'a", "{0: 'a', 2: 'b'}"] {
            assert!(names(wrong).is_none(), "{wrong}");
        }
    }
}
