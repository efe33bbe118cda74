use alloc::{vec, vec::Vec};

use super::SharesError;

/// More octaves than any map has pixels to halve.
const MOST: usize = 16;

/// Splits `channels` among frequency groups: group `l`, at 1/2ˡ of the full resolution, has
/// `⌊shares[l] · channels⌋` of them, computed in `f64`, and the first group whose share is not zero
/// has the rest.
///
/// With `[1 − α, α]` this is [`ChannelSplit`](crate::ChannelSplit).
///
/// ```
/// use burn_octconv::split_channels;
///
/// assert_eq!(split_channels(10, &[0.5, 0.25, 0.25])?, [6, 2, 2]);
/// assert_eq!(split_channels(10, &[0.0, 1.0])?, [0, 10]);
/// # Ok::<(), burn_octconv::SharesError>(())
/// ```
///
/// # Errors
///
/// A [`SharesError`] if the shares are not numbers in `[0, 1]` whose sum is 1, or too many.
pub fn split_channels(channels: usize, shares: &[f64]) -> Result<Vec<usize>, SharesError> {
    named_split(channels, shares, "shares")
}

pub(super) fn named_split(
    channels: usize,
    shares: &[f64],
    name: &'static str,
) -> Result<Vec<usize>, SharesError> {
    let refuse = |reason| {
        let shares = shares.to_vec();
        Err(SharesError {
            name,
            shares,
            reason,
        })
    };
    if !(1..=MOST).contains(&shares.len()) {
        return refuse("there must be 1 to 16 of them, one for each resolution 1, ½, ¼, …");
    }
    if !shares.iter().all(|share| (0.0..=1.0).contains(share)) {
        return refuse("each must be a number in [0, 1]");
    }
    if (shares.iter().sum::<f64>() - 1.0).abs() > 1e-6 {
        return refuse("their sum must be 1");
    }
    let first = shares.iter().position(|&share| share > 0.0).unwrap_or(0);
    let mut groups = vec![0; shares.len()];
    let mut rest = channels;
    for level in first + 1..shares.len() {
        groups[level] = ((shares[level] * channels as f64) as usize).min(rest);
        rest -= groups[level];
    }
    groups[first] = rest;
    Ok(groups)
}

/// Shares that split the sum of `channels` into exactly these.
pub(super) fn shares_of(channels: &[usize]) -> Vec<f64> {
    let total: usize = channels.iter().sum();
    let share = |&count: &usize| {
        let share = count as f64 / total as f64;
        match ((share * total as f64) as usize) < count {
            true => share.next_up(),
            false => share,
        }
    };
    channels.iter().map(share).collect()
}

/// The counts without trailing groups that do not exist.
pub(super) fn trimmed(channels: &[usize]) -> &[usize] {
    let groups = channels.iter().rposition(|&count| count > 0);
    &channels[..groups.map_or(0, |last| last + 1)]
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::ChannelSplit;

    #[test]
    fn two_groups_are_split_as_by_alpha() {
        for channels in 1..40 {
            for alpha in [0.0, 0.1, 0.125, 0.29, 0.3, 0.5, 0.7, 0.99, 1.0] {
                let split = ChannelSplit::new(channels, alpha).unwrap();
                let groups = split_channels(channels, &[1.0 - alpha, alpha]).unwrap();
                assert_eq!(groups, [split.high, split.low], "{channels} {alpha}");
            }
        }
    }

    #[test]
    fn the_first_group_with_a_share_has_the_rest() {
        assert_eq!(split_channels(5, &[0.0, 0.5, 0.5]).unwrap(), [0, 3, 2]);
        assert_eq!(split_channels(7, &[0.4, 0.0, 0.6]).unwrap(), [3, 0, 4]);
        assert_eq!(split_channels(3, &[1.0]).unwrap(), [3]);
    }

    #[test]
    fn shares_give_back_the_counts() {
        for counts in [
            &[5, 3][..],
            &[3, 11, 7],
            &[1, 0, 2],
            &[0, 9],
            &[49, 1, 43, 6],
        ] {
            let total = counts.iter().sum();
            assert_eq!(split_channels(total, &shares_of(counts)).unwrap(), counts);
        }
    }

    #[test]
    fn what_are_no_shares_is_refused_by_name() {
        for (shares, part) in [
            (&[][..], "shares are []: there must be 1 to 16"),
            (&[1.5, -0.5], "shares are [1.5, -0.5]: each must be"),
            (&[f64::NAN, 1.0], "each must be a number"),
            (&[0.5, 0.25], "shares are [0.5, 0.25]: their sum must be 1"),
        ] {
            let error = split_channels(8, shares).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
