//! Making the database anew from what lies in the store, when it is lost or damaged.
//!
//! Most of what the database knew can be found out again. A derivation's path follows from its content, and so does that of
//! a text, a source tree or a fixed output: those are *proven*, to the byte. What a derivation builds goes where it says,
//! so an item at such a path is taken for its output if its metadata is that of a store item: an item gets its name only
//! once it is whole. But what its hash was when it was built, nobody knows any more: such items are *taken as they are*, for
//! `verify --lock` or `verify --rebuild` to judge. Anything else, and what refers to something that is gone, is lost: it
//! stays in the store directory, and is not valid.
//!
//! Lost for good are the times of registration, which are now, and which of several derivations an output was built from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::canonical;
use super::database::DatabaseError;
use super::error::StoreError;
use super::nar::NarError;
use super::open::{OpenOptions, Store};
use super::path::{
    FixedOutputMethod, StoreDir, StorePath, fixed_output_path, source_path, text_path,
};
use super::queries::PathInfo;
use super::registration::io_error;
use super::scan;
use crate::derivation::{Derivation, aterm};
use crate::directories::Directories;
use crate::hash::Sha256Digest;

/// The files of the database, all of which are moved aside.
const FILES: [&str; 4] = ["db.sqlite", "db.sqlite-wal", "db.sqlite-shm", "schema"];

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
    /// Items that are not valid any more, and why: what is there and cannot be vouched for, and what a root keeps and is gone.
    pub lost: BTreeMap<StorePath, String>,
    /// Outputs of derivations that are not there. They were never built, or collected, or lost: nobody knows.
    pub absent: BTreeSet<StorePath>,
}

/// An item that was looked at.
struct Found {
    info: PathInfo,
    proven: bool,
}

/// Moves the database in `directories` aside and makes it anew. Waits for all who use the store, and keeps others from it
/// until everything is registered.
///
/// # Errors
/// Where the database is whole, perhaps since somebody else has made it anew just before.
pub fn recover(
    directories: Directories,
    options: OpenOptions,
) -> Result<(Store, Recovered), StoreError> {
    let (mut store, aside) = Store::open_anew(directories, options.clone(), |directories| {
        refuse_whole(directories, &options)?;
        move_aside(directories)
    })?;
    let present = present(&store)?;
    let derivations = derivations(&store, &present);
    let outputs = outputs(&derivations);
    let found: BTreeMap<StorePath, Result<Found, String>> = present
        .par_iter()
        .map(|path| {
            let found = examine(&store, path, &derivations, &outputs);
            (path.clone(), found)
        })
        .collect();
    let (infos, proven, mut lost) = consistent(&store, found);
    for root in store.roots()? {
        if !present.contains(&root.path) {
            let reason = format!("it is gone, though {} keeps it", root.link.display());
            lost.entry(root.path).or_insert(reason);
        }
    }
    let absent = outputs.keys().copied();
    let absent = absent.filter(|path| !present.contains(*path) && !lost.contains_key(*path));
    let absent = absent.cloned().collect();
    store.register(&infos)?;
    store.let_others_in()?;
    let all = infos.into_iter().map(|info| info.path);
    let (proven, taken) = all.partition(|path| proven.contains(path));
    Ok((
        store,
        Recovered {
            aside,
            proven,
            taken,
            lost,
            absent,
        },
    ))
}

/// Moves what there is of a database aside, and says where.
fn move_aside(directories: &Directories) -> Result<Option<PathBuf>, StoreError> {
    let directory = directories.state.join("db");
    let there: Vec<&str> = FILES
        .into_iter()
        .filter(|name| directory.join(name).symlink_metadata().is_ok())
        .collect();
    if there.is_empty() {
        return Ok(None);
    }
    let mut number = 1;
    let aside = loop {
        let aside = directory.join(format!("damaged-{number}"));
        match fs::create_dir(&aside) {
            Ok(()) => break aside,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(source) => return Err(io_error(&aside, "create", source)),
        }
    };
    for name in there {
        let path = directory.join(name);
        fs::rename(&path, aside.join(name)).map_err(|source| io_error(&path, "move", source))?;
    }
    Ok(Some(aside))
}

/// Everything in the store directory that is named like a store item.
fn present(store: &Store) -> Result<BTreeSet<StorePath>, StoreError> {
    Ok(store.strays()?.unregistered.into_iter().collect())
}

/// The derivations whose content is what their path says.
fn derivations(store: &Store, present: &BTreeSet<StorePath>) -> BTreeMap<StorePath, Derivation> {
    let store_dir = &store.directories().store_dir;
    let read = |path: &StorePath| {
        let bytes = fs::read(store.directories().physical(path)).ok()?;
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
    let candidates = match derivation.builder.as_str() {
        UNPACK_SEED => BTreeSet::from([path.clone()]),
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
        Ok(found) if found.is_file() => fs::read(place)
            .map(Sha256Digest::of)
            .map_err(|error| error.to_string()),
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
        && fs::read(place).is_ok_and(|content| {
            text_path(store_dir, path.name(), &content, &none).as_ref() == Ok(path)
        })
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
