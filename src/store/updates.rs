// SPDX-License-Identifier: GPL-3.0-or-later
//! How paths become valid in the database, and cease to be.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, TransactionBehavior, params};

use super::database::{Database, SYNCHRONOUS, USUALLY, path_id};
use super::error::DatabaseError;
use crate::formats::path_info::PathInfo;
use crate::formats::store_path::StorePath;

/// A path to be registered, with the outputs it promises if it is a derivation.
pub(super) struct ItemRegistration<'a> {
    pub(super) info: &'a PathInfo,
    pub(super) outputs: BTreeMap<String, StorePath>,
}

impl Database {
    /// Registers paths in one transaction. They may refer to each other, in any order, but not in a circle. A path that
    /// is valid already gets the new hash, size, deriver, references and outputs.
    pub(super) fn register(
        &self,
        registrations: &[ItemRegistration<'_>],
        now: u64,
    ) -> Result<(), DatabaseError> {
        let fail = self.fail("write");
        self.refuse_cycles(registrations)?;
        let mut connection = self.connection();
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&fail)?;
        let mut ids = Vec::with_capacity(registrations.len());
        for registration in registrations {
            let id = self
                .upsert(&transaction, registration.info, now)
                .map_err(&fail)?;
            ids.push(id);
            for (name, output) in &registration.outputs {
                transaction
                    .prepare_cached(
                        "INSERT OR REPLACE INTO DerivationOutputs (drv, id, path) VALUES (?1, ?2, ?3)",
                    )
                    .and_then(|mut statement| {
                        statement.execute(params![id, name, self.store_dir.display(output)])
                    })
                    .map_err(&fail)?;
            }
        }
        for (registration, id) in registrations.iter().zip(ids) {
            for reference in &registration.info.references {
                let text = self.store_dir.display(reference);
                let reference = path_id(&transaction, &text)
                    .map_err(&fail)?
                    .ok_or_else(|| DatabaseError::InvalidReference {
                        path: self.store_dir.display(&registration.info.path),
                        reference: text,
                    })?;
                transaction
                    .prepare_cached(
                        "INSERT OR REPLACE INTO Refs (referrer, reference) VALUES (?1, ?2)",
                    )
                    .and_then(|mut statement| statement.execute([id, reference]))
                    .map_err(&fail)?;
            }
        }
        transaction.commit().map_err(&fail)
    }

    fn upsert(
        &self,
        connection: &Connection,
        info: &PathInfo,
        now: u64,
    ) -> Result<i64, rusqlite::Error> {
        let path = self.store_dir.display(&info.path);
        let hash = format!("sha256:{}", info.nar_sha256.to_base16());
        let time = match info.registration_time {
            0 => now,
            time => time,
        };
        // SQLite's integers are signed. No NAR and no time comes near the limit.
        let time = i64::try_from(time).unwrap_or(i64::MAX);
        let size = i64::try_from(info.nar_size).unwrap_or(i64::MAX);
        let deriver = info
            .deriver
            .as_ref()
            .map(|deriver| self.store_dir.display(deriver));
        match path_id(connection, &path)? {
            Some(id) => {
                connection
                    .prepare_cached(
                        "UPDATE ValidPaths SET hash = ?2, registrationTime = ?3, deriver = ?4, narSize = ?5 \
                         WHERE id = ?1",
                    )?
                    .execute(params![id, hash, time, deriver, size])?;
                for rows in [
                    "DELETE FROM Refs WHERE referrer = ?1",
                    "DELETE FROM DerivationOutputs WHERE drv = ?1",
                ] {
                    connection.prepare_cached(rows)?.execute([id])?;
                }
                Ok(id)
            }
            None => connection
                .prepare_cached(
                    "INSERT INTO ValidPaths (path, hash, registrationTime, deriver, narSize) \
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .insert(params![path, hash, time, deriver, size]),
        }
    }

    /// Fails where [`register`](Self::register) would, without changing anything.
    pub(super) fn check_registrations(
        &self,
        registrations: &[ItemRegistration<'_>],
    ) -> Result<(), DatabaseError> {
        self.refuse_cycles(registrations)?;
        let together: BTreeSet<&StorePath> = registrations
            .iter()
            .map(|registration| &registration.info.path)
            .collect();
        for registration in registrations {
            let path = &registration.info.path;
            let mut missing: BTreeSet<&StorePath> = registration.info.references.iter().collect();
            missing.retain(|reference| !together.contains(*reference));
            let valid = self.valid_among(missing.iter().copied())?;
            if let Some(reference) = missing.into_iter().find(|path| !valid.contains(*path)) {
                return Err(DatabaseError::InvalidReference {
                    path: self.store_dir.display(path),
                    reference: self.store_dir.display(reference),
                });
            }
        }
        Ok(())
    }

    /// Two outputs that refer to each other could never be removed one after the other, so neither we nor the daemon
    /// let them in.
    fn refuse_cycles(&self, registrations: &[ItemRegistration<'_>]) -> Result<(), DatabaseError> {
        // Kahn's algorithm: takes away what nothing left refers to; what cannot be taken away is in or below a circle.
        let mut referrers: BTreeMap<&StorePath, usize> = registrations
            .iter()
            .map(|registration| (&registration.info.path, 0))
            .collect();
        let references: BTreeMap<&StorePath, Vec<&StorePath>> = registrations
            .iter()
            .map(|registration| {
                let info = registration.info;
                let inner = info
                    .references
                    .iter()
                    .filter(|path| **path != info.path && referrers.contains_key(*path));
                (&info.path, inner.collect())
            })
            .collect();
        for reference in references.values().flatten() {
            *referrers.entry(reference).or_default() += 1;
        }
        let mut free: Vec<&StorePath> = referrers
            .iter()
            .filter(|(_, count)| **count == 0)
            .map(|(path, _)| *path)
            .collect();
        while let Some(path) = free.pop() {
            referrers.remove(path);
            for reference in references.get(path).into_iter().flatten() {
                if let Some(count) = referrers.get_mut(reference) {
                    *count -= 1;
                    if *count == 0 {
                        free.push(reference);
                    }
                }
            }
        }
        // Each of those has a referrer among them: following these ends in going round a circle.
        let left: BTreeMap<&StorePath, &StorePath> = references
            .iter()
            .filter(|(referrer, _)| referrers.contains_key(*referrer))
            .flat_map(|(referrer, references)| references.iter().map(|path| (*path, *referrer)))
            .collect();
        let mut seen = BTreeSet::new();
        let mut next = left.keys().next();
        while let Some(path) = next {
            let referrer = left.get(*path);
            match referrer {
                Some(referrer) if !seen.insert(*path) => {
                    return Err(DatabaseError::Cycle {
                        path: self.store_dir.display(referrer),
                        reference: self.store_dir.display(path),
                    });
                }
                _ => {}
            }
            next = referrer;
        }
        Ok(())
    }

    /// Makes paths invalid in one transaction, with their references. Nothing valid may be left that refers to them.
    ///
    /// Once this returns, that is on the disk: the caller removes files next, and a power cut must not bring back the
    /// rows of what is gone.
    pub(super) fn invalidate<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p StorePath>,
    ) -> Result<(), DatabaseError> {
        let mut connection = self.connection();
        // Within a transaction it cannot be changed.
        connection
            .execute_batch(SYNCHRONOUS)
            .map_err(self.fail("set up"))?;
        let invalidated = self.invalidate_with(&mut connection, paths);
        // Slower than it need be is all that a connection is with which this fails.
        let _ = connection.execute_batch(USUALLY);
        invalidated
    }

    fn invalidate_with<'p>(
        &self,
        connection: &mut Connection,
        paths: impl IntoIterator<Item = &'p StorePath>,
    ) -> Result<(), DatabaseError> {
        let fail = self.fail("write");
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&fail)?;
        let mut ids = Vec::new();
        for path in paths {
            let path = self.store_dir.display(path);
            ids.extend(path_id(&transaction, &path).map_err(&fail)?);
        }
        // Neighbours in the database go together.
        ids.sort_unstable();
        // First all references among them, which would keep their targets from going.
        for statement in [
            "DELETE FROM Refs WHERE referrer = ?1",
            "DELETE FROM ValidPaths WHERE id = ?1",
        ] {
            let mut statement = transaction.prepare_cached(statement).map_err(&fail)?;
            for id in &ids {
                statement.execute([id]).map_err(&fail)?;
            }
        }
        transaction.commit().map_err(&fail)
    }
}
