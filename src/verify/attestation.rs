//! One document that says what somebody saw: which seed and sources, which outputs with which hashes, how they were checked.
//!
//! It is JSON. Two people's documents about the same derivations are compared with [`compare`]; a signature (see
//! [`signature`](super::signature)) says whose a document is. There are no times and no names of machines or people in
//! it: two honest runs of one tool on equal machines give equal documents.

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
    /// What was different about each of these builds, one for each round.
    pub variations: Vec<BTreeMap<String, String>>,
    /// The outputs, by package and name.
    pub outputs: Vec<AttestedOutput>,
    /// Store items that no package of the plan is, and that are as they were registered.
    pub other_items: usize,
    /// What is not as it was registered and no package of the plan: paths, and what is wrong.
    pub other_damage: BTreeMap<String, String>,
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
    /// More about it, for people; empty where there is no more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
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
    /// Whether nothing contradicts.
    pub fn agrees(&self) -> bool {
        self.different.is_empty() && self.bad.is_empty()
    }
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
    let by_name = |attestation: &Attestation| -> BTreeMap<String, AttestedOutput> {
        let outputs = attestation.outputs.iter();
        outputs
            .map(|output| {
                (
                    format!("{}:{}", output.package, output.output),
                    output.clone(),
                )
            })
            .collect()
    };
    let (one, other) = (by_name(first), by_name(second));
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    for name in names {
        let sides = (one.get(name), other.get(name));
        if [sides.0, sides.1]
            .into_iter()
            .flatten()
            .any(|output| !output.result.is_good())
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
                    path: one.path.clone(),
                    first: one.sha256.clone(),
                    second: other.sha256.clone(),
                });
            }
            (Some(_), Some(_)) => comparison.same.push(name.clone()),
            (None, None) => {}
        }
    }
    comparison
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn document(outputs: &[(&str, &str, &str, Seen)]) -> Attestation {
        let outputs = outputs
            .iter()
            .map(|(package, path, sha256, result)| AttestedOutput {
                package: (*package).to_owned(),
                output: "out".into(),
                path: format!("/gnu/store/{path}"),
                sha256: (*sha256).to_owned(),
                size: 1,
                result: *result,
                detail: String::new(),
            });
        Attestation {
            format: FORMAT,
            version: "0.1.0".into(),
            system: "x86_64-linux".into(),
            kernel: "Linux 6.1 x86_64".into(),
            seeds: vec![NamedHash {
                name: "small".into(),
                sha256: "00".into(),
            }],
            sources: Vec::new(),
            checks: vec!["store".into()],
            rounds: 0,
            variations: Vec::new(),
            outputs: outputs.collect(),
            other_items: 0,
            other_damage: BTreeMap::new(),
            good: true,
        }
    }

    #[test]
    fn a_document_is_read_as_it_was_written() {
        let document = document(&[("sed", "a", "11", Seen::Reproducible)]);
        let text = serde_json::to_string(&document).unwrap();
        assert!(text.contains("\"result\":\"reproducible\""));
        assert_eq!(Attestation::parse("a.json", &text).unwrap(), document);
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for (text, message) in [
            ("", "a.json is no document"),
            ("{}", "missing field"),
            ("{\"format\": 2}", "has format 2"),
            ("[1]", "a.json is no document"),
        ] {
            let error = Attestation::parse("a.json", text).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn documents_agree_or_say_where_they_do_not() {
        let good = Seen::Intact;
        let first = document(&[
            ("bash", "b", "1", good),
            ("sed", "s", "1", good),
            ("tar", "t1", "1", good),
            ("grep", "g", "1", good),
        ]);
        let second = document(&[
            ("bash", "b", "1", good),
            ("sed", "s", "2", good),
            ("tar", "t2", "1", good),
            ("make", "m", "1", good),
        ]);
        let comparison = compare(&first, &second);
        assert!(comparison.same_origin && !comparison.agrees());
        assert_eq!(comparison.same, ["bash:out"]);
        assert_eq!(comparison.different.len(), 1);
        assert_eq!(comparison.different[0].output, "sed:out");
        assert_eq!(comparison.incomparable, ["tar:out"]);
        assert_eq!(comparison.only_first, ["grep:out"]);
        assert_eq!(comparison.only_second, ["make:out"]);
        assert!(compare(&first, &first).agrees());
    }

    #[test]
    fn what_one_side_saw_go_wrong_is_no_agreement() {
        let first = document(&[("sed", "s", "1", Seen::Intact)]);
        let second = document(&[("sed", "s", "1", Seen::Differs)]);
        assert_eq!(compare(&first, &second).bad, ["sed:out"]);
    }

    #[test]
    fn another_seed_is_told() {
        let first = document(&[]);
        let mut second = first.clone();
        second.seeds[0].sha256 = "01".into();
        let comparison = compare(&first, &second);
        assert!(!comparison.same_origin);
        assert_eq!(comparison.origin[0], "seed small 00 is in the first only");
    }
}
