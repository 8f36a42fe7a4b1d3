use candle_core::Tensor;
use faithful_core::{Error, Result, Stream};
use std::ops::Range;
use std::sync::Arc;

/// Where a draw's baseline comes from: what may be computed once and used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Member `i` of the sampler's own fixed set. The same member is the same baseline for every image, every stream
    /// and every draw (for inputs of one shape): activations of it are computed once per run.
    Fixed(usize),
    /// The `i`-th baseline that the sampler derives from the input alone, without chance: the same for every draw of
    /// that image.
    Input(usize),
    /// The draw's own.
    Draw,
}

/// Gives the baselines `x'` that an input is compared with.
///
/// The contract: the same sampler, input and stream give the same draw `s`, bit for bit, whatever other draws are
/// asked for with it, in whatever order, on whatever thread.
pub trait BaselineSampler: Send + Sync {
    /// The baselines of `draws` for one input `(1, …)`: `(draws.len(), …)`, of the input's type and device.
    fn sample(&self, input: &Tensor, stream: &Stream, draws: Range<usize>) -> Result<Tensor>;

    /// Where each of `draws` comes from, without making it; the default says that every draw is its own.
    fn origins(&self, _stream: &Stream, draws: Range<usize>) -> Vec<Origin> {
        vec![Origin::Draw; draws.len()]
    }
}

/// A sampler is also what points to one.
macro_rules! forward_to_the_sampler {
    ($($pointer:ty),*) => {$(
        impl<S: BaselineSampler + ?Sized> BaselineSampler for $pointer {
            fn sample(&self, input: &Tensor, stream: &Stream, draws: Range<usize>) -> Result<Tensor> {
                (**self).sample(input, stream, draws)
            }

            fn origins(&self, stream: &Stream, draws: Range<usize>) -> Vec<Origin> {
                (**self).origins(stream, draws)
            }
        }
    )*};
}

forward_to_the_sampler!(Box<S>, Arc<S>, &S);

/// The shape of `n` baselines for `input`, which must be a single one `(1, C, …)`.
pub(crate) fn shape_of(input: &Tensor, n: usize) -> Result<Vec<usize>> {
    let mut shape = input.dims().to_vec();
    if shape.len() < 2 || shape[0] != 1 {
        return Err(Error::shape("the input of a baseline sampler", "one input (1, C, …)", &shape));
    }
    shape[0] = n;
    Ok(shape)
}

/// One value per channel as a tensor `(1, C, 1, …)` that broadcasts to the input; a single value serves all channels.
pub(crate) fn per_channel(input: &Tensor, values: &[f64], name: &'static str) -> Result<Tensor> {
    let shape = shape_of(input, 1)?;
    let channels = shape[1];
    let all: Vec<f64> = match values {
        [one] => vec![*one; channels],
        many if many.len() == channels => many.to_vec(),
        _ => {
            let reason = format!("{} values for {channels} channels: give one, or one per channel", values.len());
            return Err(Error::parameter(name, reason));
        }
    };
    let mut broadcast = vec![1; shape.len()];
    broadcast[1] = channels;
    Ok(Tensor::from_vec(all, broadcast, input.device())?.to_dtype(input.dtype())?)
}

/// `one` `(1, …)` repeated `n` times along the batch.
pub(crate) fn repeat(one: &Tensor, n: usize) -> Result<Tensor> {
    let mut shape = one.dims().to_vec();
    shape[0] = n;
    Ok(one.broadcast_as(shape)?.contiguous()?)
}
