// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether the file system of the store keeps times of modification.
//!
//! Some network mounts and FUSE file systems do not. There every item would look as if it had been changed, and setting
//! the time again would not help; so times are not compared.

use std::io;
use std::os::unix::fs::MetadataExt;

use super::canonical::{self, Deviation, MODIFICATION_TIME};
use super::error::CanonicalError;
use super::open::Store;
use crate::formats::store_path::StorePath;

impl Store {
    /// How the metadata of the item `path` differs from canonical metadata. Times count only where the file system
    /// keeps them.
    pub fn deviations(&self, path: &StorePath) -> Result<Vec<Deviation>, CanonicalError> {
        let place = self.directories().physical(path);
        let found = canonical::deviations(&place)?;
        match found.is_empty() || self.keeps_times() {
            true => Ok(found),
            false => canonical::deviations_but_times(&place),
        }
    }

    /// Whether the file system keeps times, tried once with a temporary file in the store directory. Where that cannot
    /// be tried, it is taken to do so.
    fn keeps_times(&self) -> bool {
        *self.keeps_times.get_or_init(|| {
            let store = &self.directories().store;
            let attempt = || -> io::Result<bool> {
                let file = tempfile::NamedTempFile::new_in(store)?;
                canonical::set_time(file.path())?;
                Ok(file.path().metadata()?.mtime() == MODIFICATION_TIME)
            };
            let keeps = attempt().unwrap_or(true);
            if !keeps {
                tracing::warn!(
                    "the file system of {} does not keep times of modification: they are not compared",
                    store.display()
                );
            }
            keeps
        })
    }
}
