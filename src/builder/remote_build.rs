// SPDX-License-Identifier: GPL-3.0-or-later
//! Builds that the build hook has another machine make: what is offered, and what becomes of what the hook made.
//!
//! A hook either registers the outputs itself, as `guix offload` does, or leaves them at their place in the store; then
//! they are checked and registered as those of any build. Where the hook fails, the item is built here.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;

use super::builtin::is_builtin;
use super::context::{BuildContext, Staging, outputs};
use super::deadline::Deadline;
use super::error::{BuildError, BuildFailureCause, FailedBuild};
use super::graph::{BuildJob, BuildTask, Way};
use super::hook::{AcceptedBuild, HookFailure, HookOffer, Reply};
use super::log::LogWriter;
use super::output::OutputLines;
use super::outputs::{NewOutputs, Round};
use super::references::ReferenceRules;
use super::scheduler::TaskOutcome;
use super::watch::{BuildWatch, Watched};
use super::world::runs_directly;
use crate::events::{Event, Kind, Made};
use crate::formats::store_path::StorePath;
use crate::formats::system::is_feature;
use crate::formats::visible::visible;
use crate::store::PathLocks;

/// The most bytes of the names of features in an offer. More than a pipe holds could block both sides.
const MOST_FEATURES: usize = 4096;

/// The exit status of a hook for a build that failed.
const FAILED: i32 = 100;

/// The exit status of a hook for a build that took too long.
const TIMED_OUT: i32 = 101;

/// Why a build that the hook has accepted is not made.
enum Lost {
    /// The build failed.
    Build(BuildError),
    /// The hook failed.
    Hook(HookFailure),
}

impl From<BuildError> for Lost {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

/// The build that the hook makes.
struct Elsewhere<'x> {
    job: BuildJob<'x>,
    outputs: &'x [(&'x str, &'x StorePath)],
    rules: &'x ReferenceRules,
    locks: &'x PathLocks,
}

/// Whether `job` is built on this machine, which is `machine`, rather than elsewhere.
pub(super) fn prefers_here(job: BuildJob<'_>, machine: &str) -> bool {
    let prefers = job.derivation.environment.get("preferLocalBuild");
    job.kind != Kind::Build
        || job.root.is_some()
        || is_builtin(&job.derivation.builder)
        || prefers.is_some_and(|prefers| *prefers == "1")
            && runs_directly(&job.derivation.system, machine)
}

/// The features that the machine of a build must have. `None` where they cannot be said to a hook.
fn features(job: BuildJob<'_>) -> Option<Vec<&str>> {
    let environment = &job.derivation.environment;
    let features = match environment.contains_key("requiredSystemFeatures") {
        true => environment.text("requiredSystemFeatures")?,
        false => "",
    };
    let separators = [' ', '\t', '\n', '\r'];
    let words: Vec<&str> = features
        .split(separators)
        .filter(|word| !word.is_empty())
        .collect();
    let fits = features.len() <= MOST_FEATURES && words.iter().all(|word| is_feature(word));
    fits.then_some(words)
}

/// Whether `system` is one word, as a hook reads it.
fn is_word(system: &str) -> bool {
    let mut bytes = system.bytes();
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    (1..=64).contains(&system.len()) && bytes.all(is_allowed)
}

impl<'a> BuildContext<'_, 'a> {
    /// Whether the hook is to be offered `task`.
    pub(super) fn is_for_hook(&self, task: &BuildTask<'_>) -> bool {
        let job = task.job;
        self.tools.hook.is_some_and(|hook| hook.is_usable())
            && task.way == Way::Builder
            // The rounds are made here.
            && (self.settings.rounds.get() == 1 || job.derivation.fixed_output().is_some())
            && !prefers_here(job, &self.settings.system)
            && is_word(&job.derivation.system)
            && features(job).is_some()
    }

    /// Offers the item to the hook, and where that accepts, which is said to `accepted`, waits for it.
    pub(super) fn offer_to_hook(
        &self,
        task: &BuildTask<'_>,
        room_here: bool,
        accepted: &dyn Fn(),
    ) -> Result<TaskOutcome<'a>, BuildError> {
        let job = task.job;
        let Some(hook) = self.tools.hook.filter(|_| self.is_for_hook(task)) else {
            return Ok(TaskOutcome::Declined);
        };
        let rules = ReferenceRules::of(job, &self.tools.store.directories().store_dir)?;
        let outputs = outputs(job)?;
        // Others must not wait while another process builds this one.
        let Some(locks) = self.try_lock(job, &outputs)? else {
            return Ok(TaskOutcome::Postponed);
        };
        let Some(locks) = locks else {
            return Ok(TaskOutcome::Reused);
        };
        if self.failed_before(job, &outputs)? {
            return Err(FailedBuild::without_log(
                job,
                BuildFailureCause::FailedBefore,
            ));
        }
        for (_, path) in &outputs {
            // What is there afterwards is the hook's.
            let removed = self.tools.store.remove_unregistered(&locks, path);
            removed.map_err(BuildError::store(job.label))?;
        }
        let store_dir = &self.tools.store.directories().store_dir;
        let offer = HookOffer {
            room_here: room_here && !self.settings.only_elsewhere,
            system: &job.derivation.system,
            derivation: &store_dir.display(job.path),
            features: features(job).unwrap_or_default(),
        };
        let say = |line: &str| {
            self.events.emit(Event::Line {
                item: job.label.to_owned(),
                text: visible(line),
            });
        };
        let reply = match hook.ask(&offer, &self.cancellation, &say) {
            _ if self.cancellation.is_cancelled() => return Err(BuildError::Interrupted),
            Err(failure) => {
                hook.give_up();
                self.report_hook(job, &failure);
                return Ok(TaskOutcome::Declined);
            }
            Ok(reply) => reply,
        };
        let running = match reply {
            Reply::Decline => return Ok(TaskOutcome::Declined),
            Reply::Postpone => return Ok(TaskOutcome::Postponed),
            Reply::Accept(running) => running,
        };
        accepted();
        let elsewhere = Elsewhere {
            job,
            outputs: &outputs,
            rules: &rules,
            locks: &locks,
        };
        match self.have_built(&elsewhere, running) {
            Ok(made) => {
                hook.has_worked();
                Ok(TaskOutcome::Made(made))
            }
            Err(Lost::Build(error)) => {
                self.record_failure(job, &outputs, &error);
                Err(error)
            }
            Err(Lost::Hook(failure)) => {
                hook.has_failed();
                self.report_hook(job, &failure);
                Ok(TaskOutcome::Declined)
            }
        }
    }

    fn report_hook(&self, job: BuildJob<'_>, failure: &HookFailure) {
        self.events.emit(Event::HookFailed {
            item: job.label.to_owned(),
            problem: failure.to_string(),
        });
    }

    /// Follows a hook that has accepted a build, and makes what it made valid.
    fn have_built(&self, build: &Elsewhere<'_>, running: AcceptedBuild) -> Result<Made, Lost> {
        let Elsewhere { job, outputs, .. } = *build;
        let store = self.tools.store;
        let _stop = self.cancellation.on_cancel(running.killer());
        let start = self.begin(job, Some(self.log_of(job)));
        let deadline = Deadline::new(&self.cancellation, self.settings.build_limits.timeout);
        let mut log = LogWriter::create(&self.logs, job.path, self.settings.log_compression)?;
        let inputs = self.inputs(job)?;
        let all = store.closure(inputs.iter().chain([job.path]));
        let all = all.map_err(BuildError::store(job.label))?;
        let missing = self.not_valid(job, outputs)?;
        let list = |paths: &mut dyn Iterator<Item = &StorePath>| {
            let paths = paths.map(|path| store.directories().store_dir.display(path));
            paths.collect::<Vec<_>>().join(" ")
        };
        let watch = BuildWatch {
            build_limits: self.settings.build_limits,
            output: OutputLines::new(job.label, self.events.clone()),
            log: &mut log,
            kill: running.killer(),
            start,
        };
        let (status, watched) = running.follow(
            &list(&mut all.iter()),
            &list(&mut missing.iter().map(|(_, path)| *path)),
            watch,
        )?;
        if self.cancellation.is_cancelled() && !status.success() {
            return Err(BuildError::Interrupted.into());
        }
        if let Some(error) = watched.error {
            return Err(error.into());
        }
        log.finish()?;
        let Watched { output, cause, .. } = watched;
        let failed = |cause| {
            Lost::Build(BuildError::Failed(Box::new(FailedBuild {
                label: job.label.to_owned(),
                cause,
                phase: output.phase().map(ToOwned::to_owned),
                last_lines: output.last_lines(),
                likely_cause: output.likely_cause().map(ToOwned::to_owned),
                log: Some(self.log_of(job)),
                kept: None,
            })))
        };
        if let Some(cause) = cause {
            return Err(failed(cause));
        }
        match status.code() {
            Some(0) => {}
            Some(FAILED) => return Err(failed(BuildFailureCause::FailedElsewhere)),
            Some(TIMED_OUT) => return Err(failed(BuildFailureCause::TimedOutElsewhere)),
            _ => return Err(Lost::Hook(HookFailure::Failed(status))),
        }
        self.take_outputs(build, inputs, &deadline)?
            .map_err(failed)?;
        let mut infos = Vec::with_capacity(outputs.len());
        for (_, path) in outputs {
            let info = store.path_info(path);
            infos.extend(info.map_err(BuildError::store(job.label))?);
        }
        Ok(Made {
            elsewhere: true,
            phases: output.phases().to_vec(),
            ..self.made(start, outputs, &infos)
        })
    }

    /// Makes the outputs that the hook has left at their places valid.
    fn take_outputs(
        &self,
        build: &Elsewhere<'_>,
        inputs: BTreeSet<StorePath>,
        deadline: &Deadline<'_>,
    ) -> Result<Result<(), BuildFailureCause>, Lost> {
        let Elsewhere {
            job,
            outputs,
            rules,
            locks,
        } = *build;
        let store = self.tools.store;
        let made = self.not_valid(job, outputs)?;
        let Some((_, first)) = made.first() else {
            return Ok(Ok(()));
        };
        let staging = Staging::create(store, locks, first);
        let staging = staging.map_err(BuildError::store(job.label))?;
        let place = staging.path.join("store");
        let created = DirBuilder::new().mode(0o700).create(&place);
        created.map_err(BuildError::io("create", &place))?;
        for (_, path) in &made {
            let taken = store.take_unregistered(locks, path, &place);
            if !taken.map_err(BuildError::store(job.label))? {
                let path = store.directories().store_dir.display(path);
                return Err(Lost::Hook(HookFailure::NoOutput(path)));
            }
        }
        let mut candidates = inputs;
        candidates.extend(outputs.iter().map(|(_, path)| (*path).clone()));
        let new = NewOutputs {
            job,
            outputs: &made,
            store: &place,
            candidates,
            rules,
            deadline,
        };
        Ok(self.register(&new, locks, Round::ONLY)?.map(drop))
    }

    /// Those of the `outputs` that are not valid.
    fn not_valid<'o>(
        &self,
        job: BuildJob<'_>,
        outputs: &[(&'o str, &'o StorePath)],
    ) -> Result<Vec<(&'o str, &'o StorePath)>, BuildError> {
        let paths = outputs.iter().map(|(_, path)| *path);
        let valid = self.tools.store.valid_among(paths);
        let valid = valid.map_err(BuildError::store(job.label))?;
        let outputs = outputs.iter().copied();
        Ok(outputs.filter(|(_, path)| !valid.contains(*path)).collect())
    }

    /// Locks the outputs as [`lock`](Self::lock) does, where no other process has locked them: the outer `None`.
    fn try_lock(
        &self,
        job: BuildJob<'_>,
        outputs: &[(&str, &StorePath)],
    ) -> Result<Option<Option<PathLocks>>, BuildError> {
        let paths: Vec<&StorePath> = outputs.iter().map(|(_, path)| *path).collect();
        let locks = self.tools.store.try_lock(paths.iter().copied());
        let Some(locks) = locks.map_err(BuildError::store(job.label))? else {
            return Ok(None);
        };
        let is_open = !self.not_valid(job, outputs)?.is_empty();
        Ok(Some(is_open.then_some(locks)))
    }
}
