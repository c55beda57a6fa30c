// SPDX-License-Identifier: GPL-3.0-or-later
//! Draws the graph of derivations: as SVG, without other programs, or as DOT for Graphviz.
//!
//! [`layout`] places nodes and edges, [`svg`] draws them. [`dot`] leaves the layout to Graphviz.

use std::collections::BTreeSet;

use crate::engine::DerivationGraph;
use crate::road::plan::{Node, NodeKind, Plan};
use crate::road::recipe::Stage;

pub mod data;
pub mod dot;
pub mod layout;
pub mod svg;

/// The bands of a drawing, left to right: one per stage of the bootstrap, and one for what stage0 is built from.
pub const BANDS: [&str; 5] = ["before", "stage0", "libc", "final", "package"];

/// The nodes and edges of a drawing.
#[derive(Debug)]
pub struct GraphDrawing<'p> {
    /// The nodes, dependencies first.
    pub nodes: Vec<DrawnNode<'p>>,
    /// Pairs of positions in `nodes`: the first is built from the second.
    pub edges: Vec<(usize, usize)>,
}

/// A derivation in a [`GraphDrawing`].
#[derive(Debug, Clone, Copy)]
pub struct DrawnNode<'p> {
    /// Its label.
    pub label: &'p str,
    /// `download`, `seed`, `regenerate` or `build`.
    pub kind: &'static str,
    /// Its stage, for packages.
    pub stage: Option<Stage>,
}

impl DrawnNode<'_> {
    /// Its band, as an index into [`BANDS`].
    pub fn band(&self) -> usize {
        let name = self.stage.map(Stage::name);
        let band = BANDS.iter().position(|band| Some(*band) == name);
        band.unwrap_or(0)
    }
}

/// The name of `kind` in JSON and CSS classes.
pub fn kind_name(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Download => "download",
        NodeKind::Seed => "seed",
        NodeKind::Regenerate => "regenerate",
        NodeKind::Build => "build",
    }
}

impl<'p> GraphDrawing<'p> {
    /// The nodes `shown` of `plan`, and the edges between them.
    pub fn of(plan: &'p Plan, shown: &BTreeSet<usize>) -> Self {
        let nodes = plan.nodes();
        let place = |index: &usize| shown.iter().position(|other| other == index);
        let edges = shown.iter().enumerate().flat_map(|(user, index)| {
            let used = nodes[*index].dependencies.iter().filter_map(place);
            used.map(move |used| (user, used))
        });
        Self {
            edges: edges.collect(),
            nodes: shown
                .iter()
                .map(|index| {
                    let node: &Node = &nodes[*index];
                    DrawnNode {
                        label: &node.label,
                        kind: kind_name(node.kind),
                        stage: node.stage,
                    }
                })
                .collect(),
        }
    }

    /// All of `graph`. What the plan does not have and is built is drawn among the packages.
    pub fn of_derivations(graph: &'p DerivationGraph) -> Self {
        let nodes = graph.nodes.iter().map(|node| DrawnNode {
            label: &node.label,
            kind: kind_name(node.kind),
            stage: match node.kind {
                NodeKind::Build if !node.planned => Some(Stage::Package),
                _ => node.stage,
            },
        });
        Self {
            nodes: nodes.collect(),
            edges: graph.edges.clone(),
        }
    }

    /// The drawing without redundant edges: where A needs B and B needs C, the edge from A to C is left out.
    pub fn reduced(self) -> Self {
        let count = self.nodes.len();
        let words = count.div_ceil(64);
        let mut used: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (user, input) in &self.edges {
            used[*user].push(*input);
        }
        // Nodes come after their inputs, so the closures of all inputs are known here.
        let mut closures: Vec<Vec<u64>> = Vec::with_capacity(count);
        let mut edges = Vec::new();
        for (user, inputs) in used.iter().enumerate() {
            let mut beyond = vec![0u64; words];
            for input in inputs {
                for (word, bits) in beyond.iter_mut().zip(&closures[*input]) {
                    *word |= bits;
                }
            }
            let is_beyond = |input: usize| beyond[input / 64] & (1 << (input % 64)) != 0;
            edges.extend(
                inputs
                    .iter()
                    .filter(|input| !is_beyond(**input))
                    .map(|input| (user, *input)),
            );
            for input in inputs {
                beyond[input / 64] |= 1 << (input % 64);
            }
            closures.push(beyond);
        }
        Self { edges, ..self }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub fn drawing() -> GraphDrawing<'static> {
        let node = |label, kind, stage| DrawnNode { label, kind, stage };
        GraphDrawing {
            nodes: vec![
                node("source/sed.tar.xz", "download", None),
                node("seed/base", "seed", None),
                node("stage0/make", "build", Some(Stage::Stage0)),
                node("stage0/sed", "build", Some(Stage::Stage0)),
                node("libc", "build", Some(Stage::Libc)),
                node("sed", "build", Some(Stage::Final)),
                node("a<b>\"&", "build", Some(Stage::Package)),
            ],
            edges: vec![
                (2, 1),
                (3, 0),
                (3, 1),
                (3, 2),
                (4, 1),
                (5, 0),
                (5, 2),
                (5, 3),
                (5, 4),
                (6, 5),
                (6, 4),
            ],
        }
    }

    #[test]
    fn redundant_edges_are_not_drawn() {
        let reduced = drawing().reduced();
        assert_eq!(
            reduced.edges,
            [(2, 1), (3, 0), (3, 2), (4, 1), (5, 3), (5, 4), (6, 5)]
        );
    }
}
