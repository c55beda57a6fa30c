// SPDX-License-Identifier: GPL-3.0-or-later
//! A store of a test's own, and a key.

use std::path::{Path, PathBuf};

use bootstrap::events::cancellation::Cancellation;
use bootstrap::exchange::stream::{export, in_order};
use bootstrap::exchange::substitute::InstallationWatch;
use bootstrap::formats::keys::{PublicKey, SecretKey};
use bootstrap::formats::store_path::{StoreDir, StorePath};
use bootstrap::store::directories::Directories;
use bootstrap::store::{StagedOutput, Store};
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

    /// Makes `output` valid.
    pub fn register(&self, output: StagedOutput) -> StorePath {
        let path = output.path.clone();
        let locks = self.store.lock([&path]).unwrap();
        let prepared = self.store.prepare_outputs(&locks, vec![output], &|| true);
        prepared.unwrap().commit().unwrap();
        path
    }

    /// An export of `path` and what it refers to, signed with `key`.
    pub fn export(&self, path: &StorePath, key: Option<&SecretKey>) -> Vec<u8> {
        let closure = self.store.closure([path]).unwrap();
        let items = in_order(&self.store, &closure).unwrap();
        let mut bytes = Vec::new();
        export(&self.store, &items, key, &mut bytes, "memory").unwrap();
        bytes
    }

    /// A new secret key, and its public half.
    pub fn key(&self) -> (SecretKey, PublicKey) {
        let file = self.path("key");
        let public = SecretKey::generate("test-1", &file).unwrap();
        (SecretKey::read(&file).unwrap(), public)
    }
}

/// Watches an installation that is never stopped, and ignores its news.
pub fn unobserved() -> InstallationWatch<'static> {
    InstallationWatch {
        cancellation: Cancellation::new(),
        news: &|_| {},
    }
}
