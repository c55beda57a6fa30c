// SPDX-License-Identifier: GPL-3.0-or-later
//! Repair for trusted clients: `guix build --repair` and `guix gc --verify=repair`.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use super::ClientSession;
use super::fault::Fault;
use crate::engine::{self, Notice, Repaired, StoredRepair, WantedDerivation};
use crate::formats::store_path::StorePath;
use crate::formats::worker::{AskedPath, Fields};

impl ClientSession {
    /// Checks what is asked for with all that it refers to, and repairs or makes what is damaged or missing.
    pub(super) fn repair_paths(&self, asked: &[(AskedPath, Vec<String>)]) -> Result<Fields, Fault> {
        if !self.peer.trusted {
            return Err(Fault::refused("repairing is a privileged operation"));
        }
        let (wanted, others) = self.wanted(asked)?;
        let missing = self.substitute(&others)?.missing;
        if !missing.is_empty() {
            return Err(self.failure(&missing, 1));
        }
        let repair = self.repair(&wanted, &others)?;
        let status = self.log_errors(&repair.errors);
        let failed: BTreeSet<StorePath> = repair.failed.into_keys().collect();
        if !failed.is_empty() {
            return Err(self.failure(&failed, status));
        }
        match repair.errors.is_empty() {
            true => Ok(Fields::of_long(1)),
            false => {
                let wanted = wanted.into_iter().map(|wanted| wanted.derivation);
                Err(self.failure(&wanted.collect(), status))
            }
        }
    }

    /// Repairs the valid items `damaged`. An item that is gone, cannot be repaired and is not needed becomes invalid.
    /// Returns whether errors are left.
    pub(super) fn repair_items(&self, damaged: &BTreeSet<StorePath>) -> Result<bool, Fault> {
        let repair = self.repair(&[], damaged)?;
        self.log_errors(&repair.errors);
        let mut failed: BTreeSet<StorePath> = repair.failed.into_keys().collect();
        let mut missing = failed.clone();
        missing.retain(|path| {
            let place = self.directories.physical(path).symlink_metadata();
            place.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        });
        failed.retain(|path| !missing.contains(path));
        failed.extend(self.forget(&missing)?);
        Ok(!failed.is_empty())
    }

    /// Repairs, and reports progress to the client.
    fn repair(
        &self,
        wanted: &[WantedDerivation],
        paths: &BTreeSet<StorePath>,
    ) -> Result<StoredRepair, Fault> {
        let client = Arc::clone(&self.client);
        let notify = move |notice| {
            if let Notice::Repaired(step) = notice {
                client.log(describe(&step));
            }
        };
        let engine = engine::Session::with_notices(self.engine_options()?, Arc::new(notify));
        let repair = self.follow(|events| {
            engine.repair_stored(&self.store, wanted, paths, events, &self.cancellation)
        })?;
        for (path, problem) in &repair.failed {
            let path = self.shown(path);
            self.client
                .log(format!("cannot repair path `{path}': {problem}\n"));
        }
        Ok(repair)
    }
}

/// A line that says what a step of a repair did.
fn describe(step: &Repaired) -> String {
    match step {
        Repaired::Metadata(path) => {
            format!("path `{path}' has the store's times, modes and owners again\n")
        }
        Repaired::Record(path) => {
            format!("the database has a right record of path `{path}' again\n")
        }
        Repaired::Replaced {
            path,
            kept: Some(kept),
        } => format!(
            "path `{path}' was replaced; the damaged copy is `{}'\n",
            kept.display()
        ),
        Repaired::Replaced { path, kept: None } => format!("path `{path}' was put back\n"),
        Repaired::Rehashed {
            path,
            recorded,
            found,
        } => format!("path `{path}' had the hash `{recorded}' and now has `{found}'\n"),
        Repaired::NotBuilt { label, because } => {
            format!("`{label}' was not built again: `{because}' is damaged\n")
        }
        Repaired::Refused { path, .. } => format!("path `{path}' was not replaced\n"),
    }
}
