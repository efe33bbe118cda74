//! Transforms: the statistics of random crops, and the pixels of deterministic ones.

use std::path::Path;

use burn::tensor::Device;
use burn_image_folder::{EvalTransform, Interpolation, Normalize, TrainTransform, decode_rgb};
use image::{Rgb, RgbImage};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const WIDTH: u32 = 250;
const HEIGHT: u32 = 200;
const SIZE: usize = 50;

/// Red tells the column, green the row.
fn coordinates() -> RgbImage {
    RgbImage::from_fn(WIDTH, HEIGHT, |x, y| Rgb([x as u8, y as u8, 7]))
}

fn transform() -> TrainTransform {
    TrainTransform {
        size: SIZE,
        // Any crop of these fits into the picture, so that none is drawn again.
        scale: [0.1, 0.4],
        interpolation: Interpolation::Nearest,
        ..TrainTransform::default()
    }
}

/// A crop as read from the pixels of the result.
struct Crop {
    /// Share of the picture's area.
    area: f64,
    ratio: f64,
    /// Share of the free space left of the crop and above it.
    place: [f64; 2],
    flipped: bool,
}

fn read_crop(pixels: &[u8]) -> Crop {
    let plane = SIZE * SIZE;
    assert_eq!(pixels.len(), 3 * plane);
    assert!(pixels[2 * plane..].iter().all(|&blue| blue == 7));
    let [left, right] = [pixels[0], pixels[SIZE - 1]].map(f64::from);
    let [top, bottom] = [pixels[plane], pixels[2 * plane - SIZE]].map(f64::from);
    // First and last sample lie half a step within the crop.
    let stretch = SIZE as f64 / (SIZE - 1) as f64;
    let [width, height] = [(right - left).abs() * stretch, (bottom - top) * stretch];
    let free = [f64::from(WIDTH) - width, f64::from(HEIGHT) - height];
    let start = [left.min(right), top];
    Crop {
        area: width * height / f64::from(WIDTH * HEIGHT),
        ratio: width / height,
        place: [start[0] / free[0], start[1] / free[1]],
        flipped: left > right,
    }
}

fn share(values: &[f64], below: f64) -> f64 {
    values.iter().filter(|&&value| value < below).count() as f64 / values.len() as f64
}

/// Whether `values` are spread evenly over `low`..`high`, with tolerance for a few thousand.
fn uniform(values: &[f64], [low, high]: [f64; 2]) -> bool {
    (1..10)
        .map(f64::from)
        .all(|tenth| (share(values, low + (high - low) * tenth / 10.0) - tenth / 10.0).abs() < 0.03)
}

#[test]
fn random_crops_have_torchvisions_distribution() {
    let image = coordinates();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let transform = transform();
    let crops: Vec<_> = (0..6000)
        .map(|_| read_crop(&transform.apply(&image, &mut rng).unwrap()))
        .collect();
    let all = |f: fn(&Crop) -> f64| crops.iter().map(f).collect::<Vec<_>>();

    let areas = all(|crop| crop.area);
    assert!(areas.iter().all(|area| (0.09..0.43).contains(area)));
    assert!(uniform(&areas, [0.1, 0.4]));
    let log_ratios = all(|crop| crop.ratio.ln());
    assert!(log_ratios.iter().all(|ratio| ratio.abs() < 0.33));
    let range = [(0.75f64).ln(), (4.0f64 / 3.0).ln()];
    assert!(uniform(&log_ratios, range));
    assert!(uniform(&all(|crop| crop.place[0]), [0.0, 1.0]));
    assert!(uniform(&all(|crop| crop.place[1]), [0.0, 1.0]));
    let flipped = all(|crop| f64::from(u8::from(crop.flipped)));
    assert!((share(&flipped, 0.5) - 0.5).abs() < 0.03);

    // Two mistakes that are easily made would be seen: a uniform ratio instead of a uniform
    // logarithm of it, and a uniform side length instead of a uniform area.
    let wrong: Vec<f64> = (0..6000)
        .map(|_| rng.random_range(0.75..4.0f64 / 3.0).ln())
        .collect();
    assert!(!uniform(&wrong, range));
    let wrong: Vec<f64> = (0..6000)
        .map(|_| rng.random_range(0.1f64.sqrt()..0.4f64.sqrt()).powi(2))
        .collect();
    assert!(!uniform(&wrong, [0.1, 0.4]));
}

#[test]
fn flip_probability_is_kept_at_its_ends() {
    let image = coordinates();
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    for hflip in [0.0, 1.0] {
        let transform = TrainTransform {
            hflip,
            ..transform()
        };
        for _ in 0..50 {
            let crop = read_crop(&transform.apply(&image, &mut rng).unwrap());
            assert_eq!(crop.flipped, hflip == 1.0);
        }
    }
}

#[test]
fn where_no_crop_fits_the_largest_allowed_centre_is_taken() {
    // 200 × 4: no crop of 90 % of it has a ratio below 4 : 3.
    let image = RgbImage::from_fn(200, 4, |x, y| Rgb([x as u8, y as u8, 7]));
    let transform = TrainTransform {
        size: 5,
        scale: [0.9, 1.0],
        hflip: 0.0,
        interpolation: Interpolation::Nearest,
        ..TrainTransform::default()
    };
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let pixels = transform.apply(&image, &mut rng).unwrap();
    // 5 × 4 pixels from column 97.
    assert_eq!(pixels[..5], [97, 98, 99, 100, 101]);
}

#[test]
fn extreme_shapes_pass() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let train = TrainTransform::default();
    let eval = EvalTransform::default();
    for (width, height) in [(1, 1), (1, 5000), (5000, 1), (3, 2), (224, 224)] {
        let image = RgbImage::from_pixel(width, height, Rgb([1, 2, 3]));
        for _ in 0..20 {
            let pixels = train.apply(&image, &mut rng).unwrap();
            assert!(pixels[..224 * 224].iter().all(|&red| red == 1));
        }
        let pixels = eval.apply(&image).unwrap();
        assert!(pixels[2 * 224 * 224..].iter().all(|&blue| blue == 3));
    }
}

#[test]
fn evaluation_without_resizing_is_the_exact_centre() {
    let image = RgbImage::from_fn(30, 20, |x, y| Rgb([(8 * x) as u8, (9 * y) as u8, 0]));
    let transform = EvalTransform {
        size: 16,
        crop_ratio: 0.8,
        ..EvalTransform::default()
    };
    let pixels = transform.apply(&image).unwrap();
    for y in 0..16 {
        for x in 0..16 {
            assert_eq!(
                usize::from(pixels[16 * y + x]),
                8 * (x + 7),
                "red at {x}, {y}"
            );
            assert_eq!(
                usize::from(pixels[256 + 16 * y + x]),
                9 * (y + 2),
                "green at {x}, {y}"
            );
        }
    }
}

#[test]
fn evaluation_agrees_with_pillow() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let image = decode_rgb(fixtures.join("eval.png")).unwrap();
    let expected = decode_rgb(fixtures.join("eval.ppm")).unwrap();
    let difference = |crop_ratio, interpolation| {
        let transform = EvalTransform {
            size: 16,
            crop_ratio,
            interpolation,
        };
        let pixels = transform.apply(&image).unwrap();
        let worst = expected.enumerate_pixels().flat_map(|(x, y, pixel)| {
            let at = (16 * y + x) as usize;
            [0, 1, 2].map(|c| pixels[256 * c + at].abs_diff(pixel.0[c]))
        });
        worst.max().unwrap()
    };
    assert!(difference(0.8, Interpolation::Bilinear) <= 1);
    // Another crop or one without anti-aliasing is not mistaken for it.
    assert!(difference(1.0, Interpolation::Bilinear) > 5);
    assert!(difference(0.8, Interpolation::Nearest) > 2);
}

#[test]
fn normalisation_is_per_channel() {
    let normalize = Normalize {
        mean: [0.1, 0.2, 0.3],
        std: [0.5, 0.25, 2.0],
    };
    let mut pixels = vec![0; 2 * 3 * 4];
    pixels[4] = 255; // first image, green
    pixels[12] = 51; // second image, red
    let batch = normalize.batch(pixels, 2, &Device::flex());
    assert_eq!(batch.dims(), [2, 3, 2, 2]);
    let values = batch.into_data().try_to_vec::<f32>().unwrap();
    for (at, expected) in [(0, -0.2), (4, 3.2), (5, -0.8), (8, -0.15), (12, 0.2)] {
        assert!((values[at] - expected).abs() < 1e-6, "value {at}");
    }
}

#[test]
fn settings_out_of_range_are_named() {
    let train = TrainTransform::default;
    let eval = EvalTransform::default;
    assert!(train().validate().is_ok() && eval().validate().is_ok());
    for (result, expected) in [
        (
            TrainTransform { size: 0, ..train() }.validate(),
            "`size` is 0: it must be 1 to 4096 pixels",
        ),
        (
            TrainTransform {
                scale: [0.5, 0.1],
                ..train()
            }
            .validate(),
            "`scale` is [0.5, 0.1]: it must be [least, most] with 0 < least <= most <= 1",
        ),
        (
            TrainTransform {
                ratio: [0.0, 1.0],
                ..train()
            }
            .validate(),
            "`ratio` is [0.0, 1.0]: it must be [least, most] with 0 < least <= most",
        ),
        (
            TrainTransform {
                hflip: 1.5,
                ..train()
            }
            .validate(),
            "`hflip` is 1.5: it must be a probability, 0 to 1",
        ),
        (
            EvalTransform {
                crop_ratio: f32::NAN,
                ..eval()
            }
            .validate(),
            "`crop_ratio` is NaN: it must be above 0 and at most 1",
        ),
        (
            Normalize {
                std: [1.0, 0.0, 1.0],
                ..Normalize::default()
            }
            .validate(),
            "`std` is [1.0, 0.0, 1.0]: it must be three numbers above 0",
        ),
    ] {
        assert_eq!(result.unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_misspelt_setting_is_refused_and_a_missing_one_has_its_default() {
    let parsed: TrainTransform = serde_json::from_str(r#"{"size": 64}"#).unwrap();
    let expected = TrainTransform {
        size: 64,
        ..TrainTransform::default()
    };
    assert_eq!(parsed, expected);
    let error = serde_json::from_str::<TrainTransform>(r#"{"sise": 64}"#).unwrap_err();
    assert!(error.to_string().contains("unknown field `sise`"));
}
