//! `list`, `show`, `path`: looking at packages.

use std::collections::BTreeSet;

use serde::Serialize;

use super::context::{Context, Planned, print, print_json};
use super::failure::Failure;
use crate::formats::store_path::StorePath;
use crate::road::plan::{FindError, Node, road};
use crate::road::recipe::{InputName, Stage, choose_variant};
use crate::store::Store;

/// A package as `list --json` shows it.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    name: &'a str,
    stage: &'static str,
    version: &'a str,
    synopsis: &'a str,
    /// Whether it is one of the implicit inputs of gnu-build-system.
    implicit_input: bool,
    /// Whether every output is valid.
    valid: bool,
    outputs: Vec<ListedOutput<'a>>,
    derivation: String,
    /// Why others cannot make the same, where they cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    impure: Option<String>,
}

#[derive(Debug, Serialize)]
struct ListedOutput<'a> {
    name: &'a str,
    path: String,
    valid: bool,
    implicit_input: bool,
}

/// A package as `show --json` shows it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
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

/// The valid ones of all outputs of `nodes`.
fn valid<'a>(
    store: &Store,
    nodes: impl IntoIterator<Item = &'a Node>,
) -> Result<BTreeSet<StorePath>, Failure> {
    let outputs: Vec<&StorePath> = nodes
        .into_iter()
        .flat_map(|node| node.output_paths().map(|(_, path)| path))
        .collect();
    Ok(store.valid_among(outputs)?)
}

fn listed<'a>(
    context: &Context,
    planned: &'a Planned,
    node: &'a Node,
    stage: Stage,
    valid: &BTreeSet<StorePath>,
) -> Listed<'a> {
    let recipe = node
        .recipe
        .as_deref()
        .and_then(|name| planned.recipes.get(name));
    let implicit = road::final_inputs();
    let is_implicit = |output: &str| {
        implicit.iter().any(|input: &InputName| {
            input.address.to_string() == node.label && input.output == output
        })
    };
    let outputs: Vec<ListedOutput<'a>> = node
        .output_paths()
        .map(|(name, path)| ListedOutput {
            name,
            path: context.shown(path),
            valid: valid.contains(path),
            implicit_input: is_implicit(name),
        })
        .collect();
    Listed {
        name: &node.label,
        stage: stage.name(),
        version: recipe.map_or("", |recipe| &recipe.version),
        synopsis: recipe.map_or("", |recipe| &recipe.synopsis),
        implicit_input: is_implicit("out"),
        valid: outputs.iter().all(|output| output.valid),
        outputs,
        derivation: context.shown(&node.derivation_path),
        impure: planned.seeds.seed.impurity(),
    }
}

/// `bootstrap list`.
pub fn list(context: &Context) -> Result<(), Failure> {
    let planned = context.plan()?;
    let store = context.store_to_read()?;
    let packages: Vec<&Node> = planned.plan.packages().collect();
    let valid = valid(&store, packages.iter().copied())?;
    let rows: Vec<Listed<'_>> = packages
        .into_iter()
        .filter_map(|node| Some(listed(context, &planned, node, node.stage?, &valid)))
        .collect();
    if context.options.json {
        return print_json(&rows);
    }
    let width = |column: fn(&Listed<'_>) -> usize| rows.iter().map(column).max().unwrap_or(0);
    let (names, versions) = (width(|row| row.name.len()), width(|row| row.version.len()));
    let mut text = String::new();
    for row in &rows {
        let built = if row.valid { "built" } else { "-" };
        text.push_str(&format!(
            "{:<names$}  {:<versions$}  {:<6}  {built:<5}  {}\n",
            row.name, row.version, row.stage, row.synopsis
        ));
    }
    for (package, errors) in planned.plan.unplanned() {
        text.push_str(&format!("{package:<names$}  cannot be built: {errors}\n"));
    }
    context.note_impurity(&planned);
    print(&text)
}

/// The node of the package that people call `name`.
pub(super) fn package<'a>(planned: &'a Planned, name: &str) -> Result<(&'a Node, Stage), Failure> {
    let node = &planned.plan.nodes()[planned.plan.find(name)?];
    match node.stage {
        Some(stage) => Ok((node, stage)),
        None => Err(Failure::Usage(format!(
            "{name} is no package; `bootstrap list` shows all, `bootstrap graph --json` what they are made from"
        ))),
    }
}

/// `bootstrap show PKG`.
pub fn show(context: &Context, name: &str) -> Result<(), Failure> {
    let planned = context.plan()?;
    let store = context.store_to_read()?;
    let (node, stage) = package(&planned, name)?;
    let recipe = node
        .recipe
        .as_deref()
        .and_then(|name| planned.recipes.get(name))
        .ok_or_else(|| unknown(name))?;
    let settings = recipe.settings(stage, context.system);
    let source = choose_variant(&recipe.sources, &planned.seeds.seed.preferred_variant);
    let environment = &node.derivation.environment;
    let shown = Shown {
        listed: listed(context, &planned, node, stage, &valid(&store, [node])?),
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

fn unknown(name: &str) -> Failure {
    Failure::Find(FindError::Unknown {
        name: name.to_owned(),
        hint: String::new(),
    })
}

/// `shown` in the form of Guix's records: `name: value`, further lines indented.
fn describe(shown: &Shown<'_>) -> String {
    let listed = &shown.listed;
    let mut text = String::new();
    let mut field = |name: &str, value: &str| text.push_str(&format!("{name}: {value}\n"));
    field("name", listed.name);
    field("version", listed.version);
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

/// `bootstrap path PKG[:OUTPUT]`.
pub fn path(context: &Context, name: &str) -> Result<(), Failure> {
    let planned = context.plan()?;
    let store = context.store_to_read()?;
    let (address, wanted) = match name.split_once(':') {
        Some((address, output)) => (address, Some(output)),
        None => (name, None),
    };
    let (node, _) = package(&planned, address)?;
    let mut outputs: Vec<(&str, &StorePath)> = node
        .output_paths()
        .filter(|(output, _)| wanted.is_none_or(|wanted| wanted == *output))
        .collect();
    if outputs.is_empty() {
        let known = node.outputs.join(", ");
        return Err(Failure::Usage(format!(
            "{address} has no output `{}`; it has {known}",
            wanted.unwrap_or_default()
        )));
    }
    // Stable: the others stay in the recipe's order.
    outputs.sort_by_key(|(output, _)| *output != "out");
    let valid = valid(&store, [node])?;
    if let Some((_, path)) = outputs.iter().find(|(_, path)| !valid.contains(*path)) {
        return Err(Failure::NotBuilt {
            package: node.label.clone(),
            path: context.shown(path),
        });
    }
    if context.options.json {
        let rows: Vec<ListedOutput<'_>> = outputs
            .into_iter()
            .map(|(name, path)| ListedOutput {
                name,
                path: context.shown(path),
                valid: true,
                implicit_input: road::final_inputs()
                    .iter()
                    .any(|input| input.address.to_string() == node.label && input.output == name),
            })
            .collect();
        return print_json(&rows);
    }
    let lines: String = outputs
        .into_iter()
        .map(|(_, path)| format!("{}\n", context.shown(path)))
        .collect();
    print(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_from_a_seed_that_nobody_else_has_is_shown_as_impure() {
        let mut shown = Shown {
            listed: Listed {
                name: "stage0/make",
                stage: "stage0",
                version: "1.0",
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
