use crate::OctConvError;

/// How a layer's channels divide into frequency groups.
///
/// `low = ⌊alpha · channels⌋`, computed in `f64` as every published implementation does, and
/// `high = channels − low`. High-frequency channels come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelSplit {
    /// Channels at full resolution.
    pub high: usize,
    /// Channels one octave below.
    pub low: usize,
}

impl ChannelSplit {
    /// Splits `channels` by the share `alpha` of low-frequency channels.
    ///
    /// # Errors
    ///
    /// [`OctConvError::Alpha`] if `alpha` is not a number in `[0, 1]`.
    pub fn new(channels: usize, alpha: f64) -> Result<Self, OctConvError> {
        Self::named(channels, alpha, "alpha")
    }

    pub(crate) fn named(
        channels: usize,
        alpha: f64,
        name: &'static str,
    ) -> Result<Self, OctConvError> {
        if !(0.0..=1.0).contains(&alpha) {
            return Err(OctConvError::Alpha { name, value: alpha });
        }
        // The product is not negative, so the cast rounds down as floor does. Beyond 2⁵³ the
        // conversion to f64 may round up.
        let low = ((alpha * channels as f64) as usize).min(channels);
        Ok(Self {
            high: channels - low,
            low,
        })
    }

    /// The split of a plan's groups of channels.
    pub(crate) fn from_groups(channels: &[usize]) -> Self {
        Self {
            high: channels[0],
            low: channels[1],
        }
    }

    /// All channels.
    pub fn total(&self) -> usize {
        self.high + self.low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_down_in_f64() {
        let split = |c, a| ChannelSplit::new(c, a).map(|s| (s.high, s.low));
        assert_eq!(split(64, 0.5), Ok((32, 32)));
        assert_eq!(split(7, 0.5), Ok((4, 3)));
        // 0.29 · 100 is 28.999… in f64.
        assert_eq!(split(100, 0.29), Ok((72, 28)));
        assert_eq!(split(3, 1.0), Ok((0, 3)));
        assert_eq!(split(3, 0.1), Ok((3, 0)));
        // In f64 this is one more.
        let odd = (1 << 53) + 3;
        assert_eq!(split(odd, 1.0), Ok((0, odd)));
    }

    #[test]
    fn refuses_what_is_no_share() {
        for alpha in [-0.1, 1.0001, f64::NAN, f64::INFINITY] {
            let error = ChannelSplit::new(8, alpha).unwrap_err();
            assert!(error.to_string().starts_with("alpha is"), "{error}");
        }
    }
}
