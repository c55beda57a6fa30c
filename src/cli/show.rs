// SPDX-License-Identifier: GPL-3.0-or-later
//! `show`: one package.

use serde::Serialize;

use super::context::{Context, print, print_json};
use super::failure::CommandFailure;
use super::packages::{Listed, listed};
use crate::engine::{EngineError, outputs_in_store};
use crate::road::recipe::choose_variant;

/// A package as `show --json` shows it.
#[derive(Debug, Serialize)]
struct PackageDocument<'a> {
    #[serde(flatten)]
    listed: Listed<'a>,
    home_page: &'a str,
    license: &'a str,
    source: Option<ShownSource<'a>>,
    tests: bool,
    tests_reason: Option<String>,
    inputs: Vec<ShownInput>,
    recipe: &'a str,
}

#[derive(Debug, Serialize)]
struct ShownSource<'a> {
    file: &'a str,
    sha256: String,
    locations: Vec<String>,
    path: Option<String>,
}

#[derive(Debug, Serialize)]
struct ShownInput {
    name: String,
    path: String,
}

/// `bootstrap show PKG`.
pub fn show(context: &Context, name: &str) -> Result<(), CommandFailure> {
    let planned = context.plan()?;
    let store = context.store_to_read()?;
    let (node, stage) = planned.package(name)?;
    let recipe = node
        .recipe
        .as_deref()
        .and_then(|name| planned.recipes.get(name))
        .ok_or_else(|| EngineError::NotAPackage(name.to_owned()))?;
    let settings = recipe.settings(stage, context.session.options().system);
    let source = choose_variant(&recipe.sources, &planned.seeds.seed.preferred_variant);
    let environment = &node.derivation.environment;
    let shown = PackageDocument {
        listed: listed(
            context,
            &planned,
            node,
            stage,
            &outputs_in_store(&store, [node])?,
        ),
        home_page: &recipe.home_page,
        license: &recipe.license,
        source: source.map(|source| ShownSource {
            file: &source.file,
            sha256: source.sha256.to_base16(),
            locations: source.locations.iter().map(ToString::to_string).collect(),
            path: environment.text("source").map(ToOwned::to_owned),
        }),
        tests: environment.get("tests").is_some_and(|tests| tests == "1"),
        tests_reason: settings.tests_reason,
        inputs: node
            .inputs
            .iter()
            .map(|(input, path)| ShownInput {
                name: input.to_string(),
                path: context.shown(path),
            })
            .collect(),
        recipe: &recipe.file.path,
    };
    if context.options.json {
        return print_json(&shown);
    }
    print(&describe(&shown))
}

/// `shown` in the form of Guix's records: `name: value`, further lines indented.
fn describe(shown: &PackageDocument<'_>) -> String {
    let listed = &shown.listed;
    let mut text = String::new();
    let mut field = |name: &str, value: &str| text.push_str(&format!("{name}: {value}\n"));
    field("name", listed.name);
    field("version", listed.version);
    if let Some(version) = listed.guix_version {
        field("guix-version", version);
    }
    field("stage", listed.stage);
    field("synopsis", listed.synopsis);
    field("home-page", shown.home_page);
    field("license", shown.license);
    field("recipe", shown.recipe);
    if let Some(source) = &shown.source {
        field("source", source.path.as_deref().unwrap_or(source.file));
        field("source-sha256", &source.sha256);
        for location in &source.locations {
            field("source-location", location);
        }
    }
    let tests = if shown.tests { "run" } else { "not run" };
    match &shown.tests_reason {
        Some(reason) => field("tests", &format!("{tests}: {reason}")),
        None => field("tests", tests),
    }
    for output in &listed.outputs {
        let state = if output.valid { "built" } else { "not built" };
        field(
            "output",
            &format!("{} {} ({state})", output.name, output.path),
        );
    }
    field("derivation", &listed.derivation);
    if let Some(impurity) = &listed.impure {
        field("impure", impurity);
    }
    for input in &shown.inputs {
        field("input", &format!("{} {}", input.name, input.path));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_from_a_seed_that_nobody_else_has_is_shown_as_impure() {
        let mut shown = PackageDocument {
            listed: Listed {
                name: "stage0/make",
                stage: "stage0",
                version: "1.0",
                guix_version: None,
                synopsis: "The make of the test",
                implicit_input: false,
                valid: false,
                outputs: Vec::new(),
                derivation: "/gnu/store/make.drv".to_owned(),
                impure: Some("made from the seed `host`, and it is mine".to_owned()),
            },
            home_page: "https://example.org/",
            license: "GPL-3.0-or-later",
            source: None,
            tests: false,
            tests_reason: None,
            inputs: Vec::new(),
            recipe: "make/recipe.toml",
        };
        let line = "impure: made from the seed `host`, and it is mine\n";
        assert!(describe(&shown).contains(line), "{}", describe(&shown));
        let json = serde_json::to_value(&shown).unwrap();
        assert_eq!(json["impure"], "made from the seed `host`, and it is mine");
        // Where others can make it, nothing is said.
        shown.listed.impure = None;
        assert!(!describe(&shown).contains("impure"));
        let json = serde_json::to_value(&shown).unwrap();
        assert!(json.get("impure").is_none(), "{json}");
    }
}
