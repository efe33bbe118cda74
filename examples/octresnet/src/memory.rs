//! The memory allocator.

/// Tells the C library's allocator, which Rust's default is, to keep freed memory.
///
/// Feature maps are large and short-lived. By default the largest go back to the system when they
/// are freed, and the next one faults its pages in again, one by one. Inference of Oct-ResNet-26
/// at 224 pixels and batch 32 takes 9 % less processor time without that, training 2 to 5 %.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn keep_freed_pages() {
    const GIB: libc::c_int = 1 << 30;
    let settings = [
        // Below this size, memory comes from the heap rather than from a map of its own.
        (libc::M_MMAP_THRESHOLD, GIB),
        // The free end of the heap goes back to the system from this size on.
        (libc::M_TRIM_THRESHOLD, libc::c_int::MAX),
        // The heap grows in steps of this size.
        (libc::M_TOP_PAD, 64 << 20),
    ];
    for (parameter, value) in settings {
        // SAFETY: mallopt takes two integers, checks both, and only sets a field of the allocator,
        // under its lock. A value it refuses changes nothing.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Other allocators have other ways; none has been measured.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn keep_freed_pages() {}
