//! Repacked weights: made at their first use, shared by all plans of a graph.

use super::kernel::{Convolution, Kernel, numbers};
use super::step::{LinearWeight, with_elements};
use crate::{Graph, Op};
use candle_core::Tensor;
use faithful_core::Result;
use faithful_kernel::{Factors, Isa, Linear, RecurrentCell, RecurrentLayer};
use faithful_tensor::{Conv, Direction, PadMode, Recurrent};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Repacked weights, shared by all plans of a graph.
#[derive(Debug, Default)]
pub(super) struct Kernels {
    convolutions: Packed<KernelKey, Kernel>,
    /// Rounded ones, by their nodes.
    linear: Packed<usize, Linear>,
    recurrent: Packed<usize, RecurrentLayer>,
}

type Packed<K, V> = Mutex<HashMap<K, Arc<V>>>;

/// What is kept under `key`, made at its first use.
fn first_use<K: Eq + Hash, V>(packed: &Packed<K, V>, key: K, make: impl FnOnce() -> Result<V>) -> Result<Arc<V>> {
    let kept = || packed.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = kept().get(&key) {
        return Ok(found.clone());
    }
    // Without the lock: repacking is parallel, and a thread that waits in it may take up work that comes here again.
    let made = Arc::new(make()?);
    Ok(kept().entry(key).or_insert(made).clone())
}

/// What is folded, and whether the kernel is the reverse pass's.
type KernelKey = (Folded, bool);

/// A convolution node, and the nodes that are folded into it: the padding before it and the batch normalisation behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Folded {
    pub(super) padding: Option<usize>,
    pub(super) convolution: usize,
    pub(super) normalization: Option<usize>,
}

impl Kernels {
    /// The kernel of a convolution, repacked at its first use.
    pub(super) fn get(&self, graph: &Graph, isa: Isa, folded: Folded, back: bool) -> Result<Arc<Kernel>> {
        first_use(&self.convolutions, (folded, back), || {
            let (weight, mut conv) = match &graph.nodes[folded.convolution].op {
                Op::Conv2d { weight, conv, .. } => (weight.clone(), *conv),
                // A series is a map of one line.
                Op::Conv1d { weight, conv, .. } => (weight.unsqueeze(2)?, *conv),
                // A product of every pixel.
                Op::Linear { weight, .. } => (weight.unsqueeze(2)?.unsqueeze(3)?, Conv::default()),
                _ => unreachable!("only convolutions are folded"),
            };
            let scale = folded.normalization.map(|node| match &graph.nodes[node].op {
                Op::BatchNorm { scale, .. } => scale,
                _ => unreachable!("only batch normalisations are folded"),
            });
            if let Some(more) = folded.padding.and_then(|node| zeros_around(&graph.nodes[node].op)) {
                conv.padding = std::array::from_fn(|side| conv.padding[side] + more[side]);
            }
            let convolution = Convolution { weight: &weight, conv: &conv, scale };
            Ok(if back { convolution.back(isa)? } else { convolution.forward(isa, graph.factors)? })
        })
    }

    /// The weights of the linear layer `node`, rounded at their first use where the graph asks for it.
    pub(super) fn linear(&self, graph: &Graph, isa: Isa, node: usize, weight: &Tensor) -> Result<LinearWeight> {
        if graph.factors == Factors::F32 {
            return Ok(LinearWeight::Plain(weight.clone()));
        }
        let rounded = first_use(&self.linear, node, || {
            let size = weight.dims2()?;
            Ok(with_elements(weight, |weight| Linear::new(isa, graph.factors, weight, [size.0, size.1]))?)
        });
        Ok(LinearWeight::Rounded(rounded?))
    }

    /// The recurrent layer `node`, repacked at its first use.
    pub(super) fn recurrent(
        &self,
        isa: Isa,
        node: usize,
        cell: RecurrentCell,
        weights: &Recurrent,
        direction: Direction,
    ) -> Result<Arc<RecurrentLayer>> {
        first_use(&self.recurrent, node, || {
            let (rows, inputs) = weights.input_weight.dims2()?;
            let bias = |bias: &Option<Tensor>| bias.as_ref().map_or_else(|| Ok(vec![0.0; rows]), numbers);
            let (input_bias, hidden_bias) = (bias(&weights.input_bias)?, bias(&weights.hidden_bias)?);
            let (input, hidden) = (numbers(&weights.input_weight)?, numbers(&weights.hidden_weight)?);
            let sizes = [inputs, weights.hidden_weight.dim(1)?];
            Ok(RecurrentLayer::new(isa, cell, sizes, [&input, &hidden], [&input_bias, &hidden_bias], direction)?)
        })
    }
}

/// How many zeros a node puts around maps, `[top, left, bottom, right]` as a convolution's padding.
pub(super) fn zeros_around(op: &Op) -> Option<[usize; 4]> {
    let Op::Pad { pads, mode: PadMode::Constant(0.0) } = op else { return None };
    let [[0, 0], [0, 0], [top, bottom], [left, right]] = pads[..] else { return None };
    let sides = [top, left, bottom, right].map(usize::try_from);
    let [Ok(top), Ok(left), Ok(bottom), Ok(right)] = sides else { return None };
    Some([top, left, bottom, right])
}
