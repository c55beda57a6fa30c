//! Garbage collection: removes the store items that no root keeps.
//!
//! An item is *live* if a root leads to it: a permanent root, a temporary root of a running process, a running process
//! itself; or if something live refers to it. With `keep_derivations`, the derivation a live item was built from is live
//! too, and with `keep_outputs`, what a live derivation has built.
//!
//! The collector first makes sure that the set of roots cannot grow (see `temporary_roots`),
//! reads the whole database at once, marks what is live in memory (linear in paths and references) and makes the rest
//! invalid, referrers before what they refer to. Only after that has been committed does it move the items to the
//! trash, and only after all locks have been given back does it remove them there, which is what takes the time. Killed in
//! between, it leaves leftovers for its next run.
//!
//! Leftovers, items of the store directory that are not valid, go too, unless a process has them for a temporary root or
//! holds their lock. `PATH.chroot`, where a build or an addition of `PATH` is under way, belongs to `PATH`'s lock.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::path::Path;

use rayon::prelude::*;

use super::error::StoreError;
use super::file_lock::{FileLock, Mode};
use super::lock::{LOCK_SUFFIX, PathLocks, lock_path};
use super::open::Store;
use super::queries::Graph;
use super::remove::{self, TRASH};
use super::roots::{Root, RootKind};
use super::temporary_roots::gc_lock_path;
use crate::formats::store_path::StorePath;

/// What a directory's name in the store has after the path whose build or addition it belongs to.
pub const STAGING_SUFFIX: &str = ".chroot";

/// The daemon's directory of deduplicated files, one hard link each.
const LINKS: &str = ".links";

/// Whether `name` is the store directory's own: the trash, the daemon's links.
pub(super) fn is_own(name: &str) -> bool {
    name == TRASH || name == LINKS
}

/// Whether `name` is that of a lock or of a staging directory of some store path.
pub(super) fn is_work_in_progress(name: &str) -> bool {
    [LOCK_SUFFIX, STAGING_SUFFIX]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .is_some_and(|base| StorePath::from_base_name(base).is_ok())
}

/// How many paths are made invalid in one transaction.
const BATCH: usize = 5000;

/// What to collect.
#[derive(Debug, Clone)]
pub struct CollectOptions {
    /// Only tell what would be removed.
    pub dry_run: bool,
    /// Stop once about this many bytes are given back.
    pub max_freed: Option<u64>,
    /// Keep the derivations that live items were built from. The daemon's default.
    pub keep_derivations: bool,
    /// Keep the outputs of live derivations.
    pub keep_outputs: bool,
    /// Generations of named roots (`all/3`) that are taken for gone: those that a dry run would have removed before.
    pub without: Vec<String>,
}

impl CollectOptions {
    /// Whether `root` is not of one of the generations that are taken for gone.
    fn heeds(&self, root: &Root) -> bool {
        let RootKind::Named(name) = &root.kind else {
            return true;
        };
        let is_of = |generation: &String| {
            name.strip_prefix(generation.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
        };
        !self.without.iter().any(is_of)
    }
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self {
            dry_run: false,
            max_freed: None,
            keep_derivations: true,
            keep_outputs: false,
            without: Vec::new(),
        }
    }
}

/// What was collected, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Freed {
    /// The items that were valid, in the order they went.
    pub paths: Vec<StorePath>,
    /// The names of leftovers.
    pub leftovers: Vec<String>,
    /// The disk space given back, in bytes; in a dry run an estimate.
    pub bytes: u64,
    /// How many valid items stay.
    pub live: usize,
    /// Names in the store directory that belong to no store item. They stay.
    pub unknown: Vec<String>,
}

/// Collects garbage in `store`, as `options` say. Waits for another collector and for processes that are just making
/// roots; builds may go on meanwhile.
pub fn collect(store: &Store, options: &CollectOptions) -> Result<Freed, StoreError> {
    store.writable()?;
    let directories = store.directories();
    let patience = &store.options.patience;
    // A full disk may not even take a database transaction.
    let reserve = directories.state.join("db/reserved");
    if !options.dry_run {
        let _ = std::fs::remove_file(&reserve);
    }

    // In this order: additions of temporary roots take the same two in the same order.
    let own_roots = store.temporary_roots.freeze();
    let gc_lock = FileLock::acquire(
        gc_lock_path(&directories.state),
        Mode::Exclusive,
        false,
        patience,
    )?;
    if !options.dry_run {
        store.tidy_roots()?;
    }
    let temporary = store
        .temporary_roots
        .read_all(&own_roots, &directories.store_dir, patience)?;
    let mut roots = temporary.roots.clone();
    let permanent = store.roots()?.into_iter();
    let permanent = permanent.filter(|root| options.heeds(root));
    roots.extend(permanent.map(|root| root.path));
    roots.extend(store.running_roots().into_iter().map(|root| root.path));

    let graph = store.database.graph()?;
    let live = mark(&graph, &roots, options);
    let mut freed = Freed {
        live: live.iter().filter(|live| **live).count(),
        ..Freed::default()
    };
    sweep_leftovers(store, &graph, &temporary.roots, options, &mut freed)?;

    let wanted = options.max_freed.unwrap_or(u64::MAX);
    let dead = referrers_first(&graph, &live);
    let mut dead = dead.as_slice();
    while !dead.is_empty() && freed.bytes < wanted {
        let mut count = 0;
        while count < dead.len() && count < BATCH && freed.bytes < wanted {
            freed.bytes += graph.nar_sizes[dead[count]];
            count += 1;
        }
        let (batch, rest) = dead.split_at(count);
        dead = rest;
        let paths: Vec<&StorePath> = batch.iter().map(|index| &graph.paths[*index]).collect();
        if !options.dry_run {
            store.database.invalidate(paths.iter().copied())?;
            for path in &paths {
                remove::put_aside(&directories.store, OsStr::new(path.base_name()))?;
            }
        }
        freed.paths.extend(paths.into_iter().cloned());
    }
    // What there was no need to take stays valid.
    freed.live += dead.len();

    drop(temporary);
    drop(gc_lock);
    drop(own_roots);
    if !options.dry_run {
        freed.bytes = empty_trash(&directories.store.join(TRASH))?;
        freed.bytes += prune_links(&directories.store.join(LINKS))?;
        super::open::reserve_space(&reserve);
    }
    Ok(freed)
}

/// Which paths of `graph` are live.
fn mark(graph: &Graph, roots: &HashSet<StorePath>, options: &CollectOptions) -> Vec<bool> {
    let mut live = vec![false; graph.paths.len()];
    let mut pending: Vec<usize> = (0..graph.paths.len())
        .filter(|index| roots.contains(&graph.paths[*index]))
        .collect();
    while let Some(index) = pending.pop() {
        if std::mem::replace(&mut live[index], true) {
            continue;
        }
        pending.extend(&graph.references[index]);
        if options.keep_derivations {
            pending.extend(graph.derivers[index]);
        }
        if options.keep_outputs {
            pending.extend(&graph.outputs[index]);
        }
    }
    live
}

/// The paths that are not live, each after all that refer to it: nothing valid ever refers to something that is not.
fn referrers_first(graph: &Graph, live: &[bool]) -> Vec<usize> {
    let dead: Vec<usize> = (0..live.len()).filter(|index| !live[*index]).collect();
    let mut referrers = vec![0usize; live.len()];
    for index in &dead {
        for reference in &graph.references[*index] {
            referrers[*reference] += 1;
        }
    }
    let mut order: Vec<usize> = Vec::with_capacity(dead.len());
    order.extend(dead.iter().filter(|index| referrers[**index] == 0));
    let mut next = 0;
    while let Some(index) = order.get(next) {
        next += 1;
        for reference in &graph.references[*index] {
            referrers[*reference] -= 1;
            if referrers[*reference] == 0 && !live[*reference] {
                order.push(*reference);
            }
        }
    }
    order
}

/// Takes what is in the store directory without being valid.
fn sweep_leftovers(
    store: &Store,
    graph: &Graph,
    temporary: &HashSet<StorePath>,
    options: &CollectOptions,
    freed: &mut Freed,
) -> Result<(), StoreError> {
    let directory = &store.directories().store;
    let valid: HashSet<&str> = graph.paths.iter().map(StorePath::base_name).collect();
    let listing = |source| StoreError::Io {
        path: directory.clone(),
        action: "list",
        source,
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(listing)? {
        let name = entry.map_err(listing)?.file_name();
        let name = name.to_string_lossy();
        if !valid.contains(name.as_ref()) && name != TRASH && name != LINKS {
            found.push(name.into_owned());
        }
    }
    found.sort();
    for name in found {
        // An item may itself be called `….lock`, so both readings of such a name have to be spared.
        let itself = StorePath::from_base_name(&name).ok();
        let owner = [LOCK_SUFFIX, STAGING_SUFFIX]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .and_then(|base| StorePath::from_base_name(base).ok());
        let Some(lockable) = owner.as_ref().or(itself.as_ref()) else {
            freed.unknown.push(name);
            continue;
        };
        if itself
            .iter()
            .chain(&owner)
            .any(|path| temporary.contains(path))
        {
            continue;
        }
        let item = directory.join(&name);
        if options.dry_run {
            let lock_file = lock_path(directory, lockable);
            let free = !lock_file.is_file()
                || FileLock::try_acquire(lock_file, Mode::Exclusive, false)?.is_some();
            if free {
                freed.bytes += remove::disk_usage(&item);
                freed.leftovers.push(name);
            }
            continue;
        }
        let is_lock_file = owner.is_some() && name.ends_with(LOCK_SUFFIX) && item.is_file();
        if owner.is_some() && name.ends_with(LOCK_SUFFIX) && !is_lock_file {
            // A directory where its lock file would have to be.
            remove::put_aside(directory, OsStr::new(&name))?;
            freed.leftovers.push(name);
            continue;
        }
        let Some(lock) = PathLocks::try_acquire(directory, [lockable])? else {
            continue;
        };
        if !is_lock_file {
            if options.max_freed.is_some() {
                freed.bytes += remove::disk_usage(&item);
            }
            remove::put_aside(directory, OsStr::new(&name))?;
        }
        // Its own file goes with the lock.
        drop(lock);
        freed.leftovers.push(name);
    }
    Ok(())
}

/// Removes everything in the trash, several items at a time.
fn empty_trash(trash: &Path) -> Result<u64, StoreError> {
    let entries = match std::fs::read_dir(trash) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(source) => {
            return Err(StoreError::Io {
                path: trash.to_owned(),
                action: "list",
                source,
            });
        }
    };
    let items: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    let freed = items
        .par_iter()
        .map(|item| remove::remove_tree(item))
        .try_reduce(|| 0, |left, right| Ok(left + right))?;
    // Stays where another process has put something into it meanwhile.
    let _ = std::fs::remove_dir(trash);
    Ok(freed)
}

/// Removes the daemon's deduplicated files that no item shares any more.
fn prune_links(links: &Path) -> Result<u64, StoreError> {
    use std::os::unix::fs::MetadataExt;
    let mut freed = 0;
    for entry in std::fs::read_dir(links).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(found) = path.symlink_metadata() else {
            continue;
        };
        if found.nlink() == 1 && !found.is_dir() {
            std::fs::remove_file(&path).map_err(|source| StoreError::Io {
                path,
                action: "remove",
                source,
            })?;
            freed += found.blocks() * 512;
        }
    }
    Ok(freed)
}
