//! What needs images: the blur path and class-model visualisation.

use candle_core::{DType, Device, Tensor};
use faithful_core::{
    CandleModel, CandleNetwork, Error, LayerInfo, Network, Objective, Probe, Result, Stop, Stream, Target,
};
use faithful_gradient::{
    BlurPath, ClassModel, Integration, Path, Quadrature, class_model, integrated_gradients, path_attribution,
};
use std::num::NonZeroUsize;

/// The weighted sum of `x`, or of every value's tanh times its neighbour (what treats values one by one has the same
/// attribution on every path): one output.
struct Weighted {
    weights: Tensor,
    linear: bool,
}

impl CandleModel for Weighted {
    fn layers(&self) -> &[LayerInfo] {
        &[]
    }

    fn forward(&self, input: &Tensor, _: &mut dyn Probe) -> Result<Tensor> {
        let value = if self.linear { input.clone() } else { (input.tanh()? * input.roll(1, 3)?)? };
        Ok(value.broadcast_mul(&self.weights)?.flatten_from(1)?.sum_keepdim(1)?)
    }

    fn dtype(&self) -> DType {
        DType::F64
    }
}

fn picture(seed: u64) -> Tensor {
    let like = Tensor::zeros((1, 3, 12, 10), DType::F64, &Device::Cpu).unwrap();
    faithful_baseline::normal(&like, &Stream::new(seed, "picture"), 0..1).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).unwrap().sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt()
}

fn quiet() -> ClassModel {
    let steps = NonZeroUsize::new(10).unwrap();
    ClassModel { steps, rate: 0.1, l2: 0.0, jitter: 0, blur: 0.0, ..ClassModel::default() }
}

fn dream(network: &dyn Network, start: &Tensor, seed: u64, parameters: &ClassModel) -> Result<(Tensor, Vec<f64>)> {
    let mut seen = Vec::new();
    let objective = Objective::new(network, &Target::Output(0));
    let stream = Stream::new(seed, "dream");
    let found = class_model(&objective, start, &stream, parameters, &mut |_, score| seen.push(score))?;
    assert_eq!(seen, found.scores[..parameters.steps.get()]);
    Ok((found.image, found.scores))
}

#[test]
fn a_blur_lifts_from_the_picture_and_its_attribution_is_complete() -> Result<()> {
    let (input, network) = (picture(1), CandleNetwork(Weighted { weights: picture(2), linear: false }));
    let path = BlurPath::new(&input, 4.0)?;
    assert_eq!(values(&path.point(1.0)?), values(&input));
    let spread = |tensor: &Tensor| -> Result<f64> {
        let mean = tensor.mean_keepdim((2, 3))?;
        Ok(tensor.broadcast_sub(&mean)?.sqr()?.sum_all()?.to_scalar()?)
    };
    let spreads = [0.0, 0.5, 0.8, 0.95, 1.0].map(|alpha| spread(&path.point(alpha).unwrap()).unwrap());
    assert!(spreads.windows(2).all(|pair| pair[0] < pair[1]) && spreads[0] < 0.05 * spreads[4], "{spreads:?}");

    let objective = Objective::new(&network, &Target::Output(0));
    let steps = NonZeroUsize::new(200).unwrap();
    let integration = Integration { steps, quadrature: Quadrature::Midpoint, stop: Stop::Draws };
    let found = path_attribution(&objective, &path, &integration)?;
    let scores = values(&objective.scores(&Tensor::cat(&[&input, &path.point(0.0)?], 0)?)?);
    let sum = values(&found.map).iter().sum::<f64>();
    assert!((sum - (scores[0] - scores[1])).abs() < 2e-3 * (scores[0] - scores[1]).abs().max(1.0), "{sum} {scores:?}");
    // Not the straight line between the same ends.
    let straight = integrated_gradients(&objective, &input, &path.point(0.0)?, &integration)?;
    assert!(distance(&straight.map, &found.map) > 1e-3);
    assert!(matches!(BlurPath::new(&input, 0.0), Err(Error::Parameter { .. })));
    assert!(matches!(BlurPath::new(&input.flatten_from(1)?, 1.0), Err(Error::Shape { .. })));
    Ok(())
}

#[test]
fn the_ascent_follows_the_gradient_with_steps_of_the_said_size() -> Result<()> {
    let weights = picture(3);
    let network = CandleNetwork(Weighted { weights: weights.clone(), linear: true });
    let start = picture(4);
    let (image, scores) = dream(&network, &start, 0, &quiet())?;
    let size = weights.sqr()?.mean_all()?.to_scalar::<f64>()?.sqrt();
    let expected = (&start + (&weights * (10.0 * 0.1 / size))?)?;
    assert!(distance(&image, &expected) < 1e-9);
    assert!(scores.len() == 11 && scores.windows(2).all(|pair| pair[0] < pair[1]));
    Ok(())
}

#[test]
fn the_prior_holds_the_picture_where_equation_16_has_its_maximum() -> Result<()> {
    // w I - lambda I^2 is largest at w / (2 lambda).
    let network = CandleNetwork(Weighted { weights: picture(3), linear: true });
    let best = (&network.0.weights / (2.0 * 0.25))?;
    let (image, _) = dream(&network, &best, 0, &ClassModel { l2: 0.25, ..quiet() })?;
    // Rounding may leave a direction, of which a step has its full size: ten steps of 0.1 at most.
    let steps = NonZeroUsize::new(400).unwrap();
    let near = ClassModel { l2: 0.25, rate: 0.02, steps, ..quiet() };
    let (found, _) = dream(&network, &best.zeros_like()?, 0, &near)?;
    let root = |t: &Tensor| (values(t).iter().map(|v| v * v).sum::<f64>() / 360.0).sqrt();
    assert!(root(&(&found - &best)?) < 0.05, "{}", root(&(&found - &best)?));
    assert!(root(&(&image - &best)?) <= 1.0);
    Ok(())
}

#[test]
fn pictures_stay_within_their_range_and_jitter_and_blur_depend_on_the_seed_alone() -> Result<()> {
    let network = CandleNetwork(Weighted { weights: picture(3), linear: true });
    let range = Some((vec![-0.3, -0.2, -0.1], vec![0.1, 0.2, 0.3]));
    let parameters = ClassModel { jitter: 3, blur: 0.6, range, ..quiet() };
    let start = picture(4).zeros_like()?;
    let (one, _) = dream(&network, &start, 1, &parameters)?;
    for (channel, (low, high)) in [(-0.3, 0.1), (-0.2, 0.2), (-0.1, 0.3)].into_iter().enumerate() {
        let all = values(&one.narrow(1, channel, 1)?);
        assert!(all.iter().all(|value| (low..=high).contains(value)));
        assert!(all.iter().any(|value| *value == low || *value == high));
    }
    assert_eq!(values(&one), values(&dream(&network, &start, 1, &parameters)?.0));
    assert_ne!(values(&one), values(&dream(&network, &start, 2, &parameters)?.0));
    Ok(())
}

#[test]
fn without_gradient_the_picture_stays_and_mistakes_are_refused() -> Result<()> {
    let network = CandleNetwork(Weighted { weights: picture(3).zeros_like()?, linear: false });
    let start = picture(4);
    assert_eq!(values(&dream(&network, &start, 0, &quiet())?.0), values(&start));
    for wrong in [
        ClassModel { rate: -1.0, ..quiet() },
        ClassModel { l2: f64::NAN, ..quiet() },
        ClassModel { blur: f64::INFINITY, ..quiet() },
        ClassModel { range: Some((vec![0.0], vec![1.0])), ..quiet() },
    ] {
        assert!(matches!(dream(&network, &start, 0, &wrong), Err(Error::Parameter { .. })), "{wrong:?}");
    }
    assert!(matches!(dream(&network, &start.flatten_from(1)?, 0, &quiet()), Err(Error::Shape { .. })));
    Ok(())
}
