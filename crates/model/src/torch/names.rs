//! Other names for torchvision's tensors.

use super::file::{Stored, contiguous};

/// Gives tensors the names and shapes that torchvision gives them now, where they are known under others:
/// `module.` in front of all (data-parallel training), `norm.1` for `norm1` (the first checkpoints of `DenseNet`), and the
/// head of timm's VGG, whose linear layers are convolutions with the same numbers in the same order.
pub(super) fn as_torchvision(tensors: &mut [Stored]) {
    if tensors.iter().all(|tensor| tensor.name.starts_with("module.")) {
        for tensor in tensors.iter_mut() {
            tensor.name.drain(.."module.".len());
        }
    }
    for tensor in tensors.iter_mut() {
        if let Some(name) = densenet(&tensor.name) {
            tensor.name = name;
        }
    }
    let has = |name: &str| tensors.iter().any(|tensor| tensor.name == name);
    if has("features.0.weight") && has("pre_logits.fc1.weight") && has("head.fc.weight") {
        for tensor in tensors.iter_mut() {
            for (theirs, ours) in [
                ("pre_logits.fc1.", "classifier.0."),
                ("pre_logits.fc2.", "classifier.3."),
                ("head.fc.", "classifier.6."),
            ] {
                if let Some(rest) = tensor.name.strip_prefix(theirs) {
                    tensor.name = format!("{ours}{rest}");
                    flatten(tensor);
                }
            }
        }
    }
}

/// `features.denseblock1.denselayer2.norm.1.weight` is now `….norm1.weight`.
fn densenet(name: &str) -> Option<String> {
    let (front, rest) = name.split_once(".denselayer")?;
    let mut parts = rest.split('.');
    let (layer, kind, number, what) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_old = ["norm", "conv"].contains(&kind) && ["1", "2"].contains(&number) && parts.next().is_none();
    is_old.then(|| format!("{front}.denselayer{layer}.{kind}{number}.{what}"))
}

/// Puts all axes but the first together, where the elements follow each other.
fn flatten(tensor: &mut Stored) {
    if tensor.shape.len() > 2 && tensor.strides == contiguous(&tensor.shape) {
        let columns = tensor.shape[1..].iter().product();
        tensor.shape = vec![tensor.shape[0], columns];
        tensor.strides = contiguous(&tensor.shape);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::Dtype;

    fn renamed(tensors: &[(&str, &[usize])]) -> Vec<(String, Vec<usize>)> {
        let stored = |(name, shape): &(&str, &[usize])| Stored {
            name: (*name).into(),
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            strides: contiguous(shape),
            place: 0,
        };
        let mut tensors: Vec<Stored> = tensors.iter().map(stored).collect();
        as_torchvision(&mut tensors);
        tensors.into_iter().map(|tensor| (tensor.name, tensor.shape)).collect()
    }

    #[test]
    fn older_and_other_names_become_torchvisions() {
        let dense = renamed(&[
            ("features.denseblock1.denselayer12.norm.1.running_mean", &[64]),
            ("features.denseblock1.denselayer12.conv.2.weight", &[32, 128, 3, 3]),
            ("features.denseblock1.denselayer12.norm1.weight", &[64]),
            ("features.norm0.weight", &[64]),
        ]);
        assert_eq!(dense[0].0, "features.denseblock1.denselayer12.norm1.running_mean");
        assert_eq!(dense[1].0, "features.denseblock1.denselayer12.conv2.weight");
        assert_eq!(dense[2].0, "features.denseblock1.denselayer12.norm1.weight");
        assert_eq!(dense[3].0, "features.norm0.weight");

        let timm: [(&str, &[usize]); 5] = [
            ("features.0.weight", &[64, 3, 3, 3]),
            ("pre_logits.fc1.weight", &[4096, 512, 7, 7]),
            ("pre_logits.fc1.bias", &[4096]),
            ("pre_logits.fc2.weight", &[4096, 4096, 1, 1]),
            ("head.fc.weight", &[1000, 4096]),
        ];
        let vgg = renamed(&timm);
        assert_eq!(vgg[0], ("features.0.weight".into(), vec![64, 3, 3, 3]));
        assert_eq!(vgg[1], ("classifier.0.weight".into(), vec![4096, 25088]));
        assert_eq!(vgg[2], ("classifier.0.bias".into(), vec![4096]));
        assert_eq!(vgg[3], ("classifier.3.weight".into(), vec![4096, 4096]));
        assert_eq!(vgg[4], ("classifier.6.weight".into(), vec![1000, 4096]));
        // Without a VGG's features they are another network's.
        assert_eq!(renamed(&timm[1..])[0].0, "pre_logits.fc1.weight");

        let parallel = renamed(&[("module.fc.weight", &[2, 3]), ("module.fc.bias", &[2])]);
        assert_eq!((parallel[0].0.as_str(), parallel[1].0.as_str()), ("fc.weight", "fc.bias"));
        assert_eq!(renamed(&[("module.fc.weight", &[2]), ("fc.bias", &[2])])[0].0, "module.fc.weight");
    }
}
