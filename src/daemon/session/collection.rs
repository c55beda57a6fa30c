// SPDX-License-Identifier: GPL-3.0-or-later
//! Collecting garbage, and checking the store.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use super::ClientSession;
use super::fault::Fault;
use crate::formats::count::counted;
use crate::formats::store_path::StorePath;
use crate::formats::worker::{AskedPath, CollectAction, Fields};
use crate::store::gc::{CollectOptions, Freed, Watch, collect_watched, delete, liveness};
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
        let watch = Watch {
            goes_on: &|| self.goes_on(),
            taken: &|paths| self.deleting(paths),
        };
        match action {
            CollectAction::ReturnLive => {
                Ok(self.collected(&liveness(&self.store, &options)?.live, 0))
            }
            CollectAction::ReturnDead => {
                Ok(self.collected(&liveness(&self.store, &options)?.dead, 0))
            }
            CollectAction::DeleteDead => {
                self.freed(collect_watched(&self.store, &options, &watch)?)
            }
            CollectAction::DeleteSpecific => {
                let paths = paths.iter().map(|path| self.required(path).cloned());
                let paths = paths.collect::<Result<BTreeSet<_>, _>>()?;
                self.freed(delete(&self.store, &paths, &options, &watch)?)
            }
        }
    }

    fn freed(&self, freed: Freed) -> Result<Fields, Fault> {
        if !self.goes_on() {
            return Err(Fault::Gone);
        }
        let leftovers = freed.leftovers.iter();
        let leftovers = leftovers.filter_map(|name| StorePath::from_base_name(name).ok());
        let paths = freed.paths.into_iter().chain(leftovers).collect();
        Ok(self.collected(&paths, freed.bytes))
    }

    /// Names what has just been deleted.
    fn deleting(&self, paths: &[StorePath]) {
        // A client need not take the names of a whole store in one message.
        for part in paths.chunks(1000) {
            let lines = part.iter();
            let lines = lines.map(|path| format!("deleting `{}'\n", self.shown(path)));
            self.client.log(lines.collect::<String>());
        }
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
            return self.verified(BTreeSet::new(), missing, repair);
        }
        self.client.log("checking hashes...\n");
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let report = whole::everything(&self.store, threads, &|| self.goes_on());
        if !self.goes_on() {
            return Err(Fault::Gone);
        }
        let report = report?;
        let (mut damaged, mut missing) = (BTreeSet::new(), BTreeSet::new());
        for checked in report.damaged() {
            let path = self.shown(&checked.info.path);
            self.client.log(match &checked.condition {
                Condition::Intact => continue,
                Condition::Missing => {
                    missing.insert(checked.info.path.clone());
                    continue;
                }
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
            damaged.insert(checked.info.path.clone());
        }
        self.verified(damaged, missing, repair)
    }

    /// The reply to a check that found `damaged` and `missing` items: whether errors are left after a repair. Missing
    /// items that nothing needs become invalid.
    fn verified(
        &self,
        mut damaged: BTreeSet<StorePath>,
        missing: BTreeSet<StorePath>,
        repair: bool,
    ) -> Result<Fields, Fault> {
        if !repair {
            damaged.extend(self.forget(&missing)?);
            return Ok(Fields::of_long((!damaged.is_empty()).into()));
        }
        damaged.extend(missing);
        let errors = !damaged.is_empty() && self.repair_items(&damaged)?;
        Ok(Fields::of_long(errors.into()))
    }

    /// Makes `missing` items invalid that nothing needs, and returns the others.
    pub(super) fn forget(
        &self,
        missing: &BTreeSet<StorePath>,
    ) -> Result<BTreeSet<StorePath>, Fault> {
        let forgotten = self.store.forget_vanished(missing)?;
        for path in missing {
            let shown = self.shown(path);
            self.client.log(match forgotten.contains(path) {
                true => format!("path `{shown}' disappeared, removing from database...\n"),
                false => {
                    format!("path `{shown}' disappeared, but it still has valid referrers!\n")
                }
            });
        }
        Ok(missing.difference(&forgotten).cloned().collect())
    }

    /// The valid paths that are not there.
    fn verify_existence(&self) -> Result<BTreeSet<StorePath>, Fault> {
        self.store.check_database()?;
        let mut missing = self.store.valid_paths()?;
        missing.retain(|path| self.directories.physical(path).symlink_metadata().is_err());
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
