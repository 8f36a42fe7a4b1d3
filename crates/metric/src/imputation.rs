//! Noisy linear imputation (Rong et al. 2022, section 4.2): a removed cell becomes the weighted mean of its neighbours.

/// The cells of one channel as a grid; a series is one row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// Where conjugate gradients stop: the residual over its first value. In f64 and with the condition numbers of such
/// systems (up to about 1e5 for a photo that is one large hole) the filled values are then right to f32's precision.
const TOLERANCE: f64 = 1e-11;

/// Fills the `removed` cells of `plane` so that each is the weighted mean of its eight neighbours: 1/6 across an edge,
/// 1/12 across a corner, and weights that would lie outside the grid are left out of the mean.
///
/// The weights are symmetric, so the system of all removed cells is a weighted graph Laplacian with the known cells as
/// its boundary: symmetric and, as every hole touches a known cell, positive definite. Conjugate gradients with the
/// diagonal as preconditioner therefore converge, in at most as many steps as there are removed cells (exact
/// arithmetic) and in practice in a few per cell of a hole's diameter; no factorisation has to be stored. Without any
/// known cell there is nothing to interpolate, and every cell becomes the plane's mean.
pub(crate) fn fill(plane: &mut [f64], removed: &[bool], grid: Grid) {
    let holes = removed.iter().filter(|removed| **removed).count();
    if holes == 0 {
        return;
    }
    if holes == plane.len() {
        let mean = plane.iter().sum::<f64>() / plane.len() as f64;
        plane.fill(mean);
        return;
    }
    let inside: Vec<f64> = removed.iter().map(|removed| f64::from(u8::from(*removed))).collect();
    let mut rows = vec![0.0; plane.len()];
    let mut diagonal = vec![0.0; plane.len()];
    neighbours(&vec![1.0; plane.len()], &mut rows, &mut diagonal, grid);
    let known: Vec<f64> = plane.iter().zip(&inside).map(|(value, inside)| value * (1.0 - inside)).collect();
    let mut residual = vec![0.0; plane.len()];
    neighbours(&known, &mut rows, &mut residual, grid);
    mask(&mut residual, &inside);

    let precondition = |residual: &[f64]| -> Vec<f64> { residual.iter().zip(&diagonal).map(|(r, d)| r / d).collect() };
    let mut scaled = precondition(&residual);
    let mut energy = dot(&residual, &scaled);
    let enough = energy * TOLERANCE * TOLERANCE;
    let mut direction = scaled;
    let mut filled = vec![0.0; plane.len()];
    let mut image = vec![0.0; plane.len()];
    for _ in 0..holes {
        if energy <= enough {
            break;
        }
        neighbours(&direction, &mut rows, &mut image, grid);
        for (image, (direction, diagonal)) in image.iter_mut().zip(direction.iter().zip(&diagonal)) {
            *image = direction * diagonal - *image;
        }
        mask(&mut image, &inside);
        let step = energy / dot(&direction, &image);
        add(&mut filled, step, &direction);
        add(&mut residual, -step, &image);
        scaled = precondition(&residual);
        let next = dot(&residual, &scaled);
        for (direction, scaled) in direction.iter_mut().zip(&scaled) {
            *direction = scaled + next / energy * *direction;
        }
        energy = next;
    }
    for ((value, filled), removed) in plane.iter_mut().zip(filled).zip(removed) {
        if *removed {
            *value = filled;
        }
    }
}

/// The weighted sum of every cell's neighbours within the grid. The weights are `[1 2 1]` down times `[1 2 1]` across
/// over 12, without the middle: two short passes instead of eight look-ups.
fn neighbours(values: &[f64], rows: &mut [f64], sums: &mut [f64], grid: Grid) {
    let Grid { height, width } = grid;
    for (row, values) in rows.chunks_exact_mut(width).zip(values.chunks_exact(width)) {
        for (sum, value) in row.iter_mut().zip(values) {
            *sum = 2.0 * value;
        }
        add(&mut row[1..], 1.0, &values[..width - 1]);
        add(&mut row[..width - 1], 1.0, &values[1..]);
    }
    for (place, sums) in sums.chunks_exact_mut(width).enumerate() {
        let row = |place: usize| &rows[place * width..][..width];
        for (sum, (across, value)) in sums.iter_mut().zip(row(place).iter().zip(&values[place * width..])) {
            *sum = 2.0 * across - 4.0 * value;
        }
        if place > 0 {
            add(sums, 1.0, row(place - 1));
        }
        if place + 1 < height {
            add(sums, 1.0, row(place + 1));
        }
        for sum in sums {
            *sum /= 12.0;
        }
    }
}

fn add(to: &mut [f64], factor: f64, from: &[f64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}

fn mask(values: &mut [f64], inside: &[f64]) {
    for (value, inside) in values.iter_mut().zip(inside) {
        *value *= inside;
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paper's equations, cell by cell.
    fn mean_of_neighbours(plane: &[f64], grid: Grid, cell: usize) -> f64 {
        let (y, x) = ((cell / grid.width) as i64, (cell % grid.width) as i64);
        let (mut sum, mut weights) = (0.0, 0.0);
        for (dy, dx) in (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (dy, dx))).filter(|offset| *offset != (0, 0)) {
            let (y, x) = (y + dy, x + dx);
            if (0..grid.height as i64).contains(&y) && (0..grid.width as i64).contains(&x) {
                let weight = if dy == 0 || dx == 0 { 1.0 / 6.0 } else { 1.0 / 12.0 };
                sum += weight * plane[y as usize * grid.width + x as usize];
                weights += weight;
            }
        }
        sum / weights
    }

    #[test]
    fn every_removed_cell_is_the_mean_of_its_neighbours_and_the_others_stay() {
        for (height, width) in [(13, 9), (1, 20), (20, 1), (2, 2), (40, 31)] {
            let grid = Grid { height, width };
            let original: Vec<f64> = (0..height * width).map(|i| ((i * 37 + 11) % 23) as f64 - 9.0).collect();
            for pattern in 0..4 {
                let removed: Vec<bool> = (0..original.len())
                    .map(|i| match pattern {
                        0 => i % 3 != 0,
                        1 => i != 1,
                        2 => i / 2 % 7 == 1,
                        _ => i > original.len() / 4,
                    })
                    .collect();
                let mut plane = original.clone();
                fill(&mut plane, &removed, grid);
                for (cell, value) in plane.iter().enumerate() {
                    let expected = if removed[cell] { mean_of_neighbours(&plane, grid, cell) } else { original[cell] };
                    assert!((value - expected).abs() < 1e-8, "{grid:?} {pattern} {cell}");
                }
            }
        }
    }

    #[test]
    fn one_known_cell_spreads_and_none_gives_the_mean() {
        let grid = Grid { height: 3, width: 3 };
        let mut plane: Vec<f64> = (0..9).map(f64::from).collect();
        let all_but_one: Vec<bool> = (0..9).map(|cell| cell != 5).collect();
        fill(&mut plane, &all_but_one, grid);
        assert!(plane.iter().all(|value| (value - 5.0).abs() < 1e-9), "{plane:?}");
        let mut plane: Vec<f64> = (0..9).map(f64::from).collect();
        fill(&mut plane, &[true; 9], grid);
        assert_eq!(plane, [4.0; 9]);
        fill(&mut plane, &[false; 9], grid);
        assert_eq!(plane, [4.0; 9]);
    }
}
