use super::{assert_close, check_gradients, numbers};
use crate::{Activation, CellKind, Cells, Direction, Gate, Recurrent, gru, lstm, recurrent_cells};
use candle_core::Tensor;

fn cells(kind: CellKind, reverse: bool) -> Cells {
    let rows = kind.gates() * 3;
    let gates = [Gate::Plain(Activation::Sigmoid), Gate::Plain(Activation::Tanh), Gate::Plain(Activation::Tanh)];
    Cells {
        kind,
        input_weight: numbers(&[rows, 2], 1),
        hidden_weight: numbers(&[rows, 3], 2),
        input_bias: numbers(&[rows], 3),
        hidden_bias: numbers(&[rows], 4),
        peepholes: None,
        gates,
        clip: None,
        reverse,
    }
}

/// The same weights with the gates in `PyTorch`'s order.
fn in_other_order(cells: &Cells, order: &[usize]) -> Recurrent {
    let pick = |tensor: &Tensor| {
        let parts: Vec<Tensor> = order.iter().map(|&gate| tensor.narrow(0, gate * 3, 3).unwrap()).collect();
        Tensor::cat(&parts, 0).unwrap()
    };
    Recurrent {
        input_weight: pick(&cells.input_weight),
        hidden_weight: pick(&cells.hidden_weight),
        input_bias: Some(pick(&cells.input_bias)),
        hidden_bias: Some(pick(&cells.hidden_bias)),
    }
}

#[test]
fn with_the_usual_activations_they_are_the_layers_with_kernels() {
    let (x, zeros) = (numbers(&[2, 4, 2], 5), numbers(&[1, 3], 6).zeros_like().unwrap());
    for (reverse, direction) in [(false, Direction::Forward), (true, Direction::Reverse)] {
        let own = cells(CellKind::Lstm { coupled: false }, reverse);
        let expected = lstm(&x, &in_other_order(&own, &[0, 2, 3, 1]), direction).unwrap();
        let both = recurrent_cells(&x, &own, &zeros, &zeros).unwrap();
        assert_close(&both.narrow(2, 0, 3).unwrap(), &expected, 1e-12);
        for reset_after in [false, true] {
            let own = cells(CellKind::Gru { reset_after }, reverse);
            let expected = gru(&x, &in_other_order(&own, &[1, 0, 2]), direction, reset_after).unwrap();
            assert_close(&recurrent_cells(&x, &own, &zeros, &zeros).unwrap(), &expected, 1e-12);
        }
    }
}

#[test]
fn all_cells_have_their_gradients() {
    let inputs = [numbers(&[2, 3, 2], 5), numbers(&[2, 3], 6), numbers(&[2, 3], 7)];
    let kinds = [
        CellKind::Rnn,
        CellKind::Lstm { coupled: false },
        CellKind::Lstm { coupled: true },
        CellKind::Gru { reset_after: false },
        CellKind::Gru { reset_after: true },
    ];
    let sets = [
        [Gate::Plain(Activation::Sigmoid), Gate::Plain(Activation::Tanh), Gate::Plain(Activation::Softsign)],
        [Gate::Affine(0.4, 0.1), Gate::ScaledTanh(0.7, 1.3), Gate::ThresholdedRelu(0.05)],
    ];
    for kind in kinds {
        for gates in sets {
            for clip in [None, Some(0.6)] {
                let peepholes = matches!(kind, CellKind::Lstm { .. }).then(|| numbers(&[9], 8));
                let own = Cells { peepholes, gates, clip, ..cells(kind, clip.is_some()) };
                check_gradients(&inputs, |t| recurrent_cells(&t[0], &own, &t[1], &t[2]));
            }
        }
    }
}
