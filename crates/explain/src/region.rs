//! Which places of a segmentation are explained.

use crate::Photo;
use crate::detection::corners;
use faithful_core::{Error, RegionMeans, Result};
use faithful_data::Mask;
use std::path::PathBuf;

/// The places whose classes are explained.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    /// Of each class, those that the network gives it in the photo.
    Own,
    /// Those in a picture of the photo's size that are white.
    Mask(PathBuf),
    /// Those in a box of the photo: left, top, right, bottom.
    Box([f64; 4]),
    /// The one at a point of the photo: column and row.
    Point([f64; 2]),
}

impl Place {
    /// Reads `class`, `box:10,20,200,180`, `point:64,80` or the path of a mask.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if text == "class" {
            return Ok(Self::Own);
        }
        if let Some(numbers) = text.strip_prefix("box:") {
            return Ok(Self::Box(corners("region", numbers)?));
        }
        let Some(numbers) = text.strip_prefix("point:") else {
            let path = PathBuf::from(text);
            if path.extension().is_none() && !path.exists() {
                let reason =
                    format!("`{text}` is not `class`, box:LEFT,TOP,RIGHT,BOTTOM, point:X,Y or a mask's picture");
                return Err(Error::parameter("region", reason));
            }
            return Ok(Self::Mask(path));
        };
        let parsed: Vec<Option<f64>> = numbers.split(',').map(|number| number.trim().parse().ok()).collect();
        match *parsed.as_slice() {
            [Some(x), Some(y)] if f64::is_finite(x) && f64::is_finite(y) => Ok(Self::Point([x, y])),
            _ => {
                let reason = format!("`point:{numbers}` is not point:X,Y in the photo's pixels, as point:64,80");
                Err(Error::parameter("region", reason))
            }
        }
    }

    /// The means that are read of a photo's output, whose `classes` have `[rows, columns]` of places; and the box to draw, where
    /// there is one.
    pub(crate) fn reading(
        &self,
        classes: usize,
        size: [usize; 2],
        photo: &Photo,
        output: &[f64],
    ) -> Result<(RegionMeans, Option<[f64; 4]>)> {
        let refuse = |reason: String| Err(Error::parameter("region", reason));
        let (width, height) = (f64::from(photo.picture.width()), f64::from(photo.picture.height()));
        match self {
            Self::Own => Ok((RegionMeans::of_owners(classes, &owners(classes, output)), None)),
            Self::Mask(path) => {
                let mask = Mask::read(path)?;
                if [mask.height as f64, mask.width as f64] != [height, width] {
                    let photo = format!("{width} x {height}");
                    let (columns, rows, path) = (mask.width, mask.height, path.display());
                    return refuse(format!("the mask `{path}` has {columns} x {rows} pixels, and the photo {photo}"));
                }
                if mask.area() == 0 {
                    return refuse(format!("the mask `{}` is empty: no pixel is white", path.display()));
                }
                let inside = photo.cells(size, &|x, y| mask.inside[y * mask.width + x]);
                if !inside.contains(&true) {
                    let path = path.display();
                    return refuse(format!(
                        "the mask `{path}` holds none of the places where the network gives classes"
                    ));
                }
                Ok((RegionMeans::of(classes, &inside)?, None))
            }
            Self::Box([left, top, right, bottom]) => {
                let mut inside = photo.cells(size, &|x, y| {
                    let (x, y) = (x as f64 + 0.5, y as f64 + 0.5);
                    (*left..*right).contains(&x) && (*top..*bottom).contains(&y)
                });
                if !inside.contains(&true) {
                    // A box between the places stands for the one at its middle.
                    let middle = [f64::midpoint(*left, *right), f64::midpoint(*top, *bottom)];
                    let Some(place) = photo.cell(size, middle) else {
                        return refuse(format!(
                            "the box lies outside of what the network sees of the photo ({width} x {height})"
                        ));
                    };
                    inside[place] = true;
                }
                Ok((RegionMeans::of(classes, &inside)?, Some([*left, *top, *right, *bottom])))
            }
            Self::Point([x, y]) => {
                let within = (0.0..width).contains(x) && (0.0..height).contains(y);
                let Some(place) = photo.cell(size, [*x, *y]).filter(|_| within) else {
                    return refuse(format!(
                        "{x},{y} is outside of what the network sees of the photo ({width} x {height})"
                    ));
                };
                let mut inside = vec![false; size[0] * size[1]];
                inside[place] = true;
                let reach = (width.min(height) / 60.0).max(2.0);
                Ok((RegionMeans::of(classes, &inside)?, Some([x - reach, y - reach, x + reach, y + reach])))
            }
        }
    }
}

/// The class that the network gives each place, of an output `(K, P)`; of one class, whether it is there: 0, or 1 where not.
pub(crate) fn owners(classes: usize, output: &[f64]) -> Vec<usize> {
    let places = output.len() / classes.max(1);
    let value = |class: usize, place: usize| output[class * places + place];
    let owner = |place: usize| match classes {
        1 => usize::from(value(0, place) <= 0.0),
        _ => (0..classes).fold(0, |best, class| if value(class, place) > value(best, place) { class } else { best }),
    };
    (0..places).map(owner).collect()
}

/// The share of the places that the network gives each class.
pub(crate) fn shares(classes: usize, output: &[f64]) -> Vec<f64> {
    let owners = owners(classes, output);
    let mut shares = vec![0.0; classes];
    owners.iter().filter(|class| **class < classes).for_each(|&class| shares[class] += 1.0 / owners.len() as f64);
    shares
}
