//! LSTMs on every instruction set, against the same recurrence in `f64`.

use super::{Loose, distance, numbers};
use crate::cpu::{Isa, Lstm, LstmSteps};
use crate::{Direction, Recurrent, lstm};
use candle_core::{Device, Tensor, Var};
use proptest::prelude::*;

/// States and the input's gradient by the generic recurrence in `f64`, from numbers that are exactly those of the kernels.
fn expected(
    [rows, steps, inputs, hidden]: [usize; 4],
    [x, weight, recurrent, bias]: [&[f32]; 4],
    gradient: &[f64],
    direction: Direction,
) -> [Vec<f64>; 2] {
    let tensor = |values: &[f32], shape: &[usize]| {
        let values: Vec<f64> = values.iter().copied().map(f64::from).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    };
    let weights = Recurrent {
        input_weight: tensor(weight, &[4 * hidden, inputs]),
        hidden_weight: tensor(recurrent, &[4 * hidden, hidden]),
        input_bias: Some(tensor(bias, &[4 * hidden])),
        hidden_bias: None,
    };
    let x = Var::from_tensor(&tensor(x, &[rows, steps, inputs])).unwrap();
    let states = lstm(&x, &weights, direction).unwrap();
    let gradient = Tensor::from_slice(gradient, states.dims(), &Device::Cpu).unwrap();
    let store = (&states * gradient).unwrap().sum_all().unwrap().backward().unwrap();
    [&states, store.get(&x).unwrap()].map(|tensor| tensor.flatten_all().unwrap().to_vec1().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn lstms_have_their_states_and_gradients(
        rows in 1usize..20, steps in 1usize..9, inputs in 1usize..20, hidden in 1usize..40, gap in 0usize..3,
        reverse in any::<bool>(), seed in 0u64..1000,
    ) {
        let direction = if reverse { Direction::Reverse } else { Direction::Forward };
        let x = numbers(seed, rows * steps * inputs);
        let weight = numbers(seed + 1, 4 * hidden * inputs);
        let recurrent = numbers(seed + 2, 4 * hidden * hidden);
        let bias = numbers(seed + 3, 4 * hidden);
        let mut states = Loose::new(seed + 4, [rows, 1, steps, hidden], gap);
        let gradient = Loose::new(seed + 5, [rows, 1, steps, hidden], gap);
        let back: Vec<f64> = gradient.values().into_iter().map(f64::from).collect();
        let parts = [&x[..], &weight, &recurrent, &bias];
        let [values, gradients] = expected([rows, steps, inputs, hidden], parts, &back, direction);
        let before = states.gaps();
        for isa in Isa::available() {
            let kernel = Lstm::new(isa, [inputs, hidden], &weight, &recurrent, bias.clone(), direction).unwrap();
            kernel.run(&x, states.map_mut()).unwrap();
            prop_assert!(distance(&states.values(), &values) < 2e-6, "{isa:?}");
            prop_assert_eq!(&states.gaps(), &before);
            let mut to = vec![0.0; x.len()];
            kernel.gradient(&x, gradient.map(), &mut to).unwrap();
            prop_assert!(distance(&to, &gradients) < 5e-6, "{isa:?}: {}", distance(&to, &gradients));
        }
    }
}

#[test]
fn a_row_has_the_same_bits_in_every_batch() {
    let [rows, steps, inputs, hidden] = [13, 5, 6, 21];
    let (weight, recurrent) = (numbers(1, 4 * hidden * inputs), numbers(2, 4 * hidden * hidden));
    let (bias, x) = (numbers(3, 4 * hidden), numbers(4, rows * steps * inputs));
    for isa in Isa::available() {
        let kernel = Lstm::new(isa, [inputs, hidden], &weight, &recurrent, bias.clone(), Direction::Forward).unwrap();
        let run = |x: &[f32], rows: usize| {
            let mut states = Loose::new(0, [rows, 1, steps, hidden], 0);
            kernel.run(x, states.map_mut()).unwrap();
            states.values()
        };
        let together = run(&x, rows);
        for (row, x) in x.chunks(steps * inputs).enumerate() {
            assert_eq!(run(x, 1), together[row * steps * hidden..][..steps * hidden], "{isa:?}, row {row}");
        }
    }
}

#[test]
fn what_does_not_fit_an_lstm_is_an_error() {
    let [inputs, hidden] = [3, 2];
    let (weight, recurrent, bias) = (numbers(1, 24), numbers(2, 16), numbers(3, 8));
    let new = |weight: &[f32], recurrent: &[f32]| {
        Lstm::new(Isa::best(), [inputs, hidden], weight, recurrent, bias.clone(), Direction::Forward)
    };
    assert!(new(&weight[1..], &recurrent).is_err() && new(&weight, &recurrent[1..]).is_err());
    let kernel = new(&weight, &recurrent).unwrap();
    let mut states = Loose::new(0, [2, 1, 4, hidden], 0);
    assert!(kernel.run(&numbers(4, 23), states.map_mut()).is_err());
    assert!(kernel.gradient(&numbers(4, 24), states.map(), &mut [0.0; 23]).is_err());
    let steps = LstmSteps::new(Isa::best(), hidden, &recurrent, Direction::Forward).unwrap();
    assert!(steps.run(&mut [0.0; 16], &mut [0.0; 8], &mut [0.0; 5], 2).is_err());
}
