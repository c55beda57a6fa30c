// SPDX-License-Identifier: GPL-3.0-or-later
//! The graph as data, for JSON.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{GraphDrawing, kind_name};
use crate::engine::DerivationGraph;
use crate::formats::store_path::StoreDir;
use crate::road::plan::Plan;
use crate::road::recipe::Stage;

/// A graph of derivations.
#[derive(Debug, Serialize)]
pub struct GraphData<'a> {
    nodes: Vec<NodeData<'a>>,
    /// Pairs of labels: the first is built from the second.
    edges: Vec<(&'a str, &'a str)>,
}

#[derive(Debug, Serialize)]
struct NodeData<'a> {
    label: &'a str,
    kind: &'static str,
    stage: Option<&'static str>,
    derivation: String,
    outputs: Vec<String>,
}

impl<'a> GraphData<'a> {
    /// The nodes `shown` of `plan`, without edges. The store is at `store_dir`.
    pub fn of_plan(store_dir: &StoreDir, plan: &'a Plan, shown: &BTreeSet<usize>) -> Self {
        let nodes = shown.iter().map(|index| &plan.nodes()[*index]);
        let nodes = nodes.map(|node| NodeData {
            label: &node.label,
            kind: kind_name(node.kind),
            stage: node.stage.map(Stage::name),
            derivation: store_dir.display(&node.derivation_path),
            outputs: node
                .output_paths()
                .map(|(_, path)| store_dir.display(path))
                .collect(),
        });
        Self {
            nodes: nodes.collect(),
            edges: Vec::new(),
        }
    }

    /// The nodes of `graph`, without edges. The store is at `store_dir`.
    pub fn of_derivations(store_dir: &StoreDir, graph: &'a DerivationGraph) -> Self {
        let nodes = graph.nodes.iter().map(|node| NodeData {
            label: &node.label,
            kind: kind_name(node.kind),
            stage: node.stage.map(Stage::name),
            derivation: store_dir.display(&node.path),
            outputs: node
                .outputs
                .iter()
                .map(|path| store_dir.display(path))
                .collect(),
        });
        Self {
            nodes: nodes.collect(),
            edges: Vec::new(),
        }
    }

    /// The same with the edges of `drawing`.
    pub fn with_edges(mut self, drawing: &GraphDrawing<'a>) -> Self {
        let edges = drawing.edges.iter();
        let label = |place: usize| drawing.nodes[place].label;
        self.edges = edges
            .map(|(user, used)| (label(*user), label(*used)))
            .collect();
        self
    }
}
