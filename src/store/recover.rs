// SPDX-License-Identifier: GPL-3.0-or-later
//! Rebuilding a lost or damaged database from the items in the store.
//!
//! Most of what the database recorded can be found out again. The path of a derivation follows from its content, and so
//! do those of texts, source trees and fixed outputs: those are *proven*, to the byte. Any other item, an output that
//! was built or fetched, is *accepted unverified* if its metadata is that of a store item: an item gets its name only
//! once it is complete. Its hash at the time it was made is not known any more, so `verify --lock` or `verify
//! --rebuild` has to judge it. Where its derivation is there, its references are looked for among what that could see;
//! where not, as with substitutes, among all items that are there.
//!
//! Everything else is *lost*: leftovers of killed builds, items whose content is not what their path says, copies that
//! `--repair` and `--check` kept, and what refers to something that is missing. It stays in the store directory until
//! garbage is collected, and is not valid. An item that is missing is lost, too, where something shows that it was
//! there.
//!
//! This takes minutes, and no other process may use the store meanwhile: to a collector, what the database does not
//! record is garbage. So the new database is made in a directory of its own and moved in once it is complete; until
//! then there is the old one, or none and a schema file, which no program opens. Killed at any moment, this leaves
//! nothing that looks like an empty store.
//!
//! Lost for good are the times of registration, which are now, and which of several derivations an output was built
//! from.

mod items;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use self::items::{RecoveredItem, consistent, examine, is_proven};
use super::database::Database;
use super::error::DatabaseError;
use super::error::StoreError;
use super::file_lock::{FileLock, LockMode};
use super::open::{OpenOptions, Store, furnish, lock_users, make_directories};
use super::regular_file;
use super::remove::remove_tree;
use super::schema;
use super::temporary_roots::gc_lock_path;
use crate::diagnostics::FileError;
use crate::formats::derivation::{Derivation, aterm};
use crate::formats::path_info::PathInfo;
use crate::formats::store_path::{StorePath, text_path};
use crate::store::directories::Directories;

/// The database.
const DATABASE: &str = "db.sqlite";

/// The files of the database. It goes first: without its log it could pass for whole, and a log alone is nothing.
const FILES: [&str; 3] = [DATABASE, "db.sqlite-wal", "db.sqlite-shm"];

/// What says that there is a database, and of which version.
const SCHEMA: &str = "schema";

/// The directory, beside the database, in which the new one is made.
const UNFINISHED: &str = "recovering";

/// What was found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Where the old database is now; `None` where there was none.
    pub aside: Option<PathBuf>,
    /// Items whose paths follow from their contents.
    pub proven: BTreeSet<StorePath>,
    /// Outputs that nothing says the hash of.
    pub taken: BTreeSet<StorePath>,
    /// Items that are not valid any more or not even there, and why.
    pub lost: BTreeMap<StorePath, String>,
}

/// Rebuilds the database in `directories` and moves the old one aside. No other process may use the store meanwhile:
/// waits for the lock that each of them holds, and keeps it to the end.
///
/// # Errors
/// Where the database is intact: then there is nothing to rebuild.
pub fn recover(
    mut directories: Directories,
    options: OpenOptions,
) -> Result<(Store, Recovered), StoreError> {
    make_directories(&mut directories)?;
    let directory = directories.state.join("db");
    let users = lock_users(&directory, LockMode::Exclusive, &options.lock_policy)?;
    let gc_lock = gc_lock_path(&directories.state);
    let collectors = FileLock::acquire(gc_lock, LockMode::Exclusive, false, &options.lock_policy)?;
    // Another process may have been faster.
    refuse_whole(&directories, &options)?;
    // Without it, the next command after a recovery that was killed would find no trace of a store and make an empty
    // one.
    if directory.join(SCHEMA).symlink_metadata().is_err() {
        schema::write_version(&directory)?;
    }
    let unfinished = directory.join(UNFINISHED);
    let recovered = make_anew(&directories, &options, &unfinished).and_then(|recovered| {
        let aside = move_in(&directory, &unfinished)?;
        Ok(Recovered { aside, ..recovered })
    });
    // Also where it failed, for want of space perhaps. What stays is harmless, and goes with the next recovery.
    let _ = remove_tree(&unfinished);
    let recovered = recovered?;
    furnish(&directories.state)?;

    drop(collectors);
    drop(users);
    Ok((Store::open_with(directories, options)?, recovered))
}

/// Makes the new database in the directory `unfinished`, which others may have left there.
fn make_anew(
    directories: &Directories,
    options: &OpenOptions,
    unfinished: &Path,
) -> Result<Recovered, StoreError> {
    remove_tree(unfinished)?;
    fs::create_dir(unfinished).map_err(FileError::in_store("create", unfinished))?;
    let store_dir = directories.store_dir.clone();
    let database = Database::open(unfinished, store_dir, true, options.database_timeout)?;
    let store = Store::with_database(directories.clone(), database, options.clone());
    let (infos, recovered) = find_out(&store)?;
    store.register(&infos)?;
    store.database.settle()?;
    Ok(recovered)
}

/// What the database would have to say of the items that are there, and what is lost.
fn find_out(store: &Store) -> Result<(Vec<PathInfo>, Recovered), StoreError> {
    let strays = store.strays()?;
    let mut present: BTreeSet<StorePath> = strays.unregistered.into_iter().collect();
    let derivations = derivations(store, &present);
    let outputs = outputs(&derivations);
    let disguised = disguised(store, &strays.in_progress, &present, &derivations);
    present.extend(disguised);
    crate::threads::ready();
    let found: BTreeMap<StorePath, Result<RecoveredItem, String>> = present
        .par_iter()
        .map(|path| {
            let found = examine(store, path, &present, &derivations, &outputs);
            (path.clone(), found)
        })
        .collect();
    let gone = gone(store, &present, &derivations, &found)?;
    let (infos, proven, mut lost) = consistent(store, found);
    lost.extend(gone);
    let all = infos.iter().map(|info| info.path.clone());
    let (proven, taken) = all.partition(|path| proven.contains(path));
    let recovered = Recovered {
        aside: None,
        proven,
        taken,
        lost,
    };
    Ok((infos, recovered))
}

/// Puts the new database, which is complete, in the place of the old one. Returns the directory in which the old one is
/// now; `None` where there was none.
fn move_in(directory: &Path, unfinished: &Path) -> Result<Option<PathBuf>, StoreError> {
    let is_there = |name: &&str| directory.join(name).symlink_metadata().is_ok();
    let there: Vec<&str> = FILES.into_iter().filter(is_there).collect();
    let mut aside = None;
    if !there.is_empty() {
        let place = make_aside(directory)?;
        // A copy: as long as there is no database, this file keeps others from making an empty one.
        let schema = directory.join(SCHEMA);
        fs::copy(&schema, place.join(SCHEMA)).map_err(FileError::in_store("copy", &schema))?;
        for name in there {
            let path = directory.join(name);
            fs::rename(&path, place.join(name)).map_err(FileError::in_store("move", &path))?;
        }
        aside = Some(place);
    }
    schema::write_version(directory)?;
    let database = directory.join(DATABASE);
    fs::rename(unfinished.join(DATABASE), &database)
        .and_then(|()| fs::File::open(directory)?.sync_all())
        .map_err(FileError::in_store("move into place", &database))?;
    Ok(aside)
}

/// Makes the directory for what is left of the old database.
fn make_aside(directory: &Path) -> Result<PathBuf, StoreError> {
    let mut number = 1;
    loop {
        let aside = directory.join(format!("damaged-{number}"));
        match fs::create_dir(&aside) {
            Ok(()) => return Ok(aside),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(source) => return Err(FileError::in_store("create", &aside)(source).into()),
        }
    }
}

/// The items among `names`, which could be locks and staging directories: `HASH-Cargo.lock` is a usual source. Those
/// are items whose path follows from their content, and those that a derivation names: no other item has that hash.
fn disguised(
    store: &Store,
    names: &[String],
    present: &BTreeSet<StorePath>,
    derivations: &BTreeMap<StorePath, Derivation>,
) -> Vec<StorePath> {
    let named: BTreeSet<&StorePath> = derivations
        .values()
        .flat_map(|derivation| {
            let outputs = derivation.outputs.values();
            let outputs = outputs.filter_map(|output| output.path.as_ref());
            outputs.chain(&derivation.input_sources)
        })
        .collect();
    names
        .iter()
        .filter_map(|name| StorePath::from_base_name(name).ok())
        .filter(|path| named.contains(path) || is_proven(store, path, present))
        .collect()
}

/// The derivations whose content is what their path says.
fn derivations(store: &Store, present: &BTreeSet<StorePath>) -> BTreeMap<StorePath, Derivation> {
    let store_dir = &store.directories().store_dir;
    let read = |path: &StorePath| {
        let place = store.directories().physical(path);
        let bytes = regular_file::read(&place, regular_file::DERIVATION_MAX).ok()?;
        let derivation = aterm::parse(store_dir, &bytes).ok()?;
        let computed = text_path(store_dir, path.name(), &bytes, &derivation.references()).ok()?;
        (computed == *path).then_some(derivation)
    };
    crate::threads::ready();
    present
        .par_iter()
        .filter(|path| path.is_derivation())
        .filter_map(|path| Some((path.clone(), read(path)?)))
        .collect()
}

/// Which derivation, the first of several, has which output.
fn outputs(derivations: &BTreeMap<StorePath, Derivation>) -> BTreeMap<&StorePath, &StorePath> {
    let mut outputs = BTreeMap::new();
    for (path, derivation) in derivations {
        for output in derivation.outputs.values() {
            if let Some(output) = &output.path {
                outputs.entry(output).or_insert(path);
            }
        }
    }
    outputs
}

/// What is not there though something says that it was, and what says so: a root, an item that refers to it, or another
/// output of the same build. A missing output alone says nothing: perhaps it was never built.
fn gone(
    store: &Store,
    present: &BTreeSet<StorePath>,
    derivations: &BTreeMap<StorePath, Derivation>,
    found: &BTreeMap<StorePath, Result<RecoveredItem, String>>,
) -> Result<BTreeMap<StorePath, String>, StoreError> {
    let mut gone = BTreeMap::new();
    let mut note = |path: &StorePath, why: String| {
        if !present.contains(path) {
            gone.entry(path.clone())
                .or_insert_with(|| format!("it is gone, and {why}"));
        }
    };
    for root in store.roots()? {
        note(
            &root.path,
            format!("the root {} leads to it", root.link.display()),
        );
    }
    let store_dir = &store.directories().store_dir;
    for (path, found) in found {
        for reference in found.iter().flat_map(|found| &found.info.references) {
            note(
                reference,
                format!("{} refers to it", store_dir.display(path)),
            );
        }
    }
    for derivation in derivations.values() {
        let outputs = || {
            let outputs = derivation.outputs.values();
            outputs.filter_map(|output| output.path.as_ref())
        };
        if let Some(other) = outputs().find(|path| present.contains(*path)) {
            let other = store_dir.display(other);
            for output in outputs() {
                note(output, format!("{other} was built together with it"));
            }
        }
    }
    Ok(gone)
}

/// Whether the database in `directories` can be used, so that there is nothing to recover.
pub fn is_whole(directories: &Directories, options: &OpenOptions) -> bool {
    let options = OpenOptions {
        access: super::Access::ReadOnly,
        ..options.clone()
    };
    let is_there = directories.state.join("db/db.sqlite").exists();
    is_there
        && Store::open_with(directories.clone(), options).is_ok_and(|store| {
            let all = store.valid_paths();
            let readable = all.and_then(|paths| {
                for path in &paths {
                    store.path_info(path)?;
                }
                Ok(())
            });
            store.check_database().and(readable).is_ok()
        })
}

impl Recovered {
    /// Whether nothing is lost but times.
    pub fn is_complete(&self) -> bool {
        self.lost.is_empty()
    }
}

/// An intact database must not be thrown away.
pub fn refuse_whole(directories: &Directories, options: &OpenOptions) -> Result<(), DatabaseError> {
    match is_whole(directories, options) {
        true => Err(DatabaseError::Whole {
            path: directories.state.join("db/db.sqlite"),
        }),
        false => Ok(()),
    }
}

#[cfg(test)]
#[path = "tests/recovery.rs"]
mod tests;
