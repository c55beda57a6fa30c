// SPDX-License-Identifier: GPL-3.0-or-later
//! Collecting garbage, and checking the store.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use super::ClientSession;
use super::fault::Fault;
use crate::formats::count::counted;
use crate::formats::store_path::StorePath;
use crate::formats::worker::{AskedPath, CollectAction, Fields};
use crate::store::gc::{CollectOptions, Freed, collect, delete, liveness};
use crate::verify::whole::{self, Condition};

impl ClientSession {
    /// Lists or deletes live or dead paths.
    pub(super) fn collect_garbage(
        &self,
        action: CollectAction,
        paths: &[AskedPath],
        ignore_liveness: bool,
        most_freed: u64,
    ) -> Result<Fields, Fault> {
        if self.peer.is_remote() {
            return Err(Fault::refused(
                "garbage collection is disabled for clients over the network",
            ));
        }
        if ignore_liveness {
            return Err(Fault::refused("you are not allowed to ignore liveness"));
        }
        let options = CollectOptions {
            max_freed: (most_freed != u64::MAX).then_some(most_freed),
            keep_derivations: self.configuration.keep_derivations,
            keep_outputs: self.configuration.keep_outputs,
            // As with guix-daemon.
            own_roots: false,
            ..CollectOptions::default()
        };
        self.client.log("finding garbage collector roots...\n");
        match action {
            CollectAction::ReturnLive => {
                Ok(self.collected(&liveness(&self.store, &options)?.live, 0))
            }
            CollectAction::ReturnDead => {
                Ok(self.collected(&liveness(&self.store, &options)?.dead, 0))
            }
            CollectAction::DeleteDead => self.freed(collect(&self.store, &options)?),
            CollectAction::DeleteSpecific => {
                let paths = paths.iter().map(|path| self.required(path).cloned());
                let paths = paths.collect::<Result<BTreeSet<_>, _>>()?;
                self.freed(delete(&self.store, &paths, &options)?)
            }
        }
    }

    fn freed(&self, freed: Freed) -> Result<Fields, Fault> {
        let leftovers = freed.leftovers.iter();
        let leftovers = leftovers.filter_map(|name| StorePath::from_base_name(name).ok());
        let paths: BTreeSet<StorePath> = freed.paths.into_iter().chain(leftovers).collect();
        let lines = paths.iter();
        let lines = lines.map(|path| format!("deleting `{}'\n", self.shown(path)));
        // A client need not take the names of a whole store in one message.
        for part in lines.collect::<Vec<_>>().chunks(1000) {
            self.client.log(part.concat());
        }
        Ok(self.collected(&paths, freed.bytes))
    }

    fn collected(&self, paths: &BTreeSet<StorePath>, bytes: u64) -> Fields {
        let mut fields = self.list(paths);
        fields.long(bytes);
        // Was once the number of blocks.
        fields.long(0);
        fields
    }

    /// Checks the database and, with `check_contents`, every file. The reply is whether errors are left.
    pub(super) fn verify_store(&self, check_contents: bool, repair: bool) -> Result<Fields, Fault> {
        if repair && !self.peer.trusted {
            return Err(Fault::refused("you are not privileged to repair paths"));
        }
        self.client.log("checking path existence...\n");
        if !check_contents {
            let missing = self.verify_existence()?;
            return self.verified(missing, repair);
        }
        self.client.log("checking hashes...\n");
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let report = whole::everything(&self.store, threads, &|| self.goes_on());
        if !self.goes_on() {
            return Err(Fault::Gone);
        }
        let report = report?;
        let mut damaged = BTreeSet::new();
        for checked in report.damaged() {
            let path = self.shown(&checked.info.path);
            damaged.insert(checked.info.path.clone());
            self.client.log(match &checked.condition {
                Condition::Intact => continue,
                Condition::Missing => format!("path `{path}' disappeared\n"),
                Condition::Touched(_) => {
                    format!("path `{path}' has times, modes or owners that are not the store's\n")
                }
                Condition::Altered { found, .. } => format!(
                    "path `{path}' was modified! expected hash `{}', got `{}'\n",
                    checked.info.nar_sha256, found
                ),
                Condition::Misrecorded(_) => {
                    format!("the database has a wrong record of path `{path}'\n")
                }
                Condition::Unreadable(problem) => {
                    format!("path `{path}' cannot be read: {problem}\n")
                }
            });
        }
        self.verified(damaged, repair)
    }

    /// The reply to a check that found `damaged`: whether errors are left after a repair.
    fn verified(&self, damaged: BTreeSet<StorePath>, repair: bool) -> Result<Fields, Fault> {
        let errors = match repair && !damaged.is_empty() {
            true => self.repair_items(&damaged)?,
            false => !damaged.is_empty(),
        };
        Ok(Fields::of_long(errors.into()))
    }

    /// The valid paths that are not there.
    fn verify_existence(&self) -> Result<BTreeSet<StorePath>, Fault> {
        self.store.check_database()?;
        let mut missing = BTreeSet::new();
        for path in self.store.valid_paths()? {
            if self.directories.physical(&path).symlink_metadata().is_err() {
                let shown = self.shown(&path);
                self.client.log(format!("path `{shown}' disappeared\n"));
                missing.insert(path);
            }
        }
        Ok(missing)
    }

    /// Whether the client is there.
    fn goes_on(&self) -> bool {
        !self.cancellation.is_cancelled() && !self.client.is_closed()
    }

    /// Has equal files share their blocks, while the client is there.
    pub(super) fn optimise_store(&self) -> Result<Fields, Fault> {
        let saved = self.store.optimise(&|| self.goes_on())?;
        if !self.goes_on() {
            return Err(Fault::Gone);
        }
        self.client.log(format!(
            "{} freed by hard-linking {}\n",
            counted(saved.bytes, "byte"),
            counted(saved.files, "file")
        ));
        Ok(Fields::of_long(1))
    }
}
