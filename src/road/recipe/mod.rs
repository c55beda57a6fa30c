// SPDX-License-Identifier: GPL-3.0-or-later
//! Recipes: the TOML of `recipes/NAME/recipe.toml`, read with exact positions and checked as a whole.
//!
//! Reading goes on after a mistake, so that one run shows them all. Nothing here knows the store; what a recipe
//! means as a derivation is [`crate::road::plan`]'s business, which reports what it finds wrong with the same errors.

use std::collections::BTreeMap;

mod check;
mod error;
mod files;
mod folder;
mod model;
mod parse;
mod reader;
mod render;
#[cfg(test)]
mod tests;
mod unreadable;

use crate::formats::nar::Tree;

pub use error::{RecipeError, RecipeErrors, RecipeProblem, closest};
pub use files::RecipeSource;
pub use model::{
    Address, AddressError, InputName, Platform, Recipe, RecipeBuildSettings, RecipeFile,
    RecipeText, Regenerate, Source, Stage, Variants, choose_variant, variable_name,
};
pub use unreadable::UnreadableRecipes;

/// All recipes, and the phases that build them.
#[derive(Debug)]
pub struct Recipes {
    recipes: BTreeMap<String, Recipe>,
    phases: BTreeMap<String, Vec<u8>>,
    sources: BTreeMap<String, Tree>,
}

/// Why there are no recipes.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LoadError {
    /// A file or folder could not be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unreadable(#[from] UnreadableRecipes),
    /// The folder has no recipe in it.
    #[error(
        "{0} holds no recipe: expected folders with a recipe.toml, as in the project's `recipes`"
    )]
    #[diagnostic(help("give --recipes the folder `recipes` of the project, or leave it out"))]
    Empty(String),
    /// At least one recipe is wrong.
    #[error(transparent)]
    Recipes(#[from] RecipeErrors),
}

/// Reads and checks the recipes of `source`.
pub fn load(source: &RecipeSource) -> Result<Recipes, LoadError> {
    let files = files::RecipeFiles::read(source)?;
    if files.folders.is_empty() {
        return Err(LoadError::Empty(files.shown));
    }
    let mut read = Vec::new();
    let mut errors = Vec::new();
    for (name, folder) in &files.folders {
        let (recipe, problems) = parse::parse(&files.shown, name, folder);
        read.extend(recipe);
        errors.extend(problems);
    }
    // A recipe that could not be read looks like a missing one.
    let all_read = read.len() == files.folders.len();
    check::together(&read, all_read, &mut errors);
    match RecipeErrors::new(errors) {
        Some(errors) => Err(errors.into()),
        None => Ok(Recipes {
            recipes: read
                .into_iter()
                .map(|recipe| (recipe.name.clone(), recipe))
                .collect(),
            phases: files.stage0.phases,
            sources: files.stage0.sources,
        }),
    }
}

impl Recipes {
    /// The recipe called `name`.
    pub fn get(&self, name: &str) -> Option<&Recipe> {
        self.recipes.get(name)
    }

    /// All recipes, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Recipe> {
        self.recipes.values()
    }

    /// The recipe and the stage that `address` names.
    pub fn find(&self, address: &Address) -> Option<(&Recipe, Stage)> {
        let recipe = self.get(&address.name)?;
        Some((recipe, recipe.stage_of(address)?))
    }

    /// Every address that something can be built under, in the order of names, stage0 first.
    pub fn addresses(&self) -> impl Iterator<Item = Address> + '_ {
        self.iter()
            .flat_map(|recipe| recipe.addresses().map(|(_, address)| address))
    }

    /// The files of the phases of `gnu-build-system`, by name.
    pub fn phases(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.phases
    }

    /// The folders that `local-source` can name: sources that are part of the project, as they are.
    pub fn local_sources(&self) -> &BTreeMap<String, Tree> {
        &self.sources
    }
}
