//! `--memory`: how many rows may go through the network at a time for the whole process to stay within it.
//!
//! What is there already (the program, the weights) is asked of the system; what a pass of the network takes is asked of
//! the network, which has planned it; and what methods keep besides is counted in copies of the input and of the
//! layers. docs/results/reliability.md has what came of it, measured.

use crate::{ByteSize, Method, Settings};
use faithful_core::{Error, LayerId, Network, Objective, Result, Tap, Target};
use faithful_model::Graph;
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

/// Rows beyond which more bring no speed.
const MOST: usize = 1024;
/// Bytes of a number, f32.
const NUMBER: u64 = 4;
/// Bytes per pixel of a photo: itself, its overlay, the map at its size and the files under way.
const PER_PIXEL: u64 = 24;
/// What is there takes so many parts more as the allocator has it in pieces, each thread its own: one part of so many.
const IN_PIECES: u64 = 24;
/// Bytes that kernels and rayon keep for each thread.
const PER_THREAD: u64 = 4 << 20;

/// What one method does to memory: where it takes gradients, and how many copies of each row's input and layers it has
/// at its most.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    taps: Vec<Tap>,
    /// How many gradients a pass gives: one per class that is explained, where a method shares its passes.
    gradients: u64,
    input_copies: u64,
    layer_copies: u64,
    /// Copies, of one row, that do not grow with the batch: sums, references, the input's own activations.
    kept: u64,
    /// How many rows there are at most: one without draws.
    rows: usize,
    /// By how much its largest input is higher and wider than the photo.
    enlarged: f64,
}

impl Demand {
    /// A pass without gradients, of inputs that are made for it.
    pub const FORWARD: Self =
        Self { taps: Vec::new(), gradients: 1, input_copies: 4, layer_copies: 0, kept: 4, rows: MOST, enlarged: 1.0 };

    /// A step along the gradient at the input, which keeps the input, its best and their moments.
    pub fn ascent() -> Self {
        Self {
            taps: vec![Tap::Input],
            gradients: 1,
            input_copies: 4,
            layer_copies: 0,
            kept: 6,
            rows: MOST,
            enlarged: 1.0,
        }
    }

    /// What `method` does at `layers` for so many `classes` of a photo.
    ///
    /// # Errors
    /// A layer that is not there.
    pub fn of(
        method: &Method,
        network: &dyn Network,
        layers: &[LayerId],
        settings: &Settings,
        classes: usize,
    ) -> Result<Self> {
        let taps = match method {
            Method::Cam { method, .. } => method.taps(network, layers)?,
            Method::Attention(_) => attention_taps(network)?,
            Method::Gradient(_) if layers.is_empty() => vec![Tap::Input],
            Method::Gradient(_) => layers.iter().copied().map(Tap::Layer).collect(),
        };
        if taps.is_empty() {
            return Ok(Self::FORWARD);
        }
        // References that are drawn anew are not kept; those of a data set or a constant are.
        let references = settings.references(method);
        let rows = if method.draws() { settings.draws.map_or(MOST, NonZeroUsize::get) } else { 1 };
        Ok(match method {
            Method::Cam { method, .. } => {
                let enlarged = method.enlarges();
                let gradients = classes as u64;
                // Hyper Expected Grad-CAM takes its many layers one after the other, and sums in f64.
                let (layer_copies, more) = if method.has_parts() { (2, gradients + 4) } else { (5, 0) };
                let kept = 2 + 2 * gradients + references + more;
                Self { taps, gradients, input_copies: 2, layer_copies, kept, rows, enlarged }
            }
            // Matrices of tokens by tokens, and what candle keeps of a pass.
            Method::Attention(_) => Self {
                taps,
                gradients: classes as u64 + 1,
                input_copies: 2,
                layer_copies: 6,
                kept: 2,
                rows,
                enlarged: 1.0,
            },
            // Sums and terms are in f64; one class comes after the other.
            Method::Gradient(_) => Self {
                taps,
                gradients: 1,
                input_copies: 10,
                layer_copies: 0,
                kept: 6 + references,
                rows,
                enlarged: 1.0,
            },
        })
    }

    /// The bytes that `rows` rows of an input `(…)` take, beyond what is there.
    fn bytes(&self, network: &dyn Network, input: &[usize], rows: usize) -> u64 {
        let count = |shape: &[usize]| shape.iter().map(|&side| side as u64).product::<u64>();
        let larger =
            |(axis, side): (usize, &usize)| if axis == 0 { *side } else { (*side as f64 * self.enlarged) as usize };
        let input = &input.iter().enumerate().map(larger).collect::<Vec<_>>()[..];
        let own = count(input);
        let scale = own.max(1) as f64 / network.input_shape().map_or(own, count).max(1) as f64;
        let taps = self.taps.iter().filter_map(|tap| if let Tap::Layer(layer) = tap { Some(*layer) } else { None });
        let tapped: Vec<LayerId> = taps.collect();
        let layers = tapped.iter().filter_map(|layer| network.layers().get(layer.0));
        let layers = (layers.map(|layer| count(&layer.shape)).sum::<u64>() as f64 * scale) as u64;
        let dims: Vec<usize> = std::iter::once(rows).chain(input.iter().copied()).collect();
        let pass = network
            .bytes_of_pass(&dims, &self.taps, self.gradients as usize)
            .unwrap_or_else(|| rows as u64 * estimated(network, scale, own));
        // Of pictures that follow one another the first maps are kept, beside the pass of what changed in all of them.
        let similar = if self.taps.is_empty() && rows > 1 { pass } else { 0 };
        let copies = self.input_copies * own + self.layer_copies * layers;
        let batch = NonZeroUsize::new(rows).unwrap_or(NonZeroUsize::MIN);
        let objective = Objective::new(network, &Target::Output(0)).with_batch(batch);
        let together = objective.rows_together(&dims, &tapped, tapped.len() < self.taps.len());
        let together = together.get().min(self.rows.max(rows)) as u64;
        pass + similar + NUMBER * (together * copies + self.kept * (own + layers))
    }
}

fn attention_taps(network: &dyn Network) -> Result<Vec<Tap>> {
    let attentions = network.attentions()?;
    Ok(attentions.into_iter().map(|attention| Tap::Layer(attention.probabilities)).collect())
}

/// The bytes of a row where the network does not know: each activation is kept, a gradient of its size comes back, and
/// the largest layer unfolds its neighbourhoods once.
fn estimated(network: &dyn Network, scale: f64, input: u64) -> u64 {
    let count = |shape: &[usize]| shape.iter().map(|&side| side as u64).product::<u64>();
    let activations = network.layers().iter().map(|layer| count(&layer.shape));
    let (sum, largest) = activations.fold((0, 0), |(sum, largest), one| (sum + one, one.max(largest)));
    let values = (2 * sum + 9 * largest) as f64 * scale + 2.0 * input as f64;
    (values * network.dtype().size_in_bytes() as f64) as u64
}

/// The bytes of a graph's weights.
pub fn weight_bytes(graph: &Graph) -> u64 {
    let tensors = graph.nodes().iter().flat_map(|node| node.op.weights());
    tensors.map(|weight| (weight.elem_count() * weight.dtype().size_in_bytes()) as u64).sum()
}

/// A limit on the process's memory, and what is taken of it before the first row. Copies know of each other.
#[derive(Clone, Debug)]
pub struct Budget {
    limit: u64,
    /// How many explanations run at a time.
    together: u64,
    /// The weights of another network that will come beside.
    another: Option<u64>,
    /// What was taken when the limit was made: without prepared kernels.
    begun: u64,
    /// The most that was taken until then: a file that is read is there twice for a while.
    loading: u64,
    /// Asked of the system once, when the network has prepared its kernels: what runs leave behind is used again.
    taken: Arc<OnceLock<u64>>,
}

impl Budget {
    /// The limit; everything else that stays must be in memory when [`fit`](Self::fit) is called first.
    pub fn new(limit: ByteSize) -> Self {
        Self {
            limit: limit.0,
            together: 1,
            another: None,
            begun: field("VmRSS:").unwrap_or(0),
            loading: field("VmHWM:").unwrap_or(0),
            taken: Arc::default(),
        }
    }

    /// The same limit for so many explanations at a time, each with its own photo.
    pub fn shared_by(self, together: NonZeroUsize) -> Self {
        Self { together: together.get() as u64, ..self }
    }

    /// The limit less what another network of the same size will take later: so many bytes of weights, and its kernels.
    pub fn with_another(self, weights: u64) -> Self {
        Self { another: Some(weights), ..self }
    }

    fn taken(&self) -> u64 {
        let now = || {
            let there = field("VmRSS:").map_or(0, less_reused);
            there + there / IN_PIECES + PER_THREAD * rayon::current_num_threads() as u64
        };
        let now = *self.taken.get_or_init(now);
        now + self.another.map_or(0, |weights| weights + now.saturating_sub(self.begun))
    }

    /// The most rows of an input `(…)` for which every demand stays within the limit, for a photo of `pixels`; an error
    /// where one row alone, with all that is there, takes more.
    pub fn fit(&self, network: &dyn Network, input: &[usize], pixels: u64, demands: &[Demand]) -> Result<NonZeroUsize> {
        let needs = |rows: usize| {
            // In this order: to plan a pass is to prepare its kernels.
            let own = demands.iter().map(|demand| demand.bytes(network, input, rows)).max().unwrap_or(0);
            self.taken() + self.together * (PER_PIXEL * pixels + own)
        };
        let one = needs(1).max(self.loading);
        if one > self.limit {
            let (needed, allowed) = (ByteSize(one), ByteSize(self.limit));
            let reason = format!(
                "one row takes about {needed} and {allowed} are allowed: allow more, take a smaller photo or a lighter \
                 method, or set no limit"
            );
            return Err(Error::parameter("memory", reason));
        }
        // The slope between few rows, which share work otherwise than many, and then the truth about what it promises.
        let (few, more) = (needs(2), needs(6));
        let per_row = (more.saturating_sub(few) / 4).max(1);
        let mut rows = if few > self.limit { 1 } else { (2 + (self.limit - few) / per_row).min(MOST as u64) as usize };
        while rows > 1 && needs(rows) > self.limit {
            rows -= rows.div_ceil(16);
        }
        Ok(NonZeroUsize::new(rows).unwrap_or(NonZeroUsize::MIN))
    }
}

/// What is in memory less what was freed and is there for what comes: a quarter of it, as it lies in pieces.
fn less_reused(resident: u64) -> u64 {
    resident - (faithful_tensor::freed_memory() / 4).min(resident / 2)
}

/// Bytes that the system says of this process: in memory now, `VmRSS:`, or at the most, `VmHWM:`; `None` where it does not say.
fn field(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Tensor;
    use faithful_core::{CandleModel, CandleNetwork, LayerInfo, Probe};

    /// One layer.
    struct Plain(Vec<LayerInfo>);

    impl CandleModel for Plain {
        fn layers(&self) -> &[LayerInfo] {
            &self.0
        }
        fn forward(&self, input: &Tensor, _: &mut dyn Probe) -> Result<Tensor> {
            Ok(input.clone())
        }
        fn input_shape(&self) -> Option<&[usize]> {
            Some(&[3, 4, 4])
        }
    }

    /// What is known of its layers alone.
    fn guessed() -> CandleNetwork<Plain> {
        CandleNetwork(Plain(vec![LayerInfo { name: "l".into(), kind: "relu".into(), shape: vec![8, 2, 2] }]))
    }

    /// Takes a kibibyte per row and a tenth of it once.
    struct Planned(CandleNetwork<Plain>);

    impl Network for Planned {
        faithful_core::delegate_network!(self => self.0;
            layers, forward, dtype, device, input_shape, grid, evaluate, evaluate_similar, activations, resume,
            biases, attentions, announce, vjp, can_vjp_from, vjp_from, with_backward_rule, with_propagation);

        fn bytes_of_pass(&self, input: &[usize], _: &[Tap], gradients: usize) -> Option<u64> {
            Some(102 + 1024 * (input[0] * gradients) as u64)
        }
    }

    fn planned() -> Planned {
        Planned(guessed())
    }

    fn at_the_layer(gradients: u64) -> Demand {
        Demand {
            taps: vec![Tap::Layer(LayerId(0))],
            gradients,
            input_copies: 1,
            layer_copies: 2,
            kept: 3,
            rows: MOST,
            enlarged: 1.0,
        }
    }

    #[test]
    fn a_demand_is_the_pass_and_the_copies() {
        let (own, layer) = (48, 32);
        let bytes = at_the_layer(2).bytes(&planned(), &[3, 4, 4], 5);
        assert_eq!(bytes, 102 + 1024 * 10 + 4 * (5 * (own + 2 * layer) + 3 * (own + layer)));
        // Four times the area, where the network does not know its passes.
        let guessed = at_the_layer(1).bytes(&guessed(), &[3, 8, 8], 1);
        assert_eq!(
            guessed,
            4 * ((2 + 9) * 4 * layer + 2 * 4 * own) + 4 * (4 * own + 2 * 4 * layer + 3 * 4 * (own + layer))
        );
    }

    #[test]
    fn as_many_rows_go_as_fit_and_one_that_does_not_is_refused() {
        let budget = |limit| Budget {
            limit,
            together: 1,
            another: None,
            begun: 0,
            loading: 0,
            taken: Arc::new(OnceLock::from(1000)),
        };
        let fit = |limit| budget(limit).fit(&planned(), &[3, 4, 4], 10, &[Demand::FORWARD, at_the_layer(1)]);
        for rows in [1u64, 2, 7, 100, 1000] {
            // The forward pass takes more here: four copies of 48 numbers a row, and four that are kept.
            let passes = if rows > 1 { 2 } else { 1 };
            let needed = 1000 + 240 + passes * (102 + 1024 * rows) + 4 * 4 * 48 * (rows + 1);
            let found = fit(needed).unwrap().get() as u64;
            assert!(found <= rows && found * 20 >= rows * 17, "{rows}: {found:?}");
        }
        assert_eq!(fit(u64::MAX).unwrap().get(), MOST);
        let one = 1000 + 240 + 102 + 1024 + 4 * 4 * 48 * 2;
        assert_eq!(fit(one).unwrap().get(), 1);
        assert!(fit(one - 1).unwrap_err().to_string().contains("one row takes about"));
        // Two at a time have half of what is left each.
        let two = budget(1000 + 2 * (one - 1000)).shared_by(const { NonZeroUsize::new(2).unwrap() });
        assert_eq!(two.fit(&planned(), &[3, 4, 4], 10, &[Demand::FORWARD]).unwrap().get(), 1);
    }
}
