//! `graph`: the plan as a picture, or as data.

use std::collections::BTreeSet;

use serde::Serialize;

use super::arguments::GraphFormat;
use super::context::{Context, print, print_json};
use super::failure::Failure;
use crate::road::plan::{Kind, Node, Plan};
use crate::road::recipe::Stage;
use crate::show::graph::{Picture, dot, kind_name, mermaid, svg};

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
    let kept = |node: &Node| !wanted.packages_only || node.kind == Kind::Build;
    let shown: BTreeSet<usize> = plan
        .closure(targets)
        .into_iter()
        .filter(|index| kept(&plan.nodes()[*index]))
        .collect();
    let mut picture = Picture::of(plan, &shown);
    if wanted.reduce {
        picture = picture.reduced();
    }
    let format = match context.options.json {
        true => GraphFormat::Json,
        false => wanted.format,
    };
    match format {
        GraphFormat::Dot => print(&dot::dot(&picture)),
        GraphFormat::Svg => print(&svg::file(&picture)),
        GraphFormat::Mermaid => {
            let text = mermaid::mermaid(&picture);
            if let Some(limit) = mermaid::too_large(&picture, &text) {
                context.note(&format!("Mermaid draws {limit}: {}", smaller(wanted)));
            }
            print(&text)
        }
        GraphFormat::Json => print_json(&data(context, plan, &shown, &picture)),
    }
}

/// What there is to do where a graph like this is too large.
fn smaller(wanted: Wanted<'_>) -> String {
    let options = [
        (wanted.packages_only, "--packages-only"),
        (wanted.reduce, "--reduce"),
    ];
    let left: Vec<&str> = options
        .iter()
        .filter(|(taken, _)| !taken)
        .map(|(_, option)| *option)
        .collect();
    let mut advice = Vec::new();
    if !left.is_empty() {
        advice.push(format!("add {}", left.join(" ")));
    }
    match wanted.packages {
        [] => advice.push("name a package".to_owned()),
        [_] => {}
        _ => advice.push("name fewer packages".to_owned()),
    }
    if left.is_empty() {
        advice.push("take --format svg".to_owned());
    }
    advice.join(", or ")
}

fn data<'a>(
    context: &Context,
    plan: &'a Plan,
    shown: &BTreeSet<usize>,
    picture: &Picture<'a>,
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
        edges: picture
            .edges
            .iter()
            .map(|(user, used)| (picture.nodes[*user].label, picture.nodes[*used].label))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_asked_for_is_advised() {
        let mut wanted = Wanted {
            packages: &[],
            packages_only: false,
            reduce: false,
            format: GraphFormat::Mermaid,
        };
        let advice = "add --packages-only --reduce, or name a package";
        assert_eq!(smaller(wanted), advice);
        wanted.packages_only = true;
        assert_eq!(smaller(wanted), "add --reduce, or name a package");
        let packages = ["sed".to_owned(), "gcc".to_owned()];
        wanted = Wanted {
            packages: &packages,
            reduce: true,
            ..wanted
        };
        assert_eq!(smaller(wanted), "name fewer packages, or take --format svg");
    }
}
