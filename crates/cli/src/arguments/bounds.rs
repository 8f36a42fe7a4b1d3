//! How large numbers on the command line may be: beyond, memory or a lifetime would not do, and one is told at once.

use std::num::NonZeroUsize;

/// Draws, steps and samples.
pub(crate) const MANY: usize = 1_000_000;
/// Rows that go through a network at a time.
pub(crate) const ROWS: usize = 65_536;
/// Pixels of a side.
pub(crate) const SIDE: usize = 16_384;

/// A whole number from 1 to `MOST`.
pub(crate) fn count<const MOST: usize>(text: &str) -> Result<NonZeroUsize, String> {
    let refuse = || format!("a whole number from 1 to {} is expected", grouped(MOST));
    whole::<MOST>(text).ok().and_then(NonZeroUsize::new).ok_or_else(refuse)
}

/// A whole number from 0 to `MOST`.
pub(crate) fn whole<const MOST: usize>(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number <= MOST);
    number.ok_or_else(|| format!("a whole number from 0 to {} is expected", grouped(MOST)))
}

/// As many threads as are of any use.
pub(crate) fn threads(text: &str) -> Result<NonZeroUsize, String> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let most = (8 * cores).max(16);
    let number = text.parse::<NonZeroUsize>().ok().filter(|number| number.get() <= most);
    number.ok_or_else(|| format!("a whole number from 1 to {most}, eight times this machine's cores, is expected"))
}

/// `1,000,000`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_bounds_is_told_the_bound() {
        assert_eq!(count::<MANY>("1000000").unwrap().get(), MANY);
        for wrong in ["0", "1000001", "1000000000000", "99999999999999999999999", "-1", "1.5", "", "a"] {
            assert_eq!(count::<MANY>(wrong).unwrap_err(), "a whole number from 1 to 1,000,000 is expected", "{wrong}");
        }
        assert_eq!((whole::<10>("0"), whole::<10>("10")), (Ok(0), Ok(10)));
        assert!(threads("100000").unwrap_err().contains("this machine's cores"));
        assert_eq!(threads("2").unwrap().get(), 2);
        assert_eq!((grouped(7), grouped(65_536)), ("7".into(), "65,536".into()));
    }
}
