// SPDX-License-Identifier: GPL-3.0-or-later
//! The bars of the time line: one for each build, download or substitute.

use serde::Serialize;

use crate::builder::history::FinishedItem;
use crate::events::Kind;
use crate::show::records::TIME_MAX;

/// A build, download or substitute on the time line. Failed and unfinished ones are shown only while their outputs are
/// missing.
#[derive(Debug, Clone, Serialize)]
pub struct Span {
    /// The label.
    pub label: String,
    /// `download`, `seed`, `build` or `substitute`.
    pub kind: &'static str,
    /// When it began, in seconds since the Epoch.
    pub start: f64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Processor time, in seconds.
    pub processor_seconds: f64,
    /// The phases: name, seconds after the start, seconds.
    pub phases: Vec<(String, f64, f64)>,
    /// Whether it is on the critical path.
    pub critical: bool,
    /// Whether it failed: `seconds` is the time until then, and its processor time is unknown.
    pub failed: bool,
    /// Whether it was not finished, because its run was stopped or killed, or still goes on: `seconds` is the time
    /// until the last event of that run, and its processor time is unknown.
    pub unfinished: bool,
}

impl Span {
    /// When it ended, in seconds since the Epoch.
    pub fn end(&self) -> f64 {
        self.start + self.seconds
    }
}

/// Whether `seconds` is a plausible duration: at most about thirty years. Other values in a record are not
/// measurements, and would stretch the time line beyond use.
pub(super) fn is_duration(seconds: f64) -> bool {
    (0.0..=1e9).contains(&seconds)
}

/// The name of `kind` in JSON and CSS classes.
pub(super) fn made_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Download => "download",
        Kind::Seed => "seed",
        Kind::Build => "build",
        Kind::Substitute => "substitute",
    }
}

/// Whether the times in `record` are measurements.
pub(super) fn is_sound(record: &FinishedItem) -> bool {
    is_duration(record.made.seconds) && record.started.max(record.ended) < TIME_MAX
}

/// The processor time of `record`, in seconds.
pub(super) fn processor_seconds(record: &FinishedItem) -> f64 {
    let seconds = record.made.user_seconds + record.made.system_seconds;
    if is_duration(seconds) { seconds } else { 0.0 }
}
