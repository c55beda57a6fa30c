// SPDX-License-Identifier: GPL-3.0-or-later
//! Compares two users' documents.
//!
//! Outputs are known by their store paths: what has the same path was built by the same derivation, whichever way of
//! several its document calls the first. Names are for messages only.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Attestation, NamedHash};

/// How two documents compare.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Whether both start from the same seeds, sources and recipes.
    pub same_origin: bool,
    /// How they do not, in words.
    pub origin: Vec<String>,
    /// What of it others cannot have, in words.
    pub impure: Vec<String>,
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

/// An output that has different hashes in two documents.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DifferentOutput {
    /// `PACKAGE:OUTPUT`, and how it was made where the first document names several ways.
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
    /// Another origin, and outputs of other derivations, are no contradiction: what is the same has the same path, and
    /// so the same origin.
    pub fn agrees(&self) -> bool {
        let against = [self.different.len(), self.bad.len(), self.damage.len()];
        !self.same.is_empty() && against == [0; 3]
    }
}

/// An output as it is compared.
struct ComparedOutput<'d> {
    /// `PACKAGE:OUTPUT`.
    output: String,
    /// The same, and how it was made.
    name: String,
    sha256: &'d str,
    is_good: bool,
}

/// The outputs of a document by path, those that were made in a second way among them.
fn by_path(attestation: &Attestation) -> BTreeMap<&str, ComparedOutput<'_>> {
    let mut found: BTreeMap<&str, ComparedOutput<'_>> = BTreeMap::new();
    for output in &attestation.outputs {
        let is_good = output.result.is_good();
        let label = format!("{}:{}", output.package, output.output);
        let first = (&output.path, &output.sha256, output.made.as_ref());
        let second = output.second.as_ref();
        let second = second.map(|second| (&second.path, &second.sha256, Some(&second.made)));
        for (path, sha256, made) in std::iter::once(first).chain(second) {
            let compared = found
                .entry(path.as_str())
                .or_insert_with(|| ComparedOutput {
                    name: match made {
                        Some(made) => format!("{label} {made}"),
                        None => label.clone(),
                    },
                    output: label.clone(),
                    sha256,
                    is_good,
                });
            // Two packages can have one derivation.
            compared.is_good &= is_good;
        }
    }
    found
}

/// Compares two documents.
pub fn compare(first: &Attestation, second: &Attestation) -> Comparison {
    let mut comparison = Comparison {
        origin: other_origin(first, second),
        ..Comparison::default()
    };
    comparison.same_origin = comparison.origin.is_empty();
    for (document, number) in [(first, "first"), (second, "second")] {
        for (seed, reason) in &document.impure {
            comparison
                .impure
                .push(format!("the seed {seed} of the {number}: {reason}"));
        }
        for (what, damage) in &document.other_damage {
            comparison
                .damage
                .push(format!("{what} in the {number}: {damage}"));
        }
        if !document.good {
            comparison
                .damage
                .push(format!("the {number} reports problems"));
        }
    }
    let (one, other) = (by_path(first), by_path(second));
    let all = one.values().chain(other.values());
    let bad = all.filter(|compared| !compared.is_good);
    comparison.bad = sorted(bad.map(|compared| compared.name.clone()));
    for (path, compared) in &one {
        match other.get(path) {
            None => {}
            Some(found) if found.sha256 == compared.sha256 => {
                comparison.same.push(compared.name.clone());
            }
            Some(found) => comparison.different.push(DifferentOutput {
                output: compared.name.clone(),
                path: (*path).to_owned(),
                first: compared.sha256.to_owned(),
                second: found.sha256.to_owned(),
            }),
        }
    }
    comparison.same.sort();
    comparison.different.sort();
    let alone = [(&one, &other), (&other, &one)].map(|(these, those)| {
        let alone = these.iter().filter(|(path, _)| !those.contains_key(*path));
        alone.map(|(_, compared)| compared).collect::<Vec<_>>()
    });
    let labels = [&alone[0], &alone[1]].map(|side| -> BTreeSet<&str> {
        side.iter()
            .map(|compared| compared.output.as_str())
            .collect()
    });
    // What both have, and neither like the other, was built from something else.
    let (both, only_first): (Vec<_>, Vec<_>) = alone[0]
        .iter()
        .partition(|compared| labels[1].contains(compared.output.as_str()));
    let (both_too, only_second): (Vec<_>, Vec<_>) = alone[1]
        .iter()
        .partition(|compared| labels[0].contains(compared.output.as_str()));
    comparison.incomparable = sorted(names(both).chain(names(both_too)));
    comparison.only_first = sorted(names(only_first));
    comparison.only_second = sorted(names(only_second));
    comparison
}

fn names(of: Vec<&&ComparedOutput<'_>>) -> impl Iterator<Item = String> {
    of.into_iter().map(|compared| compared.name.clone())
}

/// Each name once.
fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let names: BTreeSet<String> = names.collect();
    names.into_iter().collect()
}

/// How the documents do not start from the same, in words.
fn other_origin(first: &Attestation, second: &Attestation) -> Vec<String> {
    let mut origin = Vec::new();
    if first.system != second.system {
        origin.push(format!("system: {} and {}", first.system, second.system));
    }
    for (what, one, other) in [
        ("seed", &first.seeds, &second.seeds),
        ("source", &first.sources, &second.sources),
        ("plan", &first.plans, &second.plans),
    ] {
        // Older documents do not contain their plans.
        if what == "plan" && (one.is_empty() || other.is_empty()) {
            continue;
        }
        let one: BTreeSet<&NamedHash> = one.iter().collect();
        let other: BTreeSet<&NamedHash> = other.iter().collect();
        for (sides, number) in [((&one, &other), "first"), ((&other, &one), "second")] {
            for hash in sides.0.difference(sides.1) {
                origin.push(format!(
                    "{what} {} {} is in the {number} only",
                    hash.name, hash.sha256
                ));
            }
        }
    }
    origin
}
