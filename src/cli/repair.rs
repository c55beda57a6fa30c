//! `build --repair`: what is damaged of packages, and of what they refer to, is made again and put in place.
//!
//! What is made again is worth nothing if it is made from something damaged: so everything that a build needs is hashed
//! too, and put right first. And a build that gives other bytes than those on record proves nothing: it is kept beside
//! the item, and the record stays what it was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::context::{Context, Planned};
use super::equipment;
use super::failure::{Failure, Status};
use super::run::{self, Run};
use crate::builder::error::BuildError;
use crate::builder::rebuild::{Rebuilt, RebuiltOutput};
use crate::builder::variation::Variation;
use crate::formats::derivation::aterm;
use crate::formats::nar::Tree;
use crate::formats::store_path::StorePath;
use crate::road::plan::{Item, Plan};
use crate::store::nar::restore_tree;
use crate::store::{PathInfo, PathLocks, StagedOutput, Store, StoreError};
use crate::verify::record::WrongRecord;
use crate::verify::whole::{self, Checked, Condition};

/// How something damaged is put right.
enum Remedy<'c> {
    /// Only times, modes and owners.
    Metadata,
    /// What is on record of it.
    Record(&'c WrongRecord),
    /// The plan itself knows what it holds.
    Contents(Box<Tree>),
    /// Building this node of the plan again.
    Build(usize),
    /// Nobody here can.
    None,
}

/// Who makes what in a plan, as indices of its nodes.
type Makers<'p> = BTreeMap<&'p StorePath, usize>;

/// Puts right what is damaged of `packages`, which need not be built.
pub fn repair(context: &Context, packages: &[String]) -> Result<(), Failure> {
    let planned = context.plan()?;
    let plan = &planned.plan;
    let makers: Makers<'_> = (0..plan.nodes().len())
        .flat_map(|index| {
            let outputs = plan.nodes()[index].output_paths();
            outputs.map(move |(_, path)| (path, index))
        })
        .collect();
    let damaged = damaged(context, &planned, &makers, packages)?;
    if damaged.is_empty() {
        context.note("nothing of it is damaged");
        return Ok(());
    }
    let store = context.store_to_write()?;
    let mut rebuilds: BTreeSet<usize> = BTreeSet::new();
    let mut hopeless = Vec::new();
    for checked in &damaged {
        let path = &checked.info.path;
        match remedy(context, plan, &makers, checked) {
            Remedy::Metadata => {
                let locks = store.lock([path])?;
                store.restore_metadata(&locks, path)?;
                context.note(&format!(
                    "{}: times, modes and owners put right",
                    context.shown(path)
                ));
            }
            Remedy::Record(wrong) => {
                let locks = store.lock([path])?;
                store.restore_metadata(&locks, path)?;
                store.register(std::slice::from_ref(&wrong.right))?;
                context.note(&format!("{}: its record put right", context.shown(path)));
            }
            Remedy::Contents(tree) => replace_known(context, &store, &checked.info, &tree)?,
            Remedy::Build(index) => {
                rebuilds.insert(index);
            }
            Remedy::None => hopeless.push(context.shown(path)),
        }
    }
    drop(store);
    let refused = make_all_again(context, plan, &rebuilds, &damaged)?;
    let mut reasons = Vec::new();
    if !refused.is_empty() {
        reasons.push(format!(
            "{} could not be put right: {}",
            match refused.len() {
                1 => "1 package".to_owned(),
                count => format!("{count} packages"),
            },
            refused.join(", ")
        ));
    }
    if !hopeless.is_empty() {
        reasons.push(format!(
            "nothing in this plan makes {}: restore it from a copy",
            hopeless.join(", ")
        ));
    }
    match reasons.is_empty() {
        true => Ok(()),
        false => Err(Failure::Told {
            message: reasons.join("; "),
            status: Status::Hashes,
        }),
    }
}

/// What is damaged of `packages`: outputs and what they refer to, derivations and what those are given as it is. And what
/// is damaged of all that has to be there to build some of it again.
fn damaged(
    context: &Context,
    planned: &Planned,
    makers: &Makers<'_>,
    packages: &[String],
) -> Result<Vec<Checked>, Failure> {
    let plan = &planned.plan;
    let store = context.store_to_read()?;
    let cores = equipment::settings(context).cores;
    let mut open: BTreeSet<StorePath> = BTreeSet::new();
    for index in run::named(plan, packages)? {
        let node = &plan.nodes()[index];
        let outputs: Vec<&StorePath> = node.output_paths().map(|(_, path)| path).collect();
        let mut known = outputs.clone();
        known.push(&node.derivation_path);
        known.extend(&node.derivation.input_sources);
        let valid = store.valid_among(known)?;
        let built = outputs.into_iter().filter(|path| valid.contains(*path));
        open.extend(store.closure(built)?);
        open.extend(valid);
    }
    let mut seen = BTreeSet::new();
    let mut damaged = Vec::new();
    while !open.is_empty() {
        let report = whole::items(&store, &open, cores)?;
        seen.append(&mut open);
        for checked in report.damaged() {
            if let Remedy::Build(index) = remedy(context, plan, makers, checked) {
                open.extend(inputs(&store, plan, index)?);
            }
            damaged.push(checked.clone());
        }
        open.retain(|path| !seen.contains(path));
    }
    Ok(damaged)
}

/// What the node `index` is built from, as far as it is in the store; of what is not, what that would be built from.
fn inputs(store: &Store, plan: &Plan, index: usize) -> Result<BTreeSet<StorePath>, Failure> {
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::from([index]);
    let mut open = vec![index];
    while let Some(index) = open.pop() {
        let node = &plan.nodes()[index];
        found.extend(store.valid_among(&node.derivation.input_sources)?);
        for dependency in &node.dependencies {
            let outputs = plan.nodes()[*dependency].output_paths();
            let outputs: Vec<&StorePath> = outputs.map(|(_, path)| path).collect();
            let valid = store.valid_among(outputs.iter().copied())?;
            if valid.len() < outputs.len() && seen.insert(*dependency) {
                open.push(*dependency);
            }
            found.extend(store.closure(&valid)?);
        }
    }
    Ok(found)
}

/// How `checked`, which is damaged, is put right.
fn remedy<'c>(
    context: &Context,
    plan: &Plan,
    makers: &Makers<'_>,
    checked: &'c Checked,
) -> Remedy<'c> {
    let path = &checked.info.path;
    match &checked.condition {
        Condition::Touched(_) => Remedy::Metadata,
        Condition::Misrecorded(wrong) => Remedy::Record(wrong),
        _ => match (known_contents(context, plan, path), makers.get(path)) {
            (Some(tree), _) => Remedy::Contents(Box::new(tree)),
            (None, Some(index)) => Remedy::Build(*index),
            (None, None) => Remedy::None,
        },
    }
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

/// Puts `tree` in the place of a damaged item. Its path follows from it, so that it is right whatever is on record.
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
    let replaced = restore_tree(tree, &staged.staged)
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
    locks: &PathLocks,
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
            "{path}: it was recorded with the SHA-256 {}, which was wrong; on record now is {}",
            recorded.nar_sha256, found.nar_sha256
        ));
    }
}

/// Makes the nodes `rebuilds` again, and gives the labels of those that could not be put right so.
fn make_all_again(
    context: &Context,
    plan: &Plan,
    rebuilds: &BTreeSet<usize>,
    damaged: &[Checked],
) -> Result<Vec<String>, Failure> {
    let mut refused: BTreeMap<usize, String> = BTreeMap::new();
    // In the order of the plan: what is needed for others comes before them.
    for index in rebuilds {
        let label = plan.nodes()[*index].label.clone();
        let needed = plan.closure([*index]);
        if let Some(other) = needed.iter().find_map(|needed| refused.get(needed)) {
            context.note(&format!(
                "{label}: not built again, since {other}, which it is built with, is damaged"
            ));
            refused.insert(*index, label);
        } else if !make_again(context, &label, damaged)? {
            refused.insert(*index, label);
        }
    }
    Ok(refused.into_values().collect())
}

/// Makes the node called `label` again, and replaces those of its outputs that are damaged. False where one came out with
/// bytes that nothing vouches for.
fn make_again(context: &Context, label: &str, damaged: &[Checked]) -> Result<bool, Failure> {
    let find = |plan: &Plan| -> Result<usize, Failure> { Ok(plan.find(label)?) };
    let inputs = |plan: &Plan| -> Result<Vec<usize>, Failure> {
        let node = &plan.nodes()[find(plan)?];
        // A download needs nothing, though its derivation may name a seed.
        Ok(node.dependencies.iter().copied().collect())
    };
    let run = Run::start(context, &inputs)?;
    run.succeeded()?;
    let node = find(&run.planned.plan)?;
    let refused = Mutex::new(Vec::new());
    let report = run.rebuild(&[node], &Variation::default(), &|rebuilt| {
        for output in &rebuilt.outputs {
            let Some(checked) = damaged
                .iter()
                .find(|checked| checked.info.path == output.info.path)
            else {
                continue;
            };
            let fail = BuildError::store(label);
            if !is_vouched_for(rebuilt, output, checked) {
                let path = &checked.info.path;
                let kept = run.store.keep_beside(rebuilt.locks, &output.staged, path);
                let refusal = describe_refusal(context, checked, output, &kept.map_err(&fail)?);
                let mut refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
                refused.push(refusal);
                continue;
            }
            let kept = put_in_place(
                &run.store,
                rebuilt.locks,
                &output.staged,
                &output.info,
                &checked.info,
            )
            .map_err(&fail)?;
            tell(context, &checked.info, &output.info, kept.as_deref());
        }
        Ok(())
    })?;
    let refused = refused.into_inner().unwrap_or_else(PoisonError::into_inner);
    for refusal in &refused {
        context.note(refusal);
    }
    run::failure(&report).map_or(Ok(refused.is_empty()), Err)
}

/// Whether something else than the build itself says that what it gave is right: its hash is the one on record, or that of
/// what is in the store, so that the record is what is damaged, or its derivation names it.
fn is_vouched_for(rebuilt: &Rebuilt<'_>, output: &RebuiltOutput<'_>, checked: &Checked) -> bool {
    let made = output.info.nar_sha256;
    let is_in_store =
        matches!(&checked.condition, Condition::Altered { found, .. } if *found == made);
    let is_fixed = rebuilt.job.derivation.fixed_output().is_some();
    made == checked.info.nar_sha256 || is_in_store || is_fixed
}

fn describe_refusal(
    context: &Context,
    checked: &Checked,
    output: &RebuiltOutput<'_>,
    kept: &Path,
) -> String {
    format!(
        "{}: it is on record with the SHA-256 {}, but came out with {}, and stays as it is; what came out is {}. Either the \
         record is damaged too, or the build is not reproducible: compare with a lock (`bootstrap verify --lock`). Once \
         nothing keeps it (`bootstrap roots`), `bootstrap gc` removes it, and it can be built anew",
        context.shown(&checked.info.path),
        checked.info.nar_sha256,
        output.info.nar_sha256,
        kept.display()
    )
}
