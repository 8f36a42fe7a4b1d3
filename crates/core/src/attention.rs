//! Where a transformer attends: what methods that look at attention ask of a network.

use crate::{LayerId, Network, Probe, Result};
use candle_core::{Tensor, Var};

/// An attention of a network: a softmax of scores, and the values that are weighted by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// The layer of the probabilities: `(N, heads, queries, keys)`, or `(N, queries, keys)` of one head. Within windows it has
    /// more axes. Each row of keys sums to one.
    pub probabilities: LayerId,
    /// The layer with the tokens behind this attention's block, `(N, T, C)` or `(N, C, T)`: the last sum before the next attention
    /// through which everything goes. `None` where there is no such layer.
    pub tokens: Option<LayerId>,
}

/// A stretch of a network whose gradient is taken by itself: from `end`, with a cotangent of its activation, to `start`.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// The layer whose gradient is wanted.
    pub start: LayerId,
    /// The layer that it is a gradient of.
    pub end: LayerId,
    /// The cotangent, of the shape of the end's activation.
    pub cotangent: Tensor,
}

/// For each of `stretches`, the gradient of `sum(cotangent * activation(end))` at its start, from one forward pass. Nothing is
/// followed behind an end: stretches lie one after the other, and each start is before its end.
///
/// # Errors
/// Those of the network, and of a layer that it does not show.
pub fn stretch_gradients<N: Network + ?Sized>(
    network: &N,
    input: &Tensor,
    stretches: &[Stretch],
) -> Result<Vec<Tensor>> {
    let mut probe = Apart { stretches, variables: vec![None; stretches.len()], gradients: vec![None; stretches.len()] };
    network.forward(&input.detach(), &mut probe)?;
    let pairs = stretches.iter().zip(probe.gradients);
    pairs.map(|(stretch, found)| found.ok_or_else(|| crate::candle_model::unvisited(network, stretch.end))).collect()
}

struct Apart<'a> {
    stretches: &'a [Stretch],
    variables: Vec<Option<Tensor>>,
    gradients: Vec<Option<Tensor>>,
}

impl Probe for Apart<'_> {
    fn visit(&mut self, layer: LayerId, activation: Tensor) -> Result<Tensor> {
        let mut current = activation;
        for (place, stretch) in self.stretches.iter().enumerate() {
            if stretch.end == layer
                && let Some(variable) = &self.variables[place]
            {
                let store = (&current * &stretch.cotangent)?.sum_all()?.backward()?;
                self.gradients[place] = Some(crate::candle_model::gradient_of(&store, variable)?);
                current = current.detach();
            }
        }
        for (place, _) in self.stretches.iter().enumerate().filter(|(_, stretch)| stretch.start == layer) {
            let variable = Var::from_tensor(&current.detach())?.into_inner();
            self.variables[place] = Some(variable.clone());
            current = variable;
        }
        Ok(current)
    }
}
