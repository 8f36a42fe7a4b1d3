//! Where the objects of photos are, as COCO's annotations say it: boxes in a JSON file.

use faithful_core::{Digest, Error, Result, read_file};
use faithful_data::Mask;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

/// The boxes of many photos, by the photos' names.
pub(crate) struct Boxes {
    path: String,
    photos: HashMap<String, Annotated>,
}

/// One photo's.
pub(crate) struct Annotated {
    /// Height and width, where the file says them.
    size: Option<[usize; 2]>,
    objects: Vec<Object>,
}

struct Object {
    category: Option<String>,
    /// Left, top, width, height in the photo's pixels.
    bounds: [f64; 4],
}

#[derive(Deserialize)]
struct File {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
    #[serde(default)]
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Image {
    id: Value,
    file_name: String,
    width: Option<usize>,
    height: Option<usize>,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: Value,
    #[serde(default)]
    category_id: Value,
    bbox: Vec<f64>,
}

#[derive(Deserialize)]
struct Category {
    id: Value,
    name: String,
}

impl Boxes {
    /// Reads `images` (`id`, `file_name`), `annotations` (`image_id`, `bbox` as left, top, width, height) and `categories`.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Format`], which names the annotation that is wrong.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Self::parse(&path.display().to_string(), &read_file(path)?)
    }

    fn parse(path: &str, bytes: &[u8]) -> Result<Self> {
        let wrong = |reason: String| Error::format(path, reason);
        let file: File = serde_json::from_slice(bytes).map_err(|error| {
            wrong(format!("no annotations of COCO, which have `images` and `annotations` with a `bbox`: {error}"))
        })?;
        let names: HashMap<String, String> = file.categories.into_iter().map(|one| (key(&one.id), one.name)).collect();
        let mut photos = HashMap::new();
        let mut places = HashMap::new();
        for Image { id, file_name, width, height } in file.images {
            let name = file_name.replace('\\', "/").trim_start_matches("./").to_owned();
            places.insert(key(&id), name.clone());
            let size = height.zip(width).map(|(height, width)| [height, width]);
            photos.insert(name, Annotated { size, objects: Vec::new() });
        }
        for (number, Annotation { image_id, category_id, bbox }) in file.annotations.into_iter().enumerate() {
            let bounds = <[f64; 4]>::try_from(bbox).ok().filter(|[x, y, width, height]| {
                [x, y, width, height].iter().all(|value| value.is_finite()) && *width >= 0.0 && *height >= 0.0
            });
            let reason = || wrong(format!("annotation {number}: `bbox` is not left, top, width and height in pixels"));
            let bounds = bounds.ok_or_else(reason)?;
            let photo = places.get(&key(&image_id)).and_then(|name| photos.get_mut(name));
            let reason = || wrong(format!("annotation {number} is of image {image_id}, which is not among `images`"));
            let category = names.get(&key(&category_id)).cloned();
            photo.ok_or_else(reason)?.objects.push(Object { category, bounds });
        }
        Ok(Self { path: path.to_owned(), photos })
    }

    /// Those of a photo: of all names in the file that its path ends in, the longest. `None` where it has no box.
    pub(crate) fn of(&self, photo: &Path) -> Option<&Annotated> {
        let parts: Vec<_> = photo.iter().map(|part| part.to_string_lossy()).collect();
        let found = (0..parts.len()).find_map(|start| self.photos.get(&parts[start..].join("/")));
        found.filter(|annotated| !annotated.objects.is_empty())
    }

    /// The pixels of a photo `[height, width]` whose centres lie in its boxes: those called `label`, or all where none is.
    ///
    /// # Errors
    /// [`Error::Format`] for a photo of another size than the file says.
    pub(crate) fn mask(&self, annotated: &Annotated, size: [usize; 2], label: Option<&str>) -> Result<Mask> {
        if let Some(own) = annotated.size.filter(|own| *own != size) {
            let [height, width] = own;
            let reason =
                format!("it has boxes of a photo of {width} x {height} pixels, which has {} x {}", size[1], size[0]);
            return Err(Error::format(&*self.path, reason));
        }
        let is_called = |object: &&Object| object.category.as_deref().is_some_and(|name| Some(name) == label);
        let named = annotated.objects.iter().any(|object| is_called(&object));
        let objects = annotated.objects.iter().filter(|object| !named || is_called(object));
        let mut mask = Mask::empty(size[0], size[1]);
        for Object { bounds: [left, top, width, height], .. } in objects {
            for row in cells(*top, *height, size[0]) {
                let columns = cells(*left, *width, size[1]);
                mask.inside[row * size[1]..][columns].fill(true);
            }
        }
        Ok(mask)
    }
}

impl Annotated {
    /// What tells these boxes from others.
    pub(crate) fn digest(&self) -> String {
        let mut digest = Digest::new();
        for Object { category, bounds } in &self.objects {
            digest.add(category.as_deref().unwrap_or_default());
            digest.add(bounds.map(|bound| bound.to_string()).join(","));
        }
        digest.finish()
    }
}

/// The cells of an axis whose centres lie within `start` and `start + length`.
fn cells(start: f64, length: f64, count: usize) -> std::ops::Range<usize> {
    let at = |place: f64| ((place - 0.5).ceil().max(0.0) as usize).min(count);
    at(start)..at(start + length)
}

/// An identity: a number or a word.
fn key(id: &Value) -> String {
    id.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"images": [{"id": 7, "file_name": "a/one.jpg", "width": 6, "height": 4}, {"id": 8, "file_name": "two.jpg"}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [{"image_id": 7, "category_id": 1, "bbox": [1, 0, 2, 2.4]},
                        {"image_id": 7, "category_id": 2, "bbox": [4.4, 3, 9, 9]}]}"#;

    fn columns(mask: &Mask) -> Vec<[usize; 2]> {
        let inside = mask.inside.iter().enumerate().filter(|(_, inside)| **inside);
        inside.map(|(index, _)| [index / mask.width, index % mask.width]).collect()
    }

    #[test]
    fn boxes_are_the_pixels_whose_centres_they_hold() {
        let boxes = Boxes::parse("coco.json", FILE.as_bytes()).unwrap();
        let one = boxes.of(Path::new("photos/a/one.jpg")).unwrap();
        let cat = [[0, 1], [0, 2], [1, 1], [1, 2]];
        assert_eq!(columns(&boxes.mask(one, [4, 6], Some("cat")).unwrap()), cat);
        assert_eq!(columns(&boxes.mask(one, [4, 6], Some("dog")).unwrap()), [[3, 4], [3, 5]]);
        for label in [None, Some("horse")] {
            assert_eq!(boxes.mask(one, [4, 6], label).unwrap().area(), 6);
        }
        assert!(boxes.of(Path::new("two.jpg")).is_none() && boxes.of(Path::new("one.jpg")).is_none());
        let error = boxes.mask(one, [4, 7], None).unwrap_err().to_string();
        assert!(error.contains("6 x 4 pixels, which has 7 x 4"), "{error}");
    }

    #[test]
    fn what_is_no_annotation_is_refused() {
        for (text, said) in [
            ("{}", "`images`"),
            (r#"{"images": [], "annotations": [{"image_id": 3, "bbox": [0, 0, 1, 1]}]}"#, "is of image 3"),
            (
                r#"{"images": [{"id": 3, "file_name": "a"}], "annotations": [{"image_id": 3, "bbox": [0, 0, -1, 1]}]}"#,
                "annotation 0",
            ),
        ] {
            let error = Boxes::parse("coco.json", text.as_bytes()).err().map(|error| error.to_string());
            assert!(error.as_deref().is_some_and(|error| error.contains(said)), "{error:?}");
        }
    }
}
