// SPDX-License-Identifier: GPL-3.0-or-later
//! `--version --verbose`: what belongs into a bug report.

use std::ffi::OsString;

use crate::formats::system::System;
use crate::road::recipe::{self, RecipeSource};

/// Whether `arguments` ask for the version at length. `--version` alone is clap's.
pub fn is_wanted(arguments: &[OsString]) -> bool {
    let has = |long: &str, short: char| {
        let options = arguments.iter().skip(1).take_while(|one| *one != "--");
        let mut options = options.filter_map(|one| one.to_str());
        options.any(|one| one == long || switches(one).contains(short))
    };
    has("--version", 'V') && has("--verbose", 'v')
}

/// The letters of `argument` where it is nothing but global options of one letter that take no value, such as `-vV`; in
/// `-cV`, say, the letter would be a number of cores, and a wrong one.
fn switches(argument: &str) -> &str {
    match argument.strip_prefix('-') {
        Some(letters) if letters.chars().all(|letter| "vVqK".contains(letter)) => letters,
        _ => "",
    }
}

/// The version, what it was compiled by and for, and what it knows.
pub fn describe() -> String {
    let mut text = format!("bootstrap {}\n", env!("CARGO_PKG_VERSION"));
    let mut field = |name: &str, value: &str| text.push_str(&format!("{name}: {value}\n"));
    field("compiled for", env!("BOOTSTRAP_TARGET"));
    field("compiled by", env!("BOOTSTRAP_RUSTC"));
    field("systems", &System::names().join(", "));
    let recipes = match recipe::load(&RecipeSource::Embedded) {
        Ok(recipes) => recipes.iter().count().to_string(),
        Err(error) => error.to_string(),
    };
    field("recipes in it", &recipes);
    field("store database", "schema 7, as guix-daemon's");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_options_are_needed_and_a_commands_arguments_are_none() {
        let wanted = |arguments: &[&str]| {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            is_wanted(&arguments)
        };
        assert!(wanted(&["bootstrap", "--version", "--verbose"]));
        assert!(wanted(&["bootstrap", "-v", "-V"]));
        for together in ["-vV", "-Vv", "-vvV", "-KvV"] {
            assert!(wanted(&["bootstrap", together]), "{together}");
        }
        assert!(!wanted(&["bootstrap", "-vcV"]));
        assert!(!wanted(&["bootstrap", "-V"]));
        assert!(!wanted(&["bootstrap", "--version"]));
        assert!(!wanted(&[
            "bootstrap",
            "shell",
            "-v",
            "--",
            "gcc",
            "--version"
        ]));
        assert!(!wanted(&["--version", "--verbose"]));
    }
}
