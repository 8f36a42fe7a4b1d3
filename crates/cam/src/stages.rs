//! The resolutions of a network, and the layers that stand for them.

use faithful_core::{Error, LayerId, LayerInfo, Network, Result};

/// The layers of Poly-CAM as its authors choose them, from the finest to `target`: of every size of map the last before
/// it shrinks.
///
/// VGG16: `features.3`, `.8`, `.15`, `.22` and `.29`. `ResNet18`: `relu`, `layer1` to `layer4`; the input is none of them where
/// the first convolution strides, nor are pads, constants and what has the input's shape (a normalisation inside the network).
/// Where a network's target has no places, such as tokens, it is `target` alone.
///
/// # Errors
/// [`Error::UnknownLayer`] for a target that is not there.
pub fn stage_layers(network: &dyn Network, target: LayerId) -> Result<Vec<LayerId>> {
    let layers = network.layers();
    let own = layers.get(target.0);
    let own = own.ok_or_else(|| Error::UnknownLayer { name: format!("#{}", target.0), suggestions: Vec::new() })?;
    let Some(own) = places(own) else { return Ok(vec![target]) };
    let mut stages: Vec<([usize; 2], LayerId)> = Vec::new();
    for (index, layer) in layers[..target.0].iter().enumerate() {
        let Some(size) = feature_size(network, layer) else { continue };
        match stages.last_mut() {
            Some((known, last)) if *known == size => *last = LayerId(index),
            Some((known, _)) if size[0] > known[0] || size[1] > known[1] => {}
            _ => stages.push((size, LayerId(index))),
        }
    }
    // Earlier maps of the target's size, and smaller ones on a side way, are left out.
    stages.retain(|(size, _)| size[0] >= own[0] && size[1] >= own[1] && *size != own);
    Ok(stages.into_iter().map(|(_, layer)| layer).chain([target]).collect())
}

/// Height and width of a layer's map `(C, h, w)`, where it has more than one place.
pub(crate) fn places(layer: &LayerInfo) -> Option<[usize; 2]> {
    match *layer.shape.as_slice() {
        [_, height, width] if height * width > 1 => Some([height, width]),
        _ => None,
    }
}

/// [`places`] of a layer that a network has computed from its input: neither the input itself, nor a pad, a constant or
/// the input in another scale.
pub(crate) fn feature_size(network: &dyn Network, layer: &LayerInfo) -> Option<[usize; 2]> {
    let computed = !matches!(layer.kind.as_str(), "input" | "pad" | "constant");
    let scaled_input = network.input_shape().is_some_and(|shape| shape == layer.shape.as_slice());
    places(layer).filter(|_| computed && !scaled_input)
}
