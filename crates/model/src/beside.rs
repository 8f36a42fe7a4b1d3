//! What exporters leave beside a model: preprocessing and class names in their own formats.

use crate::Labels;
use crate::side_file::{LONGEST, Numbers, SideFile, Sides};
use faithful_core::{Error, Result, read_file_within};
use serde_json::Value;
use std::path::Path;

/// The files of other programs that lie beside a model, read as far as they concern it:
///
/// | file | of | gives |
/// |---|---|---|
/// | `preprocessor_config.json` | Hugging Face's image processors | sizes, filter, mean, deviation, scale |
/// | `config.json` | Hugging Face's models | `id2label` |
/// | `config.json` | timm (`pretrained_cfg`) | sizes, filter, mean, deviation, `label_names` |
/// | `image_converter.json`, `preprocessor.json` | Keras Hub | size, fit, scale and offset |
/// | `labels.txt` | Azure Custom Vision, Teachable Machine | class names, one per line |
///
/// They are looked for in the model's folder, and in the one above where that is called `onnx`.
pub(crate) struct Beside;

impl Beside {
    /// What was found, and the names of the files that it was taken from.
    pub(crate) fn of(model: &Path) -> Result<(SideFile, Vec<String>)> {
        let folder = model.parent().unwrap_or(Path::new(""));
        let above = folder.file_name().is_some_and(|name| name == "onnx").then(|| folder.parent()).flatten();
        let (mut found, mut files) = (SideFile::default(), Vec::new());
        let own = model.with_extension("json");
        for (name, read) in READERS {
            let candidates = [Some(folder), above].into_iter().flatten().map(|folder| folder.join(name));
            let Some(path) = candidates.into_iter().find(|path| *path != own && path.is_file()) else { continue };
            let text = text_of(&path)?;
            let part = read(&text).map_err(|reason| Error::format(path.display().to_string(), reason))?;
            if let Some(part) = part {
                found = found.or(part);
                files.push(name.to_owned());
            }
        }
        Ok((found, files))
    }
}

/// What a file says; `None` where it is another program's file of that name.
type Reader = fn(&str) -> std::result::Result<Option<SideFile>, String>;

const READERS: [(&str, Reader); 5] = [
    ("preprocessor_config.json", hugging_face),
    ("config.json", config),
    ("image_converter.json", keras),
    ("preprocessor.json", keras),
    ("labels.txt", labels),
];

fn text_of(path: &Path) -> Result<String> {
    let text = read_file_within(path, LONGEST)?;
    String::from_utf8(text).map_err(|_| Error::format(path.display().to_string(), "it is no text in UTF-8"))
}

fn json(text: &str) -> std::result::Result<Value, String> {
    serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(text)).map_err(|error| error.to_string())
}

fn number(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|value| usize::try_from(value).ok())
}

fn numbers(value: &Value) -> Option<Numbers> {
    if let Some(one) = value.as_f64() {
        return Some(Numbers::One(one as f32));
    }
    let all: Option<Vec<f32>> =
        value.as_array()?.iter().map(|value| value.as_f64().map(|value| value as f32)).collect();
    all.map(Numbers::Each)
}

/// `224`, `[224, 224]` or `{"height": 224, "width": 224}`.
fn plane(value: &Value) -> Option<[usize; 2]> {
    if let Some(side) = number(value) {
        return Some([side; 2]);
    }
    if let [height, width] = value.as_array().map_or(&[][..], Vec::as_slice) {
        return Some([number(height)?, number(width)?]);
    }
    Some([number(value.get("height")?)?, number(value.get("width")?)?])
}

/// An image processor of the library `transformers`.
fn hugging_face(text: &str) -> std::result::Result<Option<SideFile>, String> {
    let all = json(text)?;
    let flag = |name: &str, usual: bool| all.get(name).and_then(Value::as_bool).unwrap_or(usual);
    if all.get("image_mean").is_none() && all.get("size").is_none() && all.get("do_rescale").is_none() {
        return Ok(None);
    }
    let mut side = SideFile::default();
    let size = all.get("size").unwrap_or(&Value::Null);
    let shortest = size.get("shortest_edge").and_then(number);
    let crop = all.get("crop_size").and_then(plane).filter(|_| flag("do_center_crop", false));
    if flag("do_resize", true) {
        match (shortest, plane(size)) {
            // ConvNeXt's processor resizes to more than it keeps, and squashes large inputs.
            (Some(edge), _) if all.get("crop_pct").is_some_and(Value::is_number) => {
                let share = all["crop_pct"].as_f64().unwrap_or(1.0).clamp(0.01, 1.0);
                side.input_size = Some(Sides::Square(edge));
                side.resize = Some(if edge < 384 {
                    Sides::Square((edge as f64 / share) as usize)
                } else {
                    Sides::Both([edge; 2])
                });
            }
            (Some(edge), _) => side.resize = Some(Sides::Square(edge)),
            // Feature extractors of before 2022 wrote a number, which meant the shorter side only where it was cropped.
            (None, Some([edge, _])) if size.is_number() && crop.is_some() => side.resize = Some(Sides::Square(edge)),
            (None, Some(size)) => side.resize = Some(Sides::Both(size)),
            (None, None) => {}
        }
    }
    if let Some(crop) = crop {
        side.crop = Some(Sides::Both(crop));
    }
    side.interpolation = match all.get("resample").and_then(Value::as_u64) {
        Some(0) => Some("nearest".into()),
        Some(1) => Some("lanczos".into()),
        Some(2) => Some("bilinear".into()),
        Some(3) => Some("bicubic".into()),
        _ => None,
    };
    let factor = all.get("rescale_factor").and_then(Value::as_f64).unwrap_or(1.0 / 255.0);
    let scale = if flag("do_rescale", true) { (255.0 * factor) as f32 } else { 255.0 };
    let normalised = flag("do_normalize", true);
    side.scale = Some(scale);
    if let (true, Some(mean), Some(std)) = (normalised, all.get("image_mean"), all.get("image_std")) {
        (side.mean, side.std) = (numbers(mean), numbers(std));
    } else {
        (side.mean, side.std) = (Some(Numbers::One(0.0)), Some(Numbers::One(1.0)));
    }
    if flag("do_flip_channel_order", false) {
        side.channels = Some("bgr".into());
    }
    Ok(Some(side))
}

/// The description of a model of `transformers` or of timm.
fn config(text: &str) -> std::result::Result<Option<SideFile>, String> {
    let all = json(text)?;
    let mut side = SideFile::default();
    if let Some(names) = all.get("id2label").and_then(Value::as_object) {
        let mut named: Vec<(usize, String)> =
            names.iter().filter_map(|(id, name)| Some((id.parse().ok()?, name.as_str()?.to_owned()))).collect();
        named.sort_unstable();
        // Names that say no more than the number are none.
        let said = named.iter().any(|(id, name)| *name != format!("LABEL_{id}"));
        if said && named.iter().enumerate().all(|(place, (id, _))| place == *id) {
            side.labels = named.into_iter().map(|(_, name)| name).collect();
        }
    }
    // Newer files of timm have it apart, older ones have everything in one.
    let timm = all.get("pretrained_cfg").or_else(|| all.get("crop_pct").map(|_| &all));
    if let Some(timm) = timm {
        let names = all.get("label_names").or_else(|| timm.get("label_names")).and_then(Value::as_array);
        if let (true, Some(names)) = (side.labels.is_empty(), names) {
            side.labels = names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
        }
        if let [_, height, width] = timm.get("input_size").and_then(Value::as_array).map_or(&[][..], Vec::as_slice)
            && let (Some(height), Some(width)) = (number(height), number(width))
        {
            let share = timm.get("crop_pct").and_then(Value::as_f64).unwrap_or(0.875).clamp(0.01, 1.0);
            side.input_size = Some(Sides::Both([height, width]));
            let larger = |side: usize| (side as f64 / share).floor() as usize;
            side.resize = Some(match timm.get("crop_mode").and_then(Value::as_str) {
                Some("squash") => Sides::Both([larger(height), larger(width)]),
                _ => Sides::Square(larger(height.min(width))),
            });
            if timm.get("crop_mode").and_then(Value::as_str) == Some("border") {
                (side.resize, side.fit) = (None, Some("pad".into()));
            }
        }
        side.interpolation = timm.get("interpolation").and_then(Value::as_str).map(str::to_owned);
        side.mean = timm.get("mean").and_then(numbers);
        side.std = timm.get("std").and_then(numbers);
        if side.mean.is_none() || side.std.is_none() {
            (side.mean, side.std) = (None, None);
        }
    }
    Ok(Some(side))
}

/// An image converter of Keras Hub: `scale * pixel + offset` of pixels of 0 to 255.
fn keras(text: &str) -> std::result::Result<Option<SideFile>, String> {
    let all = json(text)?;
    let inner = all.pointer("/config/image_converter").unwrap_or(&all);
    let is_converter =
        inner.get("class_name").and_then(Value::as_str).is_some_and(|name| name.ends_with("ImageConverter"));
    let Some(config) = inner.get("config").filter(|_| is_converter) else { return Ok(None) };
    let flag = |name: &str, usual: bool| config.get(name).and_then(Value::as_bool).unwrap_or(usual);
    let mut side = SideFile::default();
    if let Some(size) = config.get("image_size").and_then(plane) {
        side.input_size = Some(Sides::Both(size));
        side.fit = Some(if flag("pad_to_aspect_ratio", false) {
            "pad".into()
        } else if flag("crop_to_aspect_ratio", true) {
            "crop".into()
        } else {
            "stretch".into()
        });
    }
    side.interpolation = config
        .get("interpolation")
        .and_then(Value::as_str)
        .map(|name| if name.starts_with("lanczos") { "lanczos".into() } else { name.to_owned() });
    // scale * 255 v + offset = (v - mean) / std.
    let list = |name: &str, usual: f32| match config.get(name).and_then(numbers) {
        Some(Numbers::Each(values)) => values,
        Some(Numbers::One(value)) => vec![value],
        None => vec![usual],
    };
    let (scale, offset) = (list("scale", 1.0), list("offset", 0.0));
    let count = scale.len().max(offset.len());
    let at = |values: &[f32], place: usize| values.get(place).or(values.first()).copied().unwrap_or(0.0);
    let std: Vec<f32> = (0..count).map(|place| 1.0 / (255.0 * at(&scale, place))).collect();
    let mean = (0..count).map(|place| -at(&offset, place) * std[place]).collect();
    side.scale = Some(1.0);
    (side.mean, side.std) = (Some(Numbers::Each(mean)), Some(Numbers::Each(std)));
    Ok(Some(side))
}

/// Names, one per line; Teachable Machine writes their numbers before them. In the form of the other readers.
#[allow(clippy::unnecessary_wraps)]
fn labels(text: &str) -> std::result::Result<Option<SideFile>, String> {
    let names = Labels::lines(text);
    let bare: Option<Vec<String>> = names
        .iter()
        .enumerate()
        .map(|(place, name)| name.strip_prefix(&format!("{place} ")).map(|rest| rest.trim().to_owned()))
        .collect();
    Ok(Some(SideFile { labels: bare.unwrap_or(names), ..SideFile::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use faithful_core::{Channels, Fit, Preprocessing, Resampling};

    fn found(files: &[(&str, &str)]) -> SideFile {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        SideFile::beside(&folder.path().join("model.onnx")).unwrap()
    }

    fn preprocessing(files: &[(&str, &str)]) -> Preprocessing {
        found(files).preprocessing("x", [3, 224, 224], None).unwrap()
    }

    #[test]
    fn an_image_processor_of_transformers_is_understood() {
        let vit = r#"{"do_normalize": true, "do_rescale": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5], "resample": 2, "rescale_factor": 0.00392156862745098,
            "size": {"height": 224, "width": 224}, "image_processor_type": "ViTImageProcessor"}"#;
        let photo = preprocessing(&[("preprocessor_config.json", vit)]);
        assert_eq!(
            (photo.fit, photo.mean, photo.interpolation),
            (Fit::Stretch([224; 2]), vec![0.5; 3], Resampling::Bilinear)
        );
        let clip = r#"{"crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_resize": true, "resample": 3,
            "image_mean": [0.48, 0.45, 0.40], "image_std": [0.26, 0.26, 0.27], "size": {"shortest_edge": 256}}"#;
        let photo = preprocessing(&[("preprocessor_config.json", clip)]);
        assert_eq!((photo.fit, photo.resize, photo.crop), (Fit::Crop, Some(256), Some([224; 2])));
        assert_eq!(photo.interpolation, Resampling::Bicubic);
        let convnext = r#"{"crop_pct": 0.875, "do_resize": true, "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225], "resample": 3, "size": {"shortest_edge": 224}}"#;
        let photo = preprocessing(&[("preprocessor_config.json", convnext)]);
        assert_eq!((photo.resize, photo.crop), (Some(256), Some([224; 2])));
        // Efficient formers and mobile ViTs: no normalisation, channels flipped.
        let flipped = r#"{"do_flip_channel_order": true, "do_rescale": true, "do_normalize": false, "do_resize": true,
            "size": {"shortest_edge": 288}, "crop_size": {"height": 256, "width": 256}, "do_center_crop": true}"#;
        let photo = found(&[("preprocessor_config.json", flipped)]).preprocessing("x", [3, 256, 256], None).unwrap();
        assert_eq!((photo.channels, photo.resize, photo.mean), (Channels::Bgr, Some(288), vec![0.0; 3]));
    }

    #[test]
    fn names_come_from_the_models_own_description() {
        let config = r#"{"architectures": ["X"], "id2label": {"1": "dog", "0": "cat", "2": "hen"}}"#;
        assert_eq!(found(&[("config.json", config)]).found_labels, ["cat", "dog", "hen"]);
        let none = r#"{"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}"#;
        assert!(found(&[("config.json", none)]).found_labels.is_empty());
        assert_eq!(found(&[("labels.txt", "\u{feff}cat\r\ndog\r\n\r\n")]).found_labels, ["cat", "dog"]);
        assert_eq!(found(&[("labels.txt", "0 cat\n1 dog\n")]).found_labels, ["cat", "dog"]);
        assert_eq!(found(&[("labels.txt", "7 up\n1 dog\n")]).found_labels, ["7 up", "1 dog"]);
    }

    #[test]
    fn timms_description_is_understood() {
        let timm = r#"{"architecture": "x", "num_classes": 3, "label_names": ["a", "b", "c"], "pretrained_cfg": {
            "input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": "center",
            "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}}"#;
        let side = found(&[("config.json", timm)]);
        assert_eq!(side.found_labels, ["a", "b", "c"]);
        let photo = preprocessing(&[("config.json", timm)]);
        assert_eq!((photo.resize, photo.std, photo.interpolation), (Some(248), vec![0.25; 3], Resampling::Bicubic));
    }

    #[test]
    fn a_converter_of_keras_is_understood() {
        let keras = r#"{"module": "keras_hub", "class_name": "ResNetImageConverter", "config": {
            "image_size": [224, 224], "scale": [0.00784313725490196, 0.00784313725490196, 0.00784313725490196],
            "offset": [-1.0, -1.0, -1.0], "interpolation": "bicubic", "crop_to_aspect_ratio": false}}"#;
        let photo = preprocessing(&[("image_converter.json", keras)]);
        assert_eq!(photo.fit, Fit::Stretch([224; 2]));
        assert!(photo.mean.iter().chain(&photo.std).all(|value| (value - 0.5).abs() < 1e-6), "{photo:?}");
        let nested = format!(r#"{{"class_name": "P", "config": {{"image_converter": {keras}}}}}"#);
        assert_eq!(preprocessing(&[("preprocessor.json", &nested)]), photo);
    }

    #[test]
    fn the_models_own_json_goes_first_and_other_files_are_passed_over() {
        let config = r#"{"id2label": {"0": "cat", "1": "dog"}}"#;
        let own = r#"{"labels": ["hen", "heron"], "mean": [0, 0, 0], "std": [1, 1, 1]}"#;
        let processor =
            r#"{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size": {"height": 8, "width": 9}}"#;
        let side = found(&[("model.json", own), ("config.json", config), ("preprocessor_config.json", processor)]);
        assert_eq!(side.labels, ["hen", "heron"]);
        let photo = side.preprocessing("x", [3, 8, 9], None).unwrap();
        assert_eq!((photo.mean, photo.fit), (vec![0.0; 3], Fit::Stretch([8, 9])));
        assert!(found(&[("preprocessor.json", r#"{"class_name": "Tokenizer"}"#)]).found_labels.is_empty());
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), "{").unwrap();
        let error = SideFile::beside(&folder.path().join("model.onnx")).unwrap_err().to_string();
        assert!(error.contains("config.json") && error.contains("EOF"), "{error}");
    }
}
