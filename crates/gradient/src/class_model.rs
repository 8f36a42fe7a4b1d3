use crate::sampled::single;
use candle_core::{DType, Device, Tensor};
use faithful_core::{Error, Objective, Result, Stream};
use faithful_tensor::gaussian_blur2d;
use rand::Rng;
use std::num::NonZeroUsize;

/// The parameters of [`class_model`].
#[derive(Clone, Debug, PartialEq)]
pub struct ClassModel {
    /// How many steps of gradient ascent.
    pub steps: NonZeroUsize,
    /// How far a step goes: the root mean square of its change, in the network's input space. The gradient's own
    /// length varies over orders of magnitude between networks and along the way.
    pub rate: f64,
    /// The weight of the L2 prior, `lambda` of Eq. 16, in score per squared unit of input.
    pub l2: f64,
    /// Each step sees the image shifted by up to this many pixels each way, at random.
    pub jitter: usize,
    /// The standard deviation in pixels of the blur that is applied every `blur_every` steps; 0 for none.
    pub blur: f64,
    /// How many steps lie between two blurs.
    pub blur_every: NonZeroUsize,
    /// The range that values are held to, lowest and highest per channel, as of real images; nothing for no bounds.
    pub range: Option<(Vec<f64>, Vec<f64>)>,
}

impl ClassModel {
    /// The defaults for images of `[height, width]`: jitter and blur grow with the shorter side, 8 pixels and 1 pixel at
    /// 224. Chosen by eye on one class each of an ImageNet `MobileNetV2` at 224 and of a small network at 96: less of both
    /// gives higher logits and pictures that are mostly noise to people.
    pub fn for_size(size: [usize; 2]) -> Self {
        let side = size[0].min(size[1]);
        Self { jitter: side / 28, blur: side as f64 / 224.0, ..Self::default() }
    }
}

impl Default for ClassModel {
    /// 200 steps of 0.1, a weak prior, and what suits images of 224 x 224.
    fn default() -> Self {
        Self {
            steps: const { NonZeroUsize::new(200).unwrap() },
            rate: 0.1,
            l2: 1e-3,
            jitter: 8,
            blur: 1.0,
            blur_every: const { NonZeroUsize::new(4).unwrap() },
            range: None,
        }
    }
}

/// What [`class_model`] has found.
#[derive(Clone, Debug)]
pub struct ClassImage {
    /// The image `(1, C, H, W)`, in the network's input space.
    pub image: Tensor,
    /// The score before each step and at the end.
    pub scores: Vec<f64>,
}

/// Class-model visualisation: the image that the network takes for its idea of the class,
/// `argmax S(I) - lambda |I|^2`, by gradient ascent (Simonyan et al. 2013; thesis, Eq. 16).
///
/// `start` `(1, C, H, W)` is where the ascent begins: zeros, noise or a photo. The score should be a logit: a
/// probability also rises when the other classes fall. Jitter (Mordvintsev et al. 2015) and blur (Yosinski et al. 2015)
/// keep high frequencies down that no real image has. Where the gradient is zero the image stays as it is.
/// `observe` is told each step's number and score, for a progress bar.
pub fn class_model(
    objective: &Objective,
    start: &Tensor,
    stream: &Stream,
    parameters: &ClassModel,
    observe: &mut dyn FnMut(usize, f64),
) -> Result<ClassImage> {
    single(start)?;
    let (_, channels, height, width) =
        start.dims4().map_err(|_| Error::shape("where the ascent begins", "an image (1, C, H, W)", start.dims()))?;
    for (name, value) in [("rate", parameters.rate), ("l2", parameters.l2), ("blur", parameters.blur)] {
        if !value.is_finite() || value < 0.0 {
            return Err(Error::parameter(name, format!("{value}: a finite number of at least 0 is needed")));
        }
    }
    let range = match &parameters.range {
        Some((low, high)) if low.len() == channels && high.len() == channels => {
            let bound = |values: &[f64]| -> Result<Tensor> {
                let bound = Tensor::from_slice(values, (1, channels, 1, 1), &Device::Cpu)?.to_dtype(start.dtype())?;
                Ok(bound.to_device(start.device())?.broadcast_as(start.shape())?.contiguous()?)
            };
            Some((bound(low)?, bound(high)?))
        }
        Some((low, high)) => {
            let reason = format!("{} and {} bounds for {channels} channels", low.len(), high.len());
            return Err(Error::parameter("range", reason));
        }
        None => None,
    };
    let taps = |size: usize| 2 * ((3.0 * parameters.blur).ceil() as usize).clamp(1, size.max(2) - 1) + 1;
    let jitter = parameters.jitter as i64;
    let stream = stream.derive("class model");
    let mut image = start.detach();
    let mut scores = Vec::with_capacity(parameters.steps.get() + 1);
    for step in 0..parameters.steps.get() {
        let mut generator = stream.draw(step);
        let mut shift = |size: usize| generator.random_range(-jitter..=jitter).rem_euclid(size as i64) as i32;
        let (down, right) = (shift(height), shift(width));
        let shifted = image.roll(down, 2)?.roll(right, 3)?.contiguous()?;
        let differentiated = objective.differentiate(&shifted, &[], true)?;
        let score = differentiated.scores.to_dtype(DType::F64)?.to_vec1::<f64>()?[0];
        observe(step, score);
        scores.push(score);
        let gradient = differentiated
            .input_gradient
            .ok_or_else(|| Error::shape("the input's gradient", "one for the input", &[]))?
            .roll(-down, 2)?
            .roll(-right, 3)?;
        let direction = (gradient - (&image * (2.0 * parameters.l2))?)?;
        let size = direction.to_dtype(DType::F64)?.sqr()?.mean_all()?.to_scalar::<f64>()?.sqrt();
        if !size.is_finite() {
            return Err(Error::NotFinite { what: "the gradient".into(), place: Some(format!("step {step}")) });
        }
        if size > 0.0 {
            image = (image + (direction * (parameters.rate / size))?)?;
        }
        if parameters.blur > 0.0 && (step + 1) % parameters.blur_every.get() == 0 {
            image = gaussian_blur2d(&image.contiguous()?, [taps(height), taps(width)], [parameters.blur; 2])?;
        }
        if let Some((low, high)) = &range {
            image = image.maximum(low)?.minimum(high)?;
        }
    }
    scores.push(crate::sampled::scores(objective, &image)?[0]);
    Ok(ClassImage { image, scores })
}
