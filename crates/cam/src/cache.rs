use candle_core::Tensor;
use faithful_baseline::{BaselineSampler, Origin};
use faithful_core::{LayerId, Network, Result, Stream};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

/// What depends on a baseline sampler alone: its fixed members, the network's outputs for them and the activations
/// of the layers that were asked for, each computed once per run (thesis, 6.1.4).
///
/// Share one between all images, classes, layers and mini-batches of a run *with one network and one sampler*; it
/// may be used from several threads. Inputs of several shapes may share it too; what belongs to more than a few shapes is
/// forgotten, or photos of sizes of their own would fill the memory.
#[derive(Debug, Default)]
pub struct BaselineCache {
    kept: Mutex<HashMap<Key, Reference>>,
}

/// Of how many shapes baselines are kept.
const SHAPES: usize = 4;

impl BaselineCache {
    /// How many baselines are kept.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing is kept yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything: before another network or sampler.
    pub fn clear(&self) {
        self.lock().clear();
    }

    // Whatever a panicking thread had inserted is complete, so a poisoned lock is no reason to stop.
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Reference>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A baseline and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    /// `(1, …)`.
    pub(crate) baseline: Tensor,
    /// The network's output `(1, K)`.
    pub(crate) output: Option<Tensor>,
    /// `(1, C, h, w)` per layer.
    pub(crate) activations: BTreeMap<LayerId, Tensor>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    origin: Origin,
    shape: Vec<usize>,
}

/// The baselines of one explanation: knows the sampler, and what need not be computed again.
pub(crate) struct Baselines<'a> {
    sampler: &'a dyn BaselineSampler,
    stream: &'a Stream,
    input: &'a Tensor,
    shared: Option<&'a BaselineCache>,
    /// What is fixed for this input, and what is fixed at all where no cache is shared.
    own: HashMap<Origin, Reference>,
}

impl<'a> Baselines<'a> {
    pub(crate) fn new(
        sampler: &'a dyn BaselineSampler,
        stream: &'a Stream,
        input: &'a Tensor,
        shared: Option<&'a BaselineCache>,
    ) -> Self {
        Self { sampler, stream, input, shared, own: HashMap::new() }
    }

    /// The baselines of the sampler's draws `indices`, in their order.
    ///
    /// With `measured`, also the network's outputs and the activations of `layers`, which are evaluated together in
    /// one batch where they are not known yet.
    pub(crate) fn references(
        &mut self,
        network: &dyn Network,
        indices: &[usize],
        layers: &[LayerId],
        measured: bool,
    ) -> Result<Vec<Reference>> {
        let mut references: Vec<Option<Reference>> = vec![None; indices.len()];
        // Rows that have to be evaluated, and which draws wait for each.
        let mut missing: Vec<(Origin, Tensor, Vec<usize>)> = Vec::new();
        for (place, &index) in indices.iter().enumerate() {
            let origin = self.sampler.origins(self.stream, index..index + 1).first().copied().unwrap_or(Origin::Draw);
            let known = self.known(origin);
            match known {
                Some(known) if !measured || complete(&known, layers) => references[place] = Some(known),
                known => {
                    let awaited = missing.iter_mut().find(|(other, ..)| *other == origin && origin != Origin::Draw);
                    if let Some((_, _, waiting)) = awaited {
                        waiting.push(place);
                        continue;
                    }
                    let baseline = match known {
                        Some(known) => known.baseline,
                        None => self.sampler.sample(self.input, self.stream, index..index + 1)?,
                    };
                    missing.push((origin, baseline, vec![place]));
                }
            }
        }
        if missing.is_empty() {
            return Ok(references.into_iter().flatten().collect());
        }
        let evaluated = if measured {
            let rows: Vec<&Tensor> = missing.iter().map(|(_, baseline, _)| baseline).collect();
            network.announce(rows.len(), 0);
            Some(network.evaluate(&Tensor::cat(&rows, 0)?, layers)?)
        } else {
            None
        };
        for (row, (origin, baseline, waiting)) in missing.into_iter().enumerate() {
            let reference = match &evaluated {
                None => Reference { baseline, output: None, activations: BTreeMap::new() },
                Some((output, activations)) => {
                    let pairs = layers.iter().zip(activations);
                    let activations = pairs
                        .map(|(layer, activation)| Ok((*layer, activation.narrow(0, row, 1)?.copy()?)))
                        .collect::<Result<_>>()?;
                    Reference { baseline, output: Some(output.narrow(0, row, 1)?.copy()?), activations }
                }
            };
            self.keep(origin, &reference);
            for place in waiting {
                references[place] = Some(reference.clone());
            }
        }
        Ok(references.into_iter().flatten().collect())
    }

    fn known(&self, origin: Origin) -> Option<Reference> {
        match (origin, self.shared) {
            (Origin::Fixed(_), Some(shared)) => shared.lock().get(&self.key(origin)).cloned(),
            _ => self.own.get(&origin).cloned(),
        }
    }

    fn keep(&mut self, origin: Origin, reference: &Reference) {
        match (origin, self.shared) {
            (Origin::Draw, _) => {}
            (Origin::Fixed(_), Some(shared)) => {
                let (mut kept, key) = (shared.lock(), self.key(origin));
                let shapes: HashSet<&[usize]> = kept.keys().map(|known| known.shape.as_slice()).collect();
                if shapes.len() >= SHAPES && !shapes.contains(key.shape.as_slice()) {
                    kept.clear();
                }
                // What is known of other layers stays.
                let entry = kept.entry(key).or_insert_with(|| reference.clone());
                entry.output = entry.output.take().or_else(|| reference.output.clone());
                for (layer, activation) in &reference.activations {
                    entry.activations.entry(*layer).or_insert_with(|| activation.clone());
                }
            }
            _ => {
                self.own.insert(origin, reference.clone());
            }
        }
    }

    fn key(&self, origin: Origin) -> Key {
        Key { origin, shape: self.input.dims().to_vec() }
    }
}

fn complete(reference: &Reference, layers: &[LayerId]) -> bool {
    reference.output.is_some() && layers.iter().all(|layer| reference.activations.contains_key(layer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use faithful_baseline::DataSet;
    use faithful_core::{CandleModel, CandleNetwork, LayerInfo, Probe};

    struct Sums;

    impl CandleModel for Sums {
        fn layers(&self) -> &[LayerInfo] {
            &[]
        }

        fn forward(&self, input: &Tensor, _: &mut dyn Probe) -> Result<Tensor> {
            Ok(input.flatten_from(1)?.sum_keepdim(1)?)
        }
    }

    #[test]
    fn photos_of_many_sizes_do_not_fill_the_memory() {
        let zeros = |rows: usize, side: usize| Tensor::zeros((rows, 1, side, side), DType::F32, &Device::Cpu).unwrap();
        let (sampler, cache, stream) =
            (DataSet::new(zeros(3, 4)).unwrap(), BaselineCache::default(), Stream::new(0, ""));
        for side in 2..40 {
            let input = zeros(1, side);
            let mut baselines = Baselines::new(&sampler, &stream, &input, Some(&cache));
            let references = baselines.references(&CandleNetwork(Sums), &[0, 1, 2], &[], true).unwrap();
            assert!(references.iter().all(|reference| reference.output.is_some()));
            assert!(cache.len() <= 3 * SHAPES, "{} after {side}", cache.len());
        }
    }
}
