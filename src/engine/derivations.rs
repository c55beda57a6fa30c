// SPDX-License-Identifier: GPL-3.0-or-later
//! Derivations read from the store, and the graph that they make.
//!
//! A `.drv` file may have been added by another program or user, so it is read with care: it must be valid, a regular
//! file of bounded size, and it is never reached through a link.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;

use super::builtins;
use super::error::EngineError;
use crate::builder::graph::{BuildGraph, BuildJob, WantedOutputs};
use crate::formats::derivation::{Derivation, aterm};
use crate::formats::store_path::{StoreDir, StorePath};
use crate::store::Store;

/// The longest file that is read as a derivation, in bytes. The longest of Guix's are a few hundred kilobytes.
const LONGEST: u64 = 64 << 20;

/// Derivations of the store by path, each with all that it is built from.
#[derive(Debug, Default)]
pub struct StoredDerivations {
    derivations: BTreeMap<StorePath, Stored>,
}

#[derive(Debug)]
struct Stored {
    /// What events and errors call it: the base name of its path.
    label: String,
    derivation: Derivation,
}

impl StoredDerivations {
    /// Reads the derivations `wanted` and all derivations that they are built from. With `missing_only`, what a
    /// derivation is built from is left out where all its outputs are valid.
    ///
    /// # Errors
    /// Where one is not valid or not a derivation.
    pub fn load<'w>(
        store: &Store,
        wanted: impl IntoIterator<Item = &'w StorePath>,
        missing_only: bool,
    ) -> Result<Self, EngineError> {
        let mut loaded = Self::default();
        let mut layer = distinct(wanted);
        loaded.add(store, &layer)?;
        if missing_only {
            layer.retain(|path| !loaded.is_built(store, path));
        }
        // What was left out as built above is followed where something else that is wanted needs it.
        let mut followed: BTreeSet<StorePath> = layer.iter().cloned().collect();
        while !layer.is_empty() {
            let mut next: Vec<StorePath> = layer
                .iter()
                .filter_map(|path| loaded.get(path))
                .flat_map(|derivation| derivation.input_derivations.keys())
                .filter(|input| followed.insert((*input).clone()))
                .cloned()
                .collect();
            next.sort();
            let new: Vec<StorePath> = next
                .iter()
                .filter(|path| loaded.get(path).is_none())
                .cloned()
                .collect();
            loaded.add(store, &new)?;
            layer = next;
        }
        Ok(loaded)
    }

    /// Reads the derivations `wanted`, and none that they are built from.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub(super) fn load_alone<'w>(
        store: &Store,
        wanted: impl IntoIterator<Item = &'w StorePath>,
    ) -> Result<Self, EngineError> {
        let mut loaded = Self::default();
        loaded.add(store, &distinct(wanted))?;
        Ok(loaded)
    }

    /// The derivation at `path`, if it was read.
    pub fn get(&self, path: &StorePath) -> Option<&Derivation> {
        self.derivations.get(path).map(|stored| &stored.derivation)
    }

    /// What `wanted` name as inputs, by derivation.
    pub(super) fn inputs<'d, 'w>(
        &'d self,
        wanted: impl IntoIterator<Item = &'w StorePath>,
    ) -> Vec<WantedOutputs<'d>> {
        let mut inputs: BTreeMap<&StorePath, BTreeSet<&str>> = BTreeMap::new();
        let wanted = wanted.into_iter().filter_map(|path| self.get(path));
        for (path, names) in wanted.flat_map(|derivation| &derivation.input_derivations) {
            let all = inputs.entry(path).or_default();
            all.extend(names.iter().map(String::as_str));
        }
        let inputs = inputs.into_iter().map(|(path, names)| WantedOutputs {
            path,
            names: Some(names),
        });
        inputs.collect()
    }

    /// All that was read, as a graph for the builder. The store is at `store_dir`.
    pub fn graph(&self, store_dir: &StoreDir) -> BuildGraph<'_> {
        let jobs = self.derivations.iter().map(|(path, stored)| BuildJob {
            label: &stored.label,
            path,
            derivation: &stored.derivation,
            size: None,
            typical: None,
            kind: builtins::kind(&stored.derivation.builder),
            root: builtins::root(store_dir, &stored.derivation, |path| self.get(path)),
        });
        jobs.collect()
    }

    fn add(&mut self, store: &Store, paths: &[StorePath]) -> Result<(), EngineError> {
        // First kept, then asked: what is found valid stays so.
        if !store.is_read_only() {
            store.add_temporary_roots(paths)?;
        }
        let valid = store.valid_among(paths)?;
        for path in paths {
            if !valid.contains(path) {
                let path = store.directories().store_dir.display(path);
                return Err(EngineError::NoDerivation { path });
            }
            let stored = Stored {
                label: path.base_name().to_owned(),
                derivation: read(store, path)?,
            };
            self.derivations.insert(path.clone(), stored);
        }
        Ok(())
    }

    /// Whether all outputs of the derivation at `path` are valid. Where the store cannot be asked they are not: the run
    /// that follows reports why.
    fn is_built(&self, store: &Store, path: &StorePath) -> bool {
        let Some(derivation) = self.get(path) else {
            return false;
        };
        let outputs: Option<Vec<&StorePath>> = derivation
            .outputs
            .values()
            .map(|output| output.path.as_ref())
            .collect();
        outputs.is_some_and(|outputs| {
            // What is found valid stays so: what it could be built from is left out.
            let kept =
                store.is_read_only() || store.add_temporary_roots(outputs.iter().copied()).is_ok();
            let valid = store.valid_among(outputs.iter().copied());
            kept && valid.is_ok_and(|valid| valid.len() == outputs.len())
        })
    }
}

/// `paths`, each once.
fn distinct<'p>(paths: impl IntoIterator<Item = &'p StorePath>) -> Vec<StorePath> {
    let paths: BTreeSet<&StorePath> = paths.into_iter().collect();
    paths.into_iter().cloned().collect()
}

/// Reads the derivation at `path`, which is valid.
fn read(store: &Store, path: &StorePath) -> Result<Derivation, EngineError> {
    let directories = store.directories();
    let failed = |problem: String| EngineError::Derivation {
        path: directories.store_dir.display(path),
        problem,
    };
    // A link is not followed, and a pipe does not block.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(directories.physical(path))
        .map_err(|error| failed(error.to_string()))?;
    let length = match file.metadata() {
        Ok(found) if !found.is_file() => return Err(failed("it is not a regular file".to_owned())),
        Ok(found) => found.len(),
        Err(error) => return Err(failed(error.to_string())),
    };
    if length > LONGEST {
        let problem = format!("expected at most {LONGEST} bytes, saw {length}");
        return Err(failed(problem));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(error.to_string()))?;
    aterm::parse(&directories.store_dir, &bytes).map_err(|error| failed(error.to_string()))
}
