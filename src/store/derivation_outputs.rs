// SPDX-License-Identifier: GPL-3.0-or-later
//! The outputs of derivations that become valid: their paths must be those that follow from what is built.
//!
//! A user who may add a derivation may have it built. If it could name any output path, the user could put anything at
//! the path of another user's package that is not built yet. guix-daemon checks the same (`checkDerivationOutputs` of
//! its `local-store.cc`). How paths follow: `formats::derivation`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use super::error::StoreError;
use super::open::Store;
use crate::formats::derivation::{Derivation, expected_outputs, hash_modulo_inputs};
use crate::formats::hash::Sha256Digest;
use crate::formats::store_path::StorePath;

/// How many hashes are kept: about 10 MB.
const KEPT: usize = 50_000;

/// A derivation whose inputs are looked at first.
struct Pending {
    path: StorePath,
    derivation: Option<Derivation>,
}

impl Store {
    /// The outputs of the derivation `path`, which is staged as `file`; none for a path that is not a derivation.
    /// `batch` are the items that become valid with it, and where they are staged.
    ///
    /// # Errors
    /// Where it is not a derivation, has other outputs than those that follow from its content, or uses a derivation
    /// that is neither valid nor in `batch`.
    pub(super) fn checked_outputs(
        &self,
        path: &StorePath,
        file: &Path,
        batch: &HashMap<&StorePath, &Path>,
    ) -> Result<BTreeMap<String, StorePath>, StoreError> {
        if !path.is_derivation() {
            return Ok(BTreeMap::new());
        }
        let derivation = self.derivation_in(path, file)?;
        let store_dir = &self.directories().store_dir;
        let name = path.name().strip_suffix(".drv").unwrap_or_default();
        let mut known = self.hashes_modulo.lock();
        if derivation.fixed_output().is_none() {
            self.learn_inputs(path, &derivation, batch, &mut known)?;
        }
        let hash_of = |input: &StorePath| known.get(input).copied();
        let expected =
            expected_outputs(store_dir, name, &derivation, &hash_of).map_err(|error| {
                StoreError::DerivationContent {
                    path: store_dir.display(path),
                    error,
                }
            })?;
        for (output, expected) in &expected {
            let expected_text = store_dir.display(expected);
            let variable = derivation.environment.text(output);
            if derivation.output_path(output) != Some(expected)
                || variable != Some(expected_text.as_str())
            {
                let seen = derivation
                    .output_path(output)
                    .map(|path| store_dir.display(path));
                return Err(StoreError::WrongOutput {
                    path: store_dir.display(path),
                    output: seen.unwrap_or_default(),
                    expected: expected_text,
                });
            }
        }
        Ok(expected)
    }

    /// Adds the hashes of what `derivation`, at `path`, uses to `known`.
    fn learn_inputs(
        &self,
        path: &StorePath,
        derivation: &Derivation,
        batch: &HashMap<&StorePath, &Path>,
        known: &mut HashMap<StorePath, Sha256Digest>,
    ) -> Result<(), StoreError> {
        if known.len() > KEPT {
            known.clear();
        }
        let store_dir = &self.directories().store_dir;
        // Not by recursion: how long a chain of derivations is, its maker decides.
        let pending = |path: &StorePath| Pending {
            path: path.clone(),
            derivation: None,
        };
        let mut open: HashSet<StorePath> = HashSet::from([path.clone()]);
        let mut stack: Vec<Pending> = derivation.input_derivations.keys().map(pending).collect();
        while let Some(top) = stack.last_mut() {
            if known.contains_key(&top.path) {
                stack.pop();
                continue;
            }
            let missing = |input: &StorePath, user: &StorePath| StoreError::InputDerivation {
                path: store_dir.display(user),
                input: store_dir.display(input),
            };
            let Some(read) = &top.derivation else {
                let file = match batch.get(&top.path) {
                    Some(staged) => (*staged).to_owned(),
                    None if self.is_valid(&top.path)? => self.directories().physical(&top.path),
                    None => return Err(missing(&top.path, path)),
                };
                let read = self.derivation_in(&top.path, &file)?;
                let inputs = match read.fixed_output() {
                    // How it is made does not matter.
                    Some(_) => Vec::new(),
                    None => read.input_derivations.keys().map(pending).collect(),
                };
                open.insert(top.path.clone());
                if let Some(circular) = inputs.iter().find(|input| open.contains(&input.path)) {
                    return Err(missing(&circular.path, &top.path));
                }
                top.derivation = Some(read);
                stack.extend(inputs);
                continue;
            };
            let name = top.path.name().strip_suffix(".drv").unwrap_or_default();
            let hash_of = |input: &StorePath| known.get(input).copied();
            let hash = hash_modulo_inputs(store_dir, name, read, &hash_of).map_err(|error| {
                StoreError::DerivationContent {
                    path: store_dir.display(&top.path),
                    error,
                }
            })?;
            open.remove(&top.path);
            known.insert(top.path.clone(), hash);
            stack.pop();
        }
        Ok(())
    }
}
