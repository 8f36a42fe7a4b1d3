//! What an ONNX file says about its photos and classes: Windows ML's image properties (which Azure Custom Vision writes)
//! and Ultralytics' names.

use super::proto::Entry;
use crate::side_file::{Bars, Numbers, SideFile, Sides};
use faithful_core::{Result, read_file};
use prost::Message;
use std::path::Path;

/// A model's notes, without its graph.
#[derive(Clone, PartialEq, Message)]
struct Notes {
    #[prost(message, repeated, tag = "14")]
    metadata_props: Vec<Entry>,
}

/// What the notes of the file at `path` say; nothing where it is damaged, which reading its graph will tell.
///
/// # Errors
/// [`Error::Io`] where the file cannot be read.
pub(crate) fn read(path: &Path) -> Result<SideFile> {
    let bytes = read_file(path)?;
    let notes = Notes::decode(bytes.as_slice()).unwrap_or_default();
    let pairs: Vec<(&str, &str)> =
        notes.metadata_props.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect();
    Ok(understood(&pairs))
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
