//! The graph of derivations as a picture, drawn without help from other programs.
//!
//! [`layout`] decides where everything is, [`svg`] draws it, [`dot`] and [`mermaid`] leave the drawing to others.

use std::collections::BTreeSet;

use crate::road::plan::{Kind, Node, Plan};
use crate::road::recipe::Stage;

pub mod dot;
pub mod layout;
pub mod mermaid;
pub mod svg;

/// The steps of the road that a picture shows as bands, in their order. What is made before stage0 is one.
pub const BANDS: [&str; 5] = ["before", "stage0", "libc", "final", "proof"];

/// What a picture shows.
#[derive(Debug)]
pub struct Picture<'p> {
    /// What is in it, dependencies first.
    pub nodes: Vec<PictureNode<'p>>,
    /// Pairs of positions in `nodes`: the first is built from the second.
    pub edges: Vec<(usize, usize)>,
}

/// A derivation in a picture.
#[derive(Debug, Clone, Copy)]
pub struct PictureNode<'p> {
    /// Its label.
    pub label: &'p str,
    /// `download`, `seed`, `regenerate` or `build`.
    pub kind: &'static str,
    /// Its stage, for packages.
    pub stage: Option<Stage>,
}

impl PictureNode<'_> {
    /// Its band, as an index into [`BANDS`].
    pub fn band(&self) -> usize {
        let name = self.stage.map(Stage::name);
        let band = BANDS.iter().position(|band| Some(*band) == name);
        band.unwrap_or(0)
    }
}

/// What `kind` is called in data.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Download => "download",
        Kind::Seed => "seed",
        Kind::Regenerate => "regenerate",
        Kind::Build => "build",
    }
}

impl<'p> Picture<'p> {
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
                    PictureNode {
                        label: &node.label,
                        kind: kind_name(node.kind),
                        stage: node.stage,
                    }
                })
                .collect(),
        }
    }

    /// The same without edges that follow from others: where A needs B and B needs C, that A needs C too goes without
    /// saying. What is left can be read.
    pub fn reduced(self) -> Self {
        let count = self.nodes.len();
        let words = count.div_ceil(64);
        let mut used: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (user, input) in &self.edges {
            used[*user].push(*input);
        }
        // Nodes come after what they are built from, so their inputs' closures are known when they are reached.
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

    pub fn picture() -> Picture<'static> {
        let node = |label, kind, stage| PictureNode { label, kind, stage };
        Picture {
            nodes: vec![
                node("source/sed.tar.xz", "download", None),
                node("seed/base", "seed", None),
                node("stage0/make", "build", Some(Stage::Stage0)),
                node("stage0/sed", "build", Some(Stage::Stage0)),
                node("libc", "build", Some(Stage::Libc)),
                node("sed", "build", Some(Stage::Final)),
                node("a<b>\"&", "build", Some(Stage::Proof)),
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
    fn what_follows_from_other_edges_is_not_drawn() {
        let reduced = picture().reduced();
        assert_eq!(
            reduced.edges,
            [(2, 1), (3, 0), (3, 2), (4, 1), (5, 3), (5, 4), (6, 5)]
        );
    }
}
