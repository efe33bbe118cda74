//! Random changes of an image at its final size: which, how strong, in what order.

use std::f64::consts::TAU;

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::pixels;
use crate::error::{DataError, check};

/// Random brightness, contrast, saturation and hue, in random order (torchvision's
/// `ColorJitter`). Each strength is the largest change: 0.4 makes factors of 0.6 to 1.4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ColorJitter {
    /// Largest change of the brightness factor.
    pub brightness: f32,
    /// Largest change of the contrast factor.
    pub contrast: f32,
    /// Largest change of the saturation factor.
    pub saturation: f32,
    /// Largest turn of the colour circle, 0 to 0.5.
    pub hue: f32,
}

impl ColorJitter {
    fn validate(&self) -> Result<(), DataError> {
        for (field, value) in [
            ("color_jitter.brightness", &self.brightness),
            ("color_jitter.contrast", &self.contrast),
            ("color_jitter.saturation", &self.saturation),
        ] {
            check(
                *value >= 0.0 && value.is_finite(),
                (field, value),
                "0 or more",
            )?;
        }
        check(
            (0.0..=0.5).contains(&self.hue),
            ("color_jitter.hue", &self.hue),
            "0 to 0.5",
        )
    }

    fn apply<R: Rng>(&self, image: &mut [u8], rng: &mut R) {
        if *self == Self::default() {
            return;
        }
        let mut order = [0, 1, 2, 3];
        order.shuffle(rng);
        let mut factor = |strength: f32| {
            let [least, most] = [(1.0 - strength).max(0.0), 1.0 + strength];
            least + (most - least) * rng.random::<f32>()
        };
        let factors = [self.brightness, self.contrast, self.saturation].map(&mut factor);
        let turn = (2.0 * rng.random::<f32>() - 1.0) * self.hue;
        for change in order {
            match change {
                0 if self.brightness > 0.0 => pixels::brightness(image, factors[0]),
                1 if self.contrast > 0.0 => pixels::contrast(image, factors[1]),
                2 if self.saturation > 0.0 => pixels::saturation(image, factors[2]),
                3 if self.hue > 0.0 => pixels::hue(image, turn),
                _ => {}
            }
        }
    }
}

/// Learnt or simple policies of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Policy {
    /// No such change.
    #[default]
    None,
    /// One change of random strength (Müller and Hutter, TrivialAugment, "wide" space,
    /// <https://arxiv.org/abs/2103.10158>).
    Trivial,
    /// Several changes of one strength (Cubuk et al., RandAugment,
    /// <https://arxiv.org/abs/1909.13719>).
    Rand {
        /// Changes per image.
        #[serde(default = "two")]
        changes: usize,
        /// Their strength, 0 to 30.
        #[serde(default = "nine")]
        magnitude: usize,
    },
}

fn two() -> usize {
    2
}

fn nine() -> usize {
    9
}

/// Strengths are numbered from 0 to this.
const STRONGEST: usize = 30;

/// One change of a policy.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

const CHANGES: [Change; 14] = [
    Change::Identity,
    Change::ShearX,
    Change::ShearY,
    Change::TranslateX,
    Change::TranslateY,
    Change::Rotate,
    Change::Brightness,
    Change::Color,
    Change::Contrast,
    Change::Sharpness,
    Change::Posterize,
    Change::Solarize,
    Change::AutoContrast,
    Change::Equalize,
];

/// How far the strongest changes of a policy go.
struct Reach {
    shear: f64,
    /// In pixels.
    translate: f64,
    /// In degrees.
    rotate: f64,
    /// Of the factor of brightness, colour, contrast and sharpness.
    factor: f64,
    /// Bits that posterizing takes away.
    bits: f64,
}

impl Policy {
    fn validate(&self) -> Result<(), DataError> {
        let Self::Rand { changes, magnitude } = self else {
            return Ok(());
        };
        check(
            (1..=14).contains(changes),
            ("policy.changes", changes),
            "1 to 14",
        )?;
        check(
            *magnitude <= STRONGEST,
            ("policy.magnitude", magnitude),
            "0 to 30",
        )
    }

    fn apply<R: Rng>(&self, image: &mut [u8], size: usize, rng: &mut R) {
        match *self {
            Self::None => {}
            Self::Trivial => {
                let reach = Reach {
                    shear: 0.99,
                    translate: 32.0,
                    rotate: 135.0,
                    factor: 0.99,
                    bits: 6.0,
                };
                let magnitude = rng.random_range(0..=STRONGEST);
                random_change(image, size, &reach, magnitude, rng);
            }
            Self::Rand { changes, magnitude } => {
                let reach = Reach {
                    shear: 0.3,
                    translate: 150.0 / 331.0 * size as f64,
                    rotate: 30.0,
                    factor: 0.9,
                    bits: 4.0,
                };
                for _ in 0..changes {
                    random_change(image, size, &reach, magnitude, rng);
                }
            }
        }
    }
}

/// Applies a random change in a random direction.
fn random_change<R: Rng>(
    image: &mut [u8],
    size: usize,
    reach: &Reach,
    magnitude: usize,
    rng: &mut R,
) {
    let change = *CHANGES.choose(rng).unwrap_or(&Change::Identity);
    let sign = if rng.random() { 1.0 } else { -1.0 };
    change.apply(
        image,
        size,
        reach,
        magnitude as f64 / STRONGEST as f64,
        sign,
    );
}

impl Change {
    /// `strength` is 0 to 1, `sign` 1 or -1 for the changes that have two directions.
    fn apply(self, image: &mut [u8], size: usize, reach: &Reach, strength: f64, sign: f64) {
        let factor = (1.0 + sign * strength * reach.factor) as f32;
        let shear = sign * strength * reach.shear;
        let shift = (sign * strength * reach.translate).trunc();
        match self {
            Self::Identity => {}
            Self::ShearX => pixels::affine(image, size, [1.0, shear, 0.0, 0.0, 1.0, 0.0]),
            Self::ShearY => pixels::affine(image, size, [1.0, 0.0, 0.0, shear, 1.0, 0.0]),
            Self::TranslateX => pixels::affine(image, size, [1.0, 0.0, -shift, 0.0, 1.0, 0.0]),
            Self::TranslateY => pixels::affine(image, size, [1.0, 0.0, 0.0, 0.0, 1.0, -shift]),
            Self::Rotate => {
                let turn = pixels::rotation(sign * strength * reach.rotate, size);
                pixels::affine(image, size, turn);
            }
            Self::Brightness => pixels::brightness(image, factor),
            Self::Color => pixels::saturation(image, factor),
            Self::Contrast => pixels::contrast(image, factor),
            Self::Sharpness => pixels::sharpness(image, size, factor),
            Self::Posterize => {
                let bits = (strength * reach.bits).round_ties_even() as u32;
                pixels::posterize(image, 8 - bits);
            }
            Self::Solarize => pixels::solarize(image, (255.0 * (1.0 - strength)) as f32),
            Self::AutoContrast => pixels::autocontrast(image),
            Self::Equalize => pixels::equalize(image),
        }
    }
}

/// Paints a random rectangle over (Zhong et al., <https://arxiv.org/abs/1708.04896>).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomErasing {
    /// Share of the images that it happens to.
    pub probability: f32,
    /// Least and greatest share of the image's area.
    pub scale: [f32; 2],
    /// Least and greatest height : width.
    pub ratio: [f32; 2],
    /// Red, green and blue of the rectangle.
    pub color: [u8; 3],
}

impl Default for RandomErasing {
    /// Never; if a probability is given, torchvision's rectangles in ImageNet's mean colour.
    fn default() -> Self {
        Self {
            probability: 0.0,
            scale: [0.02, 0.33],
            ratio: [0.3, 3.3],
            color: [124, 116, 104],
        }
    }
}

impl RandomErasing {
    fn validate(&self) -> Result<(), DataError> {
        let [least, most] = self.scale;
        let [low, wide] = self.ratio;
        check(
            (0.0..=1.0).contains(&self.probability),
            ("random_erasing.probability", &self.probability),
            "a probability, 0 to 1",
        )?;
        check(
            0.0 < least && least <= most && most <= 1.0,
            ("random_erasing.scale", &self.scale),
            "[least, most] with 0 < least <= most <= 1",
        )?;
        check(
            0.0 < low && low <= wide && wide.is_finite(),
            ("random_erasing.ratio", &self.ratio),
            "[least, most] with 0 < least <= most",
        )
    }

    fn apply<R: Rng>(&self, image: &mut [u8], size: usize, rng: &mut R) {
        if rng.random::<f32>() >= self.probability {
            return;
        }
        let between = |[low, high]: [f64; 2], share: f64| low + (high - low) * share;
        for _ in 0..10 {
            let area = (size * size) as f64 * between(self.scale.map(f64::from), rng.random());
            let logs = self.ratio.map(|ratio| f64::from(ratio).ln());
            let aspect = between(logs, rng.random()).exp();
            let height = (area * aspect).sqrt().round_ties_even() as usize;
            let width = (area / aspect).sqrt().round_ties_even() as usize;
            if height < size && width < size {
                let top = rng.random_range(0..=size - height);
                let left = rng.random_range(0..=size - width);
                for row in image.chunks_exact_mut(3 * size).skip(top).take(height) {
                    let part = &mut row[3 * left..3 * (left + width)];
                    part.as_chunks_mut::<3>().0.fill(self.color);
                }
                return;
            }
        }
    }
}

/// The lighting noise of AlexNet (Krizhevsky et al., 2012, section 4.1): adds to all pixels a
/// random multiple of the principal components of ImageNet's colours.
fn lighting<R: Rng>(image: &mut [u8], deviation: f32, rng: &mut R) {
    const VALUES: [f32; 3] = [0.2175, 0.0188, 0.0045];
    const VECTORS: [[f32; 3]; 3] = [
        [-0.5675, 0.7192, 0.4009],
        [-0.5808, -0.0045, -0.8140],
        [-0.5836, -0.6948, 0.4203],
    ];
    if deviation == 0.0 {
        return;
    }
    let weights = VALUES.map(|value| value * deviation * gaussian(rng));
    let along = |vector: [f32; 3]| vector.iter().zip(weights).map(|(v, w)| v * w).sum::<f32>();
    pixels::add(image, VECTORS.map(|vector| 255.0 * along(vector)));
}

/// A number of mean 0 and deviation 1, by Box and Muller's method.
fn gaussian<R: Rng>(rng: &mut R) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    (radius * (TAU * rng.random::<f64>()).cos()) as f32
}

/// All random changes of pixels, in the order they are applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// A policy of changes.
    pub policy: Policy,
    /// Brightness, contrast, saturation and hue.
    pub color_jitter: ColorJitter,
    /// Standard deviation of the lighting noise along ImageNet's principal colours, usually 0.1;
    /// 0 for none.
    pub lighting: f32,
    /// A rectangle painted over.
    pub random_erasing: RandomErasing,
}

impl Augment {
    pub(super) fn validate(&self) -> Result<(), DataError> {
        self.policy.validate()?;
        self.color_jitter.validate()?;
        check(
            self.lighting >= 0.0 && self.lighting.is_finite(),
            ("lighting", &self.lighting),
            "0 or more",
        )?;
        self.random_erasing.validate()
    }

    /// Changes a square image of `size` pixels, `[size, size, 3]`.
    pub(crate) fn apply<R: Rng>(&self, image: &mut [u8], size: usize, rng: &mut R) {
        self.policy.apply(image, size, rng);
        self.color_jitter.apply(image, rng);
        lighting(image, self.lighting, rng);
        self.random_erasing.apply(image, size, rng);
    }
}
