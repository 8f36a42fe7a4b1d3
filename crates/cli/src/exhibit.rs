//! From explanations to what pages show.

use anyhow::{Context, Result};
use candle_core::{DType, Tensor};
use faithful_core::{Error, Network, Probabilities};
use faithful_explain::model::source;
use faithful_explain::{Method, MethodAt, MethodResult, Prediction, ScoreKind, Seen, Session, photo};
use faithful_metric::{Curves, Protocol, Steps};
use faithful_model::{LayerRow, Model};
use faithful_page::{
    Block, Column, Detail, Diagram, Encoded, Grid, Guess, Measure, Overlay, Page, Photo, Series, View,
};
use faithful_report::{Map, Scale, write_atomic};
use std::path::Path;

/// How much of photos and maps a page keeps, by how many there will be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageLimits {
    longest: u32,
    most: usize,
    detail: Detail,
    percentile: Option<f64>,
}

impl PageLimits {
    pub(crate) fn new(photos: usize, maps: usize, percentile: Option<f64>) -> Result<Self> {
        if let Some(percentile) = percentile.filter(|percentile| !(*percentile > 50.0 && *percentile <= 100.0)) {
            let reason = format!("{percentile} is not above 50 and at most 100");
            return Err(Error::parameter("percentile", reason).into());
        }
        let (longest, most) = (Encoded::longest_of(photos), Encoded::most_of(photos));
        Ok(Self { longest, most, detail: Detail::for_maps(maps), percentile })
    }

    /// A photo with the classes that were explained, and no maps yet.
    pub(crate) fn photo(&self, name: String, seen: &Seen, model: &Model) -> Result<Photo> {
        self.classes_of(name, &seen.photo, &seen.prediction, &seen.classes, model)
    }

    /// As [`PageLimits::photo`], for classes that were chosen elsewhere.
    pub(crate) fn classes_of(
        &self,
        name: String,
        photo: &photo::Photo,
        prediction: &Prediction,
        classes: &[usize],
        model: &Model,
    ) -> Result<Photo> {
        let guess = |class: usize| Guess {
            class,
            label: model.labels.name(class),
            probability: prediction.probabilities[class],
        };
        Ok(Photo {
            name,
            size: [photo.picture.width(), photo.picture.height()],
            region: photo.region,
            picture: Encoded::within(&photo.picture, self.longest, self.most)?,
            top: prediction.ranked.iter().take(5).map(|&class| guess(class)).collect(),
            plain: model.probabilities == Probabilities::Unchanged,
            views: classes.iter().map(|&class| View { class: guess(class), maps: Vec::new() }).collect(),
            remark: None,
        })
    }

    /// A raw map `(h, w)` as the page shows it.
    pub(crate) fn overlay(&self, map: &Tensor, method: &Method) -> Overlay {
        let usual = method.scale(0);
        self.overlay_scaled(map, &Scale { percentile: self.percentile.unwrap_or(usual.percentile), ..usual })
    }

    /// As [`PageLimits::overlay`], in a scale that is known.
    pub(crate) fn overlay_scaled(&self, map: &Tensor, scale: &Scale) -> Overlay {
        let map = map.to_dtype(DType::F32).map_err(Error::from).and_then(|map| Map::from_tensor(&map));
        let grid = map.and_then(|map| Grid::new(&map, scale, self.detail));
        Overlay::new(grid.map_err(|error| error.to_string()))
    }
}

/// Explains every class of a photo by one method and adds the maps to its views, in their order.
///
/// # Errors
/// The reason of what failed; it stands in the maps' place as well.
pub(crate) fn add_maps(
    photo: &mut Photo,
    session: &Session<'_>,
    seen: &Seen,
    method: &MethodAt,
    limits: &PageLimits,
    curves: Option<&Protocol>,
) -> Result<Vec<MethodResult>, String> {
    let began = std::time::Instant::now();
    if let Some(Protocol { steps: Steps::Count(steps), .. }) = curves {
        // Insertion and deletion of each class, which follow.
        session.network.announce(2 * steps.get() * photo.views.len(), 0);
    }
    let found = match session.explain(seen, method) {
        Ok(found) => found,
        Err(error) => {
            let reason = crate::failure::text(&error.into());
            for view in &mut photo.views {
                view.maps.push(Overlay::new(Err(reason.clone())));
            }
            return Err(reason);
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    let mut failure = None;
    for (view, found) in photo.views.iter_mut().zip(&found) {
        let mut overlay = limits.overlay(&found.map, &method.spec.method);
        overlay.remark = (!found.notes.is_empty()).then(|| found.notes.join("; "));
        overlay.seconds = Some(seconds);
        if let Some(protocol) = curves.filter(|_| overlay.grid.is_ok()) {
            match session.curves(seen, view.class.class, found, protocol) {
                Ok(curves) => add_curves(&mut overlay, &curves),
                Err(error) => failure = Some(crate::failure::text(&error.into())),
            }
        }
        if let Err(reason) = &overlay.grid {
            failure = Some(reason.clone());
        }
        view.maps.push(overlay);
    }
    failure.map_or(Ok(found), Err)
}

fn add_curves(overlay: &mut Overlay, curves: &Curves) {
    overlay.curves = vec![
        Series::line("insertion", curves.fractions.clone(), curves.insertion.clone()),
        Series::dashed("deletion", curves.fractions.clone(), curves.deletion.clone()),
    ];
    let measure =
        |name: &str, value: f64, higher: bool| Measure { name: name.into(), value, higher_is_better: Some(higher) };
    overlay.measures =
        vec![measure("insertion", curves.insertion_area(), true), measure("deletion", curves.deletion_area(), false)];
}

/// A column per method.
pub(crate) fn method_column(label: &str, method: &Method) -> Column {
    Column { name: label.to_owned(), note: Some(method.info().summary.to_owned()) }
}

/// Which score the methods of a page explain: the one that was `asked` for, or each method's own.
pub(crate) fn explained(session: &Session<'_>, asked: &str) -> String {
    if session.score.is_some() {
        return asked.to_owned();
    }
    let mut others: Vec<String> = Vec::new();
    for method in session.methods.iter().map(|one| &one.spec.method) {
        let words = format!("{} by {}", method.info().name, method.score());
        if method.score() != ScoreKind::Logit && !others.contains(&words) {
            others.push(words);
        }
    }
    ["logit".to_owned()].into_iter().chain(others).collect::<Vec<_>>().join("; ")
}

/// What every page says of its model.
pub(crate) fn model_facts(page: &mut Page, model: &Model) {
    page.fact("Model", format!("{}, {} classes", model.name, model.labels.count()));
    if let Some(file) = &model.file {
        page.fact("Weights", file.display().to_string());
    }
}

/// The network as boxes and arrows; where maps can be made, with the command that does it.
pub(crate) fn diagram(model: &Model) -> Diagram {
    let words = |sides: &[usize]| sides.iter().map(ToString::to_string).collect::<Vec<_>>().join(" × ");
    let name = source(model);
    let block = |row: LayerRow| {
        let node = model.graph.node(row.layer.into());
        let usable = row.stride.is_some() && row.shape.len() == 3;
        let stride = row.stride.as_ref().and_then(|stride| stride.first()).map(|stride| (10.0 * stride).round() / 10.0);
        let cells = stride.map(|stride| {
            let pixels =
                if stride == 1.0 { "one value of the input".into() } else { format!("{stride} values of the input") };
            ("Each place is".to_owned(), format!("{pixels} along a side"))
        });
        let command = ["faithful", "explain", "PHOTO", "--model", &name, "--layer", &row.name].map(str::to_owned);
        Block {
            kind: row.kind,
            shape: words(&row.shape),
            places: row.shape.get(1..).filter(|places| !places.is_empty()).map(words),
            inputs: node.inputs.iter().map(|input| input.0).collect(),
            target: row.target,
            usable,
            facts: cells.into_iter().collect(),
            command: usable.then(|| command_line(command.into_iter())),
            name: row.name,
        }
    };
    Diagram { blocks: model.layer_table().into_iter().map(block).collect() }
}

/// What every page says last: the version, and the command that makes it again.
pub(crate) fn closing_facts(page: &mut Page) {
    page.fact("Version", format!("faithful {}", env!("CARGO_PKG_VERSION")));
    page.fact("Command", command_line(std::env::args_os().map(|word| word.to_string_lossy().into_owned())));
}

/// A command line that a shell reads as these words.
pub(crate) fn command_line(words: impl Iterator<Item = String>) -> String {
    let quoted = |word: String| {
        let plain = |letter: char| letter.is_alphanumeric() || "-_./=,:@%+±".contains(letter);
        if !word.is_empty() && word.chars().all(plain) { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
    };
    let words = words.enumerate().map(|(place, word)| {
        // The program's name without the folder it happens to lie in.
        let name = Path::new(&word).file_name().map(|name| name.to_string_lossy().into_owned());
        if place == 0 { name.unwrap_or(word) } else { quoted(word) }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Writes a page whole or not at all, in a folder that is made where it is missing.
pub(crate) fn write(page: &Page, path: &Path) -> Result<u64> {
    let html = page.html();
    write_atomic(path, html.as_bytes()).with_context(|| format!("cannot write the page `{}`", path.display()))?;
    Ok(html.len() as u64)
}

/// Refuses a place where no page can be written or where one of the inputs is, before any work is done.
pub(crate) fn prepare<'a>(path: &Path, inputs: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    if path.is_dir() {
        let reason =
            format!("`{}` is a folder; name a file, such as `{}`", path.display(), path.join("page.html").display());
        return Err(Error::parameter("out", reason).into());
    }
    crate::files::spare(path, inputs)?;
    if let Some(ending) =
        path.extension().filter(|ending| !["html", "htm"].iter().any(|html| ending.eq_ignore_ascii_case(html)))
    {
        let (ending, page) = (ending.display(), path.with_extension("html"));
        let reason = format!("a page is HTML, not .{ending}: name it `{}`", page.display());
        return Err(Error::parameter("out", reason).into());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    crate::files::Folder::prepare(folder).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_can_be_pasted_into_a_shell() {
        let words = ["/somewhere/bin/faithful", "compare", "a b.jpg", "it's", "--class", "$HOME", ""];
        let line = command_line(words.map(String::from).into_iter());
        assert_eq!(line, r"faithful compare 'a b.jpg' 'it'\''s' --class '$HOME' ''");
    }
}
