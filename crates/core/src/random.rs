use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A source of random generators in which draw `s` of an image is the same whatever the batch, the thread, the
/// order or the shard.
///
/// A stream belongs to a seed and a key (the image: its file name or content); [`Stream::draw`] gives an independent
/// generator for each draw. The generator is `ChaCha8`, the same on every platform.
///
/// ```
/// use faithful_core::Stream;
/// use rand::Rng;
/// let stream = Stream::new(7, "heron.jpg");
/// let third: f32 = stream.draw(2).random();
/// let _first: f32 = stream.draw(0).random();
/// assert_eq!(third, Stream::new(7, "heron.jpg").draw(2).random::<f32>());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    key: [u8; 32],
}

impl Stream {
    /// The stream of `seed` for the thing that `key` names.
    pub fn new(seed: u64, key: impl AsRef<[u8]>) -> Self {
        let mut words = [seed ^ 0x9e37_79b9_7f4a_7c15, !seed, 0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344];
        for (i, &byte) in key.as_ref().iter().enumerate() {
            let word = &mut words[i % 4];
            // FNV-1a per lane: spreads keys that differ in a single byte.
            *word = (*word ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            *word ^= *word >> 29;
        }
        words[0] ^= key.as_ref().len() as u64;
        let mut seedling = [0; 32];
        for (chunk, word) in seedling.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        let mut key = [0; 32];
        ChaCha8Rng::from_seed(seedling).fill_bytes(&mut key);
        Self { key }
    }

    /// The generator of draw `index`.
    pub fn draw(&self, index: usize) -> ChaCha8Rng {
        let mut generator = ChaCha8Rng::from_seed(self.key);
        generator.set_stream(index as u64);
        generator
    }

    /// A stream that is independent of this one, for another purpose named by `key` (baselines, alphas, noise).
    pub fn derive(&self, key: impl AsRef<[u8]>) -> Self {
        let mut bytes = self.key.to_vec();
        bytes.extend_from_slice(key.as_ref());
        Self::new(0, bytes)
    }
}
