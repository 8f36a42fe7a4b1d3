use crate::{Decoding, SceneSpec, draw_scene, picture_tensor, preprocess, read_photo};
use candle_core::{Device, Tensor};
use faithful_core::{Error, Preprocessing, Result, Stream};
use rayon::prelude::*;
use std::ops::Range;
use std::path::Path;

/// Photos as one tensor `(n, C, H, W)`, in the order of their paths: baselines of a data set, or a batch to score.
///
/// All must have the same size as inputs, which a crop ensures; without one, they are cut to the network's
/// `input_size`.
///
/// # Errors
/// [`Error::Parameter`] for no photos; otherwise as [`read_photo`] and [`preprocess`], of the first photo that fails.
pub fn photo_tensor<P: AsRef<Path> + Sync>(
    photos: &[P],
    preprocessing: &Preprocessing,
    decoding: &Decoding,
    device: &Device,
) -> Result<Tensor> {
    if photos.is_empty() {
        return Err(Error::parameter("photos", "there are none"));
    }
    let crop = preprocessing.crop.unwrap_or(preprocessing.input_size);
    let preprocessing = Preprocessing { crop: Some(crop), ..preprocessing.clone() };
    let inputs: Vec<Tensor> = photos
        .par_iter()
        .map(|path| {
            let photo = read_photo(path.as_ref(), decoding)?;
            Ok(preprocess(&photo, &preprocessing, &Device::Cpu)?.tensor)
        })
        .collect::<Result<_>>()?;
    Ok(Tensor::cat(&inputs, 0)?.to_device(device)?)
}

/// Scenes `indices` of a stream as one tensor `(n, C, H, W)`; scene `i` is `draw_scene(spec, &mut stream.draw(i))`.
///
/// The scenes have the size of `spec` and are not resized.
///
/// # Errors
/// [`Error::Parameter`] for an empty range; otherwise as [`draw_scene`] and [`picture_tensor`].
pub fn scene_tensor(
    spec: &SceneSpec,
    stream: &Stream,
    indices: Range<usize>,
    preprocessing: &Preprocessing,
    device: &Device,
) -> Result<Tensor> {
    if indices.is_empty() {
        return Err(Error::parameter("scenes", "there are none"));
    }
    let inputs: Vec<Tensor> = indices
        .into_par_iter()
        .map(|index| picture_tensor(&draw_scene(spec, &mut stream.draw(index))?.picture, preprocessing, &Device::Cpu))
        .collect::<Result<_>>()?;
    Ok(Tensor::cat(&inputs, 0)?.to_device(device)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Picture, write_picture};

    #[test]
    fn photos_of_any_size_become_one_batch_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().join("a.png"), folder.path().join("b.png")];
        write_picture(&paths[0], &Picture::filled(20, 31, [255; 3])).unwrap();
        write_picture(&paths[1], &Picture::filled(40, 9, [0; 3])).unwrap();
        let small = Preprocessing {
            input_size: [8, 8],
            resize: Some(9),
            crop: None,
            mean: vec![0.5; 3],
            std: vec![0.5; 3],
            ..Preprocessing::default()
        };
        let batch = photo_tensor(&paths, &small, &Decoding::default(), &Device::Cpu).unwrap();
        assert_eq!(batch.dims(), [2, 3, 8, 8]);
        let means = batch.mean((1, 2, 3)).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(means, [1.0, -1.0]);
        let none: [&Path; 0] = [];
        assert!(photo_tensor(&none, &small, &Decoding::default(), &Device::Cpu).is_err());
    }

    #[test]
    fn a_batch_of_scenes_does_not_depend_on_how_it_is_cut() {
        let (spec, stream) = (SceneSpec::default(), Stream::new(1, "batch"));
        let take = |range| scene_tensor(&spec, &stream, range, &Preprocessing::default(), &Device::Cpu).unwrap();
        let (whole, part) = (take(0..4), take(2..4));
        let values = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(whole.narrow(0, 2, 2).unwrap()), values(part));
    }
}
