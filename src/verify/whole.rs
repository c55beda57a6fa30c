// SPDX-License-Identifier: GPL-3.0-or-later
//! Hashing store items again, several at a time, and comparing with the database.
//!
//! The cost is that of SHA-256 over the archives: each thread hashes one item, the largest first, so that the threads
//! end together. What else the database says of an item is checked in the same pass (see [`record`](super::record)).
//! Metadata that archives do not hold (times, write permission, owners) is looked at too: it is the same for every
//! store item, and where it is not, another program has changed the store.

use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroUsize;

use rayon::prelude::*;

use super::record::{Evidence, WrongRecord};
use crate::formats::hash::Sha256Digest;
use crate::formats::nar::NarError;
use crate::formats::store_path::StorePath;
use crate::store::CanonicalError;
use crate::store::canonical::Deviation;
use crate::store::repair::Strays;
use crate::store::{PathInfo, Store, StoreError, scan};

/// Says whether a check goes on. It is asked often, on several threads.
pub type GoesOn<'g> = &'g (dyn Fn() -> bool + Sync);

/// How a valid store item was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// As it was registered.
    Intact,
    /// Not there.
    Missing,
    /// The contents are as they were registered, but times, modes or owners are not the store's.
    Touched(Vec<Deviation>),
    /// The contents are not what was registered.
    Altered {
        /// The SHA-256 of the archive now.
        found: Sha256Digest,
        /// Its size in bytes.
        size: u64,
        /// Files that show signs of a change.
        suspects: Vec<Deviation>,
    },
    /// It is as it was, but the database says something else of it than it does itself.
    Misrecorded(Box<WrongRecord>),
    /// It cannot be read, or holds what no store item holds.
    Unreadable(String),
}

impl Condition {
    /// Whether there is nothing to be done about it.
    pub fn is_intact(&self) -> bool {
        *self == Self::Intact
    }
}

/// A valid store item, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// What the database says.
    pub info: PathInfo,
    /// How it was found.
    pub condition: Condition,
}

/// The result of a check.
#[derive(Debug, Clone, Default)]
pub struct StoreCheckReport {
    /// The items, by path.
    pub items: Vec<Checked>,
    /// What lies in the store without being valid; nothing where only some items were asked for.
    pub strays: Strays,
    /// Bytes that were hashed.
    pub bytes: u64,
}

impl StoreCheckReport {
    /// The items that are not as they were registered.
    pub fn damaged(&self) -> impl Iterator<Item = &Checked> {
        self.items
            .iter()
            .filter(|checked| !checked.condition.is_intact())
    }
}

/// Checks the database, every valid item, and what else lies in the store directory.
///
/// # Errors
/// Where the database is damaged or the store directory cannot be listed. What is wrong with an item is in the report.
/// [`NarError::Stopped`] where `goes_on` said no.
pub fn everything(
    store: &Store,
    threads: NonZeroUsize,
    goes_on: GoesOn<'_>,
) -> Result<StoreCheckReport, StoreError> {
    store.check_database()?;
    // Before the items: what becomes valid meanwhile is not a stray.
    let mut strays = store.strays()?;
    let mut report = items(store, &store.valid_paths()?, threads, goes_on)?;
    let valid = store.valid_among(&strays.unregistered)?;
    strays.unregistered.retain(|path| {
        !valid.contains(path)
            && store
                .directories()
                .physical(path)
                .symlink_metadata()
                .is_ok()
    });
    report.strays = strays;
    Ok(report)
}

/// Checks the items `paths`, those of them that are valid, on `threads` threads.
///
/// # Errors
/// As [`everything`].
pub fn items(
    store: &Store,
    paths: &BTreeSet<StorePath>,
    threads: NonZeroUsize,
    goes_on: GoesOn<'_>,
) -> Result<StoreCheckReport, StoreError> {
    let mut infos = Vec::with_capacity(paths.len());
    for path in paths {
        infos.extend(store.path_info(path)?);
    }
    infos.sort_by(|one, other| (other.nar_size, &one.path).cmp(&(one.nar_size, &other.path)));
    let pool = crate::threads::pool(threads.get());
    let mut checked = pool.install(|| {
        infos
            .into_par_iter()
            // One by one: the default would give a thread many small items behind a large one.
            .with_max_len(1)
            .filter_map(|info| check(store, info, goes_on).transpose())
            .collect::<Result<Vec<Checked>, StoreError>>()
    })?;
    checked.sort_by(|one, other| one.info.path.cmp(&other.info.path));
    Ok(StoreCheckReport {
        // A damaged size may be any number.
        bytes: checked.iter().fold(0, |sum: u64, checked| {
            sum.saturating_add(checked.info.nar_size)
        }),
        items: checked,
        strays: Strays::default(),
    })
}

/// Checks one item. `None` where it has ceased to be valid meanwhile.
fn check(
    store: &Store,
    info: PathInfo,
    goes_on: GoesOn<'_>,
) -> Result<Option<Checked>, StoreError> {
    let condition = condition(store, &info, goes_on)?;
    if !condition.is_intact() && store.path_info(&info.path)?.as_ref() != Some(&info) {
        // Collected, or replaced, while it was read.
        return match store.path_info(&info.path)? {
            None => Ok(None),
            Some(info) => Ok(Some(Checked {
                condition: self::condition(store, &info, goes_on)?,
                info,
            })),
        };
    }
    Ok(Some(Checked { info, condition }))
}

fn condition(store: &Store, info: &PathInfo, goes_on: GoesOn<'_>) -> Result<Condition, StoreError> {
    let place = store.directories().physical(&info.path);
    match place.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Condition::Missing),
        Err(error) => return Ok(Condition::Unreadable(error.to_string())),
        Ok(_) => {}
    }
    let deviations = match store.deviations(&info.path) {
        Ok(deviations) => deviations,
        Err(CanonicalError::FileType { path, kind }) => {
            return Ok(Condition::Unreadable(format!(
                "{} is a {kind}",
                path.display()
            )));
        }
        Err(error) => return Ok(Condition::Unreadable(error.to_string())),
    };
    let evidence = Evidence::of(store, info)?;
    let scanned = match scan::hash_and_scan_while(&place, &evidence.candidates, goes_on) {
        Ok(scanned) => scanned,
        Err(error @ NarError::Stopped) => return Err(error.into()),
        Err(error) => return Ok(Condition::Unreadable(error.to_string())),
    };
    if scanned.nar_sha256 != info.nar_sha256 {
        return Ok(Condition::Altered {
            found: scanned.nar_sha256,
            size: scanned.nar_size,
            suspects: deviations,
        });
    }
    Ok(match evidence.judge(store, info, &scanned)? {
        // Metadata is repaired along with it.
        Some(wrong) => Condition::Misrecorded(Box::new(wrong)),
        None if deviations.is_empty() => Condition::Intact,
        None => Condition::Touched(deviations),
    })
}

#[cfg(test)]
#[path = "whole/tests.rs"]
mod tests;
