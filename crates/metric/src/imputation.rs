//! Noisy linear imputation (Rong et al. 2022, section 4.2): a removed cell becomes the weighted mean of its neighbours.

/// The cells of one channel as a grid; a series is one row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// Where conjugate gradients stop: the preconditioned residual over its first value. With a preconditioner as near as this
/// one the filled values are then right to f32's precision.
const TOLERANCE: f64 = 1e-10;
/// More steps than any mask needs; a bound all the same.
const MOST_STEPS: usize = 500;
/// Coarser grids stop at this many cells: there smoothing alone is a solution.
const COARSEST: usize = 16;
/// Jacobi's damping on the coarser grids. On the finest none is needed: there rough errors fall to a third.
const DAMPING: f64 = 0.9;
/// Blocks that move as one are too stiff; their correction is enlarged (Braess 1995, section 4). Below 2 the
/// preconditioner stays positive definite.
const ENLARGEMENT: f64 = 1.7;

/// The equations for the removed cells of one mask: each is the weighted mean of its eight neighbours, 1/6 across an edge,
/// 1/12 across a corner, and weights that would lie outside the grid are left out of the mean.
///
/// The weights are symmetric, so the system of all removed cells is a weighted graph Laplacian with the known cells as
/// its boundary: symmetric and, as every hole touches a known cell, positive definite. Conjugate gradients solve it. Their
/// preconditioner is a multigrid cycle: cells of ever larger blocks (2 x 2 of the finer grid) move together, so that what
/// is known reaches the middle of a large hole in a few steps, not in one per cell.
pub(crate) struct Holes {
    grid: Grid,
    inside: Vec<f64>,
    diagonal: Vec<f64>,
    /// One over the diagonal.
    inverse: Vec<f64>,
    coarser: Vec<Blocks>,
    removed: usize,
}

impl Holes {
    pub(crate) fn new(removed: &[bool], grid: Grid) -> Self {
        let inside: Vec<f64> = removed.iter().map(|removed| f64::from(u8::from(*removed))).collect();
        let mut diagonal = vec![0.0; removed.len()];
        neighbours(&vec![1.0; removed.len()], &mut vec![0.0; removed.len()], &mut diagonal, grid);
        let inverse = diagonal.iter().map(|diagonal| 1.0 / diagonal).collect();
        let mut coarser = Vec::new();
        let mut next = Blocks::finest(&inside, &diagonal, grid).coarsened();
        while next.grid.height * next.grid.width > COARSEST {
            let coarse = next.coarsened();
            coarser.push(next);
            next = coarse;
        }
        coarser.push(next);
        Self { grid, inside, diagonal, inverse, coarser, removed: removed.iter().filter(|removed| **removed).count() }
    }

    /// Fills the removed cells of `plane` and says in how many steps. Without any known cell there is nothing to
    /// interpolate, and every cell becomes the plane's mean.
    pub(crate) fn fill(&self, plane: &mut [f64]) -> usize {
        let cells = plane.len();
        if self.removed == 0 {
            return 0;
        }
        if self.removed == cells {
            let mean = plane.iter().sum::<f64>() / cells as f64;
            plane.fill(mean);
            return 0;
        }
        let known: Vec<f64> = plane.iter().zip(&self.inside).map(|(value, inside)| value * (1.0 - inside)).collect();
        let mut rows = vec![0.0; cells];
        let mut residual = vec![0.0; cells];
        neighbours(&known, &mut rows, &mut residual, self.grid);
        mask(&mut residual, &self.inside);

        let mut cycle = Cycle::new(self);
        let mut scaled = vec![0.0; cells];
        cycle.run(self, &residual, &mut scaled);
        let mut energy = dot(&residual, &scaled);
        let enough = energy * TOLERANCE * TOLERANCE;
        let mut direction = scaled.clone();
        let mut filled = vec![0.0; cells];
        let mut image = vec![0.0; cells];
        let mut steps = 0;
        while energy > enough && steps < MOST_STEPS {
            steps += 1;
            self.image(&direction, &mut rows, &mut image);
            let step = energy / dot(&direction, &image);
            add(&mut filled, step, &direction);
            add(&mut residual, -step, &image);
            cycle.run(self, &residual, &mut scaled);
            let next = dot(&residual, &scaled);
            for (direction, scaled) in direction.iter_mut().zip(&scaled) {
                *direction = scaled + next / energy * *direction;
            }
            energy = next;
        }
        for ((value, filled), inside) in plane.iter_mut().zip(filled).zip(&self.inside) {
            if *inside > 0.0 {
                *value = filled;
            }
        }
        steps
    }

    /// What the equations make of values that are zero where cells are known.
    fn image(&self, values: &[f64], rows: &mut [f64], image: &mut [f64]) {
        neighbours(values, rows, image, self.grid);
        for (((image, value), diagonal), inside) in image.iter_mut().zip(values).zip(&self.diagonal).zip(&self.inside) {
            *image = inside * (value * diagonal - *image);
        }
    }
}

/// Memory of a multigrid cycle.
struct Cycle {
    rows: Vec<f64>,
    image: Vec<f64>,
    /// Per coarser grid: the right side, the values, and what the equations make of them.
    levels: Vec<[Vec<f64>; 3]>,
}

impl Cycle {
    fn new(holes: &Holes) -> Self {
        let cells = holes.inside.len();
        let level = |blocks: &Blocks| std::array::from_fn(|_| vec![0.0; blocks.diagonal.len()]);
        Self { rows: vec![0.0; cells], image: vec![0.0; cells], levels: holes.coarser.iter().map(level).collect() }
    }

    /// An approximate solution of the equations for `right`: smoothed, corrected by the coarser grids, and smoothed.
    fn run(&mut self, holes: &Holes, right: &[f64], values: &mut [f64]) {
        for ((value, right), inverse) in values.iter_mut().zip(right).zip(&holes.inverse) {
            *value = right * inverse;
        }
        holes.image(values, &mut self.rows, &mut self.image);
        let [sums, _, _] = &mut self.levels[0];
        gather(right, &mut self.image, holes.grid, sums);
        descend(&holes.coarser, &mut self.levels);
        spread(&self.levels[0][1], holes.grid, values);
        mask(values, &holes.inside);
        holes.image(values, &mut self.rows, &mut self.image);
        for (((value, right), inverse), image) in values.iter_mut().zip(right).zip(&holes.inverse).zip(&self.image) {
            *value += (right - image) * inverse;
        }
    }
}

fn descend(blocks: &[Blocks], levels: &mut [[Vec<f64>; 3]]) {
    let (Some((block, coarser)), Some((level, below))) = (blocks.split_first(), levels.split_first_mut()) else {
        return;
    };
    let [right, values, image] = level;
    block.smooth_from_zero(right, values);
    if below.is_empty() {
        for _ in 0..COARSEST {
            block.image(values, image);
            block.smooth(right, image, values);
        }
        return;
    }
    block.image(values, image);
    gather(right, image, block.grid, &mut below[0][0]);
    descend(coarser, below);
    spread(&below[0][1], block.grid, values);
    block.image(values, image);
    block.smooth(right, image, values);
}

/// The sum over each block of two by two cells of what `image` leaves of `right`; `image` is scratch afterwards.
fn gather(right: &[f64], image: &mut [f64], grid: Grid, sums: &mut [f64]) {
    for (image, right) in image.iter_mut().zip(right) {
        *image = right - *image;
    }
    sums.fill(0.0);
    let width = grid.width.div_ceil(2);
    for (y, left) in image.chunks_exact(grid.width).enumerate() {
        for (sum, pair) in sums[y / 2 * width..].iter_mut().zip(left.chunks(2)) {
            *sum += pair.iter().sum::<f64>();
        }
    }
}

/// Adds each block's correction to its cells.
fn spread(corrections: &[f64], grid: Grid, values: &mut [f64]) {
    let width = grid.width.div_ceil(2);
    for (y, values) in values.chunks_exact_mut(grid.width).enumerate() {
        for (pair, correction) in values.chunks_mut(2).zip(&corrections[y / 2 * width..]) {
            for value in pair {
                *value += ENLARGEMENT * correction;
            }
        }
    }
}

/// The equations of a coarser grid: the sum of the finer ones with each block's cells equal. The values of a
/// block without removed cells stay zero.
struct Blocks {
    grid: Grid,
    diagonal: Vec<f64>,
    /// The damping over the diagonal; zero where nothing is removed.
    damped: Vec<f64>,
    /// How strongly a block hangs on the one to its right, below, and below to the right and left.
    right: Vec<f64>,
    below: Vec<f64>,
    below_right: Vec<f64>,
    below_left: Vec<f64>,
}

impl Blocks {
    fn empty(grid: Grid) -> Self {
        let zeros = || vec![0.0; grid.height * grid.width];
        Self {
            grid,
            diagonal: zeros(),
            damped: Vec::new(),
            right: zeros(),
            below: zeros(),
            below_right: zeros(),
            below_left: zeros(),
        }
    }

    /// The equations of the cells themselves.
    fn finest(inside: &[f64], diagonal: &[f64], grid: Grid) -> Self {
        let mut blocks = Self::empty(grid);
        let Grid { height, width } = grid;
        for y in 0..height {
            for x in 0..width {
                let cell = y * width + x;
                if inside[cell] == 0.0 {
                    continue;
                }
                blocks.diagonal[cell] = diagonal[cell];
                let edge = 1.0 / 6.0;
                if x + 1 < width {
                    blocks.right[cell] = edge * inside[cell + 1];
                }
                if y + 1 < height {
                    blocks.below[cell] = edge * inside[cell + width];
                    if x + 1 < width {
                        blocks.below_right[cell] = edge / 2.0 * inside[cell + width + 1];
                    }
                    if x > 0 {
                        blocks.below_left[cell] = edge / 2.0 * inside[cell + width - 1];
                    }
                }
            }
        }
        blocks
    }

    fn coarsened(&self) -> Self {
        let Grid { height, width } = self.grid;
        let mut coarse = Self::empty(Grid { height: height.div_ceil(2), width: width.div_ceil(2) });
        let across = coarse.grid.width;
        for y in 0..height {
            for x in 0..width {
                let (cell, own) = (y * width + x, y / 2 * across + x / 2);
                coarse.diagonal[own] += self.diagonal[cell];
                let mut link = |weight: f64, down: usize, to: usize| {
                    if weight == 0.0 {
                        return;
                    }
                    match (usize::from(down > 0 && y % 2 == 1), (to / 2) as i64 - (x / 2) as i64) {
                        // Within the block: it no longer pulls either of them.
                        (0, 0) => coarse.diagonal[own] -= 2.0 * weight,
                        (0, 1) => coarse.right[own] += weight,
                        (0, _) => coarse.right[own - 1] += weight,
                        (_, 0) => coarse.below[own] += weight,
                        (_, 1) => coarse.below_right[own] += weight,
                        _ => coarse.below_left[own] += weight,
                    }
                };
                link(self.right[cell], 0, x + 1);
                link(self.below[cell], 1, x);
                link(self.below_right[cell], 1, x + 1);
                link(self.below_left[cell], 1, x.wrapping_sub(1));
            }
        }
        let damped = |diagonal: &f64| if *diagonal > 0.0 { DAMPING / diagonal } else { 0.0 };
        coarse.damped = coarse.diagonal.iter().map(damped).collect();
        coarse
    }

    /// Weights by how far on in scan order the other block is. They are zero where that is in another row's end.
    fn links(&self) -> [(usize, &[f64]); 4] {
        let width = self.grid.width;
        [
            (1, &self.right),
            (width, &self.below),
            (width + 1, &self.below_right),
            (width.saturating_sub(1), &self.below_left),
        ]
    }

    /// What the equations make of `values`.
    fn image(&self, values: &[f64], image: &mut [f64]) {
        for ((image, diagonal), value) in image.iter_mut().zip(&self.diagonal).zip(values) {
            *image = diagonal * value;
        }
        for (distance, weights) in self.links() {
            let Some(count) = values.len().checked_sub(distance) else { continue };
            pull(&mut image[..count], weights, &values[distance..]);
            pull(&mut image[distance..], weights, &values[..count]);
        }
    }

    fn smooth_from_zero(&self, right: &[f64], values: &mut [f64]) {
        for ((value, right), damped) in values.iter_mut().zip(right).zip(&self.damped) {
            *value = damped * right;
        }
    }

    fn smooth(&self, right: &[f64], image: &[f64], values: &mut [f64]) {
        for (((value, right), image), damped) in values.iter_mut().zip(right).zip(image).zip(&self.damped) {
            *value += damped * (right - image);
        }
    }
}

fn pull(image: &mut [f64], weights: &[f64], values: &[f64]) {
    for ((image, weight), value) in image.iter_mut().zip(weights).zip(values) {
        *image -= weight * value;
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
            *sum *= 1.0 / 12.0;
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
                Holes::new(&removed, grid).fill(&mut plane);
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
        Holes::new(&all_but_one, grid).fill(&mut plane);
        assert!(plane.iter().all(|value| (value - 5.0).abs() < 1e-9), "{plane:?}");
        let mut plane: Vec<f64> = (0..9).map(f64::from).collect();
        Holes::new(&[true; 9], grid).fill(&mut plane);
        assert_eq!(plane, [4.0; 9]);
        Holes::new(&[false; 9], grid).fill(&mut plane);
        assert_eq!(plane, [4.0; 9]);
    }

    #[test]
    fn a_large_hole_takes_few_steps() {
        let grid = Grid { height: 224, width: 224 };
        let ring = |cell: usize| cell < 224 || cell.is_multiple_of(224);
        let removed: Vec<bool> = (0..224 * 224).map(|cell| !ring(cell)).collect();
        let mut plane: Vec<f64> =
            (0..224 * 224).map(|cell| if ring(cell) { (cell % 17) as f64 } else { 0.0 }).collect();
        let steps = Holes::new(&removed, grid).fill(&mut plane);
        assert!((1..60).contains(&steps), "{steps} steps");
        for cell in [225, 112 * 224 + 112, 224 * 224 - 1] {
            assert!((plane[cell] - mean_of_neighbours(&plane, grid, cell)).abs() < 1e-8);
        }
    }
}
