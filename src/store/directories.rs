// SPDX-License-Identifier: GPL-3.0-or-later
//! Where things are on disk: store, state, logs and cache, all overridable, all relocatable under one root.

use std::io;
use std::path::{Path, PathBuf};

use crate::formats::store_path::{StoreDir, StorePath};
use crate::free_space::available;

/// The bytes that an unprivileged user may still write on the file system of `place`.
///
/// # Errors
/// Where the system does not tell, such as of a place that is not there.
pub fn free_space(place: &Path) -> io::Result<u64> {
    let system = rustix::fs::statvfs(place)?;
    Ok(available(&system))
}

/// Whether the file system of `place` can hold no further file. Some count none.
pub(super) fn has_no_inodes(place: &Path) -> bool {
    rustix::fs::statvfs(place).is_ok_and(|system| system.f_files > 0 && system.f_favail == 0)
}

/// Whether `place`, or the directory it is in, is on a file system that is mounted read-only.
pub(super) fn is_read_only(place: &Path) -> bool {
    let places = [Some(place), place.parent()];
    let found = places
        .into_iter()
        .flatten()
        .find_map(|place| rustix::fs::statvfs(place).ok());
    found.is_some_and(|found| found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// The directories that one run of the tool works in.
///
/// The *logical* store directory (`/gnu/store`) is what store paths are computed from and what builds
/// see. With `--root DIR` the *physical* one is `DIR/gnu/store`: the two differ, so code that touches
/// files asks for physical paths here and never joins logical ones.
#[derive(Debug, Clone)]
pub struct Directories {
    /// The logical store directory.
    pub store_dir: StoreDir,
    /// The physical store directory.
    pub store: PathBuf,
    /// Database, garbage-collector roots and locks; `/var/guix` by default.
    pub state: PathBuf,
    /// Build logs; `/var/log/guix` by default.
    pub log: PathBuf,
    /// Downloads and private package indices; `/var/cache/bootstrap` by default.
    pub cache: PathBuf,
}

impl Directories {
    /// The default directories for `store_dir`, placed under `root` where one is given.
    pub fn new(store_dir: StoreDir, root: Option<&Path>) -> Self {
        let place = |path: &str| match root {
            Some(root) => root.join(path.trim_start_matches('/')),
            None => PathBuf::from(path),
        };
        Self {
            store: place(store_dir.as_str()),
            state: place("/var/guix"),
            log: place("/var/log/guix"),
            cache: place("/var/cache/bootstrap"),
            store_dir,
        }
    }

    /// Where `path` is on disk.
    pub fn physical(&self, path: &StorePath) -> PathBuf {
        self.store.join(path.base_name())
    }
}
