// SPDX-License-Identifier: GPL-3.0-or-later
//! How store items become valid: staged beside their place, moved there, recorded.
//!
//! Whatever is made for the path `P` is first made at `P.chroot` in the store directory, or anywhere on the same file
//! system, under the lock on `P`. Then, for all outputs of one build together: permissions and times are made
//! canonical, content is hashed and scanned for references, leftovers at the final places are moved aside, everything
//! is renamed into place, and all of it is recorded in one transaction. Renamed but not recorded is a leftover like any
//! other.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use super::canonical;
use super::content_address;
use super::error::StoreError;
use super::names::STAGING_SUFFIX;
use super::open::Store;
use super::path_locks::PathLocks;
use super::regular_file;
use super::scan::{self, Scanning};
use super::updates::ItemRegistration;
use crate::diagnostics::FileError;
use crate::formats::derivation::{Derivation, aterm};
use crate::formats::path_info::PathInfo;
use crate::formats::store_path::StorePath;

/// What an item is called in its staging directory while it is unpacked.
pub(super) const UNPACKED: &str = "item";

/// An output that a build has left somewhere.
#[derive(Debug, Clone)]
pub struct StagedOutput {
    /// Where it is: on the file system of the store directory, and no process can write to it any more.
    pub staged: PathBuf,
    /// Which store item it is to become.
    pub path: StorePath,
    /// The store items it may refer to: the closure of the build's inputs, and the build's outputs.
    pub candidates: BTreeSet<StorePath>,
    /// The derivation it was built from.
    pub deriver: Option<StorePath>,
}

/// Outputs that are canonical, hashed and scanned, but not in the store yet: the place for checks of what they refer
/// to.
///
/// Dropped, they stay where they were staged.
#[derive(Debug)]
pub struct PreparedOutputs<'a> {
    store: &'a Store,
    /// Without a place for those that were valid before.
    outputs: Vec<(Option<PathBuf>, PathInfo)>,
}

impl PreparedOutputs<'_> {
    /// Where the new outputs are until they are committed, and what would be registered.
    pub fn staged(&self) -> impl Iterator<Item = (&Path, &PathInfo)> {
        let outputs = self.outputs.iter();
        outputs.filter_map(|(staged, info)| Some((staged.as_deref()?, info)))
    }

    /// What would be registered, in the order the outputs were given in. An output that was valid before is here as it
    /// is in the store.
    pub fn infos(&self) -> impl Iterator<Item = &PathInfo> {
        self.outputs.iter().map(|(_, info)| info)
    }

    /// Moves the outputs into the store and makes them valid, all or none of them.
    pub fn commit(self) -> Result<Vec<PathInfo>, StoreError> {
        self.store.commit(vec![self])
    }
}

impl Store {
    /// Makes paths valid, in one transaction, that are whole and canonical in their places already. They may refer to
    /// each other in any order. Of a derivation, the outputs are recorded too.
    ///
    /// What is valid already gets the new information. The caller holds the locks.
    pub fn register(&self, infos: &[PathInfo]) -> Result<(), StoreError> {
        self.writable()?;
        let registrations = infos
            .iter()
            .map(|info| {
                let outputs = self.outputs_of(&info.path, &self.directories().physical(&info.path));
                Ok(ItemRegistration {
                    info,
                    outputs: outputs?,
                })
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        Ok(self.database.register(&registrations, Self::now())?)
    }

    /// Reads the valid derivation `path`.
    ///
    /// # Errors
    /// Where it cannot be read, or is not a derivation.
    pub fn derivation(&self, path: &StorePath) -> Result<Derivation, StoreError> {
        self.derivation_in(path, &self.directories().physical(path))
    }

    /// Reads the derivation `path`, which is in `file`.
    pub(super) fn derivation_in(
        &self,
        path: &StorePath,
        file: &Path,
    ) -> Result<Derivation, StoreError> {
        let bytes = regular_file::read(file, regular_file::DERIVATION_MAX)
            .map_err(FileError::in_store("read the derivation", file))?;
        let derivation = aterm::parse(&self.directories().store_dir, &bytes);
        derivation.map_err(|error| StoreError::Derivation {
            path: self.directories().store_dir.display(path),
            error,
        })
    }

    /// The outputs of the derivation `path` that is in `file`; none for a path that is not a derivation.
    fn outputs_of(
        &self,
        path: &StorePath,
        file: &Path,
    ) -> Result<BTreeMap<String, StorePath>, StoreError> {
        if !path.is_derivation() {
            return Ok(BTreeMap::new());
        }
        let derivation = self.derivation_in(path, file)?;
        let outputs = derivation.outputs.into_iter();
        Ok(outputs
            .filter_map(|(name, output)| Some((name, output.path?)))
            .collect())
    }

    /// Makes an empty directory in the store directory for building or adding `path`, whose lock is held. What a killed
    /// process left there is removed. The collector spares it while the lock is held or `path` is a temporary root.
    ///
    /// Only its owner may enter it: a build may make programs setuid, and until they are canonical no other user should
    /// reach them. What is mounted from inside it is reached all the same.
    pub fn staging_directory(
        &self,
        locks: &PathLocks,
        path: &StorePath,
    ) -> Result<PathBuf, StoreError> {
        let directory = self.staging_place(locks, path)?;
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(FileError::in_store("create", &directory))?;
        Ok(directory)
    }

    /// Removes what is left of the staging directory of `path`, whose lock is held.
    pub fn remove_staging_directory(
        &self,
        locks: &PathLocks,
        path: &StorePath,
    ) -> Result<(), StoreError> {
        self.staging_place(locks, path).map(drop)
    }

    /// The free place where `path`, whose lock is held, is made.
    pub(super) fn staging_place(
        &self,
        locks: &PathLocks,
        path: &StorePath,
    ) -> Result<PathBuf, StoreError> {
        self.require_lock(locks, path)?;
        let mut name = OsString::from(path.base_name());
        name.push(STAGING_SUFFIX);
        self.remove_item(&name)?;
        Ok(self.directories().store.join(name))
    }

    /// Makes staged outputs of one build canonical, hashes them and scans them for references. `locks` covers their
    /// paths.
    ///
    /// An output that is valid already is left as it is. What was staged for it may share files with the others.
    ///
    /// # Errors
    /// What is not there or cannot be in a store, and [`NarError::Stopped`](crate::formats::nar::NarError::Stopped) as
    /// soon as `goes_on` says no.
    pub fn prepare_outputs<'s>(
        &'s self,
        locks: &'s PathLocks,
        outputs: Vec<StagedOutput>,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<PreparedOutputs<'s>, StoreError> {
        self.writable()?;
        let mut prepared = Vec::with_capacity(outputs.len());
        let mut new = Vec::with_capacity(outputs.len());
        let mut passed_over = Vec::new();
        for (position, output) in outputs.into_iter().enumerate() {
            self.require_lock(locks, &output.path)?;
            if let Some(info) = self.path_info(&output.path)? {
                prepared.push((position, None, info));
                passed_over.push(output.staged);
                continue;
            }
            if let Err(source) = output.staged.symlink_metadata() {
                return Err(match source.kind() {
                    io::ErrorKind::NotFound => StoreError::MissingOutput {
                        path: self.directories().store_dir.display(&output.path),
                        staged: output.staged,
                    },
                    _ => FileError::in_store("examine", &output.staged)(source).into(),
                });
            }
            new.push((position, output));
        }
        // All at once: outputs of one build may share files.
        let places: Vec<&Path> = new
            .iter()
            .map(|(_, output)| output.staged.as_path())
            .collect();
        let beside: Vec<&Path> = passed_over.iter().map(PathBuf::as_path).collect();
        canonical::canonicalise_all(&places, &beside)?;
        for (position, output) in new {
            let scanned = scan::hash_and_scan_while(&output.staged, &output.candidates, goes_on)?;
            let info = PathInfo {
                path: output.path,
                nar_sha256: scanned.nar_sha256,
                nar_size: scanned.nar_size,
                references: scanned.references,
                deriver: output.deriver,
                registration_time: Self::now(),
            };
            prepared.push((position, Some(output.staged), info));
        }
        prepared.sort_by_key(|(position, ..)| *position);
        Ok(PreparedOutputs {
            store: self,
            outputs: prepared
                .into_iter()
                .map(|(_, staged, info)| (staged, info))
                .collect(),
        })
    }

    /// Unpacks `archive` into the staging directory of `path`, whose lock is held, makes it canonical, and hashes and
    /// scans it on the way: an archive has but one tree, and a tree one archive. `candidates` are what it may refer to;
    /// it refers to those that occur in it, or to all where its path follows from them.
    ///
    /// Fails where the archive is none; then nothing is left of it.
    pub fn unpack_output<'s>(
        &'s self,
        locks: &PathLocks,
        path: &StorePath,
        archive: &mut dyn Read,
        candidates: &BTreeSet<StorePath>,
        deriver: Option<StorePath>,
    ) -> Result<PreparedOutputs<'s>, StoreError> {
        self.writable()?;
        let staged = self.staging_directory(locks, path)?.join(UNPACKED);
        let mut archive = Scanning::new(archive, candidates);
        if let Err(error) = canonical::restore(&mut archive, &staged) {
            // The error is the thing to tell; leftovers are the next comer's to remove.
            let _ = self.remove_staging_directory(locks, path);
            return Err(error);
        }
        let scanned = archive.scanned();
        let mut references = scanned.references;
        let mut declared = candidates.clone();
        declared.remove(path);
        // A client may add a text with references that do not occur in it: its path proves them.
        if references != declared
            && content_address::proves(
                &self.directories().store_dir,
                path,
                &staged,
                &scanned.nar_sha256,
                &declared,
                &[],
            )
            .map_err(FileError::in_store("hash", &staged))?
        {
            references = declared;
        }
        let info = PathInfo {
            path: path.clone(),
            nar_sha256: scanned.nar_sha256,
            nar_size: scanned.nar_size,
            references,
            deriver,
            registration_time: Self::now(),
        };
        Ok(PreparedOutputs {
            store: self,
            outputs: vec![(Some(staged), info)],
        })
    }

    /// Moves everything that was prepared in this store into it and makes it valid, all or none of it, in one
    /// transaction: its parts may refer to each other in any order.
    pub fn commit(&self, prepared: Vec<PreparedOutputs<'_>>) -> Result<Vec<PathInfo>, StoreError> {
        let outputs: Vec<_> = prepared.into_iter().flat_map(|one| one.outputs).collect();
        let new: Vec<(&Path, &PathInfo)> = outputs
            .iter()
            .filter_map(|(staged, info)| Some((staged.as_deref()?, info)))
            .collect();
        self.move_in(&new)?;
        Ok(outputs.into_iter().map(|(_, info)| info).collect())
    }

    /// Renames canonical items into place and registers them. The caller holds their locks and has seen that none is
    /// valid.
    pub(super) fn move_in(&self, items: &[(&Path, &PathInfo)]) -> Result<(), StoreError> {
        // Whatever can go wrong should do so before anything is moved.
        let mut registrations = Vec::with_capacity(items.len());
        let batch = items
            .iter()
            .map(|(staged, info)| (&info.path, *staged))
            .collect();
        for (staged, info) in items {
            registrations.push(ItemRegistration {
                info,
                outputs: self.checked_outputs(&info.path, staged, &batch)?,
            });
        }
        self.database.check_registrations(&registrations)?;
        for (staged, info) in items {
            self.remove_item(OsStr::new(info.path.base_name()))?;
            self.rename_in(staged, &info.path)?;
            if self.options.deduplicate {
                self.optimise_item(&self.directories().physical(&info.path), &info.nar_sha256)?;
            }
        }
        Ok(self.database.register(&registrations, Self::now())?)
    }

    pub(super) fn rename_in(&self, staged: &Path, path: &StorePath) -> Result<(), StoreError> {
        let target = self.directories().physical(path);
        let fail = |source: io::Error| match source.kind() {
            io::ErrorKind::CrossesDevices => StoreError::OtherFileSystem {
                staged: staged.to_owned(),
                store: self.directories().store.clone(),
            },
            _ => FileError::in_store("move into place", &target)(source).into(),
        };
        let found = staged.symlink_metadata().map_err(fail)?;
        // Only its owner's write permission lets a directory get another parent, which is an entry in it.
        let moves = found.is_dir() && staged.parent() != target.parent();
        if moves {
            let writable = fs::Permissions::from_mode(found.permissions().mode() | 0o200);
            fs::set_permissions(staged, writable).map_err(fail)?;
        }
        fs::rename(staged, &target).map_err(fail)?;
        if moves {
            fs::set_permissions(&target, found.permissions()).map_err(fail)?;
            // Some file systems count the change of the parent's entry as one of the content.
            let canonical = Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            };
            let times = Timestamps {
                last_access: canonical,
                last_modification: canonical,
            };
            rustix::fs::utimensat(CWD, &target, &times, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| fail(errno.into()))?;
        }
        Ok(())
    }

    pub(super) fn require_lock(
        &self,
        locks: &PathLocks,
        path: &StorePath,
    ) -> Result<(), StoreError> {
        if locks.covers(path) {
            Ok(())
        } else {
            Err(StoreError::NotLocked {
                path: self.directories().store_dir.display(path),
            })
        }
    }
}
