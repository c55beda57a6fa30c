// SPDX-License-Identifier: GPL-3.0-or-later
//! Builds of derivations that the plan does not have: those of Guix's clients, and of `bootstrap build FILE.drv`.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::FailureShown;
use super::runs::{Unmade, cleaned};
use super::span::{is_sound, made_name, processor_seconds};
use crate::builder::history::FinishedItem;
use crate::builder::log::find_log;
use crate::formats::store_path::StorePath;
use crate::show::progress::invocation::Invocation;
use crate::show::records::TIME_MAX;
use crate::store::directories::Directories;

/// The last build of a derivation that the plan does not have.
#[derive(Debug, Clone, Serialize)]
pub struct OtherBuild {
    /// The path of the derivation.
    pub derivation: String,
    /// `download`, `seed` or `build`.
    pub kind: &'static str,
    /// Its log, if there is one.
    pub log: Option<String>,
    /// When it began, in seconds since the Epoch.
    pub started: u64,
    /// Wall-clock time, in seconds.
    pub seconds: f64,
    /// Processor time, in seconds; `None` where it failed.
    pub processor_seconds: Option<f64>,
    /// Why it failed; `None` if it did not.
    pub failure: Option<FailureShown>,
}

/// The last build of each derivation that is not `planned`, oldest first. `unmade` holds what failed and was not made
/// since.
pub(super) fn other_builds(
    directories: &Directories,
    history: &[FinishedItem],
    planned: impl Fn(&str) -> bool,
    unmade: HashMap<&str, Unmade>,
    invocation: &Invocation,
) -> Vec<OtherBuild> {
    let other = |name: &str| {
        let path = StorePath::from_base_name(name).ok();
        path.filter(|path| path.is_derivation() && !planned(name))
    };
    let log = |path: &StorePath| {
        let log = find_log(&directories.log, path);
        log.exists().then(|| log.display().to_string())
    };
    let mut builds: BTreeMap<StorePath, OtherBuild> = BTreeMap::new();
    for record in history {
        // Packages of other recipes have labels.
        if record.item != record.derivation || !is_sound(record) {
            continue;
        }
        let Some(path) = other(&record.derivation) else {
            continue;
        };
        let build = OtherBuild {
            derivation: directories.store_dir.display(&path),
            kind: made_name(record.kind),
            log: log(&path),
            started: record.started,
            seconds: record.made.seconds,
            processor_seconds: Some(processor_seconds(record)),
            failure: None,
        };
        builds.insert(path, build);
    }
    for (name, failed) in unmade {
        let (Some(path), Some(mut failure), Some(span)) = (other(name), failed.shown, failed.span)
        else {
            continue;
        };
        if span.label != name || span.start >= TIME_MAX as f64 {
            continue;
        }
        cleaned(&mut failure, invocation);
        let build = OtherBuild {
            derivation: directories.store_dir.display(&path),
            kind: span.kind,
            log: log(&path),
            started: span.start as u64,
            seconds: span.seconds,
            processor_seconds: None,
            failure: Some(failure),
        };
        builds.insert(path, build);
    }
    let mut builds: Vec<OtherBuild> = builds.into_values().collect();
    builds.sort_by_key(|build| build.started);
    builds
}
