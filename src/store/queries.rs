// SPDX-License-Identifier: GPL-3.0-or-later
//! Queries of the database.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rusqlite::{OptionalExtension, params};

use super::database::{Database, path_id, texts};
use super::error::DatabaseError;
use crate::formats::hash::Sha256Digest;
use crate::formats::path_info::PathInfo;
use crate::formats::store_path::{HASH_PART_LEN, StorePath};

/// All valid paths, by position.
#[derive(Debug, Default)]
pub(super) struct ReferenceGraph {
    pub(super) paths: Vec<StorePath>,
    /// In bytes.
    pub(super) nar_sizes: Vec<u64>,
    /// What each path refers to, itself left out.
    pub(super) references: Vec<Vec<usize>>,
    /// Each path's deriver, where that is valid.
    pub(super) derivers: Vec<Option<usize>>,
    /// Each derivation's outputs that are valid.
    pub(super) outputs: Vec<Vec<usize>>,
}

impl Database {
    /// Those of `paths` that are valid.
    pub(super) fn valid_among<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p StorePath>,
    ) -> Result<BTreeSet<StorePath>, DatabaseError> {
        let fail = self.fail("read");
        let connection = self.connection();
        // All of one moment, and quicker so.
        let transaction = connection.unchecked_transaction().map_err(&fail)?;
        let mut valid = BTreeSet::new();
        for path in paths {
            if path_id(&transaction, &self.store_dir.display(path))
                .map_err(&fail)?
                .is_some()
            {
                valid.insert(path.clone());
            }
        }
        Ok(valid)
    }

    pub(super) fn path_info(&self, path: &StorePath) -> Result<Option<PathInfo>, DatabaseError> {
        let fail = self.fail("read");
        let connection = self.connection();
        // One transaction: the row and its references belong together.
        let transaction = connection.unchecked_transaction().map_err(&fail)?;
        let text = self.store_dir.display(path);
        type Row = (i64, String, i64, Option<String>, Option<i64>);
        let row: Option<Row> = transaction
            .prepare_cached(
                "SELECT id, hash, registrationTime, deriver, narSize FROM ValidPaths WHERE path = ?1",
            )
            .and_then(|mut statement| {
                statement
                    .query_row([&text], |row| row.try_into())
                    .optional()
            })
            .map_err(&fail)?;
        let Some((id, hash, time, deriver, size)) = row else {
            return Ok(None);
        };
        let references = texts(
            &transaction,
            "SELECT path FROM Refs JOIN ValidPaths ON reference = id WHERE referrer = ?1",
            params![id],
        )
        .map_err(&fail)?;
        let nar_sha256 = hash
            .strip_prefix("sha256:")
            .and_then(|digest| Sha256Digest::from_base16(digest).ok())
            .ok_or_else(|| self.corrupt(format!("{text} has the hash `{hash}`")))?;
        let size = size.unwrap_or(0);
        let nar_size = size
            .try_into()
            .map_err(|_| self.corrupt(format!("{text} has the size {size}")))?;
        Ok(Some(PathInfo {
            path: path.clone(),
            nar_sha256,
            nar_size,
            references: self.parse_paths(references)?,
            deriver: deriver
                .filter(|deriver| !deriver.is_empty())
                .map(|deriver| self.parse_path(&deriver))
                .transpose()?,
            registration_time: time.try_into().unwrap_or(0),
        }))
    }

    /// The record of `path`, which has to be valid.
    pub(super) fn require_valid(&self, path: &StorePath) -> Result<PathInfo, DatabaseError> {
        self.path_info(path)?
            .ok_or_else(|| DatabaseError::NotValid {
                path: self.store_dir.display(path),
            })
    }

    pub(super) fn path_from_hash_part(
        &self,
        hash_part: &str,
    ) -> Result<Option<StorePath>, DatabaseError> {
        if hash_part.len() != HASH_PART_LEN {
            return Ok(None);
        }
        let prefix = format!("{}/{hash_part}", self.store_dir);
        // The first path that does not sort before the prefix is the one, if there is one.
        let found: Option<String> = self
            .connection()
            .prepare_cached("SELECT path FROM ValidPaths WHERE path >= ?1 ORDER BY path LIMIT 1")
            .and_then(|mut statement| statement.query_row([&prefix], |row| row.get(0)).optional())
            .map_err(self.fail("read"))?;
        found
            .filter(|path| path.starts_with(&prefix))
            .map(|path| self.parse_path(&path))
            .transpose()
    }

    pub(super) fn valid_paths(&self) -> Result<BTreeSet<StorePath>, DatabaseError> {
        let found = texts(&self.connection(), "SELECT path FROM ValidPaths", []);
        self.parse_paths(found.map_err(self.fail("read"))?)
    }

    pub(super) fn referrers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>, DatabaseError> {
        let found = texts(
            &self.connection(),
            "SELECT path FROM Refs JOIN ValidPaths ON referrer = id \
             WHERE reference = (SELECT id FROM ValidPaths WHERE path = ?1)",
            [self.store_dir.display(path)],
        );
        self.parse_paths(found.map_err(self.fail("read"))?)
    }

    pub(super) fn derivers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>, DatabaseError> {
        let found = texts(
            &self.connection(),
            "SELECT v.path FROM DerivationOutputs d JOIN ValidPaths v ON d.drv = v.id WHERE d.path = ?1",
            [self.store_dir.display(path)],
        );
        self.parse_paths(found.map_err(self.fail("read"))?)
    }

    pub(super) fn derivation_outputs(
        &self,
        derivation: &StorePath,
    ) -> Result<BTreeMap<String, StorePath>, DatabaseError> {
        let rows: Vec<(String, String)> = self
            .connection()
            .prepare_cached(
                "SELECT d.id, d.path FROM DerivationOutputs d JOIN ValidPaths v ON d.drv = v.id \
                 WHERE v.path = ?1",
            )
            .and_then(|mut statement| {
                statement
                    .query_map([self.store_dir.display(derivation)], |row| row.try_into())?
                    .collect()
            })
            .map_err(self.fail("read"))?;
        rows.into_iter()
            .map(|(name, path)| Ok((name, self.parse_path(&path)?)))
            .collect()
    }

    /// `paths` and everything they refer to, directly or not.
    pub(super) fn closure<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p StorePath>,
    ) -> Result<BTreeSet<StorePath>, DatabaseError> {
        let fail = self.fail("read");
        let connection = self.connection();
        let transaction = connection.unchecked_transaction().map_err(&fail)?;
        let mut closure = BTreeSet::new();
        let mut seen = HashSet::new();
        let mut pending = Vec::new();
        for path in paths {
            let text = self.store_dir.display(path);
            let id = path_id(&transaction, &text)
                .map_err(&fail)?
                .ok_or(DatabaseError::NotValid { path: text })?;
            if seen.insert(id) {
                closure.insert(path.clone());
                pending.push(id);
            }
        }
        let mut statement = transaction
            .prepare_cached(
                "SELECT id, path FROM Refs JOIN ValidPaths ON reference = id WHERE referrer = ?1",
            )
            .map_err(&fail)?;
        while let Some(id) = pending.pop() {
            let mut rows = statement.query([id]).map_err(&fail)?;
            while let Some(row) = rows.next().map_err(&fail)? {
                let reference: i64 = row.get(0).map_err(&fail)?;
                if seen.insert(reference) {
                    let text: String = row.get(1).map_err(&fail)?;
                    closure.insert(self.parse_path(&text)?);
                    pending.push(reference);
                }
            }
        }
        Ok(closure)
    }

    /// The whole database at one moment, for the collector.
    pub(super) fn graph(&self) -> Result<ReferenceGraph, DatabaseError> {
        let fail = self.fail("read");
        let connection = self.connection();
        let transaction = connection.unchecked_transaction().map_err(&fail)?;
        let mut graph = ReferenceGraph::default();
        let mut index = HashMap::new();
        let mut by_text = HashMap::new();
        let mut derivers = Vec::new();
        let mut statement = transaction
            .prepare("SELECT id, path, deriver, narSize FROM ValidPaths")
            .map_err(&fail)?;
        let mut rows = statement.query([]).map_err(&fail)?;
        while let Some(row) = rows.next().map_err(&fail)? {
            let id: i64 = row.get(0).map_err(&fail)?;
            let text: String = row.get(1).map_err(&fail)?;
            let deriver: Option<String> = row.get(2).map_err(&fail)?;
            let size: Option<i64> = row.get(3).map_err(&fail)?;
            let position = graph.paths.len();
            graph.paths.push(self.parse_path(&text)?);
            graph
                .nar_sizes
                .push(size.unwrap_or(0).try_into().unwrap_or(0));
            derivers.push(deriver);
            index.insert(id, position);
            by_text.insert(text, position);
        }
        graph.derivers = derivers
            .iter()
            .map(|deriver| by_text.get(deriver.as_deref()?).copied())
            .collect();
        graph.references = vec![Vec::new(); graph.paths.len()];
        let mut statement = transaction
            .prepare("SELECT referrer, reference FROM Refs WHERE referrer != reference")
            .map_err(&fail)?;
        let mut rows = statement.query([]).map_err(&fail)?;
        while let Some(row) = rows.next().map_err(&fail)? {
            let ends: (i64, i64) = row.try_into().map_err(&fail)?;
            if let (Some(referrer), Some(reference)) = (index.get(&ends.0), index.get(&ends.1)) {
                graph.references[*referrer].push(*reference);
            }
        }
        graph.outputs = vec![Vec::new(); graph.paths.len()];
        let mut statement = transaction
            .prepare("SELECT drv, path FROM DerivationOutputs")
            .map_err(&fail)?;
        let mut rows = statement.query([]).map_err(&fail)?;
        while let Some(row) = rows.next().map_err(&fail)? {
            let (derivation, output): (i64, String) = row.try_into().map_err(&fail)?;
            if let (Some(derivation), Some(output)) = (index.get(&derivation), by_text.get(&output))
            {
                graph.outputs[*derivation].push(*output);
            }
        }
        Ok(graph)
    }
}
