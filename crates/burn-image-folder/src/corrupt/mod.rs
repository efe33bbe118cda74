//! Images as they come out of a bad camera, a bad channel, or a filter: what a network is robust against.

mod blur;
mod frequency;
mod jpeg;
mod noise;
mod planes;

use std::fmt;
use std::str::FromStr;

use planes::planes;

use crate::error::{DataError, check, one_line};
use crate::{Purpose, random_stream};

/// A corruption of the images that a network is shown, after they are brought to their size.
///
/// Written as its name and its strength, `blur:2`. Pixels are 8-bit before and after.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Corruption {
    /// Gaussian blur; the standard deviation in pixels. Beyond the border, the image is mirrored.
    Blur(f64),
    /// Gaussian noise, of each value by itself; the standard deviation where pixels go from 0 to 1.
    Noise(f64),
    /// JPEG at a quality of 1 to 100.
    Jpeg(u8),
    /// Only the frequencies up to a share of the highest, 0 to 1.
    ///
    /// Frequencies are those of the cosine transform, which mirrors the image beyond its border: along
    /// an axis of `n` pixels the `k`-th has the share `k / n`, and both axes count by the root of the
    /// sum of their squares.
    LowPass(f64),
    /// Only the frequencies above that share, and the mean of each channel, around which they are.
    HighPass(f64),
}

impl Corruption {
    /// Checks the strength.
    ///
    /// # Errors
    ///
    /// [`DataError::Setting`] for a strength out of its range.
    pub fn validate(&self) -> Result<(), DataError> {
        match self {
            Self::Blur(sigma) => check(
                *sigma > 0.0 && *sigma <= 100.0,
                ("blur", sigma),
                "above 0 and at most 100 pixels",
            ),
            Self::Noise(deviation) => check(
                *deviation > 0.0 && *deviation <= 10.0,
                ("noise", deviation),
                "above 0 and at most 10",
            ),
            Self::Jpeg(quality) => check(
                (1..=100).contains(quality),
                ("jpeg", quality),
                "a quality of 1 to 100",
            ),
            Self::LowPass(share) => share_of("lowpass", share),
            Self::HighPass(share) => share_of("highpass", share),
        }
    }

    /// Corrupts an image of three planes, `[3, size, size]`. `seed` and `image` decide what is random.
    pub(crate) fn apply(&self, pixels: &mut [u8], size: usize, seed: u64, image: u64) {
        match *self {
            Self::Blur(sigma) => planes(pixels, size, |plane| blur::blur(plane, size, sigma)),
            Self::Noise(deviation) => {
                let mut stream = random_stream(seed, Purpose::Corrupt, image, 0);
                noise::add(pixels, deviation, &mut stream);
            }
            Self::Jpeg(quality) => jpeg::round_trip(pixels, size, quality),
            Self::LowPass(share) => {
                let low = frequency::Filter::new(size, share);
                planes(pixels, size, |plane| low.keep_low(plane));
            }
            Self::HighPass(share) => {
                let low = frequency::Filter::new(size, share);
                planes(pixels, size, |plane| low.keep_high(plane));
            }
        }
    }
}

fn share_of(field: &'static str, share: &f64) -> Result<(), DataError> {
    let good = (0.0..=1.0).contains(share);
    check(
        good,
        (field, share),
        "a share of the highest frequency, 0 to 1",
    )
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blur(sigma) => write!(f, "blur:{sigma}"),
            Self::Noise(deviation) => write!(f, "noise:{deviation}"),
            Self::Jpeg(quality) => write!(f, "jpeg:{quality}"),
            Self::LowPass(share) => write!(f, "lowpass:{share}"),
            Self::HighPass(share) => write!(f, "highpass:{share}"),
        }
    }
}

impl FromStr for Corruption {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let (name, strength) = text.split_once(':').unwrap_or((text, ""));
        let number = strength.parse::<f64>().ok();
        let corruption = match (name, number) {
            ("blur", Some(sigma)) => Some(Self::Blur(sigma)),
            ("noise", Some(deviation)) => Some(Self::Noise(deviation)),
            ("jpeg", _) => strength.parse().ok().map(Self::Jpeg),
            ("lowpass", Some(share)) => Some(Self::LowPass(share)),
            ("highpass", Some(share)) => Some(Self::HighPass(share)),
            _ => None,
        };
        let corruption = corruption.ok_or_else(|| DataError::Setting {
            field: "corruption",
            value: one_line(text),
            expected: "blur:PIXELS, noise:DEVIATION, jpeg:QUALITY, lowpass:SHARE or highpass:SHARE",
        })?;
        corruption.validate()?;
        Ok(corruption)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pattern in which rows, columns and channels differ.
    fn pattern(size: usize) -> Vec<u8> {
        let value = |place: usize| {
            let (channel, y, x) = (place / (size * size), place / size % size, place % size);
            (x * 37 + y * 91 + channel * 53 + x * y * 7) % 256
        };
        (0..3 * size * size)
            .map(|place| value(place) as u8)
            .collect()
    }

    #[test]
    fn corruptions_are_read_as_they_are_written() {
        for text in [
            "blur:2",
            "noise:0.08",
            "jpeg:10",
            "lowpass:0.25",
            "highpass:0.5",
        ] {
            assert_eq!(text.parse::<Corruption>().unwrap().to_string(), text);
        }
        for (text, part) in [
            ("blur", "blur:PIXELS"),
            ("fog:3", "fog:3"),
            ("blur:0", "above 0"),
            ("blur:nan", "above 0"),
            ("noise:-1", "above 0"),
            ("jpeg:0", "1 to 100"),
            ("jpeg:10.5", "jpeg:QUALITY"),
            ("lowpass:2", "0 to 1"),
        ] {
            let error = text.parse::<Corruption>().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn noise_follows_from_the_seed_and_the_image_alone() {
        let noisy = |seed, image| {
            let mut pixels = pattern(16);
            Corruption::Noise(0.1).apply(&mut pixels, 16, seed, image);
            pixels
        };
        assert_eq!(noisy(1, 2), noisy(1, 2));
        assert_ne!(noisy(1, 2), noisy(1, 3));
        assert_ne!(noisy(1, 2), noisy(2, 2));
    }

    #[test]
    fn the_ends_of_the_two_passes_are_the_image_and_its_mean() {
        let pixels = pattern(12);
        let [mut low, mut high] = [pixels.clone(), pixels.clone()];
        Corruption::HighPass(0.0).apply(&mut high, 12, 0, 0);
        assert_eq!(high, pixels);
        Corruption::LowPass(0.0).apply(&mut low, 12, 0, 0);
        for plane in low.chunks(144) {
            assert!(plane.iter().all(|value| *value == plane[0]));
        }
    }
}
