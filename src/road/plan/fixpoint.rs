// SPDX-License-Identifier: GPL-3.0-or-later
//! Each final package once more, with the final packages as its tools instead of stage0's.
//!
//! What a compiler makes of its own source with another compiler's help must not depend on that other compiler: once
//! the final gcc builds gcc, the same must come out, up to its own store path. A derivation of the plan becomes one
//! of the fixpoint by putting the final package in the place of stage0's wherever it names that; a tool that only
//! stage0 has stays.

use std::collections::{BTreeMap, BTreeSet};

use bstr::{BString, ByteSlice};

use super::{Node, NodeKind, Plan, PlanError};
use crate::formats::derivation::{Derivation, DerivationSet, instantiate};
use crate::formats::store_path::StoreDir;
use crate::road::recipe::Stage;

/// What precedes the label of a package in that of its second build.
pub const PREFIX: &str = "fixpoint/";

/// What no output may refer to stays what it was: the packages of stage0 among it are inputs no more.
const KEPT: &str = "disallowedReferences";

impl Plan {
    /// Adds to the plan the second build of each final package, called `fixpoint/NAME`, and gives the indices of both.
    pub fn add_fixpoint(&mut self, store_dir: &StoreDir) -> Result<Vec<(usize, usize)>, PlanError> {
        let mut known = DerivationSet::new();
        for node in &self.nodes {
            known
                .add(store_dir, &node.derivation_path, &node.derivation)
                .map_err(|error| PlanError::Instantiate {
                    label: node.label.clone(),
                    error,
                })?;
        }
        let finals: Vec<usize> = (0..self.nodes.len())
            .filter(|index| self.nodes[*index].stage == Some(Stage::Final))
            .collect();
        let mut pairs = Vec::new();
        for index in finals {
            let node = self.again(store_dir, index, &mut known)?;
            let added = self.nodes.len();
            self.by_label.insert(node.label.clone(), added);
            self.nodes.push(node);
            pairs.push((index, added));
        }
        Ok(pairs)
    }

    /// The node `index` with final tools.
    fn again(
        &self,
        store_dir: &StoreDir,
        index: usize,
        known: &mut DerivationSet,
    ) -> Result<Node, PlanError> {
        let node = &self.nodes[index];
        let mut derivation = node.derivation.clone();
        let mut dependencies = BTreeSet::new();
        let mut replaced = BTreeMap::new();
        for dependency in &node.dependencies {
            let input = &self.nodes[*dependency];
            let used = derivation
                .input_derivations
                .get(&input.derivation_path)
                .cloned()
                .unwrap_or_default();
            let counterpart = input
                .label
                .strip_prefix("stage0/")
                .and_then(|name| self.by_label.get(name))
                .filter(|other| {
                    let has = &self.nodes[**other].derivation.outputs;
                    used.iter().all(|output| has.contains_key(output))
                });
            let Some(counterpart) = counterpart else {
                dependencies.insert(*dependency);
                continue;
            };
            dependencies.insert(*counterpart);
            let other = &self.nodes[*counterpart];
            derivation.input_derivations.remove(&input.derivation_path);
            for output in used {
                let paths = [input, other].map(|node| {
                    let path = node.derivation.output_path(&output);
                    path.map(|path| store_dir.display(path)).unwrap_or_default()
                });
                let [old, new] = paths;
                replaced.insert(old, new);
                derivation
                    .input_derivations
                    .entry(other.derivation_path.clone())
                    .or_default()
                    .insert(output);
            }
        }
        replace(&mut derivation, &replaced);
        let label = format!("{PREFIX}{}", node.label);
        let (derivation_path, derivation) = instantiate(store_dir, &node.name, derivation, known)
            .map_err(|error| PlanError::Instantiate {
            label: label.clone(),
            error,
        })?;
        Ok(Node {
            label,
            kind: NodeKind::Build,
            recipe: node.recipe.clone(),
            // It belongs to no stage.
            stage: None,
            name: node.name.clone(),
            derivation_path,
            derivation,
            size: None,
            typical: node.typical,
            outputs: node.outputs.clone(),
            inputs: node.inputs.clone(),
            dependencies,
        })
    }
}

/// Puts new paths in the place of old ones, but not where old ones are forbidden.
fn replace(derivation: &mut Derivation, paths: &BTreeMap<String, String>) {
    let replaced = |bytes: &BString| {
        let mut bytes = bytes.clone();
        for (old, new) in paths {
            if bytes.contains_str(old) {
                bytes = bytes.replace(old, new).into();
            }
        }
        bytes
    };
    for (name, value) in &mut derivation.environment {
        if name != KEPT {
            *value = replaced(value);
        }
    }
    derivation.builder = replaced(&derivation.builder);
    for argument in &mut derivation.arguments {
        *argument = replaced(argument);
    }
}
