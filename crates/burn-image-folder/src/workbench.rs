use std::path::Path;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{PixelType, ResizeOptions, Resizer};
use rand::Rng;

use super::decode::{check_pixels, contained, decode, read};
use super::error::{DataError, DecodeError};
use super::jpeg::{Decoder, Photo};
use super::transform::{Transform, View};

/// Makes network inputs of image files, one after the other, in memory that it keeps.
pub(super) struct Workbench {
    resizer: Resizer,
    /// The file's content.
    file: Vec<u8>,
    photos: Decoder,
    /// The decoded image, `[height, width, 3]`; of a photograph only what the transform looks at.
    decoded: Vec<u8>,
    /// The picture at its final size, `[size, size, 3]`.
    resized: Vec<u8>,
}

impl Workbench {
    pub fn new() -> Self {
        Self {
            resizer: Resizer::new(),
            file: Vec::new(),
            photos: Decoder::default(),
            decoded: Vec::new(),
            resized: Vec::new(),
        }
    }

    /// Decodes and transforms an image file of at most `limit` million pixels; returns
    /// `[3, size, size]`.
    ///
    /// Of photographs only what the transform looks at is decoded, all else as
    /// [`decode_rgb`](super::decode_rgb) does.
    pub fn prepare(
        &mut self,
        path: &Path,
        transform: &Transform,
        limit: u64,
        rng: &mut impl Rng,
    ) -> Result<Vec<u8>, DataError> {
        let (size, view) =
            (self.load(path, transform, limit, rng)).map_err(|reason| DataError::Unreadable {
                path: path.to_path_buf(),
                reason,
            })?;
        let decoded = std::mem::take(&mut self.decoded);
        let prepared = self.finish(&decoded, size, &view, transform, rng);
        self.decoded = decoded;
        prepared
    }

    /// Transforms a decoded image, `[height, width, 3]`; returns `[3, size, size]`.
    pub fn transform(
        &mut self,
        pixels: &[u8],
        [width, height]: [u32; 2],
        transform: &Transform,
        rng: &mut impl Rng,
    ) -> Result<Vec<u8>, DataError> {
        let view = transform.view([width, height], rng);
        self.finish(pixels, [width, height], &view, transform, rng)
    }

    /// Reads and decodes what is looked at; returns width and height of `decoded`, and where to
    /// look.
    fn load(
        &mut self,
        path: &Path,
        transform: &Transform,
        limit: u64,
        rng: &mut impl Rng,
    ) -> Result<([u32; 2], View), DecodeError> {
        read(path, &mut self.file)?;
        let mut drawn = None;
        if let Some(photo) = Photo::open(&self.file) {
            let size = photo.size();
            check_pixels(size, limit)?;
            let view = transform.view(size, rng);
            let region = transform.region(&view, size);
            let decode = || Ok(self.photos.decode(&photo, region, &mut self.decoded));
            if contained(decode)?.is_some() {
                return Ok((size, view));
            }
            drawn = Some(view);
        }
        let image = contained(|| decode(&self.file, limit))?;
        let size = [image.width(), image.height()];
        self.decoded = image.into_raw();
        let view = drawn.unwrap_or_else(|| transform.view(size, rng));
        Ok((size, view))
    }

    /// Crops while resizing, applies what changes pixels, and puts the planes apart.
    fn finish(
        &mut self,
        pixels: &[u8],
        [width, height]: [u32; 2],
        view: &View,
        transform: &Transform,
        rng: &mut impl Rng,
    ) -> Result<Vec<u8>, DataError> {
        let size = transform.size();
        let [left, top, crop_width, crop_height] = view.within([width, height]);
        let options = ResizeOptions::new()
            .resize_alg(transform.interpolation().algorithm())
            .crop(left, top, crop_width, crop_height);
        let source = ImageRef::new(width, height, pixels, PixelType::U8x3)
            .expect("three bytes per pixel were decoded");
        self.resized.resize(3 * size * size, 0);
        let side = size as u32;
        let mut resized = Image::from_slice_u8(side, side, &mut self.resized, PixelType::U8x3)
            .expect("three bytes per pixel were reserved");
        (self.resizer.resize(&source, &mut resized, &options)).map_err(|reason| {
            DataError::Resize {
                width,
                height,
                reason,
            }
        })?;
        if let Transform::Train(transform) = transform {
            transform.augment.apply(&mut self.resized, size, rng);
        }
        Ok(to_planar(&self.resized, size, view.flip))
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
    use crate::{
        EvalTransform, Interpolation, MAX_MEGAPIXELS, Purpose, TrainTransform, decode_rgb,
        random_stream,
    };

    fn fixtures() -> Vec<PathBuf> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
        let files = fs::read_dir(folder).unwrap();
        let files = files.map(|entry| entry.unwrap().path());
        let files: Vec<_> = files
            .filter(|path| path.extension().is_some_and(|kind| kind != "py"))
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
                        wrong.push(format!("{} {transform:?} {draw}", file.display()));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
