// SPDX-License-Identifier: GPL-3.0-or-later
//! What all items of one run share, and the steps that every way to make an item has in common.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::derivations::{AddSource, add_derivations};
use super::error::BuildError;
use super::graph::{BuildGraph, BuildJob, Todo, Way};
use super::history::History;
use super::jobserver::JobPool;
use super::log::log_path;
use super::scheduler::Place;
use super::scratch::ScratchDirectory;
use super::settings::{BuildSettings, Tools};
use super::variation::Variation;
use crate::events::cancellation::Cancellation;
use crate::events::{Event, EventSender, Kind, Made, OutputMade};
use crate::formats::store_path::StorePath;
use crate::sandbox::Sandbox;
use crate::store::remove::remove_tree;
use crate::store::{PathInfo, PathLocks, Store, StoreError};

/// What all items of one run share.
pub(super) struct BuildContext<'b, 'a> {
    pub tools: Tools<'b>,
    pub settings: &'b BuildSettings,
    pub graph: &'b BuildGraph<'a>,
    pub add_source: AddSource<'b>,
    pub pool: JobPool,
    pub scratch: ScratchDirectory,
    /// Where logs go.
    pub logs: PathBuf,
    /// What differs from an ordinary build.
    pub variation: Variation,
    pub history: History,
    pub events: EventSender,
    pub cancellation: Cancellation,
    pub sandbox_is_ready: Mutex<bool>,
}

/// The staging directory of one build. Dropping it removes it. Its locks must be held as long.
pub(super) struct Staging<'l> {
    _locks: &'l PathLocks,
    pub path: PathBuf,
}

impl<'l> Staging<'l> {
    /// Makes the staging directory of the build that has `output`, which is locked.
    pub(super) fn create(
        store: &Store,
        locks: &'l PathLocks,
        output: &StorePath,
    ) -> Result<Self, StoreError> {
        let path = store.staging_directory(locks, output)?;
        Ok(Self {
            _locks: locks,
            path,
        })
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            tracing::warn!("{error}");
        }
    }
}

/// The outputs of a job by name, `out` first. There is at least one.
pub(super) fn outputs<'a>(job: BuildJob<'a>) -> Result<Vec<(&'a str, &'a StorePath)>, BuildError> {
    let mut outputs = Vec::with_capacity(job.derivation.outputs.len());
    for (name, output) in &job.derivation.outputs {
        let path = output.path.as_ref().ok_or_else(|| BuildError::Derivation {
            label: job.label.to_owned(),
            problem: format!("its output `{name}` has no path"),
        })?;
        outputs.push((name.as_str(), path));
    }
    if outputs.is_empty() {
        return Err(BuildError::Derivation {
            label: job.label.to_owned(),
            problem: "it has no outputs".to_owned(),
        });
    }
    outputs.sort_by_key(|(name, _)| (*name != "out", *name));
    Ok(outputs)
}

/// Whether something of `todo` is built here, in a sandbox.
pub(super) fn needs_sandbox(todo: &Todo<'_>) -> bool {
    let mut tasks = todo.tasks.iter();
    tasks.any(|task| task.way == Way::Builder && task.job.kind == Kind::Build)
}

/// Sees that builds can run in `sandbox`, unless that is known, and removes what killed ones left.
pub(super) fn make_ready(sandbox: &dyn Sandbox, is_fit: bool) -> Result<(), BuildError> {
    let check = match is_fit {
        true => Ok(()),
        false => sandbox.check(),
    };
    let check = check.and_then(|()| sandbox.clean_leftovers());
    check.map_err(|source| BuildError::Sandbox {
        label: "the sandbox".to_owned(),
        source: Box::new(source),
    })
}

impl BuildContext<'_, '_> {
    /// Does what has to come before the builds of `todo`: their derivations go into the store, and the sandbox is
    /// checked.
    pub(super) fn prepare(&self, todo: &Todo<'_>) -> Result<(), BuildError> {
        if needs_sandbox(todo) {
            self.prepare_sandbox()?;
        }
        add_derivations(self.graph, self.add_source, todo, self.tools.store)
    }

    /// Checks once that builds can run in the sandbox, and removes what killed builds left.
    pub(super) fn prepare_sandbox(&self) -> Result<(), BuildError> {
        let is_ready = self.sandbox_is_ready.lock();
        let mut is_ready = is_ready.unwrap_or_else(PoisonError::into_inner);
        if !*is_ready {
            make_ready(self.tools.sandbox, self.settings.sandbox_is_fit)?;
            *is_ready = true;
        }
        Ok(())
    }

    /// Locks the outputs, valid or not. Where another process has them locked, leaves `place` and waits; says whether
    /// it did so.
    pub(super) fn lock_outputs(
        &self,
        job: BuildJob<'_>,
        outputs: &[(&str, &StorePath)],
        place: &dyn Place,
    ) -> Result<(PathLocks, bool), BuildError> {
        let paths: Vec<&StorePath> = outputs.iter().map(|(_, path)| *path).collect();
        let store = self.tools.store;
        let fail = BuildError::store(job.label);
        if let Some(locks) = store.try_lock(paths.iter().copied()).map_err(&fail)? {
            return Ok((locks, false));
        }
        place.leave();
        // The run may be over before another process is done.
        let cancellation = self.cancellation.clone();
        let goes_on = move || !cancellation.is_cancelled();
        let locks = store.lock_while(paths.iter().copied(), goes_on);
        Ok((locks.map_err(fail)?, true))
    }

    /// Locks the outputs. `None` where all outputs have become valid meanwhile; else `place` is there.
    pub(super) fn lock(
        &self,
        job: BuildJob<'_>,
        outputs: &[(&str, &StorePath)],
        place: &dyn Place,
    ) -> Result<Option<PathLocks>, BuildError> {
        let store = self.tools.store;
        let paths: Vec<&StorePath> = outputs.iter().map(|(_, path)| *path).collect();
        let (locks, waited) = self.lock_outputs(job, outputs, place)?;
        let valid = store.valid_among(paths.iter().copied());
        let valid = valid.map_err(BuildError::store(job.label))?;
        if valid.len() == paths.len() {
            return Ok(None);
        }
        if waited {
            place.come_back();
        }
        Ok(Some(locks))
    }

    /// Keeps the build directory of a failed build where the user wants that. A directory that cannot be kept does not
    /// hide why the build failed.
    pub(super) fn leave(&self, job: BuildJob<'_>, directory: PathBuf) -> Option<PathBuf> {
        if self.settings.keep_failed {
            let given = self.settings.keeps_for.and_then(|owner| {
                let given = self.scratch.keep_for(&directory, job.path, owner);
                given
                    .inspect_err(|error| {
                        tracing::warn!("only the daemon's user can use what was kept: {error}");
                    })
                    .ok()
            });
            let kept = given.map_or_else(|| self.scratch.keep(&directory, job.path), Ok);
            match kept {
                Ok(kept) => return Some(kept),
                Err(error) => {
                    tracing::warn!("the build directory of {} is lost: {error}", job.label)
                }
            }
        }
        self.scratch.discard(directory);
        None
    }

    pub(super) fn log_of(&self, job: BuildJob<'_>) -> PathBuf {
        log_path(&self.logs, job.path, self.settings.log_compression)
    }

    /// Reports that work on an item begins: it has its locks and its token. Returns the time.
    pub(super) fn begin(&self, job: BuildJob<'_>, log: Option<PathBuf>) -> Instant {
        self.events.emit(Event::Started {
            item: job.label.to_owned(),
            kind: job.kind,
            derivation: job.path.base_name().to_owned(),
            log,
        });
        Instant::now()
    }

    /// What was made since `start`.
    pub(super) fn made(
        &self,
        start: Instant,
        outputs: &[(&str, &StorePath)],
        infos: &[PathInfo],
    ) -> Made {
        let store_dir = &self.tools.store.directories().store_dir;
        let outputs = outputs.iter().filter_map(|(name, path)| {
            let info = infos.iter().find(|info| info.path == **path)?;
            Some(OutputMade {
                name: (*name).to_owned(),
                path: store_dir.display(path),
                nar_size: info.nar_size,
            })
        });
        Made {
            outputs: outputs.collect(),
            seconds: start.elapsed().as_secs_f64(),
            ..Made::default()
        }
    }
}
