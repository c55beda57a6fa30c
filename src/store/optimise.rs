// SPDX-License-Identifier: GPL-3.0-or-later
//! Deduplication: files with the same content are hard links of one file.
//!
//! As guix-daemon does it (`optimise-store.cc`): `STORE/.links/HASH` is a hard link of the file whose NAR has the
//! SHA-256 `HASH`, in base 32; the NAR counts, so that a program and a plain file with the same bytes stay apart. A
//! file whose hash is there already is replaced, in one rename, by a link of that one. The collector removes links that
//! no item shares any more. Small files and symbolic links are not shared: they would make `.links` large and save
//! little.
//!
//! Metadata of store items is canonical, so files with the same NAR have the same metadata. Everything else of an item
//! stays as it is: the NAR does not change, and a process that has a file open keeps it.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{DirEntryExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use super::canonical;
use super::error::StoreError;
use super::names::{LINKS, TRASH};
use super::open::Store;
use super::scan;
use crate::diagnostics::FileError;
use crate::formats::base32;
use crate::formats::hash::Sha256Digest;

/// The size in bytes from which on files are shared: guix-daemon 1.5's.
pub(super) const SMALLEST_SHARED: u64 = 8192;

/// What deduplication saved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deduplicated {
    /// Files that became links of another file.
    pub files: u64,
    /// Their size, in bytes.
    pub bytes: u64,
}

impl Store {
    /// Makes equal files of all valid items hard links of one file. `goes_on` is asked before each item.
    ///
    /// Each item is a temporary root while that lasts. A file that its owner may write to is suspicious and skipped.
    pub fn optimise(&self, goes_on: &dyn Fn() -> bool) -> Result<Deduplicated, StoreError> {
        self.writable()?;
        let mut links = LinksDirectory::new(&self.directories().store);
        links.look_up()?;
        for path in self.valid_paths()? {
            if !goes_on() {
                break;
            }
            self.add_temporary_roots([&path])?;
            if self.is_valid(&path)? {
                links.share(&self.directories().physical(&path), None)?;
            }
        }
        Ok(links.saved)
    }

    /// Makes files of the canonical tree `place`, an item's whose archive has the digest `nar_sha256`, links of equal
    /// files in the store.
    pub(super) fn optimise_item(
        &self,
        place: &Path,
        nar_sha256: &Sha256Digest,
    ) -> Result<Deduplicated, StoreError> {
        let mut links = LinksDirectory::new(&self.directories().store);
        links.share(place, Some(nar_sha256))?;
        Ok(links.saved)
    }
}

/// The directory of links of a store.
struct LinksDirectory {
    store: PathBuf,
    directory: PathBuf,
    /// The numbers of files that are known to be in it. They all are on the store's file system.
    known: HashSet<u64>,
    saved: Deduplicated,
}

impl LinksDirectory {
    fn new(store: &Path) -> Self {
        Self {
            store: store.to_owned(),
            directory: store.join(LINKS),
            known: HashSet::new(),
            saved: Deduplicated::default(),
        }
    }

    /// Finds out which files are in the directory: worth it for many items, and not for one.
    fn look_up(&mut self) -> Result<(), FileError> {
        let list = || {
            fs::read_dir(&self.directory)?
                .map(|entry| Ok(entry?.ino()))
                .collect()
        };
        let known: io::Result<HashSet<u64>> = list();
        match known {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            known => self.known = known.map_err(FileError::in_store("list", &self.directory))?,
        }
        Ok(())
    }

    /// Shares every file in the tree `root`, whose archive has the digest `nar_sha256` where that is known.
    fn share(&mut self, root: &Path, nar_sha256: Option<&Sha256Digest>) -> Result<(), StoreError> {
        let mut pending = vec![root.to_owned()];
        while let Some(path) = pending.pop() {
            let found = match path.symlink_metadata() {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(FileError::in_store("examine", path)(error).into()),
            };
            if found.is_dir() {
                let list = || {
                    fs::read_dir(&path)?
                        .map(|entry| Ok(entry?.path()))
                        .collect()
                };
                let entries: io::Result<Vec<PathBuf>> = list();
                pending.extend(entries.map_err(FileError::in_store("list", &path))?);
            } else if found.is_file()
                && found.len() >= SMALLEST_SHARED
                && !self.known.contains(&found.ino())
            {
                let inside = path != root;
                let digest = nar_sha256.filter(|_| !inside);
                self.share_file(&path, &found, inside, digest)?;
            }
        }
        Ok(())
    }

    /// Shares the file `path`, which is in a directory of an item where `inside` is true.
    fn share_file(
        &mut self,
        path: &Path,
        found: &Metadata,
        inside: bool,
        nar_sha256: Option<&Sha256Digest>,
    ) -> Result<(), StoreError> {
        if found.mode() & 0o200 != 0 {
            tracing::warn!(path = %path.display(), "not shared: its owner may write to it");
            return Ok(());
        }
        let digest = match nar_sha256 {
            Some(digest) => *digest,
            None => scan::hash_and_scan(path, &Default::default())?.nar_sha256,
        };
        let link = self.directory.join(base32::encode(&digest.0));
        loop {
            match fs::hard_link(path, &link) {
                Ok(()) => {
                    self.known.insert(found.ino());
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.create()? => continue,
                Err(error) => return unless_full("link", path, error),
            }
            let other = match link.symlink_metadata() {
                Ok(other) => other,
                // A collector was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(FileError::in_store("examine", link)(error).into()),
            };
            if other.ino() == found.ino() {
                self.known.insert(found.ino());
                return Ok(());
            }
            if other.len() == found.len() && other.mode() == found.mode() {
                match self.replace(path, &link, found, inside)? {
                    true => return Ok(()),
                    false => continue,
                }
            }
            if remove_link(&link)? {
                tracing::warn!(path = %link.display(), "removed a link to a file that was changed");
            }
        }
    }

    /// Makes the directory; false where it was there.
    fn create(&self) -> Result<bool, FileError> {
        match fs::create_dir(&self.directory) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(FileError::in_store("create", &self.directory)(error)),
        }
    }

    /// Replaces the file `path` by a link to `link`; false where another process has removed that, or the
    /// trash, meanwhile.
    fn replace(
        &mut self,
        path: &Path,
        link: &Path,
        found: &Metadata,
        inside: bool,
    ) -> Result<bool, StoreError> {
        // The collector empties the trash: what a killed process leaves there is gone with that.
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let trash = self.store.join(TRASH);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let new = trash.join(format!("{}-{number}-link", std::process::id()));
        let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let mut made = fs::hard_link(link, &new);
        if made.as_ref().is_err_and(is_gone) {
            match fs::create_dir(&trash) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return unless_full("create", &trash, error).map(|()| true);
                }
                _ => made = fs::hard_link(link, &new),
            }
        }
        match made {
            Ok(()) => {}
            // Another process removes links that no item shares, and an empty trash.
            Err(error) if is_gone(&error) => return Ok(false),
            Err(error) => return unless_full("link", link, error).map(|()| true),
        }
        let directory = path.parent().filter(|_| inside);
        if let Some(directory) = directory {
            // Only root may rename into a read-only directory.
            let writable = fs::Permissions::from_mode(0o755);
            fs::set_permissions(directory, writable)
                .map_err(FileError::in_store("make writable", directory))?;
        }
        let renamed = fs::rename(&new, path);
        if let Some(directory) = directory {
            canonical::canonicalise_directory(directory)?;
        }
        match renamed {
            Ok(()) => {
                self.saved.files += 1;
                self.saved.bytes += found.len();
                Ok(true)
            }
            Err(error) => {
                let _ = fs::remove_file(&new);
                unless_full("replace", path, error).map(|()| true)
            }
        }
    }
}

/// A file that has as many links as it can have, or a directory of links that is full, is no error: the file is not
/// shared.
fn unless_full(action: &'static str, path: &Path, error: io::Error) -> Result<(), StoreError> {
    match Errno::from_io_error(&error) {
        Some(Errno::MLINK | Errno::NOSPC) => Ok(()),
        _ => Err(FileError::in_store(action, path)(error).into()),
    }
}

/// Removes the deduplicated files in the directory `links` that no item shares any more; returns the bytes given back.
/// Other processes may do so at the same time.
pub(super) fn prune_links(links: &Path) -> Result<u64, FileError> {
    let mut freed = 0;
    for entry in fs::read_dir(links).into_iter().flatten().flatten() {
        let path = entry.path();
        if let Ok(found) = path.symlink_metadata() {
            freed += prune_link(&path, &found)?;
        }
    }
    Ok(freed)
}

/// Removes the deduplicated file `link`, which was as in `found`, unless an item shares it.
fn prune_link(link: &Path, found: &Metadata) -> Result<u64, FileError> {
    // As guix-daemon does, small ones too, which older daemons made.
    let useless = found.nlink() == 1 || found.len() < SMALLEST_SHARED;
    if !useless || found.is_dir() || !remove_link(link)? {
        return Ok(0);
    }
    // Otherwise an item has the file still.
    Ok(match found.nlink() {
        1 => found.blocks() * 512,
        _ => 0,
    })
}

/// Removes `link`; false where another process was faster.
fn remove_link(link: &Path) -> Result<bool, FileError> {
    match fs::remove_file(link) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FileError::in_store("remove", link)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_another_collector_has_removed_is_done() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        fs::write(&link, "small").unwrap();
        let found = link.symlink_metadata().unwrap();
        assert!(prune_link(&link, &found).unwrap() > 0);
        assert_eq!(prune_link(&link, &found).unwrap(), 0);
    }

    #[test]
    fn a_link_that_a_collector_removes_is_made_again() {
        let store = tempfile::tempdir().unwrap();
        let file = store.path().join("file");
        fs::write(&file, [b'x'; 8192]).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
        let found = file.symlink_metadata().unwrap();
        let mut links = LinksDirectory::new(store.path());
        links.create().unwrap();
        // It was there when `share_file` looked.
        let link = links.directory.join("removed");
        assert!(!links.replace(&file, &link, &found, false).unwrap());
        links.share_file(&file, &found, false, None).unwrap();
        assert_eq!(file.symlink_metadata().unwrap().nlink(), 2);
        assert_eq!(links.saved, Deduplicated::default());
    }
}
