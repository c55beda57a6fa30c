// SPDX-License-Identifier: GPL-3.0-or-later
//! Any text as a recipe: it is read, or the mistakes in it are shown.

#![no_main]

use std::fs;

use bootstrap::road::recipe::{RecipeSource, load};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let place = tempfile::tempdir().expect("a temporary directory");
    let folder = place.path().join("recipes/sed");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("recipe.toml"), bytes).expect("room for the recipe");
    if let Err(error) = load(&RecipeSource::Directory(place.path().join("recipes"))) {
        let message = error.to_string();
        let _ = format!("{message}{:?}", miette::Report::new(error));
    }
});
