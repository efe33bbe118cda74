use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Largest file that is read, in bytes.
pub(super) const MAX_FILE_BYTES: u64 = 512 << 20;

/// What can go wrong between a folder and a batch. Each message is one line and says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The folder or file does not exist.
    #[error("`{}` does not exist: check the path", shown(.path))]
    NotFound {
        /// The path as given.
        path: PathBuf,
    },
    /// A folder was expected, the path is something else.
    #[error("`{}` is not a folder: give the folder that holds the class folders", shown(.path))]
    NotAFolder {
        /// The path as given.
        path: PathBuf,
    },
    /// The system refused to list a folder.
    #[error("cannot list `{}`: {reason}", shown(.path))]
    Io {
        /// The folder being listed.
        path: PathBuf,
        /// The system's reason. Part of the message already, hence no `source`.
        reason: std::io::Error,
    },
    /// More folders than any set of classes has.
    #[error("`{}` holds more than {limit} folders: give the folder that holds the class folders", shown(.path))]
    TooManyFolders {
        /// The folder searched.
        path: PathBuf,
        /// How many are listed.
        limit: usize,
    },
    /// No class folder at all.
    #[error("`{}` holds no class folders: put the images of each class in a folder named after it", shown(.path))]
    NoClasses {
        /// The folder searched.
        path: PathBuf,
    },
    /// Class folders, but not a single image in any of them.
    #[error("no images in any of the {classes} class folders of `{}`: files ending in jpg, png, bmp, webp, gif, tiff or ppm are looked for", shown(.path))]
    NoImagesInClasses {
        /// The folder searched.
        path: PathBuf,
        /// How many class folders it has.
        classes: usize,
    },
    /// A class folder without images.
    #[error("class `{}` has no images in `{}`: add some or remove the folder", shown(.class.as_ref()), shown(.path))]
    EmptyClass {
        /// Name of the class.
        class: String,
        /// Its folder.
        path: PathBuf,
    },
    /// A `train` folder without a validation folder beside it.
    #[error("`{}` has a `{train}` folder but no `val` or `validation` folder beside it: add one, or give the `{train}` folder itself to split it", shown(.path))]
    MissingVal {
        /// Name of the training folder.
        train: String,
        /// The root folder.
        path: PathBuf,
    },
    /// Class folders that look like the parts of a data set.
    #[error("`{}` holds {} with folders in them, which look like parts of a data set and not like classes: name them `train` and `val`", shown(.path), names(.parts))]
    PartsAsClasses {
        /// The root folder.
        path: PathBuf,
        /// Names of the folders.
        parts: Vec<String>,
    },
    /// Folders of which any could be the one to train on, or to validate on.
    #[error("`{}` holds {}, of which only one can be meant: rename or remove the others", shown(.path), names(.parts))]
    SameParts {
        /// The root folder.
        path: PathBuf,
        /// Names of the folders.
        parts: Vec<String>,
    },
    /// Training and validation folders disagree about the classes.
    #[error("train and val have different classes: only in train: {}; only in val: {}; make them the same{}", names(.only_train), names(.only_val), same_look(.only_train, .only_val))]
    ClassMismatch {
        /// Classes without a validation folder, sorted.
        only_train: Vec<String>,
        /// Classes without a training folder, sorted.
        only_val: Vec<String>,
    },
    /// An evaluation folder has classes that the model does not know.
    #[error("`{}` has classes that the model does not know: {}; it knows {}", shown(.path), names(.unknown), names(.known))]
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
        "class `{}` has 1 image, which cannot be in both train and validation: add images or provide `train` and `val` folders",
        shown(.class.as_ref())
    )]
    SplitTooSmall {
        /// Name of the class.
        class: String,
    },
    /// No image found where one or several were expected.
    #[error("no images in `{}`: files ending in jpg, png, bmp, webp, gif, tiff or ppm are looked for", shown(.path))]
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
    #[error("cannot read image `{}`: {reason}", shown(.path))]
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
    /// A folder, a pipe, a device: nothing that is opened.
    #[error("it is no regular file")]
    NotAFile,
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
    /// A kind of file that is left out on purpose.
    #[error("{0} is not read")]
    Unsupported(&'static str),
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

/// An error about the setting `field` unless it is `good`.
pub(super) fn check(
    good: bool,
    (field, value): (&'static str, &dyn std::fmt::Debug),
    expected: &'static str,
) -> Result<(), DataError> {
    if good {
        return Ok(());
    }
    Err(DataError::Setting {
        field,
        value: format!("{value:?}"),
        expected,
    })
}

/// The most letters that are shown of a decoder's message: some repeat what is in the file.
const MAX_MESSAGE: usize = 300;

/// The start of `text` with its line breaks and runs of blanks made single spaces, as it may be put
/// on a terminal.
pub(super) fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut letters = words.chars();
    let start: String = letters.by_ref().take(MAX_MESSAGE).collect();
    let rest = if letters.next().is_some() { " …" } else { "" };
    shown(start.as_ref()) + rest
}

/// The message of a caught panic, in one line.
pub(super) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = (payload.downcast_ref::<&str>().copied())
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    one_line(text.unwrap_or("no message"))
}

/// A path or name as it may be put on a terminal: control characters, those that turn the direction
/// of writing, and bytes that are no UTF-8 are escaped.
pub fn shown(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    text.extend(letter.escape_unicode());
                }
                letter if letter.is_control() => text.extend(letter.escape_default()),
                letter => text.push(letter),
            }
        }
        text.extend(chunk.invalid().escape_ascii().map(char::from));
    }
    text
}

/// What to say of names that may look the same on both sides: their letters, spelt out.
fn same_look(a: &[String], b: &[String]) -> String {
    let foreign = |names: &[String]| names.iter().find(|name| !name.is_ascii()).cloned();
    let (Some(a), Some(b)) = (foreign(a), foreign(b)) else {
        return String::new();
    };
    format!(
        " (the same letters may be written as other bytes: `{}`, `{}`)",
        a.escape_default(),
        b.escape_default()
    )
}

/// Quotes names, the first few only: a message stays readable with a thousand classes.
fn names(names: &[String]) -> String {
    const SHOWN: usize = 10;
    if names.is_empty() {
        return "none".into();
    }
    let quoted: Vec<_> = names
        .iter()
        .take(SHOWN)
        .map(|n| format!("`{}`", shown(n.as_ref())))
        .collect();
    let mut text = quoted.join(", ");
    if names.len() > SHOWN {
        // Writing to a String cannot fail.
        let _ = write!(text, " and {} more", names.len() - SHOWN);
    }
    text
}
