//! `graph`: the plan as a picture, or as data.

use std::collections::BTreeSet;

use serde::Serialize;

use super::context::{Context, print, print_json};
use super::failure::Failure;
use crate::plan::{Kind, Node, Plan};
use crate::recipe::Stage;

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

/// `bootstrap graph [PKG…]`.
pub fn graph(context: &Context, packages: &[String], packages_only: bool) -> Result<(), Failure> {
    let planned = context.plan()?;
    let plan = &planned.plan;
    let targets: Vec<usize> = match packages {
        [] => (0..plan.nodes().len()).collect(),
        names => names
            .iter()
            .map(|name| plan.find(name))
            .collect::<Result<_, _>>()?,
    };
    let shown = plan.closure(targets);
    let kept = |node: &Node| !packages_only || node.kind == Kind::Build;
    let shown: BTreeSet<usize> = shown
        .into_iter()
        .filter(|index| kept(&plan.nodes()[*index]))
        .collect();
    let graph = Graph {
        nodes: shown
            .iter()
            .map(|index| graph_node(context, &plan.nodes()[*index]))
            .collect(),
        edges: edges(plan, &shown),
    };
    match context.options.json {
        true => print_json(&graph),
        false => print(&dot(&graph)),
    }
}

fn graph_node<'a>(context: &Context, node: &'a Node) -> GraphNode<'a> {
    GraphNode {
        label: &node.label,
        kind: match node.kind {
            Kind::Download => "download",
            Kind::Seed => "seed",
            Kind::Regenerate => "regenerate",
            Kind::Build => "build",
        },
        stage: node.stage.map(Stage::name),
        derivation: context.shown(&node.derivation_path),
        outputs: node
            .output_paths()
            .map(|(_, path)| context.shown(path))
            .collect(),
    }
}

fn edges<'a>(plan: &'a Plan, shown: &BTreeSet<usize>) -> Vec<(&'a str, &'a str)> {
    let nodes = plan.nodes();
    shown
        .iter()
        .flat_map(|index| {
            let node = &nodes[*index];
            let dependencies = node
                .dependencies
                .iter()
                .filter(|dependency| shown.contains(dependency));
            dependencies.map(|dependency| (node.label.as_str(), nodes[*dependency].label.as_str()))
        })
        .collect()
}

/// The graph in Graphviz' language: a shape for each kind, a colour for each stage.
fn dot(graph: &Graph<'_>) -> String {
    let mut text = String::from(
        "digraph bootstrap {\n  rankdir = LR;\n  node [style = filled, fillcolor = white];\n",
    );
    for node in &graph.nodes {
        let shape = match node.kind {
            "download" => "note",
            "seed" => "cylinder",
            "regenerate" => "component",
            _ => "box",
        };
        let color = match node.stage {
            Some("stage0") => "lightyellow",
            Some("libc") => "lightpink",
            Some("final") => "lightblue",
            Some("proof") => "lightgreen",
            _ => "white",
        };
        text.push_str(&format!(
            "  {:?} [shape = {shape}, fillcolor = {color}];\n",
            node.label
        ));
    }
    for (user, used) in &graph.edges {
        text.push_str(&format!("  {user:?} -> {used:?};\n"));
    }
    text.push_str("}\n");
    text
}
