//! `--memory`: how many rows may go through the network at a time for the whole process to stay within it.
//!
//! What is there already (the program, the weights) is asked of the system; what a pass of the network takes is asked of
//! the network, which has planned it; and what methods keep besides is counted in copies of the input and of the
//! layers. docs/results/reliability.md has what came of it, measured.

use crate::method::{Explainer, Settings};
use crate::size::ByteSize;
use faithful_core::{LayerId, Network, Result, Tap};
use std::num::NonZeroUsize;

/// Rows beyond which more bring no speed.
const MOST: usize = 1024;
/// Bytes of a number, f32.
const NUMBER: u64 = 4;
/// Bytes per pixel of a photo: itself, its overlay, the map at its size and the files under way.
const PER_PIXEL: u64 = 24;
/// Bytes that kernels and rayon keep for each thread.
const PER_THREAD: u64 = 6 << 20;

/// What one method does to memory: where it takes gradients, and how many copies of each row's input and layers it has
/// at its most.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Demand {
    taps: Vec<Tap>,
    input_copies: u64,
    layer_copies: u64,
    /// Copies, of one row, that do not grow with the batch: sums, references, the input's own activations.
    kept: u64,
}

impl Demand {
    /// A pass without gradients, of inputs that are made for it.
    pub(crate) const FORWARD: Self = Self { taps: Vec::new(), input_copies: 5, layer_copies: 0, kept: 4 };

    /// What `explainer` does at `layers`.
    ///
    /// # Errors
    /// A layer that is not there.
    pub(crate) fn of(
        explainer: &Explainer,
        network: &dyn Network,
        layers: &[LayerId],
        settings: &Settings,
    ) -> Result<Self> {
        let taps = match explainer {
            Explainer::Cam { method, .. } => method.taps(network, layers)?,
            Explainer::Gradient(_) if layers.is_empty() => vec![Tap::Input],
            Explainer::Gradient(_) => layers.iter().copied().map(Tap::Layer).collect(),
        };
        if taps.is_empty() {
            return Ok(Self::FORWARD);
        }
        // References that are drawn anew are not kept; those of a data set or a constant are.
        let references = settings.references(explainer);
        Ok(match explainer {
            Explainer::Cam { .. } => Self { taps, input_copies: 5, layer_copies: 4, kept: 4 + references },
            // Sums and terms are in f64.
            Explainer::Gradient(_) => Self { taps, input_copies: 14, layer_copies: 0, kept: 6 + references },
        })
    }

    /// The bytes that `rows` rows of an input `(…)` take, beyond what is there.
    fn bytes(&self, network: &dyn Network, input: &[usize], rows: usize) -> u64 {
        let count = |shape: &[usize]| shape.iter().map(|&side| side as u64).product::<u64>();
        let own = count(input);
        let scale = own.max(1) as f64 / network.input_shape().map_or(own, count).max(1) as f64;
        let layers: u64 = self
            .taps
            .iter()
            .filter_map(|tap| match tap {
                Tap::Layer(layer) => network.layers().get(layer.0).map(|layer| count(&layer.shape)),
                Tap::Input => None,
            })
            .sum();
        let layers = (layers as f64 * scale) as u64;
        let dims: Vec<usize> = std::iter::once(rows).chain(input.iter().copied()).collect();
        let pass =
            network.bytes_of_pass(&dims, &self.taps).unwrap_or_else(|| rows as u64 * estimated(network, scale, own));
        let copies = self.input_copies * own + self.layer_copies * layers;
        pass + NUMBER * (rows as u64 * copies + self.kept * (own + layers))
    }
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

/// A limit on the process's memory, and what was taken of it before the first row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    limit: u64,
    taken: u64,
}

/// How many rows fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fit {
    pub(crate) rows: NonZeroUsize,
    /// What one row takes with all that is there, where that alone is more than the limit.
    pub(crate) beyond: Option<ByteSize>,
}

impl Budget {
    /// The limit, when everything that stays is in memory.
    pub(crate) fn new(limit: ByteSize) -> Self {
        Self { limit: limit.0, taken: resident().unwrap_or(0) + PER_THREAD * rayon::current_num_threads() as u64 }
    }

    /// The most rows of an input `(…)` for which every demand stays within the limit, for a photo of `pixels`.
    pub(crate) fn fit(&self, network: &dyn Network, input: &[usize], pixels: u64, demands: &[Demand]) -> Fit {
        let needs = |rows: usize| {
            let own = demands.iter().map(|demand| demand.bytes(network, input, rows)).max().unwrap_or(0);
            self.taken + PER_PIXEL * pixels + own
        };
        let one = needs(1);
        if one > self.limit {
            return Fit { rows: NonZeroUsize::MIN, beyond: Some(ByteSize(one)) };
        }
        // The slope between few rows, which share work otherwise than many, and then the truth about what it promises.
        let (few, more) = (needs(2), needs(6));
        let per_row = (more.saturating_sub(few) / 4).max(1);
        let mut rows = if few > self.limit { 1 } else { (2 + (self.limit - few) / per_row).min(MOST as u64) as usize };
        while rows > 1 && needs(rows) > self.limit {
            rows -= rows.div_ceil(16);
        }
        Fit { rows: NonZeroUsize::new(rows).unwrap_or(NonZeroUsize::MIN), beyond: None }
    }
}

/// The bytes of this process that are in memory; `None` where the system does not say.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}
