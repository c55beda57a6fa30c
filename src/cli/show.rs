// SPDX-License-Identifier: GPL-3.0-or-later
//! `show`: one package.

use std::collections::BTreeMap;

use serde::Serialize;

use super::context::{Context, print, print_json};
use super::failure::CommandFailure;
use super::packages::{Listed, listed};
use crate::engine::{EngineError, outputs_in_store};
use crate::formats::visible::visible_line;
use crate::road::recipe::{Source, choose_variant};

/// A package as `show --json` shows it.
#[derive(Debug, Serialize)]
struct PackageDocument<'a> {
    #[serde(flatten)]
    listed: Listed<'a>,
    home_page: &'a str,
    license: &'a str,
    source: Option<ShownSource<'a>>,
    /// By name: what is unpacked beside the source.
    extra_sources: BTreeMap<&'a str, ShownSource<'a>>,
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
    let environment = &node.derivation.environment;
    let chosen = |variants, name: &str| {
        let source: &Source = choose_variant(variants, &planned.seeds.seed.preferred_variant)?;
        Some(ShownSource {
            file: &source.file,
            sha256: source.sha256.to_base16(),
            locations: source.locations.iter().map(ToString::to_string).collect(),
            path: environment.text(name).map(ToOwned::to_owned),
        })
    };
    let extras = recipe.extras.iter().filter_map(|(name, variants)| {
        Some((name.as_str(), chosen(variants, &format!("source_{name}"))?))
    });
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
        source: chosen(&recipe.sources, "source"),
        extra_sources: extras.collect(),
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

/// `shown` in the form of Guix's records: `name: value`, a line each.
fn describe(shown: &PackageDocument<'_>) -> String {
    let listed = &shown.listed;
    let mut text = String::new();
    let mut field = |name: &str, value: &str| {
        text.push_str(&format!("{name}: {}\n", visible_line(value)));
    };
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
    for (name, source) in &shown.extra_sources {
        let path = source.path.as_deref().unwrap_or(source.file);
        field("extra-source", &format!("{name} {path}"));
        field("extra-source-sha256", &format!("{name} {}", source.sha256));
        for location in &source.locations {
            field("extra-source-location", &format!("{name} {location}"));
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
            extra_sources: BTreeMap::from([(
                "gmp",
                ShownSource {
                    file: "gmp.tar.xz",
                    sha256: "0123".to_owned(),
                    locations: vec!["mirror://gnu/gmp.tar.xz".to_owned()],
                    path: None,
                },
            )]),
            tests: false,
            tests_reason: None,
            inputs: Vec::new(),
            recipe: "make/recipe.toml",
        };
        let line = "impure: made from the seed `host`, and it is mine\n";
        assert!(describe(&shown).contains(line), "{}", describe(&shown));
        let json = serde_json::to_value(&shown).unwrap();
        assert_eq!(json["impure"], "made from the seed `host`, and it is mine");
        assert_eq!(json["extra_sources"]["gmp"]["sha256"], "0123");
        let lines = "extra-source: gmp gmp.tar.xz\nextra-source-sha256: gmp 0123\nextra-source-location: gmp mirror://gnu/gmp.tar.xz\n";
        assert!(describe(&shown).contains(lines), "{}", describe(&shown));
        // Where others can make it, nothing is said.
        shown.listed.impure = None;
        assert!(!describe(&shown).contains("impure"));
        let json = serde_json::to_value(&shown).unwrap();
        assert!(json.get("impure").is_none(), "{json}");
    }
}
