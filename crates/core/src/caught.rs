use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// What `work` gives, or `None` where it panics: for libraries that panic at damaged data, which is an error like any other.
///
/// The process's panic hook runs as ever. A program that wants nothing printed about such a panic has a hook that asks
/// [`panic_is_caught`].
///
/// `work` must leave nothing half done that is looked at after a panic.
///
/// ```
/// use faithful_core::caught;
///
/// assert_eq!(caught(|| 2 + 2), Some(4));
/// assert_eq!(caught(|| [1, 2, 3].iter().position(|&x| x == 4).unwrap()), None);
/// ```
pub fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    let outer = CATCHING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(outer);
    result.ok()
}

/// Whether a panic of this thread now ends in [`caught`], as an error that is reported elsewhere: for a program's panic hook.
///
/// ```
/// use std::panic::{set_hook, take_hook};
///
/// let before = take_hook();
/// set_hook(Box::new(move |info| {
///     if !faithful_core::panic_is_caught() {
///         before(info);
///     }
/// }));
/// ```
pub fn panic_is_caught() -> bool {
    CATCHING.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_runs_inside_is_caught() {
        assert!(!panic_is_caught());
        assert_eq!(caught(panic_is_caught), Some(true));
        let fail = || -> usize { std::panic::resume_unwind(Box::new("of this test")) };
        assert_eq!(caught(fail), None);
        assert!(!panic_is_caught());
        assert_eq!(caught(|| (caught(fail), panic_is_caught())), Some((None, true)));
    }
}
