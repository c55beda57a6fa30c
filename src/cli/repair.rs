//! `build --repair`: what is damaged of packages, and of what they refer to, is made again and put in place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::context::{Context, Planned};
use super::equipment;
use super::failure::{Failure, Status};
use super::run::{self, Run};
use crate::build::error::BuildError;
use crate::build::variation::Variation;
use crate::derivation::aterm;
use crate::plan::{Item, Plan};
use crate::store::nar::Tree;
use crate::store::path::StorePath;
use crate::store::{PathInfo, StagedOutput, Store, StoreError};
use crate::verify::whole::{self, Checked, Condition};

/// Puts right what is damaged of `packages`, which need not be built.
pub fn repair(context: &Context, packages: &[String]) -> Result<(), Failure> {
    let planned = context.plan()?;
    let damaged = damaged(context, &planned, packages)?;
    if damaged.is_empty() {
        context.note("nothing of it is damaged");
        return Ok(());
    }
    let plan = &planned.plan;
    let nodes: BTreeMap<&StorePath, usize> = (0..plan.nodes().len())
        .flat_map(|index| {
            let outputs = plan.nodes()[index].output_paths();
            outputs.map(move |(_, path)| (path, index))
        })
        .collect();
    let store = context.store_to_write()?;
    let mut rebuilds: BTreeSet<usize> = BTreeSet::new();
    let mut hopeless = Vec::new();
    for checked in &damaged {
        let path = &checked.info.path;
        if let Condition::Touched(_) = checked.condition {
            let locks = store.lock([path])?;
            store.restore_metadata(&locks, path)?;
            context.note(&format!(
                "{}: times, modes and owners put right",
                context.shown(path)
            ));
        } else if let Condition::Misrecorded(wrong) = &checked.condition {
            let locks = store.lock([path])?;
            store.restore_metadata(&locks, path)?;
            store.register(std::slice::from_ref(&wrong.right))?;
            context.note(&format!("{}: its record put right", context.shown(path)));
        } else if let Some(tree) = known_contents(context, plan, path) {
            replace_known(context, &store, &checked.info, &tree)?;
        } else if let Some(index) = nodes.get(path) {
            rebuilds.insert(*index);
        } else {
            hopeless.push(context.shown(path));
        }
    }
    drop(store);
    // In the order of the plan: what is needed for others comes before them.
    for index in rebuilds {
        let label = plan.nodes()[index].label.clone();
        make_again(context, &label, &damaged)?;
    }
    if hopeless.is_empty() {
        return Ok(());
    }
    Err(Failure::Told {
        message: format!(
            "nothing in this plan makes {}: restore it from a copy",
            hopeless.join(", ")
        ),
        status: Status::Hashes,
    })
}

/// What is damaged of `packages`: outputs and what they refer to, derivations and what those are given as it is.
fn damaged(
    context: &Context,
    planned: &Planned,
    packages: &[String],
) -> Result<Vec<Checked>, Failure> {
    let store = context.store_to_read()?;
    let mut paths: BTreeSet<StorePath> = BTreeSet::new();
    for index in run::named(&planned.plan, packages)? {
        let node = &planned.plan.nodes()[index];
        let outputs: Vec<&StorePath> = node.output_paths().map(|(_, path)| path).collect();
        let mut known = outputs.clone();
        known.push(&node.derivation_path);
        known.extend(&node.derivation.input_sources);
        let valid = store.valid_among(known)?;
        let built = outputs.into_iter().filter(|path| valid.contains(*path));
        paths.extend(store.closure(built)?);
        paths.extend(valid);
    }
    let report = whole::items(&store, &paths, equipment::settings(context).cores)?;
    Ok(report.damaged().cloned().collect())
}

/// The contents of an item that the plan itself knows.
fn known_contents(context: &Context, plan: &Plan, path: &StorePath) -> Option<Tree> {
    match plan.items().get(path) {
        Some(Item::Text { contents, .. }) => return Some(Tree::file(contents.clone())),
        Some(Item::Tree { tree, .. }) => return Some(tree.clone()),
        None => {}
    }
    let node = plan
        .nodes()
        .iter()
        .find(|node| node.derivation_path == *path)?;
    let text = aterm::write(&context.directories.store_dir, &node.derivation);
    Some(Tree::file(text))
}

/// Puts `tree` in the place of a damaged item.
fn replace_known(
    context: &Context,
    store: &Store,
    info: &PathInfo,
    tree: &Tree,
) -> Result<(), Failure> {
    let locks = store.lock([&info.path])?;
    let staging = store.staging_directory(&locks, &info.path)?;
    let staged = StagedOutput {
        staged: staging.join("item"),
        path: info.path.clone(),
        candidates: info.references.clone(),
        deriver: info.deriver.clone(),
    };
    let replaced = tree
        .restore(&staged.staged)
        .map_err(StoreError::from)
        .and_then(|()| store.examine_staged(std::slice::from_ref(&staged)))
        .and_then(|found| {
            let kept = put_in_place(store, &locks, &staged.staged, &found[0], info)?;
            Ok((kept, found))
        });
    store.remove_staging_directory(&locks, &info.path)?;
    let (kept, found) = replaced?;
    tell(context, info, &found[0], kept.as_deref());
    Ok(())
}

/// Replaces an item; what is recorded of it stays where the bytes are those on record.
fn put_in_place(
    store: &Store,
    locks: &crate::store::PathLocks,
    staged: &Path,
    found: &PathInfo,
    recorded: &PathInfo,
) -> Result<Option<std::path::PathBuf>, StoreError> {
    let info = match found.nar_sha256 == recorded.nar_sha256 {
        true => recorded,
        false => found,
    };
    store.replace_item(locks, staged, info)
}

/// Says what was done.
fn tell(context: &Context, recorded: &PathInfo, found: &PathInfo, kept: Option<&Path>) {
    let path = context.shown(&recorded.path);
    match kept {
        Some(kept) => context.note(&format!(
            "{path}: put right; the damaged copy is {}",
            kept.display()
        )),
        None => context.note(&format!("{path}: put back")),
    }
    if recorded.nar_sha256 != found.nar_sha256 {
        context.note(&format!(
            "{path}: it was recorded with the SHA-256 {}, and came out with {}, which is on record now: either the \
             record was damaged, or the build is not reproducible; `bootstrap verify --rebuild` tells",
            recorded.nar_sha256, found.nar_sha256
        ));
    }
}

/// Makes the node called `label` again, and replaces those of its outputs that are damaged.
fn make_again(context: &Context, label: &str, damaged: &[Checked]) -> Result<(), Failure> {
    let find = |plan: &Plan| -> Result<usize, Failure> { Ok(plan.find(label)?) };
    let inputs = |plan: &Plan| -> Result<Vec<usize>, Failure> {
        let node = &plan.nodes()[find(plan)?];
        // A download needs nothing, though its derivation may name a seed.
        Ok(node.dependencies.iter().copied().collect())
    };
    let run = Run::start(context, &inputs)?;
    run.succeeded()?;
    let node = find(&run.planned.plan)?;
    let report = run.rebuild(&[node], &Variation::default(), &|rebuilt| {
        for output in &rebuilt.outputs {
            let Some(checked) = damaged
                .iter()
                .find(|checked| checked.info.path == output.info.path)
            else {
                continue;
            };
            let kept = put_in_place(
                &run.store,
                rebuilt.locks,
                &output.staged,
                &output.info,
                &checked.info,
            )
            .map_err(BuildError::store(label))?;
            tell(context, &checked.info, &output.info, kept.as_deref());
        }
        Ok(())
    })?;
    run::failure(&report).map_or(Ok(()), Err)
}
