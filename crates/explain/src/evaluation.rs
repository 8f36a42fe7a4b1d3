//! What an evaluation runs on: images (a folder of photos, or drawn scenes whose objects are known), and the methods of a
//! session.

use crate::boxes::Boxes;
use crate::contents::{Contents, Held};
use crate::reading::layer_towards;
use crate::{Classifier, MethodAt, ScoreKind, Session, Settings, inputs, photo};
use faithful_core::{Digest, Error, Objective, Reading, Result, Score, Stream};
use faithful_data::{
    Decoding, MARK_CLASSES, Mask, Picture, PlantedScene, SCENE_CLASSES, SceneSpec, draw_planted, draw_scene,
    list_photos, read_photo_bytes,
};
use faithful_evaluate::{Explained, Explainer, Sample, Source, Subject};
use faithful_model::{Graph, Model};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// How many scenes `--images scenes` and `planted` draw where `--samples` does not say it.
const SCENES: usize = 100;

/// What `--images` may be in place of a folder: scenes with objects, and scenes with a planted mark beside each.
pub const DRAWN: [&str; 2] = ["scenes", "planted"];

/// The images of a run.
pub struct Images<'a> {
    names: Vec<String>,
    kind: Kind,
    model: &'a Model,
    decoding: Decoding,
    masks: Option<Masks>,
    /// How many pictures are results of `explain`, and therefore left out.
    pub results: usize,
    /// Read when they are first asked for; from then on an image must keep its bytes.
    contents: OnceLock<Contents>,
    /// Where what is read of the network's outputs depends on the image.
    classifier: Option<&'a Classifier>,
}

enum Kind {
    Photos(Vec<PathBuf>),
    Scenes(Stream, SceneSpec),
    /// Scenes with an object and a mark, of which the network goes by one.
    Planted(Stream, SceneSpec, Cause),
}

/// What the network's classes are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Object,
    Mark,
}

impl Cause {
    /// # Errors
    /// [`Error::Parameter`] for a network with other classes.
    fn of(model: &Model) -> Result<Self> {
        let known = |labels: &[&str]| {
            model.labels.count() == labels.len()
                && labels.iter().enumerate().all(|(index, label)| model.labels.name(index) == *label)
        };
        if known(&SCENE_CLASSES.map(|class| class.label)) {
            return Ok(Self::Object);
        }
        if known(&MARK_CLASSES.map(|class| class.label)) {
            return Ok(Self::Mark);
        }
        let reason = format!(
            "drawn pictures show the classes of the built-in networks `scenes-224`, `scenes-vgg` and `marks-vgg`, and `{}` \
             has others (--model or FAITHFUL_MODEL names it); give a folder of photos",
            model.name
        );
        Err(Error::parameter("images", reason))
    }
}

/// A picture, the class that is right, and the pixels that make it so.
struct Drawn {
    picture: Picture,
    class: Option<usize>,
    cause: Option<Mask>,
}

fn drawn_scene(stream: &Stream, spec: &SceneSpec, index: usize) -> Result<Drawn> {
    let scene = draw_scene(spec, &mut stream.draw(index))?;
    let class = scene.classes().first().copied();
    Ok(Drawn { class, cause: class.map(|class| scene.mask_of(class)), picture: scene.picture })
}

fn drawn_planted(stream: &Stream, spec: &SceneSpec, cause: Cause, index: usize) -> Result<Drawn> {
    let PlantedScene { mut scene, mark } = draw_planted(spec, &mut stream.draw(index))?;
    let told_by = match cause {
        Cause::Object => scene.objects.swap_remove(0),
        Cause::Mark => mark,
    };
    Ok(Drawn { picture: scene.picture, class: Some(told_by.class), cause: Some(told_by.mask) })
}

/// Where the objects of photos are: a folder with a mask per photo, the same name as a PNG, white where the object is; or a file of
/// COCO's annotations with boxes.
pub struct Masks(Kept);

enum Kept {
    Folder(PathBuf),
    Boxes(Boxes),
}

impl Masks {
    /// The folder, or the file.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read; [`Error::Format`] for a file that holds no boxes.
    pub fn new(place: PathBuf) -> Result<Self> {
        if place.is_file() {
            return Ok(Self(Kept::Boxes(Boxes::read(&place)?)));
        }
        match std::fs::read_dir(&place) {
            Ok(_) => Ok(Self(Kept::Folder(place))),
            Err(source) => Err(Error::Io { path: format!("no folder `{}` with masks", place.display()), source }),
        }
    }

    /// What is known of a photo, as a run's contents have it; `name` is its path below the folder of photos.
    fn held(&self, name: &str, photo: &Path) -> Option<Held> {
        match &self.0 {
            Kept::Folder(folder) => mask_in(folder, name).map(Held::File),
            Kept::Boxes(boxes) => boxes.of(photo).map(|boxes| Held::Digest(boxes.digest())),
        }
    }
}

/// The mask of a photo: in the same folders below `folder` as the photo below its own, or in `folder` itself.
fn mask_in(folder: &Path, name: &str) -> Option<PathBuf> {
    let below = Path::new(name).with_extension("png");
    let beside = Path::new(below.file_name()?);
    [below.as_path(), beside].into_iter().map(|path| folder.join(path)).find(|path| path.exists())
}

impl<'a> Images<'a> {
    /// The photos of `folder` and of its folders, in the order of their names; or, for `scenes` and `planted`, drawn scenes. Of more
    /// than `samples`, that many are taken evenly.
    pub fn find(
        folder: &Path,
        samples: Option<NonZeroUsize>,
        model: &'a Model,
        decoding: &Decoding,
        masks: Option<Masks>,
    ) -> Result<Self> {
        if let Some(kind) = drawn_kind(folder, model)? {
            let count = samples.map_or(SCENES, NonZeroUsize::get);
            let names = (0..count).map(|index| format!("scene {index:05}")).collect();
            return Ok(Self {
                names,
                kind,
                model,
                decoding: *decoding,
                masks,
                results: 0,
                contents: OnceLock::new(),
                classifier: None,
            });
        }
        let mut paths = list_photos(folder)?;
        let all = paths.len();
        paths.retain(|path| !inputs::is_result(path));
        let results = all - paths.len();
        if paths.is_empty() {
            let what = format!("the folder `{}` has no photos", folder.display());
            return Err(Error::format(what, "a picture that lies beside a map of its name is a result"));
        }
        if let Some(samples) = samples.map(NonZeroUsize::get).filter(|samples| *samples < paths.len()) {
            paths = (0..samples).map(|place| paths[place * paths.len() / samples].clone()).collect();
        }
        let name = |path: &PathBuf| path.strip_prefix(folder).unwrap_or(path).to_string_lossy().replace('\\', "/");
        let names = paths.iter().map(name).collect();
        let kind = Kind::Photos(paths);
        Ok(Self {
            names,
            kind,
            model,
            decoding: *decoding,
            masks,
            results,
            contents: OnceLock::new(),
            classifier: None,
        })
    }

    /// The same images, of each of which that is read which `classifier` reads.
    #[must_use]
    pub fn read_by(self, classifier: &'a Classifier) -> Self {
        Self { classifier: Some(classifier), ..self }
    }

    fn reading(&self, photo: &photo::Photo) -> Result<Option<Arc<dyn Reading>>> {
        let Some(classifier) = self.classifier else { return Ok(None) };
        Ok(classifier.reading(classifier.network(), photo)?.map(|found| found.reading))
    }

    /// Whether it is known of at least one image where its object is.
    ///
    /// # Errors
    /// [`Error::Parameter`] where masks were given and none belongs to an image.
    pub fn have_masks(&self) -> Result<bool> {
        let Kind::Photos(paths) = &self.kind else { return Ok(true) };
        let Some(masks) = &self.masks else { return Ok(false) };
        if self.names.iter().zip(paths).any(|(name, path)| masks.held(name, path).is_some()) {
            return Ok(true);
        }
        let reason = format!(
            "none belongs to one of the {} photos; a mask is a PNG with its photo's name, as `{}`",
            paths.len(),
            Path::new(&self.names[0]).with_extension("png").display()
        );
        Err(Error::parameter("masks", reason))
    }

    /// What the images and masks hold. From now on, one that changes is not read any more.
    pub fn contents(&self) -> &Contents {
        self.contents.get_or_init(|| match &self.kind {
            Kind::Photos(paths) => {
                let mask = |name: &str, path: &Path| self.masks.as_ref().and_then(|masks| masks.held(name, path));
                let files: Vec<_> =
                    self.names.iter().zip(paths).map(|(name, path)| (name, path, mask(name, path))).collect();
                Contents::read(&files)
            }
            Kind::Scenes(..) | Kind::Planted(..) => Contents::of_names(&self.names),
        })
    }

    /// Refuses a file of image `index` that has other bytes than the run began with.
    fn check(&self, index: usize, mask: bool, path: &Path, digest: impl FnOnce() -> Result<String>) -> Result<()> {
        let Some(contents) = self.contents.get() else { return Ok(()) };
        if contents.of(&self.names[index], mask) == Some(&digest()?) {
            return Ok(());
        }
        let what = path.display().to_string();
        Err(Error::format(what, "it changed since the run began; put the file back, or begin another run"))
    }

    /// The photo `index` as the network sees it.
    fn read(&self, index: usize, path: &Path) -> Result<photo::Photo> {
        let bytes = read_photo_bytes(path, &self.decoding)?;
        self.check(index, false, path, || Ok(Digest::of(&bytes)))?;
        photo::of_bytes(&path.display().to_string(), &bytes, self.model.photo_preprocessing()?, &self.decoding)
    }

    /// The mask of the photo `index`, where it has one: of boxes, those of its own class where the file calls some so.
    fn mask(&self, index: usize, path: &Path, photo: &photo::Photo) -> Result<Option<Mask>> {
        match self.masks.as_ref().map(|masks| &masks.0) {
            None => Ok(None),
            Some(Kept::Folder(folder)) => {
                let Some(mask) = mask_in(folder, &self.names[index]) else { return Ok(None) };
                self.check(index, true, &mask, || Digest::of_file(&mask))?;
                Mask::read(&mask).map(Some)
            }
            Some(Kept::Boxes(boxes)) => {
                let Some(own) = boxes.of(path) else { return Ok(None) };
                let size = [photo.picture.height() as usize, photo.picture.width() as usize];
                let label = self.label(path).map(|class| self.model.labels.name(class));
                boxes.mask(own, size, label.as_deref()).map(Some)
            }
        }
    }

    /// The class that a photo's folder or name gives it: `n02009912/x.jpg`, `n02009912_x.jpg`, `heron/x.jpg`.
    fn label(&self, path: &Path) -> Option<usize> {
        let stem = path.file_stem()?.to_str()?;
        let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        let first = stem.split(['_', '.', ' ']).next();
        let candidates = [first, folder, stem.split_once('_').map(|(_, rest)| rest), Some(stem)];
        candidates.into_iter().flatten().find_map(|text| {
            let text = text.replace('_', " ");
            // A number is part of a name here, not a class.
            if text.parse::<usize>().is_ok() { None } else { self.model.labels.find(&text).ok() }
        })
    }
}

/// What the word `scenes` or `planted` draws, where no folder has that name.
fn drawn_kind(folder: &Path, model: &Model) -> Result<Option<Kind>> {
    if folder.exists() {
        return Ok(None);
    }
    // As large as the network looks at them.
    let spec = || -> Result<SceneSpec> { Ok(SceneSpec::for_input(model.photo_preprocessing()?.input_size)) };
    match folder.to_str() {
        Some("scenes") => match Cause::of(model)? {
            Cause::Object => Ok(Some(Kind::Scenes(Stream::new(0, "evaluation scenes"), spec()?))),
            Cause::Mark => {
                let reason = format!("`scenes` have no marks, which `{}` goes by; `planted` have", model.name);
                Err(Error::parameter("images", reason))
            }
        },
        Some("planted") => {
            let cause = Cause::of(model)?;
            let spec = SceneSpec { objects: 1..=1, ..spec()? };
            Ok(Some(Kind::Planted(Stream::new(0, "planted scenes"), spec, cause)))
        }
        _ => Ok(None),
    }
}

impl Images<'_> {
    /// Reads image `index`.
    pub fn photo(&self, index: usize) -> Result<photo::Photo> {
        let preprocessing = self.model.photo_preprocessing()?;
        let drawn = match &self.kind {
            Kind::Photos(paths) => return self.read(index, &paths[index]),
            Kind::Scenes(stream, spec) => drawn_scene(stream, spec, index)?,
            Kind::Planted(stream, spec, cause) => drawn_planted(stream, spec, *cause, index)?,
        };
        photo::prepare(drawn.picture, preprocessing)
    }
}

impl Source for Images<'_> {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn load(&self, index: usize) -> Result<Sample> {
        let Drawn { picture, class, cause } = match &self.kind {
            Kind::Photos(paths) => {
                let path = &paths[index];
                let photo = self.read(index, path)?;
                let object = self.mask(index, path, &photo)?.map(|mask| seen(&mask, &photo)).transpose()?;
                let reading = self.reading(&photo)?;
                return Ok(Sample { input: photo.tensor, label: self.label(path), object, reading });
            }
            Kind::Scenes(stream, spec) => drawn_scene(stream, spec, index)?,
            Kind::Planted(stream, spec, cause) => drawn_planted(stream, spec, *cause, index)?,
        };
        let photo = photo::prepare(picture, self.model.photo_preprocessing()?)?;
        let object = cause.map(|mask| seen(&mask, &photo)).transpose()?;
        let reading = self.reading(&photo)?;
        Ok(Sample { input: photo.tensor, label: class, object, reading })
    }
}

/// A session's method, as an evaluation runs it.
pub struct EvaluatedMethod {
    /// The method, at its layers.
    pub method: MethodAt,
    score: ScoreKind,
    layer: Option<String>,
    settings: Settings,
    /// Whether what the network gives for a baseline is read anew of every image.
    anew: bool,
    /// The network, where boxes are explained, which come from layers of their own.
    boxes: Option<Graph>,
}

impl EvaluatedMethod {
    /// The methods of a session, in their order.
    pub fn of(session: &Session<'_>) -> Vec<Self> {
        let one = |method: &MethodAt| Self {
            method: method.clone(),
            score: session.score_of(&method.spec.method),
            layer: method.layer_names(&session.classifier.model.graph),
            settings: method.spec.settings(&session.settings),
            anew: session.classifier.reads_each_photo(),
            boxes: session.classifier.finds_boxes().then(|| session.classifier.model.graph.clone()),
        };
        session.methods.iter().map(one).collect()
    }
}

impl Explainer for EvaluatedMethod {
    fn name(&self) -> &str {
        &self.method.spec.label
    }

    fn explain(&self, subject: &Subject) -> Result<Explained> {
        let target = self.score.of(subject.class, self.settings.probabilities);
        let objective = Objective::new(subject.network, &target).with_batch(subject.batch);
        let scores: [&dyn Score; 1] = [&target];
        let layer = match &self.boxes {
            Some(graph) if self.method.takes_own_layer() => {
                layer_towards(graph, subject.network, subject.class, subject.input)?
            }
            _ => None,
        };
        let own = self.method.for_image(layer, subject.network)?;
        let MethodAt { spec, layers, .. } = &own;
        let stream = subject.stream.clone();
        let mut settings = self.settings.clone();
        if self.anew {
            settings.cache = Arc::default();
        }
        let mut found = spec.method.explain(&objective, subject.input, layers, &scores, &settings, stream)?;
        let layer = layer.and_then(|_| own.layer_names(subject.network)).or_else(|| self.layer.clone());
        Ok(Explained { map: found.remove(0).map, layer })
    }
}

/// A mask of the photo as a mask of the network's input: each cell's centre is looked up in the photo.
fn seen(mask: &Mask, photo: &photo::Photo) -> Result<Vec<bool>> {
    let picture = [photo.picture.height() as usize, photo.picture.width() as usize];
    if [mask.height, mask.width] != picture {
        return Err(Error::shape("the mask", format!("the photo's size {picture:?}"), &[mask.height, mask.width]));
    }
    let (_, _, height, width) = photo.tensor.dims4()?;
    Ok(photo.cells([height, width], &|x, y| mask.inside[y * mask.width + x]))
}
