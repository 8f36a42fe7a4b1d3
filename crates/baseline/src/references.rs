use crate::{BaselineSampler, Origin};
use candle_core::Tensor;
use faithful_core::{LayerId, Objective, Result, Stream};
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
pub struct Reference {
    /// `(1, …)`.
    pub baseline: Tensor,
    /// The network's output `(1, K)`.
    pub output: Option<Tensor>,
    /// The activation `(1, …)` of each layer that was asked for.
    pub activations: BTreeMap<LayerId, Tensor>,
}

/// A baseline that has to be drawn or evaluated.
struct Missing {
    origin: Origin,
    /// The draw that it is.
    index: usize,
    baseline: Option<Tensor>,
    /// Which of the references that were asked for are it.
    places: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    origin: Origin,
    shape: Vec<usize>,
}

/// The baselines of one explanation, and what the network gives for them: knows what need not be computed again.
pub struct References<'a> {
    sampler: &'a dyn BaselineSampler,
    stream: &'a Stream,
    input: &'a Tensor,
    shared: Option<&'a BaselineCache>,
    /// What is fixed for this input, and what is fixed at all where no cache is shared.
    own: HashMap<Origin, Reference>,
}

impl<'a> References<'a> {
    /// The baselines that `sampler` draws for `input` `(1, …)`; those that are the same for every input are kept in
    /// `shared`, where there is one.
    pub fn new(
        sampler: &'a dyn BaselineSampler,
        stream: &'a Stream,
        input: &'a Tensor,
        shared: Option<&'a BaselineCache>,
    ) -> Self {
        Self { sampler, stream, input, shared, own: HashMap::new() }
    }

    /// The baselines of the sampler's draws `indices`, in their order.
    ///
    /// With `measured`, also the network's outputs and the activations of `layers`, which are evaluated together where
    /// they are not known yet; the network hears how many rows come.
    pub fn draw(
        &mut self,
        objective: &Objective<'_>,
        indices: &[usize],
        layers: &[LayerId],
        measured: bool,
    ) -> Result<Vec<Reference>> {
        let mut references: Vec<Option<Reference>> = vec![None; indices.len()];
        let mut missing: Vec<Missing> = Vec::new();
        for (place, &index) in indices.iter().enumerate() {
            let origin = self.sampler.origins(self.stream, index..index + 1).first().copied().unwrap_or(Origin::Draw);
            let known = self.known(origin);
            match known {
                Some(known) if !measured || complete(&known, layers) => references[place] = Some(known),
                known => {
                    let same = |other: &&mut Missing| other.origin == origin && origin != Origin::Draw;
                    match missing.iter_mut().find(same) {
                        Some(other) => other.places.push(place),
                        None => missing.push(Missing {
                            origin,
                            index,
                            baseline: known.map(|known| known.baseline),
                            places: vec![place],
                        }),
                    }
                }
            }
        }
        self.sample(&mut missing)?;
        let evaluated = if measured && !missing.is_empty() {
            let rows: Vec<&Tensor> = missing.iter().filter_map(|one| one.baseline.as_ref()).collect();
            objective.network().announce(rows.len(), 0);
            Some(objective.evaluate(&Tensor::cat(&rows, 0)?, layers)?)
        } else {
            None
        };
        for (row, Missing { origin, baseline, places, .. }) in missing.into_iter().enumerate() {
            let Some(baseline) = baseline else { continue };
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
            for place in places {
                references[place] = Some(reference.clone());
            }
        }
        Ok(references.into_iter().flatten().collect())
    }

    /// Draws the baselines that are not there, as many at a time as follow each other: samplers use all cores for many.
    fn sample(&self, missing: &mut [Missing]) -> Result<()> {
        let follows = |before: &Missing, one: &Missing| {
            before.baseline.is_none() && one.baseline.is_none() && one.index == before.index + 1
        };
        for run in missing.chunk_by_mut(follows) {
            let (first, last) = (run[0].index, run[run.len() - 1].index);
            if run[0].baseline.is_some() {
                continue;
            }
            let drawn = self.sampler.sample(self.input, self.stream, first..last + 1)?;
            for (row, one) in run.iter_mut().enumerate() {
                let baseline = drawn.narrow(0, row, 1)?;
                // What is kept does not keep the others of its run.
                one.baseline = Some(if one.origin == Origin::Draw { baseline } else { baseline.copy()? });
            }
        }
        Ok(())
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
    use crate::{DataSet, Gaussian, Mixture, Spread, normal};
    use candle_core::{DType, Device};
    use faithful_core::{CandleModel, CandleNetwork, LayerInfo, Probe, Target};

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
        let (network, score) = (CandleNetwork(Sums), Target::Output(0));
        let objective = Objective::new(&network, &score);
        for side in 2..40 {
            let input = zeros(1, side);
            let mut references = References::new(&sampler, &stream, &input, Some(&cache));
            let references = references.draw(&objective, &[0, 1, 2], &[], true).unwrap();
            assert!(references.iter().all(|reference| reference.output.is_some()));
            assert!(cache.len() <= 3 * SHAPES, "{} after {side}", cache.len());
        }
    }

    #[test]
    fn draws_are_the_samplers_whatever_is_known_and_asked_for_together() {
        let like = Tensor::zeros((1, 1, 2, 2), DType::F64, &Device::Cpu).unwrap();
        let fixed = DataSet::new(normal(&like, &Stream::new(1, "set"), 0..3).unwrap()).unwrap();
        let noise = Gaussian { spread: Spread::Absolute(1.0) };
        let mixed = Mixture::new(vec![(0.5, Box::new(fixed)), (0.5, Box::new(noise))]).unwrap();
        let (stream, network, score) = (Stream::new(3, "one"), CandleNetwork(Sums), Target::Output(0));
        let objective = Objective::new(&network, &score);
        let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let mut references = References::new(&mixed, &stream, &like, None);
        for indices in [vec![4, 5, 6, 2], vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 9], vec![9, 9, 8]] {
            let found = references.draw(&objective, &indices, &[], true).unwrap();
            for (index, found) in indices.iter().zip(&found) {
                let alone = values(&mixed.sample(&like, &stream, *index..index + 1).unwrap());
                assert_eq!(values(&found.baseline), alone, "draw {index}");
                assert_eq!(values(found.output.as_ref().unwrap()), [alone.iter().sum::<f64>()], "draw {index}");
            }
        }
    }
}
