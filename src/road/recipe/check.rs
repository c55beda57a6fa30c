// SPDX-License-Identifier: GPL-3.0-or-later
//! What only shows when all recipes are seen together: names that clash, inputs that do not exist.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;

use super::error::{RecipeError, RecipeProblem, closest};
use super::model::{InputName, Recipe, RecipeBuildSettings, Stage};
use crate::formats::system::System;

/// Adds what is wrong among `recipes` to `errors`. Unless `all_read`, recipes are missing that could not be
/// read, and inputs without a recipe are not reported.
pub(super) fn together(recipes: &[Recipe], all_read: bool, errors: &mut Vec<RecipeError>) {
    let mut by_name: BTreeMap<&str, &Recipe> = BTreeMap::new();
    let mut libc: Option<&Recipe> = None;
    for recipe in recipes {
        if let Some(first) = by_name.get(recipe.name.as_str()) {
            let problem = RecipeProblem::DuplicateName {
                name: recipe.name.clone(),
                other: first.file.path.clone(),
            };
            errors.push(at(recipe, recipe.name_span.clone(), problem));
            continue;
        }
        by_name.insert(&recipe.name, recipe);
        if recipe.stages.contains_key(&Stage::Libc) {
            if let Some(first) = libc {
                let other = first.file.path.clone();
                let problem = RecipeProblem::DuplicateLibc { other };
                errors.push(at(recipe, recipe.name_span.clone(), problem));
            }
            libc = Some(recipe);
        }
    }
    if !all_read {
        return;
    }
    for recipe in recipes {
        for input in named_inputs(recipe) {
            if let Err(problem) = check_input(&by_name, input.get_ref()) {
                errors.push(at(recipe, input.span(), problem));
            }
        }
    }
}

fn at(recipe: &Recipe, span: std::ops::Range<usize>, problem: RecipeProblem) -> RecipeError {
    RecipeError {
        problem,
        file: Arc::clone(&recipe.file),
        span,
    }
}

/// Every input that the recipe names, for whatever stage and system.
fn named_inputs(recipe: &Recipe) -> impl Iterator<Item = &Spanned<InputName>> {
    let platforms = recipe.platforms.values();
    let platform_tables = platforms
        .flat_map(|platform| std::iter::once(&platform.common).chain(platform.stages.values()));
    std::iter::once(&recipe.build)
        .chain(recipe.stages.values())
        .chain(platform_tables)
        .flat_map(|table: &RecipeBuildSettings| {
            table
                .inputs
                .iter()
                .chain(table.replace_inputs.iter().flatten())
        })
}

fn check_input(recipes: &BTreeMap<&str, &Recipe>, input: &InputName) -> Result<(), RecipeProblem> {
    let unknown = |reason: String, similar: Option<String>| RecipeProblem::UnknownInput {
        input: input.to_string(),
        reason,
        similar,
    };
    let name = input.address.name.as_str();
    let Some(recipe) = recipes.get(name) else {
        let names: Vec<&str> = recipes.keys().copied().collect();
        let similar = closest(name, &names).map(|similar| match input.address.stage0 {
            true => format!("stage0/{similar}"),
            false => similar.to_owned(),
        });
        return Err(unknown(format!("no recipe is called `{name}`"), similar));
    };
    let Some(stage) = recipe.stage_of(&input.address) else {
        return Err(match input.address.stage0 {
            true => unknown(
                format!("recipe `{name}` has no [stage0]"),
                Some(name.to_owned()),
            ),
            false => unknown(
                format!("recipe `{name}` has only [stage0]"),
                Some(format!("stage0/{name}")),
            ),
        });
    };
    let has_output = |system: &System| {
        recipe
            .settings(stage, *system)
            .outputs
            .contains(&input.output)
    };
    if !System::ALL.iter().any(has_output) {
        let outputs = recipe.settings(stage, System::ALL[0]).outputs.join(", ");
        let reason = format!("`{}` has the outputs {outputs}", input.address);
        return Err(unknown(reason, None));
    }
    Ok(())
}
