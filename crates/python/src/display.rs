//! Maps for people: at the input's size, on the photo, as PNG.

use crate::array::{Values, to_tensor};
use crate::error::to_python;
use candle_core::Tensor;
use faithful_core::{Error, Result};
use faithful_report::image::RgbImage;
use faithful_report::{Colormap, Map, Region, Scale, Style, encode_png, rescale};
use faithful_tensor::{Resize, resize2d};
use numpy::{IntoPyArray, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Maps `(N, h, w)` at another size, bilinearly between the centres of cells.
#[pyfunction]
pub(crate) fn enlarge<'py>(
    py: Python<'py>,
    maps: PyReadonlyArrayDyn<'py, f32>,
    size: [usize; 2],
) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
    let maps = to_tensor("the maps", &maps)?;
    let resize = || -> Result<Values> {
        if maps.rank() != 3 {
            return Err(Error::shape("the maps", "(N, h, w)", maps.dims()));
        }
        Values::of(&resized(&maps, size)?)
    };
    resize().map_err(to_python)?.into_array(py)
}

fn resized(maps: &Tensor, size: [usize; 2]) -> Result<Tensor> {
    Ok(resize2d(&maps.unsqueeze(1)?, size, &Resize::default())?.squeeze(1)?)
}

/// A map `(h, w)` from 0 to 1 as it is shown.
#[pyfunction]
pub(crate) fn normalise<'py>(
    py: Python<'py>,
    map: PyReadonlyArrayDyn<'py, f32>,
    signed: bool,
    percentile: f64,
) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
    let map = Map::from_tensor(&to_tensor("the map", &map)?).map_err(to_python)?;
    let scaled = rescale(&map, &Scale { signed, percentile, ..Scale::default() }).map_err(to_python)?;
    let shape = vec![scaled.map.height(), scaled.map.width()];
    scaled.map.values().to_vec().into_pyarray(py).reshape(shape)
}

/// A map `(h, w)` on the part of a picture `(H, W, 3)` that it covers; `region` is left, top, width and height.
#[pyfunction]
#[pyo3(signature = (picture, map, region, signed, percentile, colormap = None, opacity = 0.55, legend = false))]
pub(crate) fn overlay<'py>(
    py: Python<'py>,
    picture: PyReadonlyArrayDyn<'py, u8>,
    map: PyReadonlyArrayDyn<'py, f32>,
    region: (f64, f64, f64, f64),
    signed: bool,
    percentile: f64,
    colormap: Option<&str>,
    opacity: f32,
    legend: bool,
) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
    let photo = to_picture(&picture)?;
    let map = to_tensor("the map", &map)?;
    let (left, top, width, height) = region;
    let draw = || -> Result<RgbImage> {
        let colormap = colormap.map(Colormap::from_name).transpose()?;
        let scaled = rescale(&Map::from_tensor(&map)?, &Scale { signed, percentile, ..Scale::default() })?;
        let style = Style { colormap, opacity, legend };
        faithful_report::overlay(&photo, &scaled, Region { left, top, width, height }, &style)
    };
    let drawn = draw().map_err(to_python)?;
    let shape = vec![drawn.height() as usize, drawn.width() as usize, 3];
    drawn.into_raw().into_pyarray(py).reshape(shape)
}

/// The 256 colours of the colour map called `name`, `(256, 3)` bytes.
#[pyfunction]
pub(crate) fn colors<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
    let colormap = Colormap::from_name(name).map_err(to_python)?;
    let colors: Vec<u8> = (0..256u16).flat_map(|place| colormap.color(f32::from(place) / 255.0)).collect();
    colors.into_pyarray(py).reshape(vec![256, 3])
}

/// A picture `(H, W, 3)` of bytes as a PNG file.
#[pyfunction]
pub(crate) fn png<'py>(py: Python<'py>, picture: PyReadonlyArrayDyn<'py, u8>) -> PyResult<Bound<'py, PyBytes>> {
    let picture = to_picture(&picture)?;
    Ok(PyBytes::new(py, &encode_png(&picture).map_err(to_python)?))
}

fn to_picture(array: &PyReadonlyArrayDyn<'_, u8>) -> PyResult<RgbImage> {
    let wrong = || to_python(Error::shape("the picture", "(H, W, 3): red, green, blue", array.shape()));
    let &[height, width, 3] = array.shape() else { return Err(wrong()) };
    let (width, height) = (u32::try_from(width).map_err(|_| wrong())?, u32::try_from(height).map_err(|_| wrong())?);
    RgbImage::from_raw(width, height, array.as_array().iter().copied().collect()).ok_or_else(wrong)
}
