// SPDX-License-Identifier: GPL-3.0-or-later
//! `graph`: prints the graph of derivations as DOT, SVG or JSON.

use std::collections::BTreeSet;

use super::arguments::GraphFormat;
use super::context::{Context, print, print_json};
use super::failure::CommandFailure;
use crate::engine::{Planned, WantedDerivation as Named};
use crate::road::plan::{Node, NodeKind};
use crate::show::graph::data::GraphData;
use crate::show::graph::{GraphDrawing, dot, svg};

/// What of the plan is shown, and how.
#[derive(Debug, Clone, Copy)]
pub struct GraphOptions<'a> {
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
pub fn graph(context: &Context, wanted: GraphOptions<'_>) -> Result<(), CommandFailure> {
    let planned = context.plan()?;
    let plan = &planned.plan;
    if wanted.packages.iter().any(|name| Named::is_meant_by(name)) {
        return of_derivations(context, &planned, wanted);
    }
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
    let data = GraphData::of_plan(&context.directories.store_dir, plan, &shown);
    write(context, wanted, data, GraphDrawing::of(plan, &shown))
}

/// The graph where some names are derivations of the store.
fn of_derivations(
    context: &Context,
    planned: &Planned,
    wanted: GraphOptions<'_>,
) -> Result<(), CommandFailure> {
    let mut paths = Vec::new();
    for name in wanted.packages {
        paths.push(match Named::is_meant_by(name) {
            true => Named::parse(&context.directories, name)?.derivation,
            false => {
                let plan = &planned.plan;
                plan.nodes()[plan.find(name)?].derivation_path.clone()
            }
        });
    }
    let session = &context.session;
    let graph = session.derivation_graph(planned, &paths, wanted.packages_only)?;
    let data = GraphData::of_derivations(&context.directories.store_dir, &graph);
    write(context, wanted, data, GraphDrawing::of_derivations(&graph))
}

fn write<'a>(
    context: &Context,
    wanted: GraphOptions<'_>,
    data: GraphData<'a>,
    mut drawing: GraphDrawing<'a>,
) -> Result<(), CommandFailure> {
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
        GraphFormat::Json => print_json(&data.with_edges(&drawing)),
    }
}
