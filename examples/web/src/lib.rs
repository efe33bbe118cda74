//! An octave network in a browser: what `site/worker.js` calls.
//!
//! A [`Classifier`] is a trained network with what it was trained on; it looks at pictures. A
//! [`Network`] is one to run and to time. JavaScript holds both, and draws.

mod look;
mod network;
mod trained;

pub use look::Seen;
pub use network::Network;
pub use trained::Classifier;

use wasm_bindgen::{JsError, prelude::wasm_bindgen};

/// The instruction set that the kernels of this module are compiled for, such as `simd128`.
#[wasm_bindgen]
pub fn instruction_set() -> String {
    burn_octconv::ops::instruction_set().into()
}

/// An error that JavaScript catches, of anything that has something to say.
fn refused(error: impl std::fmt::Display) -> JsError {
    JsError::new(&error.to_string())
}
