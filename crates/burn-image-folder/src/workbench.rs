use std::path::Path;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{PixelType, ResizeOptions, Resizer};
use image::RgbImage;
use rand::Rng;

use crate::decode::{Picture, decode, read};
use crate::error::{DataError, DecodeError};
use crate::transform::{EvalTransform, TrainTransform, Transform, View};
use crate::{Purpose, random_stream};

/// Makes network inputs of image files, one after the other, in memory that it keeps.
pub(super) struct Workbench {
    resizer: Resizer,
    /// The file's content.
    file: Vec<u8>,
    /// The picture at its final size, `[size, size, 3]`.
    resized: Vec<u8>,
}

impl Workbench {
    pub fn new() -> Self {
        Self {
            resizer: Resizer::new(),
            file: Vec::new(),
            resized: Vec::new(),
        }
    }

    /// Decodes and transforms an image file of at most `limit` million pixels; returns
    /// `[3, size, size]`.
    ///
    /// Of photographs only what the transform looks at is decoded.
    pub fn prepare(
        &mut self,
        path: &Path,
        transform: &Transform,
        limit: u64,
        rng: &mut impl Rng,
    ) -> Result<Vec<u8>, DataError> {
        let (picture, view) =
            (self.load(path, transform, limit, rng)).map_err(|reason| DataError::Unreadable {
                path: path.to_path_buf(),
                reason,
            })?;
        self.finish(&picture, &view, transform, rng)
    }

    /// Reads and decodes what is looked at, and says where to look.
    fn load(
        &mut self,
        path: &Path,
        transform: &Transform,
        limit: u64,
        rng: &mut impl Rng,
    ) -> Result<(Picture, View), DecodeError> {
        read(path, &mut self.file)?;
        let mut drawn = None;
        let picture = decode(&self.file, limit, |size| {
            let view = drawn.insert(transform.view(size, rng));
            transform.region(view, size)
        })?;
        let view = drawn.expect("a decoder asks where to look before it succeeds");
        Ok((picture, view))
    }

    /// Crops while resizing, applies what changes pixels, and puts the planes apart.
    fn finish(
        &mut self,
        picture: &Picture,
        view: &View,
        transform: &Transform,
        rng: &mut impl Rng,
    ) -> Result<Vec<u8>, DataError> {
        let size = transform.size();
        let [left, top, crop_width, crop_height] = view.within(picture.size);
        let [first_column, first_row] = picture.origin.map(f64::from);
        let options = ResizeOptions::new()
            .resize_alg(transform.interpolation().algorithm())
            .crop(
                left - first_column,
                top - first_row,
                crop_width,
                crop_height,
            );
        let pixels = &picture.pixels;
        let source = ImageRef::new(pixels.width(), pixels.height(), pixels, PixelType::U8x3)
            .expect("three bytes per pixel were decoded");
        self.resized.resize(3 * size * size, 0);
        let side = size as u32;
        let mut resized = Image::from_slice_u8(side, side, &mut self.resized, PixelType::U8x3)
            .expect("three bytes per pixel were reserved");
        (self.resizer.resize(&source, &mut resized, &options)).map_err(|reason| {
            DataError::Resize {
                width: picture.size[0],
                height: picture.size[1],
                reason,
            }
        })?;
        if let Transform::Train(transform) = transform {
            transform.augment.apply(&mut self.resized, size, rng);
        }
        Ok(to_planar(&self.resized, size, view.flip))
    }
}

impl Transform {
    /// Applies the transform. Returns `[3, size, size]` in planar order.
    ///
    /// # Errors
    ///
    /// [`DataError::Resize`], which valid settings do not lead to.
    pub fn apply<R: Rng>(&self, image: &RgbImage, rng: &mut R) -> Result<Vec<u8>, DataError> {
        let size = [image.width(), image.height()];
        let view = self.view(size, rng);
        let picture = Picture {
            size,
            origin: [0, 0],
            pixels: image.clone(),
        };
        Workbench::new().finish(&picture, &view, self, rng)
    }
}

impl TrainTransform {
    /// Crops, resizes, flips and augments at random.
    ///
    /// Returns `[3, size, size]` in planar order. For a given state of `rng` and a given image
    /// size the choice is the same.
    ///
    /// # Errors
    ///
    /// [`DataError::Resize`], which valid settings do not lead to.
    pub fn apply<R: Rng>(&self, image: &RgbImage, rng: &mut R) -> Result<Vec<u8>, DataError> {
        Transform::Train(self.clone()).apply(image, rng)
    }
}

impl EvalTransform {
    /// Resizes and crops. Returns `[3, size, size]` in planar order.
    ///
    /// # Errors
    ///
    /// [`DataError::Resize`], which valid settings do not lead to.
    pub fn apply(&self, image: &RgbImage) -> Result<Vec<u8>, DataError> {
        // Nothing is drawn from it.
        let mut rng = random_stream(0, Purpose::Augment, 0, 0);
        Transform::Eval(self.clone()).apply(image, &mut rng)
    }

    /// Decodes an image file of at most `max_megapixels` million pixels, resizes and crops it.
    /// Returns `[3, size, size]` in planar order.
    ///
    /// # Errors
    ///
    /// [`DataError::Unreadable`] with the path and the reason.
    pub fn load(&self, path: impl AsRef<Path>, max_megapixels: u64) -> Result<Vec<u8>, DataError> {
        // Nothing is drawn from it.
        let mut rng = random_stream(0, Purpose::Augment, 0, 0);
        let transform = Transform::Eval(self.clone());
        Workbench::new().prepare(path.as_ref(), &transform, max_megapixels, &mut rng)
    }
}

/// `[height, width, 3]` to `[3, height, width]`.
fn to_planar(pixels: &[u8], size: usize, flip: bool) -> Vec<u8> {
    let mut planes = vec![0; 3 * size * size];
    let (red, rest) = planes.split_at_mut(size * size);
    let (green, blue) = rest.split_at_mut(size * size);
    let rows = (red.chunks_exact_mut(size))
        .zip(green.chunks_exact_mut(size))
        .zip(blue.chunks_exact_mut(size));
    for (((red, green), blue), row) in rows.zip(pixels.chunks_exact(3 * size)) {
        let columns = red.iter_mut().zip(green).zip(blue);
        let set = |(((r, g), b), pixel): (((&mut u8, &mut u8), &mut u8), &[u8])| {
            (*r, *g, *b) = (pixel[0], pixel[1], pixel[2]);
        };
        match flip {
            false => columns.zip(row.chunks_exact(3)).for_each(set),
            true => columns.zip(row.chunks_exact(3).rev()).for_each(set),
        }
    }
    planes
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::{Interpolation, MAX_MEGAPIXELS, decode_rgb};

    fn fixtures() -> Vec<PathBuf> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
        let files = fs::read_dir(folder).unwrap();
        let files = files.map(|entry| entry.unwrap().path());
        let files: Vec<_> = files
            .filter(|path| path.is_file() && path.extension().is_some_and(|kind| kind != "py"))
            .collect();
        assert!(files.iter().any(|file| file.ends_with("photo_420.jpg")));
        files
    }

    #[test]
    fn a_photo_decoded_in_part_gives_what_the_whole_gives() {
        use Interpolation::*;
        let mut bench = Workbench::new();
        let mut wrong = Vec::new();
        for file in fixtures() {
            let whole = decode_rgb(&file).unwrap();
            for interpolation in [Nearest, Bilinear, Bicubic, Lanczos] {
                let transforms = [
                    Transform::Train(TrainTransform {
                        size: 24,
                        interpolation,
                        ..TrainTransform::default()
                    }),
                    Transform::Eval(EvalTransform {
                        size: 24,
                        interpolation,
                        ..EvalTransform::default()
                    }),
                ];
                for (draw, transform) in
                    (0..12).flat_map(|draw| transforms.iter().map(move |t| (draw, t)))
                {
                    let rng = random_stream(1, Purpose::Augment, 0, draw);
                    let expected = transform.apply(&whole, &mut rng.clone()).unwrap();
                    let prepared =
                        bench.prepare(&file, transform, MAX_MEGAPIXELS, &mut rng.clone());
                    if prepared.unwrap() != expected {
                        wrong.push(format!("{file:?} {transform:?} {draw}"));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
