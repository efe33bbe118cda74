//! The channels of a network's maps, vanilla and octave.

use burn_octconv::{ChannelSplit, OctConvError};

/// The channels of a vanilla map in the order in which an octave map has them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wire {
    pub(super) high: Vec<usize>,
    pub(super) low: Vec<usize>,
}

impl Wire {
    /// The last channels become the low group; in a map that a grouped convolution reads or
    /// writes, the last ones of each of its groups.
    pub(super) fn new(channels: usize, alpha: f64, groups: usize) -> Result<Self, OctConvError> {
        let split = ChannelSplit::new(channels, alpha)?;
        let (size, high) = (channels / groups, split.high / groups);
        let part = |range: std::ops::Range<usize>| {
            (0..groups)
                .flat_map(|group| range.clone().map(move |c| group * size + c))
                .collect()
        };
        Ok(Self {
            high: part(0..high),
            low: part(high..size),
        })
    }

    /// High channels first.
    pub(super) fn joined(&self) -> Vec<usize> {
        [&self.high[..], &self.low].concat()
    }

    /// What a [`PadShortcut`](super::PadShortcut) makes of the map: channels without room change the frequency, and
    /// new channels are appended to both.
    pub(super) fn padded(&self, output: ChannelSplit) -> Self {
        let keep = |channels: &[usize], room: usize| {
            let (kept, moved) = channels.split_at(room.min(channels.len()));
            (kept.to_vec(), moved.to_vec())
        };
        let (mut high, down) = keep(&self.high, output.high);
        let (mut low, up) = keep(&self.low, output.low);
        high.extend(up);
        low.extend(down);
        let mut new = high.len() + low.len()..;
        high.extend(new.by_ref().take(output.high - high.len()));
        low.extend(new.take(output.low - low.len()));
        Self { high, low }
    }

    /// The map with the channels of another appended to each frequency, and to the whole in a
    /// vanilla network.
    pub(super) fn appended(&self, new: &Self) -> Self {
        let first = self.high.len() + self.low.len();
        let join = |old: &[usize], new: &[usize]| {
            let new = new.iter().map(|channel| first + channel);
            old.iter().copied().chain(new).collect()
        };
        Self {
            high: join(&self.high, &new.high),
            low: join(&self.low, &new.low),
        }
    }
}

/// The maps that a block's convolutions lie between, and on which side of them the norms stand.
pub(super) struct Chain {
    /// One more than there are convolutions; the last is what the last convolution returns.
    pub(super) wires: Vec<Wire>,
    pub(super) pre_activation: bool,
    /// What the block hands on.
    pub(super) output: Wire,
}

impl Chain {
    /// Of a block that hands on what its last convolution returns, a shortcut added or not.
    pub(super) fn new<const N: usize>(wires: [Wire; N], pre_activation: bool) -> Self {
        Self {
            output: wires[N - 1].clone(),
            wires: wires.into(),
            pre_activation,
        }
    }

    /// The map that the block reads.
    pub(super) fn input(&self) -> &Wire {
        &self.wires[0]
    }

    /// The maps before and after the layer called `name`.
    pub(super) fn around(&self, name: &str) -> [&Wire; 2] {
        if name.starts_with("downsample.") || name == "se" {
            return [self.input(), &self.wires[self.wires.len() - 1]];
        }
        let number = name.trim_start_matches(|c: char| !c.is_ascii_digit());
        let number: usize = number.parse().unwrap_or(1);
        [&self.wires[number - 1], &self.wires[number]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(high: &[usize], low: &[usize]) -> Wire {
        Wire {
            high: high.to_vec(),
            low: low.to_vec(),
        }
    }

    #[test]
    fn the_last_channels_of_every_group_are_low() {
        assert_eq!(Wire::new(5, 0.5, 1).unwrap(), wire(&[0, 1, 2], &[3, 4]));
        let grouped = Wire::new(8, 0.25, 2).unwrap();
        assert_eq!(grouped, wire(&[0, 1, 2, 4, 5, 6], &[3, 7]));
    }

    #[test]
    fn a_padded_map_keeps_its_channels_and_appends_new_ones() {
        let split = |high, low| ChannelSplit { high, low };
        let enter = wire(&[0, 1, 2, 3], &[]).padded(split(2, 2));
        assert_eq!(enter, wire(&[0, 1], &[2, 3]));
        let widen = enter.padded(split(4, 4));
        assert_eq!(widen, wire(&[0, 1, 4, 5], &[2, 3, 6, 7]));
        let leave = widen.padded(split(16, 0));
        assert_eq!(leave.high[..8], [0, 1, 4, 5, 2, 3, 6, 7]);
        assert_eq!(leave.high[8..], [8, 9, 10, 11, 12, 13, 14, 15]);
    }
}
