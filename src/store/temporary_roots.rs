// SPDX-License-Identifier: GPL-3.0-or-later
//! Temporary roots: what this process is using, so that no garbage collector takes it away.
//!
//! The protocol is that of Guix's daemon (`gc.cc`), so that either's collector spares what the other works on. Each
//! process has a file of its own in `STATE/temproots`, holding the store paths it uses, each ended by a zero byte, and
//! keeps a read lock on it; to add a path it takes a write lock for a moment. A collector takes a read lock on every
//! such file and so stops all additions while it finds and invalidates garbage; a file on which it gets a *write* lock
//! is that of a dead process, and is removed. New files appear under a shared lock on `STATE/gc.lock`, which the
//! collector holds exclusively.
//!
//! So a process that first adds a path to its temporary roots, and *then* sees that the path is valid, can rely on it.
//!
//! The registry of this process's files is keyed by state directory: all handles of one store share one file, which
//! goes with the last of them. A process that serves another client has a file of its own. The system's locks decide
//! whose roots count, so a process that is killed loses its roots with its locks.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use rustix::fs::{Mode as FileMode, OFlags};
use rustix::io::Errno;

use super::error::LockError;
use super::file_lock::{FileLock, LockMode, Wait, discard, lock_open_file};
use super::lock_policy::LockPolicy;
use crate::diagnostics::FileError;
use crate::formats::store_path::{StoreDir, StorePath};
use crate::limited_file;

/// The most temporary roots of one process. A client of the daemon chooses how many it adds.
const MOST: usize = 1_000_000;

/// The most bytes of a file of temporary roots: more than [`MOST`] of the longest names take, and than a collector
/// should read into memory.
const MOST_BYTES: u64 = 512 << 20;

/// The temporary roots of this process in one state directory, shared by every store opened on it.
#[derive(Debug)]
pub(super) struct TemporaryRoots {
    directory: PathBuf,
    gc_lock: PathBuf,
    state: Mutex<RootsState>,
}

#[derive(Debug, Default)]
pub(super) struct RootsState {
    /// Made when the first root is added, so that looking at a store leaves no trace.
    file: Option<RootsFile>,
    roots: HashSet<StorePath>,
    /// Paths in the store directory that are none of a store item.
    others: HashSet<String>,
}

#[derive(Debug)]
struct RootsFile {
    path: PathBuf,
    file: File,
}

/// The processes' file locks would get in each other's way if one process had two files open in one directory: its own
/// collector would take the second for that of a dead process, and drop its lock by closing it.
static REGISTRY: LazyLock<Mutex<HashMap<PathBuf, Weak<TemporaryRoots>>>> =
    LazyLock::new(Mutex::default);

impl TemporaryRoots {
    /// The temporary roots of this process in the state directory `state`, which must be spelled the same every time.
    pub(super) fn of_process(state: &Path) -> Arc<Self> {
        let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = registry.get(state).and_then(Weak::upgrade) {
            return shared;
        }
        registry.retain(|_, roots| roots.strong_count() > 0);
        let roots = Arc::new(Self {
            directory: state.join("temproots"),
            gc_lock: gc_lock_path(state),
            state: Mutex::default(),
        });
        registry.insert(state.to_owned(), Arc::downgrade(&roots));
        roots
    }

    /// Stops additions by this process' threads for as long as the guard lives.
    ///
    /// A collector takes this before `gc.lock`: [`add`](Self::add) takes the two in the same order.
    pub(super) fn freeze(&self) -> MutexGuard<'_, RootsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds `paths`; waits for a collector that is at work.
    pub(super) fn add<'p>(
        &self,
        store_dir: &StoreDir,
        paths: impl IntoIterator<Item = &'p StorePath>,
        lock_policy: &LockPolicy,
    ) -> Result<(), LockError> {
        let mut state = self.freeze();
        let new: BTreeSet<&StorePath> = paths
            .into_iter()
            .filter(|path| !state.roots.contains(*path))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        check_count(state.roots.len() + state.others.len(), new.len())?;
        let mut own = match state.file.take() {
            Some(own) => own,
            None => self.create_file(lock_policy)?,
        };
        let mut text = Vec::new();
        for path in &new {
            text.extend_from_slice(store_dir.display(path).as_bytes());
            text.push(0);
        }
        let added = self.append(&mut own, &text, lock_policy);
        state.file = Some(own);
        added?;
        state.roots.extend(new.into_iter().cloned());
        Ok(())
    }

    /// Adds `path`, directly below the store directory, which is not that of a store item. Collectors that take what
    /// they do not know, as guix-daemon's does, spare it.
    pub(super) fn add_other(&self, path: &str, lock_policy: &LockPolicy) -> Result<(), LockError> {
        let mut state = self.freeze();
        if path.contains('\0') || state.others.contains(path) {
            return Ok(());
        }
        check_count(state.roots.len() + state.others.len(), 1)?;
        let mut own = match state.file.take() {
            Some(own) => own,
            None => self.create_file(lock_policy)?,
        };
        let added = self.append(&mut own, format!("{path}\0").as_bytes(), lock_policy);
        state.file = Some(own);
        added?;
        state.others.insert(path.to_owned());
        Ok(())
    }

    fn append(
        &self,
        own: &mut RootsFile,
        text: &[u8],
        lock_policy: &LockPolicy,
    ) -> Result<(), LockError> {
        let mut wait = Wait::new(lock_policy);
        lock_open_file(&own.file, &own.path, LockMode::Exclusive, &mut wait)?;
        let written = own.file.write_all(text);
        lock_open_file(&own.file, &own.path, LockMode::Shared, &mut wait)?;
        written.map_err(|source| FileError::in_store("write", &own.path)(source).into())
    }

    fn create_file(&self, lock_policy: &LockPolicy) -> Result<RootsFile, LockError> {
        let mut attempt = 0;
        loop {
            // The daemon names the file after its process number; a further number keeps processes of different
            // containers with one state directory apart, and any name will do for collectors.
            let path = self
                .directory
                .join(format!("{}-{attempt}", std::process::id()));
            let gc_lock =
                FileLock::acquire(self.gc_lock.clone(), LockMode::Shared, false, lock_policy)?;
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = match rustix::fs::open(&path, flags, FileMode::RUSR | FileMode::WUSR) {
                Ok(file) => File::from(file),
                Err(Errno::EXIST) => {
                    attempt += 1;
                    continue;
                }
                Err(errno) => {
                    return Err(FileError::in_store("create", &path)(errno.into()).into());
                }
            };
            // Locked before a collector can see it, which would take it for that of a dead process.
            lock_open_file(&file, &path, LockMode::Shared, &mut Wait::new(lock_policy))?;
            drop(gc_lock);
            return Ok(RootsFile { path, file });
        }
    }

    /// The temporary roots of all processes, as far as their files can be read, without a lock: for dry runs on a store
    /// that cannot be written. Roots of dead processes may be among them.
    pub(super) fn read_without_locks(&self, store_dir: &StoreDir) -> AllRoots {
        let mut roots = HashSet::new();
        for entry in std::fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let Ok(file) = rustix::fs::open(entry.path(), flags, FileMode::empty()) else {
                continue;
            };
            if let Ok(text) = limited_file::read_open(File::from(file), MOST_BYTES) {
                roots.extend(paths_in(&text, store_dir));
            }
        }
        AllRoots {
            roots,
            locks: Vec::new(),
        }
    }

    /// Reads the temporary roots of all processes, for the collector, which holds `gc.lock` exclusively and `own`, the
    /// roots of this process.
    ///
    /// Until the result is dropped, no process adds any. Files of dead processes are removed.
    pub(super) fn read_all(
        &self,
        own: &RootsState,
        with_own: bool,
        store_dir: &StoreDir,
        lock_policy: &LockPolicy,
    ) -> Result<AllRoots, LockError> {
        let mut all = AllRoots {
            roots: match with_own {
                true => own.roots.clone(),
                false => HashSet::new(),
            },
            locks: Vec::new(),
        };
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(all),
            Err(error) => return Err(FileError::in_store("list", &self.directory)(error).into()),
        };
        for entry in entries {
            let path = entry
                .map_err(FileError::in_store("list", &self.directory))?
                .path();
            if own.file.as_ref().is_some_and(|own| own.path == path) {
                continue;
            }
            let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let file = match rustix::fs::open(&path, flags, FileMode::empty()) {
                Ok(file) => File::from(file),
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(FileError::in_store("open", &path)(errno.into()).into()),
            };
            let at_once = LockPolicy {
                timeout: Some(std::time::Duration::ZERO),
                ..LockPolicy::default()
            };
            match lock_open_file(&file, &path, LockMode::Exclusive, &mut Wait::new(&at_once)) {
                Ok(()) => {
                    tracing::debug!(path = %path.display(), "removing the temporary roots of a dead process");
                    discard(&path, file);
                    continue;
                }
                Err(LockError::TimedOut { .. }) => {}
                Err(error) => return Err(error),
            }
            lock_open_file(&file, &path, LockMode::Shared, &mut Wait::new(lock_policy))?;
            // A collector that does not know all roots must not go on. By this very descriptor: closing another one of
            // the file's drops the lock, and its owner adds roots that are not seen.
            let text = limited_file::read_open(&file, MOST_BYTES)
                .map_err(FileError::in_store("read", &path))?;
            all.roots.extend(paths_in(&text, store_dir));
            all.locks.push(file);
        }
        Ok(all)
    }
}

impl Drop for TemporaryRoots {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = state.file.take() {
            // Where this fails, the next collector removes the file, whose lock is gone.
            let _ = std::fs::remove_file(&own.path);
        }
    }
}

/// Whether a process that has `held` temporary roots may have `new` more.
fn check_count(held: usize, new: usize) -> Result<(), LockError> {
    let wanted = held.saturating_add(new);
    match wanted > MOST {
        true => Err(LockError::TooManyRoots { wanted, most: MOST }),
        false => Ok(()),
    }
}

/// The paths in a file of temporary roots. What does not parse is not a path of this store: there is nothing to spare.
fn paths_in<'t>(text: &'t [u8], store_dir: &'t StoreDir) -> impl Iterator<Item = StorePath> + 't {
    text.split(|byte| *byte == 0)
        .filter_map(|root| store_dir.parse(std::str::from_utf8(root).ok()?).ok())
}

/// The temporary roots of all processes, and the locks that keep them unchanged.
pub(super) struct AllRoots {
    pub(super) roots: HashSet<StorePath>,
    #[allow(dead_code)] // Held, not read.
    locks: Vec<File>,
}

/// The lock that collectors hold while they decide what is garbage.
pub(super) fn gc_lock_path(state: &Path) -> PathBuf {
    state.join("gc.lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(letter: char) -> StorePath {
        StorePath::from_base_name(&format!("{}-item", letter.to_string().repeat(32))).unwrap()
    }

    fn state_directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("temproots")).unwrap();
        directory
    }

    fn store_dir() -> StoreDir {
        StoreDir::new("/gnu/store").unwrap()
    }

    fn files(directory: &tempfile::TempDir) -> Vec<PathBuf> {
        std::fs::read_dir(directory.path().join("temproots"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    }

    #[test]
    fn the_file_is_the_daemons_format_and_goes_with_the_last_user() {
        let directory = state_directory();
        let first = TemporaryRoots::of_process(directory.path());
        let second = TemporaryRoots::of_process(directory.path());
        assert!(files(&directory).is_empty());
        first
            .add(&store_dir(), [&path('a')], &LockPolicy::default())
            .unwrap();
        second
            .add(
                &store_dir(),
                [&path('b'), &path('a')],
                &LockPolicy::default(),
            )
            .unwrap();
        let [file] = &files(&directory)[..] else {
            panic!("one file for the process");
        };
        let text = std::fs::read_to_string(file).unwrap();
        let full = |letter| store_dir().display(&path(letter));
        assert_eq!(text, format!("{}\0{}\0", full('a'), full('b')));
        drop(first);
        assert!(file.exists());
        drop(second);
        assert!(!file.exists());
    }

    #[test]
    fn files_of_dead_processes_are_removed_and_their_roots_forgotten() {
        let directory = state_directory();
        let stale = directory.path().join("temproots/4711");
        std::fs::write(&stale, format!("{}\0", store_dir().display(&path('z')))).unwrap();
        let roots = TemporaryRoots::of_process(directory.path());
        roots
            .add(&store_dir(), [&path('a')], &LockPolicy::default())
            .unwrap();
        let own = roots.freeze();
        let all = roots
            .read_all(&own, true, &store_dir(), &LockPolicy::default())
            .unwrap();
        assert_eq!(all.roots, HashSet::from([path('a')]));
        assert!(!stale.exists());
        drop(own);
        assert_eq!(files(&directory).len(), 1, "the living keep theirs");
    }

    #[test]
    fn a_process_has_no_more_roots_than_a_collector_reads() {
        check_count(0, MOST).unwrap();
        for (held, new) in [(0, MOST + 1), (MOST, 1), (1, usize::MAX)] {
            let error = check_count(held, new).unwrap_err().to_string();
            assert!(error.contains("1000000 temporary roots"), "{error}");
        }
        let longest = "/gnu/store/".len() + 32 + 1 + 211 + 1;
        assert!((MOST * longest) as u64 <= MOST_BYTES);
    }

    #[test]
    fn fifos_and_files_of_any_size_are_neither_waited_for_nor_read_whole() {
        let directory = state_directory();
        let place = directory.path().join("temproots/4711");
        let made = std::process::Command::new("mkfifo").arg(&place).status();
        assert!(made.unwrap().success());
        let roots = TemporaryRoots::of_process(directory.path());
        let own = roots.freeze();
        // It is not locked, so it is a dead process's; a dry run reads nothing from it.
        assert!(roots.read_without_locks(&store_dir()).roots.is_empty());
        let read = roots.read_all(&own, true, &store_dir(), &LockPolicy::default());
        assert!(read.is_err() || !place.exists());
        std::fs::remove_file(&place).unwrap_or_default();

        let huge = File::create(&place).unwrap();
        huge.set_len(MOST_BYTES + 1).unwrap();
        assert!(roots.read_without_locks(&store_dir()).roots.is_empty());
    }
}
