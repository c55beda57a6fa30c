// SPDX-License-Identifier: GPL-3.0-or-later
//! Repair: damaged items of packages, and of what they refer to, are made again and put in place.
//!
//! A substitute is taken where a server has one. Else the item is built again. What is made again is worth nothing if
//! it is made from something damaged, so everything that a build needs is hashed too and repaired first. A build that
//! gives other bytes than those recorded proves nothing: it is kept beside the item, and the record stays what it was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::error::EngineError;
use super::notice::{Notice, Repaired};
use super::planned::{Planned, nodes};
use super::run::{FinishedRun, first_error};
use super::session::Session;
use super::substitutes::substituter;
use super::watcher::Watcher;
use crate::builder::error::BuildError;
use crate::builder::rebuild::{RebuiltDerivation, RebuiltOutput};
use crate::builder::variation::Variation;
use crate::events::cancellation::Cancellation;
use crate::exchange::substitute::{InstallationWatch, Substituter};
use crate::formats::derivation::aterm;
use crate::formats::nar::Tree;
use crate::formats::store_path::StorePath;
use crate::road::plan::{Plan, PlanItem};
use crate::store::nar::restore_tree;
use crate::store::{PathInfo, PathLocks, StagedOutput, Store, StoreError};
use crate::verify::record::WrongRecord;
use crate::verify::whole::{self, Checked, Condition};

/// The result of a repair.
#[derive(Debug, Default)]
pub struct RepairReport {
    /// How many items were damaged.
    pub damaged: usize,
    /// The labels of packages that could not be repaired by building them again.
    pub refused: Vec<String>,
    /// The paths of damaged items that nothing in the plan makes.
    pub hopeless: Vec<String>,
}

/// How something damaged is repaired.
enum Remedy<'c> {
    /// Only times, modes and owners.
    Metadata,
    /// What is recorded of it.
    Record(&'c WrongRecord),
    /// The plan itself knows what it holds.
    Contents(Box<Tree>),
    /// Building this node of the plan again.
    Build(usize),
    /// Nothing here can.
    None,
}

/// Who makes what in a plan, as indices of its nodes.
type MakerIndex<'p> = BTreeMap<&'p StorePath, usize>;

impl Session {
    /// Repairs what is damaged of `packages`, which need not be built. Reports each step as a notice.
    ///
    /// # Errors
    /// Where the store cannot be read or changed, or a build that is needed fails.
    pub fn repair(
        &self,
        packages: &[String],
        watcher: &dyn Watcher,
    ) -> Result<RepairReport, EngineError> {
        let planned = self.plan()?;
        let plan = &planned.plan;
        let makers: MakerIndex<'_> = (0..plan.nodes().len())
            .flat_map(|index| {
                let outputs = plan.nodes()[index].output_paths();
                outputs.map(move |(_, path)| (path, index))
            })
            .collect();
        let cancellation = watcher.cancellation();
        let (damaged, substituted) = damaged(self, &planned, &makers, packages, cancellation)?;
        let mut report = RepairReport {
            damaged: damaged.len() + substituted,
            ..RepairReport::default()
        };
        if damaged.is_empty() {
            return Ok(report);
        }
        let store = self.store_to_write()?;
        let mut rebuilds: BTreeSet<usize> = BTreeSet::new();
        for checked in &damaged {
            let path = &checked.info.path;
            match remedy(self, plan, &makers, checked) {
                Remedy::Metadata => self.correct(&store, path, None)?,
                Remedy::Record(wrong) => self.correct(&store, path, Some(&wrong.right))?,
                Remedy::Contents(tree) => replace_known(self, &store, &checked.info, &tree)?,
                Remedy::Build(index) => {
                    rebuilds.insert(index);
                }
                Remedy::None => report.hopeless.push(self.shown(path)),
            }
        }
        drop(store);
        report.refused = make_all_again(self, plan, &rebuilds, &damaged, watcher)?;
        Ok(report)
    }

    /// Gives the sound item at `path` the store's times, modes and owners, and the record `right`, where its own is
    /// wrong.
    pub(super) fn correct(
        &self,
        store: &Store,
        path: &StorePath,
        right: Option<&PathInfo>,
    ) -> Result<(), StoreError> {
        let locks = store.lock([path])?;
        store.restore_metadata(&locks, path)?;
        let shown = self.shown(path);
        self.repaired(match right {
            Some(right) => {
                store.register(std::slice::from_ref(right))?;
                Repaired::Record(shown)
            }
            None => Repaired::Metadata(shown),
        });
        Ok(())
    }

    pub(super) fn repaired(&self, step: Repaired) {
        self.notify(Notice::Repaired(step));
    }
}

/// What is damaged of `packages`: outputs and what they refer to, derivations and what those are given as it is. And
/// what is damaged of all that has to be there to build some of it again. Also the number of the damaged items that
/// substitutes have replaced at once.
fn damaged(
    session: &Session,
    planned: &Planned,
    makers: &MakerIndex<'_>,
    packages: &[String],
    cancellation: &Cancellation,
) -> Result<(Vec<Checked>, usize), EngineError> {
    let plan = &planned.plan;
    let substituter = substituter(session)?;
    let store = match &substituter {
        Some(_) => session.store_to_write()?,
        None => session.store_to_read()?,
    };
    let cores = session.build_settings().cores;
    let mut open: BTreeSet<StorePath> = BTreeSet::new();
    for index in nodes(plan, packages)? {
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
    let mut substituted = 0;
    while !open.is_empty() {
        let report = whole::items(&store, &open, cores, &|| !cancellation.is_cancelled())?;
        seen.append(&mut open);
        for checked in report.damaged() {
            let remedy = remedy(session, plan, makers, checked);
            if matches!(remedy, Remedy::Build(_) | Remedy::None)
                && let Some(substituter) = &substituter
                && substitute(session, &store, substituter, &checked.info, cancellation)?
            {
                substituted += 1;
                continue;
            }
            if let Remedy::Build(index) = remedy {
                open.extend(inputs(&store, plan, index)?);
            }
            damaged.push(checked.clone());
        }
        open.retain(|path| !seen.contains(path));
    }
    Ok((damaged, substituted))
}

/// Replaces the item that `recorded` describes by a substitute, where one of the servers has it.
///
/// # Errors
/// Where the store cannot be changed, or what a server has is not signed by a trusted key.
pub(super) fn substitute(
    session: &Session,
    store: &Store,
    substituter: &Substituter,
    recorded: &PathInfo,
    cancellation: &Cancellation,
) -> Result<bool, EngineError> {
    let watch = InstallationWatch {
        cancellation: cancellation.clone(),
        news: &|_| {},
    };
    let replaced = substituter.replace(store, &recorded.path, &watch)?;
    Ok(match replaced {
        Some((found, kept)) => {
            replaced_by(session, recorded, &found, kept);
            true
        }
        None => false,
    })
}

/// What the node `index` is built from, as far as it is in the store; of what is not, what that would be built from.
fn inputs(store: &Store, plan: &Plan, index: usize) -> Result<BTreeSet<StorePath>, EngineError> {
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

/// How `checked`, which is damaged, is repaired.
fn remedy<'c>(
    session: &Session,
    plan: &Plan,
    makers: &MakerIndex<'_>,
    checked: &'c Checked,
) -> Remedy<'c> {
    let path = &checked.info.path;
    match &checked.condition {
        Condition::Touched(_) => Remedy::Metadata,
        Condition::Misrecorded(wrong) => Remedy::Record(wrong),
        _ => match (known_contents(session, plan, path), makers.get(path)) {
            (Some(tree), _) => Remedy::Contents(Box::new(tree)),
            (None, Some(index)) => Remedy::Build(*index),
            (None, None) => Remedy::None,
        },
    }
}

/// The contents of an item that the plan itself knows.
fn known_contents(session: &Session, plan: &Plan, path: &StorePath) -> Option<Tree> {
    match plan.items().get(path) {
        Some(PlanItem::Text { contents, .. }) => return Some(Tree::file(contents.clone())),
        Some(PlanItem::Tree { tree, .. }) => return Some(tree.clone()),
        None => {}
    }
    let node = plan
        .nodes()
        .iter()
        .find(|node| node.derivation_path == *path)?;
    let text = aterm::write(&session.directories().store_dir, &node.derivation);
    Some(Tree::file(text))
}

/// Puts `tree` in the place of a damaged item. Its path follows from it, so that it is right whatever is recorded.
fn replace_known(
    session: &Session,
    store: &Store,
    info: &PathInfo,
    tree: &Tree,
) -> Result<(), EngineError> {
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
        .and_then(|()| store.examine_staged(std::slice::from_ref(&staged), &|| true))
        .and_then(|found| {
            let kept = put_in_place(store, &locks, &staged.staged, &found[0], info)?;
            Ok((kept, found))
        });
    store.remove_staging_directory(&locks, &info.path)?;
    let (kept, found) = replaced?;
    replaced_by(session, info, &found[0], kept);
    Ok(())
}

/// Replaces an item; what is recorded of it stays where the bytes are those recorded.
pub(super) fn put_in_place(
    store: &Store,
    locks: &PathLocks,
    staged: &Path,
    found: &PathInfo,
    recorded: &PathInfo,
) -> Result<Option<PathBuf>, StoreError> {
    let info = match found.nar_sha256 == recorded.nar_sha256 {
        true => recorded,
        false => found,
    };
    store.replace_item(locks, staged, info)
}

/// Reports that an item was replaced.
pub(super) fn replaced_by(
    session: &Session,
    recorded: &PathInfo,
    found: &PathInfo,
    kept: Option<PathBuf>,
) {
    let path = session.shown(&recorded.path);
    session.repaired(Repaired::Replaced {
        path: path.clone(),
        kept,
    });
    if recorded.nar_sha256 != found.nar_sha256 {
        session.repaired(Repaired::Rehashed {
            path,
            recorded: recorded.nar_sha256,
            found: found.nar_sha256,
        });
    }
}

/// Makes the nodes `rebuilds` again, and gives the labels of those that this did not repair.
fn make_all_again(
    session: &Session,
    plan: &Plan,
    rebuilds: &BTreeSet<usize>,
    damaged: &[Checked],
    watcher: &dyn Watcher,
) -> Result<Vec<String>, EngineError> {
    let mut refused: BTreeMap<usize, String> = BTreeMap::new();
    // In the order of the plan: what is needed for others comes before them.
    for index in rebuilds {
        let label = plan.nodes()[*index].label.clone();
        let needed = plan.closure([*index]);
        if let Some(other) = needed.iter().find_map(|needed| refused.get(needed)) {
            session.repaired(Repaired::NotBuilt {
                label: label.clone(),
                because: other.clone(),
            });
            refused.insert(*index, label);
        } else if !make_again(session, &label, damaged, watcher)? {
            refused.insert(*index, label);
        }
    }
    Ok(refused.into_values().collect())
}

/// Makes the node called `label` again, and replaces those of its outputs that are damaged. False where one came out
/// with bytes that nothing vouches for.
fn make_again(
    session: &Session,
    label: &str,
    damaged: &[Checked],
    watcher: &dyn Watcher,
) -> Result<bool, EngineError> {
    let find = |plan: &Plan| -> Result<usize, EngineError> { Ok(plan.find(label)?) };
    let inputs = |plan: &Plan| -> Result<Vec<usize>, EngineError> {
        let node = &plan.nodes()[find(plan)?];
        // A download needs nothing, though its derivation may name a seed.
        Ok(node.dependencies.iter().copied().collect())
    };
    let run = FinishedRun::start(session, &inputs, watcher)?.succeeded()?;
    let node = find(&run.planned.plan)?;
    let refused = Mutex::new(Vec::new());
    let inspect = |rebuilt: &RebuiltDerivation<'_>| {
        for output in &rebuilt.outputs {
            let mut checked = damaged.iter();
            let Some(checked) = checked.find(|checked| checked.info.path == output.info.path)
            else {
                continue;
            };
            let fail = BuildError::store(label);
            let (info, locks) = (&checked.info, rebuilt.locks);
            if is_vouched_for(rebuilt, output, checked) {
                let kept = put_in_place(&run.store, locks, &output.staged, &output.info, info);
                replaced_by(session, info, &output.info, kept.map_err(&fail)?);
                continue;
            }
            let kept = run.store.keep_beside(locks, &output.staged, &info.path);
            let refusal = Repaired::Refused {
                path: session.shown(&info.path),
                recorded: info.nar_sha256,
                found: output.info.nar_sha256,
                kept: kept.map_err(&fail)?,
            };
            let mut refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.push(refusal);
        }
        Ok(())
    };
    let report = run.rebuild(&[node], &Variation::default(), &inspect, watcher)?;
    let refused = refused.into_inner().unwrap_or_else(PoisonError::into_inner);
    let is_repaired = refused.is_empty();
    for refusal in refused {
        session.repaired(refusal);
    }
    match first_error(&report).is_none() && !report.summary.interrupted {
        true => Ok(is_repaired),
        false => Err(EngineError::Run(Box::new(report))),
    }
}

/// Whether something else than the build itself says that what it gave is right: its hash is the recorded one, or that
/// of what is in the store, so that the record is what is damaged, or its derivation names it.
fn is_vouched_for(
    rebuilt: &RebuiltDerivation<'_>,
    output: &RebuiltOutput<'_>,
    checked: &Checked,
) -> bool {
    let made = output.info.nar_sha256;
    let is_in_store =
        matches!(&checked.condition, Condition::Altered { found, .. } if *found == made);
    let is_fixed = rebuilt.job.derivation.fixed_output().is_some();
    made == checked.info.nar_sha256 || is_in_store || is_fixed
}
