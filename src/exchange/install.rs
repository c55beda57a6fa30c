// SPDX-License-Identifier: GPL-3.0-or-later
//! Making items of others valid here.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use super::ExchangeError;
use crate::diagnostics::FileError;
use crate::formats::content_hash::HashAlgorithm;
use crate::formats::hash::Sha256Digest;
use crate::formats::nar::NarError;
use crate::formats::narinfo::shown;
use crate::formats::store_path::StorePath;
use crate::store::content_address;
use crate::store::names::owner_of;
use crate::store::{PathInfo, PathLocks, PreparedOutputs, Store, StoreError};

/// What an item should be.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The item.
    pub path: StorePath,
    /// The SHA-256 of its NAR, where it was said before.
    pub nar_sha256: Option<Sha256Digest>,
    /// What it refers to.
    pub references: BTreeSet<StorePath>,
    /// The derivation it was built from.
    pub deriver: Option<StorePath>,
}

/// Unpacks `archive` beside the place of `expected.path`, whose lock is held, and checks hash and references. Nothing
/// is valid yet. `location` is where it is from.
///
/// # Errors
/// Where it is not what was said, or cannot be written: nothing is left of it then. Where `archive` cannot be read,
/// that is [`NarError::Source`], of which the caller knows more.
pub fn prepare<'s>(
    store: &'s Store,
    locks: &PathLocks,
    expected: &Expected,
    archive: &mut dyn Read,
    location: &str,
) -> Result<PreparedOutputs<'s>, ExchangeError> {
    let mut candidates = expected.references.clone();
    candidates.insert(expected.path.clone());
    let path = &expected.path;
    let deriver = expected.deriver.clone();
    let prepared = store
        .unpack_output(locks, path, archive, &candidates, deriver)
        .map_err(|error| match error {
            StoreError::Nar(error @ NarError::Source { .. }) => ExchangeError::Nar(error),
            StoreError::Nar(error @ NarError::Corrupt { .. }) => ExchangeError::Archive {
                path: store.directories().store_dir.display(path),
                location: location.to_owned(),
                error,
            },
            // The file system could not take it.
            error => error.into(),
        })?;
    let checked = check(store, expected, &prepared, location);
    if checked.is_err() {
        // The error is the thing to tell; leftovers are the next comer's to remove.
        let _ = store.remove_staging_directory(locks, path);
    }
    checked.map(|()| prepared)
}

/// Checks hash and references of what was unpacked.
///
/// # Errors
/// Where it is not what was said.
fn check(
    store: &Store,
    expected: &Expected,
    prepared: &PreparedOutputs<'_>,
    location: &str,
) -> Result<(), ExchangeError> {
    let store_dir = &store.directories().store_dir;
    let differs = |what, expected_text: String, seen: String| {
        Err(ExchangeError::Differs {
            path: store_dir.display(&expected.path),
            location: location.to_owned(),
            what,
            expected: expected_text,
            seen,
        })
    };
    for (place, info) in prepared.staged() {
        check_name(store, info, place, location)?;
        check_fixed(store, info, place, location)?;
        if let Some(said) = expected.nar_sha256.filter(|said| *said != info.nar_sha256) {
            return differs("the NAR hash", shown(&said), shown(&info.nar_sha256));
        }
        if info.references != expected.references {
            let list = |references: &BTreeSet<StorePath>| {
                let names: Vec<&str> = references.iter().map(StorePath::base_name).collect();
                format!("`{}`", names.join(" "))
            };
            return differs(
                "references to",
                list(&expected.references),
                list(&info.references),
            );
        }
    }
    Ok(())
}

/// Refuses an item whose name is that of another item's lock or staging directory, which it would block or lose, unless
/// its path follows from its content: then no other item can have that hash. `Cargo.lock` is a usual name of a source.
fn check_name(
    store: &Store,
    info: &PathInfo,
    place: &Path,
    location: &str,
) -> Result<(), ExchangeError> {
    let Some(owner) = owner_of(info.path.base_name()) else {
        return Ok(());
    };
    let store_dir = &store.directories().store_dir;
    let proven = content_address::proves(
        store_dir,
        &info.path,
        place,
        &info.nar_sha256,
        &info.references,
        &HashAlgorithm::ALL,
    );
    match proven.map_err(FileError::in_store("hash", place))? {
        true => Ok(()),
        false => Err(ExchangeError::Name {
            path: store_dir.display(&info.path),
            location: location.to_owned(),
            owner: store_dir.display(&owner),
        }),
    }
}

/// Checks an item that is a fixed output of a derivation in this store against the hash in that.
fn check_fixed(
    store: &Store,
    info: &PathInfo,
    place: &Path,
    location: &str,
) -> Result<(), ExchangeError> {
    let store_dir = &store.directories().store_dir;
    for deriver in store.derivers(&info.path)? {
        let Some(fixed) = store.derivation(&deriver)?.fixed_output() else {
            continue;
        };
        let seen = content_address::hash_of(place, fixed.method, fixed.hash.algorithm());
        let seen = seen.map_err(FileError::in_store("hash", place))?;
        if seen != fixed.hash {
            return Err(ExchangeError::Differs {
                path: store_dir.display(&info.path),
                location: location.to_owned(),
                what: "the fixed hash",
                expected: fixed.hash.to_string(),
                seen: seen.to_string(),
            });
        }
    }
    Ok(())
}

/// Makes what was prepared valid, in one transaction, and removes what it was prepared in, also where that fails.
///
/// # Errors
/// Where the store cannot be written.
pub fn commit(
    store: &Store,
    locks: &PathLocks,
    prepared: Vec<PreparedOutputs<'_>>,
) -> Result<Vec<PathInfo>, ExchangeError> {
    let paths: Vec<StorePath> = prepared
        .iter()
        .flat_map(PreparedOutputs::infos)
        .map(|info| info.path.clone())
        .collect();
    let committed = store.commit(prepared);
    for path in &paths {
        let removed = store.remove_staging_directory(locks, path);
        // Where something failed before, that is the error to report.
        if committed.is_ok() {
            removed?;
        }
    }
    Ok(committed?)
}
