// SPDX-License-Identifier: GPL-3.0-or-later
//! `graph`: prints the graph of derivations as DOT, SVG or JSON.

use std::collections::BTreeSet;

use serde::Serialize;

use super::arguments::GraphFormat;
use super::context::{Context, print, print_json};
use super::failure::Failure;
use crate::road::plan::{Node, NodeKind, Plan};
use crate::road::recipe::Stage;
use crate::show::graph::{GraphDrawing, dot, kind_name, svg};

#[derive(Debug, Serialize)]
struct Graph<'a> {
    nodes: Vec<GraphNode<'a>>,
    /// Pairs of labels: the first is built from the second.
    edges: Vec<(&'a str, &'a str)>,
}

#[derive(Debug, Serialize)]
struct GraphNode<'a> {
    label: &'a str,
    kind: &'static str,
    stage: Option<&'static str>,
    derivation: String,
    outputs: Vec<String>,
}

/// What of the plan is shown, and how.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The packages that are shown with what they need; none is everything.
    pub packages: &'a [String],
    /// Whether sources, seeds and what they are made from are left out.
    pub packages_only: bool,
    /// Whether edges that follow from others are left out.
    pub reduce: bool,
    /// The language.
    pub format: GraphFormat,
}

/// `bootstrap graph [PKG…]`.
pub fn graph(context: &Context, wanted: Wanted<'_>) -> Result<(), Failure> {
    let planned = context.plan()?;
    let plan = &planned.plan;
    let targets: Vec<usize> = match wanted.packages {
        [] => (0..plan.nodes().len()).collect(),
        names => names
            .iter()
            .map(|name| plan.find(name))
            .collect::<Result<_, _>>()?,
    };
    let kept = |node: &Node| !wanted.packages_only || node.kind == NodeKind::Build;
    let shown: BTreeSet<usize> = plan
        .closure(targets)
        .into_iter()
        .filter(|index| kept(&plan.nodes()[*index]))
        .collect();
    let mut drawing = GraphDrawing::of(plan, &shown);
    if wanted.reduce {
        drawing = drawing.reduced();
    }
    let format = match context.options.json {
        true => GraphFormat::Json,
        false => wanted.format,
    };
    match format {
        GraphFormat::Dot => print(&dot::dot(&drawing)),
        GraphFormat::Svg => print(&svg::file(&drawing)),
        GraphFormat::Json => print_json(&data(context, plan, &shown, &drawing)),
    }
}

fn data<'a>(
    context: &Context,
    plan: &'a Plan,
    shown: &BTreeSet<usize>,
    drawing: &GraphDrawing<'a>,
) -> Graph<'a> {
    let nodes = shown.iter().map(|index| &plan.nodes()[*index]);
    Graph {
        nodes: nodes
            .map(|node| GraphNode {
                label: &node.label,
                kind: kind_name(node.kind),
                stage: node.stage.map(Stage::name),
                derivation: context.shown(&node.derivation_path),
                outputs: node
                    .output_paths()
                    .map(|(_, path)| context.shown(path))
                    .collect(),
            })
            .collect(),
        edges: drawing
            .edges
            .iter()
            .map(|(user, used)| (drawing.nodes[*user].label, drawing.nodes[*used].label))
            .collect(),
    }
}
