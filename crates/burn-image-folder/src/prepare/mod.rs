//! Image folders out of the archives that data sets are given out as.
//!
//! Each function writes `train/<class>/…` and `val/<class>/…`, as [`ImageFolder`](crate::ImageFolder)
//! reads them. A part has its name when it is whole and not before: until then it is a folder with a
//! hidden name, `.train.preparing`, which nothing else reads. Called again after it was stopped,
//! however that came, a function goes on in that folder, where it compares what is there with the
//! archive byte by byte, and ends with the folder that it would have made at once. A part that is
//! there already is left as it is.
//!
//! Archives are read from front to back, and never unpacked by the paths in them: entries outside of
//! the expected structure, links, `..` and absolute paths are errors, and no entry takes more memory
//! than an image may.

mod archive;
mod cifar;
mod error;
mod files;
mod imagenet;
mod labels;
mod mat;
#[cfg(feature = "parquet")]
mod parquet;
mod part;

#[cfg(feature = "parquet")]
pub use self::parquet::{ParquetSet, parquet};
pub use cifar::{Labels, cifar};
pub use error::PrepareError;
pub use files::{pictures, plain_files};
pub use imagenet::{ImageNet, imagenet};
pub use part::{PartReport, Prepared, Split};
