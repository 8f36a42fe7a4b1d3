use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// What `work` gives, or `None` where it panics: for libraries that panic at damaged data, which is an error like any other.
///
/// Nothing is printed about such a panic. From the first call on, the process has a panic hook that passes over what is
/// caught here and hands every other panic to the hook that was there before.
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
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if !CATCHING.get() {
                before(info);
            }
        }));
    });
    let outer = CATCHING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(outer);
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn only_what_is_caught_goes_past_the_hook_that_was_there() {
        static SEEN: AtomicUsize = AtomicUsize::new(0);
        let ours =
            |info: &std::panic::PanicHookInfo<'_>| info.payload_as_str().is_some_and(|text| text == "of this test");
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if ours(info) {
                SEEN.fetch_add(1, Ordering::Relaxed);
            } else {
                before(info);
            }
        }));
        let fail = || panic!("of this test");
        assert_eq!(caught(|| -> usize { fail() }), None);
        assert_eq!(caught(|| caught(|| -> usize { fail() }).unwrap_or(7)), Some(7));
        assert_eq!(SEEN.load(Ordering::Relaxed), 0);
        assert!(catch_unwind(|| -> usize { fail() }).is_err());
        assert_eq!(SEEN.load(Ordering::Relaxed), 1);
    }
}
