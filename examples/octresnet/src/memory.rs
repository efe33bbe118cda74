//! The memory allocator.

/// Placeholder until measured.
pub(crate) fn keep_freed_pages() {}
