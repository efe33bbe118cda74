//! CPU kernels for octave convolutions: direct convolution on channel-blocked maps, forward and
//! backward, with AVX-512, AVX2, NEON, WebAssembly SIMD and portable kernels, chosen at run
//! time where the processor can be asked.
//!
//! A [`BlockedMap`] stores sixteen channels of a pixel side by side, and a border of zeros:
//!
//! ```text
//! [image][⌈channels / 16⌉][height + 2·pad][width + 2·pad][16]
//! ```
//!
//! A layer is a set of [products](conv::Product): sums of convolutions at the resolution of the
//! output, a sum at half of it that is upsampled on the way, and what happens to the result before
//! it is stored. [`conv::run`] computes all products of a layer in one parallel region of the
//! current rayon pool. Results are the same bits for any number of threads.
//!
//! ```
//! use octave_engine::{
//!     BlockedMap, Isa, from_nchw, to_nchw,
//!     conv::{Kernel, Output, PackedWeights, Product, Source, run},
//! };
//!
//! let isa = Isa::best();
//! // An image of two channels, 5×4, with a border of one pixel for a 3×3 kernel.
//! let mut x = BlockedMap::zeros([1, 2, 5, 4], 1);
//! from_nchw(isa, &[1.0; 2 * 5 * 4], &mut x);
//! let weights = PackedWeights::new(isa, 3, &[Kernel::new(&[0.5; 3 * 2 * 9], 2, 3)], None);
//! let mut y = BlockedMap::zeros([1, 3, 5, 4], 0);
//! let sources = vec![Source::new(&x, 1)];
//! run(isa, vec![Product::new(&weights, sources, [1, 5, 4], Output::Map(&mut y, 0))]);
//!
//! let mut result = [0.0; 3 * 5 * 4];
//! to_nchw(isa, &y, &mut result);
//! // In the middle all nine taps of both channels see a one, at a corner four.
//! assert_eq!((result[5], result[0]), (9.0, 4.0));
//! ```
//!
//! All public functions are safe: shapes are checked where they are made, and a panic names the
//! numbers that do not fit. An [`Isa`] is the proof that the processor has the instructions.

pub mod affine;
mod apart;
mod buffer;
pub mod conv;
pub mod isa;
mod layout;
mod map;
pub mod parallel;
mod peak;
pub mod pool;
mod simd;
mod spares;
pub mod train;

pub use apart::apart;
pub use buffer::Buffer;
pub use isa::Isa;
pub use layout::{from_nchw, to_nchw};
pub use map::BlockedMap;
pub use peak::peak_macs_per_second;
pub use simd::BLOCK;
pub use spares::Spares;

#[cfg(test)]
mod naive;
#[cfg(test)]
mod testing;
