// SPDX-License-Identifier: GPL-3.0-or-later
//! The plan: recipes, a seed and a system become a graph of derivations.
//!
//! Planning is a pure function: it opens no file and starts no process, takes a few milliseconds for the whole
//! bootstrap, and gives the same derivations in the same order whenever the recipes are the same. Which inputs a build
//! has without asking is in [`road`]; what is in its environment, in the module `environment`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::formats::derivation::{Derivation, InstantiateError};
use crate::formats::nar::{NarError, Tree};
use crate::formats::store_path::{StoreDir, StorePath, StorePathError};
use crate::formats::system::System;
use crate::formats::visible::visible;
use crate::road::recipe::{Address, InputName, RecipeError, RecipeErrors, Recipes, Stage, closest};
use crate::road::seed::Seed;

mod environment;
pub mod fixpoint;
mod planner;
mod quote;
pub mod road;
mod sources;
#[cfg(test)]
pub(crate) mod tests;

/// What the plan depends on besides recipes and seeds.
#[derive(Debug, Clone)]
pub struct PlanSettings {
    /// The system to build for.
    pub system: System,
    /// The store directory that paths are computed for.
    pub store_dir: StoreDir,
}

/// What a node of the graph is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeKind {
    /// Bytes known by their hash: `builtin:download`.
    Download,
    /// A seed: `builtin:unpack-seed`.
    Seed,
    /// A source completed in a larger root.
    Regenerate,
    /// A package in one of its stages.
    Build,
}

/// One derivation of the graph, and where it comes from.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name for users: `stage0/sed`, `sed`, `source/sed-4.9.tar.xz`, `regenerate/make`,
    /// `seed/debian-13-amd64`. No two nodes share one.
    pub label: String,
    /// What it is.
    pub kind: NodeKind,
    /// The recipe that it comes from, where it comes from one.
    pub recipe: Option<String>,
    /// The stage, for packages.
    pub stage: Option<Stage>,
    /// The name of the derivation: that of its output `out`.
    pub name: String,
    /// Where the derivation itself goes.
    pub derivation_path: StorePath,
    /// The derivation, with the paths of its outputs.
    pub derivation: Derivation,
    /// For downloads: the size in bytes, where it is known. The derivation need not say it.
    pub size: Option<u64>,
    /// For packages: how long building takes by its recipe, where that says. The derivation does not.
    pub typical: Option<Duration>,
    /// The outputs in the order in which the recipe names them.
    pub outputs: Vec<String>,
    /// The inputs that the build searches, in their order. For packages only.
    pub inputs: Vec<(InputName, StorePath)>,
    /// The nodes that are its input derivations, as indices into [`Plan::nodes`]; all smaller than its own.
    pub dependencies: BTreeSet<usize>,
}

impl Node {
    /// The outputs and their paths, in the recipe's order.
    pub fn output_paths(&self) -> impl Iterator<Item = (&str, &StorePath)> {
        self.outputs.iter().filter_map(|output| {
            let path = self.derivation.output_path(output)?;
            Some((output.as_str(), path))
        })
    }
}

/// A store item whose contents the plan itself knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanItem {
    /// A file that nothing refers from: a patch, a script.
    Text {
        /// The name after the hash.
        name: String,
        /// The bytes.
        contents: Vec<u8>,
    },
    /// A folder.
    Tree {
        /// The name after the hash.
        name: String,
        /// What is in it.
        tree: Tree,
    },
}

/// The graph: every node comes after those it depends on.
#[derive(Debug)]
pub struct Plan {
    nodes: Vec<Node>,
    by_label: BTreeMap<String, usize>,
    items: BTreeMap<StorePath, PlanItem>,
    unplanned: BTreeMap<String, RecipeErrors>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PlanError {
    /// The recipes contradict each other.
    #[error(transparent)]
    Recipes(#[from] RecipeErrors),
    /// A derivation could not be written down.
    #[error("{label}: {error}")]
    Instantiate {
        /// The node's label.
        label: String,
        /// What is wrong with it.
        error: InstantiateError,
    },
    /// The phases cannot be archived.
    #[error("the phases: {0}")]
    Phases(NarError),
    /// The name of a store item is not allowed.
    #[error("{label}: {error}")]
    Name {
        /// The node's label.
        label: String,
        /// What is wrong with it.
        error: StorePathError,
    },
}

/// Why a package is not in the plan.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum FindError {
    /// No recipe builds it.
    #[error("unknown package `{}`{hint}", visible(name))]
    #[diagnostic(help("`bootstrap list` shows all packages"))]
    Unknown {
        /// What was asked for.
        name: String,
        /// A similar name.
        hint: String,
    },
    /// No recipe builds an input of the bootstrap itself.
    #[error("no recipe builds `{0}`, which is part of the bootstrap")]
    #[diagnostic(help(
        "with --recipes DIR, DIR holds the recipes of all packages, changed or not"
    ))]
    NoRecipe(Address),
    /// It needs an implicit input that no recipe builds.
    #[error(transparent)]
    Unplanned(RecipeErrors),
}

/// Plans everything that `recipes` build for `settings.system`, from `seed`. `roots` are the larger roots that
/// sources may be regenerated in, by name.
pub fn plan(
    recipes: &Recipes,
    seed: &Seed,
    roots: &BTreeMap<String, Seed>,
    settings: &PlanSettings,
) -> Result<Plan, PlanError> {
    planner::Planner::new(recipes, seed, roots, settings)?.run()
}

impl Plan {
    /// The nodes, dependencies first.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node called `label`.
    pub fn get(&self, label: &str) -> Option<&Node> {
        self.by_label.get(label).map(|index| &self.nodes[*index])
    }

    /// The index of the package with the address `name`: `sed`, or `stage0/sed`.
    pub fn find(&self, name: &str) -> Result<usize, FindError> {
        if let Some(index) = self.by_label.get(name) {
            return Ok(*index);
        }
        if let Some(errors) = self.unplanned.get(name) {
            return Err(FindError::Unplanned(errors.clone()));
        }
        // The address of an output, where a package is wanted.
        let package = name.split_once(':').map(|(package, _)| package);
        if let Some(package) = package.filter(|package| self.by_label.contains_key(*package)) {
            return Err(FindError::Unknown {
                name: name.to_owned(),
                hint: format!(", which is an output: name its package, `{package}`"),
            });
        }
        let labels: Vec<&str> = self.packages().map(|node| node.label.as_str()).collect();
        Err(FindError::Unknown {
            name: name.to_owned(),
            hint: match closest(name, &labels) {
                Some(similar) => format!(", did you mean `{similar}`?"),
                None => String::new(),
            },
        })
    }

    /// The nodes that are packages, in the order of the bootstrap.
    pub fn packages(&self) -> impl Iterator<Item = &Node> {
        let mut packages: Vec<&Node> = self
            .nodes
            .iter()
            .filter(|node| node.stage.is_some())
            .collect();
        packages.sort_by_key(|node| {
            let recipe = node.recipe.as_deref().unwrap_or_default();
            (node.stage.map(|stage| road::rank(stage, recipe)), recipe)
        });
        packages.into_iter()
    }

    /// Packages that could not be planned for want of an implicit input, and why.
    pub fn unplanned(&self) -> &BTreeMap<String, RecipeErrors> {
        &self.unplanned
    }

    /// The contents of the store items that builds refer to and that are neither downloaded nor built.
    pub fn items(&self) -> &BTreeMap<StorePath, PlanItem> {
        &self.items
    }

    /// `targets` and everything they need, as indices in the order of the nodes.
    pub fn closure(&self, targets: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
        let mut closure: BTreeSet<usize> = targets.into_iter().collect();
        let mut waiting: Vec<usize> = closure.iter().copied().collect();
        while let Some(index) = waiting.pop() {
            for dependency in &self.nodes[index].dependencies {
                if closure.insert(*dependency) {
                    waiting.push(*dependency);
                }
            }
        }
        closure
    }

    /// `targets`, and every package that needs one of them, directly or through others.
    pub fn dependents(&self, targets: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
        let mut dependents: BTreeSet<usize> = targets.into_iter().collect();
        // Dependencies come first, so one pass finds all.
        for (index, node) in self.nodes.iter().enumerate() {
            let needs = node.dependencies.iter().any(|one| dependents.contains(one));
            if needs {
                dependents.insert(index);
            }
        }
        dependents.retain(|index| self.nodes[*index].stage.is_some());
        dependents
    }

    /// The targets of `bootstrap all`; packages without a recipe are an error.
    pub fn everything(&self) -> Result<Vec<usize>, FindError> {
        let mut targets = Vec::new();
        for input in road::everything() {
            let target = self.find(&input.address.to_string());
            let target = target.map_err(|error| match error {
                FindError::Unknown { .. } => FindError::NoRecipe(input.address),
                unplanned => unplanned,
            })?;
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        Ok(targets)
    }
}

/// The address of a package's node.
pub(crate) fn label(address: &Address) -> String {
    address.to_string()
}

/// Errors in recipes that planning has found.
type Problems = Vec<RecipeError>;
