use crate::sampler::shape_of;
use crate::{BaselineSampler, Origin};
use candle_core::{DType, Tensor};
use faithful_core::{Error, Result, Stream};
use faithful_tensor::{Resize, resize2d};
use rand::Rng;
use std::ops::Range;

/// In which order a [`DataSet`]'s baselines are drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Every baseline once in an order that the image's stream decides, then all again in another order: what a
    /// shuffling loader does (Erion et al. 2021).
    #[default]
    Shuffled,
    /// Each draw is any of them, independently of the others.
    Replacement,
    /// These, one after the other, and again from the first: the user-set indices of the thesis's section 4.6.3.
    /// Every image gets the same.
    Sequential(Vec<usize>),
}

/// Baselines from a data set: the distribution that Expected Gradients and Expected Grad-CAM are meant for.
#[derive(Clone, Debug)]
pub struct DataSet {
    baselines: Tensor,
    order: Order,
}

impl DataSet {
    /// The baselines `(B, …)` in shuffled order.
    ///
    /// Inputs may have another height and width: the baselines are then resized bilinearly.
    pub fn new(baselines: Tensor) -> Result<Self> {
        if baselines.rank() < 2 || baselines.dims().contains(&0) {
            return Err(Error::shape("the baselines", "at least one baseline (B, C, …)", baselines.dims()));
        }
        Ok(Self { baselines, order: Order::default() })
    }

    /// The same baselines in another order.
    ///
    /// # Errors
    /// [`Error::Parameter`] for an empty list or an index outside the set.
    pub fn with_order(self, order: Order) -> Result<Self> {
        if let Order::Sequential(indices) = &order {
            let count = self.len();
            if indices.is_empty() {
                return Err(Error::parameter("indices", "the list of baselines to draw is empty"));
            }
            if let Some(index) = indices.iter().find(|index| **index >= count) {
                return Err(Error::parameter("indices", format!("{index} is outside 0..{count}, the baselines given")));
            }
        }
        Ok(Self { order, ..self })
    }

    /// How many baselines there are, at least one.
    #[allow(clippy::len_without_is_empty)] // A data set is never empty.
    pub fn len(&self) -> usize {
        self.baselines.dims()[0]
    }

    /// The baselines `(B, …)`.
    pub fn baselines(&self) -> &Tensor {
        &self.baselines
    }

    fn indices(&self, stream: &Stream, draws: Range<usize>) -> Vec<usize> {
        let count = self.len();
        match &self.order {
            Order::Sequential(indices) => draws.map(|draw| indices[draw % indices.len()]).collect(),
            Order::Replacement => {
                let stream = stream.derive("data set baseline");
                draws.map(|draw| stream.draw(draw).random_range(0..count as u64) as usize).collect()
            }
            Order::Shuffled => {
                let stream = stream.derive("data set order");
                let mut round = (usize::MAX, Vec::new());
                draws
                    .map(|draw| {
                        if round.0 != draw / count {
                            round = (draw / count, permutation(count, &stream, draw / count));
                        }
                        round.1[draw % count]
                    })
                    .collect()
            }
        }
    }
}

/// The numbers below `count` in an order that draw `index` of `stream` decides (Fisher and Yates).
pub(crate) fn permutation(count: usize, stream: &Stream, index: usize) -> Vec<usize> {
    let mut generator = stream.draw(index);
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        // u64, so that 32-bit machines draw the same.
        order.swap(last, generator.random_range(0..=last as u64) as usize);
    }
    order
}

impl BaselineSampler for DataSet {
    fn sample(&self, input: &Tensor, stream: &Stream, draws: Range<usize>) -> Result<Tensor> {
        let wanted = shape_of(input, draws.len())?;
        let indices: Vec<u32> = self.indices(stream, draws).into_iter().map(|index| index as u32).collect();
        let indices = Tensor::new(indices, self.baselines.device())?;
        let drawn = self.baselines.index_select(&indices, 0)?;
        let drawn = if drawn.dims() == wanted {
            drawn
        } else if let ([_, _, height, width], true) =
            (wanted.as_slice(), drawn.dims()[1] == wanted[1] && drawn.rank() == 4)
        {
            // f32 at least: halves lose the baselines' last bits on the way.
            let wide = if drawn.dtype() == DType::F64 { drawn } else { drawn.to_dtype(DType::F32)? };
            resize2d(&wide, [*height, *width], &Resize::default())?
        } else {
            let (kept, got) = (&wanted[1..], self.baselines.dims());
            return Err(Error::shape("the baselines", format!("(B, …) with the input's {kept:?}"), got));
        };
        Ok(drawn.to_dtype(input.dtype())?.to_device(input.device())?)
    }

    fn origins(&self, stream: &Stream, draws: Range<usize>) -> Vec<Origin> {
        self.indices(stream, draws).into_iter().map(Origin::Fixed).collect()
    }
}
