// SPDX-License-Identifier: GPL-3.0-or-later
//! Repair of store items that any program may have added: no recipe, seed or plan is needed.
//!
//! This is guix-daemon's repair. An item is checked with all that it refers to. A damaged one is replaced by a
//! substitute, else it is built again, after what it is built from was repaired likewise. Unlike the repair of
//! [packages](super::repair), a build that gives other bytes than those recorded is accepted and recorded: a store in
//! use is worth more with another copy than without any.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::derivations::StoredDerivations;
use super::error::EngineError;
use super::realise::RealiseMode;
use super::repair::{put_in_place, replaced_by, substitute};
use super::session::Session;
use super::substitutes::substituter;
use super::wanted::WantedDerivation;
use super::watcher::{Watcher, watched};
use crate::builder::error::BuildError;
use crate::builder::rebuild::RebuiltDerivation;
use crate::events::EventSender;
use crate::events::cancellation::Cancellation;
use crate::exchange::substitute::Substituter;
use crate::formats::nar::NarError;
use crate::formats::store_path::StorePath;
use crate::store::{PathInfo, Store, StoreError};
use crate::verify::whole::{self, Checked, Condition};

/// The result of [`Session::repair_stored`].
#[derive(Debug, Default)]
pub struct StoredRepair {
    /// The damaged items that could not be repaired, each with the reason.
    pub failed: BTreeMap<StorePath, String>,
    /// The builds that failed.
    pub errors: Vec<BuildError>,
    /// Whether the repair was stopped before its end.
    pub interrupted: bool,
}

/// A repair under way.
struct Repair<'r> {
    session: &'r Session,
    store: &'r Store,
    substituter: Option<Substituter>,
    events: &'r EventSender,
    cancellation: &'r Cancellation,
    /// What was checked.
    checked: BTreeSet<StorePath>,
    /// What was found damaged, and is not repaired yet.
    damaged: BTreeMap<StorePath, Checked>,
    result: StoredRepair,
}

impl Session {
    /// Repairs `wanted` as [`repair_stored`](Self::repair_stored) does, in a store that it opens.
    ///
    /// # Errors
    /// As for [`repair_stored`](Self::repair_stored); and where an item could not be repaired. A build that failed is
    /// not an error: a run that follows reports it.
    pub fn repair_derivations(
        &self,
        wanted: &[WantedDerivation],
        watcher: &dyn Watcher,
    ) -> Result<(), EngineError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let cancellation = watcher.cancellation();
        let repair = watched(watcher, |events| {
            events.preparing("opening the store");
            let store = self.open_store(events, cancellation)?;
            // Reports what is not a derivation, or has no such output.
            let derivations = wanted.iter().map(|wanted| &wanted.derivation);
            let loaded = StoredDerivations::load_alone(&store, derivations)?;
            for wanted in wanted {
                self.outputs(&loaded, wanted)?;
            }
            events.preparing("looking up what is damaged");
            self.repair_stored(&store, wanted, &BTreeSet::new(), events, cancellation)
        })?;
        let failed = repair.failed.iter();
        let failed = failed.map(|(path, problem)| format!("{}: {problem}", self.shown(path)));
        match repair.failed.is_empty() {
            true => Ok(()),
            false => Err(EngineError::NotRepaired(failed.collect())),
        }
    }

    /// Checks the outputs of `wanted` and the valid items `paths`, with all that they refer to, and repairs what is
    /// damaged or missing. Outputs that are not valid are made valid. Each step is a notice.
    ///
    /// # Errors
    /// Where the store cannot be read or changed, or a run could not begin. What could not be repaired is in the
    /// result.
    pub fn repair_stored(
        &self,
        store: &Store,
        wanted: &[WantedDerivation],
        paths: &BTreeSet<StorePath>,
        events: &EventSender,
        cancellation: &Cancellation,
    ) -> Result<StoredRepair, EngineError> {
        let mut repair = Repair {
            session: self,
            store,
            substituter: substituter(self)?,
            events,
            cancellation,
            checked: BTreeSet::new(),
            damaged: BTreeMap::new(),
            result: StoredRepair::default(),
        };
        repair.repair(store.closure(paths)?)?;
        for wanted in wanted {
            repair.repair_outputs(wanted)?;
        }
        if !repair.goes_on() {
            repair.result.interrupted = true;
            return Ok(repair.result);
        }
        let mut result = repair.result;
        // The damage is known: a build on top of it would be worth nothing.
        if result.failed.is_empty() {
            let realised = self.realise(store, wanted, RealiseMode::Build, events, cancellation)?;
            result.errors.extend(realised.report.errors);
            result.interrupted = realised.report.summary.interrupted;
        }
        Ok(result)
    }
}

impl Repair<'_> {
    fn goes_on(&self) -> bool {
        !self.cancellation.is_cancelled()
    }

    /// Repairs the outputs that are wanted and valid, or what the others will be built from.
    fn repair_outputs(&mut self, wanted: &WantedDerivation) -> Result<(), EngineError> {
        let outputs = self.store.derivation_outputs(&wanted.derivation)?;
        let outputs = outputs
            .iter()
            .filter(|(name, _)| wanted.outputs.is_empty() || wanted.outputs.contains(*name));
        let outputs: BTreeSet<StorePath> = outputs.map(|(_, path)| path.clone()).collect();
        self.store.add_temporary_roots(&outputs)?;
        let valid = self.store.valid_among(&outputs)?;
        if valid.len() < outputs.len() {
            let inputs = self.inputs(&wanted.derivation)?;
            self.repair(inputs)?;
        }
        self.repair(self.store.closure(&valid)?)
    }

    /// Checks those of `paths` that were not checked yet, and repairs those that are damaged.
    fn repair(&mut self, paths: BTreeSet<StorePath>) -> Result<(), EngineError> {
        let open: BTreeSet<StorePath> = paths.difference(&self.checked).cloned().collect();
        if !open.is_empty() && self.goes_on() {
            let cores = self.session.build_settings().cores;
            let report = match whole::items(self.store, &open, cores, &|| self.goes_on()) {
                // The caller sees it.
                Err(StoreError::Nar(NarError::Stopped)) => return Ok(()),
                report => report?,
            };
            let damaged = report.damaged();
            self.damaged
                .extend(damaged.map(|checked| (checked.info.path.clone(), checked.clone())));
            self.checked.extend(open);
        }
        for path in paths {
            if !self.goes_on() {
                return Ok(());
            }
            if let Some(checked) = self.damaged.remove(&path) {
                self.mend(&checked)?;
            }
        }
        Ok(())
    }

    /// Repairs one damaged item.
    fn mend(&mut self, checked: &Checked) -> Result<(), EngineError> {
        let right = match &checked.condition {
            Condition::Intact => return Ok(()),
            Condition::Touched(_) => None,
            Condition::Misrecorded(wrong) => Some(&wrong.right),
            Condition::Missing | Condition::Altered { .. } | Condition::Unreadable(_) => {
                return self.replace(&checked.info);
            }
        };
        Ok(self
            .session
            .correct(self.store, &checked.info.path, right)?)
    }

    /// Replaces an item by a substitute, or by what building it again gives.
    fn replace(&mut self, info: &PathInfo) -> Result<(), EngineError> {
        if self.substitute(info)? {
            return Ok(());
        }
        let problem = match self.maker(info)? {
            Some(derivation) => self.build(info, &derivation)?,
            None => Some("neither a substitute nor a derivation provides it".to_owned()),
        };
        if let Some(problem) = problem {
            self.result.failed.insert(info.path.clone(), problem);
        }
        Ok(())
    }

    fn substitute(&self, recorded: &PathInfo) -> Result<bool, EngineError> {
        let Some(substituter) = &self.substituter else {
            return Ok(false);
        };
        substitute(
            self.session,
            self.store,
            substituter,
            recorded,
            self.cancellation,
        )
    }

    /// A valid derivation that makes the item.
    fn maker(&self, info: &PathInfo) -> Result<Option<StorePath>, EngineError> {
        let makers = self.store.derivers(&info.path)?;
        let recorded = info
            .deriver
            .as_ref()
            .filter(|deriver| makers.contains(deriver));
        Ok(recorded.or_else(|| makers.first()).cloned())
    }

    /// Builds `derivation` again and replaces what is damaged of its outputs, `info` among them. Returns why that could
    /// not be done.
    fn build(
        &mut self,
        info: &PathInfo,
        derivation: &StorePath,
    ) -> Result<Option<String>, EngineError> {
        let inputs = self.inputs(derivation)?;
        self.repair(inputs.clone())?;
        if let Some(other) = self
            .result
            .failed
            .keys()
            .find(|other| inputs.contains(*other))
        {
            let other = self.session.shown(other);
            return Ok(Some(format!(
                "{other}, which it is built from, could not be repaired"
            )));
        }
        if !self.goes_on() {
            return Ok(None);
        }
        let outputs = self.store.derivation_outputs(derivation)?;
        let others = outputs
            .values()
            .filter_map(|path| Some((path.clone(), self.damaged.get(path)?.info.clone())));
        let mut damaged: BTreeMap<StorePath, PathInfo> = others.collect();
        damaged.insert(info.path.clone(), info.clone());
        let replaced = Mutex::new(BTreeSet::new());
        let inspect = |rebuilt: &RebuiltDerivation<'_>| {
            for output in &rebuilt.outputs {
                let Some(recorded) = damaged.get(&output.info.path) else {
                    continue;
                };
                let kept = put_in_place(
                    self.store,
                    rebuilt.locks,
                    &output.staged,
                    &output.info,
                    recorded,
                );
                let kept = kept.map_err(BuildError::store(rebuilt.job.label))?;
                replaced_by(self.session, recorded, &output.info, kept);
                let mut replaced = replaced.lock().unwrap_or_else(PoisonError::into_inner);
                replaced.insert(output.info.path.clone());
            }
            Ok(())
        };
        let report = self.session.build_again(
            self.store,
            derivation,
            &inspect,
            self.events,
            self.cancellation,
        )?;
        let replaced = replaced
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        self.damaged.retain(|path, _| !replaced.contains(path));
        let problem = match report.errors.first() {
            _ if replaced.contains(&info.path) => None,
            Some(error) => Some(error.to_string()),
            None if report.summary.interrupted => None,
            None => Some("rebuilding did not produce it".to_owned()),
        };
        self.result.errors.extend(report.errors);
        Ok(problem)
    }

    /// What `derivation` is built from, as far as it is valid; of what is not, what that would be built from.
    fn inputs(&self, derivation: &StorePath) -> Result<BTreeSet<StorePath>, EngineError> {
        let mut found = BTreeSet::new();
        let mut seen = BTreeSet::from([derivation.clone()]);
        let mut open = vec![derivation.clone()];
        while let Some(path) = open.pop() {
            let derivation = self.store.derivation(&path)?;
            found.extend(self.store.closure(&derivation.input_sources)?);
            for (input, names) in &derivation.input_derivations {
                let outputs = self.store.derivation_outputs(input)?;
                let outputs = outputs.iter().filter(|(name, _)| names.contains(*name));
                let outputs: Vec<&StorePath> = outputs.map(|(_, path)| path).collect();
                let valid = self.store.valid_among(outputs.iter().copied())?;
                if valid.len() < outputs.len() && seen.insert(input.clone()) {
                    open.push(input.clone());
                }
                found.extend(self.store.closure(&valid)?);
            }
        }
        Ok(found)
    }
}
