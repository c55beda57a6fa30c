// SPDX-License-Identifier: GPL-3.0-or-later
//! The trash: the directory in the store directory that items are moved to before they are removed.
//!
//! The move is one `rename`: the item's name is free at once, however long the removal takes. Several processes use the
//! trash at a time. Whichever finds it empty removes it.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::file_flags;
use super::names::TRASH;
use super::remove::{open_directory, remove_from_trash};
use crate::diagnostics::FileError;

/// The flags that directories are opened with.
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// How often a move is tried, where other processes are in the way.
const ATTEMPTS: u32 = 1000;

/// The trash of a store directory.
pub(super) struct Trash {
    path: PathBuf,
    store: OwnedFd,
    /// Open once something was moved into it. Another process may have removed it since.
    trash: Option<OwnedFd>,
}

impl Trash {
    /// The trash of the store directory `store`. Makes nothing.
    pub(super) fn of(store: &Path) -> Result<Self, FileError> {
        let opened = rustix::fs::open(store, DIRECTORY.difference(OFlags::NOFOLLOW), Mode::empty());
        Ok(Self {
            store: opened.map_err(|errno| FileError::in_store("open", store)(errno.into()))?,
            path: store.join(TRASH),
            trash: None,
        })
    }

    /// Moves the item `name` of the store directory here, under a name that is free, and returns where it is now;
    /// `None` where the item is missing.
    pub(super) fn put(&mut self, name: &OsStr) -> Result<Option<PathBuf>, FileError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let item = self.path.with_file_name(name);
        let fail = |errno: Errno| FileError::in_store("move aside", &item)(errno.into());
        let name_of_item = CString::new(name.as_bytes()).map_err(|_| fail(Errno::INVAL))?;
        // Names in the store are up to 244 bytes long, so the prefix has to be cut off somewhere.
        let tail = &name.as_bytes()[..name.len().min(100)];
        let mut is_mended = false;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let mut unique = format!("{}-{number}-", std::process::id()).into_bytes();
            unique.extend_from_slice(tail);
            let unique = OsStr::from_bytes(&unique);
            let trash = match self.trash.take() {
                Some(trash) => trash,
                None => self.open()?,
            };
            let trash = self.trash.insert(trash);
            match rustix::fs::renameat(&self.store, &name_of_item, trash, unique) {
                Ok(()) => return Ok(Some(self.path.join(unique))),
                // The flags of a file; or, for others than root, a directory that they may not write to: the move
                // changes its `..`.
                Err(Errno::PERM | Errno::ACCESS) if !is_mended => {
                    is_mended = true;
                    file_flags::clear_entry(self.store.as_fd(), &name_of_item);
                    open_directory(self.store.as_fd(), &name_of_item).map_err(fail)?;
                }
                // Left behind by a process that had our number.
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::ISDIR | Errno::NOTDIR)
                    if attempts < ATTEMPTS => {}
                Err(Errno::NOENT) if attempts < ATTEMPTS => {
                    let flags = AtFlags::SYMLINK_NOFOLLOW;
                    let found = rustix::fs::statat(&self.store, &name_of_item, flags);
                    if found.is_err_and(|errno| errno == Errno::NOENT) {
                        return Ok(None);
                    }
                    // What is missing is the trash.
                    self.trash = None;
                }
                Err(errno) => return Err(fail(errno)),
            }
        }
    }

    /// Removes all that is here, several items at a time, and the trash itself, as long as `goes_on` says so before
    /// each item. Returns the bytes given back.
    pub(super) fn empty(self, goes_on: &(dyn Fn() -> bool + Sync)) -> Result<u64, FileError> {
        let fail = |action, errno: Errno| FileError::in_store(action, &self.path)(errno.into());
        let opened = rustix::fs::openat(&self.store, TRASH, DIRECTORY, Mode::empty());
        let trash = match opened {
            Ok(trash) => trash,
            Err(Errno::NOENT) => return Ok(0),
            Err(errno) => return Err(fail("open", errno)),
        };
        let mut items = Vec::new();
        for entry in Dir::read_from(&trash).map_err(|errno| fail("list", errno))? {
            let entry = entry.map_err(|errno| fail("list", errno))?;
            if entry.file_name() != c"." && entry.file_name() != c".." {
                items.push((entry.file_name().to_owned(), entry.file_type()));
            }
        }
        crate::threads::ready();
        let (path, trash) = (self.path.as_path(), trash.as_fd());
        let remove = |(name, kind): &(CString, FileType)| match goes_on() {
            true => remove_from_trash(trash, path, name, *kind),
            false => Ok(0),
        };
        // One item that cannot be removed does not keep the others.
        let removed: Vec<Result<u64, FileError>> = items.par_iter().map(remove).collect();
        self.remove();
        removed.into_iter().sum()
    }

    /// Removes the trash itself, unless another process has put something into it.
    pub(super) fn remove(&self) {
        let _ = rustix::fs::unlinkat(&self.store, TRASH, AtFlags::REMOVEDIR);
    }

    /// Opens the trash, which is made where it is missing.
    fn open(&self) -> Result<OwnedFd, FileError> {
        let fail = |errno: Errno| FileError::in_store("create", &self.path)(errno.into());
        let mut attempts = 0;
        loop {
            attempts += 1;
            match rustix::fs::mkdirat(&self.store, TRASH, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(fail(errno)),
            }
            match rustix::fs::openat(&self.store, TRASH, DIRECTORY, Mode::empty()) {
                Ok(trash) => return Ok(trash),
                // Another process has found it empty.
                Err(Errno::NOENT) if attempts < ATTEMPTS => {}
                Err(errno) => return Err(fail(errno)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_move_frees_the_name_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let item = directory.path().join("item");
        let mut trash = Trash::of(directory.path()).unwrap();
        for _ in 0..3 {
            fs::create_dir(&item).unwrap();
            fs::set_permissions(&item, fs::Permissions::from_mode(0o555)).unwrap();
            let aside = trash.put(OsStr::new("item")).unwrap().unwrap();
            assert!(aside.is_dir() && !item.exists());
        }
        assert_eq!(trash.put(OsStr::new("item")).unwrap(), None);
        assert!(trash.empty(&|| true).is_ok());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_trash_that_others_remove_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut trash = Trash::of(directory.path()).unwrap();
        for _ in 0..3 {
            fs::write(directory.path().join("item"), "").unwrap();
            assert!(trash.put(OsStr::new("item")).unwrap().is_some());
            // As another process empties it.
            Trash::of(directory.path())
                .unwrap()
                .empty(&|| true)
                .unwrap();
            assert!(!directory.path().join(TRASH).exists());
        }
    }

    #[test]
    fn several_move_and_empty_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..400).map(|number| format!("item-{number}")).collect();
        for name in &names {
            fs::create_dir_all(directory.path().join(name).join("inner")).unwrap();
        }
        std::thread::scope(|scope| {
            for part in names.chunks(100) {
                scope.spawn(|| {
                    for names in part.chunks(10) {
                        let mut trash = Trash::of(directory.path()).unwrap();
                        for name in names {
                            assert!(trash.put(OsStr::new(name)).unwrap().is_some());
                        }
                        trash.empty(&|| true).unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
