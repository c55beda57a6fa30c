// SPDX-License-Identifier: GPL-3.0-or-later
//! Valid items that are gone: their records, which nothing stands for any more.

use std::collections::{BTreeSet, HashSet};
use std::io::ErrorKind;

use super::error::StoreError;
use super::open::Store;
use super::path_locks::PathLocks;
use super::reachability::{Keep, mark, referrers_first};
use crate::formats::store_path::StorePath;

impl Store {
    /// Makes those of the valid items `vanished` invalid that are missing, unless a valid item that is there refers to
    /// them, directly or not. Returns those that became invalid. An item whose lock another process holds stays as it
    /// is.
    ///
    /// # Errors
    /// Where the store cannot be read or changed.
    pub fn forget_vanished(
        &self,
        vanished: &BTreeSet<StorePath>,
    ) -> Result<BTreeSet<StorePath>, StoreError> {
        self.writable()?;
        let graph = self.database.graph()?;
        let there = graph.paths.iter();
        let there: HashSet<StorePath> = there
            .filter(|path| !vanished.contains(path))
            .cloned()
            .collect();
        let mut needed = mark(&graph, &there, Keep::REFERENCES);
        let mut forgotten = BTreeSet::new();
        for position in referrers_first(&graph, &needed.clone()) {
            let path = &graph.paths[position];
            let lock = PathLocks::try_acquire(&self.directories().store, [path])?;
            let place = self.directories().physical(path).symlink_metadata();
            let is_gone = place.is_err_and(|error| error.kind() == ErrorKind::NotFound);
            if needed[position] || lock.is_none() || !is_gone {
                for reference in &graph.references[position] {
                    needed[*reference] = true;
                }
                continue;
            }
            self.database.invalidate([path])?;
            forgotten.insert(path.clone());
        }
        Ok(forgotten)
    }
}
