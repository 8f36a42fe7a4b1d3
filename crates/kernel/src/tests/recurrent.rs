//! Recurrent layers on every instruction set, against the same recurrence in `f64`.

use super::{Loose, distance, numbers};
use crate::{Direction, Isa, RecurrentCell, RecurrentLayer, RecurrentSteps};
use candle_core::{Device, Tensor, Var};
use faithful_tensor::{Recurrent, gru, lstm};
use proptest::prelude::*;

/// States and the input's gradient by the generic recurrence in `f64`, from numbers that are exactly those of the kernels.
fn expected(
    cell: RecurrentCell,
    [rows, steps, inputs, hidden]: [usize; 4],
    [x, weight, recurrent, bias, of_state]: [&[f32]; 5],
    gradient: &[f64],
    direction: Direction,
) -> [Vec<f64>; 2] {
    let tensor = |values: &[f32], shape: &[usize]| {
        let values: Vec<f64> = values.iter().copied().map(f64::from).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    };
    let width = cell.gates() * hidden;
    let weights = Recurrent {
        input_weight: tensor(weight, &[width, inputs]),
        hidden_weight: tensor(recurrent, &[width, hidden]),
        input_bias: Some(tensor(bias, &[width])),
        hidden_bias: Some(tensor(of_state, &[width])),
    };
    let x = Var::from_tensor(&tensor(x, &[rows, steps, inputs])).unwrap();
    // That of this crate as `faithful-tensor` sees it.
    let direction = match direction {
        Direction::Forward => faithful_tensor::Direction::Forward,
        Direction::Reverse => faithful_tensor::Direction::Reverse,
    };
    let states = match cell {
        RecurrentCell::Lstm => lstm(&x, &weights, direction),
        RecurrentCell::Gru => gru(&x, &weights, direction, true),
    };
    let states = states.unwrap();
    let gradient = Tensor::from_slice(gradient, states.dims(), &Device::Cpu).unwrap();
    let store = (&states * gradient).unwrap().sum_all().unwrap().backward().unwrap();
    [&states, store.get(&x).unwrap()].map(|tensor| tensor.flatten_all().unwrap().to_vec1().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn layers_have_their_states_and_gradients(
        rows in 1usize..20, steps in 1usize..9, inputs in 1usize..20, hidden in 1usize..40, gap in 0usize..3,
        reverse in any::<bool>(), is_gru in any::<bool>(), seed in 0u64..1000,
    ) {
        let direction = if reverse { Direction::Reverse } else { Direction::Forward };
        let x = numbers(seed, rows * steps * inputs);
        let cell = if is_gru { RecurrentCell::Gru } else { RecurrentCell::Lstm };
        let width = cell.gates() * hidden;
        let weight = numbers(seed + 1, width * inputs);
        let recurrent = numbers(seed + 2, width * hidden);
        let [bias, of_state] = [3, 6].map(|more| numbers(seed + more, width));
        let mut states = Loose::new(seed + 4, [rows, 1, steps, hidden], gap);
        let gradient = Loose::new(seed + 5, [rows, 1, steps, hidden], gap);
        let back: Vec<f64> = gradient.values().into_iter().map(f64::from).collect();
        let parts = [&x[..], &weight, &recurrent, &bias, &of_state];
        let [values, gradients] = expected(cell, [rows, steps, inputs, hidden], parts, &back, direction);
        let before = states.gaps();
        for isa in Isa::available() {
            let (weights, biases) = ([&weight[..], &recurrent], [&bias[..], &of_state]);
            let kernel = RecurrentLayer::new(isa, cell, [inputs, hidden], weights, biases, direction).unwrap();
            kernel.run(&x, states.map_mut()).unwrap();
            prop_assert!(distance(&states.values(), &values) < 2e-6, "{isa:?} {cell:?}");
            prop_assert_eq!(&states.gaps(), &before);
            let mut to = vec![0.0; x.len()];
            kernel.gradient(&x, gradient.map(), &mut to).unwrap();
            prop_assert!(distance(&to, &gradients) < 5e-6, "{isa:?} {cell:?}: {}", distance(&to, &gradients));
        }
    }
}

#[test]
fn a_row_has_the_same_bits_in_every_batch() {
    let [rows, steps, inputs, hidden] = [13, 5, 6, 21];
    let (weight, recurrent) = (numbers(1, 4 * hidden * inputs), numbers(2, 4 * hidden * hidden));
    let (bias, x) = (numbers(3, 4 * hidden), numbers(4, rows * steps * inputs));
    for isa in Isa::available() {
        let kernel = RecurrentLayer::new(
            isa,
            RecurrentCell::Lstm,
            [inputs, hidden],
            [&weight, &recurrent],
            [&bias, &vec![0.0; 4 * hidden]],
            Direction::Forward,
        );
        let kernel = kernel.unwrap();
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
fn what_does_not_fit_a_layer_is_an_error() {
    let [inputs, hidden] = [3, 2];
    let (weight, recurrent, bias) = (numbers(1, 24), numbers(2, 16), numbers(3, 8));
    let new = |weight: &[f32], recurrent: &[f32]| {
        let (sizes, biases) = ([inputs, hidden], [&bias[..], &bias]);
        RecurrentLayer::new(Isa::best(), RecurrentCell::Lstm, sizes, [weight, recurrent], biases, Direction::Forward)
    };
    assert!(new(&weight[1..], &recurrent).is_err() && new(&weight, &recurrent[1..]).is_err());
    let kernel = new(&weight, &recurrent).unwrap();
    let mut states = Loose::new(0, [2, 1, 4, hidden], 0);
    assert!(kernel.run(&numbers(4, 23), states.map_mut()).is_err());
    assert!(kernel.gradient(&numbers(4, 24), states.map(), &mut [0.0; 23]).is_err());
    let steps = RecurrentSteps::new(Isa::best(), RecurrentCell::Lstm, hidden, &recurrent, Direction::Forward).unwrap();
    assert!(steps.run(&mut [0.0; 16], &mut [0.0; 8], &mut [0.0; 5], 2).is_err());
}
