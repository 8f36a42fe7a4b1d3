use candle_core::{DType, Device, Tensor};
use faithful_core::{Error, Result};

/// What a layer's activations over several inputs are made of.
#[derive(Clone, Debug)]
pub struct Concepts {
    /// How strong each concept is at each place, `(N, K, h, w)`; the strongest place of each concept has 1.
    pub strengths: Tensor,
    /// The channels `(K, C)` of a place where the concept has strength 1 and there is no other.
    pub channels: Tensor,
    /// The share of the activations' sum of squares that the concepts leave unexplained, 0 to 1.
    pub residual: f64,
}

/// Sweeps of both factors, at most.
const SWEEPS: usize = 500;
/// The fall of the residual in a sweep from which on more of them change nothing to be seen.
const LEAST_FALL: f64 = 1e-6;
/// A row that the rows before it explain up to this share of the largest adds no concept.
const LEAST_ROW: f64 = 1e-8;

/// Deep feature factorisation (Collins, Achanta and Süsstrunk 2018): the places of `activations` `(N, C, h, w)`, of all inputs
/// together, are sums of `count` concepts with weights that are not negative, as well as they can be in squared distance
/// (non-negative matrix factorisation, by hierarchical alternating least squares from the places that differ most). What is
/// below zero counts as zero. The concept that explains most comes first; there are fewer where fewer explain all.
///
/// # Errors
/// [`Error::Shape`] for what is not `(N, C, h, w)`, [`Error::Parameter`] for no concept and for activations that are nowhere above zero,
/// [`Error::NotFinite`] for NaN and infinity.
///
/// ```
/// use candle_core::{Device, Tensor};
/// // One input with two places, each of a channel of its own.
/// let activations = Tensor::new(&[2f32, 0., 0., 3.], &Device::Cpu)?.reshape((1, 2, 1, 2))?;
/// let found = faithful_cam::concepts(&activations, 2)?;
/// assert_eq!(found.channels.to_vec2::<f32>()?, [[0., 3.], [2., 0.]]);
/// assert_eq!(found.strengths.flatten_all()?.to_vec1::<f32>()?, [0., 1., 1., 0.]);
/// # Ok::<(), faithful_core::Error>(())
/// ```
pub fn concepts(activations: &Tensor, count: usize) -> Result<Concepts> {
    let wrong = || Error::shape("the activations", "(N, C, h, w)", activations.dims());
    let (inputs, channels, height, width) = activations.dims4().map_err(|_| wrong())?;
    if count == 0 {
        return Err(Error::parameter("concepts", "there is at least one"));
    }
    let rows = activations.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.permute((0, 2, 3, 1))?.relu()?;
    let rows = rows.reshape((inputs * height * width, channels))?.contiguous()?;
    let values: Vec<f32> = rows.flatten_all()?.to_vec1()?;
    if values.iter().any(|value| !value.is_finite()) {
        return Err(Error::NotFinite { what: "the activations".into(), place: None });
    }
    let squares: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
    if squares == 0.0 {
        return Err(Error::parameter("layer", "its activations are nowhere above zero: there is nothing to factorise"));
    }
    let (mut strengths, mut directions, residual) = factorise(&rows, &values, squares, count)?;
    let count = directions.columns;
    let order = rescale(&mut strengths, &mut directions);
    let strengths = strengths.tensor(&order)?.reshape((inputs, height, width, count))?.permute((0, 3, 1, 2))?;
    Ok(Concepts {
        strengths: strengths.contiguous()?,
        channels: directions.tensor(&order)?.t()?.contiguous()?,
        residual: (residual / squares).clamp(0.0, 1.0),
    })
}

/// A factor, a row per place or per channel and a column per concept.
struct Factor {
    columns: usize,
    values: Vec<f64>,
}

impl Factor {
    fn tensor(&self, order: &[usize]) -> Result<Tensor> {
        let row = |row: &[f64]| order.iter().map(|&column| row[column] as f32).collect::<Vec<_>>();
        let values: Vec<f32> = self.values.chunks_exact(self.columns).flat_map(row).collect();
        Ok(Tensor::from_vec(values, (self.values.len() / self.columns, self.columns), &Device::Cpu)?)
    }

    fn column(&self, column: usize) -> impl Iterator<Item = f64> {
        self.values.iter().skip(column).step_by(self.columns).copied()
    }

    /// The products of its columns with each other.
    fn gram(&self) -> Vec<f64> {
        let mut gram = vec![0.0; self.columns * self.columns];
        for row in self.values.chunks_exact(self.columns) {
            for (left, products) in row.iter().zip(gram.chunks_exact_mut(self.columns)) {
                for (right, product) in row.iter().zip(products) {
                    *product += left * right;
                }
            }
        }
        gram
    }

    /// The best column after column, where `products` are the data's with the other factor and `gram` is the other's.
    fn sweep(&mut self, products: &[f64], gram: &[f64]) {
        let count = self.columns;
        for (row, products) in self.values.chunks_exact_mut(count).zip(products.chunks_exact(count)) {
            for column in 0..count {
                let gram = &gram[column * count..][..count];
                if gram[column] > 0.0 {
                    let explained: f64 = row.iter().zip(gram).map(|(own, product)| own * product).sum();
                    row[column] = (row[column] + (products[column] - explained) / gram[column]).max(0.0);
                }
            }
        }
    }
}

/// Strengths, channels, and the sum of squares that they leave.
fn factorise(rows: &Tensor, values: &[f32], squares: f64, count: usize) -> Result<(Factor, Factor, f64)> {
    let (places, channels) = rows.dims2()?;
    let start = different_rows(values, channels, count);
    let columns = start.len();
    let transposed = |row: usize| start.iter().map(move |place| f64::from(values[place * channels + row]));
    let mut directions = Factor { columns, values: (0..channels).flat_map(transposed).collect() };
    let mut strengths = Factor { columns, values: vec![0.0; places * columns] };
    let all: Vec<usize> = (0..columns).collect();
    let product = |data: &Tensor, factor: &Factor| -> Result<Vec<f64>> {
        Ok(data.matmul(&factor.tensor(&all)?)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
    };
    let mirrored = rows.t()?.contiguous()?;
    let mut residual = squares;
    for _ in 0..SWEEPS {
        let (products, gram) = (product(rows, &directions)?, directions.gram());
        strengths.sweep(&products, &gram);
        let crossed: f64 = strengths.values.iter().zip(&products).map(|(own, product)| own * product).sum();
        let own: f64 = strengths.gram().iter().zip(&gram).map(|(own, other)| own * other).sum();
        let left = squares - 2.0 * crossed + own;
        let fall = residual - left;
        residual = left;
        if fall < LEAST_FALL * squares {
            break;
        }
        directions.sweep(&product(&mirrored, &strengths)?, &strengths.gram());
    }
    Ok((strengths, directions, residual))
}

/// Rows that explain one another least: each is the longest once those before it are projected out (successive projections,
/// Araújo et al. 2001). Fewer than `count` where no more are left.
fn different_rows(values: &[f32], channels: usize, count: usize) -> Vec<usize> {
    let mut lengths: Vec<f64> =
        values.chunks_exact(channels).map(|row| row.iter().map(|value| f64::from(*value).powi(2)).sum()).collect();
    let largest = lengths.iter().copied().fold(0.0, f64::max);
    let (mut chosen, mut basis) = (Vec::new(), Vec::<Vec<f64>>::new());
    while chosen.len() < count {
        let longest = lengths.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
        let Some((place, _)) = longest.filter(|(_, length)| **length > LEAST_ROW * largest) else { break };
        let mut direction: Vec<f64> =
            values[place * channels..][..channels].iter().map(|one| f64::from(*one)).collect();
        for other in &basis {
            let shared: f64 = direction.iter().zip(other).map(|(own, other)| own * other).sum();
            direction.iter_mut().zip(other).for_each(|(own, other)| *own -= shared * other);
        }
        let length = direction.iter().map(|own| own * own).sum::<f64>().sqrt();
        for own in &mut direction {
            *own /= length;
        }
        for (length, row) in lengths.iter_mut().zip(values.chunks_exact(channels)) {
            let shared: f64 = row.iter().zip(&direction).map(|(own, other)| f64::from(*own) * other).sum();
            *length -= shared * shared;
        }
        lengths[place] = 0.0;
        chosen.push(place);
        basis.push(direction);
    }
    chosen
}

/// Brings the strongest place of each concept to 1; the concepts' order, the one first that explains most.
fn rescale(strengths: &mut Factor, directions: &mut Factor) -> Vec<usize> {
    let count = strengths.columns;
    for column in 0..count {
        let highest = strengths.column(column).fold(0.0, f64::max);
        if highest > 0.0 {
            strengths.values.iter_mut().skip(column).step_by(count).for_each(|value| *value /= highest);
            directions.values.iter_mut().skip(column).step_by(count).for_each(|value| *value *= highest);
        }
    }
    let squares = |factor: &Factor, column: usize| factor.column(column).map(|value| value * value).sum::<f64>();
    let explained: Vec<f64> =
        (0..count).map(|column| squares(strengths, column) * squares(directions, column)).collect();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| explained[b].total_cmp(&explained[a]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use faithful_core::Stream;
    use rand::Rng;

    fn uniform(shape: &[usize], seed: u64) -> Tensor {
        let mut draw = Stream::new(seed, b"concepts").draw(0);
        let count = shape.iter().product();
        Tensor::from_vec((0..count).map(|_| draw.random::<f32>()).collect::<Vec<_>>(), shape, &Device::Cpu).unwrap()
    }

    /// Multiplicative updates (Lee and Seung 2001), from a random start: another algorithm for the same optimum.
    fn multiplicative(rows: &Tensor, count: usize, seed: u64) -> f64 {
        let (places, channels) = rows.dims2().unwrap();
        let mut w = uniform(&[places, count], seed).to_dtype(DType::F64).unwrap();
        let mut h = uniform(&[count, channels], seed + 1).to_dtype(DType::F64).unwrap();
        let rows = rows.to_dtype(DType::F64).unwrap();
        let divided = |above: Tensor, below: Tensor| (above / (below + 1e-12).unwrap()).unwrap();
        for _ in 0..500 {
            let t = w.t().unwrap();
            h = (&h * divided(t.matmul(&rows).unwrap(), t.matmul(&w).unwrap().matmul(&h).unwrap())).unwrap();
            let t = h.t().unwrap();
            w = (&w * divided(rows.matmul(&t).unwrap(), w.matmul(&h).unwrap().matmul(&t).unwrap())).unwrap();
        }
        let left = (&rows - w.matmul(&h).unwrap()).unwrap().sqr().unwrap().sum_all().unwrap();
        left.to_scalar::<f64>().unwrap() / rows.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap()
    }

    fn rebuilt(found: &Concepts) -> Tensor {
        let (inputs, count, height, width) = found.strengths.dims4().unwrap();
        let strengths = found.strengths.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap();
        let rows = strengths.reshape((inputs * height * width, count)).unwrap().matmul(&found.channels).unwrap();
        let channels = found.channels.dims()[1];
        rows.reshape((inputs, height, width, channels)).unwrap().permute((0, 3, 1, 2)).unwrap()
    }

    #[test]
    fn what_is_made_of_concepts_is_taken_apart() {
        // Each concept has a place and a channel for itself: then the factors are unique.
        let mut strengths = uniform(&[2, 3, 4, 4], 1).flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for concept in 0..3 {
            for other in 0..3 {
                strengths[other * 16 + 5 * concept] = if other == concept { 1.5 } else { 0.0 };
            }
        }
        let strengths = Tensor::from_vec(strengths, (2, 3, 4, 4), &Device::Cpu).unwrap();
        let own = Tensor::eye(3, DType::F32, &Device::Cpu).unwrap();
        let channels = Tensor::cat(&[&own, &uniform(&[3, 20], 2)], 1).unwrap();
        let activations = rebuilt(&Concepts { strengths, channels: channels.clone(), residual: 0.0 });
        let found = concepts(&activations, 3).unwrap();
        assert!(found.residual < 1e-4, "{}", found.residual);
        let mut wanted: Vec<Vec<f32>> = channels.to_vec2().unwrap();
        for own in found.channels.to_vec2::<f32>().unwrap() {
            let distance =
                |other: &Vec<f32>| own.iter().zip(other).map(|(a, b)| (a / 1.5 - b).abs()).fold(0.0, f32::max);
            wanted.retain(|other| distance(other) > 0.05);
        }
        assert!(wanted.is_empty(), "{wanted:?}");
        let one: f32 = found.strengths.max_all().unwrap().to_scalar().unwrap();
        assert_eq!(one, 1.0);
    }

    #[test]
    fn no_other_start_or_algorithm_explains_more() {
        let activations = uniform(&[3, 12, 5, 5], 3);
        for count in [1, 3] {
            let found = concepts(&activations, count).unwrap();
            let rows = activations.permute((0, 2, 3, 1)).unwrap().reshape((75, 12)).unwrap();
            let best = (0..3).map(|start| multiplicative(&rows, count, 10 * start)).fold(f64::INFINITY, f64::min);
            assert!(found.residual < 1.02 * best, "{count}: {} beside {best}", found.residual);
            let left = (&activations - rebuilt(&found)).unwrap().sqr().unwrap().sum_all().unwrap();
            let all = activations.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
            let share = f64::from(left.to_scalar::<f32>().unwrap() / all);
            assert!((share - found.residual).abs() < 1e-4, "{share} {}", found.residual);
        }
    }

    #[test]
    fn there_are_no_more_concepts_than_explain_all() {
        let activations = Tensor::ones((1, 4, 3, 3), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(concepts(&activations, 5).unwrap().channels.dims(), [1, 4]);
        let reason = |activations: &Tensor, count| concepts(activations, count).unwrap_err().to_string();
        assert!(reason(&activations.neg().unwrap(), 2).contains("nowhere above zero"));
        assert!(reason(&activations, 0).contains("at least one"));
        assert!(reason(&activations.get(0).unwrap(), 2).contains("(N, C, h, w)"));
        assert!(reason(&(activations / 0.0).unwrap(), 2).contains("finite"));
    }
}
