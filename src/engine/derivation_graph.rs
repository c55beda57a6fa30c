// SPDX-License-Identifier: GPL-3.0-or-later
//! The graph of derivations that are in the store, with all that they are built from. Derivations of the plan have
//! their labels there.

use std::collections::{BTreeMap, BTreeSet};

use super::builtins;
use super::derivations::StoredDerivations;
use super::error::EngineError;
use super::planned::Planned;
use super::session::Session;
use crate::events::Kind;
use crate::formats::derivation::Derivation;
use crate::formats::store_path::StorePath;
use crate::road::plan::{Node, NodeKind};
use crate::road::recipe::Stage;

/// The nodes and edges of a graph of derivations.
#[derive(Debug)]
pub struct DerivationGraph {
    /// The derivations, dependencies first.
    pub nodes: Vec<DerivationNode>,
    /// Pairs of positions in `nodes`: the first is built from the second.
    pub edges: Vec<(usize, usize)>,
}

/// A derivation of a [`DerivationGraph`].
#[derive(Debug)]
pub struct DerivationNode {
    /// Its label in the plan, else the base name of its path.
    pub label: String,
    /// How its outputs are made.
    pub kind: NodeKind,
    /// Its stage, for packages of the plan.
    pub stage: Option<Stage>,
    /// Whether the plan has it.
    pub planned: bool,
    /// The path of its `.drv` file.
    pub path: StorePath,
    /// The paths of its outputs, where it says them.
    pub outputs: Vec<StorePath>,
}

impl Session {
    /// The graph of the derivations `wanted` and all that they are built from; with `builds_only`, without sources,
    /// seeds and what they are made from.
    ///
    /// # Errors
    /// Where one is not valid or not a derivation.
    pub fn derivation_graph(
        &self,
        planned: &Planned,
        wanted: &[StorePath],
        builds_only: bool,
    ) -> Result<DerivationGraph, EngineError> {
        let store = self.store_to_read()?;
        let nodes = planned.plan.nodes().iter();
        let known: BTreeMap<&StorePath, &Node> =
            nodes.map(|node| (&node.derivation_path, node)).collect();
        // What the plan has need not be in the store.
        let mut read: BTreeMap<StorePath, Derivation> = BTreeMap::new();
        let mut layer: BTreeSet<StorePath> = wanted.iter().cloned().collect();
        while !layer.is_empty() {
            let others = layer.iter().filter(|path| !known.contains_key(path));
            let loaded = StoredDerivations::load_alone(&store, others)?;
            let mut next = BTreeSet::new();
            for path in layer {
                let of_plan = known.get(&path).map(|node| &node.derivation);
                let Some(derivation) = of_plan.or_else(|| loaded.get(&path)) else {
                    continue;
                };
                next.extend(derivation.input_derivations.keys().cloned());
                read.insert(path, derivation.clone());
            }
            next.retain(|path| !read.contains_key(path));
            layer = next;
        }
        let mut graph = DerivationGraph {
            nodes: Vec::new(),
            edges: Vec::new(),
        };
        let mut places: BTreeMap<&StorePath, usize> = BTreeMap::new();
        for path in dependencies_first(&read) {
            let derivation = &read[path];
            let node = known.get(path);
            let kind = node.map_or_else(|| kind_of(derivation), |node| node.kind);
            if builds_only && kind != NodeKind::Build {
                continue;
            }
            let place = graph.nodes.len();
            places.insert(path, place);
            let inputs = derivation.input_derivations.keys();
            let used = inputs.filter_map(|input| places.get(input));
            graph.edges.extend(used.map(|used| (place, *used)));
            let outputs = derivation.outputs.values();
            graph.nodes.push(DerivationNode {
                label: node.map_or_else(|| path.base_name().to_owned(), |node| node.label.clone()),
                kind,
                stage: node.and_then(|node| node.stage),
                planned: node.is_some(),
                path: path.clone(),
                outputs: outputs.filter_map(|output| output.path.clone()).collect(),
            });
        }
        Ok(graph)
    }
}

fn kind_of(derivation: &Derivation) -> NodeKind {
    match builtins::kind(&derivation.builder) {
        Kind::Download => NodeKind::Download,
        Kind::Seed => NodeKind::Seed,
        Kind::Build | Kind::Substitute => NodeKind::Build,
    }
}

/// The paths of `derivations`, each after those that it is built from. Derivations form no circles: each names the
/// hashes of its inputs.
fn dependencies_first(derivations: &BTreeMap<StorePath, Derivation>) -> Vec<&StorePath> {
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    for start in derivations.keys() {
        let mut open = vec![(start, false)];
        while let Some((path, inputs_done)) = open.pop() {
            if inputs_done {
                order.push(path);
            } else if seen.insert(path) {
                open.push((path, true));
                let inputs = derivations[path].input_derivations.keys();
                let inputs = inputs.filter(|input| derivations.contains_key(*input));
                open.extend(inputs.map(|input| (input, false)));
            }
        }
    }
    order
}
