use crate::similarity::{Similarity, similarity};
use candle_core::Tensor;
use faithful_core::{Network, Result};

/// How much of a map was left when a layer had lost its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSimilarity {
    /// The layer that was randomised last.
    pub layer: String,
    /// The similarity of its map to the trained network's.
    pub similarity: Similarity,
}

/// The parameter-randomisation check (Adebayo et al. 2018, section 3): how alike the trained network's map and the maps
/// of `randomised` networks are. An explanation of the network must change when the network does, so a lower similarity
/// is better; a method whose map stays, such as an edge detector, explains the image and not the network.
///
/// `randomised` gives networks with the name of the layer that was randomised last: each with all layers from the top
/// down to that one for the *cascading* check, or with that one alone for the *independent* check. The model crate's
/// `Graph::randomised` makes both. `explain` is the method with everything but the network held fixed: the input, the
/// class (that of the trained network) and its own random draws.
///
/// # Errors
/// Those of `randomised`, `explain` and [`similarity`].
pub fn parameter_randomisation<N: Network>(
    trained: &dyn Network,
    randomised: impl IntoIterator<Item = Result<(String, N)>>,
    explain: &mut dyn FnMut(&dyn Network) -> Result<Tensor>,
) -> Result<Vec<LayerSimilarity>> {
    let map = explain(trained)?;
    let compare = |next: Result<(String, N)>| {
        let (layer, network) = next?;
        Ok(LayerSimilarity { layer, similarity: similarity(&map, &explain(&network)?)? })
    };
    randomised.into_iter().map(compare).collect()
}

/// The data-label check (Adebayo et al. 2018, section 4): how alike the maps of two networks of one architecture are,
/// one `trained` on the true labels and one on `shuffled` labels, which it can only have learnt by heart. A lower
/// similarity is better: the map depends on what the network learnt.
///
/// # Errors
/// Those of `explain` and [`similarity`].
pub fn data_label(
    trained: &dyn Network,
    shuffled: &dyn Network,
    explain: &mut dyn FnMut(&dyn Network) -> Result<Tensor>,
) -> Result<Similarity> {
    similarity(&explain(trained)?, &explain(shuffled)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Sum;
    use candle_core::{Device, Tensor};
    use faithful_core::Error;

    fn map(values: &[f32]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    #[test]
    fn a_map_that_ignores_the_network_fails_and_one_that_turns_with_it_passes() {
        let randomised = || ["head", "stem"].map(|layer| Ok((layer.to_owned(), Sum::default())));
        let edges = map(&[0.0, 3.0, 1.0, 2.0]);
        let stays = parameter_randomisation(&Sum::default(), randomised(), &mut |_| Ok(edges.clone())).unwrap();
        assert_eq!(stays.iter().map(|layer| layer.layer.as_str()).collect::<Vec<_>>(), ["head", "stem"]);
        assert!(stays.iter().all(|layer| layer.similarity.spearman == 1.0));
        let mut sign = -1.0;
        let mut turns = |_: &dyn Network| {
            sign = -sign;
            Ok(edges.affine(sign, 0.0)?)
        };
        let turned = parameter_randomisation(&Sum::default(), randomised(), &mut turns).unwrap();
        assert_eq!(turned[0].similarity.spearman, -1.0);
        assert_eq!(turned[1].similarity.spearman, 1.0);
    }

    #[test]
    fn two_networks_are_compared_and_errors_come_through() {
        let mut maps = [map(&[1.0, 2.0, 3.0]), map(&[3.0, 2.0, 1.0])].into_iter();
        let found = data_label(&Sum::default(), &Sum::default(), &mut |_| Ok(maps.next().unwrap())).unwrap();
        assert_eq!((found.spearman, found.spearman_of_magnitudes), (-1.0, -1.0));
        let broken = [Err::<(String, Sum), _>(Error::parameter("layer", "none"))];
        assert!(parameter_randomisation(&Sum::default(), broken, &mut |_| Ok(map(&[1.0]))).is_err());
    }
}
