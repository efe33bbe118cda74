//! Computing all that a map depends on: in order, each operation once.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use octave_engine::parallel::team;

use super::{
    map::{Maps, Needs},
    steps::step,
    work::{AS_IT_IS, Blocked, Inner, Work},
};

/// A map that is to be computed.
struct Node {
    map: Blocked,
    work: Arc<Work>,
    needs: [Needs; 2],
}

impl Blocked {
    /// The groups, computed.
    pub(super) fn compute(&self) -> Maps {
        if self.0.work().is_some() {
            compute(self);
        }
        self.maps()
    }
}

/// Computes a map, and the maps that it depends on. Each is freed as soon as nobody refers to it.
///
/// Nothing is locked meanwhile: a worker that waits may run other tasks, which want the same maps.
/// At worst both compute them.
fn compute(root: &Blocked) {
    let mut nodes = order(root);
    add_needs(&mut nodes);
    let alone = nodes.len() == 1;
    let run = || {
        for Node { map, work, needs } in nodes {
            let dims = map.dims();
            let maps = step(&work, dims, || work.run(dims, &needs));
            map.computed(Arc::new(maps));
        }
    };
    if alone { run() } else { team(run) }
}

fn id(map: &Blocked) -> *const Inner {
    Arc::as_ptr(&map.0)
}

/// What is noted, every map behind those that it reads.
fn order(root: &Blocked) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut seen = HashSet::new();
    let mut stack = vec![(root.clone(), None)];
    while let Some((map, work)) = stack.pop() {
        if let Some(work) = work {
            let needs = Default::default();
            nodes.push(Node { map, work, needs });
            continue;
        }
        let Some(work) = map.0.work().clone() else {
            continue;
        };
        if seen.insert(id(&map)) {
            let inputs = work.inputs().into_iter().cloned();
            let inputs: Vec<_> = inputs.map(|input| (input, None)).collect();
            // It comes again when its inputs are listed.
            stack.push((map, Some(work)));
            stack.extend(inputs);
        }
    }
    nodes
}

/// Tells every map what is read of it.
fn add_needs(nodes: &mut [Node]) {
    let places = nodes.iter().enumerate();
    let places: HashMap<_, _> = places.map(|(i, node)| (id(&node.map), i)).collect();
    // A node itself refers to its map, and every work that reads it.
    let mut referring = vec![1; nodes.len()];
    for node in nodes.iter() {
        for input in node.work.inputs() {
            if let Some(&i) = places.get(&id(input)) {
                referring[i] += 1;
            }
        }
    }
    for (node, referring) in nodes.iter_mut().zip(referring) {
        // Somebody else may ask for the map as it is.
        if Arc::strong_count(&node.map.0) > referring {
            node.needs = AS_IT_IS;
        }
    }
    for i in (0..nodes.len()).rev() {
        let (before, rest) = nodes.split_at_mut(i);
        let node = &rest[0];
        for (input, reads) in node.work.reads(&node.needs) {
            let Some(input) = places.get(&id(input)).and_then(|&i| before.get_mut(i)) else {
                continue;
            };
            for (needs, reads) in input.needs.iter_mut().zip(reads) {
                for (need, read) in needs.iter_mut().zip(reads) {
                    *need = (*need).max(read);
                }
            }
        }
    }
}
