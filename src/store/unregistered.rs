// SPDX-License-Identifier: GPL-3.0-or-later
//! Items at their place in the store that are not registered: what another program has made for us, or has left there.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{PathLocks, Store, StoreError};
use crate::diagnostics::FileError;
use crate::formats::store_path::StorePath;

impl Store {
    /// Removes what is at the place of `path`, which is locked and not valid.
    ///
    /// # Errors
    /// Where the lock is missing, or something cannot be removed.
    pub fn remove_unregistered(
        &self,
        locks: &PathLocks,
        path: &StorePath,
    ) -> Result<(), StoreError> {
        self.require_lock(locks, path)?;
        if !self.is_valid(path)? {
            self.remove_item(OsStr::new(path.base_name()))?;
        }
        Ok(())
    }

    /// Moves `path`, which is locked and not valid, into `directory` of the same file system. False where it is not
    /// there.
    ///
    /// # Errors
    /// Where the lock is missing, or it cannot be moved.
    pub fn take_unregistered(
        &self,
        locks: &PathLocks,
        path: &StorePath,
        directory: &Path,
    ) -> Result<bool, StoreError> {
        self.require_lock(locks, path)?;
        let place = self.directories().physical(path);
        let fail = |source| FileError::in_store("move", &place)(source);
        let found = match place.symlink_metadata() {
            Ok(found) => found,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(fail(error).into()),
        };
        if found.is_dir() {
            // Only its owner's write permission lets a directory get another parent, which is an entry in it.
            let writable = fs::Permissions::from_mode(found.permissions().mode() | 0o200);
            fs::set_permissions(&place, writable).map_err(fail)?;
        }
        fs::rename(&place, directory.join(path.base_name())).map_err(fail)?;
        Ok(true)
    }
}
