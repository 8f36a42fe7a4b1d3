//! `faithful explain`.

use super::run;
use crate::arguments::ExplainArguments;
use crate::convergence;
use crate::failure::Outcome;
use crate::files::Folder;
use crate::model;
use crate::output::Output;
use crate::table::{Column, Table};
use anyhow::Result;
use candle_core::DType;
use faithful_baseline::Spread;
use faithful_cam::{Difference, Fusion, Layout, Quality};
use faithful_core::{Convergence, Error, Stop};
use faithful_explain::{
    Budget, CamChoices, Drawing, Method, MethodAt, MethodResult, MethodSpec, Requested, Seen, Session, Settings, Setup,
    baseline,
    inputs::{Input, Inputs},
    parse_stop, photo,
};
use faithful_report::{Colormap, Scale, Style, chart_svg, encode_png};
use serde::Serialize;

/// Everything that is the same for all photos of a run, checked before the first is read.
struct Run<'a> {
    arguments: &'a ExplainArguments,
    output: &'a Output,
    session: Session<'a>,
    baselines: String,
    scale: Scale,
    style: Style,
    folder: Folder,
    parts: Option<Folder>,
}

/// What was found about one class of a photo.
struct Explained {
    class: usize,
    /// Whether other classes of the photo are explained too.
    several: bool,
    found: MethodResult,
    seconds: f64,
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
    probability: f64,
    score: f64,
    score_kind: &'a str,
    layer: Option<String>,
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
}

pub(crate) fn run(arguments: &ExplainArguments, output: &Output) -> Result<Outcome> {
    // What needs no model is refused first, then what needs no photo.
    let method = Method::new(&arguments.method, arguments.gradient.as_deref(), &arguments.definition)?;
    let stop = parse_stop(&arguments.stop)?;
    let cam = CamChoices {
        paths: arguments.mini_batches.map(|batches| batches.paths),
        difference: Difference::named(&arguments.difference)?,
        fusion: arguments.fusion.as_deref().map(Fusion::named).transpose()?.unwrap_or_default(),
        channels: arguments.mask_channels,
        quality: Quality::named(&arguments.quality)?,
        parts: arguments.parts.is_some(),
        augmented: arguments.augment,
        eigen: arguments.eigen,
    };
    let layout = arguments.layout.as_deref().map(str::parse::<Layout>).transpose()?;
    method.check(&Requested {
        layers: arguments.layer.len(),
        fusion: arguments.fusion.is_some(),
        layout: layout.is_some(),
        stop,
        parts: cam.parts,
        quality: cam.quality != Quality::default(),
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
    let setup = Setup {
        methods: vec![MethodSpec { layers: arguments.layer.clone(), cam, ..method.into() }],
        classes: arguments.class.clone(),
        score: arguments.score.clone(),
        baselines: Some(baselines.clone()),
        settings: Settings {
            draws: arguments.mini_batches.map(|batches| batches.draws).or(arguments.draws),
            stop,
            alphas: arguments.alphas.into(),
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
    let session = model::session(&setup, &classifier, output)?;
    let mut run = Run { arguments, output, session, baselines, scale, style, folder, parts };
    if arguments.show && (output.width().is_none() || output.is_json()) {
        output.note("--show draws in a terminal, and the results go elsewhere");
    }
    let inputs = run::photos(&arguments.photos.images);
    run.folder.spare(inputs.photos.iter().map(|photo| photo.path.as_path()));
    output.writes_files();
    let table = table(&inputs);
    let mut headings = Some(table.headings());
    run::for_each_photo(&inputs, output, "explaining", |input| {
        let lines = run.explain(input)?;
        for line in &lines {
            output.object(line)?;
            if let Some(headings) = headings.take() {
                output.line(&headings)?;
            }
            output.line(&table.row(&cells(line)))?;
            if let Some(note) = &line.note {
                output.note(&format!("{}: {note}", line.image));
            }
        }
        Ok(())
    })
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
        let seen = self.session.read(&input.path)?;
        let found = self.session.explain(&seen, self.method())?;
        let seconds = seen.began.elapsed().as_secs_f64();
        let several = seen.classes.len() > 1;
        let pairs = seen.classes.iter().zip(found);
        pairs.map(|(&class, found)| self.write(input, &seen, Explained { class, several, found, seconds })).collect()
    }

    /// The one method that was asked for.
    fn method(&self) -> &MethodAt {
        &self.session.methods[0]
    }

    fn write(&self, input: &Input, seen: &Seen, explained: Explained) -> Result<Line<'_>> {
        let Explained { class, several, found, seconds } = explained;
        let (photo, model) = (&seen.photo, &self.session.classifier.model);
        let method = &self.method().spec.method;
        let drawing = Drawing::new(&found.map, photo, &self.scale, &self.style)?;
        if self.arguments.show {
            self.output.show(&drawing.picture);
        }
        let label = &self.method().spec.label;
        let name =
            if several { format!("{}.{label}.class{class}", input.stem) } else { format!("{}.{label}", input.stem) };
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
            map: self.folder.write(&format!("{name}.npy"), &drawing.array)?.display().to_string(),
            overlay: self.folder.write(&format!("{name}.png"), &encode_png(&drawing.picture)?)?.display().to_string(),
            trace: trace.map(|path| path.display().to_string()),
            trace_figure: trace_figure.map(|path| path.display().to_string()),
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
            gradient: self.arguments.gradient.as_deref(),
            definition: &self.arguments.definition,
            class,
            label: model.labels.name(class),
            probability: seen.prediction.probabilities[class],
            score: found.score,
            score_kind: &self.arguments.score,
            layer: self.method().layer_names(&model.graph),
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

fn table(inputs: &Inputs) -> Table {
    Table::new(&[
        Column::left("image").width(run::name_width(inputs)),
        Column::right("class"),
        Column::left("label").width(24),
        Column::right("probability"),
        Column::right("score").width(8),
        Column::right("draws"),
        Column::left("error").width(22),
        Column::right("seconds"),
        Column::left("picture"),
    ])
}

fn cells(line: &Line<'_>) -> [String; 9] {
    [
        line.image.clone(),
        line.class.to_string(),
        line.label.clone(),
        format!("{:.2}%", line.probability * 100.0),
        format!("{:.3}", line.score),
        line.draws.map_or_else(|| "-".to_owned(), |draws| draws.to_string()),
        error(line.convergence.as_ref()),
        format!("{:.2}", line.seconds),
        line.files.overlay.clone(),
    ]
}

/// How sure a map is, and how many draws it would take to be as sure as was asked for.
fn error(settled: Option<&Settled>) -> String {
    let Some(error) = settled.and_then(|settled| settled.standard_error) else { return "-".into() };
    let needed = settled.and_then(|settled| Some((settled.wanted_error, settled.draws_for_wanted_error?)));
    let needed = needed.map_or_else(String::new, |(wanted, draws)| format!(", {draws} for {:.3}%", wanted * 100.0));
    // `5%`, not `5.000%`.
    format!("{:.1}%{}", error * 100.0, needed.replace(".000%", "%"))
}
