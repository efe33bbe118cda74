//! When operations run and where their maps lie.
//!
//! Operations form steps: all that read only what earlier steps wrote, such as the two output
//! groups of an octave layer, run together. A map that nobody reads any more gives its memory to
//! the next of the same shape, whose zero border it then already has.

use std::collections::HashMap;

use super::builder::{Id, Map, Op};

/// The order of the operations, and the buffer of each map.
pub(super) struct Schedule {
    /// Operations by step.
    pub steps: Vec<Vec<Op>>,
    /// By map; none for one that nobody reads.
    pub buffers: Vec<Option<usize>>,
    /// Number of buffers.
    pub count: usize,
}

impl Schedule {
    /// `result` is the map that the head reads.
    pub(super) fn new(ops: Vec<Op>, maps: &[Map], result: Id) -> Self {
        // The step that writes a map; operations are listed after those that they read from.
        let mut written = vec![0; maps.len()];
        let mut last_read = vec![None; maps.len()];
        let mut steps: Vec<Vec<Op>> = Vec::new();
        for op in ops {
            let step = op.reads().iter().map(|&map| written[map] + 1).max();
            let step = step.unwrap_or(0);
            for map in op.reads() {
                last_read[map] = last_read[map].max(Some(step));
            }
            for map in op.writes() {
                written[map] = step;
            }
            steps.resize_with(steps.len().max(step + 1), Vec::new);
            steps[step].push(op);
        }
        last_read[result] = Some(steps.len());

        let mut free: HashMap<(usize, usize, usize), Vec<usize>> = HashMap::new();
        let mut buffers = vec![None; maps.len()];
        let mut count = 0;
        let shape = |map: Id| (maps[map].channels, maps[map].size, maps[map].pad);
        for (step, ops) in steps.iter().enumerate() {
            for (op, map) in ops
                .iter()
                .flat_map(|op| op.writes().into_iter().map(move |map| (op, map)))
            {
                // Products need not store what only its averages are read of; the others do.
                let stored = !matches!(op, Op::Product(_)) || last_read[map].is_some();
                if stored {
                    let reused = free.get_mut(&shape(map)).and_then(Vec::pop);
                    buffers[map] = Some(reused.unwrap_or_else(|| {
                        count += 1;
                        count - 1
                    }));
                }
            }
            for map in (0..maps.len()).filter(|&map| last_read[map] == Some(step)) {
                free.entry(shape(map)).or_default().extend(buffers[map]);
            }
        }
        Self {
            steps,
            buffers,
            count,
        }
    }
}
