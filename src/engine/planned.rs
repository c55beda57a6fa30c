// SPDX-License-Identifier: GPL-3.0-or-later
//! The plan of a session: recipes and seeds made into derivations, and how to find one's way in it.

use std::collections::{BTreeMap, BTreeSet};

use super::builtins;
use super::error::EngineError;
use super::seeds::ChosenSeeds;
use super::session::Session;
use super::shell_syntax;
use super::wanted::stored_item;
use crate::builder::graph::{BuildGraph, BuildJob};
use crate::formats::derivation::Derivation;
use crate::formats::store_path::{StoreDir, StorePath};
use crate::road::plan::{self, Node, Plan, PlanItem};
use crate::road::recipe::{self, InputName, RecipeSource, Recipes, Stage};
use crate::store::{Store, StoreError};

/// Recipes and seeds, and the plan they make.
#[derive(Debug)]
pub struct Planned {
    /// The recipes.
    pub recipes: Recipes,
    /// The seed, and the roots that sources are regenerated in.
    pub seeds: ChosenSeeds,
    /// The plan.
    pub plan: Plan,
}

/// A node of a plan that a user named, and the output they named with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanTarget {
    /// The index of the node.
    pub node: usize,
    /// The output; `None` is all of them.
    pub output: Option<String>,
}

impl PlanTarget {
    /// All outputs of `node`.
    pub fn all(node: usize) -> Self {
        Self { node, output: None }
    }

    /// The outputs, `out` first, with their paths.
    pub fn outputs<'p>(&self, plan: &'p Plan) -> Vec<(&'p str, &'p StorePath)> {
        let outputs = plan.nodes()[self.node].output_paths();
        let wanted = |name: &str| self.output.as_deref().is_none_or(|output| output == name);
        let mut outputs: Vec<_> = outputs.filter(|(name, _)| wanted(name)).collect();
        // Stable: the others stay in the recipe's order.
        outputs.sort_by_key(|(name, _)| *name != "out");
        outputs
    }
}

impl Session {
    /// The recipes.
    ///
    /// # Errors
    /// Where they cannot be read or are wrong.
    pub fn recipes(&self) -> Result<Recipes, EngineError> {
        let recipes = recipe::load(&self.options().recipes)?;
        if let RecipeSource::Directory(folder) = &self.options().recipes {
            shell_syntax::check(&recipes, folder).map_err(EngineError::Recipes)?;
        }
        Ok(recipes)
    }

    /// The plan.
    ///
    /// # Errors
    /// Where recipes or seeds are wrong, or contradict each other.
    pub fn plan(&self) -> Result<Planned, EngineError> {
        let recipes = self.recipes()?;
        let seeds = self.choose_seeds(&recipes)?;
        let settings = plan::PlanSettings {
            system: self.options().system,
            store_dir: self.directories().store_dir.clone(),
        };
        let plan = plan::plan(&recipes, &seeds.seed, &seeds.roots, &settings)?;
        Ok(Planned {
            recipes,
            seeds,
            plan,
        })
    }
}

impl Planned {
    /// The package called `name`: `sed` or `stage0/sed`.
    ///
    /// # Errors
    /// Where the plan has none of that name.
    pub fn package(&self, name: &str) -> Result<(&Node, Stage), EngineError> {
        let node = &self.plan.nodes()[self.plan.find(name)?];
        match node.stage {
            Some(stage) => Ok((node, stage)),
            None => Err(EngineError::NotAPackage(name.to_owned())),
        }
    }

    /// The node, and output, that a user calls `name`: `sed`, `gcc:lib`, `stage0/sed`, `source/sed-4.9.tar.xz`.
    ///
    /// # Errors
    /// Where the plan has none of that name.
    pub fn target(&self, name: &str) -> Result<PlanTarget, EngineError> {
        target(&self.plan, name)
    }

    /// Why others cannot make what is planned; `None` where they can.
    pub fn impurity(&self) -> Option<String> {
        self.seeds.seed.impurity()
    }
}

/// As [`Planned::target`].
pub(super) fn target(plan: &Plan, name: &str) -> Result<PlanTarget, EngineError> {
    // File names of sources may hold a colon, so a whole label comes first.
    let whole = plan.find(name);
    let Some((address, output)) = name.rsplit_once(':').filter(|_| whole.is_err()) else {
        return Ok(PlanTarget::all(whole?));
    };
    let node = plan.find(address)?;
    let known = &plan.nodes()[node].outputs;
    if !known.iter().any(|known| known == output) {
        return Err(EngineError::NoOutput {
            derivation: address.to_owned(),
            output: output.to_owned(),
            known: known.join(", "),
        });
    }
    Ok(PlanTarget {
        node,
        output: Some(output.to_owned()),
    })
}

/// The targets called `names`, each once.
///
/// # Errors
/// Where the plan does not have one of them.
pub fn targets(plan: &Plan, names: &[String]) -> Result<Vec<PlanTarget>, EngineError> {
    let mut targets = Vec::new();
    for name in names {
        let target = target(plan, name)?;
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    Ok(targets)
}

/// The nodes of the targets called `names`, each once.
///
/// # Errors
/// Where the plan does not have one of them.
pub fn nodes(plan: &Plan, names: &[String]) -> Result<Vec<usize>, EngineError> {
    let mut nodes = Vec::new();
    for target in targets(plan, names)? {
        if !nodes.contains(&target.node) {
            nodes.push(target.node);
        }
    }
    Ok(nodes)
}

/// The outputs `wanted`, such as `gcc:lib`, with the packages and paths. All must be valid in `store`.
///
/// # Errors
/// Where the plan does not have one of them, or one is not valid.
pub fn valid_inputs(
    session: &Session,
    planned: &Planned,
    store: &Store,
    wanted: Vec<InputName>,
) -> Result<Vec<(InputName, StorePath)>, EngineError> {
    let mut inputs = Vec::new();
    for input in wanted {
        let (node, _) = planned.package(&input.address.to_string())?;
        let path = node.derivation.output_path(&input.output);
        let path = path.ok_or_else(|| EngineError::NoOutput {
            derivation: input.address.to_string(),
            output: input.output.clone(),
            known: node.outputs.join(", "),
        })?;
        inputs.push((input, path.clone()));
    }
    let valid = store.valid_among(inputs.iter().map(|(_, path)| path))?;
    match inputs.iter().find(|(_, path)| !valid.contains(path)) {
        Some((input, path)) => Err(EngineError::NotBuilt {
            package: input.address.to_string(),
            path: session.shown(path),
        }),
        None => Ok(inputs),
    }
}

/// The outputs of the packages called `names`, or of everything; a name that begins with `/` is the path of any other
/// item. All must be valid in `store`.
///
/// # Errors
/// Where the plan does not have one of them, a path is not of this store, or one is not valid.
pub fn valid_outputs(
    session: &Session,
    planned: &Planned,
    store: &Store,
    names: &[String],
) -> Result<BTreeSet<StorePath>, EngineError> {
    let plan = &planned.plan;
    let (items, packages): (Vec<String>, Vec<String>) = names
        .iter()
        .cloned()
        .partition(|name| name.starts_with('/'));
    let wanted = match names {
        [] => plan
            .everything()?
            .into_iter()
            .map(PlanTarget::all)
            .collect(),
        _ => targets(plan, &packages)?,
    };
    let mut paths: BTreeMap<StorePath, Option<String>> = BTreeMap::new();
    for item in items {
        paths.insert(stored_item(session.directories(), &item)?, None);
    }
    for target in &wanted {
        let label = &plan.nodes()[target.node].label;
        let outputs = target.outputs(plan).into_iter();
        paths.extend(outputs.map(|(_, path)| (path.clone(), Some(label.clone()))));
    }
    let valid = store.valid_among(paths.keys())?;
    let missing = paths.iter().find(|(path, _)| !valid.contains(*path));
    match missing.map(|(path, package)| (session.shown(path), package)) {
        Some((path, Some(package))) => Err(EngineError::NotBuilt {
            package: package.clone(),
            path,
        }),
        Some((path, None)) => Err(EngineError::NotInStore { path }),
        None => Ok(paths.into_keys().collect()),
    }
}

/// What [`valid_outputs`] gives, and all that it refers to.
///
/// # Errors
/// As for [`valid_outputs`].
pub fn valid_closure(
    session: &Session,
    planned: &Planned,
    store: &Store,
    names: &[String],
) -> Result<BTreeSet<StorePath>, EngineError> {
    let outputs = valid_outputs(session, planned, store, names)?;
    Ok(store.closure(outputs.iter())?)
}

/// The outputs of `nodes` that are valid in `store`.
///
/// # Errors
/// Where the store cannot be read.
pub fn outputs_in_store<'n>(
    store: &Store,
    nodes: impl IntoIterator<Item = &'n Node>,
) -> Result<BTreeSet<StorePath>, EngineError> {
    let outputs: Vec<&StorePath> = nodes
        .into_iter()
        .flat_map(|node| node.output_paths().map(|(_, path)| path))
        .collect();
    Ok(store.valid_among(outputs)?)
}

/// The derivations of `plan`, as a graph for the builder. The store is at `store_dir`.
pub fn graph<'p>(plan: &'p Plan, store_dir: &StoreDir) -> BuildGraph<'p> {
    let derivations: BTreeMap<&StorePath, &Derivation> = plan
        .nodes()
        .iter()
        .map(|node| (&node.derivation_path, &node.derivation))
        .collect();
    let nodes = plan.nodes().iter();
    nodes
        .map(|node| BuildJob {
            label: &node.label,
            path: &node.derivation_path,
            derivation: &node.derivation,
            size: node.size,
            typical: node.typical,
            kind: builtins::kind(&node.derivation.builder),
            root: builtins::root(store_dir, &node.derivation, |path| {
                derivations.get(path).copied()
            }),
        })
        .collect()
}

/// The derivations of the nodes `wanted`.
pub fn derivations<'p>(plan: &'p Plan, wanted: &[usize]) -> Vec<&'p StorePath> {
    let paths = wanted
        .iter()
        .map(|index| &plan.nodes()[*index].derivation_path);
    paths.collect()
}

/// Adds the item at `path`, whose contents `plan` knows, to `store`.
///
/// # Errors
/// Where the store cannot be written.
pub(super) fn add_item(store: &Store, plan: &Plan, path: &StorePath) -> Result<(), StoreError> {
    match plan.items().get(path) {
        Some(PlanItem::Text { name, contents }) => {
            store.add_text(name, contents, &Default::default())?;
        }
        Some(PlanItem::Tree { name, tree }) => {
            store.add_tree(name, tree)?;
        }
        // The plan has all sources of its derivations; one that is missing is found out when it is not valid.
        None => {}
    }
    Ok(())
}
