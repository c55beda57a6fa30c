// SPDX-License-Identifier: GPL-3.0-or-later
//! Queries of a [`Store`]: what the database records about paths.
//!
//! Each query sees one state of the database. A path that another process may delete has to be a
//! [temporary root](Store::add_temporary_roots) first.

use std::collections::{BTreeMap, BTreeSet};

use super::error::StoreError;
use super::open::Store;
use crate::formats::path_info::PathInfo;
use crate::formats::store_path::StorePath;

impl Store {
    /// Whether `path` is valid, according to the database.
    pub fn is_valid(&self, path: &StorePath) -> Result<bool, StoreError> {
        Ok(!self.database.valid_among([path])?.is_empty())
    }

    /// Those of `paths` that are valid.
    pub fn valid_among<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p StorePath>,
    ) -> Result<BTreeSet<StorePath>, StoreError> {
        Ok(self.database.valid_among(paths)?)
    }

    /// The record of `path`: hash, size, references, deriver, time. `None` if it is not valid.
    pub fn path_info(&self, path: &StorePath) -> Result<Option<PathInfo>, StoreError> {
        Ok(self.database.path_info(path)?)
    }

    /// The valid path whose 32 characters of hash are `hash_part`; `None` if there is none, or if `hash_part` has
    /// another length.
    pub fn path_from_hash_part(&self, hash_part: &str) -> Result<Option<StorePath>, StoreError> {
        Ok(self.database.path_from_hash_part(hash_part)?)
    }

    /// Every valid path.
    pub fn valid_paths(&self) -> Result<BTreeSet<StorePath>, StoreError> {
        Ok(self.database.valid_paths()?)
    }

    /// `paths`, which must be valid, and everything they refer to, directly or not.
    pub fn closure<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p StorePath>,
    ) -> Result<BTreeSet<StorePath>, StoreError> {
        Ok(self.database.closure(paths)?)
    }

    /// The paths that the valid path `path` refers to directly, itself included where it does.
    ///
    /// # Errors
    /// Where `path` is not valid.
    pub fn references(&self, path: &StorePath) -> Result<BTreeSet<StorePath>, StoreError> {
        Ok(self.database.require_valid(path)?.references)
    }

    /// The valid paths that refer to `path` directly, itself included where it does.
    pub fn referrers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>, StoreError> {
        Ok(self.database.referrers(path)?)
    }

    /// The valid derivations that have `path` as an output, whether it was built from one of them or not.
    pub fn derivers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>, StoreError> {
        Ok(self.database.derivers(path)?)
    }

    /// The outputs of a valid derivation by name, valid or not; empty for any other path.
    pub fn derivation_outputs(
        &self,
        derivation: &StorePath,
    ) -> Result<BTreeMap<String, StorePath>, StoreError> {
        Ok(self.database.derivation_outputs(derivation)?)
    }

    /// The paths whose last build failed, where builds record failures.
    pub fn failed_paths(&self) -> Result<BTreeSet<StorePath>, StoreError> {
        Ok(self.database.failed_paths()?)
    }

    /// Whether the build of `path` is recorded as failed.
    pub fn has_failed(&self, path: &StorePath) -> Result<bool, StoreError> {
        Ok(self.database.has_failed(path)?)
    }

    /// Records that the build of `paths` failed, so that others need not try it.
    pub fn record_failure<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p StorePath>,
    ) -> Result<(), StoreError> {
        self.writable()?;
        Ok(self.database.record_failure(paths, Self::now())?)
    }

    /// Forgets that the build of `paths` failed; with `None`, of all paths.
    pub fn clear_failures(&self, paths: Option<&BTreeSet<StorePath>>) -> Result<(), StoreError> {
        self.writable()?;
        Ok(self.database.clear_failures(paths)?)
    }

    /// Checks the database itself for damage; takes time in proportion to its size.
    pub fn check_database(&self) -> Result<(), StoreError> {
        Ok(self.database.check_integrity()?)
    }
}
