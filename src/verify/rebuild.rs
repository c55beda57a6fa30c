// SPDX-License-Identifier: GPL-3.0-or-later
//! What came of building again: for each output the same bytes, or where they differ.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::cause::Circumstances;
use super::compare::{self, FileDifference, Side};
use super::rewrite::Rewriting;
use crate::builder::error::BuildError;
use crate::builder::rebuild::RebuiltDerivation;
use crate::builder::settings::BuildSettings;
use crate::builder::variation::Variation;
use crate::formats::hash::Sha256Digest;
use crate::formats::nar::NarError;
use crate::formats::store_path::StorePath;
use crate::store::{PathInfo, Store};

/// An output and what a second build gave.
#[derive(Debug, Clone)]
pub struct RebuildOutcome {
    /// The package.
    pub label: String,
    /// The output's name.
    pub output: String,
    /// What is registered.
    pub info: PathInfo,
    /// How the second build differs; `None` where it does not.
    pub difference: Option<Difference>,
}

/// How a second build differs.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The SHA-256 of its NAR.
    pub found: Sha256Digest,
    /// Where it was kept, where that was wanted.
    pub kept: Option<PathBuf>,
    /// The files that differ, or why that cannot be said.
    pub files: Result<Vec<FileDifference>, String>,
}

/// Collects the outcomes of a round.
pub struct Comparer<'s> {
    store: &'s Store,
    settings: &'s BuildSettings,
    variation: &'s Variation,
    keeps: bool,
    outcomes: Mutex<Vec<RebuildOutcome>>,
}

impl<'s> Comparer<'s> {
    /// For a round with `variation`, after builds with `settings`. What differs is kept if `keeps`.
    pub fn new(
        store: &'s Store,
        settings: &'s BuildSettings,
        variation: &'s Variation,
        keeps: bool,
    ) -> Self {
        Self {
            store,
            settings,
            variation,
            keeps,
            outcomes: Mutex::new(Vec::new()),
        }
    }

    /// What was seen, by package and output.
    pub fn into_outcomes(self) -> Vec<RebuildOutcome> {
        let mut outcomes = self
            .outcomes
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        outcomes
            .sort_by(|one, other| (&one.label, &one.output).cmp(&(&other.label, &other.output)));
        outcomes
    }

    /// Compares what was built again with what is registered. Gives the first output that differs.
    ///
    /// # Errors
    /// Where the store cannot be asked, or what differs cannot be kept.
    pub fn inspect(
        &self,
        rebuilt: &RebuiltDerivation<'_>,
    ) -> Result<Option<StorePath>, BuildError> {
        let label = rebuilt.job.label;
        let mut first = None;
        let fail = BuildError::store(label);
        for output in &rebuilt.outputs {
            // An output that was never valid has nothing to be compared with.
            let Some(info) = self.store.path_info(&output.info.path).map_err(&fail)? else {
                continue;
            };
            let same = info.nar_sha256 == output.info.nar_sha256;
            let difference = match same {
                true => None,
                false => {
                    let files = self.account(&info, output, rebuilt);
                    if !(rebuilt.goes_on)() {
                        return Err(fail(NarError::Stopped.into()));
                    }
                    let keep = || {
                        self.store
                            .keep_beside(rebuilt.locks, &output.staged, &info.path)
                    };
                    let kept = self.keeps.then(keep).transpose().map_err(&fail)?;
                    first.get_or_insert_with(|| info.path.clone());
                    Some(Difference {
                        found: output.info.nar_sha256,
                        kept,
                        files,
                    })
                }
            };
            self.outcomes
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(RebuildOutcome {
                    label: label.to_owned(),
                    output: output.name.to_owned(),
                    info,
                    difference,
                });
        }
        Ok(first)
    }

    fn account(
        &self,
        info: &PathInfo,
        output: &crate::builder::rebuild::RebuiltOutput<'_>,
        rebuilt: &RebuiltDerivation<'_>,
    ) -> Result<Vec<FileDifference>, String> {
        let before = Circumstances {
            time: info.registration_time,
            ..circumstances(self.settings, &Variation::default())
        };
        let now = rebuilt
            .started
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let varied = self.variation.settings(self.settings);
        let again = Circumstances {
            time: now.max(Self::now()),
            ..circumstances(&varied, self.variation)
        };
        let none = Rewriting::none();
        let first = self.store.directories().physical(&info.path);
        let side = |root, circumstances| Side {
            root,
            rewriting: &none,
            circumstances,
        };
        let files = compare::compare(
            side(&first, &before),
            side(&output.staged, &again),
            rebuilt.goes_on,
        )
        .map_err(|error| error.to_string())?;
        match files.is_empty() {
            true => Err(
                "the store holds the same as the second build, so not what was registered: see `bootstrap verify`"
                    .to_owned(),
            ),
            false => Ok(files),
        }
    }

    fn now() -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    }
}

/// What a build with `settings` has around it.
fn circumstances(settings: &BuildSettings, variation: &Variation) -> Circumstances {
    Circumstances {
        time: 0,
        host_name: variation.host_name().to_owned(),
        user: settings.user.name.clone(),
        uid: settings.user.uid,
        gid: settings.user.gid,
        cores: settings.cores.get(),
        locale: variation.environment().map(|(_, value)| value).collect(),
    }
}
