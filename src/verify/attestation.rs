//! One document that says what somebody saw: which seed and sources, which outputs with which hashes, how they were checked.
//!
//! It is JSON. Two people's documents about the same derivations are compared with [`compare`]; a signature (see
//! [`signature`](super::signature)) says whose a document is. There are no names of machines or people in it, and no times
//! but those at which packages were built again: two honest runs of one tool on equal machines give documents that are
//! equal but for these.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The version of the document that this program writes and reads.
pub const FORMAT: u32 = 1;

/// What somebody saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of this program.
    pub version: String,
    /// The system built for, such as `x86_64-linux`.
    pub system: String,
    /// The kernel of the machine: name, release and hardware.
    pub kernel: String,
    /// What everything was built from, the seed and the larger roots that sources were regenerated in.
    pub seeds: Vec<NamedHash>,
    /// The sources, by name.
    pub sources: Vec<NamedHash>,
    /// How the outputs were checked: `store`, `lock`, `rebuild`, `fixpoint`, `diverse`.
    pub checks: Vec<String>,
    /// How often each package was built again.
    pub rounds: u32,
    /// What was different about each of these builds, one for each round; with `time`, when the round began, in seconds
    /// since the Epoch.
    pub variations: Vec<BTreeMap<String, String>>,
    /// What should have been different and could not be, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_varied: BTreeMap<String, String>,
    /// The outputs, by package and name.
    pub outputs: Vec<AttestedOutput>,
    /// Store items that no package of the plan is, and that are as they were registered.
    pub other_items: usize,
    /// What is not as it was registered and no package of the plan: paths, and what is wrong.
    pub other_damage: BTreeMap<String, String>,
    /// Named like store items, and not valid: left by runs that were killed, or kept copies.
    #[serde(default)]
    pub unregistered: Vec<String>,
    /// What is in the store directory and named like no store item.
    #[serde(default)]
    pub extra: Vec<String>,
    /// Whether everything was as it should be.
    pub good: bool,
}

/// Something known by its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NamedHash {
    /// What people call it.
    pub name: String,
    /// Its SHA-256 in base 16.
    pub sha256: String,
}

/// An output and what was seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttestedOutput {
    /// The package: `sed`, `stage0/sed`.
    pub package: String,
    /// The output's name.
    pub output: String,
    /// Its store path.
    pub path: String,
    /// The SHA-256 of its NAR in base 16, as it was registered.
    pub sha256: String,
    /// The size of its NAR in bytes.
    pub size: u64,
    /// What was seen of it.
    pub result: Seen,
    /// The output it was compared with, where that is another store item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<SecondOutput>,
    /// More about it, for people; empty where there is no more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// The same output made in another way, which goes to another store path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondOutput {
    /// How it was made, in words: `from the seed NAME`, `built with the final tools`.
    pub made: String,
    /// Its store path.
    pub path: String,
    /// The SHA-256 of its NAR in base 16, as it was registered.
    pub sha256: String,
    /// The size of its NAR in bytes.
    pub size: u64,
}

/// What was seen of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// The store holds what was registered.
    Intact,
    /// Every build gave the same bytes.
    Reproducible,
    /// Valid, and nothing else was looked at.
    Registered,
    /// Only times, modes or owners are not the store's.
    Touched,
    /// The store holds something else than what was registered.
    Altered,
    /// The store holds what was registered, but the rest of the record is wrong.
    Misrecorded,
    /// It is gone.
    Missing,
    /// It cannot be read.
    Unreadable,
    /// A build gave other bytes, or the lock has others.
    Differs,
    /// It could not be built again.
    Failed,
}

impl Seen {
    /// Whether that is how it should be.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Intact | Self::Reproducible | Self::Registered)
    }
}

/// A document that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AttestationError {
    /// It is no such document.
    #[error("{name} is no document of `bootstrap verify --json`: {detail}")]
    Malformed {
        /// Whose it is, for the message.
        name: String,
        /// What is wrong.
        detail: String,
    },
    /// A newer program wrote it.
    #[error(
        "{name} has format {found}, but this program knows format {FORMAT} only: use a newer version of it"
    )]
    Format {
        /// Whose it is, for the message.
        name: String,
        /// Its format.
        found: u64,
    },
}

impl Attestation {
    /// Reads the document `text`, which people know as `name`. A signature in it is not looked at.
    pub fn parse(name: &str, text: &str) -> Result<Self, AttestationError> {
        let malformed = |error: serde_json::Error| AttestationError::Malformed {
            name: name.to_owned(),
            detail: error.to_string(),
        };
        let value: serde_json::Value = serde_json::from_str(text).map_err(malformed)?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format != u64::from(FORMAT) => Err(AttestationError::Format {
                name: name.to_owned(),
                found: format,
            }),
            _ => serde_json::from_value(value).map_err(malformed),
        }
    }
}

/// How two documents compare.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Whether both start from the same seeds and sources.
    pub same_origin: bool,
    /// How they do not, in words.
    pub origin: Vec<String>,
    /// Outputs with the same path and hash in both.
    pub same: Vec<String>,
    /// Outputs with the same path, and different hashes.
    pub different: Vec<DifferentOutput>,
    /// Outputs whose paths differ: the recipes, or what is before them, were not the same.
    pub incomparable: Vec<String>,
    /// Outputs in the first only.
    pub only_first: Vec<String>,
    /// Outputs in the second only.
    pub only_second: Vec<String>,
    /// Outputs that one of the documents says nothing good of.
    pub bad: Vec<String>,
    /// What else one of the documents says is not as it should be.
    pub damage: Vec<String>,
}

/// An output that two people have different hashes of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DifferentOutput {
    /// `PACKAGE:OUTPUT`.
    pub output: String,
    /// The store path.
    pub path: String,
    /// The hash in the first.
    pub first: String,
    /// The hash in the second.
    pub second: String,
}

impl Comparison {
    /// Whether both saw the same good outputs, one at least, and nothing that was not as it should be.
    ///
    /// Another origin, and outputs of other derivations, are no contradiction: what is the same has the same path, and so
    /// the same origin.
    pub fn agrees(&self) -> bool {
        let against = [self.different.len(), self.bad.len(), self.damage.len()];
        !self.same.is_empty() && against == [0; 3]
    }
}

/// An output as it is compared.
struct Compared<'d> {
    path: &'d str,
    sha256: &'d str,
    is_good: bool,
}

/// The outputs of a document by name; those that were made in a second way have names of their own.
fn by_name(attestation: &Attestation) -> BTreeMap<String, Compared<'_>> {
    let mut found = BTreeMap::new();
    for output in &attestation.outputs {
        let name = format!("{}:{}", output.package, output.output);
        let is_good = output.result.is_good();
        if let Some(second) = &output.second {
            let compared = Compared {
                path: &second.path,
                sha256: &second.sha256,
                is_good,
            };
            found.insert(format!("{name} {}", second.made), compared);
        }
        let compared = Compared {
            path: &output.path,
            sha256: &output.sha256,
            is_good,
        };
        found.insert(name, compared);
    }
    found
}

/// Compares two people's documents.
pub fn compare(first: &Attestation, second: &Attestation) -> Comparison {
    let mut comparison = Comparison::default();
    if first.system != second.system {
        comparison
            .origin
            .push(format!("system: {} and {}", first.system, second.system));
    }
    for (what, one, other) in [
        ("seed", &first.seeds, &second.seeds),
        ("source", &first.sources, &second.sources),
    ] {
        let one: BTreeSet<&NamedHash> = one.iter().collect();
        let other: BTreeSet<&NamedHash> = other.iter().collect();
        for (sides, number) in [((&one, &other), "first"), ((&other, &one), "second")] {
            for hash in sides.0.difference(sides.1) {
                comparison.origin.push(format!(
                    "{what} {} {} is in the {number} only",
                    hash.name, hash.sha256
                ));
            }
        }
    }
    comparison.same_origin = comparison.origin.is_empty();
    for (document, number) in [(first, "first"), (second, "second")] {
        for (what, damage) in &document.other_damage {
            comparison
                .damage
                .push(format!("{what} in the {number}: {damage}"));
        }
        if !document.good {
            comparison.damage.push(format!(
                "the {number} says that not all was as it should be"
            ));
        }
    }
    let (one, other) = (by_name(first), by_name(second));
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    for name in names {
        let sides = (one.get(name), other.get(name));
        if [sides.0, sides.1]
            .into_iter()
            .flatten()
            .any(|output| !output.is_good)
        {
            comparison.bad.push(name.clone());
        }
        match sides {
            (Some(_), None) => comparison.only_first.push(name.clone()),
            (None, Some(_)) => comparison.only_second.push(name.clone()),
            (Some(one), Some(other)) if one.path != other.path => {
                comparison.incomparable.push(name.clone());
            }
            (Some(one), Some(other)) if one.sha256 != other.sha256 => {
                comparison.different.push(DifferentOutput {
                    output: name.clone(),
                    path: one.path.to_owned(),
                    first: one.sha256.to_owned(),
                    second: other.sha256.to_owned(),
                });
            }
            (Some(_), Some(_)) => comparison.same.push(name.clone()),
            (None, None) => {}
        }
    }
    comparison
}

#[cfg(test)]
#[path = "attestation/tests.rs"]
mod tests;
