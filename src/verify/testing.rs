// SPDX-License-Identifier: GPL-3.0-or-later
//! A store in a temporary directory, for the tests of this module.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::formats::nar::Tree;
use crate::formats::store_path::{StoreDir, StorePath};
use crate::store::directories::Directories;
use crate::store::remove::remove_tree;
use crate::store::{Access, OpenOptions, StagedOutput, Store};

pub struct VerifyTestStore {
    pub store: Store,
    pub root: PathBuf,
}

impl Drop for VerifyTestStore {
    fn drop(&mut self) {
        let _ = remove_tree(&self.root);
    }
}

pub fn path(letter: char, name: &str) -> StorePath {
    StorePath::from_base_name(&format!("{}-{name}", letter.to_string().repeat(32))).unwrap()
}

impl VerifyTestStore {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap().keep();
        let store = Store::open(Self::directories(&root)).unwrap();
        Self { store, root }
    }

    pub fn directories(root: &Path) -> Directories {
        Directories::new(StoreDir::new("/gnu/store").unwrap(), Some(root))
    }

    pub fn reader(&self) -> Store {
        let options = OpenOptions {
            access: Access::ReadOnly,
            ..OpenOptions::default()
        };
        Store::open_with(Self::directories(&self.root), options).unwrap()
    }

    /// A valid item that holds `tree`.
    pub fn item(&self, path: &StorePath, tree: &Tree) -> PathBuf {
        let staged = self
            .store
            .directories()
            .store
            .join(format!("{}.new", path.base_name()));
        crate::store::nar::restore_tree(tree, &staged).unwrap();
        let output = StagedOutput {
            staged,
            path: path.clone(),
            candidates: BTreeSet::from([path.clone()]),
            deriver: None,
        };
        self.store.register_outputs(vec![output]).unwrap();
        self.store.directories().physical(path)
    }
}

/// Makes `path` writable, and what it is in.
pub fn unlock(path: &Path) {
    for path in [path, path.parent().unwrap()] {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o200)).unwrap();
    }
}
