//! Decoding: every format and colour type, orientation, and files that are no images.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use burn_image_folder::{DecodeError, decode_rgb, decode_rgb_bytes, shown};
use image::{
    DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb,
    Rgb32FImage, RgbImage, Rgba, RgbaImage,
};

const SIZE: (u32, u32) = (40, 30);

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn scene() -> RgbImage {
    RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| {
        Rgb([40 + 5 * x, 230 - 6 * y, 60 + 2 * x + 3 * y].map(|v| v as u8))
    })
}

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Greatest difference between two images of one size.
fn difference(a: &RgbImage, b: &RgbImage) -> u8 {
    assert_eq!(a.dimensions(), b.dimensions());
    let pairs = a.as_raw().iter().zip(b.as_raw());
    pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn every_lossless_format_gives_the_pixels_back() {
    use ImageFormat::*;
    for format in [Png, Bmp, Tiff, Pnm, WebP] {
        let decoded = decode_rgb_bytes(&encoded(scene(), format)).unwrap();
        assert_eq!(decoded, scene(), "{format:?}");
    }
    let jpeg = decode_rgb_bytes(&encoded(scene(), Jpeg)).unwrap();
    assert!(difference(&jpeg, &scene()) < 25);
}

#[test]
fn every_colour_type_becomes_rgb() {
    let grey = GrayImage::from_fn(4, 3, |x, y| Luma([(60 * x + y) as u8]));
    let expected = DynamicImage::from(grey.clone()).into_rgb8();
    for format in [ImageFormat::Png, ImageFormat::Tiff, ImageFormat::Bmp] {
        let decoded = decode_rgb_bytes(&encoded(grey.clone(), format)).unwrap();
        assert_eq!(decoded, expected, "{format:?}");
    }

    // 16 bits lose their lower half, rounded.
    type Rgb16 = ImageBuffer<Rgb<u16>, Vec<u16>>;
    type Luma16 = ImageBuffer<Luma<u16>, Vec<u16>>;
    let deep = Rgb16::from_pixel(4, 3, Rgb([0x8012, 0xFFFF, 0x0100]));
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        let decoded = decode_rgb_bytes(&encoded(deep.clone(), format)).unwrap();
        assert_eq!(decoded.get_pixel(1, 1).0, [0x80, 0xFF, 0x01], "{format:?}");
    }
    let deep = Luma16::from_pixel(4, 3, Luma([0xC0C0]));
    let decoded = decode_rgb_bytes(&encoded(deep, ImageFormat::Png)).unwrap();
    assert_eq!(decoded.get_pixel(0, 0).0, [0xC0; 3]);

    let float = Rgb32FImage::from_pixel(4, 3, Rgb([0.0, 0.5, 7.0]));
    let decoded = decode_rgb_bytes(&encoded(float, ImageFormat::Tiff)).unwrap();
    assert_eq!(decoded.get_pixel(0, 0).0, [0, 128, 255]);
}

#[test]
fn transparency_is_composited_on_white() {
    let pixels = [
        ([10, 20, 30, 255], [10, 20, 30]),
        ([10, 20, 30, 0], [255, 255, 255]),
        ([0, 100, 200, 128], [127, 177, 227]),
    ];
    for (pixel, expected) in pixels {
        let image = RgbaImage::from_pixel(4, 3, Rgba(pixel));
        for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Tiff] {
            let decoded = decode_rgb_bytes(&encoded(image.clone(), format)).unwrap();
            assert_eq!(decoded.get_pixel(0, 0).0, expected, "{format:?}");
        }
    }
    let image = GrayAlphaImage::from_pixel(4, 3, LumaA([0, 51]));
    let decoded = decode_rgb_bytes(&encoded(image, ImageFormat::Png)).unwrap();
    assert_eq!(decoded.get_pixel(0, 0).0, [204; 3]);
}

#[test]
fn what_pillow_wrote_is_read_as_pillow_reads_it() {
    for (file, expected, tolerance) in [
        ("cmyk.jpg", "cmyk.ppm", 3),
        ("ycck.jpg", "ycck.ppm", 5),
        ("grey_adobe.jpg", "grey_adobe.ppm", 2),
        ("progressive.jpg", "progressive.ppm", 5),
        ("palette.png", "palette.ppm", 0),
        ("animated.gif", "animated.ppm", 0),
        ("cmyk.tiff", "cmyk_tiff.ppm", 2),
    ] {
        let decoded = decode_rgb(fixture(file)).unwrap();
        let expected = decode_rgb(fixture(expected)).unwrap();
        let worst = difference(&decoded, &expected);
        assert!(worst <= tolerance, "{file} differs by {worst}");
        // The comparison is not one that anything passes.
        let mut inverted = decoded.clone();
        image::imageops::invert(&mut inverted);
        assert!(difference(&inverted, &expected) > 50);
    }
}

/// Puts an EXIF block with the given orientation into a JPEG file.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let mut bytes = jpeg[..2].to_vec();
    bytes.extend([0xFF, 0xE1, 0, exif.len() as u8 + 2]);
    bytes.extend(exif);
    bytes.extend(&jpeg[2..]);
    bytes
}

#[test]
fn all_eight_orientations_are_undone() {
    let jpeg = encoded(scene(), ImageFormat::Jpeg);
    let stored = decode_rgb_bytes(&jpeg).unwrap();
    let (w, h) = SIZE;
    for orientation in 1..=8 {
        let shown = decode_rgb_bytes(&with_orientation(&jpeg, orientation)).unwrap();
        // By the EXIF standard: where row 0 and column 0 of the stored image are shown.
        let source: Box<dyn Fn(u32, u32) -> (u32, u32)> = match orientation {
            1 => Box::new(|x, y| (x, y)),
            2 => Box::new(|x, y| (w - 1 - x, y)),
            3 => Box::new(|x, y| (w - 1 - x, h - 1 - y)),
            4 => Box::new(|x, y| (x, h - 1 - y)),
            5 => Box::new(|x, y| (y, x)),
            6 => Box::new(|x, y| (y, h - 1 - x)),
            7 => Box::new(|x, y| (w - 1 - y, h - 1 - x)),
            _ => Box::new(|x, y| (w - 1 - y, x)),
        };
        let (sw, sh) = if orientation < 5 { (w, h) } else { (h, w) };
        let expected = RgbImage::from_fn(sw, sh, |x, y| {
            let (x, y) = source(x, y);
            *stored.get_pixel(x, y)
        });
        assert_eq!(shown, expected, "orientation {orientation}");
    }
    // An impossible one is ignored.
    let shown = decode_rgb_bytes(&with_orientation(&jpeg, 9)).unwrap();
    assert_eq!(shown, stored);
}

#[test]
fn the_content_decides_not_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photo.jpg");
    std::fs::write(&path, encoded(scene(), ImageFormat::Png)).unwrap();
    assert_eq!(decode_rgb(&path).unwrap(), scene());
}

#[test]
fn bad_files_are_errors_that_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let message = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let message = decode_rgb(&path).unwrap_err().to_string();
        let start = format!("cannot read image `{}`: ", shown(&path));
        assert!(!message.contains('\n'));
        message.strip_prefix(&start).expect(&message).to_string()
    };
    assert_eq!(message("a.jpg", b""), "the file is empty");
    assert_eq!(
        message("b.jpg", b"<html>404 not found</html>"),
        "the content is not an image in a supported format"
    );
    let jpeg = encoded(scene(), ImageFormat::Jpeg);
    assert_eq!(message("c.jpg", &jpeg[..600]), "the file is truncated");
    assert_eq!(
        message("d.jpg", &jpeg[..jpeg.len() - 6]),
        "the file is truncated"
    );
    let gone = decode_rgb(folder.path().join("gone.jpg")).unwrap_err();
    assert!(gone.to_string().contains("gone.jpg`: No such file"));
}

#[test]
fn a_thumbnails_end_does_not_hide_a_cut() {
    let jpeg = encoded(scene(), ImageFormat::Jpeg);
    let mut bytes = jpeg[..2].to_vec();
    bytes.extend(*b"\xFF\xE1\x00\x06\xFF\xD9\xFF\xD9");
    bytes.extend(&jpeg[2..]);
    assert!(decode_rgb_bytes(&bytes).is_ok());
    bytes.truncate(bytes.len() - 6);
    assert!(matches!(
        decode_rgb_bytes(&bytes),
        Err(DecodeError::Truncated)
    ));
}

#[test]
fn any_cut_of_any_format_is_an_error_or_the_whole_picture() {
    use ImageFormat::*;
    for format in [Png, Bmp, Tiff, Pnm, WebP, Gif, Jpeg] {
        let bytes = encoded(scene(), format);
        let whole = decode_rgb_bytes(&bytes).unwrap();
        for length in 0..bytes.len() {
            if let Ok(image) = decode_rgb_bytes(&bytes[..length]) {
                assert_eq!(image, whole, "{format:?} cut to {length} bytes");
            }
        }
    }
}

#[test]
fn damage_anywhere_never_panics() {
    use ImageFormat::*;
    for format in [Png, Bmp, Tiff, Pnm, WebP, Gif, Jpeg] {
        let bytes = encoded(scene(), format);
        for at in 0..bytes.len().min(400) {
            for value in [0, 0x7F, 0xFF] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                let _ = decode_rgb_bytes(&damaged);
            }
        }
    }
}

#[test]
fn a_header_that_announces_gigabytes_is_refused_before_they_are_taken() {
    let bmp = encoded(scene(), ImageFormat::Bmp);
    let mut huge = bmp.clone();
    huge[18..22].copy_from_slice(&60_000u32.to_le_bytes());
    huge[22..26].copy_from_slice(&60_000u32.to_le_bytes());
    assert_eq!(
        decode_rgb_bytes(&huge).unwrap_err().to_string(),
        "60000x60000 pixels, at most 89 megapixels are decoded: `max_megapixels` sets the limit"
    );
}
