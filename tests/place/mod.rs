// SPDX-License-Identifier: GPL-3.0-or-later
//! A store of a test's own, and a key.

use std::path::{Path, PathBuf};

use bootstrap::formats::keys::{PublicKey, SecretKey};
use bootstrap::formats::store_path::StoreDir;
use bootstrap::store::Store;
use bootstrap::store::directories::Directories;
use tempfile::TempDir;

pub struct Place {
    directory: TempDir,
    pub store: Store,
}

impl Place {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store_dir = StoreDir::new("/gnu/store").unwrap();
        let directories = Directories::new(store_dir, Some(directory.path()));
        let store = Store::open(directories).unwrap();
        Self { directory, store }
    }

    /// A place for the test's own files.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A new secret key, and its public half.
    pub fn key(&self) -> (SecretKey, PublicKey) {
        let file = self.path("key");
        let public = SecretKey::generate("test-1", &file).unwrap();
        (SecretKey::read(&file).unwrap(), public)
    }
}
