// SPDX-License-Identifier: GPL-3.0-or-later
//! From the TOML of one recipe to a [`Recipe`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeTable;

use super::error::{RecipeError, RecipeProblem};
use super::files::Folder;
use super::model::{
    InputName, Platform, Recipe, RecipeBuildSettings, RecipeFile, RecipeText, Stage, Variants,
    is_output_name, variable_name,
};
use super::reader::{Field, RecipeReader, Value};
use crate::formats::system::{System, is_feature};

mod sources;

use sources::source;

/// The file of a recipe's own phases.
const PHASES: &str = "phases.sh";

/// The file of its phases in one stage alone.
fn phases_of(stage: Stage) -> String {
    format!("phases-{stage}.sh")
}

const TOP_KEYS: &[&str] = &[
    "name",
    "version",
    "guix-version",
    "synopsis",
    "home-page",
    "license",
    "source",
    "local-source",
    "extra",
    "patches",
    "build",
    "stage0",
    "libc",
    "final",
    "package",
    "platform",
];
const SETTINGS_KEYS: &[&str] = &[
    "inputs",
    "replace-inputs",
    "outputs",
    "configure-flags",
    "make-flags",
    "install-flags",
    "system-features",
    "environment",
    "tests",
    "tests-reason",
    "check-target",
    "typical-seconds",
];
const PLATFORM_KEYS: &[&str] = &[
    "patches",
    "inputs",
    "replace-inputs",
    "outputs",
    "configure-flags",
    "make-flags",
    "install-flags",
    "system-features",
    "environment",
    "tests",
    "tests-reason",
    "check-target",
    "typical-seconds",
    "stage0",
    "libc",
    "final",
    "package",
];

/// Reads the recipe in the folder `folder_name`. `None` where a part is missing without which there is no
/// recipe; then there is at least one error.
pub(super) fn parse(
    shown: &str,
    folder_name: &str,
    folder: &Folder,
) -> (Option<Recipe>, Vec<RecipeError>) {
    let bytes = folder.get("recipe.toml").map_or(&[][..], Vec::as_slice);
    let text = String::from_utf8_lossy(bytes).into_owned();
    let file = Arc::new(RecipeFile {
        path: format!("{shown}/{folder_name}/recipe.toml"),
        text,
    });
    let mut reader = RecipeReader {
        file: Arc::clone(&file),
        folder,
        errors: Vec::new(),
        named: Vec::new(),
    };
    if let Err(error) = std::str::from_utf8(bytes) {
        let start = error.valid_up_to();
        let problem = RecipeProblem::Syntax("it is not UTF-8".to_owned());
        reader.report(start..start + 1, problem);
        return (None, reader.errors);
    }
    let (document, syntax_errors) = DeTable::parse_recoverable(&file.text);
    for error in syntax_errors {
        let span = error.span().unwrap_or(0..0);
        reader.report(span, RecipeProblem::Syntax(error.message().to_owned()));
    }
    if !reader.errors.is_empty() {
        // What the parser guessed about the rest would only raise errors that are none.
        return (None, reader.errors);
    }
    let recipe = recipe(&mut reader, document.get_ref(), folder_name);
    (recipe, reader.errors)
}

fn recipe(
    reader: &mut RecipeReader<'_>,
    document: &DeTable<'_>,
    folder_name: &str,
) -> Option<Recipe> {
    let place = "the recipe";
    // What concerns the whole file is shown at its first line.
    let whole = 0..reader.file.text.lines().next().map_or(0, str::len);
    let mut name = Field::Absent;
    let mut name_span = whole.clone();
    let mut version = Field::Absent;
    let mut guix_version = None;
    let mut synopsis = Field::Absent;
    let mut home_page = Field::Absent;
    let mut license = Field::Absent;
    let mut has_source_key = false;
    let mut local_source = None;
    let mut sources = Variants::new();
    let mut extras = BTreeMap::new();
    let mut patches = Vec::new();
    let mut build = RecipeBuildSettings::default();
    let mut stages = BTreeMap::new();
    let mut stage_spans = Vec::new();
    let mut platforms = BTreeMap::new();
    for (key, value) in document {
        match key.get_ref().as_ref() {
            "name" => {
                name_span = value.span();
                name = reader.item_name("name", value).into();
            }
            "version" => version = reader.item_name("version", value).into(),
            "guix-version" => guix_version = reader.filled_text("guix-version", value),
            "synopsis" => synopsis = reader.filled_text("synopsis", value).into(),
            "home-page" => home_page = reader.filled_text("home-page", value).into(),
            "license" => license = reader.filled_text("license", value).into(),
            "source" => {
                has_source_key = true;
                sources = variants(reader, "source", value, true);
            }
            "local-source" => {
                has_source_key = true;
                local_source = reader
                    .item_name("local-source", value)
                    .map(|folder| Spanned::new(value.span(), folder));
            }
            "extra" => {
                for (key, value) in reader.table("extra", value).into_iter().flatten() {
                    let extra = key.get_ref().to_string();
                    if variable_name(&extra) != extra {
                        reader.report(key.span(), RecipeProblem::BadVariable { value: extra });
                        continue;
                    }
                    let place = format!("extra.{extra}");
                    extras.insert(extra, variants(reader, &place, value, false));
                }
            }
            "patches" => patches = reader.recipe_files("patches", value),
            "build" => build = settings(reader, "[build]", value, SETTINGS_KEYS),
            "platform" => {
                for (key, value) in reader.table("platform", value).into_iter().flatten() {
                    match key.get_ref().parse::<System>() {
                        Ok(system) => {
                            platforms.insert(system, platform(reader, system, value));
                        }
                        Err(unknown) => reader.report(key.span(), unknown),
                    }
                }
            }
            other => match Stage::from_name(other) {
                Some(stage) => {
                    let place = format!("[{stage}]");
                    stages.insert(stage, settings(reader, &place, value, SETTINGS_KEYS));
                    stage_spans.push((stage, key.span()));
                }
                None => reader.unknown(key, place, TOP_KEYS),
            },
        }
    }
    let name = reader.required(name, "name", place, &whole);
    let version = reader.required(version, "version", place, &whole);
    let synopsis = reader.required(synopsis, "synopsis", place, &whole);
    let home_page = reader.required(home_page, "home-page", place, &whole);
    let license = reader.required(license, "license", place, &whole);
    if let Some(name) = name.as_ref().filter(|name| *name != folder_name) {
        let problem = RecipeProblem::NameIsNotFolder {
            name: name.clone(),
            folder: folder_name.to_owned(),
        };
        reader.report(name_span.clone(), problem);
    }
    let script = |file: &str| {
        let contents = reader.folder.get(file)?.clone();
        let name = format!("{folder_name}-{PHASES}");
        Some(RecipeText { name, contents })
    };
    let phases = script(PHASES);
    let stage_phases = stages
        .keys()
        .filter_map(|stage| Some((*stage, script(&phases_of(*stage))?)))
        .collect();
    check_stages(
        reader,
        folder_name,
        stages.keys().copied(),
        &stage_spans,
        &name_span,
    );
    // libc alone does without: it takes the seed's.
    let only_libc = !stages.is_empty() && stages.keys().all(|stage| *stage == Stage::Libc);
    if sources.is_empty() && !has_source_key && !only_libc {
        let name = folder_name.to_owned();
        reader.report(name_span.clone(), RecipeProblem::MissingSource { name });
    }
    if let Some(local) = local_source.as_ref().filter(|_| !sources.is_empty()) {
        reader.report(local.span(), RecipeProblem::TwoSources);
    }
    check_scripts(reader, stages.keys(), &name_span);
    let recipe = Recipe {
        name: name?,
        name_span,
        version: version?,
        guix_version,
        synopsis: synopsis?,
        home_page: home_page?,
        license: license?,
        sources,
        local_source,
        extras,
        patches,
        phases,
        stage_phases,
        build,
        stages,
        platforms,
        file: Arc::clone(&reader.file),
    };
    check_tests(reader, &recipe);
    Some(recipe)
}

fn check_stages(
    reader: &mut RecipeReader<'_>,
    name: &str,
    stages: impl Iterator<Item = Stage>,
    spans: &[(Stage, Range<usize>)],
    name_span: &Range<usize>,
) {
    let stages: Vec<Stage> = stages.collect();
    if stages.is_empty() {
        let name = name.to_owned();
        reader.report(name_span.clone(), RecipeProblem::NoStage { name });
    }
    let mut after_stage0 = stages.iter().filter(|stage| **stage != Stage::Stage0);
    let Some(first) = after_stage0.next() else {
        return;
    };
    for second in after_stage0 {
        let span = spans.iter().find(|(stage, _)| stage == second);
        let problem = RecipeProblem::AmbiguousStage {
            name: name.to_owned(),
            first: first.name(),
            second: second.name(),
        };
        reader.report(
            span.map_or(name_span.clone(), |(_, span)| span.clone()),
            problem,
        );
    }
}

/// A script in the folder that nothing reads is a misspelt one.
fn check_scripts<'s>(
    reader: &mut RecipeReader<'_>,
    stages: impl Iterator<Item = &'s Stage>,
    span: &Range<usize>,
) {
    let mut read: BTreeSet<String> = stages.map(|stage| phases_of(*stage)).collect();
    read.insert(PHASES.to_owned());
    let unread: Vec<String> = reader
        .folder
        .keys()
        .filter(|file| file.ends_with(".sh") || file.ends_with(".patch"))
        .filter(|file| !read.contains(*file) && !reader.named.contains(file))
        .cloned()
        .collect();
    for file in unread {
        reader.report(span.clone(), RecipeProblem::UnknownPhaseFile { file });
    }
}

/// A package after stage0 and libc runs its test suite, or says why not.
fn check_tests(reader: &mut RecipeReader<'_>, recipe: &Recipe) {
    for stage in [Stage::Final, Stage::Package] {
        if !recipe.stages.contains_key(&stage) {
            continue;
        }
        let silent = System::ALL.iter().any(|system| {
            let settings = recipe.settings(stage, *system);
            settings.tests == Some(false) && settings.tests_reason.is_none()
        });
        if silent {
            reader.report(recipe.name_span.clone(), RecipeProblem::NoTestsReason);
        }
    }
}

fn variants(reader: &mut RecipeReader<'_>, key: &str, value: &Value<'_>, main: bool) -> Variants {
    let mut variants = Variants::new();
    for (variant, value) in reader.table(key, value).into_iter().flatten() {
        let place = format!("{key}.{}", variant.get_ref());
        if let Some(source) = source(reader, &place, variant.span(), value, main) {
            variants.insert(variant.get_ref().to_string(), source);
        }
    }
    variants
}

fn platform(reader: &mut RecipeReader<'_>, system: System, value: &Value<'_>) -> Platform {
    let place = format!("[platform.{system}]");
    let mut platform = Platform {
        common: settings(reader, &place, value, PLATFORM_KEYS),
        ..Platform::default()
    };
    for (key, value) in value.get_ref().as_table().into_iter().flatten() {
        if key.get_ref() == "patches" {
            platform.patches = reader.recipe_files("patches", value);
        } else if let Some(stage) = Stage::from_name(key.get_ref()) {
            let place = format!("[platform.{system}.{stage}]");
            let settings = settings(reader, &place, value, SETTINGS_KEYS);
            platform.stages.insert(stage, settings);
        }
    }
    platform
}

/// The keys of a table like `[build]`; those of `known` that are stages are left to the caller.
fn settings(
    reader: &mut RecipeReader<'_>,
    place: &str,
    value: &Value<'_>,
    known: &[&'static str],
) -> RecipeBuildSettings {
    let mut settings = RecipeBuildSettings::default();
    let Some(table) = reader.table(place, value) else {
        return settings;
    };
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "inputs" => settings.inputs = inputs(reader, "inputs", value),
            "replace-inputs" => {
                settings.replace_inputs = Some(inputs(reader, "replace-inputs", value));
            }
            "outputs" => settings.outputs = outputs(reader, value),
            "configure-flags" => settings.configure_flags = reader.texts("configure-flags", value),
            "make-flags" => settings.make_flags = reader.texts("make-flags", value),
            "install-flags" => settings.install_flags = reader.texts("install-flags", value),
            "system-features" => settings.system_features = features(reader, value),
            "environment" => {
                for (key, value) in reader.table("environment", value).into_iter().flatten() {
                    let name = key.get_ref().to_string();
                    let digit = name.starts_with(|first: char| first.is_ascii_digit());
                    if name.is_empty() || digit || variable_name(&name) != name {
                        reader.report(key.span(), RecipeProblem::BadVariable { value: name });
                    } else if let Some(text) = reader.text(&name, value) {
                        settings.environment.insert(name, text);
                    }
                }
            }
            "tests" => settings.tests = reader.boolean("tests", value),
            "tests-reason" => settings.tests_reason = reader.filled_text("tests-reason", value),
            "check-target" => {
                let target = reader.filled_text("check-target", value);
                settings.check_target = target.map(|text| Spanned::new(value.span(), text));
            }
            "typical-seconds" => {
                settings.typical_seconds =
                    reader.count("typical-seconds", value, "a number of seconds, above zero");
            }
            other if known.contains(&other) => {}
            _ => reader.unknown(key, place, known),
        }
    }
    settings
}

fn inputs(reader: &mut RecipeReader<'_>, key: &str, value: &Value<'_>) -> Vec<Spanned<InputName>> {
    let mut inputs = Vec::new();
    for text in reader.texts(key, value) {
        match text.get_ref().parse::<InputName>() {
            Ok(input) => inputs.push(Spanned::new(text.span(), input)),
            Err(error) => reader.report(text.span(), error),
        }
    }
    inputs
}

/// Words as guix-daemon and its build hooks read them.
fn features(reader: &mut RecipeReader<'_>, value: &Value<'_>) -> Vec<Spanned<String>> {
    let mut features = reader.texts("system-features", value);
    features.retain(|feature| {
        let is_word = is_feature(feature.get_ref());
        if !is_word {
            let value = feature.get_ref().clone();
            reader.report(feature.span(), RecipeProblem::BadFeature { value });
        }
        is_word
    });
    features
}

fn outputs(reader: &mut RecipeReader<'_>, value: &Value<'_>) -> Vec<String> {
    let mut outputs = Vec::new();
    for text in reader.texts("outputs", value) {
        let span = text.span();
        let value = text.into_inner();
        if !is_output_name(&value) {
            reader.report(span, RecipeProblem::BadOutput { value });
        } else if outputs.contains(&value) {
            reader.report(span, RecipeProblem::DuplicateOutput { value });
        } else {
            outputs.push(value);
        }
    }
    if !outputs.iter().any(|output| output == "out") {
        reader.report(value.span(), RecipeProblem::NoOut);
    }
    outputs
}
