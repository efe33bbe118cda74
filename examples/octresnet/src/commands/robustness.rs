//! What `evaluate` does to images before it shows them to the network.

use std::{fmt, str::FromStr};

use anyhow::bail;
use burn_image_folder::{Corruption, ImageList};
use burn_image_train::{Attack, Evaluation, TrainError};
use clap::{Args, ValueEnum};

use super::TrainedModel;
use crate::output::progress;

/// Corruptions and attacks.
#[derive(Debug, Args)]
pub(super) struct RobustnessArgs {
    /// Corrupt the images: blur:PIXELS, noise:DEVIATION, jpeg:QUALITY, lowpass:SHARE or highpass:SHARE
    ///
    /// May be given more than once: each is a row of its own, beside the images as they are. The
    /// deviations are those of Gaussians, of noise where pixels go from 0 to 1; shares are of the
    /// highest frequency. What is random follows from the seed of the run.
    #[arg(long, value_name = "KIND:STRENGTH")]
    corrupt: Vec<Corruption>,
    /// Change the images by the gradient of the loss, to mislead the network: fgsm or pgd
    #[arg(long, value_name = "KIND", requires = "epsilon")]
    attack: Option<Kind>,
    /// The largest change of a value by the attack, where pixels go from 0 to 1; several with commas
    #[arg(long, value_name = "N/255", value_delimiter = ',', requires = "attack")]
    epsilon: Vec<Distance>,
    /// Steps of pgd
    #[arg(long, value_name = "N", default_value_t = 10)]
    steps: usize,
    /// Change of a value in each step of pgd [default: 2.5 epsilon / steps]
    #[arg(long, value_name = "N/255", requires = "attack")]
    step_size: Option<Distance>,
    /// Start pgd from the images rather than from a random place near them
    #[arg(long, requires = "attack")]
    no_random_start: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Fgsm,
    Pgd,
}

/// A difference of values of pixels, as `2/255` or `0.01`.
#[derive(Debug, Clone, PartialEq)]
struct Distance {
    text: String,
    value: f64,
}

impl FromStr for Distance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<f64>().ok();
        let value = match text.split_once('/') {
            Some((over, under)) => number(over)
                .zip(number(under))
                .map(|(over, under)| over / under),
            None => number(text),
        };
        match value {
            Some(value) if value > 0.0 && value <= 1.0 => Ok(Self {
                text: text.trim().into(),
                value,
            }),
            _ => Err("give a number above 0 and at most 1, as 2/255".into()),
        }
    }
}

/// One way to show the images.
#[derive(Debug, Clone)]
pub(super) enum Shown {
    Clean,
    Corrupted(Corruption),
    Attacked(Attack, String),
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clean => f.write_str("clean"),
            Self::Corrupted(corruption) => corruption.fmt(f),
            Self::Attacked(_, name) => f.write_str(name),
        }
    }
}

impl RobustnessArgs {
    /// The ways to show the images, beginning with as they are.
    pub(super) fn ways(&self) -> anyhow::Result<Vec<Shown>> {
        let mut ways = vec![Shown::Clean];
        ways.extend(self.corrupt.iter().copied().map(Shown::Corrupted));
        let Some(kind) = self.attack else {
            return Ok(ways);
        };
        if kind == Kind::Fgsm && (self.step_size.is_some() || self.no_random_start) {
            bail!(
                "fgsm is one step of epsilon from the image: --step-size and --no-random-start are of pgd"
            );
        }
        for epsilon in &self.epsilon {
            let Distance { text, value } = epsilon;
            let (attack, name) = match kind {
                Kind::Fgsm => (Attack::fgsm(*value), format!("fgsm:{text}")),
                Kind::Pgd => {
                    let mut attack = Attack::pgd(*value, self.steps);
                    attack.random_start = !self.no_random_start;
                    if let Some(step) = &self.step_size {
                        attack.step = step.value;
                    }
                    (attack, format!("pgd-{}:{text}", self.steps))
                }
            };
            attack.validate()?;
            ways.push(Shown::Attacked(attack, name));
        }
        Ok(ways)
    }
}

impl Shown {
    /// How a network does on images that are shown in this way.
    pub(super) fn measure(
        &self,
        model: &TrainedModel,
        images: &ImageList,
    ) -> Result<Evaluation, TrainError> {
        let images = images.clone();
        match self {
            Self::Clean => model.evaluate(images, progress()),
            Self::Corrupted(corruption) => {
                model.evaluate_corrupted(images, Some(*corruption), progress())
            }
            Self::Attacked(attack, _) => model.evaluate_attacked(images, attack, progress()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_fractions_or_numbers() {
        let value = |text: &str| text.parse::<Distance>().map(|distance| distance.value);
        assert_eq!(value("2/255"), Ok(2.0 / 255.0));
        assert_eq!(value("0.25"), Ok(0.25));
        for text in ["", "0", "2", "-1/255", "1/0", "a/255", "nan"] {
            assert!(value(text).is_err(), "{text}");
        }
    }
}
