// SPDX-License-Identifier: GPL-3.0-or-later
//! The account of two trees that should be equal: which files differ, and where in them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::account::{self, DifferencePlace};
use super::cause::{Circumstances, DifferenceCause};
use super::rewrite::Rewriting;
use crate::formats::count::{agreeing, counted};
use crate::formats::visible::{visible, visible_path};
use crate::store::regular_file;

/// What is neither file nor directory nor link.
const SPECIAL: &str = "special file";

/// A tree that cannot be read, or not be compared.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot {action} {}: {source}", visible_path(path))]
pub struct CompareError {
    /// The file.
    pub path: PathBuf,
    /// What was being done, as an infinitive.
    pub action: &'static str,
    /// What the system said.
    pub source: io::Error,
}

/// One of the two trees.
#[derive(Debug, Clone, Copy)]
pub struct Side<'s> {
    /// Where it is.
    pub root: &'s Path,
    /// What stands for something else in it.
    pub rewriting: &'s Rewriting,
    /// What its build had around it.
    pub circumstances: &'s Circumstances,
}

/// A file that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileDifference {
    /// Its path in the trees; empty for the trees themselves.
    pub path: String,
    /// How it differs.
    #[serde(flatten)]
    pub what: What,
}

/// How a file differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "difference", rename_all = "kebab-case")]
pub enum What {
    /// It is in the first only.
    OnlyFirst,
    /// It is in the second only.
    OnlySecond,
    /// It is a file here, a directory or a link there.
    Type {
        /// What it is in the first.
        first: &'static str,
        /// What it is in the second.
        second: &'static str,
    },
    /// It may be executed here, not there.
    Executable {
        /// Whether it may in the first.
        first: bool,
    },
    /// The link leads elsewhere.
    Target {
        /// Where in the first.
        first: String,
        /// Where in the second.
        second: String,
    },
    /// The bytes differ.
    Contents {
        /// The size in the first, in bytes.
        first_size: u64,
        /// The size in the second, in bytes.
        second_size: u64,
        /// How many bytes differ.
        bytes: u64,
        /// Where, in terms of what the file is.
        places: Vec<DifferencePlace>,
    },
}

impl FileDifference {
    /// The likely causes.
    pub fn causes(&self) -> BTreeSet<DifferenceCause> {
        match &self.what {
            What::Contents { places, .. } => {
                places.iter().filter_map(|place| place.cause).collect()
            }
            _ => BTreeSet::new(),
        }
    }
}

/// How the two trees differ; nothing where they do not.
///
/// # Errors
/// Where a tree cannot be read, or `goes_on`, which is asked before each file, says no.
pub fn compare(
    first: Side<'_>,
    second: Side<'_>,
    goes_on: &dyn Fn() -> bool,
) -> Result<Vec<FileDifference>, CompareError> {
    let mut found = Vec::new();
    let mut open = vec![(
        first.root.to_owned(),
        second.root.to_owned(),
        PathBuf::new(),
    )];
    while let Some((one, other, name)) = open.pop() {
        if !goes_on() {
            return Err(failed(&one, "compare")(io::ErrorKind::Interrupted.into()));
        }
        let (one_kind, other_kind) = (kind(&one)?, kind(&other)?);
        let mut differs = |what| {
            found.push(FileDifference {
                path: visible_path(&name),
                what,
            });
        };
        match (one_kind, other_kind) {
            ("directory", "directory") => {
                let entries = (entries(&one, first)?, entries(&other, second)?);
                let names: BTreeSet<&OsString> = entries.0.keys().chain(entries.1.keys()).collect();
                for entry in names {
                    let path = name.join(entry);
                    match (entries.0.get(entry), entries.1.get(entry)) {
                        (Some(one), Some(other)) => open.push((one.clone(), other.clone(), path)),
                        (one, _) => found.push(FileDifference {
                            path: visible_path(&path),
                            what: match one {
                                Some(_) => What::OnlyFirst,
                                None => What::OnlySecond,
                            },
                        }),
                    }
                }
            }
            ("link", "link") => {
                let targets = (target(&one, first)?, target(&other, second)?);
                if targets.0 != targets.1 {
                    differs(What::Target {
                        first: visible(&targets.0),
                        second: visible(&targets.1),
                    });
                }
            }
            ("file", "file") => {
                let executables = (is_executable(&one)?, is_executable(&other)?);
                if executables.0 != executables.1 {
                    differs(What::Executable {
                        first: executables.0,
                    });
                }
                let (one, other) = (contents(&one, first)?, contents(&other, second)?);
                let ends = || {
                    let (first, second) = (first.rewriting, second.rewriting);
                    first.with_ends(&one) == second.with_ends(&other)
                };
                if one != other && !ends() {
                    differs(What::Contents {
                        first_size: one.len() as u64,
                        second_size: other.len() as u64,
                        bytes: account::differing_bytes(&one, &other),
                        places: account::places(
                            &one,
                            &other,
                            [first.circumstances, second.circumstances],
                        ),
                    });
                }
            }
            (SPECIAL, SPECIAL) => {
                let refusal =
                    "it is a device, socket or pipe on both sides, which no store item holds";
                return Err(failed(&one, "compare")(io::Error::other(refusal)));
            }
            (first, second) => differs(What::Type { first, second }),
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> CompareError {
    let path = path.to_owned();
    move |source| CompareError {
        path,
        action,
        source,
    }
}

fn kind(path: &Path) -> Result<&'static str, CompareError> {
    let found = fs::symlink_metadata(path).map_err(failed(path, "examine"))?;
    Ok(match found.file_type() {
        kind if kind.is_dir() => "directory",
        kind if kind.is_symlink() => "link",
        kind if kind.is_file() => "file",
        _ => SPECIAL,
    })
}

/// The entries of a directory by rewritten name.
///
/// # Errors
/// Where two have one name then: one of them would not be looked at.
fn entries(path: &Path, side: Side<'_>) -> Result<BTreeMap<OsString, PathBuf>, CompareError> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(path).map_err(failed(path, "list"))? {
        let entry = entry.map_err(failed(path, "list"))?;
        let mut name = entry.file_name().into_vec();
        side.rewriting.apply(&mut name);
        let name = OsString::from_vec(name);
        if let Some(other) = found.insert(name, entry.path()) {
            let refusal = format!(
                "{} has the same name once store hashes are placeholders",
                visible_path(other)
            );
            return Err(failed(&entry.path(), "compare")(io::Error::other(refusal)));
        }
    }
    Ok(found)
}

fn target(path: &Path, side: Side<'_>) -> Result<Vec<u8>, CompareError> {
    let target = fs::read_link(path).map_err(failed(path, "read the link"))?;
    let mut bytes = target.into_os_string().into_vec();
    side.rewriting.apply(&mut bytes);
    Ok(bytes)
}

fn is_executable(path: &Path) -> Result<bool, CompareError> {
    let found = fs::symlink_metadata(path).map_err(failed(path, "examine"))?;
    Ok(found.permissions().mode() & 0o100 != 0)
}

/// The most bytes of a file that is compared: two of them are in memory.
const FILE_MAX: u64 = 2 << 30;

fn contents(path: &Path, side: Side<'_>) -> Result<Vec<u8>, CompareError> {
    let mut bytes = regular_file::read(path, FILE_MAX).map_err(failed(path, "read"))?;
    if let Some(rewritten) = side.rewriting.apply_to_gzip(&bytes) {
        return Ok(rewritten);
    }
    side.rewriting.apply(&mut bytes);
    Ok(bytes)
}

/// `differences` in words, one line or a few for each, indented by two spaces.
pub fn describe(differences: &[FileDifference]) -> String {
    let mut text = String::new();
    let mut line = |line: String| text.push_str(&format!("  {line}\n"));
    for difference in differences {
        let path = match difference.path.as_str() {
            "" => "the output itself",
            path => path,
        };
        match &difference.what {
            What::OnlyFirst => line(format!("{path}: only in the first")),
            What::OnlySecond => line(format!("{path}: only in the second")),
            What::Type { first, second } => line(format!("{path}: a {first}, then a {second}")),
            What::Executable { first } => line(format!(
                "{path}: executable in the {} only",
                if *first { "first" } else { "second" }
            )),
            What::Target { first, second } => {
                line(format!("{path}: a link to {first}, then to {second}"));
            }
            What::Contents {
                first_size,
                second_size,
                bytes,
                places,
            } => {
                let sizes = match first_size == second_size {
                    true => format!("of {first_size}"),
                    false => format!("of {first_size} and {second_size}"),
                };
                let verb = agreeing(*bytes, "differs", "differ");
                let bytes = counted(*bytes, "byte");
                line(format!("{path}: {bytes} {verb} {sizes}"));
                for place in places {
                    line(format!(
                        "  {}: {}",
                        place.place,
                        counted(place.bytes, "byte")
                    ));
                    line(format!("    - {}", place.first));
                    line(format!("    + {}", place.second));
                    if let Some(cause) = place.cause {
                        line(format!("    likely {}", cause.describe()));
                    }
                }
                if places.len() >= account::PLACES {
                    line("  and perhaps more places, which are not listed".to_owned());
                }
            }
        }
    }
    text
}

#[cfg(test)]
#[path = "compare/tests.rs"]
mod tests;
