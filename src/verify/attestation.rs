// SPDX-License-Identifier: GPL-3.0-or-later
//! One document that says what one user saw: which seed and sources, which outputs with which hashes, how they were
//! checked.
//!
//! It is JSON. What others wrote is read with care (see [`read`]); two users' documents about the same derivations
//! are compared with [`compare`]; a signature (see [`signature`](super::signature)) says whose a document is. There are
//! no names of machines or users in it, and no times but those at which packages were built again: two honest runs of
//! one tool on equal machines give documents that are equal but for these.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

mod comparison;
pub mod read;

pub use comparison::{Comparison, DifferentOutput, compare};

/// The version of the document that this program writes and reads.
pub const FORMAT: u32 = 1;

/// What one user saw.
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
    /// Those of the seeds that others cannot have, by name, and why: only who has them can build the same
    /// again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub impure: BTreeMap<String, String>,
    /// The sources, by name.
    pub sources: Vec<NamedHash>,
    /// What was planned, by seed: the SHA-256 of a list of all derivations, `LABEL PATH` a line. It is another wherever
    /// a recipe, a patch, the phases or the seed is; documents of older versions have none.
    #[serde(default)]
    pub plans: Vec<NamedHash>,
    /// How the outputs were checked: `store`, `lock`, `rebuild`, `fixpoint`, `diverse`. A lock that had nothing to
    /// compare with did not check anything.
    pub checks: Vec<String>,
    /// How many outputs compared with the lock in which way, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockCounts>,
    /// How often each package was built again for this document; what was recorded before is with each output.
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

/// How outputs compared with a lock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockCounts {
    /// The same bytes and references.
    pub same: usize,
    /// Others, from the same derivation.
    pub different: usize,
    /// Built from another derivation than the recorded one.
    pub other_derivation: usize,
    /// Built here, and not recorded.
    pub not_recorded: usize,
    /// Recorded, and not built here.
    pub not_built: usize,
}

/// Something known by its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NamedHash {
    /// Its name.
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
    /// How it was made, in words as in [`SecondOutput`], where there is a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<String>,
    /// The output it was compared with, where that is another store item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<SecondOutput>,
    /// What came of building it again before, as far as that is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuilt: Option<Rebuilt>,
    /// More about it, as text; may be empty.
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

/// What came of building a derivation again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebuilt {
    /// How often.
    pub rounds: u32,
    /// Whether every round gave the same bytes.
    pub same: bool,
    /// What was different in one of these rounds at least, by the names that `variations` has; documents of older
    /// versions do not say.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub varied: BTreeSet<String>,
}

/// What was seen of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// The store holds what was registered.
    Intact,
    /// Every build gave the same bytes.
    Reproducible,
    /// Made in another way, it has the same bytes once store hashes are placeholders.
    Equivalent,
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
        matches!(
            self,
            Self::Intact | Self::Reproducible | Self::Equivalent | Self::Registered
        )
    }
}

/// A document that cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum AttestationError {
    /// It is something else.
    #[error("{name} is not a document of `bootstrap verify --json`: {detail}")]
    Malformed {
        /// Whose it is, for the message.
        name: String,
        /// What is wrong.
        detail: String,
    },
    /// A newer program wrote it.
    #[error("{name} has format {found}, but this program knows format {FORMAT} only")]
    #[diagnostic(help("use a newer version of bootstrap"))]
    Format {
        /// Whose it is, for the message.
        name: String,
        /// Its format.
        found: u64,
    },
}

#[cfg(test)]
#[path = "attestation/tests.rs"]
mod tests;
