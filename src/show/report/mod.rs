// SPDX-License-Identifier: GPL-3.0-or-later
//! `bootstrap report`: one HTML page about what was built.
//!
//! [`collect`] gathers plan, store and records into a [`ReportData`], which is plain data; [`timeline`] and [`page`]
//! turn it into HTML. The page loads nothing and works from `file://`. Without its script it shows failures, time line,
//! table, graph and sources. The script sorts, searches and zooms, and shows the details of one package: why it is
//! built, its sources, references and log.

use std::collections::BTreeSet;

use serde::Serialize;

pub mod collect;
mod other_builds;
pub mod page;
mod runs;
mod span;
pub mod timeline;

pub use other_builds::OtherBuild;
pub use span::Span;

/// The data of the page.
#[derive(Debug, Clone, Serialize)]
pub struct ReportData {
    /// The version of this program.
    pub version: &'static str,
    /// The program with its options, before a command, for the same store, recipes and seed.
    pub program: String,
    /// The system.
    pub system: String,
    /// The seed.
    pub seed: String,
    /// When the report was made, in seconds since the Epoch.
    pub made: u64,
    /// Processor cores of the last recorded run.
    pub cores: usize,
    /// Packages, seeds and regenerated sources, dependencies first.
    pub items: Vec<ReportItem>,
    /// Pairs of positions in `items`: the first is built from the second.
    pub edges: Vec<(usize, usize)>,
    /// The files that are downloaded.
    pub files: Vec<ReportFile>,
    /// The seeds.
    pub seeds: Vec<SeedShown>,
    /// The builds of derivations that the plan does not have, oldest first.
    pub others: Vec<OtherBuild>,
    /// The recorded builds, downloads and substitutes.
    pub spans: Vec<Span>,
    /// How busy the machine was: seconds since the Epoch, and busy cores.
    pub samples: Vec<(f64, f64)>,
}

/// A derivation that is built.
#[derive(Debug, Clone, Serialize)]
pub struct ReportItem {
    /// Its label.
    pub label: String,
    /// `seed`, `regenerate` or `build`.
    pub kind: &'static str,
    /// Its stage, for packages.
    pub stage: Option<&'static str>,
    /// Its version, for packages.
    pub version: String,
    /// Its synopsis.
    pub synopsis: String,
    /// The path of the derivation.
    pub derivation: String,
    /// Its log, if there is one.
    pub log: Option<String>,
    /// Its files: positions in the report's `files`.
    pub files: Vec<usize>,
    /// Its outputs.
    pub outputs: Vec<OutputShown>,
    /// Whether `bootstrap all` builds it for itself, not only as an input.
    pub wanted: bool,
    /// Whether its recipe runs tests; `None` for items that are not packages.
    pub tests: Option<bool>,
    /// Why its tests are not run.
    pub tests_reason: Option<String>,
    /// The result of building it again; `None` if it was not.
    pub rebuilt: Option<ReportRebuild>,
    /// Wall-clock time of its last build, in seconds.
    pub seconds: Option<f64>,
    /// Processor time of its last build, in seconds.
    pub processor_seconds: Option<f64>,
    /// Why its last build failed; `None` if it did not fail, or is valid now.
    pub failure: Option<FailureShown>,
    /// Whether it is on the critical path.
    pub critical: bool,
}

/// The result of building a derivation again, over all records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReportRebuild {
    /// Whether every build gave the same bytes. After one difference this stays false.
    pub same: bool,
    /// How often it was built again.
    pub rounds: u32,
    /// What was varied in any of these builds, by name.
    pub varied: BTreeSet<String>,
}

/// An output.
#[derive(Debug, Clone, Serialize)]
pub struct OutputShown {
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: String,
    /// Hash, size and references, if it is valid.
    pub valid: Option<ValidShown>,
}

/// An output in the database.
#[derive(Debug, Clone, Serialize)]
pub struct ValidShown {
    /// The SHA-256 of its NAR, in base 16.
    pub sha256: String,
    /// The size of its NAR in bytes.
    pub size: u64,
    /// Its references, without itself.
    pub references: Vec<String>,
}

/// A build or download that failed.
#[derive(Debug, Clone, Serialize)]
pub struct FailureShown {
    /// The reason, with complete commands.
    pub message: String,
    /// What the user can do about it, with complete commands.
    pub hint: Option<String>,
    /// The line of its output that looks most like the cause: a guess.
    pub likely_cause: Option<String>,
    /// The end of its output.
    pub last_lines: Vec<String>,
    /// The whole log, if there was one.
    pub log: Option<String>,
}

/// A file that is downloaded.
#[derive(Debug, Clone, Serialize)]
pub struct ReportFile {
    /// Its label: `source/…` or `seed/…`.
    pub label: String,
    /// Its SHA-256 in base 16.
    pub sha256: String,
    /// Its size in bytes, if known.
    pub size: Option<u64>,
    /// Its URLs.
    pub urls: Vec<String>,
    /// Whether it is in the store.
    pub valid: bool,
    /// Why its last download failed; `None` if it did not fail, or is valid now.
    pub failure: Option<FailureShown>,
}

/// A seed.
#[derive(Debug, Clone, Serialize)]
pub struct SeedShown {
    /// Its name.
    pub name: String,
    /// The SHA-256 of its description, in base 16.
    pub sha256: String,
    /// The number of its archives.
    pub archives: usize,
    /// Their size in bytes, as far as known.
    pub size: u64,
    /// How it differs from its lock.
    pub changes: Vec<String>,
    /// Why others cannot build the same from it; `None` for a published seed.
    pub impure: Option<String>,
}
