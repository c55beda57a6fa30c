// SPDX-License-Identifier: GPL-3.0-or-later
//! Packages as `list`, `show` and `path` present them.

use std::collections::BTreeSet;

use serde::Serialize;

use super::context::Context;
use crate::engine::Planned;
use crate::formats::store_path::StorePath;
use crate::road::plan::{Node, road};
use crate::road::recipe::Stage;

/// A package as `list --json` shows it.
#[derive(Debug, Serialize)]
pub(super) struct Listed<'a> {
    pub(super) name: &'a str,
    pub(super) stage: &'static str,
    pub(super) version: &'a str,
    /// The version of it in Guix 1.5; null where the recipe names none.
    pub(super) guix_version: Option<&'a str>,
    pub(super) synopsis: &'a str,
    /// Whether it is one of the implicit inputs of gnu-build-system.
    pub(super) implicit_input: bool,
    /// Whether every output is valid.
    pub(super) valid: bool,
    pub(super) outputs: Vec<ListedOutput<'a>>,
    pub(super) derivation: String,
    /// Why others cannot make the same, where they cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) impure: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct ListedOutput<'a> {
    pub(super) name: &'a str,
    pub(super) path: String,
    pub(super) valid: bool,
    pub(super) implicit_input: bool,
}

/// Whether the output `output` of the package called `label` is one of the implicit inputs of gnu-build-system.
pub(super) fn is_implicit_input(label: &str, output: &str) -> bool {
    let inputs = road::final_inputs();
    inputs
        .iter()
        .any(|input| input.address.to_string() == label && input.output == output)
}

/// `node` as lists show it.
pub(super) fn listed<'a>(
    context: &Context,
    planned: &'a Planned,
    node: &'a Node,
    stage: Stage,
    valid: &BTreeSet<StorePath>,
) -> Listed<'a> {
    let recipe = node
        .recipe
        .as_deref()
        .and_then(|name| planned.recipes.get(name));
    let is_implicit = |output: &str| is_implicit_input(&node.label, output);
    let outputs: Vec<ListedOutput<'a>> = node
        .output_paths()
        .map(|(name, path)| ListedOutput {
            name,
            path: context.shown(path),
            valid: valid.contains(path),
            implicit_input: is_implicit(name),
        })
        .collect();
    Listed {
        name: &node.label,
        stage: stage.name(),
        version: recipe.map_or("", |recipe| &recipe.version),
        guix_version: recipe.and_then(|recipe| recipe.guix_version.as_deref()),
        synopsis: recipe.map_or("", |recipe| &recipe.synopsis),
        implicit_input: is_implicit("out"),
        valid: outputs.iter().all(|output| output.valid),
        outputs,
        derivation: context.shown(&node.derivation_path),
        impure: planned.impurity(),
    }
}
