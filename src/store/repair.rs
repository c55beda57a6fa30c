// SPDX-License-Identifier: GPL-3.0-or-later
//! Putting a damaged store item right, and keeping what differs, to be inspected.
//!
//! A valid item is never removed here: what is wrong with it may be the only trace of what went wrong. It is renamed to
//! `HASH-NAME-damaged`, as the output of a second build is kept as `HASH-NAME-check`, which is guix-daemon's name for
//! it. Neither is valid, so the next collection of garbage takes both.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::canonical;
use super::error::StoreError;
use super::open::Store;
use super::path_locks::PathLocks;
use super::registration::StagedOutput;
use super::scan;
use crate::diagnostics::FileError;
use crate::formats::path_info::PathInfo;
use crate::formats::store_path::StorePath;

/// What is added to the name of a damaged item that was replaced.
pub const DAMAGED_SUFFIX: &str = "-damaged";

/// What is added to the name of an output that came out differently the second time.
pub const CHECK_SUFFIX: &str = "-check";

impl Store {
    /// Makes staged outputs of one build canonical, and says what their records would be. Nothing is registered,
    /// whether the outputs are valid or not. Hashing stops with [`NarError::Stopped`] when `goes_on` says no.
    ///
    /// [`NarError::Stopped`]: crate::formats::nar::NarError::Stopped
    pub fn examine_staged(
        &self,
        outputs: &[StagedOutput],
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Vec<PathInfo>, StoreError> {
        for output in outputs {
            if let Err(source) = output.staged.symlink_metadata() {
                return Err(match source.kind() {
                    io::ErrorKind::NotFound => StoreError::MissingOutput {
                        path: self.directories().store_dir.display(&output.path),
                        staged: output.staged.clone(),
                    },
                    _ => FileError::in_store("examine", &output.staged)(source).into(),
                });
            }
        }
        let places: Vec<&Path> = outputs
            .iter()
            .map(|output| output.staged.as_path())
            .collect();
        canonical::canonicalise_all(&places, &[])?;
        outputs
            .iter()
            .map(|output| {
                let scanned =
                    scan::hash_and_scan_while(&output.staged, &output.candidates, goes_on)?;
                Ok(PathInfo {
                    path: output.path.clone(),
                    nar_sha256: scanned.nar_sha256,
                    nar_size: scanned.nar_size,
                    references: scanned.references,
                    deriver: output.deriver.clone(),
                    registration_time: Self::now(),
                })
            })
            .collect()
    }

    /// Replaces the item of the valid path `info.path`, whose lock is held, by the canonical tree `staged`, and records
    /// `info`. What was there is kept beside it; returns where, `None` where nothing was there.
    ///
    /// Killed in between, it leaves the item missing, which `verify` reports and another repair fixes.
    pub fn replace_item(
        &self,
        locks: &PathLocks,
        staged: &Path,
        info: &PathInfo,
    ) -> Result<Option<PathBuf>, StoreError> {
        self.writable()?;
        self.require_lock(locks, &info.path)?;
        let current = self.directories().physical(&info.path);
        let kept = match current.symlink_metadata() {
            Ok(_) => Some(self.move_beside(&current, &info.path, DAMAGED_SUFFIX)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(FileError::in_store("examine", &current)(source).into()),
        };
        self.rename_in(staged, &info.path)?;
        self.register(std::slice::from_ref(info))?;
        Ok(kept)
    }

    /// Keeps the canonical tree `staged`, another version of the locked `path`, under the item's name with `-check`, or
    /// `-check-2` and so on where that is taken. Returns where.
    pub fn keep_beside(
        &self,
        locks: &PathLocks,
        staged: &Path,
        path: &StorePath,
    ) -> Result<PathBuf, StoreError> {
        self.writable()?;
        self.require_lock(locks, path)?;
        self.move_beside(staged, path, CHECK_SUFFIX)
    }

    /// Makes metadata of an item canonical again whose contents are as they were.
    pub fn restore_metadata(&self, locks: &PathLocks, path: &StorePath) -> Result<(), StoreError> {
        self.writable()?;
        self.require_lock(locks, path)?;
        let place = self.directories().physical(path);
        Ok(canonical::canonicalise_item(&place)?)
    }

    /// The names of store items among the entries of the store directory that are not valid, and the other entries.
    /// What is being built, and what belongs to the store itself, is in neither.
    pub fn strays(&self) -> Result<Strays, StoreError> {
        let valid: BTreeSet<String> = self
            .valid_paths()?
            .iter()
            .map(|path| path.base_name().to_owned())
            .collect();
        self.strays_beside(&valid)
    }

    fn strays_beside(&self, valid: &BTreeSet<String>) -> Result<Strays, StoreError> {
        let directory = &self.directories().store;
        let mut strays = Strays::default();
        let entries = match std::fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(strays),
            entries => entries.map_err(FileError::in_store("list", directory))?,
        };
        for entry in entries {
            let name = entry
                .map_err(FileError::in_store("list", directory))?
                .file_name();
            let name = name.to_string_lossy().into_owned();
            if valid.contains(&name) || super::names::is_own(&name) {
                continue;
            }
            if super::names::is_work_in_progress(&name) {
                strays.in_progress.push(name);
                continue;
            }
            match StorePath::from_base_name(&name) {
                Ok(path) => strays.unregistered.push(path),
                Err(_) => strays.foreign.push(name),
            }
        }
        strays.unregistered.sort();
        strays.foreign.sort();
        strays.in_progress.sort();
        Ok(strays)
    }

    /// Renames `from`, on the store's file system, to the item's name with `suffix`, and a number where that is taken.
    fn move_beside(
        &self,
        from: &Path,
        path: &StorePath,
        suffix: &str,
    ) -> Result<PathBuf, StoreError> {
        let store = &self.directories().store;
        let mut number = 1;
        let target = loop {
            let name = match number {
                1 => format!("{}{suffix}", path.base_name()),
                number => format!("{}{suffix}-{number}", path.base_name()),
            };
            let target = store.join(name);
            if target.symlink_metadata().is_err() {
                break target;
            }
            number += 1;
        };
        let fail = |source| FileError::in_store("keep", &target)(source);
        let found = from.symlink_metadata().map_err(fail)?;
        let moves = found.is_dir() && from.parent() != target.parent();
        if moves {
            // A directory that changes its parent has to be writable for its owner.
            let mode = found.permissions().mode() | 0o200;
            std::fs::set_permissions(from, std::fs::Permissions::from_mode(mode)).map_err(fail)?;
        }
        std::fs::rename(from, &target).map_err(fail)?;
        if moves {
            std::fs::set_permissions(&target, found.permissions()).map_err(fail)?;
        }
        Ok(target)
    }
}

/// What lies in the store directory without being valid.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strays {
    /// Named like store items: left by runs that were killed, or kept copies.
    pub unregistered: Vec<StorePath>,
    /// Named like nothing that belongs here.
    pub foreign: Vec<String>,
    /// Locks and staging directories.
    pub in_progress: Vec<String>,
}
