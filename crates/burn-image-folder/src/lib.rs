#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod background;
mod batches;
mod config;
mod corrupt;
mod dataset;
mod decode;
mod error;
mod folder;
mod frequencies;
mod index;
mod list;
mod listing;
mod loader;
mod normalize;
mod order;
#[cfg(feature = "prepare")]
pub mod prepare;
mod regular;
mod report;
mod transform;
mod workbench;
mod workers;

pub use batches::ImageBatch;
pub use config::{LoaderConfig, OnUnreadable, Position};
pub use corrupt::Corruption;
pub use dataset::{ImageDataset, ImageItem};
pub use decode::{MAX_MEGAPIXELS, decode_rgb, decode_rgb_bytes};
pub use error::{DataError, DecodeError, shown};
pub use folder::{ImageFolder, ListConfig, SplitConfig};
pub use frequencies::{high_part, low_part};
pub use list::{ImageList, list_images};
pub use listing::FilesBy;
pub use loader::ImageLoader;
pub use normalize::Normalize;
pub use order::Sampling;
pub use regular::open_file;
pub use report::SkipReport;
pub use transform::{
    Augment, ColorJitter, EvalTransform, Interpolation, Policy, RandomErasing, TrainTransform,
    Transform,
};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What a random stream is for: streams of different purposes never coincide.
#[derive(Clone, Copy)]
enum Purpose {
    Split = 1,
    Shuffle = 2,
    Augment = 3,
    Corrupt = 4,
}

/// The random stream of `purpose` for the pair (`a`, `b`), e.g. (epoch, index).
///
/// The four numbers are the ChaCha key itself, so no hash that may change between releases of a
/// library comes between a seed and its numbers.
fn random_stream(seed: u64, purpose: Purpose, a: u64, b: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip([seed, purpose as u64, a, b]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}
