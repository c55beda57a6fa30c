// SPDX-License-Identifier: GPL-3.0-or-later
//! Walking the recipes: every build after its inputs, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use toml::Spanned;

use super::{Node, NodeKind, Plan, PlanError, PlanItem, PlanSettings, Problems, road};
use crate::formats::derivation::{Derivation, DerivationSet, instantiate};
use crate::formats::nar::Tree;
use crate::formats::store_path::{StorePath, source_path, text_path};
use crate::road::recipe::{
    Address, InputName, Recipe, RecipeError, RecipeErrors, RecipeProblem, RecipeText, Recipes,
    Stage, choose_variant,
};
use crate::road::seed::Seed;

/// The name of the store item that holds the phases.
const PHASES_NAME: &str = "gnu-build-system-phases";

/// The plan in the making.
pub(super) struct Planner<'a> {
    recipes: &'a Recipes,
    pub(super) seed: &'a Seed,
    pub(super) roots: &'a BTreeMap<String, Seed>,
    pub(super) settings: &'a PlanSettings,
    /// The store path of the phases.
    pub(super) phases: StorePath,
    pub(super) nodes: Vec<Node>,
    pub(super) by_label: BTreeMap<String, usize>,
    pub(super) by_derivation: BTreeMap<StorePath, usize>,
    items: BTreeMap<StorePath, PlanItem>,
    instantiated: DerivationSet,
    /// For each node, the nodes it is built from that no output after stage0 may refer to: stage0's and seeds.
    pub(super) forbidden: Vec<BTreeSet<usize>>,
    pub(super) problems: Problems,
    unplanned: BTreeMap<Address, RecipeError>,
    /// The builds that led to the current one.
    path: Vec<Address>,
}

/// What became of an address.
enum Visit {
    /// Its node.
    Node(usize),
    /// Nothing: the reason has been noted.
    Failed,
}

/// An input before it is planned: its name, and where the recipe says it, if it does.
pub(super) type WantedInput = (InputName, Option<std::ops::Range<usize>>);

impl<'a> Planner<'a> {
    pub(super) fn new(
        recipes: &'a Recipes,
        seed: &'a Seed,
        roots: &'a BTreeMap<String, Seed>,
        settings: &'a PlanSettings,
    ) -> Result<Self, PlanError> {
        // A shell reads them; the binary's copy has no modes.
        let files = recipes.phases().iter();
        let files = files.map(|(name, contents)| (name.into(), Tree::file(contents.clone())));
        let tree = Tree::Directory(files.collect());
        let (phases, item) = tree_item(settings, PHASES_NAME, tree)?;
        Ok(Self {
            recipes,
            seed,
            roots,
            settings,
            items: BTreeMap::from([(phases.clone(), item)]),
            phases,
            nodes: Vec::new(),
            by_label: BTreeMap::new(),
            by_derivation: BTreeMap::new(),
            instantiated: DerivationSet::default(),
            forbidden: Vec::new(),
            problems: Vec::new(),
            unplanned: BTreeMap::new(),
            path: Vec::new(),
        })
    }

    /// Plans every build, in the order of the bootstrap.
    pub(super) fn run(mut self) -> Result<Plan, PlanError> {
        let recipes = self.recipes;
        let mut builds: Vec<(Stage, &Recipe)> = recipes
            .iter()
            .flat_map(|recipe| recipe.stages.keys().map(move |stage| (*stage, recipe)))
            .collect();
        builds.sort_by_key(|(stage, recipe)| {
            (road::rank(*stage, &recipe.name), recipe.name.as_str())
        });
        for (stage, recipe) in builds {
            self.visit(&Address::new(stage, &recipe.name), None)?;
        }
        if let Some(errors) = RecipeErrors::new(self.problems) {
            return Err(errors.into());
        }
        let unplanned = self.unplanned.into_iter().filter_map(|(address, error)| {
            Some((super::label(&address), RecipeErrors::new(vec![error])?))
        });
        Ok(Plan {
            nodes: self.nodes,
            by_label: self.by_label,
            items: self.items,
            unplanned: unplanned.collect(),
        })
    }

    /// Plans the build called `address`, which `wanted_by` names at a place in its recipe or needs implicitly.
    fn visit(
        &mut self,
        address: &Address,
        wanted_by: Option<(&Recipe, std::ops::Range<usize>)>,
    ) -> Result<Visit, PlanError> {
        if let Some(index) = self.by_label.get(&super::label(address)) {
            return Ok(Visit::Node(*index));
        }
        if self.unplanned.contains_key(address) {
            return Ok(Visit::Failed);
        }
        if let Some(start) = self.path.iter().position(|before| before == address) {
            let chain: Vec<String> = self.path[start..]
                .iter()
                .chain([address])
                .map(Address::to_string)
                .collect();
            if let Some((recipe, span)) = wanted_by {
                self.report(recipe, span, RecipeProblem::Cycle { chain });
            }
            return Ok(Visit::Failed);
        }
        let Some((recipe, stage)) = self.recipes.find(address) else {
            // Of a named input this was reported when the recipes were read.
            return Ok(Visit::Failed);
        };
        self.path.push(address.clone());
        let visit = self.build_with_inputs(recipe, stage, address);
        self.path.pop();
        visit
    }

    /// The inputs of a build in the order in which they are searched: the recipe's own first, as in Guix.
    fn wanted(
        recipe: &Recipe,
        stage: Stage,
        settings: &crate::road::recipe::RecipeBuildSettings,
    ) -> Vec<WantedInput> {
        let named = |input: &Spanned<InputName>| (input.get_ref().clone(), Some(input.span()));
        let mut wanted: Vec<WantedInput> = Vec::new();
        if let Some(inputs) = &settings.replace_inputs {
            wanted.extend(inputs.iter().map(named));
        } else {
            let implicit = road::implicit_inputs(stage, &recipe.name);
            let extra = settings.inputs.iter().map(named);
            // Naming an implicit input again does not move it.
            wanted.extend(extra.filter(|(input, _)| !implicit.contains(input)));
            wanted.extend(implicit.into_iter().map(|input| (input, None)));
        }
        let mut seen = BTreeSet::new();
        wanted.retain(|(input, _)| seen.insert(input.clone()));
        wanted
    }

    fn build_with_inputs(
        &mut self,
        recipe: &Recipe,
        stage: Stage,
        address: &Address,
    ) -> Result<Visit, PlanError> {
        let settings = recipe.settings(stage, self.settings.system);
        let wanted = Self::wanted(recipe, stage, &settings);
        let shell = road::shell(stage);
        let mut inputs = Vec::new();
        let mut complete = true;
        let shell_wanted = shell.iter().map(|shell| (shell.clone(), None));
        for (place, (input, span)) in wanted.iter().cloned().chain(shell_wanted).enumerate() {
            let span = span.unwrap_or_else(|| recipe.name_span.clone());
            let visit = self.visit(&input.address, Some((recipe, span.clone())))?;
            let node = match visit {
                Visit::Node(index) if self.nodes[index].outputs.contains(&input.output) => index,
                Visit::Node(_) => {
                    self.missing(recipe, address, &input, span);
                    complete = false;
                    continue;
                }
                Visit::Failed => {
                    self.missing(recipe, address, &input, span);
                    complete = false;
                    continue;
                }
            };
            inputs.push((place < wanted.len(), input, node));
        }
        if !complete {
            return Ok(Visit::Failed);
        }
        let shell = match shell {
            Some(_) => inputs.last().map(|(_, _, node)| *node),
            None => None,
        };
        let inputs = inputs
            .into_iter()
            .filter(|(searched, _, _)| *searched)
            .map(|(_, input, node)| (input, node))
            .collect();
        let index = self.build(recipe, stage, address, &settings, inputs, shell)?;
        Ok(index.map_or(Visit::Failed, Visit::Node))
    }

    /// Notes that `address` cannot be planned for want of `input`: by itself, since others can do without it.
    fn missing(
        &mut self,
        recipe: &Recipe,
        address: &Address,
        input: &InputName,
        span: std::ops::Range<usize>,
    ) {
        // What is behind it is the better message.
        let error = self.unplanned.get(&input.address).cloned();
        let error = error.unwrap_or_else(|| RecipeError {
            problem: RecipeProblem::MissingImplicitInput {
                package: address.to_string(),
                input: input.to_string(),
            },
            file: Arc::clone(&recipe.file),
            span,
        });
        self.unplanned.entry(address.clone()).or_insert(error);
    }

    /// Notes a mistake in `recipe`.
    pub(super) fn report(
        &mut self,
        recipe: &Recipe,
        span: std::ops::Range<usize>,
        problem: RecipeProblem,
    ) {
        self.problems.push(RecipeError {
            problem,
            file: Arc::clone(&recipe.file),
            span,
        });
    }

    /// Notes that no seed is called as `root` says.
    pub(super) fn unknown_root(&mut self, recipe: &Recipe, root: &Spanned<String>) {
        let problem = RecipeProblem::UnknownRoot {
            root: root.get_ref().clone(),
            known: self.roots.keys().cloned().collect(),
        };
        self.report(recipe, root.span(), problem);
    }

    /// The node of a build's source, where it has one. `Err(())` inside where that has been reported as wrong.
    pub(super) fn main_source(
        &mut self,
        recipe: &Recipe,
    ) -> Result<Result<Option<usize>, ()>, PlanError> {
        match choose_variant(&recipe.sources, &self.seed.preferred_variant) {
            None => Ok(Ok(None)),
            Some(source) => Ok(self.source(recipe, source)?.map(Some).ok_or(())),
        }
    }

    /// The path of the folder of `stage0/` that is the source of `recipe`, which becomes part of the plan. `None`
    /// where there is no such folder, which is reported.
    pub(super) fn local_source(
        &mut self,
        recipe: &Recipe,
        folder: &Spanned<String>,
    ) -> Result<Option<StorePath>, PlanError> {
        let Some(tree) = self.recipes.local_sources().get(folder.get_ref()) else {
            let folder_name = folder.get_ref().clone();
            let problem = RecipeProblem::UnknownLocalSource {
                folder: folder_name,
            };
            self.report(recipe, folder.span(), problem);
            return Ok(None);
        };
        let name = format!("{}-{}-source", recipe.name, recipe.version);
        let (path, item) = tree_item(self.settings, &name, tree.clone())?;
        self.items.insert(path.clone(), item);
        Ok(Some(path))
    }

    /// The path of a text item with the contents of `text`, which becomes part of the plan.
    pub(super) fn text(&mut self, label: &str, text: &RecipeText) -> Result<StorePath, PlanError> {
        let path = text_path(
            &self.settings.store_dir,
            &text.name,
            &text.contents,
            &BTreeSet::new(),
        )
        .map_err(|error| PlanError::Name {
            label: label.to_owned(),
            error,
        })?;
        self.items
            .entry(path.clone())
            .or_insert_with(|| PlanItem::Text {
                name: text.name.clone(),
                contents: text.contents.clone(),
            });
        Ok(path)
    }

    /// Computes the paths of `derivation`.
    pub(super) fn instantiate(
        &mut self,
        label: &str,
        name: &str,
        derivation: Derivation,
    ) -> Result<(StorePath, Derivation), PlanError> {
        instantiate(
            &self.settings.store_dir,
            name,
            derivation,
            &mut self.instantiated,
        )
        .map_err(|error| PlanError::Instantiate {
            label: label.to_owned(),
            error,
        })
    }

    /// Adds `node`, whose dependencies have been added.
    pub(super) fn add(&mut self, node: Node) -> usize {
        let index = self.nodes.len();
        let mut forbidden = BTreeSet::new();
        for dependency in &node.dependencies {
            forbidden.extend(&self.forbidden[*dependency]);
        }
        if node.stage == Some(Stage::Stage0) || node.kind == NodeKind::Seed {
            forbidden.insert(index);
        }
        self.forbidden.push(forbidden);
        self.by_label.insert(node.label.clone(), index);
        self.by_derivation
            .insert(node.derivation_path.clone(), index);
        self.nodes.push(node);
        index
    }
}

/// The item called `name` that holds `tree`, and its store path.
fn tree_item(
    settings: &PlanSettings,
    name: &str,
    tree: Tree,
) -> Result<(StorePath, PlanItem), PlanError> {
    let sha256 = tree.nar_sha256().map_err(PlanError::Phases)?;
    let path =
        source_path(&settings.store_dir, name, &sha256, &BTreeSet::new()).map_err(|error| {
            PlanError::Name {
                label: name.to_owned(),
                error,
            }
        })?;
    let name = name.to_owned();
    Ok((path, PlanItem::Tree { name, tree }))
}
