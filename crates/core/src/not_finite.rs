//! Where NaN and infinity began: looked for only when they were seen, so that sound networks pay for one look.

use crate::{Error, LayerId, Network, Probe, Result, Tap};
use candle_core::{DType, Tensor};
use faithful_tensor::all_finite;

/// How many layers' gradients are looked at in one pass; each keeps its activations.
const AT_A_TIME: usize = 8;

/// The first place in memory with NaN or infinity, and that value.
fn first_place(tensor: &Tensor) -> Result<Option<(usize, f64)>> {
    let values = tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    Ok(values.into_iter().enumerate().find(|(_, value)| !value.is_finite()))
}

/// Fails where an input `(N, …)` has NaN or infinity.
pub(crate) fn check_input(input: &Tensor) -> Result<()> {
    if all_finite(input)? {
        return Ok(());
    }
    let place = first_place(input)?.map(|(place, value)| {
        let row = input.elem_count() / input.dim(0).unwrap_or(1).max(1);
        format!("element {} of row {} ({value})", place % row.max(1), place / row.max(1))
    });
    Err(Error::NotFinite { what: "the network's input".into(), place })
}

/// Fails where one of `values`, all computed from `input`, has NaN or infinity: with the first layer that gave it.
pub(crate) fn check_values<'a>(
    network: &dyn Network,
    input: &Tensor,
    values: impl IntoIterator<Item = &'a Tensor>,
) -> Result<()> {
    for value in values {
        if let Some(row) = broken_row(value)? {
            let (what, place) = match first_activation(network, &row_of(input, row)?)? {
                Some(layer) => ("an activation", Some(name(network, layer))),
                // An output that is no layer.
                None => ("the network's output", None),
            };
            return Err(Error::NotFinite { what: what.into(), place });
        }
    }
    Ok(())
}

/// Fails where one of `gradients` of `score` at `input` has NaN or infinity: with the layer where it first came up on the
/// way from the output back to the input.
pub(crate) fn check_gradients<'a>(
    network: &dyn Network,
    input: &Tensor,
    gradients: impl IntoIterator<Item = &'a Tensor>,
    cotangent: &dyn Fn(&Tensor) -> Result<Tensor>,
) -> Result<()> {
    for gradient in gradients {
        if let Some(row) = broken_row(gradient)? {
            let (what, place) = match first_gradient(network, &row_of(input, row)?, cotangent)? {
                Origin::Score => ("the derivative of the score", None),
                Origin::Layer(layer) => ("the gradient", Some(name(network, layer))),
                Origin::Unknown => ("the gradient", None),
            };
            return Err(Error::NotFinite { what: what.into(), place });
        }
    }
    Ok(())
}

/// The first row of `(N, …)` with NaN or infinity.
fn broken_row(values: &Tensor) -> Result<Option<usize>> {
    if all_finite(values)? {
        return Ok(None);
    }
    for row in 0..values.dim(0)? {
        if !all_finite(&row_of(values, row)?)? {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

fn row_of(values: &Tensor, row: usize) -> Result<Tensor> {
    Ok(values.narrow(0, row, 1)?)
}

fn name(network: &dyn Network, layer: LayerId) -> String {
    network.layers().get(layer.0).map_or_else(|| format!("layer #{}", layer.0), |info| format!("layer `{}`", info.name))
}

fn first_activation(network: &dyn Network, input: &Tensor) -> Result<Option<LayerId>> {
    let mut probe = First::default();
    network.forward(input, &mut probe)?;
    if let Some(layer) = probe.found.or(probe.masked) {
        return Ok(Some(layer));
    }
    // A faster executor may leave the range of numbers where the one that shows every layer just does not.
    for layers in probe.visited.chunks(AT_A_TIME) {
        for (&layer, activation) in layers.iter().zip(network.activations(input, layers)?) {
            if !all_finite(&activation)? {
                return Ok(Some(layer));
            }
        }
    }
    Ok(None)
}

/// Remembers the first layer with NaN or infinity.
#[derive(Default)]
struct First {
    found: Option<LayerId>,
    /// The first layer with minus infinity only: how attention is masked, where nothing else is found an overflow.
    masked: Option<LayerId>,
    /// All layers that were seen.
    visited: Vec<LayerId>,
}

impl Probe for First {
    fn visit(&mut self, layer: LayerId, activation: Tensor) -> Result<Tensor> {
        self.visited.push(layer);
        if self.found.is_none() && !all_finite(&activation)? {
            let values = activation.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
            if values.iter().all(|value| value.is_finite() || *value == f64::NEG_INFINITY) {
                self.masked = self.masked.or(Some(layer));
            } else {
                self.found = Some(layer);
            }
        }
        Ok(activation)
    }
}

enum Origin {
    Score,
    Layer(LayerId),
    Unknown,
}

fn first_gradient(
    network: &dyn Network,
    input: &Tensor,
    cotangent: &dyn Fn(&Tensor) -> Result<Tensor>,
) -> Result<Origin> {
    let mut probe = First::default();
    let output = network.forward(input, &mut probe)?;
    if !all_finite(&cotangent(&output)?)? {
        return Ok(Origin::Score);
    }
    for layers in probe.visited.rchunks(AT_A_TIME) {
        let taps: Vec<Tap> = layers.iter().map(|&layer| Tap::Layer(layer)).collect();
        let products = network.vjp(input, &taps, &mut |output| Ok(vec![cotangent(output)?]))?;
        let mut found = None;
        for (&layer, gradient) in layers.iter().zip(products.gradients.iter().flatten()) {
            if !all_finite(gradient)? {
                found = Some(layer);
            }
        }
        if let Some(layer) = found {
            return Ok(Origin::Layer(layer));
        }
    }
    Ok(Origin::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CandleModel, CandleNetwork, LayerInfo, Objective, Score, Target};
    use candle_core::Device;

    /// `sum(sqrt(x * x))` over three layers; the square root's derivative at 0 is infinite, and 0 times that is NaN.
    struct Roots(Vec<LayerInfo>);

    impl Roots {
        fn new() -> CandleNetwork<Self> {
            let layer = |name: &str| LayerInfo { name: name.into(), kind: name.into(), shape: vec![2] };
            CandleNetwork(Self(["square", "root", "double"].map(layer).to_vec()))
        }
    }

    impl CandleModel for Roots {
        fn layers(&self) -> &[LayerInfo] {
            &self.0
        }
        fn forward(&self, input: &Tensor, probe: &mut dyn Probe) -> Result<Tensor> {
            let square = probe.visit(LayerId(0), (input * input)?)?;
            let root = probe.visit(LayerId(1), square.sqrt()?)?;
            let double = probe.visit(LayerId(2), (root * 2.0)?)?;
            Ok(double.sum_keepdim(1)?)
        }
    }

    fn message(rows: &[[f32; 2]]) -> String {
        let roots = Roots::new();
        let input = Tensor::from_slice(rows.as_flattened(), (rows.len(), 2), &Device::Cpu).unwrap();
        let target = Target::Output(0);
        let objective = Objective::new(&roots, &target);
        objective.differentiate(&input, &[LayerId(0)], true).map_or_else(|error| error.to_string(), |_| "fine".into())
    }

    #[test]
    fn what_is_finite_passes() {
        assert_eq!(message(&[[1.0, 2.0], [3.0, -4.0]]), "fine");
        let large = Tensor::full(f32::MAX, (4, 2), &Device::Cpu).unwrap();
        assert!(all_finite(&large).unwrap() && all_finite(&large.narrow(0, 0, 0).unwrap()).unwrap());
    }

    #[test]
    fn inputs_are_named_with_their_place() {
        let expected = "the network's input has values that are not finite, first at element 1 of row 1 (inf)";
        assert_eq!(message(&[[1.0, 2.0], [3.0, f32::INFINITY]]), expected);
    }

    #[test]
    fn activations_are_named_with_the_first_layer() {
        // The square overflows.
        assert_eq!(
            message(&[[1.0, 2.0], [1e30, 1.0]]),
            "an activation has values that are not finite, first at layer `square`"
        );
        let roots = Roots::new();
        let target = Target::Output(0);
        let objective = Objective::new(&roots, &target);
        let large = Tensor::new(&[[1e30f32, 1.0]], &Device::Cpu).unwrap();
        for error in [objective.outputs(&large).unwrap_err(), objective.activations(&large, &[LayerId(1)]).unwrap_err()]
        {
            assert!(error.to_string().ends_with("first at layer `square`"), "{error}");
        }
    }

    #[test]
    fn gradients_are_named_with_the_layer_where_the_way_back_met_them() {
        let expected = "the gradient has values that are not finite, first at layer `square`";
        assert_eq!(message(&[[1.0, 2.0], [0.0, 1.0]]), expected);
    }

    #[test]
    fn a_score_without_a_derivative_is_named() {
        struct Root;
        impl Score for Root {
            fn score(&self, output: &Tensor) -> Result<Tensor> {
                Ok((output - output)?.sqrt()?.flatten_all()?)
            }
        }
        let (roots, input) = (Roots::new(), Tensor::new(&[[1f32, 2.0]], &Device::Cpu).unwrap());
        let error = Objective::new(&roots, &Root).input_gradient(&input).unwrap_err().to_string();
        assert!(error.starts_with("the derivative of the score has values"), "{error}");
    }
}
