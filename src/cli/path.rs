// SPDX-License-Identifier: GPL-3.0-or-later
//! `path`: the store paths of a package's outputs.

use super::context::{Context, print, print_json};
use super::failure::CommandFailure;
use super::packages::{ListedOutput, is_implicit_input};
use crate::engine::{EngineError, outputs_in_store};

/// `bootstrap path PKG[:OUTPUT]`.
pub fn path(context: &Context, name: &str) -> Result<(), CommandFailure> {
    let planned = context.plan()?;
    let store = context.store_to_read()?;
    let target = planned.target(name)?;
    let node = &planned.plan.nodes()[target.node];
    planned.package(&node.label)?;
    let outputs = target.outputs(&planned.plan);
    let valid = outputs_in_store(&store, [node])?;
    if let Some((_, path)) = outputs.iter().find(|(_, path)| !valid.contains(*path)) {
        return Err(EngineError::NotBuilt {
            package: node.label.clone(),
            path: context.shown(path),
        }
        .into());
    }
    if context.options.json {
        let rows: Vec<ListedOutput<'_>> = outputs
            .into_iter()
            .map(|(name, path)| ListedOutput {
                name,
                path: context.shown(path),
                valid: true,
                implicit_input: is_implicit_input(&node.label, name),
            })
            .collect();
        return print_json(&rows);
    }
    let lines: String = outputs
        .into_iter()
        .map(|(_, path)| format!("{}\n", context.shown(path)))
        .collect();
    print(&lines)
}
