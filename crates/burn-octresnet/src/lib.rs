//! The networks of "Drop an Octave" (Chen et al., ICCV 2019, <https://arxiv.org/abs/1904.05049>) and
//! their relatives for [Burn](https://burn.dev), octave or vanilla, and their weights in the formats of
//! other programs.
//!
//! [`model`] builds networks and counts what they cost; [`weights`] reads PyTorch, safetensors and
//! burnpack, and writes safetensors, burnpack and ONNX.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod model;
pub mod weights;

/// The examples of the repository's README are tested with those of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
