//! `gc` and `roots`: what stays in the store, and what goes.

use std::collections::BTreeSet;

use serde::Serialize;

use super::context::{Context, print, print_json};
use super::failure::Failure;
use crate::show::progress::size;
use crate::store::Store;
use crate::store::gc::{self, CollectOptions};
use crate::store::roots::RootKind;

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
) -> Result<(), Failure> {
    let dry_run = options.dry_run;
    let store = match dry_run {
        true => context.store_to_read()?,
        false => context.store_to_write()?,
    };
    let mut options = options.clone();
    if let Some(keep) = keep_generations {
        options.without = forget_generations(context, &store, keep, dry_run)?;
    }
    let freed = gc::collect(&store, &options)?;
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
        text.push_str(&format!("{leftover} (left by a run that was stopped)\n"));
    }
    let verb = if dry_run { "would free" } else { "freed" };
    text.push_str(&format!(
        "{verb} {} in {} items; {} stay\n",
        size::bytes(freed.bytes),
        freed.paths.len() + freed.leftovers.len(),
        freed.live
    ));
    print(&text)?;
    if !freed.unknown.is_empty() {
        context.note(&format!(
            "these are in the store directory, but are no store items, and stay: {}",
            freed.unknown.join(", ")
        ));
    }
    Ok(())
}

/// Forgets all but the newest `keep` generations of each name; in a dry run gives the names of those that it would forget.
fn forget_generations(
    context: &Context,
    store: &Store,
    keep: u64,
    dry_run: bool,
) -> Result<Vec<String>, Failure> {
    let mut would = Vec::new();
    let keep = usize::try_from(keep).unwrap_or(usize::MAX);
    let names: BTreeSet<String> = store
        .roots()?
        .iter()
        .filter_map(|root| match &root.kind {
            RootKind::Named(name) => generation_name(name),
            _ => None,
        })
        .collect();
    for name in names {
        let generations = store.generations(&name)?;
        let old = generations.len().saturating_sub(keep);
        for generation in &generations[..old] {
            let number = generation.number;
            if dry_run {
                let generation = format!("{name}/{number}");
                context.note(&format!("would forget the roots {generation}"));
                would.push(generation);
            } else if store.remove_generation(&name, number)? {
                context.note(&format!("forgot the roots {name}/{number}"));
            }
        }
    }
    Ok(would)
}

/// The name of the generations that the root `name` (`build/stage0/sed/3/stage0/sed/out`) belongs to.
fn generation_name(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('/').collect();
    let number = parts
        .iter()
        .position(|part| part.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some(parts[..number].join("/"))
}

#[derive(Debug, Serialize)]
struct ShownRoot {
    kind: &'static str,
    link: String,
    path: String,
}

/// `bootstrap roots`.
pub fn roots(context: &Context) -> Result<(), Failure> {
    let store = context.store_to_read()?;
    let mut roots = store.roots()?;
    // What processes use may belong to another store that is called the same.
    let running = store.running_roots();
    let valid = store.valid_among(running.iter().map(|root| &root.path))?;
    roots.extend(
        running
            .into_iter()
            .filter(|root| valid.contains(&root.path)),
    );
    let shown: Vec<ShownRoot> = roots
        .iter()
        .map(|root| ShownRoot {
            kind: match root.kind {
                RootKind::Named(_) => "bootstrap",
                RootKind::Direct => "direct",
                RootKind::Indirect => "indirect",
                RootKind::Running(_) => "running",
            },
            link: root.link.display().to_string(),
            path: context.shown(&root.path),
        })
        .collect();
    if context.options.json {
        return print_json(&shown);
    }
    if shown.is_empty() {
        context.note("nothing is kept alive: `bootstrap gc` would remove all; `bootstrap all` and `bootstrap build` leave roots");
    }
    let lines: String = shown
        .iter()
        .map(|root| format!("{} -> {}\n", root.link, root.path))
        .collect();
    print(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_says_which_generations_it_belongs_to() {
        assert_eq!(
            generation_name("all/12/libc/static").as_deref(),
            Some("all")
        );
        assert_eq!(
            generation_name("build/stage0/sed/3/sed/out").as_deref(),
            Some("build/stage0/sed")
        );
        assert_eq!(generation_name("mine"), None);
    }
}
