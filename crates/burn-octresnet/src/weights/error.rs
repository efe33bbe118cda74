use std::{fmt, io, path::PathBuf};

use crate::model::ModelError;

/// What can go wrong with a checkpoint. Every message is one line; that of a mismatch has its first
/// entries, and [`Mismatches`] has all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The system refused something.
    #[error("cannot {action} `{}`: {reason}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason. Part of the message already, hence no `source`.
        reason: io::Error,
    },
    /// None of the formats.
    #[error(
        "`{}` is no checkpoint: it is neither PyTorch (.pth, .pt), safetensors nor burnpack",
        .path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// A file that contradicts itself.
    #[error("`{}` is damaged or not as its format wants it: {message}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, in one line.
        message: String,
    },
    /// Tensors of another network.
    #[error("`{}` does not fit {network}: {mismatches}", .path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The network that was to be filled.
        network: String,
        /// Everything that does not fit.
        mismatches: Box<Mismatches>,
    },
    /// Tensors of no registered network.
    #[error(
        "`{}` holds the weights of no network that is known here: --arch NAME tells what does not fit",
        .path.display()
    )]
    UnknownNetwork {
        /// The file.
        path: PathBuf,
    },
    /// A file name that does not say what to write.
    #[error("`{}` has no known ending: use .safetensors or .bpk", .path.display())]
    Ending {
        /// The file.
        path: PathBuf,
    },
    /// A network that burn-onnx does not know how to write.
    #[error("cannot write `{}` as ONNX: {message}", .path.display())]
    Onnx {
        /// The file.
        path: PathBuf,
        /// What is not known, in one line.
        message: String,
    },
    /// Something about the network.
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl WeightsError {
    /// Makes a function that turns the system's errors about `path` into this type.
    pub(super) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |reason| Self::Io {
            action,
            path,
            reason,
        }
    }
}

/// Every difference between the tensors of a checkpoint and the parameters of a network, by the
/// names that the checkpoint's layout has for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mismatches {
    /// Parameters that the checkpoint lacks.
    pub missing: Vec<String>,
    /// Tensors that the network has no place for.
    pub unexpected: Vec<String>,
    /// Tensors that are not as the network wants them.
    pub wrong: Vec<WrongTensor>,
}

/// A tensor of the right name but of the wrong shape or kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongTensor {
    /// Its name.
    pub name: String,
    /// The shape that the network wants.
    pub expected: Vec<usize>,
    /// The shape it has.
    pub found: Vec<usize>,
    /// The type of its elements; only floating-point numbers can be weights.
    pub dtype: String,
}

impl fmt::Display for WrongTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            expected,
            found,
            dtype,
        } = self;
        write!(
            f,
            "{name} is {dtype} {found:?}, not a float of {expected:?}"
        )
    }
}

impl Mismatches {
    /// Whether all fits.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.wrong.is_empty()
    }

    /// Every difference, one a line.
    pub fn lines(&self) -> Vec<String> {
        let missing = self.missing.iter().map(|name| format!("missing {name}"));
        let unexpected = (self.unexpected.iter()).map(|name| format!("unexpected {name}"));
        let wrong = self.wrong.iter().map(|tensor| format!("wrong {tensor}"));
        missing.chain(unexpected).chain(wrong).collect()
    }
}

impl fmt::Display for Mismatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wrong: Vec<_> = self.wrong.iter().map(ToString::to_string).collect();
        let kinds = [
            ("missing", &self.missing),
            ("unexpected", &self.unexpected),
            ("wrong", &wrong),
        ];
        let parts = kinds.into_iter().filter(|(_, all)| !all.is_empty());
        let parts: Vec<_> = parts
            .map(|(kind, all)| {
                let more = match all.len() {
                    0..=3 => String::new(),
                    count => format!(" and {} more", count - 3),
                };
                let first = &all[..all.len().min(3)];
                format!("{} {kind} ({}{more})", all.len(), first.join(", "))
            })
            .collect();
        f.write_str(&parts.join("; "))
    }
}
