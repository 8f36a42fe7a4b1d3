use super::{assert_close, check_gradients, check_rows_alone, numbers};
use crate::recurrent_cells::Cell;
use crate::{Direction, Recurrent, concat, gru, linear, lstm};
use candle_core::{DType, Result, Tensor, Var};

fn layer(t: &[Tensor]) -> Recurrent {
    Recurrent {
        input_weight: t[0].clone(),
        hidden_weight: t[1].clone(),
        input_bias: t.get(2).cloned(),
        hidden_bias: t.get(3).cloned(),
    }
}

fn weights(gates: usize, inputs: usize, hidden: usize) -> Vec<Tensor> {
    let rows = gates * hidden;
    vec![numbers(&[rows, inputs], 2), numbers(&[rows, hidden], 3), numbers(&[rows], 4), numbers(&[rows], 5)]
}

type Run = fn(&Tensor, &Recurrent, Direction) -> Result<Tensor>;

fn runs() -> [(Cell, Run); 3] {
    [
        (Cell::Lstm, lstm),
        (Cell::GruResetAfter, |x, weights, direction| gru(x, weights, direction, true)),
        (Cell::GruResetBefore, |x, weights, direction| gru(x, weights, direction, false)),
    ]
}

#[test]
fn recurrent_layers_have_their_gradients() {
    for (cell, run) in runs() {
        for direction in [Direction::Forward, Direction::Reverse] {
            for (batch, steps, inputs, hidden) in [(2, 4, 3, 2), (1, 1, 1, 1), (3, 5, 1, 3)] {
                let mut tensors = vec![numbers(&[batch, steps, inputs], 1)];
                tensors.extend(weights(cell.gates(), inputs, hidden));
                check_gradients(&tensors, |t| run(&t[0], &layer(&t[1..]), direction));
                check_gradients(&tensors[..3], |t| run(&t[0], &layer(&t[1..]), direction));
            }
        }
    }
}

#[test]
fn bidirectional_and_stacked_layers_are_compositions_with_gradients() {
    let (first, second) = (weights(4, 2, 2), weights(3, 4, 2));
    check_gradients(&[numbers(&[2, 3, 2], 1)], |t| {
        let forward = lstm(&t[0], &layer(&first), Direction::Forward)?;
        let reverse = lstm(&t[0], &layer(&first), Direction::Reverse)?;
        gru(&concat(&[&forward, &reverse], 2)?, &layer(&second), Direction::Forward, true)
    });
}

#[test]
fn recurrent_layers_equal_their_step_by_step_composition() {
    for (cell, run) in runs() {
        let (x, w) = (numbers(&[3, 6, 4], 1), weights(cell.gates(), 4, 5));
        let gates = linear(&x, &w[0], Some(&w[2])).unwrap();
        for (direction, order) in [(Direction::Forward, [0, 1, 2, 3, 4, 5]), (Direction::Reverse, [5, 4, 3, 2, 1, 0])] {
            let expected = crate::composed::recurrent::states(&gates, &w[1], &w[3], &order, cell).unwrap();
            assert_close(&run(&x, &layer(&w), direction).unwrap(), &expected, 1e-13);
        }
    }
}

#[test]
fn single_precision_has_the_gradients_of_double_precision() {
    let shapes: [&[usize]; 5] = [&[5, 7, 3], &[36, 3], &[36, 9], &[36], &[36]];
    for (run, direction) in [(lstm as Run, Direction::Forward), (lstm, Direction::Reverse)] {
        let gradients = |dtype: DType| -> Vec<Vec<f64>> {
            let variable = |(place, shape): (usize, &&[usize])| {
                Var::from_tensor(&numbers(shape, place as u64).to_dtype(dtype).unwrap()).unwrap()
            };
            let tensors: Vec<Var> = shapes.iter().enumerate().map(variable).collect();
            let all: Vec<Tensor> = tensors.iter().map(|var| var.as_tensor().clone()).collect();
            let states = run(&all[0], &layer(&all[1..]), direction).unwrap();
            let weights = numbers(states.dims(), 9).to_dtype(dtype).unwrap();
            let store = (states * weights).unwrap().sum_all().unwrap().backward().unwrap();
            let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap();
            all.iter().map(|tensor| flat(store.get(tensor).unwrap())).collect()
        };
        for (single, double) in gradients(DType::F32).into_iter().zip(gradients(DType::F64)) {
            let largest = double.iter().fold(0f64, |most, value| most.max(value.abs()));
            for (a, b) in single.iter().zip(&double) {
                assert!((a - b).abs() < 3e-6 * largest, "{a} {b}");
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    for (cell, run) in runs() {
        let weights: Vec<Tensor> =
            weights(cell.gates(), 3, 20).iter().map(|w| w.to_dtype(DType::F32).unwrap()).collect();
        let x = numbers(&[11, 4, 3], 1).to_dtype(DType::F32).unwrap();
        check_rows_alone(&x, |x| run(x, &layer(&weights), Direction::Forward));
    }
}

#[test]
fn a_long_series_goes_back_without_deep_recursion() {
    let weights = weights(4, 1, 2);
    let x = Var::from_tensor(&numbers(&[1, 5000, 1], 1)).unwrap();
    let y = lstm(&x, &layer(&weights), Direction::Forward).unwrap();
    let gradients = y.sum_all().unwrap().backward().unwrap();
    assert_eq!(gradients.get(&x).unwrap().dims(), [1, 5000, 1]);
}

#[test]
fn weights_that_do_not_fit_are_an_error() {
    let x = numbers(&[1, 2, 3], 1);
    assert!(lstm(&x, &layer(&weights(3, 3, 2)), Direction::Forward).is_err());
    assert!(gru(&x, &layer(&weights(3, 4, 2)), Direction::Forward, true).is_err());
    assert!(lstm(&numbers(&[2, 3], 1), &layer(&weights(4, 3, 2)), Direction::Forward).is_err());
    assert_eq!(lstm(&numbers(&[0, 2, 3], 1), &layer(&weights(4, 3, 2)), Direction::Forward).unwrap().dims(), [0, 2, 2]);
}
