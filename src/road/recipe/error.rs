// SPDX-License-Identifier: GPL-3.0-or-later
//! What can be wrong with a recipe, and where.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::model::{AddressError, RecipeFile};
use crate::fetch::InvalidLocation;
use crate::formats::hash::InvalidDigest;
use crate::formats::system::UnknownSystem;
use crate::formats::visible::visible;

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum RecipeProblem {
    #[error("this is not TOML: {0}")]
    Syntax(String),
    #[error("unknown key `{key}` in {place}")]
    UnknownKey {
        key: String,
        place: String,
        known: Vec<&'static str>,
    },
    #[error("{place} lacks the key `{key}`")]
    MissingKey { key: &'static str, place: String },
    #[error("`{key}` is {seen}: expected {expected}")]
    WrongType {
        key: String,
        seen: &'static str,
        expected: &'static str,
    },
    #[error("`{key}` is empty")]
    Empty { key: String },
    #[error("`{key}` holds a NUL character, which no file name and no variable can")]
    Nul { key: String },
    #[error(
        "`{value}` cannot be part of the name of a store item: expected at most 100 of the characters A-Z a-z 0-9 + - . _ ? =, not starting with a dot"
    )]
    BadName { value: String },
    #[error(
        "`{value}` cannot name an output: expected lower-case letters and digits, and no variable that the build has already"
    )]
    BadOutput { value: String },
    #[error("the output `{value}` is named twice")]
    DuplicateOutput { value: String },
    #[error(
        "`{value}` cannot name a feature of a machine: expected letters, digits and +-._?=, such as `procfs`"
    )]
    BadFeature { value: String },
    #[error("the outputs lack `out`")]
    NoOut,
    #[error("`{value}` cannot name a variable: expected letters, digits and underscores")]
    BadVariable { value: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    BadHash(#[from] InvalidDigest),
    #[error(transparent)]
    BadLocation(#[from] InvalidLocation),
    #[error("`{url}` is not a URL")]
    NotAUrl { url: String },
    #[error("the source has no location: neither `urls` nor `debian`")]
    NoLocation,
    #[error("recipe `{name}` has no source")]
    MissingSource { name: String },
    #[error("the recipe's folder has no file `{file}`")]
    MissingFile { file: String, present: Vec<String> },
    #[error("unused file `{file}` in the recipe's folder")]
    UnknownPhaseFile { file: String },
    #[error("recipe `{name}` lies in a folder called `{folder}`")]
    NameIsNotFolder { name: String, folder: String },
    #[error("there are two recipes called `{name}`: the other is {other}")]
    DuplicateName { name: String, other: String },
    #[error("there are two recipes for libc: the other is {other}")]
    DuplicateLibc { other: String },
    #[error("recipe `{name}` has no stage")]
    NoStage { name: String },
    #[error("`{name}` would address two builds: [{first}] and [{second}]")]
    AmbiguousStage {
        name: String,
        first: &'static str,
        second: &'static str,
    },
    #[error(transparent)]
    #[diagnostic(transparent)]
    UnknownSystem(#[from] UnknownSystem),
    #[error(transparent)]
    #[diagnostic(transparent)]
    BadInput(#[from] AddressError),
    #[error("unknown input `{input}`: {reason}")]
    UnknownInput {
        input: String,
        reason: String,
        similar: Option<String>,
    },
    #[error("`{package}` needs the implicit input `{input}`, which no recipe builds")]
    MissingImplicitInput { package: String, input: String },
    #[error("these packages need each other: {}", chain.join(" → "))]
    Cycle { chain: Vec<String> },
    #[error("unknown variable `${variable}` in {package}")]
    UnknownVariable {
        variable: String,
        package: String,
        known: Vec<String>,
    },
    #[error("unknown root `{root}`: no seed has this name")]
    UnknownRoot { root: String, known: Vec<String> },
    #[error("the recipe has a `source` and a `local-source`: expected one of them")]
    TwoSources,
    #[error("`stage0` has no folder `{folder}`")]
    UnknownLocalSource { folder: String },
    #[error("shell syntax error: {message}")]
    Shell { message: String },
    #[error("the test suite does not run, and `tests-reason` does not say why")]
    NoTestsReason,
}

impl RecipeProblem {
    /// What to do about it.
    pub(super) fn help(&self) -> Option<String> {
        Some(match self {
            Self::UnknownKey { key, known, .. } if key == "proof" && known.contains(&"package") => {
                "the stage of ordinary packages is called `package`: rename the table".to_owned()
            }
            Self::UnknownKey { key, known, .. } => match closest(key, known) {
                Some(similar) => format!("did you mean `{similar}`? Known here: {}", known.join(", ")),
                None => format!("known here: {}", known.join(", ")),
            },
            Self::BadHash(_) => "`sha256sum FILE` (FreeBSD: `sha256 -q FILE`) prints it".to_owned(),
            Self::NotAUrl { .. } => {
                "a file of a Debian source package goes under `debian = { package, version, file }`".to_owned()
            }
            Self::NoLocation => "say where the bytes are: urls = [\"https://…\"], or debian = { package, version, file }".to_owned(),
            Self::MissingSource { .. } => {
                "add [source.upstream] with file, sha256 and urls; a recipe without a source needs a phases.sh that replaces or deletes the phase `unpack`".to_owned()
            }
            Self::MissingFile { file, present } => {
                let names: Vec<&str> = present.iter().map(String::as_str).collect();
                match closest(file, &names) {
                    Some(similar) => format!("did you mean `{similar}`?"),
                    None => "add the file beside recipe.toml, or correct the name".to_owned(),
                }
            }
            Self::UnknownPhaseFile { .. } => {
                "the recipe's own phases are read from `phases.sh`, and `phases-STAGE.sh` of a stage that it has; other scripts must be named in recipe.toml".to_owned()
            }
            Self::NameIsNotFolder { name, .. } => format!("rename the folder to `{name}`, or correct the name"),
            Self::DuplicateName { .. } | Self::DuplicateLibc { .. } => "remove or rename one of them".to_owned(),
            Self::NoStage { .. } => "add a table [stage0], [final] or [package]; it may be empty".to_owned(),
            Self::AmbiguousStage { second, .. } => format!("remove one of the tables, [{second}] perhaps"),
            Self::UnknownInput { similar: Some(similar), .. } => format!("did you mean `{similar}`?"),
            Self::MissingImplicitInput { input, .. } => format!("add a recipe for `{input}`, or name the inputs with `replace-inputs`"),
            // There is no build before stage0's.
            Self::Cycle { chain } if chain.iter().all(|label| label.starts_with("stage0/")) => {
                "take one of these inputs out: what stage0 needs has to come from the seed".to_owned()
            }
            Self::Cycle { .. } => "take one of these inputs out, or use the stage0 build of one of the packages".to_owned(),
            Self::UnknownVariable { known, .. } => {
                format!("known: {}. A dollar that no name follows stands for itself", known.join(", "))
            }
            Self::UnknownRoot { known, .. } => format!("known: {}", known.join(", ")),
            Self::UnknownLocalSource { .. } => "`local-source` names a folder of `stage0`, beside the phases".to_owned(),
            Self::Shell { .. } => "phases must be POSIX shell; this machine's shell checked their syntax and ran nothing".to_owned(),
            Self::NoTestsReason => "add tests-reason = \"…\" beside `tests`".to_owned(),
            _ => return None,
        })
    }
}

/// The candidate that differs from `word` in at most a third of its letters, and least.
pub fn closest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let limit = word.len() / 3 + 1;
    candidates
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// One thing wrong in one recipe, at a place in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeError {
    /// What is wrong.
    pub problem: RecipeProblem,
    /// The file.
    pub file: Arc<RecipeFile>,
    /// Where in it: bytes.
    pub span: Range<usize>,
}

impl RecipeError {
    /// Line and column of the error, both from 1; the column counts characters.
    pub fn position(&self) -> (usize, usize) {
        let text = &self.file.text;
        let mut start = self.span.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        (line, before[line_start..].chars().count() + 1)
    }
}

impl fmt::Display for RecipeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name from the recipe may have any characters.
        formatter.write_str(&visible(self.problem.to_string()))
    }
}

impl std::error::Error for RecipeError {}

/// Everything wrong with the recipes, in the order of files and positions. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeErrors {
    errors: Vec<RecipeError>,
}

impl RecipeErrors {
    /// `errors`, sorted; `None` where there are none.
    pub fn new(mut errors: Vec<RecipeError>) -> Option<Self> {
        errors.sort_by(|one, other| {
            let key = |error: &RecipeError| (error.file.path.clone(), error.span.start);
            key(one).cmp(&key(other))
        });
        errors.dedup();
        (!errors.is_empty()).then_some(Self { errors })
    }

    /// The errors.
    pub fn errors(&self) -> &[RecipeError] {
        &self.errors
    }
}

impl fmt::Display for RecipeErrors {
    /// One line each: `FILE:LINE:COLUMN: message`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            let (line, column) = error.position();
            let separator = if index == 0 { "" } else { "\n" };
            write!(
                formatter,
                "{separator}{}:{line}:{column}: {error}",
                error.file.path
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for RecipeErrors {}
