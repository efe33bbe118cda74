//! The channels of a network's maps, vanilla and octave.

use burn_octconv::OctConvError;

use super::Shares;

/// The channels of a vanilla map in the order in which an octave map has them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wire {
    /// Those of each frequency, from the full resolution down.
    pub(super) groups: Vec<Vec<usize>>,
}

impl Wire {
    /// The last channels become those of the lowest frequency; in a map that a grouped convolution
    /// reads or writes, the last ones of each of its groups.
    pub(super) fn new(
        channels: usize,
        shares: Shares,
        groups: usize,
    ) -> Result<Self, OctConvError> {
        let size = channels / groups;
        let mut start = 0;
        let part = |count: usize| -> Vec<usize> {
            let range = start..start + count / groups;
            start = range.end;
            let parts = (0..groups).map(|group| range.clone().map(move |c| group * size + c));
            parts.flatten().collect()
        };
        let counts = shares.split(channels)?;
        Ok(Self {
            groups: counts.into_iter().map(part).collect(),
        })
    }

    /// High channels first.
    pub(super) fn joined(&self) -> Vec<usize> {
        self.groups.concat()
    }

    /// The channels of each frequency that has any, with its level.
    pub(super) fn levels(&self) -> impl Iterator<Item = (usize, &[usize])> {
        let groups = self.groups.iter().map(Vec::as_slice).enumerate();
        groups.filter(|(_, channels)| !channels.is_empty())
    }

    /// What a [`PadShortcut`](super::PadShortcut) makes of the map: channels without room change the
    /// frequency, and new channels are appended to each.
    pub(super) fn padded(&self, output: &[usize]) -> Self {
        let count = self.groups.len().max(output.len());
        let counts: Vec<usize> = self.groups.iter().map(Vec::len).collect();
        let room = |level: usize| output.get(level).copied().unwrap_or(0);
        let mut groups = self.groups.clone();
        groups.resize(count, Vec::new());
        let old = groups.clone();
        for (level, group) in groups.iter_mut().enumerate() {
            group.truncate(room(level));
        }
        for step in moves(&counts, output) {
            let moved = &old[step.from][step.start..][..step.count];
            groups[step.to].extend(moved);
        }
        let mut new = counts.iter().sum::<usize>()..;
        for (level, group) in groups.iter_mut().enumerate() {
            let missing = room(level) - group.len();
            group.extend(new.by_ref().take(missing));
        }
        Self { groups }
    }

    /// The map with the channels of another appended to each frequency, and to the whole in a
    /// vanilla network.
    pub(super) fn appended(&self, new: &Self) -> Self {
        let first: usize = self.groups.iter().map(Vec::len).sum();
        let join = |(old, new): (&Vec<usize>, &Vec<usize>)| {
            let new = new.iter().map(|channel| first + channel);
            old.iter().copied().chain(new).collect()
        };
        Self {
            groups: self.groups.iter().zip(&new.groups).map(join).collect(),
        }
    }
}

/// Channels that change their frequency.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Move {
    pub(super) from: usize,
    /// The first of them in their group.
    pub(super) start: usize,
    pub(super) count: usize,
    pub(super) to: usize,
}

/// What has no room in its own frequency, from the highest to the highest with room.
pub(super) fn moves(input: &[usize], output: &[usize]) -> Vec<Move> {
    let of = |counts: &[usize], level: usize| counts.get(level).copied().unwrap_or(0);
    let room = |level: usize| of(output, level).saturating_sub(of(input, level));
    let mut rooms: Vec<usize> = (0..output.len()).map(room).collect();
    let mut moves = Vec::new();
    for (from, &count) in input.iter().enumerate() {
        let mut start = of(output, from).min(count);
        for (to, room) in rooms.iter_mut().enumerate() {
            let count = (count - start).min(*room);
            if count > 0 {
                moves.push(Move {
                    from,
                    start,
                    count,
                    to,
                });
                start += count;
                *room -= count;
            }
        }
    }
    moves
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

    fn wire(groups: &[&[usize]]) -> Wire {
        Wire {
            groups: groups.iter().map(|group| group.to_vec()).collect(),
        }
    }

    #[test]
    fn the_last_channels_of_every_group_are_low() {
        let half = Wire::new(5, Shares::of_alpha(0.5), 1).unwrap();
        assert_eq!(half, wire(&[&[0, 1, 2], &[3, 4]]));
        let grouped = Wire::new(8, Shares::of_alpha(0.25), 2).unwrap();
        assert_eq!(grouped, wire(&[&[0, 1, 2, 4, 5, 6], &[3, 7]]));
        let shares = Shares::of(&[0.5, 0.25, 0.25]).unwrap();
        let three = Wire::new(8, shares, 2).unwrap();
        assert_eq!(
            three.groups[..3],
            [vec![0, 1, 4, 5], vec![2, 6], vec![3, 7]]
        );
    }

    #[test]
    fn a_padded_map_keeps_its_channels_and_appends_new_ones() {
        let enter = wire(&[&[0, 1, 2, 3], &[]]).padded(&[2, 2]);
        assert_eq!(enter, wire(&[&[0, 1], &[2, 3]]));
        let widen = enter.padded(&[4, 4]);
        assert_eq!(widen, wire(&[&[0, 1, 4, 5], &[2, 3, 6, 7]]));
        let leave = widen.padded(&[16, 0]);
        assert_eq!(leave.groups[0][..8], [0, 1, 4, 5, 2, 3, 6, 7]);
        assert_eq!(leave.groups[0][8..], [8, 9, 10, 11, 12, 13, 14, 15]);
        let three = wire(&[&[0, 1, 2, 3]]).padded(&[2, 1, 2]);
        assert_eq!(three, wire(&[&[0, 1], &[2], &[3, 4]]));
    }
}
