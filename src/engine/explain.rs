// SPDX-License-Identifier: GPL-3.0-or-later
//! Why a package is built again.
//!
//! The derivation that would be built now is compared with the one that was built last. Where an input has changed,
//! that one is compared with its own predecessor, down to the changes that follow from nothing else.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::builtins;
use super::derivations::StoredDerivations;
use super::error::EngineError;
use super::notice::{BuiltAgain, ChangeCause, Reason, Why};
use super::planned::Planned;
use super::session::Session;
use crate::builder::history::History;
use crate::formats::derivation::difference::{self, DerivationChange};
use crate::formats::derivation::{Derivation, aterm};
use crate::formats::store_path::StorePath;
use crate::road::plan::Node;
use crate::store::regular_file;

/// Why one package would be built again.
#[derive(Debug)]
pub struct Explanation {
    /// The package.
    pub package: String,
    /// The path of its derivation.
    pub derivation: String,
    /// Whether all its outputs are valid.
    pub built: bool,
    /// Whether this very derivation was built before: its outputs were removed since.
    pub gone: bool,
    /// The path of the derivation that was built before.
    pub previous: Option<String>,
    /// What differs between the two.
    pub reasons: Vec<Reason>,
}

impl Session {
    /// Why the package called `name` would be built again.
    ///
    /// # Errors
    /// Where there is no such package, or the store cannot be read.
    pub fn explain(&self, planned: &Planned, name: &str) -> Result<Explanation, EngineError> {
        let store = self.store_to_read()?;
        let (node, _) = planned.package(name)?;
        let outputs: Vec<&StorePath> = node.output_paths().map(|(_, path)| path).collect();
        let built = store.valid_among(outputs.iter().copied())?.len() == outputs.len();
        let explainer = Explainer::new(self, planned);
        let gone = !built && explainer.was_built(node);
        let previous = match gone {
            true => None,
            false => explainer.previous(node),
        };
        Ok(Explanation {
            package: node.label.clone(),
            derivation: self.shown(&node.derivation_path),
            built,
            gone,
            previous: previous.as_ref().map(|(path, _)| self.shown(path)),
            reasons: previous.map_or_else(Vec::new, |(path, _)| {
                explainer.reasons(&node.label, &path, &node.derivation_path)
            }),
        })
    }
}

impl Session {
    /// Why the derivation at `path`, one of the store, would be built again. It is compared with the last one that was
    /// built of a package of the same name, in any version.
    ///
    /// # Errors
    /// Where it is not valid or not a derivation, or the store cannot be read.
    pub fn explain_derivation(
        &self,
        planned: &Planned,
        path: &StorePath,
    ) -> Result<Explanation, EngineError> {
        let nodes = planned.plan.nodes();
        if let Some(node) = nodes.iter().find(|node| node.derivation_path == *path) {
            return self.explain(planned, &node.label);
        }
        let store = self.store_to_read()?;
        let loaded = StoredDerivations::load_alone(&store, [path])?;
        let outputs: Vec<&StorePath> = loaded
            .get(path)
            .into_iter()
            .flat_map(|derivation| derivation.outputs.values())
            .filter_map(|output| output.path.as_ref())
            .collect();
        let built = store.valid_among(outputs.iter().copied())?.len() == outputs.len();
        let explainer = Explainer::new(self, planned);
        let earlier = explainer.of_same_name(path);
        let gone = !built && earlier.first() == Some(path);
        let mut others = earlier.into_iter().filter(|other| other != path);
        let previous = match gone {
            true => None,
            false => others.find(|other| explainer.derivation(other).is_some()),
        };
        Ok(Explanation {
            package: path.base_name().to_owned(),
            derivation: self.shown(path),
            built,
            gone,
            previous: previous.as_ref().map(|other| self.shown(other)),
            reasons: previous.map_or_else(Vec::new, |other| {
                explainer.reasons(path.base_name(), &other, path)
            }),
        })
    }
}

/// The name of what the derivation at `path` builds, without the version: what is before a hyphen and a digit.
fn without_version(path: &StorePath) -> &str {
    let name = path.name();
    let mut hyphens = name.match_indices('-').map(|(at, _)| at);
    let starts_version =
        |at: &usize| name[at + 1..].starts_with(|next: char| next.is_ascii_digit());
    let end = hyphens.find(starts_version).unwrap_or(name.len());
    &name[..end]
}

/// Why the packages called `labels` are built again; nothing of those that were never built.
pub(super) fn built_again(
    session: &Session,
    planned: &Planned,
    labels: &[String],
) -> Vec<BuiltAgain> {
    let explainer = Explainer::new(session, planned);
    let nodes = labels.iter().filter_map(|label| planned.plan.get(label));
    nodes
        .filter(|node| node.stage.is_some())
        .filter_map(|node| {
            let why = match explainer.was_built(node) {
                true => Why::Removed,
                false => {
                    let (previous, _) = explainer.previous(node)?;
                    let reasons = explainer.reasons(&node.label, &previous, &node.derivation_path);
                    Why::Changed(reasons)
                }
            };
            Some(BuiltAgain {
                package: node.label.clone(),
                why,
            })
        })
        .collect()
}

struct Explainer<'c> {
    session: &'c Session,
    history: History,
    planned: BTreeMap<&'c StorePath, &'c Node>,
    /// Derivations that were read, `None` where they are gone.
    read: RefCell<BTreeMap<StorePath, Option<Derivation>>>,
    /// What [`seeds`](Self::seeds) has found.
    seeds: RefCell<BTreeMap<StorePath, BTreeSet<String>>>,
}

impl<'c> Explainer<'c> {
    fn new(session: &'c Session, planned: &'c Planned) -> Self {
        let nodes = planned.plan.nodes().iter();
        Self {
            session,
            history: session.history(),
            planned: nodes.map(|node| (&node.derivation_path, node)).collect(),
            read: RefCell::default(),
            seeds: RefCell::default(),
        }
    }

    /// Whether what was built last of a package is its present derivation.
    fn was_built(&self, node: &Node) -> bool {
        let built = self.history.derivations(&node.label);
        built.first().map(String::as_str) == Some(node.derivation_path.base_name())
    }

    /// The derivation of the same package that was built last, and is not the present one: one on the same seed, where
    /// there is one. That another seed was tried meanwhile says nothing of what has changed.
    fn previous(&self, node: &Node) -> Option<(StorePath, Derivation)> {
        let built = self.history.derivations(&node.label).into_iter();
        let found: Vec<(StorePath, Derivation)> = built
            .filter_map(|name| StorePath::from_base_name(&name).ok())
            .filter(|path| *path != node.derivation_path)
            .filter_map(|path| Some((path.clone(), self.derivation(&path)?)))
            .collect();
        let seeds = self.seeds(&node.derivation_path);
        let same = found.iter().find(|(path, _)| self.seeds(path) == seeds);
        same.or(found.first()).cloned()
    }

    /// The names of the seeds that what the derivation at `path` builds comes from.
    fn seeds(&self, path: &StorePath) -> BTreeSet<String> {
        if let Some(known) = self.seeds.borrow().get(path) {
            return known.clone();
        }
        let mut seeds = BTreeSet::new();
        if let Some(derivation) = self.derivation(path) {
            if derivation.builder == builtins::UNPACK_SEED {
                seeds.insert(path.name().to_owned());
            }
            let inputs = derivation.input_derivations.keys();
            seeds.extend(inputs.flat_map(|input| self.seeds(input)));
        }
        self.seeds.borrow_mut().insert(path.clone(), seeds.clone());
        seeds
    }

    /// The derivations of the store, not of the plan, that were built under the name of the one at `path`, the latest
    /// first.
    fn of_same_name(&self, path: &StorePath) -> Vec<StorePath> {
        let name = without_version(path);
        let mut found = Vec::new();
        for record in self.history.records().into_iter().rev() {
            // The plan's have labels.
            if record.item != record.derivation {
                continue;
            }
            let built = StorePath::from_base_name(&record.derivation).ok();
            let built = built.filter(|built| without_version(built) == name);
            found.extend(built.filter(|built| !found.contains(built)));
        }
        found
    }

    /// The derivation at `path`: from the plan, or from the store, where its file stays as long as anything built from
    /// it does.
    fn derivation(&self, path: &StorePath) -> Option<Derivation> {
        if let Some(node) = self.planned.get(path) {
            return Some(node.derivation.clone());
        }
        if let Some(read) = self.read.borrow().get(path) {
            return read.clone();
        }
        let directories = self.session.directories();
        let bytes =
            regular_file::read(&directories.physical(path), regular_file::DERIVATION_MAX).ok();
        let derivation = bytes.and_then(|bytes| aterm::parse(&directories.store_dir, &bytes).ok());
        self.read
            .borrow_mut()
            .insert(path.clone(), derivation.clone());
        derivation
    }

    /// The changes between two derivations of `label` that follow from nothing else.
    fn reasons(&self, label: &str, old: &StorePath, new: &StorePath) -> Vec<Reason> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        let mut open = vec![(label.to_owned(), old.clone(), new.clone())];
        while let Some((of, old, new)) = open.pop() {
            if !seen.insert((old.clone(), new.clone())) {
                continue;
            }
            let (Some(before), Some(now)) = (self.derivation(&old), self.derivation(&new)) else {
                found.push(Reason {
                    of,
                    cause: ChangeCause::Gone(self.session.shown(&old)),
                });
                continue;
            };
            let changes = difference::changes(
                &self.session.directories().store_dir,
                &before,
                &now,
                &|path| self.derivation(path),
            );
            for change in changes {
                match change {
                    DerivationChange::Input { name, old, new } => {
                        let name = self.label(&new).unwrap_or(name);
                        open.push((name, old, new));
                    }
                    change => found.push(Reason {
                        of: of.clone(),
                        cause: ChangeCause::Change(change),
                    }),
                }
            }
        }
        found
    }

    /// What the plan calls the derivation at `path`.
    fn label(&self, path: &StorePath) -> Option<String> {
        self.planned.get(path).map(|node| node.label.clone())
    }
}
