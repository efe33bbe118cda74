//! The CPU engine: direct convolution on channel-blocked maps.

pub mod affine;
mod apart;
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
