//! Max pooling as a composition; see [`crate::composed`].

use super::{is_nan, places, select};
use crate::pooling::Window;
use candle_core::{Result, Tensor};

/// The windows' taps number `t`: a window with fewer repeats its last.
fn tap(windows: &[Window], t: usize, size: usize) -> Vec<usize> {
    let place = |window: &Window| window.taps().nth(t).or_else(|| window.taps().last()).unwrap_or(0);
    windows.iter().map(|window| place(window).min(size - 1)).collect()
}

/// The most taps of a window, and one where none has any: a pixel that [`seeing`] then hides.
fn depth(windows: &[Window]) -> usize {
    windows.iter().map(|window| window.taps().count()).max().unwrap_or(0).max(1)
}

/// 1 for windows that see a pixel, `(1, 1, rows, columns)`; `None` where all do.
fn seeing(x: &Tensor, rows: &[Window], columns: &[Window]) -> Result<Option<Tensor>> {
    let sees = |window: &Window| window.taps().next().is_some();
    if rows.iter().chain(columns).all(sees) {
        return Ok(None);
    }
    let mask: Vec<u8> =
        rows.iter().flat_map(|row| columns.iter().map(move |column| u8::from(sees(row) && sees(column)))).collect();
    Tensor::from_vec(mask, (1, 1, rows.len(), columns.len()), x.device()).map(Some)
}

/// The kernel's size and step where all windows are whole ones, as candle's kernel knows them.
fn regular(windows: &[Window], size: usize) -> Option<(usize, usize)> {
    let first = windows.first()?;
    let kernel = first.end - first.start;
    let stride = windows.get(1).map_or(size, |second| second.start);
    let fits = |(index, window): (usize, &Window)| {
        window.step == 1 && window.start == index * stride && window.end - window.start == kernel
    };
    let all = windows.iter().enumerate().all(fits);
    (all && stride > 0 && kernel > 0 && (size - kernel) / stride + 1 == windows.len()).then_some((kernel, stride))
}

/// The maximum per window of `(N, C, H, W)`, NaN where the window has one; without tracking.
pub(crate) fn max_over(x: &Tensor, rows: &[Window], columns: &[Window]) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    if let (Some((kernel_h, stride_h)), Some((kernel_w, stride_w))) = (regular(rows, h), regular(columns, w)) {
        let pool = |x: &Tensor| x.max_pool2d_with_stride((kernel_h, kernel_w), (stride_h, stride_w));
        // candle's kernel passes over NaN, which must be seen.
        let nan = pool(&is_nan(x)?)?;
        let highest = pool(x)?;
        return nan.where_cond(&(highest.zeros_like()? + f64::NAN)?, &highest);
    }
    let mut best: Option<Tensor> = None;
    for row in 0..depth(rows) {
        let lines = select(x, 2, &tap(rows, row, h))?;
        for column in 0..depth(columns) {
            let value = select(&lines, 3, &tap(columns, column, w))?;
            best = Some(match best {
                Some(best) => value.gt(&best)?.maximum(&is_nan(&value)?)?.where_cond(&value, &best)?,
                None => value,
            });
        }
    }
    let best = best.ok_or_else(|| candle_core::Error::Msg("max pooling without windows".into()))?;
    match seeing(x, rows, columns)? {
        Some(seeing) => {
            let lowest = (best.zeros_like()? + f64::NEG_INFINITY)?;
            seeing.broadcast_as(best.shape())?.contiguous()?.where_cond(&best, &lowest)
        }
        None => Ok(best),
    }
}

/// The gradient of [`max_over`], whose value was `y`: to the first maximum of each window in scan order.
pub(crate) fn max_gradient(
    x: &Tensor,
    y: &Tensor,
    gradient: &Tensor,
    rows: &[Window],
    columns: &[Window],
) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    let zeros = gradient.zeros_like()?;
    // Windows that still look for their maximum.
    let mut open = match seeing(x, rows, columns)? {
        Some(seeing) => seeing.broadcast_as(y.shape())?.contiguous()?,
        None => y.eq(y)?.maximum(&is_nan(y)?)?,
    };
    let nan = is_nan(y)?;
    let mut dx = x.zeros_like()?;
    for row in 0..depth(rows) {
        let row_index = tap(rows, row, h);
        let lines = select(x, 2, &row_index)?;
        let mut line_gradient = lines.zeros_like()?;
        for column in 0..depth(columns) {
            let column_index = tap(columns, column, w);
            let value = select(&lines, 3, &column_index)?;
            let hit = (value.eq(y)?.maximum(&(is_nan(&value)? * &nan)?)? * &open)?;
            open = hit.where_cond(&hit.zeros_like()?, &open)?;
            let part = hit.where_cond(gradient, &zeros)?;
            line_gradient = line_gradient.index_add(&places(&column_index, x)?, &part, 3)?;
        }
        dx = dx.index_add(&places(&row_index, x)?, &line_gradient, 2)?;
    }
    Ok(dx)
}
