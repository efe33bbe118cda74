use std::fmt;

use burn_octconv::{ChannelSplit, OctConvError, split_channels};

/// The shares of a map's channels at the resolutions 1, ½, ¼, …; a share of 0 is a frequency that does
/// not exist.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shares([f64; Self::MOST]);

impl Shares {
    /// The most frequencies that a network has: the lowest has 1/32 of the resolution, which of a map
    /// of 56 pixels leaves 2.
    pub const MOST: usize = 6;

    /// A plain map: all channels at full resolution.
    pub const PLAIN: Self = Self::of_alpha(0.0);

    /// Two frequencies, of which the low one has the share `alpha`.
    pub const fn of_alpha(alpha: f64) -> Self {
        let mut shares = [0.0; Self::MOST];
        shares[0] = 1.0 - alpha;
        shares[1] = alpha;
        Self(shares)
    }

    /// The shares as they are given, which may be none that split channels: building a network tells.
    /// `None` if there are none, or more than [`Shares::MOST`].
    pub fn of(given: &[f64]) -> Option<Self> {
        let mut shares = [0.0; Self::MOST];
        shares.get_mut(..given.len())?.copy_from_slice(given);
        (!given.is_empty()).then_some(Self(shares))
    }

    /// The share of low-frequency channels, if there are no more than two frequencies.
    pub fn alpha(self) -> Option<f64> {
        let [_, alpha, rest @ ..] = self.0;
        rest.iter().all(|&share| share == 0.0).then_some(alpha)
    }

    /// α, if these are shares of no more than two frequencies that split channels.
    pub(super) fn legal_alpha(self) -> Option<f64> {
        self.alpha().filter(|_| split_channels(1, &self.0).is_ok())
    }

    /// From the full resolution to the lowest that has channels.
    pub fn as_slice(&self) -> &[f64] {
        let last = self.0.iter().rposition(|&share| share != 0.0);
        &self.0[..last.map_or(1, |last| last + 1)]
    }

    /// How many of `channels` channels each frequency has. Where there are no more than two, as
    /// [`ChannelSplit`] splits them, else as [`split_channels`] does.
    pub(super) fn split(self, channels: usize) -> Result<Vec<usize>, OctConvError> {
        Ok(match self.alpha() {
            // Shares whose sum is not 1 are no α, and are told so below.
            Some(alpha) if self == Self::of_alpha(alpha) || alpha.is_nan() => {
                let ChannelSplit { high, low } = ChannelSplit::new(channels, alpha)?;
                vec![high, low]
            }
            _ => split_channels(channels, self.as_slice())?,
        })
    }
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.as_slice().iter().map(f64::to_string).collect();
        f.write_str(&words.join(","))
    }
}
