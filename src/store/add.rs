// SPDX-License-Identifier: GPL-3.0-or-later
//! Adding what no build makes: texts (derivations among them), source trees, downloaded files.
//!
//! Paths follow from contents, so adding what is there already costs one look into the database.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::canonical;
use super::content_address;
use super::error::StoreError;
use super::hash_thread::hash_in_thread;
use super::open::Store;
use super::path_locks::PathLocks;
use super::registration::UNPACKED;
use super::scan;
use crate::diagnostics::FileError;
use crate::formats::base32;
use crate::formats::content_hash::{ContentHasher, HashAlgorithm};
use crate::formats::hash::Sha256Digest;
use crate::formats::nar::Tree;
use crate::formats::path_info::PathInfo;
use crate::formats::store_path::{
    FixedOutputMethod, StorePath, check_name, fixed_output_path, source_path, text_path,
};

/// A text to be added.
#[derive(Debug, Clone)]
pub struct Text<'a> {
    /// The item's name.
    pub name: &'a str,
    /// Its content.
    pub content: &'a [u8],
    /// The store items the content names. They are valid already, or added together with it.
    pub references: &'a BTreeSet<StorePath>,
}

/// The largest archive that is read into memory, in bytes.
const IN_MEMORY: u64 = 4 << 20;

/// How many texts are locked at a time.
const TEXTS_AT_ONCE: usize = 128;

impl Store {
    /// Adds a text, such as a builder's script or a derivation, and makes it a temporary root. Returns its path.
    pub fn add_text(
        &self,
        name: &str,
        content: &[u8],
        references: &BTreeSet<StorePath>,
    ) -> Result<StorePath, StoreError> {
        let text = Text {
            name,
            content,
            references,
        };
        let path = text_path(&self.directories().store_dir, name, content, references)?;
        self.add_texts(&[text])?;
        Ok(path)
    }

    /// Adds texts that may refer to each other, a whole graph of derivations in one go, and makes them temporary roots.
    /// Returns their paths in the same order.
    pub fn add_texts(&self, texts: &[Text<'_>]) -> Result<Vec<StorePath>, StoreError> {
        let store_dir = &self.directories().store_dir;
        let paths = texts
            .iter()
            .map(|text| text_path(store_dir, text.name, text.content, text.references))
            .collect::<Result<Vec<_>, _>>()?;
        let by_path: BTreeMap<&StorePath, &Text<'_>> = paths.iter().zip(texts).collect();
        let add = |path: &StorePath, staged: &Path| {
            let text = by_path[path];
            write_file(staged, text.content)?;
            canonical::canonicalise(staged)?;
            let archive = Tree::file(text.content).to_nar()?;
            Ok(PathInfo {
                path: path.clone(),
                nar_sha256: Sha256Digest::of(&archive),
                nar_size: archive.len() as u64,
                references: text.references.clone(),
                deriver: None,
                registration_time: 0,
            })
        };
        // Every missing path takes a lock, and so a descriptor, until it is valid; so not all of them at once.
        for paths in references_first(&by_path).chunks(TEXTS_AT_ONCE) {
            self.add_missing(paths.iter().copied(), add)?;
        }
        Ok(paths)
    }

    /// Adds a source tree under `name`, and makes it a temporary root. Returns its path.
    pub fn add_tree(&self, name: &str, tree: &Tree) -> Result<StorePath, StoreError> {
        let archive = tree.to_nar()?;
        let nar_sha256 = Sha256Digest::of(&archive);
        let store_dir = &self.directories().store_dir;
        let path = source_path(store_dir, name, &nar_sha256, &BTreeSet::new())?;
        self.add_nar(path, nar_sha256, &archive)
    }

    /// Adds `archive`, a NAR with the digest `nar_sha256` and without references, as `path`.
    fn add_nar(
        &self,
        path: StorePath,
        nar_sha256: Sha256Digest,
        archive: &[u8],
    ) -> Result<StorePath, StoreError> {
        self.add_missing([&path], |path, staged| {
            canonical::restore(&mut &*archive, staged)?;
            Ok(PathInfo {
                path: path.clone(),
                nar_sha256,
                nar_size: archive.len() as u64,
                references: BTreeSet::new(),
                deriver: None,
                registration_time: 0,
            })
        })?;
        Ok(path)
    }

    /// Adds the tree of `archive`, a NAR, as a fixed output called `name` by `method` and `algorithm`, and makes it a
    /// temporary root: what guix-daemon's `add-to-store` does. Reads `archive` once, to its end, in little memory.
    /// Returns the path.
    ///
    /// By [`FixedOutputMethod::Flat`] the archive holds one regular file, whose content is hashed; it is added as a
    /// file that cannot be executed.
    ///
    /// # Errors
    /// Where `archive` is not a NAR, or not of a regular file though the method is flat, or the store cannot be
    /// written.
    pub fn add_archive(
        &self,
        name: &str,
        method: FixedOutputMethod,
        algorithm: HashAlgorithm,
        archive: &mut dyn Read,
    ) -> Result<StorePath, StoreError> {
        self.writable()?;
        check_name(name)?;
        let mut start = Vec::new();
        if method == FixedOutputMethod::Recursive {
            let mut beginning = (&mut *archive).take(IN_MEMORY + 1);
            // Where that fails, reading on fails likewise.
            let read = beginning.read_to_end(&mut start);
            if read.is_ok() && start.len() as u64 <= IN_MEMORY {
                return self.add_archive_in_memory(name, algorithm, &start);
            }
        }
        let archive = &mut start.as_slice().chain(archive);
        // The path is known only when all was read, so the tree is unpacked under the lock of one that nothing else
        // has.
        let unique = unique_path()?;
        let locks = self.lock([&unique])?;
        let added = self.add_unpacked(&locks, &unique, name, (method, algorithm), archive);
        let removed = self.remove_staging_directory(&locks, &unique);
        added.and_then(|path| removed.map(|()| path))
    }

    /// Does what [`add_archive`](Self::add_archive) does with an archive that is in memory. Its path is known before
    /// anything is written: clients add the same files again and again.
    fn add_archive_in_memory(
        &self,
        name: &str,
        algorithm: HashAlgorithm,
        archive: &[u8],
    ) -> Result<StorePath, StoreError> {
        let nar_sha256 = Sha256Digest::of(archive);
        let hash = match algorithm {
            HashAlgorithm::Sha256 => nar_sha256.into(),
            other => {
                let mut hasher = other.hasher();
                hasher.update(archive);
                hasher.finish()
            }
        };
        let store_dir = &self.directories().store_dir;
        let path = fixed_output_path(store_dir, name, FixedOutputMethod::Recursive, hash)?;
        self.add_nar(path, nar_sha256, archive)
    }

    /// Does what [`add_archive`](Self::add_archive) does, in the staging directory of the locked path `unique`.
    fn add_unpacked(
        &self,
        locks: &PathLocks,
        unique: &StorePath,
        name: &str,
        (method, algorithm): (FixedOutputMethod, HashAlgorithm),
        archive: &mut dyn Read,
    ) -> Result<StorePath, StoreError> {
        let none = BTreeSet::new();
        let staged = self.staging_directory(locks, unique)?.join(UNPACKED);
        // The digest of the archive is found in any case.
        let other = method == FixedOutputMethod::Recursive && algorithm != HashAlgorithm::Sha256;
        let mut hashing = HashingReader {
            inner: archive,
            hasher: other.then(|| algorithm.hasher()),
        };
        let (restored, mut nar_sha256, mut nar_size) =
            hash_in_thread(&mut hashing, |archive| canonical::restore(archive, &staged))
                .map_err(FileError::in_store("hash", &staged))?;
        restored?;
        let examine = FileError::in_store("examine", &staged);
        let found = staged.symlink_metadata().map_err(examine)?;
        let hash = match method {
            FixedOutputMethod::Recursive => match hashing.hasher {
                Some(hasher) => hasher.finish(),
                None => nar_sha256.into(),
            },
            FixedOutputMethod::Flat if !found.is_file() => {
                return Err(StoreError::NotAFile {
                    name: name.to_owned(),
                });
            }
            FixedOutputMethod::Flat => {
                if found.permissions().mode() & 0o111 != 0 {
                    let plain = std::fs::Permissions::from_mode(0o444);
                    std::fs::set_permissions(&staged, plain)
                        .map_err(FileError::in_store("change the mode of", &staged))?;
                    let scanned = scan::hash_and_scan(&staged, &none)?;
                    (nar_sha256, nar_size) = (scanned.nar_sha256, scanned.nar_size);
                }
                content_address::hash_of(&staged, method, algorithm)
                    .map_err(FileError::in_store("hash", &staged))?
            }
        };
        let path = fixed_output_path(&self.directories().store_dir, name, method, hash)?;
        let _locks = self.lock([&path])?;
        if !self.is_valid(&path)? {
            let info = PathInfo {
                path: path.clone(),
                nar_sha256,
                nar_size,
                references: none,
                deriver: None,
                registration_time: 0,
            };
            self.move_in(&[(&staged, &info)])?;
        }
        Ok(path)
    }

    /// Makes those of `paths` that are not valid with `make`, which is given a path and the free place to make it at,
    /// and registers them together.
    fn add_missing<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p StorePath> + Clone,
        make: impl Fn(&StorePath, &Path) -> Result<PathInfo, StoreError>,
    ) -> Result<(), StoreError> {
        self.add_temporary_roots(paths.clone())?;
        let valid = self.valid_among(paths.clone())?;
        let missing: Vec<&StorePath> = paths
            .into_iter()
            .filter(|path| !valid.contains(*path))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let locks = self.lock(missing.iter().copied())?;
        // Another process may have added some meanwhile.
        let valid = self.valid_among(missing.iter().copied())?;
        let missing = missing.into_iter().filter(|path| !valid.contains(*path));
        let missing: Vec<&StorePath> = missing.collect();
        let added = self.add_locked(&locks, &missing, make);
        if added.is_err() {
            for path in missing {
                // The error is the thing to tell; leftovers are the next comer's to remove.
                let _ = self.remove_staging_directory(&locks, path);
            }
        }
        added
    }

    /// Does what [`add_missing`](Self::add_missing) does with `paths` that are locked and not valid. Where it fails, it
    /// leaves behind what it has made.
    fn add_locked(
        &self,
        locks: &PathLocks,
        paths: &[&StorePath],
        make: impl Fn(&StorePath, &Path) -> Result<PathInfo, StoreError>,
    ) -> Result<(), StoreError> {
        let mut made = Vec::with_capacity(paths.len());
        for path in paths {
            let staged = self.staging_place(locks, path)?;
            let info = make(path, &staged)?;
            made.push((staged, info));
        }
        let made: Vec<(&Path, &PathInfo)> = made
            .iter()
            .map(|(staged, info)| (staged.as_path(), info))
            .collect();
        self.move_in(&made)
    }
}

/// A store path that nothing else has.
fn unique_path() -> Result<StorePath, StoreError> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let text = format!("{}-{number}-{:?}", std::process::id(), started);
    let hash = base32::encode(&Sha256Digest::of(text).0[..20]);
    Ok(StorePath::from_base_name(&format!("{hash}-add"))?)
}

/// Hashes what is read, where that is wanted.
struct HashingReader<'a> {
    inner: &'a mut dyn Read,
    hasher: Option<ContentHasher>,
}

impl Read for HashingReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        Ok(count)
    }
}

/// The paths of `texts`, each after those of them that it refers to.
fn references_first<'a>(texts: &BTreeMap<&'a StorePath, &'a Text<'_>>) -> Vec<&'a StorePath> {
    let mut order = Vec::with_capacity(texts.len());
    let mut seen = BTreeSet::new();
    // What is being visited, each with the references that are still to be. A text cannot refer to itself, nor in a
    // circle: its path depends on its references'.
    let mut stack = Vec::new();
    for (path, text) in texts {
        if seen.insert(*path) {
            stack.push((*path, text.references.iter()));
        }
        while let Some((path, references)) = stack.last_mut() {
            match references.next() {
                Some(reference) => {
                    if let Some((path, text)) = texts.get_key_value(reference)
                        && seen.insert(*path)
                    {
                        stack.push((*path, text.references.iter()));
                    }
                }
                None => {
                    order.push(*path);
                    stack.pop();
                }
            }
        }
    }
    order
}

fn write_file(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let written = File::create_new(path).and_then(|mut file| file.write_all(content));
    Ok(written.map_err(FileError::in_store("write", path))?)
}
