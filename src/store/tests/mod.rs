// SPDX-License-Identifier: GPL-3.0-or-later
//! Tests of the store as a whole, on stores in temporary directories.

mod additions;
mod collection;
mod deduplication;
mod derivations;
mod opening;
mod processes;
mod queries;
mod registrations;
mod roots;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::formats::hash::Sha256Digest;
use crate::formats::store_path::{StoreDir, StorePath};
use crate::store::directories::Directories;

/// A store in a directory of its own, which goes with it.
struct TestStore {
    store: Store,
    directory: TestDirectory,
}

/// A temporary directory that goes even where what is in it cannot be written.
struct TestDirectory(tempfile::TempDir);

impl TestDirectory {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for TestDirectory {
    fn drop(&mut self) {
        let _ = remove::remove_tree(self.path());
    }
}

impl std::ops::Deref for TestStore {
    type Target = Store;
    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Store {
    fn root_link_of(&self, name: &str) -> std::path::PathBuf {
        self.directories()
            .state
            .join("gcroots/bootstrap")
            .join(name)
    }

    /// Makes staged outputs valid that need no checks.
    pub(crate) fn register_outputs(
        &self,
        outputs: Vec<StagedOutput>,
    ) -> Result<Vec<PathInfo>, StoreError> {
        let paths: Vec<StorePath> = outputs.iter().map(|output| output.path.clone()).collect();
        let locks = self.lock(&paths)?;
        self.prepare_outputs(&locks, outputs, &|| true)?.commit()
    }
}

impl TestStore {
    fn new() -> Self {
        let directory = TestDirectory::new();
        let store = Store::open(directories(directory.path())).unwrap();
        Self { store, directory }
    }

    /// The physical store directory.
    fn place(&self) -> &Path {
        &self.store.directories().store
    }

    /// Another handle on the same store, with little lock_policy.
    fn again(&self) -> Store {
        Store::open_with(directories(self.directory.path()), hurried()).unwrap()
    }

    /// A valid item with a file in it.
    fn item(&self, letter: char, references: &[&StorePath]) -> StorePath {
        self.item_of(letter, references, None)
    }

    fn item_of(
        &self,
        letter: char,
        references: &[&StorePath],
        deriver: Option<&StorePath>,
    ) -> StorePath {
        self.item_at(path(letter), references, deriver)
    }

    fn item_at(
        &self,
        path: StorePath,
        references: &[&StorePath],
        deriver: Option<&StorePath>,
    ) -> StorePath {
        let place = self.store.directories().physical(&path);
        fs::create_dir(&place).unwrap();
        let content = path.base_name().as_bytes()[0];
        fs::write(place.join("file"), vec![content; 10_000]).unwrap();
        self.register(&[info(&path, references, deriver)]).unwrap();
        path
    }

    /// The names in the store directory.
    fn names(&self) -> BTreeSet<String> {
        fs::read_dir(self.place())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// What a query says when sent to the database by SQLite itself.
    fn query<T: rusqlite::types::FromSql>(&self, query: &str) -> T {
        let file = self.store.directories().state.join("db/db.sqlite");
        rusqlite::Connection::open(file)
            .unwrap()
            .query_row(query, [], |row| row.get(0))
            .unwrap()
    }
}

fn directories(root: &Path) -> Directories {
    Directories::new(StoreDir::new("/gnu/store").unwrap(), Some(root))
}

/// Gives up at once.
fn hurried() -> OpenOptions {
    OpenOptions {
        lock_policy: LockPolicy {
            timeout: Some(Duration::from_millis(300)),
            ..LockPolicy::default()
        },
        database_timeout: Duration::from_millis(300),
        ..OpenOptions::default()
    }
}

fn path(letter: char) -> StorePath {
    StorePath::from_base_name(&format!("{}-{letter}", letter.to_string().repeat(32))).unwrap()
}

/// The path as the database and derivations have it.
fn full(path: &StorePath) -> String {
    format!("/gnu/store/{}", path.base_name())
}

fn derivation_path(letter: char) -> StorePath {
    StorePath::from_base_name(&format!("{}-{letter}.drv", letter.to_string().repeat(32))).unwrap()
}

fn info(path: &StorePath, references: &[&StorePath], deriver: Option<&StorePath>) -> PathInfo {
    PathInfo {
        path: path.clone(),
        nar_sha256: Sha256Digest::of(path.base_name()),
        nar_size: 10_000,
        references: references.iter().map(|path| (*path).clone()).collect(),
        deriver: deriver.cloned(),
        registration_time: 0,
    }
}
