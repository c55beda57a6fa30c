// SPDX-License-Identifier: GPL-3.0-or-later
//! The paths whose builds failed, in the table `FailedPaths`: guix-daemon's `--cache-failures`.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, TransactionBehavior, params};

use super::database::{Database, texts};
use super::error::DatabaseError;
use crate::formats::store_path::StorePath;

impl Database {
    /// Whether there is such a table: Nix drops it, and a database that is open for reading only stays without.
    fn records_failures(&self) -> Result<bool, DatabaseError> {
        let found = self.connection().table_exists(None, "FailedPaths");
        found.map_err(self.fail("read"))
    }

    pub(super) fn failed_paths(&self) -> Result<BTreeSet<StorePath>, DatabaseError> {
        if !self.records_failures()? {
            return Ok(BTreeSet::new());
        }
        let found = texts(&self.connection(), "SELECT path FROM FailedPaths", []);
        self.parse_paths(found.map_err(self.fail("read"))?)
    }

    pub(super) fn has_failed(&self, path: &StorePath) -> Result<bool, DatabaseError> {
        if !self.records_failures()? {
            return Ok(false);
        }
        let found = self
            .connection()
            .prepare_cached("SELECT 1 FROM FailedPaths WHERE path = ?1")
            .and_then(|mut statement| {
                statement
                    .query_row([self.store_dir.display(path)], |_| Ok(()))
                    .optional()
            });
        Ok(found.map_err(self.fail("read"))?.is_some())
    }

    /// Records failures of `paths` at `time`, in seconds since the Epoch. An earlier failure keeps its time.
    pub(super) fn record_failure<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p StorePath>,
        time: u64,
    ) -> Result<(), DatabaseError> {
        let fail = self.fail("write");
        let mut connection = self.connection();
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&fail)?;
        let time = i64::try_from(time).unwrap_or(i64::MAX);
        for path in paths {
            transaction
                .prepare_cached("INSERT OR IGNORE INTO FailedPaths (path, time) VALUES (?1, ?2)")
                .and_then(|mut statement| {
                    statement.execute(params![self.store_dir.display(path), time])
                })
                .map_err(&fail)?;
        }
        transaction.commit().map_err(&fail)
    }

    /// Forgets the failures of `paths`, or all of them.
    pub(super) fn clear_failures(
        &self,
        paths: Option<&BTreeSet<StorePath>>,
    ) -> Result<(), DatabaseError> {
        let fail = self.fail("write");
        let mut connection = self.connection();
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&fail)?;
        match paths {
            None => {
                transaction
                    .execute("DELETE FROM FailedPaths", [])
                    .map_err(&fail)?;
            }
            Some(paths) => {
                for path in paths {
                    transaction
                        .prepare_cached("DELETE FROM FailedPaths WHERE path = ?1")
                        .and_then(|mut statement| statement.execute([self.store_dir.display(path)]))
                        .map_err(&fail)?;
                }
            }
        }
        transaction.commit().map_err(&fail)
    }
}
