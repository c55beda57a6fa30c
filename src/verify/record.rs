// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether the database says of an item what the item and its derivation say themselves.
//!
//! The recorded hash shows whether an item is what it was; the rest of the record has to be proven by other means. Its
//! size comes with the hash. Its references have to occur in it, and what occurs in it of all that its build could see
//! has to be recorded. A derivation says itself what it refers to and which outputs it has. Of a deriver nothing can
//! be said but that it builds the item, where it is there at all: a store may well hold what was built somewhere else.
//!
//! A time of registration cannot be checked: nothing else knows it.

use std::collections::{BTreeMap, BTreeSet};

use crate::builder::builtin::is_builtin;
use crate::diagnostics::FileError;
use crate::formats::derivation::{Derivation, aterm};
use crate::formats::store_path::StorePath;
use crate::store::scan::Scanned;
use crate::store::{PathInfo, Store, StoreError, content_address, regular_file};

/// A record that says something else than the item, whose contents are the recorded ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongRecord {
    /// What it says that is not so, in words.
    pub problems: Vec<String>,
    /// What it should say.
    pub right: PathInfo,
}

/// What can be known of an item beside its record.
pub(super) struct Evidence {
    /// Derivations that build it, by their own words; that of the record first.
    derivers: Vec<StorePath>,
    /// What it says, where it is a derivation itself.
    derivation: Option<Derivation>,
    /// What to look for in it.
    pub(super) candidates: BTreeSet<StorePath>,
}

impl Evidence {
    /// Gathers what is known of the item of `info`.
    ///
    /// # Errors
    /// Where the database cannot be asked. A derivation that cannot be read is none: it has a record of its own.
    pub(super) fn of(store: &Store, info: &PathInfo) -> Result<Self, StoreError> {
        let mut evidence = Self {
            derivers: Vec::new(),
            derivation: None,
            candidates: info.references.clone(),
        };
        if info.path.is_derivation() {
            evidence.derivation = read(store, &info.path);
            return Ok(evidence);
        }
        let others = store.derivers(&info.path)?.into_iter();
        let others = others.filter(|path| Some(path) != info.deriver.as_ref());
        for path in info.deriver.iter().cloned().chain(others) {
            let Some(derivation) = read(store, &path) else {
                continue;
            };
            let builds = |path: &StorePath| {
                let mut outputs = derivation.outputs.values();
                outputs.any(|output| output.path.as_ref() == Some(path))
            };
            if !builds(&info.path) {
                continue;
            }
            if evidence.derivers.is_empty() {
                evidence.candidates.extend(visible(store, &derivation)?);
            }
            evidence.derivers.push(path);
        }
        Ok(evidence)
    }

    /// Compares the record `info` with what was found in the item, whose contents are the recorded ones.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub(super) fn judge(
        &self,
        store: &Store,
        info: &PathInfo,
        scanned: &Scanned,
    ) -> Result<Option<WrongRecord>, StoreError> {
        let shown = |path: &StorePath| store.directories().store_dir.display(path);
        let mut problems = Vec::new();
        // Guix's daemon has not always recorded sizes.
        if info.nar_size != 0 && info.nar_size != scanned.nar_size {
            problems.push(format!(
                "expected {} bytes as an archive (the database says so), saw {}",
                info.nar_size, scanned.nar_size
            ));
        }
        let references = match &self.derivation {
            Some(derivation) => derivation.references(),
            None if info.references != scanned.references
                && are_proven(store, info).map_err(StoreError::from)? =>
            {
                info.references.clone()
            }
            None => scanned.references.clone(),
        };
        for reference in info.references.difference(&references) {
            problems.push(format!(
                "the database says that it refers to {}, which does not occur in it",
                shown(reference)
            ));
        }
        for reference in references.difference(&info.references) {
            problems.push(format!(
                "it refers to {}, which the database does not list",
                shown(reference)
            ));
        }
        let deriver = self.deriver(store, info)?;
        if deriver != info.deriver {
            problems.push(format!(
                "the database says that it was built from {}, {}",
                info.deriver.as_ref().map_or_else(String::new, shown),
                match &deriver {
                    Some(deriver) => format!("and {} is what builds it", shown(deriver)),
                    None => "which does not build it".to_owned(),
                }
            ));
        }
        self.judge_outputs(store, info, &mut problems)?;
        Ok((!problems.is_empty()).then(|| WrongRecord {
            problems,
            right: PathInfo {
                path: info.path.clone(),
                nar_sha256: info.nar_sha256,
                nar_size: scanned.nar_size,
                references,
                deriver,
                registration_time: info.registration_time,
            },
        }))
    }

    /// The deriver that should be recorded.
    fn deriver(&self, store: &Store, info: &PathInfo) -> Result<Option<StorePath>, StoreError> {
        let Some(recorded) = &info.deriver else {
            // It need not be recorded.
            return Ok(None);
        };
        let builds = self.derivers.contains(recorded);
        let other = self.derivers.first().cloned();
        if builds {
            return Ok(Some(recorded.clone()));
        }
        if store.is_valid(recorded)? {
            // One that cannot be read is damaged itself, which is reported for it.
            return Ok(match read(store, recorded) {
                Some(_) => other,
                None => info.deriver.clone(),
            });
        }
        // It is not there: collected, or never was, if the item was built elsewhere. That looks the same as damage,
        // but for a name that is one character from that of what does build the item.
        let near = self.derivers.iter().find(|known| is_near(known, recorded));
        Ok(Some(near.unwrap_or(recorded).clone()))
    }

    /// Compares the recorded outputs with those that a derivation has; anything else has none.
    fn judge_outputs(
        &self,
        store: &Store,
        info: &PathInfo,
        problems: &mut Vec<String>,
    ) -> Result<(), StoreError> {
        if info.path.is_derivation() && self.derivation.is_none() {
            // Of a kind that is not known here, such as one with another hash: nothing can be said.
            return Ok(());
        }
        let recorded = store.derivation_outputs(&info.path)?;
        let outputs = self.derivation.iter().flat_map(|found| &found.outputs);
        let outputs: BTreeMap<&String, &StorePath> = outputs
            .filter_map(|(name, output)| Some((name, output.path.as_ref()?)))
            .collect();
        let shown = |path: Option<&StorePath>| match path {
            Some(path) => store.directories().store_dir.display(path),
            None => "nowhere".to_owned(),
        };
        let names: BTreeSet<&String> = recorded.keys().chain(outputs.keys().copied()).collect();
        for name in names {
            let sides = (recorded.get(name), outputs.get(name).copied());
            if sides.0 != sides.1 {
                problems.push(format!(
                    "the database says that its output {name} is {}, and it is {}",
                    shown(sides.0),
                    shown(sides.1)
                ));
            }
        }
        Ok(())
    }
}

/// Whether the path of `info` follows from the references that are recorded: a text need not hold its references.
fn are_proven(store: &Store, info: &PathInfo) -> Result<bool, FileError> {
    let directories = store.directories();
    let place = directories.physical(&info.path);
    content_address::proves(
        &directories.store_dir,
        &info.path,
        &place,
        &info.nar_sha256,
        &info.references,
        &[],
    )
    .map_err(FileError::in_store("hash", &place))
}

/// The derivation at `path`, where it is there and can be read.
fn read(store: &Store, path: &StorePath) -> Option<Derivation> {
    if !path.is_derivation() {
        return None;
    }
    let place = store.directories().physical(path);
    let bytes = regular_file::read(&place, regular_file::DERIVATION_MAX).ok()?;
    aterm::parse(&store.directories().store_dir, &bytes).ok()
}

/// What the outputs of `derivation` were searched for when they were registered, as far as that is still known.
fn visible(store: &Store, derivation: &Derivation) -> Result<BTreeSet<StorePath>, StoreError> {
    if derivation.fixed_output().is_some() {
        return Ok(BTreeSet::new());
    }
    let outputs = derivation.outputs.values();
    let outputs = outputs.filter_map(|output| output.path.clone());
    let mut visible: BTreeSet<StorePath> = outputs.collect();
    if is_builtin(&derivation.builder) {
        // What a builtin makes refers to nothing but itself.
        return Ok(visible);
    }
    let mut inputs = derivation.input_sources.clone();
    for (input, names) in &derivation.input_derivations {
        let outputs = store.derivation_outputs(input)?;
        inputs.extend(names.iter().filter_map(|name| outputs.get(name).cloned()));
    }
    let valid = store.valid_among(&inputs)?;
    visible.extend(store.closure(&valid)?);
    visible.extend(inputs);
    Ok(visible)
}

/// Whether one character makes the difference, as one flipped bit does.
fn is_near(one: &StorePath, other: &StorePath) -> bool {
    let (one, other) = (one.base_name().as_bytes(), other.base_name().as_bytes());
    one.len() == other.len() && one.iter().zip(other).filter(|(a, b)| a != b).count() == 1
}

#[cfg(test)]
#[path = "record/tests.rs"]
mod tests;
