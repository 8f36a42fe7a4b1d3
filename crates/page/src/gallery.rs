use crate::blobs::Blobs;
use crate::{Encoded, Grid, Series};
use faithful_report::Region;
use serde_json::{Value, json};

/// Photos with their maps, a map per column, under common controls.
///
/// Without groups there is a row per photo. With groups there are walls of tiles, and a tile opens its photo's row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gallery {
    /// What the columns are: methods, or layers.
    pub columns: Vec<Column>,
    /// The photos.
    pub photos: Vec<Photo>,
    /// The walls.
    pub groups: Vec<Group>,
    /// What a group is, for the control that chooses one: `Layer`.
    pub group_name: Option<String>,
    /// Whether the page begins with the part of the photo that the network saw instead of the whole photo.
    pub begin_with_region: bool,
    /// The opacity that the page begins with, 0 to 1; by default 0.55.
    pub opacity: Option<f64>,
}

/// A column of maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it is, in a sentence.
    pub note: Option<String>,
}

/// A wall of tiles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Its title.
    pub title: String,
    /// What is in it.
    pub note: Option<String>,
    /// The column whose maps are shown.
    pub column: usize,
    /// The photos in their order, as places in [`Gallery::photos`].
    pub photos: Vec<usize>,
    /// A few letters per photo; where there are none, the probability.
    pub captions: Vec<String>,
}

/// A photo and what was found in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Photo {
    /// Its name.
    pub name: String,
    /// Its own size in pixels, width first; the picture may be smaller.
    pub size: [u32; 2],
    /// The part of it that the network saw, in its own pixels.
    pub region: Region,
    /// What is shown of it.
    pub picture: Encoded,
    /// The most probable classes, the first of them first.
    pub top: Vec<Guess>,
    /// Whether the numbers of classes are no probabilities and stand for themselves, as a similarity or a count.
    pub plain: bool,
    /// What was explained: one view per class; at least one.
    pub views: Vec<View>,
    /// What the reader should know.
    pub remark: Option<String>,
}

/// A class and its probability, or what the network gives for it ([`Photo::plain`]).
#[derive(Clone, Debug, PartialEq)]
pub struct Guess {
    /// The class's index.
    pub class: usize,
    /// Its name.
    pub label: String,
    /// Its probability, 0 to 1; or a number that stands for itself.
    pub probability: f64,
}

/// The maps of one class of a photo.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The class that is explained.
    pub class: Guess,
    /// A map per column.
    pub maps: Vec<Overlay>,
}

/// A map on a photo, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Overlay {
    /// The map, over the photo's region.
    pub grid: Result<Grid, String>,
    /// How long it took.
    pub seconds: Option<f64>,
    /// What the reader should know.
    pub remark: Option<String>,
    /// Curves that are drawn under it, x and y from 0 to 1.
    pub curves: Vec<Series>,
    /// Numbers that are written under it.
    pub measures: Vec<Measure>,
    /// Files that can be saved.
    pub files: Vec<Download>,
}

impl Overlay {
    /// A map alone.
    pub fn new(grid: Result<Grid, String>) -> Self {
        Self { grid, seconds: None, remark: None, curves: Vec::new(), measures: Vec::new(), files: Vec::new() }
    }
}

/// A number that is known of a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// Its name; a curve of that name is drawn in its colour.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// Whether more is better; nothing where neither is.
    pub higher_is_better: Option<bool>,
}

/// A link to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// What is written.
    pub text: String,
    /// The file's name when it is saved.
    pub name: String,
    /// Where it is: a path on the server that serves the page.
    pub href: String,
}

impl Gallery {
    pub(crate) fn json(&self, blobs: &mut Blobs) -> Value {
        let columns: Vec<Value> =
            self.columns.iter().map(|column| json!({ "name": column.name, "note": column.note })).collect();
        let groups: Vec<Value> = self
            .groups
            .iter()
            .map(|group| {
                let captions = Some(&group.captions).filter(|captions| !captions.is_empty());
                json!({
                    "title": group.title, "note": group.note, "column": group.column, "photos": group.photos,
                    "captions": captions,
                })
            })
            .collect();
        let mut value = json!({
            "kind": "gallery", "columns": columns, "groups": groups, "group_name": self.group_name,
            "whole": !self.begin_with_region,
            "photos": self.photos.iter().map(|photo| photo.json(blobs)).collect::<Vec<_>>(),
        });
        if let Some(opacity) = self.opacity {
            value["look"] = json!({ "opacity": opacity.clamp(0.0, 1.0) });
        }
        value
    }
}

impl Photo {
    pub(crate) fn json(&self, blobs: &mut Blobs) -> Value {
        let mut image = serde_json::Map::new();
        blobs.refer(&mut image, &self.picture.bytes, self.picture.media);
        let Region { left, top, width, height } = self.region;
        json!({
            "name": self.name, "width": self.size[0], "height": self.size[1], "region": [left, top, width, height],
            "image": image, "top": self.top.iter().map(Guess::json).collect::<Vec<_>>(), "plain": self.plain,
            "remark": self.remark,
            "views": self.views.iter().map(|view| view.json(blobs)).collect::<Vec<_>>(),
        })
    }
}

impl Guess {
    fn json(&self) -> Value {
        json!({ "class": self.class, "label": self.label, "probability": self.probability })
    }
}

impl View {
    fn json(&self, blobs: &mut Blobs) -> Value {
        json!({
            "class": self.class.class, "title": self.class.label, "probability": self.class.probability,
            "maps": self.maps.iter().map(|map| map.json(blobs)).collect::<Vec<_>>(),
        })
    }
}

impl Overlay {
    fn json(&self, blobs: &mut Blobs) -> Value {
        let mut object = match &self.grid {
            Ok(grid) => grid.json(blobs),
            Err(error) => serde_json::Map::from_iter([("error".to_owned(), error.as_str().into())]),
        };
        if let Some(seconds) = self.seconds {
            object.insert("seconds".into(), seconds.into());
        }
        let note = self.grid.as_ref().ok().and_then(Grid::note);
        if let Some(remark) = self.remark.as_deref().or(note) {
            object.insert("remark".into(), remark.into());
        }
        if !self.curves.is_empty() {
            object.insert("curves".into(), self.curves.iter().map(Series::json).collect());
        }
        if !self.measures.is_empty() {
            let better = |higher: bool| if higher { "higher" } else { "lower" };
            let measure = |one: &Measure| json!({ "name": one.name, "value": one.value, "better": one.higher_is_better.map(better) });
            object
                .insert("measures".into(), self.measures.iter().filter(|m| m.value.is_finite()).map(measure).collect());
        }
        if !self.files.is_empty() {
            let file = |file: &Download| json!({ "text": file.text, "name": file.name, "href": file.href });
            object.insert("files".into(), self.files.iter().map(file).collect());
        }
        object.into()
    }
}
