// SPDX-License-Identifier: GPL-3.0-or-later
//! Garbage collection: removes the store items that no root keeps.
//!
//! An item is *live* if a root leads to it: a permanent root, a temporary root of a running process, a running process
//! itself; or if something live refers to it. With `keep_derivations`, the derivation a live item was built from is
//! live too, and with `keep_outputs`, what a live derivation has built.
//!
//! The collector first makes sure that the set of roots cannot grow (see `temporary_roots`),
//! reads the whole database at once, marks what is live in memory (linear in paths and references) and makes the rest
//! invalid, referrers before what they refer to. Only after that has been committed does it move the items to the
//! trash, and only after all locks have been given back does it remove them there, which is what takes the time. Killed
//! in between, it leaves leftovers for its next run.
//!
//! Leftovers, items of the store directory that are not valid, go too, unless a process has them for a temporary root
//! or holds their lock. `PATH.chroot`, where a build or an addition of `PATH` is under way, belongs to `PATH`'s lock.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::MutexGuard;

use super::database::Access;
use super::error::StoreError;
use super::file_lock::{FileLock, LockMode};
use super::names::{LINKS, LOCK_SUFFIX, is_own, owner_of};
use super::open::Store;
use super::optimise::prune_links;
use super::path_locks::{PathLocks, lock_path};
use super::queries::ReferenceGraph;
use super::reachability::{Keep, mark, referrers, referrers_first};
use super::remove;
use super::roots::{GcRoot, RootKind};
use super::temporary_roots::{AllRoots, RootsState, gc_lock_path};
use super::trash::Trash;
use crate::diagnostics::FileError;
use crate::formats::store_path::StorePath;

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
    /// Heed the temporary roots of this process, too. A client of the daemon may delete what it has just added: the
    /// roots of its own session do not keep that.
    pub own_roots: bool,
    /// Generations of named roots (`all/3`) that are taken for gone: those that a dry run would have removed before.
    pub without: Vec<String>,
}

impl CollectOptions {
    fn keep(&self) -> Keep {
        Keep {
            derivations: self.keep_derivations,
            outputs: self.keep_outputs,
        }
    }

    /// Whether `root` is not of one of the generations that are taken for gone.
    fn heeds(&self, root: &GcRoot) -> bool {
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
            own_roots: true,
            without: Vec::new(),
        }
    }
}

/// What a collection asks and tells meanwhile.
pub struct Watch<'w> {
    /// Asked before each batch of items, and while they are removed: whether to go on. What is already invalid and
    /// stays on the disk then goes with the next collection.
    pub goes_on: &'w (dyn Fn() -> bool + Sync),
    /// Told of the items and leftovers that have just been taken out of the store.
    pub taken: &'w dyn Fn(&[StorePath]),
}

impl Watch<'_> {
    /// Goes on to the end, without a word.
    pub const NONE: Self = Watch {
        goes_on: &|| true,
        taken: &|_| {},
    };
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

/// Deletes what no root keeps, as `options` say. Waits for another collector and for processes that are just making
/// roots; builds may go on meanwhile.
///
/// A dry run works on a store that was opened for reading, too. It takes no locks there, so what it reports may change
/// under it.
pub fn collect(store: &Store, options: &CollectOptions) -> Result<Freed, StoreError> {
    collect_watched(store, options, &Watch::NONE)
}

/// As [`collect`], and tells `watch` of it.
pub fn collect_watched(
    store: &Store,
    options: &CollectOptions,
    watch: &Watch<'_>,
) -> Result<Freed, StoreError> {
    let _reserve = Reserve::release(store, options.dry_run)?;
    let roots = Frozen::roots(store, options)?;
    let graph = store.database.graph()?;
    let live = mark(&graph, &roots.all, options.keep());
    let mut sweep = Sweep::new(store, options, watch)?;
    if options.max_freed != Some(0) {
        sweep.leftovers(&graph, &roots.temporary)?;
    }
    sweep.items(&graph, &referrers_first(&graph, &live))?;
    drop(roots);
    sweep.finish(&graph)
}

/// Deletes `paths`, and the valid paths that refer to them; a missing path is not an error.
///
/// # Errors
/// [`StoreError::StillAlive`] where a root keeps one of them: then nothing is deleted.
pub fn delete(
    store: &Store,
    paths: &BTreeSet<StorePath>,
    options: &CollectOptions,
    watch: &Watch<'_>,
) -> Result<Freed, StoreError> {
    let _reserve = Reserve::release(store, options.dry_run)?;
    let roots = Frozen::roots(store, options)?;
    let graph = store.database.graph()?;
    let live = mark(&graph, &roots.all, options.keep());
    let positions: HashMap<&StorePath, usize> = graph.paths.iter().zip(0..).collect();
    for path in paths {
        let is_live = match positions.get(path) {
            Some(position) => live[*position],
            None => roots.all.contains(path),
        };
        if is_live {
            return Err(StoreError::StillAlive {
                path: store.directories().store_dir.display(path),
            });
        }
    }
    let mut sweep = Sweep::new(store, options, watch)?;
    for path in paths.iter().filter(|path| !positions.contains_key(path)) {
        if store
            .directories()
            .physical(path)
            .symlink_metadata()
            .is_ok()
        {
            sweep.leftover(path.base_name())?;
        }
    }
    let wanted = referrers(&graph, paths.iter().filter_map(|path| positions.get(path)));
    let mut order = referrers_first(&graph, &live);
    order.retain(|position| wanted[*position]);
    sweep.items(&graph, &order)?;
    drop(roots);
    sweep.finish(&graph)
}

/// Which paths of a store a collector would keep, and which it would delete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Liveness {
    /// The valid paths that a root leads to.
    pub live: BTreeSet<StorePath>,
    /// The valid paths that no root leads to, and leftovers that are named like store items.
    pub dead: BTreeSet<StorePath>,
}

/// Says of each path in the store whether it is live, as [`collect`] with `options` would; changes nothing.
pub fn liveness(store: &Store, options: &CollectOptions) -> Result<Liveness, StoreError> {
    let options = CollectOptions {
        dry_run: true,
        max_freed: None,
        ..options.clone()
    };
    let roots = Frozen::roots(store, &options)?;
    let graph = store.database.graph()?;
    let live = mark(&graph, &roots.all, options.keep());
    let mut found = Liveness::default();
    let mut sweep = Sweep::new(store, &options, &Watch::NONE)?;
    sweep.leftovers(&graph, &roots.temporary)?;
    let leftovers = sweep.freed.leftovers.iter();
    found
        .dead
        .extend(leftovers.filter_map(|name| StorePath::from_base_name(name).ok()));
    for (path, is_live) in graph.paths.into_iter().zip(live) {
        match is_live {
            true => found.live.insert(path),
            false => found.dead.insert(path),
        };
    }
    Ok(found)
}

/// All roots at one moment, and the locks that keep them from becoming more.
struct Frozen<'s> {
    /// Permanent and temporary roots, and what running processes use.
    all: HashSet<StorePath>,
    temporary: HashSet<StorePath>,
    // Given back in this order.
    _others: AllRoots,
    _lock: Option<FileLock>,
    _own: MutexGuard<'s, RootsState>,
}

impl<'s> Frozen<'s> {
    /// Waits for other collectors; removes stale roots unless that is a dry run.
    fn roots(store: &'s Store, options: &CollectOptions) -> Result<Self, StoreError> {
        let directories = store.directories();
        let lock_policy = &store.options.lock_policy;
        // In this order: additions of temporary roots take the same two in the same order.
        let own = store.temporary_roots.freeze();
        let lock = match store.options.access {
            Access::ReadOnly => None,
            Access::ReadWrite => Some(FileLock::acquire(
                gc_lock_path(&directories.state),
                LockMode::Exclusive,
                false,
                lock_policy,
            )?),
        };
        if !options.dry_run {
            store.tidy_roots()?;
        }
        let mut others = match &lock {
            Some(_) => store.temporary_roots.read_all(
                &own,
                options.own_roots,
                &directories.store_dir,
                lock_policy,
            )?,
            None => store
                .temporary_roots
                .read_without_locks(&directories.store_dir),
        };
        let temporary = std::mem::take(&mut others.roots);
        let permanent = store.roots()?.into_iter();
        let permanent = permanent.filter(|root| options.heeds(root));
        let running = store.running_roots().into_iter();
        let paths = permanent.chain(running).map(|root| root.path);
        Ok(Self {
            all: temporary.iter().cloned().chain(paths).collect(),
            temporary,
            _others: others,
            _lock: lock,
            _own: own,
        })
    }
}

/// Disk space that a collector can give back before it starts: a full disk may not even take a database transaction.
/// Taken again when this is dropped, however the collection ends.
struct Reserve(Option<PathBuf>);

impl Reserve {
    fn release(store: &Store, dry_run: bool) -> Result<Self, StoreError> {
        if dry_run {
            return Ok(Self(None));
        }
        store.writable()?;
        let path = super::open::reserve(&store.directories().state);
        let _ = std::fs::remove_file(&path);
        Ok(Self(Some(path)))
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            super::open::reserve_space(path);
        }
    }
}

/// A collection under way: what it takes, and where that goes.
struct Sweep<'s> {
    store: &'s Store,
    options: &'s CollectOptions,
    watch: &'s Watch<'s>,
    trash: Trash,
    freed: Freed,
}

impl<'s> Sweep<'s> {
    fn new(
        store: &'s Store,
        options: &'s CollectOptions,
        watch: &'s Watch<'s>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            store,
            options,
            watch,
            trash: Trash::of(&store.directories().store)?,
            freed: Freed::default(),
        })
    }

    /// Whether enough is given back.
    fn is_enough(&self) -> bool {
        let wanted = self.options.max_freed;
        wanted.is_some_and(|wanted| self.freed.bytes >= wanted)
    }

    /// Takes the paths of `graph` at the positions `dead`, each after what refers to it, until enough is given back.
    fn items(&mut self, graph: &ReferenceGraph, dead: &[usize]) -> Result<(), StoreError> {
        let mut left = dead;
        while !left.is_empty() && !self.is_enough() && (self.watch.goes_on)() {
            let mut count = 0;
            while count < left.len() && count < BATCH && !self.is_enough() {
                self.freed.bytes += graph.nar_sizes[left[count]];
                count += 1;
            }
            let (batch, rest) = left.split_at(count);
            left = rest;
            let paths: Vec<&StorePath> = batch.iter().map(|index| &graph.paths[*index]).collect();
            if !self.options.dry_run {
                self.store.database.invalidate(paths.iter().copied())?;
                for path in &paths {
                    self.trash.put(OsStr::new(path.base_name()))?;
                }
            }
            let first = self.freed.paths.len();
            self.freed.paths.extend(paths.into_iter().cloned());
            (self.watch.taken)(&self.freed.paths[first..]);
        }
        Ok(())
    }

    /// Takes what is in the store directory without being valid, until enough is given back.
    fn leftovers(
        &mut self,
        graph: &ReferenceGraph,
        temporary: &HashSet<StorePath>,
    ) -> Result<(), StoreError> {
        let directory = &self.store.directories().store;
        let valid: HashSet<&str> = graph.paths.iter().map(StorePath::base_name).collect();
        let listing = |source| FileError::in_store("list", directory)(source);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(listing)? {
            let name = entry.map_err(listing)?.file_name();
            let name = name.to_string_lossy();
            if !valid.contains(name.as_ref()) && !is_own(&name) {
                found.push(name.into_owned());
            }
        }
        found.sort();
        for name in found {
            if self.is_enough() || !(self.watch.goes_on)() {
                break;
            }
            // An item may itself be called `….lock`, so both readings of such a name have to be spared.
            let itself = StorePath::from_base_name(&name).ok();
            let owner = owner_of(&name);
            if itself.is_none() && owner.is_none() {
                self.freed.unknown.push(name);
                continue;
            }
            let mut readings = itself.iter().chain(&owner);
            if !readings.any(|path| temporary.contains(path)) {
                self.leftover(&name)?;
            }
        }
        Ok(())
    }

    /// Takes the entry `name` of the store directory, unless a process holds the lock on the path to which it belongs.
    fn leftover(&mut self, name: &str) -> Result<(), StoreError> {
        let directory = &self.store.directories().store;
        let item = directory.join(name);
        let itself = StorePath::from_base_name(name).ok();
        let is_lock = is_lock_file(&item);
        let owner = owner_of(name).filter(|_| is_lock || !name.ends_with(LOCK_SUFFIX));
        let lockable = owner.or_else(|| itself.clone());
        if self.options.dry_run {
            let lock_file = lockable.map(|path| lock_path(directory, &path));
            let is_free = match lock_file.filter(|file| file.is_file()) {
                Some(file) if self.store.options.access == Access::ReadWrite => {
                    FileLock::try_acquire(file, LockMode::Exclusive, false)?.is_some()
                }
                _ => true,
            };
            if is_free {
                self.freed.bytes += remove::disk_usage(&item);
                self.freed.leftovers.push(name.to_owned());
            }
            return Ok(());
        }
        let Some(lock) = PathLocks::try_acquire(directory, &lockable)? else {
            return Ok(());
        };
        if !is_lock {
            if self.options.max_freed.is_some() {
                self.freed.bytes += remove::disk_usage(&item);
            }
            self.trash.put(OsStr::new(name))?;
        }
        // A lock's own file goes with it.
        drop(lock);
        self.freed.leftovers.push(name.to_owned());
        if let Some(path) = itself {
            (self.watch.taken)(&[path]);
        }
        Ok(())
    }

    /// Removes what was moved to the trash, once nothing is locked any more.
    fn finish(self, graph: &ReferenceGraph) -> Result<Freed, StoreError> {
        let mut freed = self.freed;
        freed.live = graph.paths.len() - freed.paths.len();
        if !self.options.dry_run {
            let emptied = self.trash.empty(self.watch.goes_on);
            let mut pruned = 0;
            if (self.watch.goes_on)() {
                pruned = prune_links(&self.store.directories().store.join(LINKS))?;
            }
            freed.bytes = emptied? + pruned;
        }
        Ok(freed)
    }
}

/// Whether `path` is a lock file, as this program and guix-daemon make them: its owner may write to it. An item that is
/// called `….lock` cannot be written to, and must not be: it may share its content with other items.
fn is_lock_file(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let is_writable = |found: std::fs::Metadata| found.permissions().mode() & 0o200 != 0;
    let name = path.as_os_str().as_encoded_bytes();
    name.ends_with(LOCK_SUFFIX.as_bytes())
        && path
            .symlink_metadata()
            .is_ok_and(|found| found.is_file() && is_writable(found))
}
