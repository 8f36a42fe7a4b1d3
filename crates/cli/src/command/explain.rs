//! `faithful explain`.

use super::run;
use crate::arguments::{ExplainArguments, HyperLine, MANY, PhotoView};
use crate::convergence;
use crate::exhibit::command_line;
use crate::failure::Outcome;
use crate::files::Folder;
use crate::model;
use crate::output::Output;
use crate::question::{Question, score_in_words};
use crate::table::{Column, Table, cut, cut_path};
use anyhow::Result;
use candle_core::DType;
use faithful_baseline::Spread;
use faithful_cam::{Layout, Quality};
use faithful_core::{Convergence, Error, Probabilities, Stop};
use faithful_explain::auto::{self, AUTO};
use faithful_explain::{
    Budget, CamChoices, Classifier, Drawing, Method, MethodAt, MethodResult, MethodSpec, Requested, ScoreKind, Seen,
    Session, Settings, Setup, baseline,
    inputs::{Input, Inputs},
    parse_stop, photo,
};
use faithful_report::{
    Colormap, Map, Scale, Style, chart_svg, encode_png, encode_png_with_note, overlay_classes, rescale, with_caption,
};
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};

/// Everything that is the same for all photos of a run, checked before the first is read.
struct Run<'a> {
    arguments: &'a ExplainArguments,
    output: &'a Output,
    session: Session<'a>,
    baselines: String,
    scale: Scale,
    style: Style,
    question: Question,
    folder: Folder,
    parts: Option<Folder>,
    /// Whether it was said that files of another question are kept.
    kept: AtomicBool,
}

/// What was found about one class of a photo.
struct Explained {
    class: usize,
    /// Whether other classes of the photo are explained too.
    several: bool,
    found: MethodResult,
    seconds: f64,
    scale: Scale,
    /// The picture of all classes.
    together: Option<String>,
}

/// A result for programs; every line of a run has the same fields.
#[derive(Serialize)]
struct Line<'a> {
    image: String,
    method: &'a str,
    gradient: Option<&'a str>,
    definition: &'a str,
    class: usize,
    label: String,
    /// Nothing for numbers that are of no classes: a similarity, a box's side, a sum of outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<f64>,
    score: f64,
    score_kind: String,
    layer: Option<String>,
    /// Of Hyper Expected Grad-CAM: all that was chosen, and how its stages came out.
    #[serde(skip_serializing_if = "Option::is_none")]
    hyper: Option<HyperLine>,
    map: MapLine,
    baselines: Option<&'a str>,
    draws: Option<usize>,
    seed: Option<u64>,
    convergence: Option<Settled>,
    completeness: Option<Sides>,
    seconds: f64,
    note: Option<String>,
    files: Files,
}

/// What the raw map is.
#[derive(Serialize)]
struct MapLine {
    /// Of a volume's map.
    #[serde(skip_serializing_if = "Option::is_none")]
    slices: Option<usize>,
    height: usize,
    width: usize,
    /// `layer` or `input`: of what the map's places are places.
    at: &'static str,
    signed: bool,
    /// The raw values that the picture shows as its lowest and highest colour.
    shown: [f32; 2],
}

#[derive(Serialize)]
struct Settled {
    rule: &'static str,
    value: Option<f64>,
    satisfied: bool,
    difference: Option<f64>,
    delta: Option<f64>,
    /// Relative to the map.
    standard_error: Option<f64>,
    /// The relative standard error that was asked for, and how many draws bring it down to that.
    wanted_error: f64,
    draws_for_wanted_error: Option<usize>,
}

#[derive(Serialize)]
struct Sides {
    attributed: f64,
    expected: f64,
}

#[derive(Serialize)]
struct Files {
    overlay: String,
    map: String,
    trace: Option<String>,
    trace_figure: Option<String>,
    /// All classes' maps in one picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    together: Option<String>,
}

pub(crate) fn run(arguments: &ExplainArguments, output: &Output) -> Result<Outcome> {
    // What needs no model is refused first, then what needs no photo.
    let is_auto = arguments.method == AUTO;
    // What is chosen later listens to no option that this one does not listen to.
    let name = if is_auto { "expected-grad-cam" } else { arguments.method.as_str() };
    let method = Method::new(name, arguments.gradient.as_deref(), &arguments.definition)?;
    let stop = parse_stop(&arguments.stop)?;
    let cam = CamChoices {
        quality: Quality::named(&arguments.quality)?,
        parts: arguments.parts.is_some(),
        augmented: arguments.augment,
        ..arguments.cam.choices()?
    };
    let layout = arguments.layout.as_deref().map(str::parse::<Layout>).transpose()?;
    method.check(&Requested {
        layers: arguments.layer.len(),
        fusion: arguments.cam.fusion.is_some(),
        layout: layout.is_some(),
        stop,
        parts: cam.parts,
        quality: cam.quality != Quality::default(),
        hyper: cam.hyper,
        augmented: cam.augmented,
        eigen: cam.eigen,
    })?;
    if !(arguments.wanted_error > 0.0 && arguments.wanted_error.is_finite()) {
        let reason = format!("{} is not a number above 0", arguments.wanted_error);
        return Err(Error::parameter("wanted-error", reason).into());
    }
    let usual = method.scale(arguments.layer.len());
    let scale = Scale { percentile: arguments.percentile.unwrap_or(usual.percentile), ..usual };
    let style = style(arguments, scale.percentile)?;
    let baselines = arguments.baselines.clone().unwrap_or_else(|| baseline::DEFAULT.to_owned());
    let mut setup = Setup {
        methods: vec![MethodSpec { layers: arguments.layer.clone(), cam, ..method.into() }],
        classes: arguments.class.clone(),
        score: arguments.score.clone(),
        baselines: Some(baselines.clone()),
        settings: Settings {
            draws: arguments.cam.mini_batches.map(|batches| batches.draws).or(arguments.draws),
            stop,
            alphas: arguments.cam.alphas.into(),
            spread: Spread::Relative(arguments.noise),
            layout: layout.unwrap_or_default(),
            gradient: (&arguments.gradient_options).into(),
            ..Settings::default()
        },
        seed: arguments.seed,
        batch: arguments.batch,
        memory: arguments.memory.map(Budget::new),
        decoding: photo::decoding(arguments.photos.max_megapixels)?,
        ..Setup::default()
    };
    let folder = Folder::prepare(&arguments.out)?;
    let parts = arguments.parts.as_deref().map(Folder::prepare).transpose()?;
    let classifier = model::classifier_of_volumes(&arguments.model, output)?;
    // What is said of the method, once a photo is explained by it.
    let mut words = Vec::new();
    if is_auto && arguments.definition == "paper" {
        let chosen = chosen(arguments, &classifier)?;
        words.push(format!("`{}` is chosen: {}; --method names another", chosen.method.label(), chosen.reason));
        setup.methods = vec![MethodSpec { layers: arguments.layer.clone(), cam, ..chosen.method.into() }];
    }
    let session = model::session(&setup, &classifier, output)?;
    let MethodAt { spec, layers, .. } = &session.methods[0];
    words.extend(auto::pointless_draws(&classifier.model.graph, layers, &spec.method));
    let question = Question::new(arguments, &classifier.model, &session.methods[0]);
    let kept = AtomicBool::new(false);
    let mut run = Run { arguments, output, session, baselines, scale, style, question, folder, parts, kept };
    if arguments.show && (output.width().is_none() || output.is_json()) {
        output.note("--show draws in a terminal, and the results go elsewhere");
    }
    let inputs = run::photos(&arguments.photos.images);
    run.folder.spare(inputs.photos.iter().map(|photo| photo.path.as_path()));
    output.writes_files();
    let listing = Listing::new(&inputs, arguments.out.display().to_string().chars().count(), output.width());
    let mut headings = Some(listing.table.headings());
    let mut least_sure: Option<LeastSure> = None;
    let outcome = run::for_each_photo(&inputs, output, "explaining", |input| {
        let lines = run.explain(input)?;
        for note in std::mem::take(&mut words) {
            output.note(&note);
        }
        if let Some(picture) = lines.first().and_then(|line| line.files.together.as_ref()).filter(|_| !output.is_json())
        {
            output.note(&format!("all classes in one picture: {picture}"));
        }
        for line in &lines {
            output.object(line)?;
            if let Some(headings) = headings.take() {
                output.line(&headings)?;
            }
            listing.print(line, output)?;
            if let Some(found) =
                LeastSure::of(line).filter(|one| least_sure.is_none_or(|least| one.error > least.error))
            {
                least_sure = Some(found);
            }
            if let Some(note) = &line.note {
                output.note(&format!("{}: {note}", line.image));
            }
        }
        Ok(())
    })?;
    if let Some(words) = least_sure.and_then(LeastSure::words).filter(|_| !output.is_json()) {
        output.note(&words);
    }
    if output.width().is_some() && !output.is_json() && !inputs.photos.is_empty() {
        let page = arguments.out.join("compare.html").display().to_string();
        let model = arguments.model.name.model.iter().flat_map(|model| ["--model".to_owned(), model.clone()]);
        let photos = arguments.photos.images.iter().map(|path| path.display().to_string());
        let words = ["faithful".to_owned(), "compare".to_owned()].into_iter().chain(photos).chain(model);
        let command = command_line(words.chain(["--out".to_owned(), page]));
        output.note(&format!("several methods side by side, with their curves, in one page: {command}"));
    }
    Ok(outcome)
}

/// The method that serves the network at the layers that were named, or at its own.
fn chosen(arguments: &ExplainArguments, classifier: &Classifier) -> Result<auto::Chosen> {
    let draws = arguments.draws.is_some()
        || arguments.cam.mini_batches.is_some()
        || arguments.baselines.is_some()
        || arguments.stop != "draws"
        || arguments.trace
        || arguments.trace_figure;
    auto::serving(classifier, &arguments.layer, arguments.gradient.as_deref(), draws)
        .map_err(|error| model::with_hint(&classifier.model, error))
}

fn style(arguments: &ExplainArguments, percentile: f64) -> Result<Style> {
    let colormap = arguments.colormap.as_deref().map(Colormap::from_name).transpose()?;
    if !(0.0..=1.0).contains(&arguments.opacity) {
        return Err(Error::parameter("opacity", format!("{} is not from 0 to 1", arguments.opacity)).into());
    }
    if !(percentile > 50.0 && percentile <= 100.0) {
        let reason = format!("{percentile} is not above 50 and at most 100");
        return Err(Error::parameter("percentile", reason).into());
    }
    Ok(Style { colormap, opacity: arguments.opacity, legend: arguments.legend })
}

impl Run<'_> {
    fn explain(&self, input: &Input) -> Result<Vec<Line<'_>>> {
        let mut seen = self.session.read(&input.path)?;
        let found = self.session.explain(&seen, self.method())?;
        let seconds = seen.began.elapsed().as_secs_f64();
        if self.arguments.view == PhotoView::Input {
            seen.photo = seen.photo.cropped();
        }
        let (one_scale, together) = (self.arguments.one_scale, self.arguments.together);
        if (one_scale || together) && seen.photo.slices.is_some() {
            let option = if one_scale { "one-scale" } else { "together" };
            return Err(Error::parameter(option, "it is for maps of photos, and not of volumes").into());
        }
        let raw = if one_scale || together {
            found.iter().map(MethodResult::raw).collect::<faithful_core::Result<Vec<_>>>()?
        } else {
            Vec::new()
        };
        let scale = if one_scale { self.scale.over(&raw)? } else { self.scale };
        let together = if together { Some(self.write_together(input, &seen, &raw, &scale)?) } else { None };
        let several = seen.classes.len() > 1;
        let pairs = seen.classes.iter().zip(found);
        pairs
            .map(|(&class, found)| {
                let explained = Explained { class, several, found, seconds, scale, together: together.clone() };
                self.write(input, &seen, explained)
            })
            .collect()
    }

    /// The picture of all classes' maps, each in a hue of its own.
    fn write_together(&self, input: &Input, seen: &Seen, raw: &[Map], scale: &Scale) -> Result<String> {
        let scaled = raw.iter().map(|map| rescale(map, scale)).collect::<faithful_core::Result<Vec<_>>>()?;
        let named = |&class: &usize| self.class_in_words(class, seen);
        let names: Vec<String> = seen.classes.iter().map(named).collect();
        let Style { opacity, .. } = self.style;
        let picture = overlay_classes(&seen.photo.picture, &scaled, &names, seen.photo.region, opacity)?;
        let picture = if self.arguments.caption {
            with_caption(&picture, &[self.method_in_words(seen, seen.classes[0])?])
        } else {
            picture
        };
        let record = self.question.record_of_classes(&input.path, &seen.classes)?;
        let name = self.name_for(&self.question.name(&input.stem, Some("classes".into())), &record);
        let path = self.folder.write(&format!("{name}.png"), &encode_png_with_note(&picture, &record)?)?;
        Ok(path.display().to_string())
    }

    /// `striped crescent, 98.1%`.
    fn class_in_words(&self, class: usize, seen: &Seen) -> String {
        let label = self.session.classifier.model.labels.name(class);
        let value = seen.prediction.probabilities[class];
        match self.session.classifier.model.probabilities {
            Probabilities::Unchanged => format!("{label}, {value:.3}"),
            _ => format!("{label}, {:.1}%", value * 100.0),
        }
    }

    /// `layer-cam at layer3.2`, with the score where it is not the network's output.
    fn method_in_words(&self, seen: &Seen, class: usize) -> Result<String> {
        let method = self.method();
        let mut words = method.spec.label.clone();
        if let Some(layers) = self.layer_names(seen, class)? {
            words = format!("{words} at {layers}");
        }
        Ok(match self.session.score_of(&method.spec.method) {
            ScoreKind::Logit => words,
            _ => format!("{words}, {}", self.score_kind()),
        })
    }

    /// The layers where a class of a photo is explained.
    fn layer_names(&self, seen: &Seen, class: usize) -> Result<Option<String>> {
        let graph = &self.session.classifier.model.graph;
        Ok(self.method().for_image(seen.layer_of(class), graph)?.layer_names(graph))
    }

    /// Which score is explained.
    fn score_kind(&self) -> String {
        score_in_words(&self.arguments.score, &self.method().spec.method)
    }

    /// The one method that was asked for.
    fn method(&self) -> &MethodAt {
        &self.session.methods[0]
    }

    /// The name of results where none of another question is written over; the first that is kept is said.
    fn name_for(&self, name: &str, record: &str) -> String {
        let free = self.folder.name_for(name, record);
        if free != name && !self.kept.swap(true, Ordering::Relaxed) {
            self.output.note(&format!(
                "`{name}` in `{}` answers another question and is kept; this one is called `{free}`",
                self.arguments.out.display()
            ));
        }
        free
    }

    fn write(&self, input: &Input, seen: &Seen, explained: Explained) -> Result<Line<'_>> {
        let Explained { class, several, found, seconds, scale, together } = explained;
        let (photo, model) = (&seen.photo, &self.session.classifier.model);
        let method = &self.method().spec.method;
        let mut drawing = Drawing::new(&found.map, photo, &scale, &self.style)?;
        if self.arguments.caption {
            let words = [self.class_in_words(class, seen), self.method_in_words(seen, class)?];
            drawing.picture = with_caption(&drawing.picture, &words);
        }
        if self.arguments.show {
            self.output.show(&drawing.picture);
        }
        let asked = several || self.arguments.class != ["top1"];
        let name = self.question.name(&input.stem, asked.then(|| format!("class{class}")));
        let record = self.question.record(&input.path, class, &model.labels.name(class))?;
        let name = self.name_for(&name, &record);
        if let Some(folder) = &self.parts {
            for (part, map) in &found.parts {
                let signed = map.min_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()? < 0.0;
                let drawing = Drawing::new(map, photo, &Scale { signed, ..self.scale }, &self.style)?;
                folder.write(&format!("{name}.{part}.npy"), &drawing.array)?;
                folder.write(&format!("{name}.{part}.png"), &encode_png(&drawing.picture)?)?;
            }
        }
        let converged = found.convergence.as_ref().filter(|convergence| !convergence.trace.is_empty());
        let trace = match converged {
            Some(convergence) if self.arguments.trace => {
                let lines = convergence::write_trace(&convergence.trace)?;
                Some(self.folder.write(&format!("{name}.jsonl"), lines.as_bytes())?)
            }
            _ => None,
        };
        let trace_figure = match converged {
            Some(convergence) if self.arguments.trace_figure => {
                let panels = convergence::panels(&[(name.clone(), convergence.trace.clone())], convergence.rule);
                let figure = chart_svg(&panels)?;
                Some(self.folder.write(&format!("{name}.svg"), figure.as_bytes())?)
            }
            _ => None,
        };
        let files = Files {
            // The picture first: it says what the other files of its name are about.
            overlay: self
                .folder
                .write(&format!("{name}.png"), &encode_png_with_note(&drawing.picture, &record)?)?
                .display()
                .to_string(),
            map: self.folder.write(&format!("{name}.npy"), &drawing.array)?.display().to_string(),
            trace: trace.map(|path| path.display().to_string()),
            trace_figure: trace_figure.map(|path| path.display().to_string()),
            together,
        };
        let draws = method.draws();
        let notes: Vec<String> = if found.notes.is_empty() { drawing.note.into_iter().collect() } else { found.notes };
        let (slices, height, width) = match drawing.size[..] {
            [slices, height, width] => (Some(slices), height, width),
            [height, width] => (None, height, width),
            _ => return Err(Error::shape("the map", "(h, w) or (slices, h, w)", &drawing.size).into()),
        };
        let at = if found.at_layer { "layer" } else { "input" };
        let map = MapLine { slices, height, width, at, signed: drawing.signed, shown: drawing.shown };
        Ok(Line {
            image: input.path.display().to_string(),
            method: method.info().name,
            gradient: method.other_gradient(),
            definition: &self.arguments.definition,
            class,
            label: model.labels.name(class),
            probability: (model.probabilities != Probabilities::Unchanged)
                .then(|| seen.prediction.probabilities[class]),
            score: found.score,
            score_kind: self.score_kind(),
            layer: self.layer_names(seen, class)?,
            hyper: method.has_parts().then(|| HyperLine::of(&self.method().spec.cam)),
            map,
            baselines: method.compares().then_some(&self.baselines),
            draws: found.convergence.as_ref().filter(|_| draws).map(|convergence| convergence.draws),
            seed: draws.then_some(self.arguments.seed),
            convergence: found
                .convergence
                .as_ref()
                .filter(|_| draws)
                .map(|found| settled(found, self.arguments.wanted_error)),
            completeness: found.completeness.map(|(attributed, expected)| Sides { attributed, expected }),
            seconds,
            note: (!notes.is_empty()).then(|| notes.join("; ")),
            files,
        })
    }
}

fn settled(convergence: &Convergence, wanted_error: f64) -> Settled {
    Settled {
        rule: match convergence.rule {
            Stop::Draws => "draws",
            Stop::Difference(_) => "difference",
            Stop::Delta(_) => "delta",
        },
        value: convergence.value,
        satisfied: convergence.satisfied,
        difference: convergence.difference,
        delta: convergence.delta,
        standard_error: convergence.standard_error,
        wanted_error,
        draws_for_wanted_error: convergence.draws_for(wanted_error),
    }
}

/// How the results of photos are shown to people: what fits into a line, and the picture below it where that does not.
struct Listing {
    table: Table,
    /// How wide the columns of photos and labels are; where nothing limits a line, as wide as what they hold.
    widths: Option<[usize; 2]>,
    /// Whether a line has room for how long a map took, and for its picture.
    wide: bool,
    pictures_below: bool,
}

/// What stands between columns.
const GAP: usize = 2;

impl Listing {
    fn new(inputs: &Inputs, folder: usize, width: Option<usize>) -> Self {
        let image = run::name_width(inputs);
        // Class, probability, score and error; draws and seconds; a picture's name at its usual longest.
        let (fixed, more) = (5 + 11 + 8 + 6 + 5 * GAP, 5 + 7 + 2 * GAP);
        let label = 24;
        let picture = folder + image + 30 + GAP;
        let wide = width.is_none_or(|width| fixed + more + 2 * 20 <= width);
        let room = width.map(|width| width.saturating_sub(if wide { fixed + more } else { fixed }));
        let pictures_below = room.is_some_and(|room| image + label + picture > room);
        let widths = room.map(|room| {
            let label = label.min(room / 2).max(12);
            [image.min(room.saturating_sub(label)).max(8), label]
        });
        let [image, label] = widths.unwrap_or([image, label]);
        let mut columns = vec![
            Column::left("image").width(image),
            Column::right("class"),
            Column::left("label").width(label),
            Column::right("probability"),
            Column::right("score").width(8),
            Column::right("error").width(6),
        ];
        if wide {
            columns.extend([Column::right("draws"), Column::right("seconds")]);
        }
        if !pictures_below {
            columns.push(Column::left("picture"));
        }
        Self { table: Table::new(&columns), widths, wide, pictures_below }
    }

    fn print(&self, line: &Line<'_>, output: &Output) -> Result<()> {
        let [image, label] = self.widths.unwrap_or([usize::MAX; 2]);
        let error = line.convergence.as_ref().and_then(|settled| settled.standard_error);
        let mut cells = vec![
            cut_path(&line.image, image),
            line.class.to_string(),
            cut(&line.label, label),
            line.probability.map_or_else(|| "-".to_owned(), |share| format!("{:.2}%", share * 100.0)),
            format!("{:.3}", line.score),
            error.map_or_else(|| "-".to_owned(), |error| format!("{:.1}%", error * 100.0)),
        ];
        if self.wide {
            cells.push(line.draws.map_or_else(|| "-".to_owned(), |draws| draws.to_string()));
            cells.push(format!("{:.2}", line.seconds));
        }
        if self.pictures_below {
            output.line(&self.table.row(&cells))?;
            output.line(&format!("  {}", line.files.overlay))?;
        } else {
            cells.push(line.files.overlay.clone());
            output.line(&self.table.row(&cells))?;
        }
        Ok(())
    }
}

/// The least sure of a run's maps, and how many draws would make it as sure as was asked for.
#[derive(Clone, Copy, Debug)]
struct LeastSure {
    error: f64,
    wanted: f64,
    draws: Option<usize>,
}

impl LeastSure {
    fn of(line: &Line<'_>) -> Option<Self> {
        let settled = line.convergence.as_ref()?;
        let error = settled.standard_error?;
        Some(Self { error, wanted: settled.wanted_error, draws: settled.draws_for_wanted_error })
    }

    /// In words; nothing where all maps are as sure as was asked for.
    fn words(self) -> Option<String> {
        let Self { error, wanted, draws } = self;
        let percent = |share: f64| format!("{:.1}%", share * 100.0).replace(".0%", "%");
        let more = draws.filter(|draws| error > wanted && *draws <= MANY)?;
        Some(format!(
            "error is how much a map would change with other draws, as a share of it: at most {} here; about {more} draws \
             (--draws {more}) would bring it down to {}",
            percent(error),
            percent(wanted)
        ))
    }
}
