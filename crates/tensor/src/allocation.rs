/// Asks the C library's allocator to keep freed memory, up to 512 MiB, for what is allocated next.
///
/// A tensor of some megabytes is otherwise given back to the system as soon as it is dropped, and the next one is paid for
/// page by page. On glibc only; elsewhere nothing happens. It holds for the whole process, so that programs call it, at
/// their start, and libraries do not.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// The largest that every glibc takes: greater blocks come from the system and go back there.
        const OF_ITS_OWN: libc::c_int = 32 << 20;
        const KEPT: libc::c_int = 512 << 20;
        // SAFETY: both are numbers that glibc looks at; a value that it does not like it refuses.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, OF_ITS_OWN);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
        }
    }
}

/// The bytes that the C library's allocator has got from the system and keeps free for what is allocated next; 0 where it does not
/// say, and at most 4 GiB.
pub fn freed_memory() -> u64 {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: it only counts. Its newer form with wider numbers is not in every glibc that programs run on.
        #[allow(clippy::cast_sign_loss, reason = "a number of more than 31 bits")]
        let bytes = unsafe { libc::mallinfo() }.fordblks as u32;
        u64::from(bytes)
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    0
}
