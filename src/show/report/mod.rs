//! What happened, as one page that people open in a browser: `bootstrap report`.
//!
//! [`collect`] gathers what the plan, the store and the records of runs know into a [`Report`], which is plain data;
//! [`timeline`] and [`page`] turn it into HTML. The page loads nothing and works from `file://`. Without its script it
//! shows what failed, the time line, the table, the graph and the sources; the script sorts, searches and zooms, and tells
//! of one package at a time why it is built, from which sources, with which references, and where its log is.

use std::collections::BTreeSet;

use serde::Serialize;

pub mod collect;
pub mod page;
mod runs;
mod span;
pub mod timeline;

pub use span::Span;

/// Everything that the page shows.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The version of this program.
    pub version: &'static str,
    /// How the program is called, before a command, for the same store, recipes and seed.
    pub program: String,
    /// The system that was built for.
    pub system: String,
    /// The seed it started from.
    pub seed: String,
    /// When the report was made, in seconds since the Epoch.
    pub made: u64,
    /// Processor cores of the last run on record.
    pub cores: usize,
    /// Packages, seeds and regenerated sources, dependencies first.
    pub items: Vec<Item>,
    /// Pairs of positions in `items`: the first is built from the second.
    pub edges: Vec<(usize, usize)>,
    /// What was downloaded, or would be.
    pub files: Vec<File>,
    /// Roots that builds start from.
    pub seeds: Vec<SeedShown>,
    /// What is on record as it ran: builds, downloads, substitutes.
    pub spans: Vec<Span>,
    /// How busy the machine was: seconds since the Epoch, and busy cores.
    pub samples: Vec<(f64, f64)>,
}

/// A derivation that is built.
#[derive(Debug, Clone, Serialize)]
pub struct Item {
    /// Its label.
    pub label: String,
    /// `seed`, `regenerate` or `build`.
    pub kind: &'static str,
    /// Its stage, for packages.
    pub stage: Option<&'static str>,
    /// Its version, for packages.
    pub version: String,
    /// What it is, in a few words.
    pub synopsis: String,
    /// The path of the derivation.
    pub derivation: String,
    /// Its log, where there is one.
    pub log: Option<String>,
    /// What of it is downloaded: positions in the report's `files`.
    pub files: Vec<usize>,
    /// Its outputs.
    pub outputs: Vec<OutputShown>,
    /// Whether `bootstrap all` is asked for it, and not for something that needs it.
    pub wanted: bool,
    /// Whether its tests are run; `None` for what has none.
    pub tests: Option<bool>,
    /// Why they are not.
    pub tests_reason: Option<String>,
    /// What came of building it again; `None` where nobody has.
    pub rebuilt: Option<Rebuilt>,
    /// Wall-clock time of its last build, in seconds.
    pub seconds: Option<f64>,
    /// Processor time of its last build, in seconds.
    pub processor_seconds: Option<f64>,
    /// Why it failed when it was last tried; `None` where it did not, or is there by now.
    pub failure: Option<FailureShown>,
    /// Whether it is on the critical path.
    pub critical: bool,
}

/// What came of building a derivation again, over all that is on record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// Whether the same came out every time: once something else did, what came out the same later proves nothing.
    pub same: bool,
    /// How often it was built again.
    pub rounds: u32,
    /// What was different in any of these builds, by name.
    pub varied: BTreeSet<String>,
}

/// An output.
#[derive(Debug, Clone, Serialize)]
pub struct OutputShown {
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: String,
    /// Hash, size and references, where it is valid.
    pub valid: Option<ValidShown>,
}

/// What the database knows of an output.
#[derive(Debug, Clone, Serialize)]
pub struct ValidShown {
    /// The SHA-256 of its NAR, in base 16.
    pub sha256: String,
    /// The size of its NAR in bytes.
    pub size: u64,
    /// What it refers to, itself left out.
    pub references: Vec<String>,
}

/// A build or download that failed.
#[derive(Debug, Clone, Serialize)]
pub struct FailureShown {
    /// Why, with commands as they have to be typed.
    pub message: String,
    /// That line of its output that most looks like the cause: a guess.
    pub likely_cause: Option<String>,
    /// The end of its output.
    pub last_lines: Vec<String>,
    /// The whole log, where there was one.
    pub log: Option<String>,
}

/// A file that is downloaded.
#[derive(Debug, Clone, Serialize)]
pub struct File {
    /// Its label: `source/…` or `seed/…`.
    pub label: String,
    /// Its SHA-256 in base 16.
    pub sha256: String,
    /// Its size in bytes, where that is known.
    pub size: Option<u64>,
    /// Where it is from.
    pub urls: Vec<String>,
    /// Whether it is in the store.
    pub valid: bool,
    /// Why it could not be had when that was last tried; `None` where it could, or is there by now.
    pub failure: Option<FailureShown>,
}

/// A root file system that builds start from.
#[derive(Debug, Clone, Serialize)]
pub struct SeedShown {
    /// Its name.
    pub name: String,
    /// What it is made of, in one SHA-256 in base 16.
    pub sha256: String,
    /// How many archives it is made of.
    pub archives: usize,
    /// Their size in bytes, as far as it is known.
    pub size: u64,
    /// How it differs from its lock.
    pub changes: Vec<String>,
    /// Why what is built from it cannot be built again by others; `None` for a seed that everybody can get.
    pub impure: Option<String>,
}
