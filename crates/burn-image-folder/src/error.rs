use std::fmt::Write;
use std::path::PathBuf;

use super::decode::MAX_FILE_BYTES;

/// What can go wrong between a folder and a batch. Each message is one line and says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The folder or file does not exist.
    #[error("`{}` does not exist: check the path", .path.display())]
    NotFound {
        /// The path as given.
        path: PathBuf,
    },
    /// A folder was expected, the path is something else.
    #[error("`{}` is not a folder: give the folder that holds the class folders", .path.display())]
    NotAFolder {
        /// The path as given.
        path: PathBuf,
    },
    /// The system refused to list a folder.
    #[error("cannot list `{}`: {source}", .path.display())]
    Io {
        /// The folder being listed.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file or class name that cannot be stored as text.
    #[error("the name of `{}` is not valid UTF-8: rename it", .path.display())]
    NameNotUtf8 {
        /// The path with that name.
        path: PathBuf,
    },
    /// No class folder at all.
    #[error("`{}` holds no class folders: put the images of each class in a folder named after it", .path.display())]
    NoClasses {
        /// The folder searched.
        path: PathBuf,
    },
    /// Class folders, but not a single image in any of them.
    #[error("no images in any of the {classes} class folders of `{}`: files ending in jpg, png, bmp, webp, gif, tiff or ppm are looked for", .path.display())]
    NoImagesInClasses {
        /// The folder searched.
        path: PathBuf,
        /// How many class folders it has.
        classes: usize,
    },
    /// A class folder without images.
    #[error("class `{class}` has no images in `{}`: add some or remove the folder", .path.display())]
    EmptyClass {
        /// Name of the class.
        class: String,
        /// Its folder.
        path: PathBuf,
    },
    /// A `train` folder without a validation folder beside it.
    #[error("`{}` has a `train` folder but no `val` or `validation` folder beside it: add one, or give the `train` folder itself to split it", .path.display())]
    MissingVal {
        /// The root folder.
        path: PathBuf,
    },
    /// Training and validation folders disagree about the classes.
    #[error("train and val have different classes: only in train: {}; only in val: {}; make them the same", names(.only_train), names(.only_val))]
    ClassMismatch {
        /// Classes without a validation folder, sorted.
        only_train: Vec<String>,
        /// Classes without a training folder, sorted.
        only_val: Vec<String>,
    },
    /// An evaluation folder has classes that the model does not know.
    #[error("`{}` has classes that the model does not know: {}; it knows {}", .path.display(), names(.unknown), names(.known))]
    UnknownClasses {
        /// The folder that holds the class folders.
        path: PathBuf,
        /// Folder names that are no class of the model, sorted.
        unknown: Vec<String>,
        /// The model's classes.
        known: Vec<String>,
    },
    /// A class too small to be split.
    #[error(
        "class `{class}` has 1 image, which cannot be in both train and validation: add images or provide `train` and `val` folders"
    )]
    SplitTooSmall {
        /// Name of the class.
        class: String,
    },
    /// No image found where one or several were expected.
    #[error("no images in `{}`: files ending in jpg, png, bmp, webp, gif, tiff or ppm are looked for", .path.display())]
    NoImages {
        /// The folder searched.
        path: PathBuf,
    },
    /// A setting out of its range.
    #[error("`{field}` is {value}: it must be {expected}")]
    Setting {
        /// Name of the setting.
        field: &'static str,
        /// The value given.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// An image that cannot be read or decoded.
    #[error("cannot read image `{}`: {reason}", .path.display())]
    Unreadable {
        /// The image file.
        path: PathBuf,
        /// Why. Part of the message already, hence no `source`.
        reason: DecodeError,
    },
    /// An image that was read but not resampled.
    #[error("cannot resize a {width}x{height} image: {reason}")]
    Resize {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The resampler's reason.
        reason: fast_image_resize::ResizeError,
    },
    /// Code that prepares an image panicked: an error of this program, not of the data.
    #[error("a data worker panicked: {message}; please report this")]
    WorkerPanicked {
        /// The panic's message, in one line.
        message: String,
    },
    /// An epoch without a single batch.
    #[error(
        "no batch came out of {images} images, {unreadable} of them unreadable: the batch size is {batch_size}, lower it or check the images"
    )]
    NoBatch {
        /// Images of the epoch.
        images: usize,
        /// How many of them could not be read.
        unreadable: usize,
        /// Images per batch.
        batch_size: usize,
    },
}

/// Why a file is not an image that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The system refused to read the file.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A file of zero bytes.
    #[error("the file is empty")]
    Empty,
    /// A file too large to be a photograph.
    #[error("the file has {0} bytes, at most {MAX_FILE_BYTES} are read")]
    FileTooLarge(u64),
    /// The content is no known image format, whatever the name says.
    #[error("the content is not an image in a supported format")]
    UnknownFormat,
    /// More pixels than are decoded; the guard against decompression bombs.
    #[error(
        "{width}x{height} pixels, at most {limit} megapixels are decoded: `max_megapixels` sets the limit"
    )]
    TooManyPixels {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The limit in millions of pixels.
        limit: u64,
    },
    /// The file ends before the image does.
    #[error("the file is truncated")]
    Truncated,
    /// The decoder's own complaint, in one line.
    #[error("{0}")]
    Malformed(String),
    /// The decoder panicked and was contained.
    #[error("the decoder panicked: {0}")]
    Panicked(String),
}

impl From<image::ImageError> for DecodeError {
    fn from(error: image::ImageError) -> Self {
        match error {
            image::ImageError::IoError(error)
                if error.kind() == std::io::ErrorKind::UnexpectedEof =>
            {
                Self::Truncated
            }
            error => Self::Malformed(one_line(&error.to_string())),
        }
    }
}

/// `text` with its line breaks and runs of blanks made single spaces.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The message of a caught panic, in one line.
pub(super) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = (payload.downcast_ref::<&str>().copied())
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    one_line(text.unwrap_or("no message"))
}

/// Quotes names, the first few only: a message stays readable with a thousand classes.
fn names(names: &[String]) -> String {
    const SHOWN: usize = 10;
    if names.is_empty() {
        return "none".into();
    }
    let quoted: Vec<_> = names.iter().take(SHOWN).map(|n| format!("`{n}`")).collect();
    let mut text = quoted.join(", ");
    if names.len() > SHOWN {
        // Writing to a String cannot fail.
        let _ = write!(text, " and {} more", names.len() - SHOWN);
    }
    text
}
