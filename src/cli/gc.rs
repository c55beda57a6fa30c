// SPDX-License-Identifier: GPL-3.0-or-later
//! `gc`: removes what nothing keeps alive.

use serde::Serialize;

use super::context::{Context, LISTED, print, print_json};
use super::failure::CommandFailure;
use crate::formats::count::agreeing;
use crate::formats::visible::{visible, visible_list};
use crate::show::progress::size;
use crate::store::gc::CollectOptions;

#[derive(Debug, Serialize)]
struct ShownFreed {
    dry_run: bool,
    bytes: u64,
    paths: Vec<String>,
    leftovers: Vec<String>,
    unknown: Vec<String>,
    live: usize,
}

/// `bootstrap gc`.
pub fn collect(
    context: &Context,
    options: &CollectOptions,
    keep_generations: Option<u64>,
) -> Result<(), CommandFailure> {
    let dry_run = options.dry_run;
    let collected = context.session.collect_garbage(options, keep_generations)?;
    let verb = if dry_run { "would forget" } else { "forgot" };
    for generation in &collected.forgotten {
        context.note(&format!("{verb} the roots {generation}"));
    }
    let freed = collected.freed;
    if context.options.json {
        return print_json(&ShownFreed {
            dry_run,
            bytes: freed.bytes,
            paths: freed.paths.iter().map(|path| context.shown(path)).collect(),
            leftovers: freed.leftovers,
            unknown: freed.unknown,
            live: freed.live,
        });
    }
    let mut text = String::new();
    for path in &freed.paths {
        text.push_str(&format!("{}\n", context.shown(path)));
    }
    for leftover in &freed.leftovers {
        text.push_str(&format!(
            "{} (left by a run that was stopped)\n",
            visible(leftover)
        ));
    }
    let verb = if dry_run { "would free" } else { "freed" };
    text.push_str(&format!(
        "{verb} {} in {}; {} {}\n",
        size::bytes(freed.bytes),
        size::counted(freed.paths.len() + freed.leftovers.len(), "item"),
        freed.live,
        agreeing(freed.live, "stays", "stay")
    ));
    print(&text)?;
    if !freed.unknown.is_empty() {
        context.note(&format!(
            "in the store directory, but not store items, and kept: {}",
            visible_list(freed.unknown.iter().map(visible), LISTED)
        ));
    }
    Ok(())
}
