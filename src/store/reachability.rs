// SPDX-License-Identifier: GPL-3.0-or-later
//! What roots lead to, in the graph of all valid paths.

use std::collections::HashSet;

use super::queries::ReferenceGraph;
use crate::formats::store_path::StorePath;

/// What a live path keeps beside its references.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    /// The derivation that it was built from.
    pub(super) derivations: bool,
    /// Where it is a derivation, its outputs.
    pub(super) outputs: bool,
}

impl Keep {
    /// Nothing beside its references.
    pub(super) const REFERENCES: Self = Self {
        derivations: false,
        outputs: false,
    };
}

/// Which paths of `graph` are live.
pub(super) fn mark(graph: &ReferenceGraph, roots: &HashSet<StorePath>, keep: Keep) -> Vec<bool> {
    let mut live = vec![false; graph.paths.len()];
    let mut pending: Vec<usize> = (0..graph.paths.len())
        .filter(|index| roots.contains(&graph.paths[*index]))
        .collect();
    while let Some(index) = pending.pop() {
        if std::mem::replace(&mut live[index], true) {
            continue;
        }
        pending.extend(&graph.references[index]);
        if keep.derivations {
            pending.extend(graph.derivers[index]);
        }
        if keep.outputs {
            pending.extend(&graph.outputs[index]);
        }
    }
    live
}

/// The paths that are not live, each after all that refer to it: nothing valid ever refers to something that is not.
pub(super) fn referrers_first(graph: &ReferenceGraph, live: &[bool]) -> Vec<usize> {
    let dead: Vec<usize> = (0..live.len()).filter(|index| !live[*index]).collect();
    let mut referrers = vec![0usize; live.len()];
    for index in &dead {
        for reference in &graph.references[*index] {
            referrers[*reference] += 1;
        }
    }
    let mut order: Vec<usize> = Vec::with_capacity(dead.len());
    order.extend(dead.iter().filter(|index| referrers[**index] == 0));
    let mut next = 0;
    while let Some(index) = order.get(next) {
        next += 1;
        for reference in &graph.references[*index] {
            referrers[*reference] -= 1;
            if referrers[*reference] == 0 && !live[*reference] {
                order.push(*reference);
            }
        }
    }
    order
}

/// The positions in `graph` that are among `positions` or refer to one of them, directly or not.
pub(super) fn referrers<'p>(
    graph: &ReferenceGraph,
    positions: impl Iterator<Item = &'p usize>,
) -> Vec<bool> {
    let mut referrers = vec![Vec::new(); graph.paths.len()];
    for (referrer, references) in graph.references.iter().enumerate() {
        for reference in references {
            referrers[*reference].push(referrer);
        }
    }
    let mut wanted = vec![false; graph.paths.len()];
    let mut pending: Vec<usize> = positions.copied().collect();
    while let Some(position) = pending.pop() {
        if !std::mem::replace(&mut wanted[position], true) {
            pending.extend(&referrers[position]);
        }
    }
    wanted
}
