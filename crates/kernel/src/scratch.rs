use super::map::Buffer;
use std::cell::RefCell;

thread_local! {
    /// Buffers that this thread's finished tasks left behind.
    static SPARE: RefCell<Vec<Buffer>> = const { RefCell::new(Vec::new()) };
    static SPARE_STARTS: RefCell<Vec<Vec<*const f32>>> = const { RefCell::new(Vec::new()) };
}

/// Lends `length` elements of the thread's memory, with whatever they hold; allocates only while the need grows.
///
/// The buffer leaves the pool while it is lent: a task that rayon runs on this thread meanwhile gets another one.
pub(super) fn with_scratch<R>(length: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut buffer = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
    buffer.reserve(length);
    let result = work(&mut buffer[..length]);
    SPARE.with_borrow_mut(|spare| spare.push(buffer));
    result
}

/// Lends a table of addresses; see [`with_scratch`].
pub(super) fn with_starts<R>(length: usize, work: impl FnOnce(&mut [*const f32]) -> R) -> R {
    let mut table = SPARE_STARTS.with_borrow_mut(Vec::pop).unwrap_or_default();
    table.resize(length.max(table.len()), std::ptr::null());
    let result = work(&mut table[..length]);
    SPARE_STARTS.with_borrow_mut(|spare| spare.push(table));
    result
}
