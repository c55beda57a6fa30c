//! Making somebody else's items valid here.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;

use super::{ExchangeError, shown};
use crate::hash::Sha256Digest;
use crate::store::path::StorePath;
use crate::store::{PathInfo, PathLocks, PreparedOutputs, StagedOutput, Store, nar};

/// What an item is called in its staging directory.
const ITEM: &str = "item";

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

/// Unpacks `archive` beside the place of `expected.path`, whose lock is held, and checks hash and references. Nothing is valid
/// yet. `location` is where it is from.
///
/// # Errors
/// Where it is not what was said, or cannot be written.
pub fn prepare<'s>(
    store: &'s Store,
    locks: &'s PathLocks,
    expected: &Expected,
    archive: &mut dyn Read,
    location: &str,
) -> Result<PreparedOutputs<'s>, ExchangeError> {
    let staged = store.staging_directory(locks, &expected.path)?.join(ITEM);
    let unpacked = nar::restore(archive, &staged)
        .map_err(ExchangeError::from)
        .and_then(|()| check(store, locks, expected, staged, location));
    if unpacked.is_err() {
        // The error is the thing to tell; leftovers are the next comer's to remove.
        let _ = store.remove_staging_directory(locks, &expected.path);
    }
    unpacked
}

/// Checks hash and references of what was unpacked at `staged`, in the staging directory of `expected.path`.
///
/// # Errors
/// Where it is not what was said.
fn check<'s>(
    store: &'s Store,
    locks: &'s PathLocks,
    expected: &Expected,
    staged: PathBuf,
    location: &str,
) -> Result<PreparedOutputs<'s>, ExchangeError> {
    let mut candidates = expected.references.clone();
    candidates.insert(expected.path.clone());
    let prepared = store.prepare_outputs(
        locks,
        vec![StagedOutput {
            staged,
            path: expected.path.clone(),
            candidates,
            deriver: expected.deriver.clone(),
        }],
    )?;
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
    for info in prepared.infos() {
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
    Ok(prepared)
}

/// Makes what was prepared valid, and removes what it was prepared in.
///
/// # Errors
/// Where the store cannot be written.
pub fn commit(
    store: &Store,
    locks: &PathLocks,
    path: &StorePath,
    prepared: PreparedOutputs<'_>,
) -> Result<Vec<PathInfo>, ExchangeError> {
    let infos = prepared.commit()?;
    store.remove_staging_directory(locks, path)?;
    Ok(infos)
}
