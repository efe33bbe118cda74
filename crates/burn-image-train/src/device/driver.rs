//! What a machine lacks for a backend. Asked before Burn is, which finds out in a thread of its own and
//! panics there.

use super::Backend;

/// Why this machine cannot have the device, as far as that is known before it is tried.
#[cfg_attr(not(feature = "cuda"), expect(unused_variables))]
pub(super) fn missing(backend: Backend, index: Option<usize>) -> Option<String> {
    #[cfg(feature = "cuda")]
    if backend == Backend::Cuda {
        return cuda(index.unwrap_or(0));
    }
    None
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Option<String> {
    use cudarc::driver::{result, sys};
    // SAFETY: opens the driver's library, as Burn does next; nothing of it is called.
    if !unsafe { sys::is_culib_present() } {
        return Some("no NVIDIA driver was found (libcuda.so.1)".into());
    }
    match result::init().and_then(|()| result::device::get_count()) {
        Err(error) => {
            let reason = error.error_string().map(|text| text.to_string_lossy());
            let reason = reason.unwrap_or("unknown error".into());
            Some(format!("the NVIDIA driver says '{reason}'"))
        }
        Ok(count) if index as i64 >= i64::from(count) => {
            Some(format!("the NVIDIA driver has {count} of them, from 0"))
        }
        Ok(_) => None,
    }
}
