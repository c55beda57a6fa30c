//! Making the database anew from what lies in the store, when it is lost or damaged.
//!
//! Most of what the database knew can be found out again. A derivation's path follows from its content, and so does that of
//! a text, a source tree or a fixed output: those are *proven*, to the byte. What a derivation builds goes where it says,
//! so an item at such a path is taken for its output if its metadata is that of a store item: an item gets its name only
//! once it is whole. But what its hash was when it was built, nobody knows any more: such items are *taken as they are*, for
//! `verify --lock` or `verify --rebuild` to judge. Anything else, and what refers to something that is gone, is lost: it
//! stays in the store directory, and is not valid. So is what is gone itself, where something tells that it was there.
//!
//! All of that takes minutes, and nobody may use the store meanwhile: to the collector, what is not in the database is
//! rubbish. So the new database is made in a directory of its own and moved in once it is whole; until then there is the old
//! one, or none and a schema file, which nobody opens. Killed at any moment, this leaves nothing that looks like an empty store.
//!
//! Lost for good are the times of registration, which are now, and which of several derivations an output was built from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::canonical;
use super::database::Database;
use super::error::DatabaseError;
use super::error::StoreError;
use super::file_lock::{FileLock, Mode};
use super::open::{OpenOptions, Store, furnish, lock_users, make_directories};
use super::regular_file;
use super::remove::remove_tree;
use super::scan;
use super::schema;
use super::temporary_roots::gc_lock_path;
use crate::diagnostics::FileError;
use crate::formats::derivation::{Derivation, aterm};
use crate::formats::hash::Sha256Digest;
use crate::formats::nar::NarError;
use crate::formats::path_info::PathInfo;
use crate::formats::store_path::{
    FixedOutputMethod, StoreDir, StorePath, fixed_output_path, source_path, text_path,
    text_path_of_digest,
};
use crate::store::directories::Directories;

/// The database.
const DATABASE: &str = "db.sqlite";

/// The files of the database. It goes first: without its log it could pass for whole, and a log alone is nothing.
const FILES: [&str; 3] = [DATABASE, "db.sqlite-wal", "db.sqlite-shm"];

/// What says that there is a database, and of which version.
const SCHEMA: &str = "schema";

/// The directory, beside the database, in which the new one is made.
const UNFINISHED: &str = "recovering";

/// The builder of seeds, which refer to nothing but themselves.
const UNPACK_SEED: &str = "builtin:unpack-seed";

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

/// An item that was looked at.
struct Found {
    info: PathInfo,
    proven: bool,
}

/// Makes the database in `directories` anew and moves the old one aside. Nobody may use the store meanwhile: waits for the
/// lock that everybody who does holds, and keeps it to the end.
///
/// # Errors
/// Where the database turns out to be whole: then there is nothing to make anew.
pub fn recover(
    mut directories: Directories,
    options: OpenOptions,
) -> Result<(Store, Recovered), StoreError> {
    make_directories(&mut directories)?;
    let directory = directories.state.join("db");
    let users = lock_users(&directory, Mode::Exclusive, &options.patience)?;
    let gc_lock = gc_lock_path(&directories.state);
    let collectors = FileLock::acquire(gc_lock, Mode::Exclusive, false, &options.patience)?;
    // Somebody may have been faster.
    refuse_whole(&directories, &options)?;
    // Without it, whoever comes after a recovery that was killed would find no trace of a store and make an empty one.
    if directory.join(SCHEMA).symlink_metadata().is_err() {
        schema::write_version(&directory)?;
    }
    let unfinished = directory.join(UNFINISHED);
    let recovered = make_anew(&directories, &options, &unfinished).and_then(|recovered| {
        let aside = move_in(&directory, &unfinished)?;
        Ok(Recovered { aside, ..recovered })
    });
    // Also where it failed, for want of space perhaps. What stays is in nobody's way, and goes with the next recovery.
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
    let present = present(store)?;
    let derivations = derivations(store, &present);
    let outputs = outputs(&derivations);
    let found: BTreeMap<StorePath, Result<Found, String>> = present
        .par_iter()
        .map(|path| {
            let found = examine(store, path, &derivations, &outputs);
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

/// Puts the new database, which is whole, in the place of the old one. Gives the directory in which that is now; `None` where
/// there was none.
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

/// Everything in the store directory that is named like a store item.
fn present(store: &Store) -> Result<BTreeSet<StorePath>, StoreError> {
    Ok(store.strays()?.unregistered.into_iter().collect())
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

/// What is not there though something tells that it was, and what does: a root, an item that refers to it, or another output of
/// the same build. An output alone that is missing tells nothing: perhaps it was never built.
fn gone(
    store: &Store,
    present: &BTreeSet<StorePath>,
    derivations: &BTreeMap<StorePath, Derivation>,
    found: &BTreeMap<StorePath, Result<Found, String>>,
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

/// What the record of `path` would be, or why there is none.
fn examine(
    store: &Store,
    path: &StorePath,
    derivations: &BTreeMap<StorePath, Derivation>,
    outputs: &BTreeMap<&StorePath, &StorePath>,
) -> Result<Found, String> {
    let place = store.directories().physical(path);
    let store_dir = &store.directories().store_dir;
    let info = |scanned: scan::Scanned, references, deriver| PathInfo {
        path: path.clone(),
        nar_sha256: scanned.nar_sha256,
        nar_size: scanned.nar_size,
        references,
        deriver,
        registration_time: 0,
    };
    let scan = |candidates: &BTreeSet<StorePath>| {
        scan::hash_and_scan(&place, candidates).map_err(|error: NarError| error.to_string())
    };
    if path.is_derivation() {
        let derivation = derivations
            .get(path)
            .ok_or("its content is not what its path says")?;
        return Ok(Found {
            info: info(scan(&BTreeSet::new())?, derivation.references(), None),
            proven: true,
        });
    }
    let Some(deriver) = outputs.get(path) else {
        let scanned = scan(&BTreeSet::new())?;
        return match is_source(store_dir, path, &place, scanned.nar_sha256) {
            true => Ok(Found {
                info: info(scanned, BTreeSet::new(), None),
                proven: true,
            }),
            false => {
                Err("no derivation builds it, and its path does not follow from its content".into())
            }
        };
    };
    let derivation = &derivations[*deriver];
    if let Some(fixed) = derivation.fixed_output() {
        let scanned = scan(&BTreeSet::from([path.clone()]))?;
        let hash = match fixed.method {
            FixedOutputMethod::Recursive => scanned.nar_sha256,
            FixedOutputMethod::Flat => flat_hash(&place)?,
        };
        let computed = fixed_output_path(store_dir, path.name(), fixed.method, hash);
        if computed.as_ref() != Ok(path) {
            return Err("its content is not what its path says".into());
        }
        let references = scanned.references.clone();
        return Ok(Found {
            info: info(scanned, references, Some((*deriver).clone())),
            proven: true,
        });
    }
    let deviations = canonical::deviations(&place).map_err(|error| error.to_string())?;
    if let Some(first) = deviations.first() {
        return Err(format!(
            "it is not as a finished build leaves it: {}: {}",
            first.path.display(),
            first.problem
        ));
    }
    let candidates = match derivation.builder.as_slice() {
        builder if builder == UNPACK_SEED.as_bytes() => BTreeSet::from([path.clone()]),
        _ => candidates(derivation, derivations),
    };
    let scanned = scan(&candidates)?;
    let references = scanned.references.clone();
    Ok(Found {
        info: info(scanned, references, Some((*deriver).clone())),
        proven: false,
    })
}

/// The hash of a file's content.
fn flat_hash(place: &Path) -> Result<Sha256Digest, String> {
    match place.symlink_metadata() {
        Ok(found) if found.is_file() => content_hash(place).map_err(|error| error.to_string()),
        Ok(_) => Err("it is no plain file".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether `path` is that of its content as a source without references: a text or a tree.
fn is_source(
    store_dir: &StoreDir,
    path: &StorePath,
    place: &Path,
    nar_sha256: Sha256Digest,
) -> bool {
    let none = BTreeSet::new();
    if source_path(store_dir, path.name(), &nar_sha256, &none).as_ref() == Ok(path) {
        return true;
    }
    let is_file = place.symlink_metadata().is_ok_and(|found| found.is_file());
    is_file
        && content_hash(place).is_ok_and(|digest| {
            text_path_of_digest(store_dir, path.name(), &digest, &none).as_ref() == Ok(path)
        })
}

/// The hash of the content of the file `place`, which may be large, and of which each thread may be at one.
fn content_hash(place: &Path) -> io::Result<Sha256Digest> {
    Sha256Digest::of_reader(&mut regular_file::open(place)?)
}

/// What the outputs of `derivation` can refer to: its outputs, and those of everything before it.
fn candidates(
    derivation: &Derivation,
    derivations: &BTreeMap<StorePath, Derivation>,
) -> BTreeSet<StorePath> {
    let mut found = BTreeSet::new();
    let mut seen: BTreeSet<&StorePath> = BTreeSet::new();
    let mut open = vec![derivation];
    while let Some(derivation) = open.pop() {
        let outputs = derivation.outputs.values();
        found.extend(outputs.filter_map(|output| output.path.clone()));
        found.extend(derivation.input_sources.iter().cloned());
        for input in derivation.input_derivations.keys() {
            if seen.insert(input) {
                open.extend(derivations.get(input));
            }
        }
    }
    found
}

/// Those of `found` all of whose references are among them, which of them are proven, and what is lost.
#[allow(clippy::type_complexity)] // Three collections, each used once.
fn consistent(
    store: &Store,
    found: BTreeMap<StorePath, Result<Found, String>>,
) -> (
    Vec<PathInfo>,
    BTreeSet<StorePath>,
    BTreeMap<StorePath, String>,
) {
    let mut lost = BTreeMap::new();
    let mut good = BTreeMap::new();
    for (path, found) in found {
        match found {
            Ok(found) => {
                good.insert(path, found);
            }
            Err(reason) => {
                lost.insert(path, reason);
            }
        }
    }
    loop {
        let broken: Vec<(StorePath, StorePath)> = good
            .iter()
            .filter_map(|(path, found)| {
                let mut references = found.info.references.iter();
                let missing = references.find(|reference| !good.contains_key(*reference))?;
                Some((path.clone(), missing.clone()))
            })
            .collect();
        if broken.is_empty() {
            break;
        }
        for (path, missing) in broken {
            good.remove(&path);
            let missing = store.directories().store_dir.display(&missing);
            lost.insert(path, format!("it refers to {missing}, which is gone"));
        }
    }
    // A deriver that is lost is no deriver to the collector, and none to people.
    let proven = good
        .iter()
        .filter(|(_, found)| found.proven)
        .map(|(path, _)| path.clone())
        .collect();
    let kept: BTreeSet<StorePath> = good.keys().cloned().collect();
    let infos = good
        .into_values()
        .map(|found| PathInfo {
            deriver: found.info.deriver.filter(|deriver| kept.contains(deriver)),
            ..found.info
        })
        .collect();
    (infos, proven, lost)
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

/// A database that is whole is not to be thrown away.
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
