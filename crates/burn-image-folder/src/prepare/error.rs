use std::io;
use std::path::{Path, PathBuf};

use crate::error::{one_line, shown};

/// Why there is no image folder. Each message is one line and says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The system refused something about a file of ours.
    #[error("cannot {action} `{}`: {reason}; the same command goes on from here", shown(.path))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The system's reason. Part of the message already, hence no `source`.
        reason: io::Error,
    },
    /// An archive or list that cannot be opened or read, is damaged, or is cut off.
    #[error("cannot read `{}`: {message}", shown(.path))]
    Archive {
        /// The file; of an archive within an archive, the paths of both.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// An entry of an archive that has no place in an image folder.
    #[error("`{}` has the entry `{}`, {reason}: nothing is written of it; is it the archive you mean?", shown(.path), shown(.entry.as_ref()))]
    Entry {
        /// The archive.
        path: PathBuf,
        /// Name of the entry, as far as it is text.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A line of a list that cannot be understood.
    #[error("line {line} of `{}`: {message}", shown(.path))]
    Line {
        /// The list.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// An archive without what it is asked for.
    #[error("`{}` holds {missing}", shown(.path))]
    Missing {
        /// The archive.
        path: PathBuf,
        /// What it lacks, and what to give instead.
        missing: &'static str,
    },
    /// Images without a list of their classes.
    #[error(
        "the images of `{}` have no classes of their own: give the development kit, ILSVRC2012_devkit_t12.tar.gz, or a list of synsets as well",
        shown(.path)
    )]
    NoLabels {
        /// The archive.
        path: PathBuf,
    },
    /// Neither part of a data set was given.
    #[error("no archive was given: give one to train on, one to validate on, or both")]
    Nothing,
    /// Another process writes the same part.
    #[error("another process is writing `{}`: wait for it, or choose another folder", shown(.path))]
    Busy {
        /// The folder with the hidden name.
        path: PathBuf,
    },
}

impl PrepareError {
    /// Makes a function that turns the system's errors about a file of ours into this type.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |reason| Self::Io {
            action,
            path,
            reason,
        }
    }

    /// What is wrong with an archive as a whole.
    pub(super) fn archive(path: &Path, message: impl std::fmt::Display) -> Self {
        Self::Archive {
            path: path.to_path_buf(),
            message: one_line(&message.to_string()),
        }
    }

    /// What is wrong with an entry of an archive.
    pub(super) fn entry(path: &Path, entry: &str, reason: impl Into<String>) -> Self {
        Self::Entry {
            path: path.to_path_buf(),
            entry: entry.chars().take(200).collect(),
            reason: reason.into(),
        }
    }
}
