//! The CPU engine: direct convolution on channel-blocked maps.

pub mod affine;
mod buffer;
pub mod conv;
pub mod head;
pub mod isa;
mod layout;
mod map;
pub mod parallel;
mod peak;
pub mod pool;
mod simd;
pub mod train;

pub use buffer::Buffer;
pub use isa::Isa;
pub use layout::{from_nchw, to_nchw};
pub use map::BlockedMap;
pub use peak::peak_macs_per_second;
pub use simd::BLOCK;

#[cfg(test)]
mod naive;
#[cfg(test)]
mod testing;
