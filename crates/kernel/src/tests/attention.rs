//! Attention and values that lie in steps, against plain loops in f64.

use super::*;

/// Places of `sizes`, the last of them innermost and `gap` elements apart from each other at the axis `gapped`.
fn places(offset: usize, sizes: &[usize], order: &[usize], gap: usize) -> Strided {
    let mut axes: Vec<[usize; 2]> = sizes.iter().map(|&size| [size, 0]).collect();
    let mut stride = 1;
    for &axis in order.iter().rev() {
        axes[axis][1] = stride;
        stride = stride * sizes[axis] + gap;
    }
    Strided { offset, axes }
}

fn elements(data: &[f32], places: &Strided) -> Vec<f64> {
    (0..places.count()).map(|number| f64::from(data[places.place(number)])).collect()
}

struct Case {
    sizes: [usize; 5],
    data: [Vec<f32>; 5],
    places: [Strided; 5],
    scale: f32,
}

impl Case {
    /// Heads in two axes, queries, keys, features and results; operands that lie in several ways.
    fn new(seed: u64, [outer, heads, queries, keys, features, results]: [usize; 6]) -> Self {
        let places = [
            places(3, &[outer, heads, queries, features], &[0, 2, 1, 3], 5),
            places(
                1,
                &[outer, heads, keys, features],
                if seed.is_multiple_of(2) { &[0, 2, 1, 3] } else { &[1, 3, 0, 2] },
                2,
            ),
            places(
                0,
                &[outer, heads, keys, results],
                if seed.is_multiple_of(3) { &[3, 2, 0, 1] } else { &[2, 0, 1, 3] },
                1,
            ),
            // One bias for all of the outer axis.
            Strided { offset: 2, axes: vec![[outer, 0], [heads, queries * keys], [queries, keys], [keys, 1]] },
            places(1, &[outer, heads, queries, results], &[0, 2, 1, 3], 3),
        ];
        let data = std::array::from_fn(|i| {
            numbers(seed * 7 + i as u64, places[i].end() + 40).iter().map(|x| 3.0 * x).collect()
        });
        Self { sizes: [outer * heads, queries, keys, features, results], data, places, scale: 0.37 }
    }

    fn attention(&self, work: impl FnOnce(&Attention) -> candle_core::Result<()>) {
        let [q, k, v, bias] = std::array::from_fn(|i| Operand { data: &self.data[i], places: &self.places[i] });
        let biases = [bias];
        work(&Attention { queries: q, keys: k, values: v, scale: self.scale, biases: &biases }).unwrap();
    }

    /// The weights after the softmax, and the results.
    fn expected(&self) -> (Vec<f64>, Vec<f64>) {
        let [heads, queries, keys, features, results] = self.sizes;
        let [q, k, v, bias] = std::array::from_fn(|i| elements(&self.data[i], &self.places[i]));
        let (mut weights, mut out) = (Vec::new(), Vec::new());
        for (head, query) in (0..heads).flat_map(|head| (0..queries).map(move |query| (head, query))) {
            let row = (head * queries + query) * features;
            let scores: Vec<f64> = (0..keys)
                .map(|key| {
                    let dot: f64 = (0..features).map(|f| q[row + f] * k[(head * keys + key) * features + f]).sum();
                    dot * f64::from(self.scale) + bias[(head * queries + query) * keys + key]
                })
                .collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().map(|score| (score - most).exp()).sum();
            let row: Vec<f64> = scores.iter().map(|score| (score - most).exp() / sum).collect();
            out.extend(
                (0..results)
                    .map(|r| -> f64 { (0..keys).map(|key| row[key] * v[(head * keys + key) * results + r]).sum() }),
            );
            weights.extend(row);
        }
        (weights, out)
    }

    /// The gradients at queries, keys and values, of the result times the last operand.
    fn expected_gradients(&self) -> [Vec<f64>; 3] {
        let [heads, queries, keys, features, results] = self.sizes;
        let [q, k, v, _, g] = std::array::from_fn(|i| elements(&self.data[i], &self.places[i]));
        let (weights, _) = self.expected();
        let mut out = [vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]];
        for (head, query) in (0..heads).flat_map(|head| (0..queries).map(move |query| (head, query))) {
            let row = head * queries + query;
            let slope = |key: usize| -> f64 {
                (0..results).map(|r| g[row * results + r] * v[(head * keys + key) * results + r]).sum()
            };
            let mean: f64 = (0..keys).map(|key| weights[row * keys + key] * slope(key)).sum();
            for key in 0..keys {
                let weight = weights[row * keys + key];
                for r in 0..results {
                    out[2][(head * keys + key) * results + r] += weight * g[row * results + r];
                }
                let score = weight * (slope(key) - mean) * f64::from(self.scale);
                for f in 0..features {
                    out[0][row * features + f] += score * k[(head * keys + key) * features + f];
                    out[1][(head * keys + key) * features + f] += score * q[row * features + f];
                }
            }
        }
        out
    }
}

const CASES: [[usize; 6]; 6] = [
    [1, 3, 50, 50, 16, 16],
    [2, 2, 9, 33, 5, 7],
    [1, 1, 1, 1, 1, 1],
    [3, 2, 17, 16, 24, 40],
    [1, 2, 300, 210, 8, 3],
    [2, 1, 4, 100, 32, 9],
];

#[test]
fn attention_and_its_gradient_are_right() {
    for (seed, sizes) in CASES.into_iter().enumerate() {
        let case = Case::new(seed as u64, sizes);
        let ((_, expected), gradients) = (case.expected(), case.expected_gradients());
        for isa in Isa::available() {
            let mut out = vec![7.0; case.places[4].end() + 9];
            case.attention(|attention| attention.run(isa, &mut out, &case.places[4]));
            let got: Vec<f32> = (0..case.places[4].count()).map(|number| out[case.places[4].place(number)]).collect();
            assert!(distance(&got, &expected) < 3e-6, "{isa:?} {sizes:?}: {:e}", distance(&got, &expected));
            let untouched = out.iter().filter(|x| **x == 7.0).count();
            assert!(untouched >= out.len() - got.len(), "{isa:?} {sizes:?}");
            let mut pulled = gradients.each_ref().map(|gradient| vec![7.0; gradient.len()]);
            let g = Operand { data: &case.data[4], places: &case.places[4] };
            case.attention(|attention| attention.gradient(isa, g, pulled.each_mut().map(Vec::as_mut_slice)));
            for (part, (got, expected)) in pulled.iter().zip(&gradients).enumerate() {
                // With one key, the gradients of queries and keys are zero but for rounding.
                let far = if sizes[3] == 1 && part < 2 { 0.0 } else { distance(got, expected) };
                assert!(far < 2e-5, "{isa:?} {sizes:?} {part}: {far:e}");
            }
        }
    }
}

#[test]
fn attention_does_not_depend_on_threads() {
    let case = Case::new(1, [2, 3, 200, 70, 16, 16]);
    for isa in Isa::available() {
        let runs = [1, 2, 5].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                with_team(|| {
                    let mut out = vec![0.0; case.places[4].end()];
                    case.attention(|attention| attention.run(isa, &mut out, &case.places[4]));
                    out
                })
            })
        });
        assert!(runs.iter().all(|run| run == &runs[0]), "{isa:?}");
    }
}

#[test]
fn attention_that_does_not_fit_is_refused() {
    let mut case = Case::new(0, [1, 2, 5, 6, 4, 4]);
    let mut out = vec![0.0; 4];
    case.attention(|attention| {
        assert!(attention.run(Isa::best(), &mut out, &case.places[4]).is_err());
        Ok(())
    });
    case.places[1].axes[3][0] = 3;
    let mut out = vec![0.0; 1000];
    case.attention(|attention| {
        assert!(attention.run(Isa::best(), &mut out, &case.places[4]).is_err());
        Ok(())
    });
}

#[test]
fn values_in_steps_are_gathered_and_scattered() {
    for isa in Isa::available() {
        for (sizes, order) in [
            (&[3, 4, 5][..], &[0, 1, 2][..]),
            (&[3, 40, 50], &[2, 0, 1]),
            (&[7], &[0]),
            (&[2, 3, 1, 37], &[1, 2, 0, 3]),
        ] {
            for gap in [0, 2] {
                let places = places(2, sizes, order, gap);
                let data = numbers(5, places.end() + 3);
                let mut out = vec![0.0; places.count()];
                gather_strided(isa, &data, &places, &mut out).unwrap();
                let expected: Vec<f32> = elements(&data, &places).iter().map(|x| *x as f32).collect();
                assert_eq!(out, expected);
                let mut back = data.clone();
                scatter_strided(isa, &out, &places, &mut back, true).unwrap();
                let twice: Vec<f32> = elements(&back, &places).iter().map(|x| *x as f32 / 2.0).collect();
                assert_eq!(twice, expected);
                scatter_strided(isa, &out, &places, &mut back, false).unwrap();
                assert_eq!(back, data);
            }
        }
        let outside = Strided { offset: 2, axes: vec![[3, 4]] };
        assert!(gather_strided(isa, &[0.0; 10], &outside, &mut [0.0; 3]).is_err());
        let twice = Strided { offset: 0, axes: vec![[3, 0]] };
        assert!(scatter_strided(isa, &[0.0; 3], &twice, &mut [0.0; 3], false).is_err());
        assert!(gather_strided(isa, &[1.0], &twice, &mut [0.0; 3]).is_ok());
    }
}
