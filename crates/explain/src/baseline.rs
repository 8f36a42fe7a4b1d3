//! `--baselines`: what photos are compared with.

use crate::{inputs, photo};
use candle_core::Tensor;
use faithful_baseline::{
    BaselineSampler, Blurred, Constant, DataSet, Gaussian, InputMean, Mixture, Order, Spread, Uniform,
};
use faithful_core::{Error, Preprocessing, Result, Stream};
use faithful_data::{Decoding, SceneSpec, draw_scene};
use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A kind of baseline that has a name.
pub struct Kind {
    /// The name.
    pub name: &'static str,
    /// What may stand behind a colon.
    pub argument: Option<Argument>,
    /// One sentence for people.
    pub summary: &'static str,
    make: fn(&str, &Preprocessing) -> Result<Arc<dyn BaselineSampler>>,
}

/// What stands behind a kind's colon.
pub struct Argument {
    /// What it is, in capitals.
    pub name: &'static str,
    /// Whether the kind needs it.
    pub required: bool,
}

impl Argument {
    const fn optional(name: &'static str) -> Self {
        Self { name, required: false }
    }
}

/// All of them; besides these, a folder of photos.
pub const KINDS: [Kind; 10] = [
    Kind {
        name: "zero",
        argument: None,
        summary: "zero in the network's input: the mean colour of what it was trained on",
        make: |_, _| Ok(Arc::new(Constant::zero())),
    },
    Kind { name: "black", argument: None, summary: "a black picture", make: |_, photo| Ok(color(photo, [0.0; 3])) },
    Kind { name: "grey", argument: None, summary: "a grey picture", make: |_, photo| Ok(color(photo, [0.5; 3])) },
    Kind { name: "white", argument: None, summary: "a white picture", make: |_, photo| Ok(color(photo, [1.0; 3])) },
    Kind {
        name: "color",
        argument: Some(Argument { name: "RRGGBB", required: true }),
        summary: "any colour, as `color:ff8000`",
        make: |text, photo| Ok(color(photo, hexadecimal(text)?)),
    },
    Kind { name: "mean", argument: None, summary: "the photo's own mean colour", make: |_, _| Ok(Arc::new(InputMean)) },
    Kind {
        name: "uniform",
        argument: None,
        summary: "every value random, between black and white",
        make: |_, photo| {
            Ok(Arc::new(Uniform { low: photo.standardised([0.0; 3]), high: photo.standardised([1.0; 3]) }))
        },
    },
    Kind {
        name: "gaussian",
        argument: Some(Argument::optional("SHARE")),
        summary: "the photo with noise; `gaussian:0.3` has a deviation of 30% of the photo's range (15% by default)",
        make: |width, _| {
            let spread = if width.is_empty() { Spread::default() } else { Spread::Relative(number(width)?) };
            Ok(Arc::new(Gaussian { spread }))
        },
    },
    Kind {
        name: "blur",
        argument: Some(Argument::optional("PIXELS")),
        summary: "the photo blurred; `blur:20` by a Gaussian of 20 pixels of the network's input (10 by default), \
                  `blur:5,10,20` by several in turns",
        make: |widths, _| {
            if widths.is_empty() {
                return Ok(Arc::new(Blurred::default()));
            }
            Ok(Arc::new(Blurred { sigmas: widths.split(',').map(number).collect::<Result<_>>()? }))
        },
    },
    Kind {
        name: SCENES,
        argument: None,
        summary: "drawn scenes as the built-in models were trained on",
        make: |_, photo| Ok(Arc::new(DataSet::new(scenes(photo, 0..64)?)?)),
    },
];

const SCENES: &str = "scenes";

/// What photos are compared with where the user does not say it.
///
/// On 60 drawn scenes `zero`, `blur` and `mean` are alike under Expected Grad-CAM and ahead of drawn scenes and noise
/// (docs/results/baselines.md): differences from other contents cancel in the pooled weights.
pub const DEFAULT: &str = "zero";

/// How many photos of a folder are kept: enough for any number of draws that people use, and half a gigabyte at most
/// for ordinary input sizes.
const MOST: usize = 512;

/// How photos become baselines.
#[derive(Clone, Copy)]
struct Reading<'a> {
    preprocessing: &'a Preprocessing,
    decoding: &'a Decoding,
    note: &'a dyn Fn(&str),
    /// The photos that were read.
    photos: &'a RefCell<Vec<PathBuf>>,
}

/// The baselines that `text` names, for a network with that preprocessing: a kind or a folder, which of the folder's
/// photos behind an `@`, and mixtures of such with weights: `0.8*typical@0-49+0.2*blur:5`. `note` hears of photos that are left out.
pub fn sampler(
    text: &str,
    preprocessing: &Preprocessing,
    decoding: &Decoding,
    note: &dyn Fn(&str),
) -> Result<Arc<dyn BaselineSampler>> {
    sampler_and_photos(text, preprocessing, decoding, note).map(|(sampler, _)| sampler)
}

/// As [`sampler`], with the photos that serve as baselines.
///
/// # Errors
/// As [`sampler`].
pub fn sampler_and_photos(
    text: &str,
    preprocessing: &Preprocessing,
    decoding: &Decoding,
    note: &dyn Fn(&str),
) -> Result<(Arc<dyn BaselineSampler>, Vec<PathBuf>)> {
    let photos = RefCell::default();
    let sampler = parsed(text, Reading { preprocessing, decoding, note, photos: &photos })?;
    Ok((sampler, photos.into_inner()))
}

fn parsed(text: &str, reading: Reading) -> Result<Arc<dyn BaselineSampler>> {
    // A folder may have any name.
    let parts: Vec<&str> = if Path::new(text).is_dir() { vec![text] } else { text.split('+').collect() };
    if let [one] = *parts
        && (!one.contains('*') || Path::new(one).is_dir())
    {
        return reading.one(one);
    }
    let parts = parts.into_iter().map(|part| {
        let (weight, source) = part.split_once('*').unwrap_or(("1", part));
        Ok((number(weight)?, Box::new(reading.one(source)?) as Box<dyn BaselineSampler>))
    });
    Ok(Arc::new(Mixture::new(parts.collect::<Result<_>>()?)?))
}

impl Reading<'_> {
    /// A kind or a folder.
    fn one(self, text: &str) -> Result<Arc<dyn BaselineSampler>> {
        if Path::new(text).is_dir() {
            return Ok(Arc::new(DataSet::new(self.photos(Path::new(text))?)?));
        }
        let (source, picked) = text.rsplit_once('@').map_or((text, None), |(source, picked)| (source, Some(picked)));
        if let Some(picked) = picked {
            return self.picked(source, picked);
        }
        let (name, argument) = text.split_once(':').unwrap_or((text, ""));
        let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
            // The whole text: it may have been meant for a folder.
            return Err(Error::unknown("baselines", text, KINDS.iter().map(|kind| kind.name)));
        };
        match &kind.argument {
            None if text.contains(':') => Err(wrong(format!("`{name}` takes nothing behind a colon"))),
            Some(Argument { name: argument_name, required: true }) if argument.is_empty() => {
                Err(wrong(format!("`{name}` needs a value, as `{name}:{argument_name}`")))
            }
            _ => (kind.make)(argument, self.preprocessing),
        }
    }

    /// The photos of a folder that a list names, in its order (thesis, 4.6.3); or any of them, again and again.
    fn picked(self, source: &str, picked: &str) -> Result<Arc<dyn BaselineSampler>> {
        let folder = Path::new(source);
        let all = match (folder.is_dir(), source) {
            (true, _) => list(folder)?,
            (false, SCENES) => Vec::new(),
            (false, _) => return Err(wrong(format!("`{source}` is no folder of photos that @ could pick from"))),
        };
        if picked == "replacement" {
            let set = if source == SCENES && !folder.is_dir() {
                scenes(self.preprocessing, 0..64)?
            } else {
                self.photos(folder)?
            };
            return Ok(Arc::new(DataSet::new(set)?.with_order(Order::Replacement)?));
        }
        let wanted = indices(picked)?;
        let mut different = wanted.clone();
        different.sort_unstable();
        different.dedup();
        let mut rows = Vec::new();
        for &index in &different {
            if !folder.is_dir() {
                rows.push(scenes(self.preprocessing, index..index + 1)?);
                continue;
            }
            let path = all.get(index).ok_or_else(|| {
                let reason = format!("photo {index} is asked for, and `{source}` has {}, counted from 0", all.len());
                wrong(reason)
            })?;
            rows.push(photo::read(path, self.preprocessing, self.decoding)?.tensor);
            self.photos.borrow_mut().push(path.clone());
        }
        if let Some(place) = rows.iter().position(|row| row.dims() != rows[0].dims()) {
            let reason = format!(
                "photos {} and {} of `{source}` differ in size; --crop makes them alike",
                different[0], different[place]
            );
            return Err(wrong(reason));
        }
        let order = wanted.iter().map(|index| different.partition_point(|other| other < index)).collect();
        Ok(Arc::new(DataSet::new(Tensor::cat(&rows, 0)?)?.with_order(Order::Sequential(order))?))
    }

    /// At most [`MOST`] of a folder's photos, evenly spread over their names.
    fn photos(self, folder: &Path) -> Result<Tensor> {
        let Self { preprocessing, decoding, note, photos } = self;
        let all = list(folder)?;
        let chosen: Vec<_> = if all.len() > MOST {
            note(&format!("{MOST} of the {} photos in `{}` serve as baselines", all.len(), folder.display()));
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
                Ok(photo) => {
                    rows.push(photo.tensor);
                    photos.borrow_mut().push(path.clone());
                }
                Err(error) => note(&format!("a baseline is left out: {error}")),
            }
        }
        if other_size > 0 {
            note(&format!("{other_size} baselines of another size are left out; --crop makes them alike"));
        }
        if rows.is_empty() {
            let what = format!("the folder `{}` has no photo that can be read as a baseline", folder.display());
            return Err(Error::format(what, "name another"));
        }
        Ok(Tensor::cat(&rows, 0)?)
    }
}

/// A folder's photos in the order of their names.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = inputs::photos_in(folder);
    listed
        .map(|(photos, _)| photos)
        .map_err(|source| Error::Io { path: format!("cannot read `{}`", folder.display()), source })
}

/// `3,7,0-4` as 3, 7, 0, 1, 2, 3, 4.
fn indices(text: &str) -> Result<Vec<usize>> {
    let refuse = || wrong(format!("`@{text}` is not a list such as `@3,7,0-9`, or `@replacement`"));
    let mut all = Vec::new();
    for part in text.split(',') {
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| refuse());
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last - first >= MOST || all.len() >= 8 * MOST {
            return Err(refuse());
        }
        all.extend(first..=last);
    }
    Ok(all)
}

fn wrong(reason: String) -> Error {
    Error::parameter("baselines", reason)
}

/// Scenes from a seed of their own, never those that are explained.
fn scenes(preprocessing: &Preprocessing, which: Range<usize>) -> Result<Tensor> {
    let stream = Stream::new(0, "baseline scenes");
    let spec = SceneSpec::for_input(preprocessing.input_size);
    let rows = which
        .map(|index| {
            let scene = draw_scene(&spec, &mut stream.draw(index))?;
            Ok(photo::prepare(scene.picture, preprocessing)?.tensor)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Tensor::cat(&rows, 0)?)
}

fn color(preprocessing: &Preprocessing, color: [f64; 3]) -> Arc<dyn BaselineSampler> {
    Arc::new(Constant { color: preprocessing.standardised(color) })
}

/// `ff8000` or `#ff8000` as red, green and blue in 0 to 1.
fn hexadecimal(text: &str) -> Result<[f64; 3]> {
    let refuse = || Error::parameter("baselines", format!("`{text}` is not a colour such as `color:ff8000`"));
    let digits = text.strip_prefix('#').unwrap_or(text);
    if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(refuse());
    }
    let value = u32::from_str_radix(digits, 16).map_err(|_| refuse())?;
    Ok([16, 8, 0].map(|shift| f64::from((value >> shift) & 0xff) / 255.0))
}

fn number(text: &str) -> Result<f64> {
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite() && *value > 0.0);
    value.ok_or_else(|| Error::parameter("baselines", format!("`{text}` is not a number above 0")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_photos_are_read() {
        assert_eq!(indices("3,7,0-2,3").unwrap(), [3, 7, 0, 1, 2, 3]);
        for wrong in ["", "3,", "a", "5-2", "-1", "0-99999999", "1..3"] {
            assert!(indices(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn colors_are_read() {
        assert_eq!(hexadecimal("#ff0033").unwrap(), [1.0, 0.0, 0.2]);
        assert_eq!(hexadecimal("FF0033").unwrap(), [1.0, 0.0, 0.2]);
        for wrong in ["", "fff", "#fffffff", "gg0000", "ÿÿÿ"] {
            assert!(hexadecimal(wrong).is_err(), "{wrong}");
        }
    }
}
