//! `faithful serve`: a page that explains the photos one drops into it.

use super::lists;
use crate::arguments::{ComputeArguments, Flag, ModelArguments, ReadingArguments, ServeArguments};
use crate::exhibit::{self, PageLimits};
use crate::failure::Outcome;
use crate::model;
use crate::output::Output;
use anyhow::{Context, Result, bail};
use faithful_baseline::BaselineSampler;
use faithful_core::{Error, Watch};
use faithful_data::{Decoding, decode_photo};
use faithful_explain::auto::{self, AUTO};
use faithful_explain::{
    Budget, Classifier, Listener, Method, MethodAt, MethodResult, Seen, Settings, Setup, baseline, class, methods,
    photo,
};
use faithful_metric::{Protocol, Steps};
use faithful_page::{Download, Extra, Gallery, Page, Section};
use faithful_report::{Style, encode_npy, encode_png};
use faithful_serve::{Answer, Engine, File, Limits, Progress, Request, Site, serve};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// More draws than this are for the command line: others wait.
const DRAWS: usize = 500;
/// And more classes at a time.
const CLASSES: usize = 10;
/// And more methods.
const METHODS: usize = 6;
/// Steps of the curves under a map.
const STEPS: NonZeroUsize = NonZeroUsize::new(30).unwrap();

pub(crate) fn run(arguments: &ServeArguments, output: &Output) -> Result<Outcome> {
    let decoding = photo::decoding(arguments.max_megapixels)?;
    let names: Vec<Option<String>> =
        if arguments.model.is_empty() { vec![None] } else { arguments.model.iter().cloned().map(Some).collect() };
    let compute = arguments.compute.compute()?;
    arguments.compute.note(&compute).iter().for_each(|note| output.note(note));
    let mut models = Vec::new();
    for name in names {
        let read = arguments.reading.read();
        let model = model::load(name.as_deref(), &only(name.clone(), &arguments.compute), &read)?;
        let classifier = model::classifier_of(model, read, output, |model| compute.place(&model.graph))?;
        let model = &classifier.model;
        // Two of one architecture are told apart by how they were asked for.
        let taken = models.iter().any(|other: &Loaded| other.name == model.name);
        let name = name.filter(|_| taken).unwrap_or_else(|| model.name.clone());
        if models.iter().any(|other: &Loaded| other.name == name) {
            return Err(Error::parameter("model", format!("`{name}` is there already")).into());
        }
        let baselines = arguments.baselines.as_deref().unwrap_or(baseline::DEFAULT);
        let sampler = baseline::sampler(baselines, model.photo_preprocessing()?, &decoding, &|text| output.note(text))
            .map_err(|error| model::with_hint(model, error))?;
        models.push(Loaded { name, classifier, sampler });
    }
    let memory = arguments.memory.map(|limit| Budget::new(limit).shared_by(arguments.workers));
    let photos = Photos { models, decoding, seed: arguments.seed, memory };
    let limits =
        Limits { upload: arguments.max_upload.0 as usize, workers: arguments.workers.get(), ..Limits::default() };
    let data = photos.describe(limits.upload);
    let extra = Extra {
        html: include_str!("../../assets/serve.html"),
        script: include_str!("../../assets/serve.js"),
        data: Some(&data),
    };
    let site = Site {
        html: page(&photos).html_with(&extra),
        policy: Page::policy_of(&extra),
        hosts: arguments.allow_host.clone(),
    };
    let listener = TcpListener::bind(&arguments.listen)
        .with_context(|| format!("cannot listen on {}; name another place with --listen", arguments.listen))?;
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        output.note("everyone who reaches this machine can use the page: there is no log-in and no encryption");
    }
    output.object(&json!({ "url": format!("http://{address}/") }))?;
    output.line(&format!("http://{address}/  (Ctrl-C ends it)"))?;
    serve(&listener, &site, &photos, limits, &AtomicBool::new(false)).context("the server stopped")?;
    Ok(Outcome::Complete)
}

/// A model by its name, with what it says of its photos itself.
fn only(model: Option<String>, compute: &ComputeArguments) -> ModelArguments<Flag> {
    ModelArguments {
        name: Flag { model, reading: ReadingArguments::default(), compute: compute.clone() },
        output: None,
        input_size: None,
        resize: None,
        crop: None,
        fit: None,
        pad_color: None,
        channels: None,
        scale: None,
        activation: None,
        task: None,
        mean: Vec::new(),
        std: Vec::new(),
        interpolation: None,
        labels: None,
    }
}

fn page(photos: &Photos) -> Page {
    let names: Vec<&str> = photos.models.iter().map(|one| one.name.as_str()).collect();
    let mut page = Page::new("Explain a photo");
    let looks = match names.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} and {last} look", first.join(", ")),
        _ => format!("{} looks", names.join("")),
    };
    page.lede(format!("What {looks} at in your photos. They stay on this server while they are explained."));
    page.push(Section::gallery(None, Gallery::default()));
    page
}

struct Loaded {
    /// The name by which users choose it.
    name: String,
    classifier: Classifier,
    sampler: Arc<dyn BaselineSampler>,
}

/// What `serve` does with photos: the same as `explain`.
struct Photos {
    models: Vec<Loaded>,
    decoding: Decoding,
    seed: u64,
    memory: Option<Budget>,
}

/// What a user sees of an explanation, and the end of one that nobody wants any more.
struct Waiting<'a>(&'a Progress);

impl Watch for Waiting<'_> {
    fn announce(&self, work: u64) {
        self.0.announce(work);
    }

    fn advance(&self, work: u64) -> faithful_core::Result<()> {
        if self.0.unwanted() {
            return Err(not_wanted());
        }
        self.0.advance(work);
        Ok(())
    }
}

fn not_wanted() -> Error {
    Error::Cancelled("nobody waits for the photo any more".into())
}

impl Listener for Waiting<'_> {
    fn note(&self, _: &str) {}
}

/// A request that was understood.
struct Understood<'a> {
    loaded: &'a Loaded,
    setup: Setup,
    curves: bool,
    /// Which method was chosen where none was named, and why.
    told: Option<String>,
}

impl Photos {
    /// What the form offers.
    fn describe(&self, upload: usize) -> Value {
        let models = self.models.iter().map(|Loaded { name, classifier, .. }| {
            let model = &classifier.model;
            let layers = model.layer_table().into_iter().filter(|row| row.stride.is_some() && row.shape.len() == 3);
            let layers = layers.map(|row| {
                let shape: Vec<String> = row.shape.iter().map(ToString::to_string).collect();
                json!({ "name": row.name, "note": shape.join(" × "), "target": row.target })
            });
            let labels: Vec<String> = (0..model.labels.count()).map(|class| model.labels.name(class)).collect();
            let diagram = exhibit::diagram(model).to_json();
            json!({ "name": name, "layers": layers.collect::<Vec<_>>(), "labels": labels, "diagram": diagram })
        });
        let chosen = json!({
            "name": AUTO, "summary": "one that serves the model, by what lies behind the layer", "layers": true, "draws": true,
        });
        let methods = methods().into_iter().filter_map(|info| {
            let method = Method::new(info.name, None, "paper").ok()?;
            Some(json!({
                "name": info.name, "summary": info.summary, "layers": method.needs_layers(), "draws": method.draws(),
                "family": lists::family(info.family),
            }))
        });
        let methods = [chosen].into_iter().chain(methods);
        json!({ "models": models.collect::<Vec<_>>(), "methods": methods.collect::<Vec<_>>(), "upload": upload })
    }

    fn understand(&self, request: &Request) -> Result<Understood<'_>> {
        let name = request.get("model");
        let loaded = self.models.iter().find(|one| name.is_none_or(|name| one.name == name));
        let loaded = loaded.with_context(|| format!("no model `{}` is served here", name.unwrap_or_default()))?;
        let names: Vec<String> = request.get("method").unwrap_or(AUTO).split(',').map(str::to_owned).collect();
        if names.len() > METHODS {
            let reason = format!("at most {METHODS} methods at a time, and {} are named", names.len());
            return Err(Error::parameter("method", reason).into());
        }
        let layers: Vec<String> = request.get("layer").map(str::to_owned).into_iter().collect();
        let draws = request.get("draws").map(|draws| match draws.parse::<NonZeroUsize>() {
            Ok(draws) if draws.get() <= DRAWS => Ok(draws),
            _ => Err(Error::parameter("draws", format!("`{draws}` is no number from 1 to {DRAWS}"))),
        });
        let draws = draws.transpose()?;
        let told = RefCell::new(None);
        let methods = auto::methods(&names, &loaded.classifier, &layers, draws.is_some(), &|text| {
            told.replace(Some(text.to_owned()));
        })
        .map_err(|error| model::with_hint(&loaded.classifier.model, error))?;
        let setup = Setup {
            methods,
            layers,
            classes: vec![request.get("class").unwrap_or("top1").to_owned()],
            settings: Settings { draws, sampler: Arc::clone(&loaded.sampler), ..Settings::default() },
            seed: self.seed,
            memory: self.memory.clone(),
            decoding: self.decoding,
            ..Setup::default()
        };
        let model = &loaded.classifier.model;
        let session = setup.session(&loaded.classifier).map_err(|error| model::with_hint(model, error))?;
        if class::most(&session.classes) > CLASSES {
            let reason = format!("`{}`: at most {CLASSES} classes at a time", setup.classes[0]);
            return Err(Error::parameter("class", reason).into());
        }
        Ok(Understood { loaded, setup, curves: request.get("curves").is_some(), told: told.into_inner() })
    }

    fn explain(&self, bytes: &[u8], request: &Request, progress: &Progress) -> Result<Answer> {
        let Understood { loaded, setup, curves, told } = self.understand(request)?;
        let model = &loaded.classifier.model;
        let name = shown_name(request.get("name").unwrap_or("photo"));
        let waiting = Waiting(progress);
        let session = setup.session_with(&loaded.classifier, &waiting)?;
        // Drawing takes its time too, and others wait.
        let still_wanted = || if progress.unwanted() { Err(not_wanted()) } else { Ok(()) };
        let picture = decode_photo(&name, bytes, &self.decoding)?;
        still_wanted()?;
        let seen = session.see(photo::prepare(picture, model.photo_preprocessing()?)?, &name)?;
        let limits = PageLimits::new(1, seen.classes.len() * session.methods.len(), None)?;
        let mut shown = limits.photo(name.clone(), &seen, model)?;
        shown.remark = told;
        still_wanted()?;
        let protocol = curves.then(|| Protocol { steps: Steps::Count(STEPS), ..Protocol::thesis() });
        let mut files = Vec::new();
        let mut failure = None;
        for method in &session.methods {
            still_wanted()?;
            match exhibit::add_maps(&mut shown, &session, &seen, method, &limits, protocol.as_ref()) {
                Ok(found) => {
                    for (view, found) in shown.views.iter_mut().zip(&found) {
                        still_wanted()?;
                        let stem = file_stem(&name, &method.spec.label, view.class.class);
                        let of_map = files_of(&stem, found, &seen)?;
                        if let Some(overlay) = view.maps.last_mut() {
                            overlay.files = of_map.iter().map(|(text, file)| link(text, file)).collect();
                        }
                        files.extend(of_map.into_iter().map(|(_, file)| file));
                    }
                }
                // The others are shown, and the reason in its place.
                Err(reason) => failure = Some(reason),
            }
        }
        if let Some(reason) = failure.filter(|_| files.is_empty()) {
            bail!(reason);
        }
        let mut json = shown.to_json();
        let column =
            |method: &MethodAt| json!({ "name": method.spec.label, "note": method.spec.method.info().summary });
        json["columns"] = session.methods.iter().map(column).collect();
        Ok(Answer { shown: json, files })
    }
}

impl Engine for Photos {
    fn check(&self, request: &Request) -> Result<(), String> {
        self.understand(request).map(|_| ()).map_err(|error| crate::failure::text(&error))
    }

    fn answer(&self, photo: &[u8], request: &Request, progress: &Progress) -> Result<Answer, String> {
        self.explain(photo, request, progress).map_err(|error| crate::failure::text(&error))
    }
}

/// What can be saved of a map, and what the links to it say.
fn files_of(stem: &str, found: &MethodResult, seen: &Seen) -> Result<[(&'static str, File); 2]> {
    let picture = encode_png(&found.picture(&seen.photo, &Style::default())?)?;
    let map = encode_npy(&found.raw()?);
    let file = |ending: &str, media, bytes| File { name: format!("{stem}.{ending}"), media, bytes };
    Ok([("PNG", file("png", "image/png", picture)), ("Raw map", file("npy", "application/octet-stream", map))])
}

fn link(text: &str, file: &File) -> Download {
    Download { text: text.into(), name: file.name.clone(), href: format!("files/{}", file.name) }
}

/// The last part of a name, whatever system it comes from, and not too much of it.
fn shown_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let short: String = last.chars().filter(|letter| !letter.is_control()).take(120).collect();
    if short.is_empty() { "photo".into() } else { short }
}

/// A name for what is saved, of letters, digits, dots and dashes alone.
fn file_stem(photo: &str, method: &str, class: usize) -> String {
    let stem = photo.rsplit_once('.').map_or(photo, |(stem, _)| stem);
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' };
    let stem: String = stem.chars().map(plain).take(60).collect();
    let method: String = method.chars().map(|letter| if letter == '.' { '.' } else { plain(letter) }).collect();
    format!("{stem}.{method}.class{class}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_uploads_lose_what_could_be_a_path_or_a_header() {
        assert_eq!(shown_name("../../etc/passwd"), "passwd");
        assert_eq!(shown_name("C:\\photos\\a\r\nb.png"), "ab.png");
        assert_eq!((shown_name("a/"), shown_name("")), ("photo".into(), "photo".into()));
        assert_eq!(
            file_stem("a\" b/../ü.tar.png", "layer-cam.expected", 3),
            "a__b_.._\u{fc}.tar".replace(|c: char| !c.is_ascii_alphanumeric(), "_") + ".layer-cam.expected.class3"
        );
    }
}
