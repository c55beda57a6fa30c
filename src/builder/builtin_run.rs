// SPDX-License-Identifier: GPL-3.0-or-later
//! Has a builtin make the outputs of a derivation in a staging directory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::builtin::{Builtin, BuiltinError, BuiltinOrder, BuiltinReport};
use super::context::BuildContext;
use super::error::{BuildError, FailureKind, WrongHash};
use super::graph::BuildJob;
use crate::formats::content_hash::ContentHash;
use crate::formats::store_path::StorePath;

/// Outputs that a builtin has made.
pub(super) struct BuiltinRan {
    /// The directory that holds the outputs under their names in the store.
    pub store: PathBuf,
    /// What the outputs may refer to.
    pub candidates: BTreeSet<StorePath>,
    /// How they were made.
    pub report: BuiltinReport,
}

impl BuildContext<'_, '_> {
    /// Has `builtin` make the `outputs` of `job` in a new directory in `staging`.
    pub(super) fn run_builtin(
        &self,
        builtin: &dyn Builtin,
        job: BuildJob<'_>,
        outputs: &[(&str, &StorePath)],
        staging: &Path,
    ) -> Result<BuiltinRan, BuildError> {
        let store = staging.join("store");
        std::fs::create_dir(&store).map_err(BuildError::io("create", &store))?;
        let order = BuiltinOrder {
            job,
            outputs: outputs
                .iter()
                .map(|(name, path)| (*name, store.join(path.base_name())))
                .collect(),
            directories: self.tools.store.directories(),
            events: &self.events,
            cancellation: &self.cancellation,
        };
        let made = builtin.make(&order);
        // A stopped builtin may report that as any error, or have finished.
        if self.cancellation.is_cancelled() {
            return Err(BuildError::Interrupted);
        }
        let report = made.map_err(|error| match error {
            BuiltinError::Interrupted => BuildError::Interrupted,
            BuiltinError::Derivation(problem) => BuildError::Derivation {
                label: job.label.to_owned(),
                problem,
            },
            BuiltinError::Bug(message) => BuildError::Panicked {
                label: job.label.to_owned(),
                message,
            },
            BuiltinError::WrongHash { found, error } => BuildError::Maker {
                label: job.label.to_owned(),
                kind: FailureKind::HashDiffers,
                wrong_hash: self.wrong_hash(job, outputs, found).map(Box::new),
                error,
            },
            BuiltinError::Failed { kind, error } => BuildError::Maker {
                label: job.label.to_owned(),
                kind,
                wrong_hash: None,
                error,
            },
        })?;
        for (name, path) in outputs {
            let output = store.join(path.base_name());
            if output.symlink_metadata().is_err() {
                return Err(BuildError::Derivation {
                    label: job.label.to_owned(),
                    problem: format!("{} does not make output `{name}`", job.derivation.builder),
                });
            }
        }
        Ok(BuiltinRan {
            store,
            // A base system or a download does not know this store. Its inputs are no longer needed once it is made;
            // finding one by chance would only keep it.
            candidates: outputs.iter().map(|(_, path)| (*path).clone()).collect(),
            report,
        })
    }

    /// What is wrong with the only one of `outputs`, where it came out with the hash `found`.
    fn wrong_hash(
        &self,
        job: BuildJob<'_>,
        outputs: &[(&str, &StorePath)],
        found: ContentHash,
    ) -> Option<WrongHash> {
        let fixed = job.derivation.fixed_output()?;
        let (_, path) = outputs.first()?;
        Some(WrongHash {
            path: self.tools.store.directories().store_dir.display(path),
            method: fixed.method,
            expected: fixed.hash,
            found,
        })
    }
}
