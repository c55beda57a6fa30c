// SPDX-License-Identifier: GPL-3.0-or-later
//! The lock of what is built: writing it, and comparing the store with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::document::Makers;
use super::error::EngineError;
use super::planned::{Planned, target};
use super::session::Session;
use super::wanted::stored_item;
use crate::formats::hash::Sha256Digest;
use crate::store::Store;
use crate::verify::attestation::{Attestation, LockCounts, Seen};
use crate::verify::lock_file::{
    Lock, LockFileError, LockFinding, LockedDerivation, LockedOutput, OutputComparison, Record,
    SeedKey,
};

/// What a lock holds for the session's seed once it is written.
#[derive(Debug)]
pub struct WrittenLock {
    /// The seed.
    pub seed: String,
    /// How many outputs it has of that seed.
    pub all: usize,
    /// How many of them are from this store.
    pub here: usize,
}

/// How the store compares with a lock.
#[derive(Debug)]
pub struct LockComparison {
    /// The session's seed and its digest.
    pub seed: (String, Sha256Digest),
    /// What was found of each output; `None` where the lock has nothing for this seed.
    pub compared: Option<Vec<OutputComparison>>,
    /// The seeds that the lock has something for.
    pub known: Vec<String>,
    /// How many outputs there are of each kind.
    pub counts: LockCounts,
}

impl LockComparison {
    /// Whether nothing was compared: no output is both in the lock and in the store.
    pub fn is_empty(&self) -> bool {
        self.counts.same + self.counts.different == 0
    }
}

impl Session {
    /// Writes what is built to the lock `file`. What it has of other seeds stays.
    ///
    /// # Errors
    /// Where there is no plan, or the store or the lock cannot be read, or the lock not be written.
    pub fn write_lock(&self, file: &Path) -> Result<WrittenLock, EngineError> {
        let planned = self.plan()?;
        let store = self.store_to_read()?;
        let mut lock = match Lock::read(file) {
            Err(LockFileError::Missing(_)) => Lock::default(),
            lock => lock?,
        };
        let outputs = |record: &Record| {
            let derivations = record.derivations.values();
            derivations.map(|derivation| derivation.outputs.len()).sum()
        };
        let here = record(self, &planned, &store, |_| true)?;
        let of_store = outputs(&here);
        let nodes = planned.plan.nodes().iter();
        let planned_paths: BTreeMap<&str, String> = nodes
            .map(|node| (node.label.as_str(), self.shown(&node.derivation_path)))
            .collect();
        let record = lock.records.entry(key(self, &planned)).or_default();
        record.update(here, |label, path| {
            planned_paths
                .get(label)
                .is_some_and(|planned| planned == path)
        });
        let all = outputs(record);
        lock.write(file)?;
        Ok(WrittenLock {
            seed: planned.seeds.seed.name,
            all,
            here: of_store,
        })
    }

    /// Compares what is built of `names`, packages or paths of their outputs, or of everything where none is named,
    /// with the lock `file`, and adds what was found to the document.
    ///
    /// Where nothing could be compared, the document does not list the lock among the checks.
    ///
    /// # Errors
    /// Where the store or the lock cannot be read, or the plan has no package of a name.
    pub fn compare_with_lock(
        &self,
        planned: &Planned,
        store: &Store,
        file: &Path,
        names: &[String],
        attestation: &mut Attestation,
    ) -> Result<LockComparison, EngineError> {
        let labels = labels(self, planned, names)?;
        let lock = Lock::read(file)?;
        let seed = &planned.seeds.seed;
        let mut comparison = LockComparison {
            seed: (seed.name.clone(), seed.digest()),
            compared: None,
            known: lock
                .records
                .values()
                .map(|record| record.seed.clone())
                .collect(),
            counts: LockCounts::default(),
        };
        if let Some(recorded) = lock.records.get(&key(self, planned)) {
            let wanted = |label: &str| labels.contains(label);
            let here = record(self, planned, store, wanted)?;
            let compared = recorded.compare(&here, wanted);
            for compared in &compared {
                note(compared, &mut comparison.counts, attestation);
            }
            comparison.compared = Some(compared);
        }
        attestation.lock = Some(comparison.counts);
        if !comparison.is_empty() {
            attestation.checks.push("lock".to_owned());
        }
        Ok(comparison)
    }
}

/// The labels of the packages called `names`, or of all nodes; of a path, the label of the node whose output it is,
/// where there is one.
fn labels(
    session: &Session,
    planned: &Planned,
    names: &[String],
) -> Result<BTreeSet<String>, EngineError> {
    let plan = &planned.plan;
    let label = |index: usize| plan.nodes()[index].label.clone();
    if names.is_empty() {
        return Ok((0..plan.nodes().len()).map(label).collect());
    }
    let makers = Makers::of(plan);
    let mut labels = BTreeSet::new();
    for name in names {
        if name.starts_with('/') {
            let path = stored_item(session.directories(), name)?;
            labels.extend(makers.output_label(&path).map(str::to_owned));
        } else {
            labels.insert(label(target(plan, name)?.node));
        }
    }
    Ok(labels)
}

/// The key of the plan's record.
fn key(session: &Session, planned: &Planned) -> SeedKey {
    SeedKey {
        system: session.options().system.name().to_owned(),
        sha256: planned.seeds.seed.digest(),
    }
}

/// Counts what was found of an output, and adds a difference to the document.
fn note(compared: &OutputComparison, counts: &mut LockCounts, attestation: &mut Attestation) {
    match &compared.finding {
        LockFinding::Same => counts.same += 1,
        LockFinding::OtherDerivation { .. } => counts.other_derivation += 1,
        LockFinding::NotRecorded => counts.not_recorded += 1,
        LockFinding::NotBuilt => counts.not_built += 1,
        LockFinding::Differs { recorded, .. } => {
            counts.different += 1;
            let detail = format!("the lock has {}", recorded.sha256);
            let output = attestation.outputs.iter_mut().find(|output| {
                output.package == compared.label && output.output == compared.output
            });
            match output {
                Some(output) => {
                    output.result = Seen::Differs;
                    output.detail = detail;
                }
                // Another package of the same derivation stands for it: a difference is one all the same.
                None => {
                    let name = format!("{}:{}", compared.label, compared.output);
                    attestation.other_damage.insert(name, detail);
                }
            }
        }
    }
}

/// What the database has of the plan's derivations whose labels are `wanted`.
fn record(
    session: &Session,
    planned: &Planned,
    store: &Store,
    wanted: impl Fn(&str) -> bool,
) -> Result<Record, EngineError> {
    let mut record = Record {
        seed: planned.seeds.seed.name.clone(),
        impure: planned.seeds.seed.impure.clone(),
        derivations: BTreeMap::new(),
    };
    for node in planned.plan.nodes() {
        if !wanted(&node.label) {
            continue;
        }
        let mut outputs = BTreeMap::new();
        for (name, path) in node.output_paths() {
            let Some(info) = store.path_info(path)? else {
                continue;
            };
            let references = info.references.iter();
            outputs.insert(
                name.to_owned(),
                LockedOutput {
                    path: session.shown(path),
                    sha256: info.nar_sha256,
                    size: info.nar_size,
                    references: references.map(|path| session.shown(path)).collect(),
                },
            );
        }
        let path = session.shown(&node.derivation_path);
        let locked = LockedDerivation { path, outputs };
        record.derivations.insert(node.label.clone(), locked);
    }
    Ok(record)
}
