// SPDX-License-Identifier: GPL-3.0-or-later
//! Locks on store paths, which keep processes and threads that build or add the same item apart.
//!
//! The protocol is the one of Guix's daemon (`pathlocks.cc`), so that both can work in one store at the same time: a
//! store path is locked by a write lock (`fcntl`, whole file) on the file `PATH.lock` beside it, which its holder
//! removes when done. Locks die with their process, so a killed build blocks no other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::error::LockError;
use super::file_lock::{FileLock, LockMode};
use super::lock_policy::LockPolicy;
use super::names::LOCK_SUFFIX;
use crate::formats::store_path::StorePath;

/// The locks of some store paths, held until dropped.
///
/// Stays with the thread that got it, so that a thread that would wait for itself gets an error; other threads may look
/// at it, to work for that thread.
#[derive(Debug)]
pub struct PathLocks {
    /// In the order of `paths`.
    locks: Vec<FileLock>,
    paths: BTreeSet<StorePath>,
    /// What a mutex' guard is: `Sync`, but not `Send`.
    not_send: std::marker::PhantomData<std::sync::MutexGuard<'static, ()>>,
}

impl PathLocks {
    /// Locks `paths`, items of the physical store directory `store`, in sorted order, so that two processes
    /// never wait for each other.
    pub(super) fn acquire<'p>(
        store: &Path,
        paths: impl IntoIterator<Item = &'p StorePath>,
        lock_policy: &LockPolicy,
    ) -> Result<Self, LockError> {
        let paths: BTreeSet<StorePath> = paths.into_iter().cloned().collect();
        let locks = paths
            .iter()
            .map(|path| {
                FileLock::acquire(
                    lock_path(store, path),
                    LockMode::Exclusive,
                    true,
                    lock_policy,
                )
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            locks,
            paths,
            not_send: std::marker::PhantomData,
        })
    }

    /// Locks like [`acquire`](Self::acquire), but gives `None` where one of them is taken.
    pub(super) fn try_acquire<'p>(
        store: &Path,
        paths: impl IntoIterator<Item = &'p StorePath>,
    ) -> Result<Option<Self>, LockError> {
        let paths: BTreeSet<StorePath> = paths.into_iter().cloned().collect();
        let mut locks = Vec::with_capacity(paths.len());
        for path in &paths {
            match FileLock::try_acquire(lock_path(store, path), LockMode::Exclusive, true)? {
                Some(lock) => locks.push(lock),
                None => return Ok(None),
            }
        }
        Ok(Some(Self {
            locks,
            paths,
            not_send: std::marker::PhantomData,
        }))
    }

    /// Gives back the locks of `paths`, as far as they are among these: other processes may wait for them.
    pub fn release(&mut self, paths: &BTreeSet<StorePath>) {
        let locked = std::mem::take(&mut self.paths)
            .into_iter()
            .zip(std::mem::take(&mut self.locks));
        (self.paths, self.locks) = locked.filter(|(path, _)| !paths.contains(path)).unzip();
    }

    /// Whether `path` is one of the locked paths.
    pub fn covers(&self, path: &StorePath) -> bool {
        self.paths.contains(path)
    }
}

/// The lock file of a store path.
pub(super) fn lock_path(store: &Path, path: &StorePath) -> PathBuf {
    store.join(format!("{}{LOCK_SUFFIX}", path.base_name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    fn hurried(millis: u64) -> LockPolicy {
        LockPolicy {
            timeout: Some(Duration::from_millis(millis)),
            ..LockPolicy::default()
        }
    }

    fn path(letter: char) -> StorePath {
        StorePath::from_base_name(&format!("{}-item", letter.to_string().repeat(32))).unwrap()
    }

    #[test]
    fn threads_exclude_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let paths = [path('a'), path('b')];
                        let _locks =
                            PathLocks::acquire(directory.path(), &paths, &LockPolicy::default())
                                .unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        let left = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 0, "lock files go with their locks");
    }

    #[test]
    fn opposite_orders_do_not_deadlock() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path();
        std::thread::scope(|scope| {
            for order in [['a', 'b'], ['b', 'a']] {
                scope.spawn(move || {
                    for _ in 0..200 {
                        PathLocks::acquire(store, &order.map(path), &hurried(10_000)).unwrap();
                    }
                });
            }
        });
    }

    #[test]
    fn waiting_for_oneself_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let _locks =
            PathLocks::acquire(directory.path(), &[path('a')], &LockPolicy::default()).unwrap();
        let again = PathLocks::acquire(directory.path(), &[path('a')], &LockPolicy::default());
        assert!(matches!(again, Err(LockError::SelfHeld { .. })));
        let tried = PathLocks::try_acquire(directory.path(), &[path('a')]).unwrap();
        assert!(tried.is_none());
    }

    #[test]
    fn some_locks_of_a_set_can_be_released() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path();
        let mut locks = PathLocks::acquire(store, &['a', 'b', 'c'].map(path), &hurried(0)).unwrap();
        locks.release(&['b', 'd'].map(path).into());
        let covered = ['a', 'b', 'c'].map(|letter| locks.covers(&path(letter)));
        assert_eq!(covered, [true, false, true]);
        for (letter, is_free) in [('a', false), ('b', true), ('c', false)] {
            let tried = PathLocks::try_acquire(store, &[path(letter)]).unwrap();
            assert_eq!(tried.is_some(), is_free, "{letter}");
        }
    }

    #[test]
    fn a_failed_set_of_locks_is_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path();
        let held = std::thread::scope(|scope| {
            let _held = PathLocks::acquire(store, &[path('b')], &hurried(0)).unwrap();
            scope
                .spawn(|| {
                    PathLocks::try_acquire(store, &[path('a'), path('b')])
                        .map(|locks| locks.is_none())
                })
                .join()
                .unwrap()
                .unwrap()
        });
        assert!(held);
        assert!(
            PathLocks::try_acquire(store, &[path('a')])
                .unwrap()
                .is_some()
        );
    }
}
