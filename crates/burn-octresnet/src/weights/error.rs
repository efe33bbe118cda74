use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::model::ModelError;

/// What can go wrong with a checkpoint. Every message is one line; that of a mismatch has its first
/// entries, and [`Mismatches`] has all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The system refused something.
    #[error("cannot {action} `{}`: {reason}", shown_path(.path))]
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
        shown_path(.path)
    )]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// A file that contradicts itself.
    #[error("`{}` is damaged or not as its format wants it: {message}", shown_path(.path))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, in one line.
        message: String,
    },
    /// Tensors of another network.
    #[error("`{}` does not fit {network}: {mismatches}{nests}", shown_path(.path))]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The network that was to be filled.
        network: String,
        /// Everything that does not fit.
        mismatches: Box<Mismatches>,
        /// The end of the message: the keys under which the file has networks, if there are several.
        nests: String,
    },
    /// Tensors of no registered network.
    #[error(
        "`{}` holds the weights of no network that is known here, under {nests}: --arch NAME tells what does not fit",
        shown_path(.path)
    )]
    UnknownNetwork {
        /// The file.
        path: PathBuf,
        /// The keys that were looked under.
        nests: String,
    },
    /// Several networks that fit.
    #[error("`{}` has several networks that fit, under {nests}: --key chooses one", shown_path(.path))]
    Ambiguous {
        /// The file.
        path: PathBuf,
        /// Their keys.
        nests: String,
    },
    /// A key that is not there.
    #[error("`{}` has no network under `{key}`, but under {nests}", shown_path(.path))]
    Key {
        /// The file.
        path: PathBuf,
        /// The key that was asked for.
        key: String,
        /// The keys that there are.
        nests: String,
    },
    /// A backbone.
    #[error(
        "`{}` has no classifier (fc.weight, fc.bias), else it is {network}: train --init gives it a new one",
        shown_path(.path)
    )]
    Classifier {
        /// The file.
        path: PathBuf,
        /// The network.
        network: String,
    },
    /// Numbers that are none.
    #[error(
        "`{}` has weights that are NaN or infinite: {}; --allow-nan takes them as they are",
        shown_path(.path),
        counts(.tensors)
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The names of the tensors, and how many of their values are not finite.
        tensors: Vec<(String, usize)>,
    },
    /// Numbers that half precision does not have.
    #[error(
        "cannot write `{}` in half precision, which ends at 65504: beyond it are {}; write it in single precision",
        shown_path(.path),
        counts(.tensors)
    )]
    Half {
        /// The file.
        path: PathBuf,
        /// The parameters, and how many of their values are too large.
        tensors: Vec<(String, usize)>,
    },
    /// Networks that look alike and are others.
    #[error(
        "`{}` is of lxtGH/OctaveConv_pytorch, whose blocks (ocb1, ocb2, ocb3) are wired in another way: \
         of PyTorch's Oct-ResNets those of d-li14/octconv.pytorch can be read",
        shown_path(.path)
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A file name that does not say what to write.
    #[error("`{}` has no known ending: use .safetensors or .bpk", shown_path(.path))]
    Ending {
        /// The file.
        path: PathBuf,
    },
    /// A network that burn-onnx does not know how to write.
    #[error("cannot write `{}` as ONNX: {message}", shown_path(.path))]
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
            "{} is {dtype} {}, not a float of {expected:?}",
            shown(name, NAME),
            shown(&format!("{found:?}"), NAME)
        )
    }
}

impl Mismatches {
    /// Whether all fits.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.wrong.is_empty()
    }

    /// The number of differences.
    pub fn count(&self) -> usize {
        self.missing.len() + self.unexpected.len() + self.wrong.len()
    }

    /// The differences, one a line, up to some hundreds.
    pub fn lines(&self) -> Vec<String> {
        const MOST: usize = 300;
        let missing = self.missing.iter();
        let missing = missing.map(|name| format!("missing {}", shown(name, NAME)));
        let unexpected = self.unexpected.iter();
        let unexpected = unexpected.map(|name| format!("unexpected {}", shown(name, NAME)));
        let wrong = self.wrong.iter().map(|tensor| format!("wrong {tensor}"));
        let lines = missing.chain(unexpected).chain(wrong);
        let mut lines: Vec<_> = lines.take(MOST).collect();
        if self.count() > MOST {
            lines.push(format!("and {} more", self.count() - MOST));
        }
        lines
    }
}

impl fmt::Display for Mismatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |names: &[String]| list(names.iter().map(|name| shown(name, NAME)), 3);
        let kinds = [
            ("missing", self.missing.len(), names(&self.missing)),
            ("unexpected", self.unexpected.len(), names(&self.unexpected)),
            (
                "wrong",
                self.wrong.len(),
                list(self.wrong.iter().map(WrongTensor::to_string), 3),
            ),
        ];
        let kinds = kinds.iter().filter(|(_, count, _)| *count > 0);
        let parts = kinds.map(|(kind, count, first)| format!("{count} {kind} ({first})"));
        f.write_str(&parts.collect::<Vec<_>>().join("; "))
    }
}

/// The first `most` of the texts.
pub(super) fn list(mut texts: impl ExactSizeIterator<Item = String>, most: usize) -> String {
    let first: Vec<_> = texts.by_ref().take(most).collect();
    match texts.len() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

fn counts(tensors: &[(String, usize)]) -> String {
    let counts = tensors.iter();
    let counts = counts.map(|(name, count)| format!("{count} in {}", shown(name, NAME)));
    list(counts, 5)
}

/// The most bytes that are said of a name in a file.
pub(super) const NAME: usize = 120;

/// The most bytes that are said of a library's message, which may repeat what is in a file.
pub(super) const MESSAGE: usize = 300;

/// The path of a file, or its name, as it may be put on a terminal, with bytes that are no UTF-8 escaped, too.
pub(super) fn shown_path(path: &Path) -> String {
    let chunks = path.as_os_str().as_encoded_bytes().utf8_chunks();
    let shown = chunks.map(|chunk| {
        let valid = shown(chunk.valid(), usize::MAX);
        format!("{valid}{}", chunk.invalid().escape_ascii())
    });
    shown.collect()
}

/// A text out of a file as it may be put on a terminal: what is no visible letter is escaped, and of a
/// text of more than `most` bytes the start is left.
pub(super) fn shown(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for letter in text.chars() {
        match letter {
            '\'' | '"' | '\\' => shown.push(letter),
            _ => shown.extend(letter.escape_debug()),
        }
        if shown.len() > most {
            shown.truncate(shown.floor_char_boundary(most));
            shown.push('…');
            break;
        }
    }
    shown
}
