// SPDX-License-Identifier: GPL-3.0-or-later
//! What a recipe says, once it has been read and checked.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use toml::Spanned;

use crate::fetch::Location;
use crate::formats::hash::Sha256Digest;
use crate::formats::system::System;
use crate::formats::visible::visible;

/// A recipe's TOML and the name to show for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeFile {
    /// Its path, for messages.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// A step of a bootstrap. The order is that of the bootstrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Static tools, built in the seed by the seed's compiler.
    Stage0,
    /// The seed's C library, relocated into the store.
    Libc,
    /// The implicit inputs themselves.
    Final,
    /// Ordinary packages, built with nothing but the final inputs.
    Package,
}

impl Stage {
    /// Every stage, in the order of the bootstrap.
    pub const ALL: [Self; 4] = [Self::Stage0, Self::Libc, Self::Final, Self::Package];

    /// The name: the recipe's table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stage0 => "stage0",
            Self::Libc => "libc",
            Self::Final => "final",
            Self::Package => "package",
        }
    }

    /// What the builder's variable `stage` holds. For [`Stage::Package`] it is `proof`, the stage's first name: another
    /// word would change the output path of every package.
    pub fn derivation_name(self) -> &'static str {
        match self {
            Self::Package => "proof",
            other => other.name(),
        }
    }

    /// The stage of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// How users and recipes address a build: `stage0/NAME`, or `NAME` for the stage after stage0 that the
/// recipe has (libc, final or package).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Whether it is the stage0 build.
    pub stage0: bool,
    /// The recipe's name.
    pub name: String,
}

impl Address {
    /// The address of the build of recipe `name` in `stage`.
    pub fn new(stage: Stage, name: &str) -> Self {
        Self {
            stage0: stage == Stage::Stage0,
            name: name.to_owned(),
        }
    }

    /// The address of recipe `name` in stage0.
    pub fn stage0(name: &str) -> Self {
        Self::new(Stage::Stage0, name)
    }

    /// The address of recipe `name` after stage0.
    pub fn after_stage0(name: &str) -> Self {
        Self::new(Stage::Final, name)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = if self.stage0 { "stage0/" } else { "" };
        write!(formatter, "{stage}{}", self.name)
    }
}

/// A text that cannot be an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum AddressError {
    /// Something before the slash that is not `stage0`.
    #[error(
        "unknown stage `{}`: only `stage0/NAME` has a prefix, every other stage is addressed as `NAME`",
        visible(.0)
    )]
    UnknownStage(String),
    /// An empty part, or a character that no package name has.
    #[error(
        "`{}` is not the name of a package: expected NAME or stage0/NAME, for an output NAME:OUTPUT",
        visible(.0)
    )]
    Malformed(String),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (stage0, name) = match text.split_once('/') {
            None => (false, text),
            Some(("stage0", name)) => (true, name),
            Some((stage, _)) => return Err(AddressError::UnknownStage(stage.to_owned())),
        };
        if !is_item_name(name) {
            return Err(AddressError::Malformed(text.to_owned()));
        }
        Ok(Self {
            stage0,
            name: name.to_owned(),
        })
    }
}

/// One output of a build: `ADDRESS` (output `out`) or `ADDRESS:OUTPUT`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InputName {
    /// The build.
    pub address: Address,
    /// Its output.
    pub output: String,
}

impl InputName {
    /// The output `out` of `address`.
    pub fn out(address: Address) -> Self {
        Self {
            address,
            output: "out".to_owned(),
        }
    }

    /// The shell variable that the builder finds its path in: `input_libc_static` for `libc:static`. Two
    /// stages of one package share it.
    pub fn variable(&self) -> String {
        let mut text = format!("input_{}", self.address.name);
        if self.output != "out" {
            text.push('_');
            text.push_str(&self.output);
        }
        variable_name(&text)
    }
}

impl fmt::Display for InputName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.address)?;
        match self.output.as_str() {
            "out" => Ok(()),
            output => write!(formatter, ":{output}"),
        }
    }
}

impl FromStr for InputName {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, output) = text.split_once(':').unwrap_or((text, "out"));
        if !is_output_name(output) {
            return Err(AddressError::Malformed(text.to_owned()));
        }
        Ok(Self {
            address: address.parse()?,
            output: output.to_owned(),
        })
    }
}

/// `text` with every character that a shell variable cannot have replaced by an underscore.
pub fn variable_name(text: &str) -> String {
    let keep = |character: char| match character.is_ascii_alphanumeric() {
        true => character,
        false => '_',
    };
    text.chars().map(keep).collect()
}

/// Whether `text` can be (part of) the name of a store item: Nix's character set, no leading dot. The length
/// leaves room for `-VERSION-OUTPUT.drv` below the limit of 211.
pub fn is_item_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._?=".contains(&byte);
    (1..=100).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(allowed)
}

/// Variables of the build that an output of the same name would hide.
const NOT_OUTPUTS: &[&str] = &[
    "drv", "env", "inputs", "loader", "name", "outputs", "patches", "phases", "pname", "seed",
    "shell", "source", "stage", "system", "tests", "triplet", "version",
];

/// Whether `text` can name an output. It is a shell variable in the build, so it has no dash.
pub fn is_output_name(text: &str) -> bool {
    if NOT_OUTPUTS.contains(&text) {
        return false;
    }
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// A file of a recipe's folder: a patch, or a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeText {
    /// Its base name.
    pub name: String,
    /// Its bytes: patches need not be UTF-8.
    pub contents: Vec<u8>,
}

/// A derivation of its own that turns a source without generated files into one with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regenerate {
    /// The seed that it runs in.
    pub root: Spanned<String>,
    /// What it runs.
    pub script: RecipeText,
}

/// One variant of a source: an origin with its own bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The name of the fixed-output item.
    pub file: String,
    /// Its SHA-256.
    pub sha256: Sha256Digest,
    /// Its size in bytes, where the recipe says: for forecasts and progress, and in no derivation.
    pub size: Option<u64>,
    /// Where it is, in the order to try: URLs, then the distribution's source archive.
    pub locations: Vec<Location>,
    /// Fix-ups of this variant, applied before the common ones.
    pub patches: Vec<RecipeText>,
    /// The derivation that completes it.
    pub regenerate: Option<Regenerate>,
}

/// The variants of one source, by name (`upstream`, `debian`).
pub type Variants = BTreeMap<String, Source>;

/// The variant `preferred`, else upstream's, else the first by name.
pub fn choose_variant<'a>(variants: &'a Variants, preferred: &str) -> Option<&'a Source> {
    variants
        .get(preferred)
        .or_else(|| variants.get("upstream"))
        .or_else(|| variants.values().next())
}

/// How to build: the keys of `[build]`, of a stage's table and of a platform's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecipeBuildSettings {
    /// Inputs besides the stage's implicit ones.
    pub inputs: Vec<Spanned<InputName>>,
    /// The whole list of inputs.
    pub replace_inputs: Option<Vec<Spanned<InputName>>>,
    /// The names of the outputs; none means `out`.
    pub outputs: Vec<String>,
    /// Arguments of `configure`.
    pub configure_flags: Vec<Spanned<String>>,
    /// Arguments of every `make`.
    pub make_flags: Vec<Spanned<String>>,
    /// Further arguments of `make install`.
    pub install_flags: Vec<Spanned<String>>,
    /// What the machine must have for the build, such as `procfs`: Guix's `requiredSystemFeatures`.
    pub system_features: Vec<Spanned<String>>,
    /// Variables for the whole build.
    pub environment: BTreeMap<String, Spanned<String>>,
    /// Whether the test suite runs.
    pub tests: Option<bool>,
    /// Why it does not, or which parts of it do not.
    pub tests_reason: Option<String>,
    /// The target of make that runs it.
    pub check_target: Option<Spanned<String>>,
    /// How long it takes on two cores that have nothing else to do: for the order of builds and for forecasts where no
    /// earlier run tells, and in no derivation.
    pub typical_seconds: Option<u64>,
}

impl RecipeBuildSettings {
    /// Lays `other` over `self`: lists are appended, everything else is replaced where `other` says something.
    fn overlay(&mut self, other: &Self) {
        self.inputs.extend_from_slice(&other.inputs);
        for output in &other.outputs {
            if !self.outputs.contains(output) {
                self.outputs.push(output.clone());
            }
        }
        self.configure_flags
            .extend_from_slice(&other.configure_flags);
        self.make_flags.extend_from_slice(&other.make_flags);
        self.install_flags.extend_from_slice(&other.install_flags);
        self.system_features
            .extend_from_slice(&other.system_features);
        let environment = other.environment.iter();
        self.environment
            .extend(environment.map(|(name, value)| (name.clone(), value.clone())));
        fn replace<T: Clone>(mine: &mut Option<T>, theirs: &Option<T>) {
            if theirs.is_some() {
                mine.clone_from(theirs);
            }
        }
        replace(&mut self.replace_inputs, &other.replace_inputs);
        replace(&mut self.tests, &other.tests);
        replace(&mut self.tests_reason, &other.tests_reason);
        replace(&mut self.check_target, &other.check_target);
        replace(&mut self.typical_seconds, &other.typical_seconds);
    }
}

/// What `[platform.SYSTEM]` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Platform {
    /// Patches that only this system needs, applied after those of all.
    pub patches: Vec<RecipeText>,
    /// For every stage.
    pub common: RecipeBuildSettings,
    /// For one stage.
    pub stages: BTreeMap<Stage, RecipeBuildSettings>,
}

/// A package: its sources, and how each of its stages is built.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The name, which is also the folder's.
    pub name: String,
    /// Where `name` is, for messages about the recipe as a whole.
    pub name_span: std::ops::Range<usize>,
    /// The version.
    pub version: String,
    /// The version that Guix 1.5 has of it, where Guix has it.
    pub guix_version: Option<String>,
    /// One line that says what it is.
    pub synopsis: String,
    /// The project's page.
    pub home_page: String,
    /// The licence, as an SPDX expression.
    pub license: String,
    /// The source's variants; none where the phases make do without.
    pub sources: Variants,
    /// The folder of `stage0/` that is the source: of a program that belongs to this project.
    pub local_source: Option<Spanned<String>>,
    /// Further sources, by name.
    pub extras: BTreeMap<String, Variants>,
    /// Patches of all variants.
    pub patches: Vec<RecipeText>,
    /// The recipe's own phases, in every stage.
    pub phases: Option<RecipeText>,
    /// Those of one stage alone. A change of them leaves the other stages' derivations as they are.
    pub stage_phases: BTreeMap<Stage, RecipeText>,
    /// `[build]`: common to the stages.
    pub build: RecipeBuildSettings,
    /// The stages that the recipe has.
    pub stages: BTreeMap<Stage, RecipeBuildSettings>,
    /// What differs on one system.
    pub platforms: BTreeMap<System, Platform>,
    /// The file it was read from.
    pub file: Arc<RecipeFile>,
}

impl Recipe {
    /// What a build in `stage` reads as its own phases: those of every stage, then those of this one.
    pub fn phases_in(&self, stage: Stage) -> Option<RecipeText> {
        match (&self.phases, self.stage_phases.get(&stage)) {
            (Some(all), Some(own)) => Some(RecipeText {
                name: all.name.clone(),
                contents: [&all.contents[..], b"\n", &own.contents[..]].concat(),
            }),
            (all, own) => all.as_ref().or(own).cloned(),
        }
    }

    /// How `stage` is built on `system`: `[build]`, then the platform's common keys, then the stage's, then the
    /// platform's for that stage, each laid over those before.
    pub fn settings(&self, stage: Stage, system: System) -> RecipeBuildSettings {
        let mut settings = self.build.clone();
        let platform = self.platforms.get(&system);
        let layers = [
            platform.map(|platform| &platform.common),
            self.stages.get(&stage),
            platform.and_then(|platform| platform.stages.get(&stage)),
        ];
        for layer in layers.into_iter().flatten() {
            settings.overlay(layer);
        }
        if settings.outputs.is_empty() {
            settings.outputs.push("out".to_owned());
        }
        settings
    }

    /// The stage that `NAME` without a prefix addresses, where the recipe has one.
    pub fn stage_after_stage0(&self) -> Option<Stage> {
        self.stages
            .keys()
            .copied()
            .find(|stage| *stage != Stage::Stage0)
    }

    /// The stage that `address` (of this recipe) names, where the recipe has it.
    pub fn stage_of(&self, address: &Address) -> Option<Stage> {
        match address.stage0 {
            true => self
                .stages
                .contains_key(&Stage::Stage0)
                .then_some(Stage::Stage0),
            false => self.stage_after_stage0(),
        }
    }

    /// The addresses of its builds, in the order of the bootstrap.
    pub fn addresses(&self) -> impl Iterator<Item = (Stage, Address)> + '_ {
        self.stages
            .keys()
            .map(|stage| (*stage, Address::new(*stage, &self.name)))
    }
}
