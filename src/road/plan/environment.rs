// SPDX-License-Identifier: GPL-3.0-or-later
//! One build as a derivation: what its environment holds.
//!
//! The variables are the contract between recipes, the phases and this program. All of them follow from recipes
//! and seed; what the machine adds (cores, the jobserver) is added when the build runs.

use std::collections::BTreeSet;
use std::time::Duration;

use toml::Spanned;

use super::planner::Planner;
use super::quote::{UnknownVariable, quote};
use super::sources::SourceDownload;
use super::{Node, NodeKind, PlanError, road};
use crate::formats::derivation::{Derivation, Output};
use crate::formats::store_path::StorePath;
use crate::road::recipe::{
    Address, InputName, Recipe, RecipeBuildSettings, RecipeProblem, Stage, choose_variant,
};

/// Variables that every build has and flags may use, besides outputs, inputs and extra sources.
const COMMON_VARIABLES: &[&str] = &[
    "NIX_BUILD_TOP",
    "loader",
    "name",
    "phasesDirectory",
    "pname",
    "source",
    "stage",
    "system",
    "triplet",
    "version",
];

/// The derivation of a build in the making.
struct DerivationBuilder<'r> {
    recipe: &'r Recipe,
    label: String,
    stage: Stage,
    derivation: Derivation,
    dependencies: BTreeSet<usize>,
}

impl DerivationBuilder<'_> {
    fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.derivation
            .environment
            .insert(name.into(), value.into());
    }

    /// Sets `name` where there is something to say.
    fn set_filled(&mut self, name: &str, value: String) {
        if !value.is_empty() {
            self.set(name, value);
        }
    }
}

impl Planner<'_> {
    /// The node that builds `recipe` in `stage` from `inputs`, run by the shell of `shell` (a node) or the seed's.
    /// `None` where the recipe is wrong, which has been reported.
    pub(super) fn build(
        &mut self,
        recipe: &Recipe,
        stage: Stage,
        address: &Address,
        settings: &RecipeBuildSettings,
        inputs: Vec<(InputName, usize)>,
        shell: Option<usize>,
    ) -> Result<Option<usize>, PlanError> {
        let label = super::label(address);
        let system = self.settings.system;
        let name = format!("{}-{}", recipe.name, recipe.version);
        let outputs = settings.outputs.iter();
        let mut build = DerivationBuilder {
            recipe,
            label,
            stage,
            derivation: Derivation {
                outputs: outputs
                    .map(|output| (output.clone(), Output::input_addressed()))
                    .collect(),
                system: system.name().to_owned(),
                ..Derivation::default()
            },
            dependencies: BTreeSet::new(),
        };
        build.set("name", name.clone());
        build.set("pname", recipe.name.clone());
        build.set("version", recipe.version.clone());
        build.set("stage", stage.derivation_name());
        build.set("system", system.name());
        build.set("triplet", system.triplet(self.seed.release.as_deref()));
        build.set("loader", system.loader());
        build.set("outputs", settings.outputs.join(" "));
        build.set(
            "tests",
            if runs_tests(stage, settings) {
                "1"
            } else {
                "0"
            },
        );

        if !self.add_sources(&mut build)? {
            return Ok(None);
        }
        let searched = self.add_inputs(&mut build, &inputs);
        if !self.add_flags(&mut build, address, settings) {
            return Ok(None);
        }
        self.add_builder(&mut build, stage, shell)?;
        self.add_disallowed_references(&mut build, stage);

        let (path, derivation) = self.instantiate(&build.label, &name, build.derivation)?;
        Ok(Some(self.add(Node {
            label: build.label,
            kind: NodeKind::Build,
            recipe: Some(recipe.name.clone()),
            stage: Some(stage),
            name,
            derivation_path: path,
            derivation,
            size: None,
            typical: settings.typical_seconds.map(Duration::from_secs),
            outputs: settings.outputs.clone(),
            inputs: searched,
            dependencies: build.dependencies,
        })))
    }

    /// Sources, patches and the recipe's phases. False where a source has been reported as wrong.
    fn add_sources(&mut self, build: &mut DerivationBuilder<'_>) -> Result<bool, PlanError> {
        let recipe = build.recipe;
        match self.main_source(recipe)? {
            Err(()) => return Ok(false),
            Ok(None) => {}
            Ok(Some(index)) => {
                let path =
                    self.depend(&mut build.derivation, &mut build.dependencies, index, "out");
                build.set("source", path);
            }
        }
        if let Some(folder) = &recipe.local_source {
            let Some(path) = self.local_source(recipe, folder)? else {
                return Ok(false);
            };
            build.set("source", self.shown(&path));
            build.derivation.input_sources.insert(path);
        }
        for (extra, variants) in &recipe.extras {
            if let Some(source) = choose_variant(variants, &self.seed.preferred_variant) {
                let index =
                    self.download("source", Some(recipe), &SourceDownload::of_source(source))?;
                let path =
                    self.depend(&mut build.derivation, &mut build.dependencies, index, "out");
                build.set(source_variable(extra), path);
            }
        }
        let variant = choose_variant(&recipe.sources, &self.seed.preferred_variant);
        let own = variant.map_or(&[][..], |source| &source.patches);
        let platform = recipe.platforms.get(&self.settings.system);
        let of_platform = platform.map_or(&[][..], |platform| &platform.patches);
        let mut patches = Vec::new();
        for patch in own.iter().chain(&recipe.patches).chain(of_platform) {
            let path = self.text(&build.label, patch)?;
            patches.push(self.shown(&path));
            build.derivation.input_sources.insert(path);
        }
        build.set_filled("patches", patches.join(" "));
        if let Some(phases) = recipe.phases_in(build.stage) {
            let path = self.text(&build.label, &phases)?;
            build.set("recipePhases", self.shown(&path));
            build.derivation.input_sources.insert(path);
        }
        Ok(true)
    }

    /// `inputs` and one variable for each; of two stages of a package the one after stage0 has the variable.
    fn add_inputs(
        &self,
        build: &mut DerivationBuilder<'_>,
        inputs: &[(InputName, usize)],
    ) -> Vec<(InputName, StorePath)> {
        let mut paths = Vec::new();
        let mut searched = Vec::new();
        for (input, index) in inputs {
            let path = self.depend(
                &mut build.derivation,
                &mut build.dependencies,
                *index,
                &input.output,
            );
            let variable = input.variable();
            if !input.address.stage0 || !build.derivation.environment.contains_key(&variable) {
                build.set(variable, path.clone());
            }
            paths.push(path);
            let output = self.nodes[*index].derivation.output_path(&input.output);
            searched.extend(output.map(|output| (input.clone(), output.clone())));
        }
        build.set("inputs", paths.join(" "));
        searched
    }

    /// Flags and the recipe's own variables, as shell text. False where one has been reported as wrong.
    fn add_flags(
        &mut self,
        build: &mut DerivationBuilder<'_>,
        address: &Address,
        settings: &RecipeBuildSettings,
    ) -> bool {
        let mut known: BTreeSet<String> = COMMON_VARIABLES
            .iter()
            .map(|name| (*name).to_owned())
            .collect();
        known.extend(settings.outputs.iter().cloned());
        known.extend(
            build
                .recipe
                .extras
                .keys()
                .map(|extra| source_variable(extra)),
        );
        let inputs = build.derivation.environment.keys();
        let inputs = inputs.filter(|name| name.starts_with(b"input_"));
        known.extend(inputs.map(ToString::to_string));
        if !build.derivation.environment.contains_key("source") {
            known.remove("source");
        }
        let mut wrong = Vec::new();
        let mut text = |value: &Spanned<String>| {
            quote(value.get_ref(), |name| known.contains(name)).unwrap_or_else(
                |UnknownVariable(variable)| {
                    let problem = RecipeProblem::UnknownVariable {
                        variable,
                        package: address.to_string(),
                        known: known.iter().cloned().collect(),
                    };
                    wrong.push((value.span(), problem));
                    String::new()
                },
            )
        };
        let mut words = |values: &[Spanned<String>]| {
            let words: Vec<String> = values.iter().map(&mut text).collect();
            words.join(" ")
        };
        build.set_filled("configureFlags", words(&settings.configure_flags));
        build.set_filled("makeFlags", words(&settings.make_flags));
        build.set_filled("installFlags", words(&settings.install_flags));
        let features = settings.system_features.iter();
        let features: Vec<_> = features.map(|feature| feature.get_ref().as_str()).collect();
        build.set_filled("requiredSystemFeatures", features.join(" "));
        let mut names = Vec::new();
        for (name, value) in &settings.environment {
            build.set(format!("env_{name}"), text(value));
            names.push(name.as_str());
        }
        build.set_filled("environmentNames", names.join(" "));
        if let Some(target) = &settings.check_target {
            build.set("checkTarget", target.get_ref().clone());
        }
        let correct = wrong.is_empty();
        for (span, problem) in wrong {
            self.report(build.recipe, span, problem);
        }
        correct
    }

    /// The shell that runs the phases, and the seed where that is the root.
    fn add_builder(
        &mut self,
        build: &mut DerivationBuilder<'_>,
        stage: Stage,
        shell: Option<usize>,
    ) -> Result<(), PlanError> {
        let phases = self.shown(&self.phases);
        build.derivation.input_sources.insert(self.phases.clone());
        build.derivation.arguments =
            vec!["-eu".into(), format!("{phases}/gnu-build-system.sh").into()];
        build.set("phasesDirectory", phases);
        build.derivation.builder = match shell {
            Some(index) => {
                let bash =
                    self.depend(&mut build.derivation, &mut build.dependencies, index, "out");
                format!("{bash}/bin/bash").into()
            }
            None => self.seed.shell.as_str().into(),
        };
        if road::in_seed(stage) {
            let index = self.root(self.seed)?;
            let path = self.depend(&mut build.derivation, &mut build.dependencies, index, "out");
            build.set("seed", path);
        }
        Ok(())
    }

    /// No output may refer to a seed, none after stage0 to stage0.
    fn add_disallowed_references(&self, build: &mut DerivationBuilder<'_>, stage: Stage) {
        let mut disallowed = BTreeSet::new();
        for dependency in &build.dependencies {
            for index in &self.forbidden[*dependency] {
                let node = &self.nodes[*index];
                if stage == Stage::Stage0 && node.kind != NodeKind::Seed {
                    continue;
                }
                disallowed.extend(node.output_paths().map(|(_, path)| self.shown(path)));
            }
        }
        let disallowed: Vec<String> = disallowed.into_iter().collect();
        build.set_filled("disallowedReferences", disallowed.join(" "));
    }
}

/// Whether the test suite runs. By default it does after stage0 and libc: there it would take time and prove nothing
/// about the programs that users get.
fn runs_tests(stage: Stage, settings: &RecipeBuildSettings) -> bool {
    settings.tests.unwrap_or(!road::in_seed(stage))
}

/// The variable that an extra source's path is in: the recipe's reader has checked that it can be one.
fn source_variable(extra: &str) -> String {
    format!("source_{extra}")
}
