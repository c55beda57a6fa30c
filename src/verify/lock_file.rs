// SPDX-License-Identifier: GPL-3.0-or-later
//! `bootstrap.lock`: what was built, for others to compare with.
//!
//! One file holds the records of several seeds. Its lines are words separated by spaces; what is indented belongs to
//! the line above that is indented less, but only the first word of a line counts:
//!
//! ```text
//! seed SYSTEM SHA256 NAME
//!   impure REASON
//!   derivation LABEL PATH
//!     output NAME PATH SHA256 SIZE
//!       reference PATH
//! sum SHA256
//! ```
//!
//! `SHA256` of an output is that of its NAR, `SIZE` the NAR's in bytes; that of a seed is [`Seed::digest`]. `REASON`,
//! why others cannot have the seed, goes on to the end of the line, and most seeds have none. Everything is
//! sorted, so that the file differs where builds differ and nowhere else. The last line is the SHA-256 of all lines
//! before it: a damaged lock must not pass for builds that differ, and a damaged seed line not for another seed.
//!
//! [`Seed::digest`]: crate::road::seed::Seed::digest

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use crate::atomic_file;
use crate::diagnostics::FileError;
use crate::formats::hash::Sha256Digest;
use crate::formats::visible::visible_path;
use crate::limited_file;

/// The first line of a lock: a comment that names the version of the program.
const HEADER: &str = concat!(
    "# What was built, by system and seed; written by `bootstrap lock` ",
    env!("CARGO_PKG_VERSION"),
    ".\n"
);

/// What to do about a lock that is damaged: `bootstrap lock` does not overwrite it, since it may hold the records of
/// other seeds.
const GET_AGAIN: &str = "get it again from where it came from; or move it away, then write a new one with `bootstrap lock`";

/// A lock that cannot be read or written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LockFileError {
    /// The file cannot be read or written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] FileError),
    /// The file is missing.
    #[error("the lock {} is missing", visible_path(.0))]
    #[diagnostic(help("write one with `bootstrap lock`, or name another file"))]
    Missing(PathBuf),
    /// A line that cannot be read.
    #[error("{}:{line}: expected {expected}, saw `{seen}`", visible_path(path))]
    #[diagnostic(help("{GET_AGAIN}"))]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        seen: String,
    },
    /// The sum at the end is another.
    #[error(
        "{} was changed since it was written, or cut short: its last line should be `sum {found}`, but is {recorded}",
        visible_path(path)
    )]
    #[diagnostic(help("{GET_AGAIN}"))]
    Sum {
        /// The file.
        path: PathBuf,
        /// What the last line is, in words.
        recorded: String,
        /// The sum of the lines before.
        found: Sha256Digest,
    },
}

/// Whose builds a record is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeedKey {
    /// The system, such as `x86_64-linux`.
    pub system: String,
    /// What the seed is made of.
    pub sha256: Sha256Digest,
}

/// What was built from one seed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The seed's name, for messages.
    pub seed: String,
    /// Why others cannot have the seed, and so cannot build the same; `None` where they can.
    pub impure: Option<String>,
    /// The derivations by label.
    pub derivations: BTreeMap<String, LockedDerivation>,
}

/// A recorded derivation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockedDerivation {
    /// Its path, with the store directory.
    pub path: String,
    /// Its outputs by name, those that were valid.
    pub outputs: BTreeMap<String, LockedOutput>,
}

/// A recorded output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedOutput {
    /// Its path, with the store directory.
    pub path: String,
    /// The SHA-256 of its NAR.
    pub sha256: Sha256Digest,
    /// The size of its NAR in bytes.
    pub size: u64,
    /// The paths it refers to, with the store directory.
    pub references: BTreeSet<String>,
}

/// All that a lock holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// What was built, by seed.
    pub records: BTreeMap<SeedKey, Record>,
}

/// How an output compares with the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockFinding {
    /// The same bytes and references.
    Same,
    /// The same derivation gave something else.
    Differs {
        /// What is recorded.
        recorded: LockedOutput,
        /// What is in the store.
        found: LockedOutput,
    },
    /// The recipe, or something before it, is not what it was: there is nothing to compare with.
    OtherDerivation {
        /// The recorded derivation.
        recorded: String,
    },
    /// Built here, not recorded.
    NotRecorded,
    /// Recorded, not built here.
    NotBuilt,
}

/// An output and how it compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputComparison {
    /// The derivation's label.
    pub label: String,
    /// The output's name.
    pub output: String,
    /// How it compares.
    pub finding: LockFinding,
}

impl Record {
    /// Compares what is recorded with what was built `here`, the labels of which are those that are asked about. What
    /// is only recorded is in the result where `wanted` says so of its label.
    pub fn compare(&self, here: &Record, wanted: impl Fn(&str) -> bool) -> Vec<OutputComparison> {
        let labels: BTreeSet<&String> = self
            .derivations
            .keys()
            .filter(|label| wanted(label))
            .chain(here.derivations.keys())
            .collect();
        let nothing = LockedDerivation::default();
        let mut compared = Vec::new();
        for label in labels {
            let recorded = self.derivations.get(label).unwrap_or(&nothing);
            let built = here.derivations.get(label).unwrap_or(&nothing);
            let outputs: BTreeSet<&String> = recorded
                .outputs
                .keys()
                .chain(built.outputs.keys())
                .collect();
            for output in outputs {
                let finding = match (recorded.outputs.get(output), built.outputs.get(output)) {
                    (Some(_), None) | (None, None) => LockFinding::NotBuilt,
                    (None, Some(_)) => LockFinding::NotRecorded,
                    // Two derivations with one output path differ only in how their sources are fetched.
                    (Some(earlier), Some(found))
                        if recorded.path != built.path && earlier.path != found.path =>
                    {
                        LockFinding::OtherDerivation {
                            recorded: recorded.path.clone(),
                        }
                    }
                    (Some(recorded), Some(found)) if recorded == found => LockFinding::Same,
                    (Some(recorded), Some(found)) => LockFinding::Differs {
                        recorded: recorded.clone(),
                        found: found.clone(),
                    },
                };
                compared.push(OutputComparison {
                    label: label.clone(),
                    output: output.clone(),
                    finding,
                });
            }
        }
        compared
    }

    /// Takes over what was built `here`. What is recorded of a derivation that is planned the same but not built here
    /// stays; derivations that `is_planned` knows no more go.
    pub fn update(&mut self, here: Record, is_planned: impl Fn(&str, &str) -> bool) {
        (self.seed, self.impure) = (here.seed, here.impure);
        self.derivations
            .retain(|label, derivation| is_planned(label, &derivation.path));
        for (label, derivation) in here.derivations {
            if !derivation.outputs.is_empty() {
                self.derivations.insert(label, derivation);
            }
        }
    }
}

impl Lock {
    /// Reads the lock `path`.
    ///
    /// # Errors
    /// Where there is none, or it is not as it was written.
    pub fn read(path: &Path) -> Result<Self, LockFileError> {
        match limited_file::read_document(path) {
            Ok(bytes) => Self::parse(&String::from_utf8_lossy(&bytes), path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(LockFileError::Missing(path.to_owned()))
            }
            Err(error) => Err(FileError::named_by_user("read", path)(error).into()),
        }
    }

    /// Writes the lock to `path`, in one step: a reader sees the old one or the new one.
    pub fn write(&self, path: &Path) -> Result<(), LockFileError> {
        Ok(atomic_file::replace(path, self.to_text().as_bytes())?)
    }

    /// The text of the lock.
    pub fn to_text(&self) -> String {
        let mut text = HEADER.to_owned();
        // Writing to a String cannot fail.
        for (key, record) in &self.records {
            let _ = writeln!(text, "seed {} {} {}", key.system, key.sha256, record.seed);
            if let Some(reason) = &record.impure {
                let _ = writeln!(text, "  impure {reason}");
            }
            for (label, derivation) in &record.derivations {
                let _ = writeln!(text, "  derivation {label} {}", derivation.path);
                for (name, output) in &derivation.outputs {
                    let LockedOutput {
                        path, sha256, size, ..
                    } = output;
                    let _ = writeln!(text, "    output {name} {path} {sha256} {size}");
                    for reference in &output.references {
                        let _ = writeln!(text, "      reference {reference}");
                    }
                }
            }
        }
        let sum = Sha256Digest::of(&text);
        let _ = writeln!(text, "sum {sum}");
        text
    }

    /// Reads the text of a lock; `path` is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, LockFileError> {
        let end = text
            .trim_end_matches('\n')
            .rfind('\n')
            .map_or(0, |at| at + 1);
        let (body, last) = text.split_at(end);
        let found = Sha256Digest::of(body);
        if last != format!("sum {found}\n") {
            // Any other line is hidden: the lock in another user's clone can be a link to a file that only root reads.
            let recorded = match last.strip_prefix("sum ") {
                Some(sum) => format!(
                    "`sum {}`",
                    sum.trim_end().chars().take(100).collect::<String>()
                ),
                None => "another line".to_owned(),
            };
            return Err(LockFileError::Sum {
                path: path.to_owned(),
                recorded,
                found,
            });
        }
        let mut lock = Self::default();
        // Where the next line belongs.
        let mut record: Option<&mut Record> = None;
        let mut derivation: Option<String> = None;
        let mut output: Option<String> = None;
        for (number, line) in body.lines().enumerate() {
            let wrong = |expected| LockFileError::Line {
                path: path.to_owned(),
                line: number + 1,
                expected,
                seen: line.trim().chars().take(100).collect(),
            };
            let digest = |text: &str| Sha256Digest::from_base16(text).ok();
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            match words.as_slice() {
                [] => {}
                [first, ..] if first.starts_with('#') => {}
                ["seed", system, sha256, name] => {
                    let sha256 = digest(sha256).ok_or_else(|| wrong("a SHA-256 in base 16"))?;
                    let key = SeedKey {
                        system: (*system).to_owned(),
                        sha256,
                    };
                    let new = lock.records.entry(key).or_default();
                    new.seed = (*name).to_owned();
                    record = Some(new);
                    (derivation, output) = (None, None);
                }
                ["impure", reason @ ..] if !reason.is_empty() => {
                    let record = record
                        .as_mut()
                        .ok_or_else(|| wrong("a line that begins with `seed`"))?;
                    record.impure = Some(reason.join(" "));
                }
                ["derivation", label, path] => {
                    let record = record
                        .as_mut()
                        .ok_or_else(|| wrong("a line that begins with `seed`"))?;
                    let new = LockedDerivation {
                        path: (*path).to_owned(),
                        outputs: BTreeMap::new(),
                    };
                    record.derivations.insert((*label).to_owned(), new);
                    derivation = Some((*label).to_owned());
                    output = None;
                }
                ["output", name, path, sha256, size] => {
                    let into = record
                        .as_mut()
                        .zip(derivation.as_ref())
                        .and_then(|(record, label)| record.derivations.get_mut(label))
                        .ok_or_else(|| wrong("a line that begins with `derivation`"))?;
                    let new = LockedOutput {
                        path: (*path).to_owned(),
                        sha256: digest(sha256).ok_or_else(|| wrong("a SHA-256 in base 16"))?,
                        size: size.parse().map_err(|_| wrong("a size in bytes"))?,
                        references: BTreeSet::new(),
                    };
                    into.outputs.insert((*name).to_owned(), new);
                    output = Some((*name).to_owned());
                }
                ["reference", path] => {
                    let into = record
                        .as_mut()
                        .zip(derivation.as_ref())
                        .and_then(|(record, label)| record.derivations.get_mut(label))
                        .zip(output.as_ref())
                        .and_then(|(derivation, name)| derivation.outputs.get_mut(name))
                        .ok_or_else(|| wrong("a line that begins with `output`"))?;
                    into.references.insert((*path).to_owned());
                }
                _ => {
                    return Err(wrong(
                        "`seed SYSTEM SHA256 NAME`, `impure REASON`, `derivation LABEL PATH`, \
                         `output NAME PATH SHA256 SIZE` or `reference PATH`",
                    ));
                }
            }
        }
        Ok(lock)
    }
}

#[cfg(test)]
#[path = "lock/tests.rs"]
mod tests;
