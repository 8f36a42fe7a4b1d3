use candle_core::Tensor;
use faithful_core::Result;

/// Adds a share of a term to a sum, which begins with its first term.
pub(crate) fn accumulate(sum: &mut Option<Tensor>, term: &Tensor, share: f64) -> Result<()> {
    // A single path's map stays as it is, to the last bit.
    let term = if share == 1.0 { term.clone() } else { (term * share)? };
    *sum = Some(match sum.take() {
        Some(sum) => (sum + term)?,
        None => term,
    });
    Ok(())
}
