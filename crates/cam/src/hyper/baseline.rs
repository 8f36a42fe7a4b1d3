use candle_core::Tensor;
use faithful_baseline::{BaselineSampler, Blurred, Origin};
use faithful_core::{Result, Stream};
use std::ops::Range;
use std::sync::Arc;

/// A sampler some of whose draws are the blurred input instead.
///
/// A baseline of one colour asks what the network sees at all; the blurred input asks what it sees in the details
/// alone. Averaging the two is more faithful than either. Draw `s` is the blurred one where `floor((s + 1) q)`
/// exceeds `floor(s q)`, so that every run of draws has its share `q`, whatever the seed.
pub(crate) struct PartlyBlurred {
    pub(crate) sampler: Arc<dyn BaselineSampler>,
    pub(crate) blurred: Blurred,
    /// In `[0, 1]`.
    pub(crate) share: f64,
}

/// Whether the baseline of a draw is the blurred input, which a `share` of them in `[0, 1]` has.
pub fn is_blurred(draw: usize, share: f64) -> bool {
    let before = |draw: usize| (draw as f64 * share).floor();
    before(draw + 1) > before(draw)
}

impl BaselineSampler for PartlyBlurred {
    fn sample(&self, input: &Tensor, stream: &Stream, draws: Range<usize>) -> Result<Tensor> {
        let rows = draws
            .map(|draw| {
                if is_blurred(draw, self.share) {
                    // The one width, whatever the draw.
                    self.blurred.sample(input, stream, 0..1)
                } else {
                    self.sampler.sample(input, stream, draw..draw + 1)
                }
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Tensor::cat(&rows, 0)?)
    }

    fn origins(&self, stream: &Stream, draws: Range<usize>) -> Vec<Origin> {
        draws
            .map(|draw| {
                let own = || self.sampler.origins(stream, draw..draw + 1).first().copied().unwrap_or(Origin::Draw);
                // A number that no sampler has for what it derives from the input itself.
                if is_blurred(draw, self.share) { Origin::Input(usize::MAX) } else { own() }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use faithful_baseline::Constant;

    #[test]
    fn every_run_of_draws_has_its_share() {
        let half =
            |share: f64| PartlyBlurred { sampler: Arc::new(Constant::zero()), blurred: Blurred::default(), share };
        let stream = Stream::new(0, "");
        let blurred = |share: f64, draws: Range<usize>| {
            let origins = half(share).origins(&stream, draws);
            origins.iter().map(|origin| u8::from(*origin == Origin::Input(usize::MAX))).collect::<Vec<_>>()
        };
        assert_eq!(blurred(0.5, 0..4), [0, 1, 0, 1]);
        assert_eq!(blurred(0.5, 3..5), [1, 0]);
        assert_eq!(blurred(0.0, 0..3), [0, 0, 0]);
        assert_eq!(blurred(1.0, 0..3), [1, 1, 1]);
        let ones = Tensor::ones((1, 1, 6, 6), DType::F64, &Device::Cpu).unwrap();
        let drawn = half(0.5).sample(&ones, &stream, 0..2).unwrap().mean((1, 2, 3)).unwrap().to_vec1::<f64>().unwrap();
        assert!(drawn[0] == 0.0 && (drawn[1] - 1.0).abs() < 1e-12, "{drawn:?}");
    }
}
