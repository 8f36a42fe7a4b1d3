use crate::canvas::{Canvas, finite, values};
use crate::rank::Cover;
use candle_core::Tensor;
use faithful_core::{Error, Objective, Result, Stream};
use rand::Rng;
use rand_distr::StandardNormal;
use std::num::NonZeroUsize;

/// How the input is disturbed.
#[derive(Clone, Debug)]
pub enum Perturbation {
    /// A block at a random place, square where the input is an image, shows the canvas (Yeh et al. 2019, "square
    /// removal"). Its side is this share, in `(0, 1]`, of the shortest spatial axis.
    Blocks {
        /// The side over the shortest spatial axis.
        share: f64,
        /// What the block shows.
        canvas: Canvas,
    },
    /// Independent normal noise of this standard deviation, in the network's input space, is subtracted everywhere.
    Gaussian {
        /// The standard deviation.
        deviation: f64,
    },
    /// These inputs `(M, C, …)`.
    Given(Tensor),
}

/// The parameters of [`infidelity`].
#[derive(Clone, Debug)]
pub struct Infidelity {
    /// How the input is disturbed.
    pub perturbation: Perturbation,
    /// How many disturbed inputs are drawn; [`Perturbation::Given`] has its own number.
    pub draws: NonZeroUsize,
    /// What a map's cell says. `true`: what its cell contributes to the score, as a class activation map or an
    /// attribution that is multiplied by the input; then a cell that is wholly removed counts with its value, and one
    /// that is partly removed with that share of it. `false`: how the score changes with the cell, as a gradient; then
    /// it is multiplied by the disturbance itself, which is the paper's definition.
    pub contributions: bool,
    /// Whether the map is first scaled by the factor that suits it best. Raw maps have no common unit, so without it
    /// methods are compared by their units.
    pub scaled: bool,
}

impl Default for Infidelity {
    /// 50 blocks of an eighth of the side, removed to zero; maps are contributions, scaled.
    fn default() -> Self {
        Self {
            perturbation: Perturbation::Blocks { share: 0.125, canvas: Canvas::Zero },
            draws: NonZeroUsize::new(50).expect("not zero"),
            contributions: true,
            scaled: true,
        }
    }
}

/// Infidelity (Yeh et al. 2019, Definition 2.1): `mean((beta * sum(I * map) - (f(x) - f(x - I)))^2)` over disturbances
/// `I`, the mean squared error of the map's promise. Lower is better, at least 0; with scaling and probabilities at
/// most 1. 0 for the gradient of a linear score.
///
/// The optimal scale is `beta = sum(a b) / sum(a^2)` over the draws' promises `a` and changes `b`; it is 0 for a map
/// that promises nothing, and 1 without scaling. With [`contributions`](Infidelity::contributions), `I` is replaced by
/// `I / (x - canvas)` (0 where both are equal; the canvas of noise and given inputs is zero), as Captum's
/// `multiply_by_inputs`; a map over cells takes the mean share of a cell's channels. Otherwise it takes their sum.
///
/// Draw `i` is `stream`'s draw `i`. `input` is `(1, C, …)`; `map` has its cells `(…)` or its entries `(C, …)`.
///
/// # Errors
/// [`Error::Shape`] where map, input and given inputs do not fit, [`Error::NotFinite`] where the map has NaN or
/// infinity, [`Error::Parameter`] for a share outside `(0, 1]` or a negative deviation.
pub fn infidelity(
    objective: &Objective,
    input: &Tensor,
    map: &Tensor,
    parameters: &Infidelity,
    stream: &Stream,
) -> Result<f64> {
    let cover = Cover::new(input, map)?;
    let map = finite(map)?;
    let photo = values(input)?;
    let painted = match &parameters.perturbation {
        Perturbation::Blocks { canvas, .. } => values(&canvas.paint(input)?)?,
        _ => vec![0.0; photo.len()],
    };
    let disturbed = disturbed(input, &photo, &painted, parameters, stream)?;
    let original = f64::from(values(&objective.scores(input)?)?[0]);
    let mut shape = input.dims().to_vec();
    let (mut promises, mut changes) = (Vec::new(), Vec::new());
    for chunk in disturbed.chunks(objective.batch().get()) {
        shape[0] = chunk.len();
        let rows = Tensor::from_vec(chunk.concat(), shape.as_slice(), input.device())?.to_dtype(input.dtype())?;
        changes.extend(values(&objective.scores(&rows)?)?.into_iter().map(|score| original - f64::from(score)));
        promises.extend(chunk.iter().map(|row| {
            let shares = photo.iter().zip(row).zip(&painted).enumerate().map(|(entry, ((x, disturbed), canvas))| {
                let change = f64::from(x - disturbed);
                let whole = f64::from(x - canvas);
                let weight = if !parameters.contributions {
                    change
                } else if whole == 0.0 {
                    0.0
                } else {
                    change / whole / cover.channels as f64
                };
                weight * map[entry % cover.cells]
            });
            shares.sum::<f64>()
        }));
    }
    let products = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let energy = products(&promises, &promises);
    let beta = if !parameters.scaled {
        1.0
    } else if energy > 0.0 {
        products(&promises, &changes) / energy
    } else {
        0.0
    };
    let errors = promises.iter().zip(&changes).map(|(promise, change)| (beta * promise - change).powi(2));
    Ok(errors.sum::<f64>() / changes.len().max(1) as f64)
}

fn disturbed(
    input: &Tensor,
    photo: &[f32],
    painted: &[f32],
    parameters: &Infidelity,
    stream: &Stream,
) -> Result<Vec<Vec<f32>>> {
    let axes = &input.dims()[2..];
    let draws = 0..parameters.draws.get();
    match parameters.perturbation {
        Perturbation::Blocks { share, .. } => {
            if !(share > 0.0 && share <= 1.0) {
                return Err(Error::parameter("infidelity's block", format!("a share of {share} is outside (0, 1]")));
            }
            let Some(shortest) = axes.iter().min().filter(|shortest| **shortest > 0) else {
                return Err(Error::shape("infidelity's input", "(1, C, …) with cells, to remove blocks", input.dims()));
            };
            let side = ((share * *shortest as f64).round() as usize).max(1);
            Ok(draws.map(|draw| block(photo, painted, axes, side, &mut stream.draw(draw))).collect())
        }
        Perturbation::Gaussian { deviation } => {
            if !deviation.is_finite() || deviation < 0.0 {
                let reason = format!("{deviation}: a finite number of at least 0 is needed");
                return Err(Error::parameter("infidelity's deviation", reason));
            }
            let noisy = |draw| {
                let noise = stream.draw(draw).sample_iter::<f32, _>(StandardNormal);
                photo.iter().zip(noise).map(|(value, noise)| value - deviation as f32 * noise).collect()
            };
            Ok(draws.map(noisy).collect())
        }
        Perturbation::Given(ref rows) => {
            if rows.dims().get(1..) != input.dims().get(1..) || rows.dim(0)? == 0 {
                let expected = format!("(M, …) with the input's {:?}", &input.dims()[1..]);
                return Err(Error::shape("the disturbed inputs", expected, rows.dims()));
            }
            Ok(values(rows)?.chunks_exact(photo.len()).map(<[f32]>::to_vec).collect())
        }
    }
}

/// The input with a block of the canvas at a random place that lies wholly inside.
fn block(photo: &[f32], painted: &[f32], axes: &[usize], side: usize, generator: &mut impl Rng) -> Vec<f32> {
    let corner: Vec<usize> =
        axes.iter().map(|size| generator.random_range(0..=(size - side) as u64) as usize).collect();
    let cells: usize = axes.iter().product();
    let inside = |mut cell: usize| {
        axes.iter().zip(&corner).rev().all(|(size, corner)| {
            let place = cell % size;
            cell /= size;
            (*corner..corner + side).contains(&place)
        })
    };
    let pairs = photo.iter().zip(painted).enumerate();
    pairs.map(|(entry, (value, painted))| if inside(entry % cells) { *painted } else { *value }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Sum;
    use candle_core::Device;
    use faithful_core::Target;

    fn photo() -> Tensor {
        let values: Vec<f32> = (0..32).map(|i| ((i * 7) % 13) as f32 - 4.5).collect();
        Tensor::from_vec(values, (1, 2, 4, 4), &Device::Cpu).unwrap()
    }

    fn run(map: &Tensor, parameters: &Infidelity) -> f64 {
        let network = Sum::default();
        let objective = Objective::new(&network, &Target::Output(0));
        infidelity(&objective, &photo(), map, parameters, &Stream::new(1, "infidelity")).unwrap()
    }

    #[test]
    fn a_linear_scores_gradient_and_contributions_are_perfect() {
        let contributions = photo().squeeze(0).unwrap();
        let gradient = contributions.ones_like().unwrap();
        let blocks = Perturbation::Blocks { share: 0.5, canvas: Canvas::Zero };
        for perturbation in [blocks, Perturbation::Gaussian { deviation: 0.3 }] {
            let base = Infidelity { perturbation, scaled: false, ..Infidelity::default() };
            assert!(run(&contributions, &base) < 1e-8);
            assert!(run(&gradient, &Infidelity { contributions: false, ..base }) < 1e-8);
        }
        // Over cells, a contribution is the sum of the channels'; a gradient is shared by them.
        let blocks = Infidelity { scaled: false, ..Infidelity::default() };
        assert!(run(&contributions.sum(0).unwrap(), &blocks) < 1e-8);
        let ones = Tensor::ones((4, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(run(&ones, &Infidelity { contributions: false, ..blocks }) < 1e-8);
    }

    #[test]
    fn scaling_forgives_the_unit_and_a_zero_map_explains_nothing() {
        let map = (photo().squeeze(0).unwrap() * -7.0).unwrap();
        let scaled = Infidelity::default();
        let raw = Infidelity { scaled: false, ..Infidelity::default() };
        assert!(run(&map, &scaled) < 1e-8 && run(&map, &raw) > 1.0);
        // Nothing is promised, so the error is the mean square of the changes, whatever the scale.
        let nothing = map.zeros_like().unwrap();
        assert!(run(&nothing, &scaled) > 1.0);
        assert_eq!(run(&nothing, &scaled), run(&nothing, &raw));
    }

    #[test]
    fn one_given_input_is_the_square_by_hand() {
        let network = Sum::default();
        let objective = Objective::new(&network, &Target::Output(0));
        let input = Tensor::new(&[[[4f32, 2.0]]], &Device::Cpu).unwrap();
        let given = Tensor::new(&[[[1f32, 2.0]]], &Device::Cpu).unwrap();
        let map = Tensor::new(&[10f32, 100.0], &Device::Cpu).unwrap();
        let base = Infidelity { perturbation: Perturbation::Given(given), scaled: false, ..Infidelity::default() };
        let of =
            |parameters: &Infidelity| infidelity(&objective, &input, &map, parameters, &Stream::new(0, "")).unwrap();
        // Three quarters of the first cell are gone: 7.5 promised, 3 lost.
        assert_eq!(of(&base), 4.5 * 4.5);
        assert_eq!(of(&Infidelity { contributions: false, ..base }), 27.0 * 27.0);
    }

    #[test]
    fn wrong_parameters_are_errors() {
        let network = Sum::default();
        let objective = Objective::new(&network, &Target::Output(0));
        let map = Tensor::zeros((4, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
        for perturbation in [
            Perturbation::Blocks { share: 0.0, canvas: Canvas::Zero },
            Perturbation::Blocks { share: 1.5, canvas: Canvas::Zero },
            Perturbation::Gaussian { deviation: f64::NAN },
            Perturbation::Given(map.clone()),
        ] {
            let parameters = Infidelity { perturbation, ..Infidelity::default() };
            assert!(infidelity(&objective, &photo(), &map, &parameters, &Stream::new(0, "")).is_err());
        }
    }
}
