use super::{assert_close, check_gradients, gradients, numbers, tensor, values};
use crate::{
    CoordinateRule, Interpolation, PadMode, Reduction, Resize, concat, gather, gaussian_blur2d, pad, reduce, resize2d,
    resize2d_by, slice,
};
use candle_core::{DType, IndexOp};

#[test]
fn concatenation_slices_and_picks_have_their_gradients() {
    let (a, b) = (numbers(&[2, 3, 4], 1), numbers(&[2, 2, 4], 2));
    check_gradients(&[a.clone(), b], |t| concat(&[&t[0], &t[1], &t[0]], 1));
    check_gradients(&[a.clone()], |t| concat(&[&t[0].transpose(0, 2)?, &t[0].transpose(0, 2)?], 2));
    for axis in 0..3 {
        for (start, end, step) in
            [(0, None, 1), (1, Some(2), 1), (0, Some(9), 2), (1, None, 3), (2, None, -1), (9, Some(0), -2)]
        {
            check_gradients(&[a.clone()], |t| slice(&t[0], axis, start, end, step));
        }
        check_gradients(&[a.clone()], |t| gather(&t[0], axis, &[1, 0, 1, 1]));
        check_gradients(&[a.clone()], |t| gather(&t[0], axis, &[1, 0])?.transpose(0, 2));
    }
    assert_eq!(slice(&a, 1, 5, None, 1).unwrap().dims(), [2, 0, 4]);
    assert_eq!(slice(&a, 1, 2, Some(2), -1).unwrap().dims(), [2, 0, 4]);
    assert!(slice(&a, 1, 0, None, 0).is_err() && slice(&a, 3, 0, None, 1).is_err());
    assert!(gather(&a, 1, &[3]).is_err() && concat(&[], 0).is_err());
    assert!(concat(&[&a, &numbers(&[2, 3], 1)], 0).is_err());
}

#[test]
fn padding_has_its_gradients() {
    let x = numbers(&[2, 3, 4], 1);
    for mode in [PadMode::Constant(0.), PadMode::Constant(1.5), PadMode::Reflect, PadMode::Edge] {
        for pads in [[[0, 0], [1, 2], [3, 0]], [[1, 0], [-1, 1], [0, -2]], [[0, 0], [0, 0], [0, 0]]] {
            let f = |t: &[candle_core::Tensor]| pad(&t[0], &pads, mode);
            check_gradients(&[x.clone()], f);
        }
    }
    assert!(pad(&x, &[[0, 0], [3, 0], [0, 0]], PadMode::Reflect).is_err());
    assert!(pad(&x, &[[-2, -1], [0, 0], [0, 0]], PadMode::Edge).is_err());
    assert!(pad(&x, &[[0, 0]], PadMode::Edge).is_err());
}

#[test]
fn reductions_have_their_gradients() {
    let x = numbers(&[2, 3, 4], 1);
    let all = [
        Reduction::Mean,
        Reduction::Sum,
        Reduction::Max,
        Reduction::Min,
        Reduction::L1,
        Reduction::L2,
        Reduction::SumSquare,
        Reduction::LogSumExp,
    ];
    for reduction in all {
        for (axes, kept, dropped) in [
            (&[][..], &[1, 1, 1][..], &[][..]),
            (&[0], &[1, 3, 4], &[3, 4]),
            (&[1], &[2, 1, 4], &[2, 4]),
            (&[2, 0], &[1, 3, 1], &[3]),
        ] {
            assert_eq!(reduce(&x, axes, true, reduction).unwrap().dims(), kept);
            assert_eq!(reduce(&x, axes, false, reduction).unwrap().dims(), dropped);
            check_gradients(&[x.clone()], |t| reduce(&t[0], axes, true, reduction));
            check_gradients(&[x.clone()], |t| reduce(&t[0], axes, false, reduction));
        }
    }
    assert!(reduce(&x, &[3], true, Reduction::Sum).is_err() && reduce(&x, &[1, 1], true, Reduction::Sum).is_err());
    assert!(reduce(&numbers(&[2, 0], 1), &[1], false, Reduction::Max).is_err());
    assert_eq!(values(&reduce(&numbers(&[2, 0], 1), &[1], false, Reduction::Sum).unwrap()), [0., 0.]);
}

#[test]
fn a_tied_extreme_gives_its_gradient_to_its_first_place() {
    let x = tensor(&[1., 3., 3., 3., 1., 1.], &[2, 3]);
    let at = |reduction, axes: &[usize]| -> Vec<usize> {
        let gradients = gradients(&[x.clone()], &|t| reduce(&t[0], axes, false, reduction));
        values(&gradients[0]).iter().enumerate().filter(|(_, g)| **g != 0.).map(|(i, _)| i).collect()
    };
    assert_eq!(at(Reduction::Max, &[1]), [1, 3]);
    assert_eq!(at(Reduction::Min, &[1]), [0, 4]);
    assert_eq!(at(Reduction::Max, &[1, 0]), [1]);
    let zero = gradients(&[tensor(&[0., 0.], &[2])], &|t| reduce(&t[0], &[], false, Reduction::L2));
    assert_eq!(values(&zero[0]), [0., 0.]);
}

pub(super) fn resizes() -> Vec<Resize> {
    let mut resizes = Vec::new();
    for interpolation in
        [Interpolation::Nearest, Interpolation::NearestFloor, Interpolation::Linear, Interpolation::Cubic]
    {
        for coordinates in [CoordinateRule::HalfPixel, CoordinateRule::AlignCorners, CoordinateRule::Asymmetric] {
            resizes.push(Resize { interpolation, coordinates, exclude_outside: false });
        }
    }
    resizes
}

#[test]
fn resizing_has_its_gradients() {
    for rules in resizes() {
        for size in [[5, 4], [10, 8], [3, 7], [1, 1], [7, 2]] {
            check_gradients(&[numbers(&[1, 2, 5, 4], 1)], |t| resize2d(&t[0], size, &rules));
            // candle's own overwrites what another path has already given the argument.
            check_gradients(&[numbers(&[1, 1, 5, 4], 1)], |t| {
                let up = resize2d(&t[0], size, &rules)?;
                concat(&[&up.flatten_all()?, &t[0].flatten_all()?, &up.flatten_all()?], 0)
            });
        }
        let x = numbers(&[1, 1, 5, 4], 1);
        assert_close(&resize2d(&x, [5, 4], &rules).unwrap(), &x, 1e-15);
        let flat = x.ones_like().unwrap();
        assert_close(&resize2d(&flat, [9, 3], &rules).unwrap(), &numbers(&[1, 1, 9, 3], 1).ones_like().unwrap(), 1e-12);
    }
    assert!(resize2d(&numbers(&[1, 1, 5, 4], 1), [0, 4], &Resize::default()).is_err());
}

/// The weights of ONNX's `Resize` by `factor`, written from the operator's text: `[output][input]`.
fn weights_by_factor(inputs: usize, outputs: usize, factor: f64, rules: Resize) -> Vec<Vec<f64>> {
    let last = inputs as f64 - 1.;
    // ONNX's factor and its quotients are of single precision, which decides at a pixel's edge.
    let divided = |place: f64| f64::from(place as f32 / factor as f32);
    (0..outputs)
        .map(|output| {
            let x = output as f64;
            let at = match rules.coordinates {
                CoordinateRule::HalfPixel => divided(x + 0.5) - 0.5,
                CoordinateRule::HalfPixelOrFirst => {
                    if outputs > 1 {
                        divided(x + 0.5) - 0.5
                    } else {
                        0.
                    }
                }
                CoordinateRule::AlignCorners => {
                    if outputs > 1 {
                        x * last / (outputs as f64 - 1.)
                    } else {
                        0.
                    }
                }
                CoordinateRule::Asymmetric => divided(x),
                CoordinateRule::HalfPixelForNearest => divided(x + 0.5),
                CoordinateRule::HalfPixelSymmetric => {
                    let adjustment = outputs as f64 / (factor * inputs as f64);
                    inputs as f64 / 2. * (1. - adjustment) + divided(x + 0.5) - 0.5
                }
            };
            let mut row = vec![0.; inputs];
            let mut add = |place: f64, weight: f64| {
                let outside = place < 0. || place > last;
                if !(outside && rules.exclude_outside) {
                    row[place.clamp(0., last) as usize] += weight;
                }
            };
            match rules.interpolation {
                Interpolation::Nearest => add((at - 0.5).ceil(), 1.),
                Interpolation::NearestHalfUp => add((at + 0.5).floor(), 1.),
                Interpolation::NearestFloor => add(at.floor(), 1.),
                Interpolation::NearestCeil => add(at.ceil(), 1.),
                Interpolation::Linear => {
                    add(at.floor(), 1. - (at - at.floor()));
                    add(at.floor() + 1., at - at.floor());
                }
                Interpolation::Cubic | Interpolation::CatmullRom => {
                    let a = if rules.interpolation == Interpolation::Cubic { -0.75 } else { -0.5 };
                    let t = at - at.floor();
                    let far = |d: f64| a * d.powi(3) - 5. * a * d.powi(2) + 8. * a * d - 4. * a;
                    let near = |d: f64| (a + 2.) * d.powi(3) - (a + 3.) * d.powi(2) + 1.;
                    let weights = [far(1. + t), near(t), near(1. - t), far(2. - t)];
                    weights.into_iter().enumerate().for_each(|(i, weight)| add(at.floor() - 1. + i as f64, weight));
                }
            }
            if rules.exclude_outside {
                let sum: f64 = row.iter().sum();
                for weight in &mut row {
                    *weight /= sum;
                }
            }
            row
        })
        .collect()
}

#[test]
fn resizing_by_a_factor_divides_by_the_factor() {
    let interpolations = [
        Interpolation::Nearest,
        Interpolation::NearestHalfUp,
        Interpolation::NearestFloor,
        Interpolation::NearestCeil,
        Interpolation::Linear,
        Interpolation::Cubic,
        Interpolation::CatmullRom,
    ];
    let all_coordinates = [
        CoordinateRule::HalfPixel,
        CoordinateRule::AlignCorners,
        CoordinateRule::Asymmetric,
        CoordinateRule::HalfPixelOrFirst,
        CoordinateRule::HalfPixelSymmetric,
        CoordinateRule::HalfPixelForNearest,
    ];
    let x = numbers(&[1, 2, 5, 4], 1);
    for interpolation in interpolations {
        for coordinates in all_coordinates {
            for [down, across] in [[1.5, 0.5], [0.375, 1.75], [1.25, 2.0], [0.2, 0.3]] {
                let cubic = matches!(interpolation, Interpolation::Cubic | Interpolation::CatmullRom);
                for exclude_outside in if cubic { vec![false, true] } else { vec![false] } {
                    let rules = Resize { interpolation, coordinates, exclude_outside };
                    let size = [(5. * down) as usize, (4. * across) as usize];
                    let y = resize2d_by(&x, [down, across], size, &rules).unwrap();
                    let rows = weights_by_factor(5, size[0], down, rules);
                    let columns = weights_by_factor(4, size[1], across, rules);
                    let flat = |w: &[Vec<f64>]| tensor(&w.concat(), &[w.len(), w[0].len()]);
                    let wanted = flat(&rows).broadcast_matmul(&x).unwrap();
                    let wanted = wanted.broadcast_matmul(&flat(&columns).t().unwrap()).unwrap();
                    assert_close(&y, &wanted, 1e-6);
                    check_gradients(&[x.clone()], |t| resize2d_by(&t[0], [down, across], size, &rules));
                }
            }
        }
    }
    assert!(resize2d_by(&x, [0., 1.], [1, 4], &Resize::default()).is_err());
}

#[test]
fn blurring_has_its_gradients_and_its_formula() {
    check_gradients(&[numbers(&[1, 2, 4, 5], 1)], |t| gaussian_blur2d(&t[0], [3, 5], [0.7, 2.]));
    let mut dot = vec![0.; 49];
    dot[24] = 1.;
    let blurred = gaussian_blur2d(&tensor(&dot, &[1, 1, 7, 7]), [3, 3], [1., 1.]).unwrap();
    let edge = (-0.5f64).exp();
    let middle = 1. / (1. + 2. * edge);
    let at = |y: usize, x: usize| blurred.i((0, 0, y, x)).unwrap().to_scalar::<f64>().unwrap();
    assert!((at(3, 3) - middle * middle).abs() < 1e-15 && (at(2, 3) - middle * middle * edge).abs() < 1e-15);
    let single = numbers(&[1, 1, 4, 4], 1).to_dtype(DType::BF16).unwrap();
    assert_eq!(gaussian_blur2d(&single, [3, 3], [1., 1.]).unwrap().dtype(), DType::BF16);
    let x = numbers(&[1, 1, 4, 4], 1);
    assert!(gaussian_blur2d(&x, [2, 3], [1., 1.]).is_err() && gaussian_blur2d(&x, [3, 3], [0., 1.]).is_err());
    assert!(gaussian_blur2d(&x, [9, 3], [1., 1.]).is_err());
}
