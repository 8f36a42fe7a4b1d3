//! `--baselines`: what photos are compared with.

use crate::inputs;
use crate::output::Output;
use crate::photo;
use anyhow::{Context, Result, bail};
use candle_core::Tensor;
use faithful_baseline::{BaselineSampler, Blurred, Constant, DataSet, Gaussian, InputMean, Spread, Uniform};
use faithful_core::{Error, Preprocessing, Stream};
use faithful_data::{Decoding, SceneSpec, draw_scene};
use std::path::Path;
use std::sync::Arc;

/// A kind of baseline that has a name.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    make: fn(&str, &Preprocessing) -> faithful_core::Result<Arc<dyn BaselineSampler>>,
}

/// All of them; besides these, a folder of photos.
pub(crate) const KINDS: [Kind; 9] = [
    Kind {
        name: "zero",
        summary: "zero in the network's input: the mean colour of what it was trained on",
        make: |_, _| Ok(Arc::new(Constant::zero())),
    },
    Kind { name: "black", summary: "a black picture", make: |_, photo| Ok(color(photo, [0.0; 3])) },
    Kind { name: "grey", summary: "a grey picture", make: |_, photo| Ok(color(photo, [0.5; 3])) },
    Kind { name: "white", summary: "a white picture", make: |_, photo| Ok(color(photo, [1.0; 3])) },
    Kind { name: "mean", summary: "the photo's own mean colour", make: |_, _| Ok(Arc::new(InputMean)) },
    Kind {
        name: "uniform",
        summary: "every value random, between black and white",
        make: |_, photo| {
            Ok(Arc::new(Uniform { low: standardised(photo, [0.0; 3]), high: standardised(photo, [1.0; 3]) }))
        },
    },
    Kind {
        name: "gaussian",
        summary: "the photo with noise; `gaussian:0.3` has a deviation of 30% of the photo's range (15% by default)",
        make: |width, _| {
            let spread = if width.is_empty() { Spread::default() } else { Spread::Relative(number(width)?) };
            Ok(Arc::new(Gaussian { spread }))
        },
    },
    Kind {
        name: "blur",
        summary: "the photo blurred; `blur:20` by a Gaussian of 20 pixels of the network's input (10 by default)",
        make: |width, _| {
            let blurred = if width.is_empty() { Blurred::default() } else { Blurred { sigmas: vec![number(width)?] } };
            Ok(Arc::new(blurred))
        },
    },
    Kind {
        name: "scenes",
        summary: "drawn scenes as the built-in model was trained on",
        make: |_, photo| Ok(Arc::new(DataSet::new(scenes(photo)?)?)),
    },
];

/// What photos are compared with where the user does not say it.
///
/// On 94 scenes with known masks, Expected Grad-CAM of the built-in model puts 0.46 of its energy on the object with
/// `zero` and 0.11 with `scenes` (docs/results/baselines.md): differences from other scenes' objects cancel in the
/// pooled weights, often to a map that is zero everywhere.
pub(crate) const DEFAULT: &str = "zero";

/// How many photos of a folder are kept: enough for any number of draws that people use, and half a gigabyte at most
/// for ordinary input sizes.
const MOST: usize = 512;

/// The baselines that `text` names, for a network with that preprocessing.
pub(crate) fn sampler(
    text: &str,
    preprocessing: &Preprocessing,
    decoding: &Decoding,
    output: &Output,
) -> Result<Arc<dyn BaselineSampler>> {
    let (name, width) = text.split_once(':').unwrap_or((text, ""));
    if let Some(kind) = KINDS.iter().find(|kind| kind.name == name) {
        return Ok((kind.make)(width, preprocessing)?);
    }
    let folder = Path::new(text);
    if folder.is_dir() {
        return Ok(Arc::new(DataSet::new(photos(folder, preprocessing, decoding, output)?)?));
    }
    let error = Error::unknown("baselines", text, KINDS.iter().map(|kind| kind.name));
    let hint = "give a folder of photos, or one of `faithful baselines`";
    Err(crate::failure::Usage::with_hint(&error, hint))
}

/// At most [`MOST`] of a folder's photos, evenly spread over their names.
fn photos(folder: &Path, preprocessing: &Preprocessing, decoding: &Decoding, output: &Output) -> Result<Tensor> {
    let all = inputs::photos_in(folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
    let chosen: Vec<_> = if all.len() > MOST {
        output.note(&format!("{MOST} of the {} photos in `{}` serve as baselines", all.len(), folder.display()));
        (0..MOST).map(|place| &all[place * all.len() / MOST]).collect()
    } else {
        all.iter().collect()
    };
    let mut rows: Vec<Tensor> = Vec::new();
    let mut other_size = 0;
    for path in chosen {
        match photo::read(path, preprocessing, decoding) {
            // Without a crop photos have sizes of their own; those of the first's size can be stacked.
            Ok(photo) if rows.first().is_some_and(|first| first.dims() != photo.tensor.dims()) => other_size += 1,
            Ok(photo) => rows.push(photo.tensor),
            Err(error) => output.note(&format!("a baseline is left out: {error}")),
        }
    }
    if other_size > 0 {
        output.note(&format!("{other_size} baselines of another size are left out; --crop makes them alike"));
    }
    if rows.is_empty() {
        bail!("the folder `{}` has no photo that can be read as a baseline", folder.display());
    }
    Ok(Tensor::cat(&rows, 0)?)
}

/// Scenes from a seed of their own, never those that are explained.
fn scenes(preprocessing: &Preprocessing) -> faithful_core::Result<Tensor> {
    let stream = Stream::new(0, "baseline scenes");
    let rows = (0..64)
        .map(|index| {
            let scene = draw_scene(&SceneSpec::default(), &mut stream.draw(index))?;
            Ok(photo::prepare(scene.picture, preprocessing)?.tensor)
        })
        .collect::<faithful_core::Result<Vec<_>>>()?;
    Ok(Tensor::cat(&rows, 0)?)
}

fn color(preprocessing: &Preprocessing, color: [f64; 3]) -> Arc<dyn BaselineSampler> {
    Arc::new(Constant { color: standardised(preprocessing, color) })
}

/// A colour in 0 to 1 as the network sees it.
fn standardised(preprocessing: &Preprocessing, color: [f64; 3]) -> Vec<f64> {
    let channels = preprocessing.mean.iter().zip(&preprocessing.std).zip(color);
    channels.map(|((mean, std), value)| (value - f64::from(*mean)) / f64::from(*std)).collect()
}

fn number(text: &str) -> faithful_core::Result<f64> {
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite() && *value > 0.0);
    value.ok_or_else(|| Error::parameter("baselines", format!("`{text}` is not a number above 0")))
}
