// SPDX-License-Identifier: GPL-3.0-or-later
//! What a front end may want to tell its user, as data.

use std::path::PathBuf;
use std::sync::Arc;

use crate::formats::derivation::difference::DerivationChange;
use crate::formats::hash::Sha256Digest;

/// Something worth telling the user that is neither an event of a run nor an error. The front end finds the words.
#[derive(Debug)]
pub enum Notice {
    /// This machine's own lock of a seed replaces an earlier lock than the pinned one, and is not used.
    OutdatedLock {
        /// The seed.
        seed: String,
        /// The machine's own lock.
        file: PathBuf,
    },
    /// Packages that were built before are about to be built again.
    BuiltAgain(Vec<BuiltAgain>),
    /// A repair took a step.
    Repaired(Repaired),
    /// A substitute server has a problem.
    ServerProblem {
        /// The problem, with the server's URL.
        problem: String,
        /// Whether the server is not asked again.
        is_left: bool,
    },
}

/// Receives notices, on any thread.
pub type Notify = Arc<dyn Fn(Notice) + Send + Sync>;

/// A change that follows from nothing else, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The package, or source, that has changed.
    pub of: String,
    /// What changed of it.
    pub cause: ChangeCause,
}

/// What changed of a derivation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeCause {
    /// One of its inputs, variables and so on.
    Change(DerivationChange),
    /// Something unknown: the earlier derivation, whose path this is, is gone.
    Gone(String),
}

/// A package that is about to be built again, and why.
#[derive(Debug)]
pub struct BuiltAgain {
    /// The package.
    pub package: String,
    /// Why.
    pub why: Why,
}

/// Why a package is about to be built again.
#[derive(Debug)]
pub enum Why {
    /// Its outputs were removed.
    Removed,
    /// It, or something that it is built from, changed. Nothing is known where this is empty.
    Changed(Vec<Reason>),
}

/// Something that a repair did, or could not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repaired {
    /// The times, modes and owners of an item are right again.
    Metadata(String),
    /// The record of an item is right again.
    Record(String),
    /// An item was replaced.
    Replaced {
        /// The item.
        path: String,
        /// Where the damaged copy is kept; `None` where nothing was left of it.
        kept: Option<PathBuf>,
    },
    /// The recorded hash of an item was wrong, and was replaced.
    Rehashed {
        /// The item.
        path: String,
        /// The hash that was recorded.
        recorded: Sha256Digest,
        /// The hash that is recorded now.
        found: Sha256Digest,
    },
    /// A package was not built again, because something that it is built with is damaged.
    NotBuilt {
        /// The package.
        label: String,
        /// What is damaged.
        because: String,
    },
    /// A build gave other bytes than those recorded, and nothing vouches for them.
    Refused {
        /// The item, which stays as it is.
        path: String,
        /// The hash that is recorded.
        recorded: Sha256Digest,
        /// The hash of what the build gave.
        found: Sha256Digest,
        /// Where that is kept.
        kept: PathBuf,
    },
}
