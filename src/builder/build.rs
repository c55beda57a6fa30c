// SPDX-License-Identifier: GPL-3.0-or-later
//! Makes one item: locks it, runs its builder, checks the outputs, and registers them.
//!
//! The order of steps makes a build safe to kill at any moment. The locks come first. Everything is made in a staging
//! directory that belongs to the lock. The store moves the outputs to their places and records them last, all together.
//! The next process that holds the lock removes what a killed build left behind.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::alternative::{Alternative, Delivery};
use super::builtin::Builtin;
use super::context::{BuildContext, Staging, outputs};
use super::deadline::Deadline;
use super::error::{BuildError, BuildFailureCause, FailedBuild};
use super::excerpt::excerpt;
use super::graph::{BuildJob, BuildTask, WantedJob, WantedOutputs, Way};
use super::history::{FinishedItem, epoch_seconds};
use super::jobserver::JobSlot;
use super::log::LogWriter;
use super::outputs::{NewOutputs, ROUND_BEFORE, Round};
use super::references::ReferenceRules;
use super::remote_build::prefers_here;
use super::sandboxed::BUILD_STORE;
use super::scheduler::{Place, TaskOutcome, Worker};
use super::settings::Fallback;
use crate::diagnostics::{FileError, with_hint};
use crate::events::{Kind, Made};
use crate::formats::secrets::without_secrets;
use crate::formats::store_path::StorePath;
use crate::store::remove::remove_tree;
use crate::store::{PathInfo, PathLocks};

/// One build under way.
struct BuildAttempt<'x> {
    job: BuildJob<'x>,
    urgency: u64,
    outputs: &'x [(&'x str, &'x StorePath)],
    rules: &'x ReferenceRules,
    locks: &'x PathLocks,
    staging: &'x Path,
}

impl<'a> Worker<'a> for BuildContext<'_, 'a> {
    fn make(&self, task: &BuildTask<'a>, place: &dyn Place) -> Result<TaskOutcome<'a>, BuildError> {
        let job = task.job;
        let outcome = match (&task.way, self.tools.alternative) {
            (Way::Alternative(_), Some(alternative)) => self.have_delivered(task, alternative),
            _ => self.build(task, place),
        };
        let outcome = outcome.map_err(|error| error.unless_stopped(&self.cancellation))?;
        if let TaskOutcome::Made(made) = &outcome {
            let ended = SystemTime::now();
            let taken = Duration::try_from_secs_f64(made.seconds).unwrap_or_default();
            let record = FinishedItem {
                item: job.label.to_owned(),
                kind: job.kind,
                derivation: job.path.base_name().to_owned(),
                started: epoch_seconds(ended.checked_sub(taken).unwrap_or(ended)),
                ended: epoch_seconds(ended),
                cores: self.settings.cores.get(),
                made: made.clone(),
            };
            if let Err(error) = self.history.append(&record) {
                tracing::warn!("cannot write {}: {error}", self.history.path().display());
            }
        }
        Ok(outcome)
    }

    fn is_offered(&self, task: &BuildTask<'a>) -> bool {
        self.is_for_hook(task)
    }

    fn offer(
        &self,
        task: &BuildTask<'a>,
        room_here: bool,
        accepted: &dyn Fn(),
    ) -> Result<TaskOutcome<'a>, BuildError> {
        let outcome = self.offer_to_hook(task, room_here, accepted);
        outcome.map_err(|error| error.unless_stopped(&self.cancellation))
    }

    fn alternative_is_done(&self) {
        if let Some(alternative) = self.tools.alternative {
            alternative.pause();
        }
    }
}

impl<'a> BuildContext<'_, 'a> {
    /// Has `alternative` make an item, or finds out what it takes to build it.
    fn have_delivered(
        &self,
        task: &BuildTask<'a>,
        alternative: &dyn Alternative,
    ) -> Result<TaskOutcome<'a>, BuildError> {
        let job = task.job;
        match alternative.make(job, &task.outputs)? {
            Delivery::Delivered => return Ok(TaskOutcome::Delivered),
            Delivery::Failed if self.cancellation.is_cancelled() => {
                return Err(BuildError::Interrupted);
            }
            Delivery::Failed if self.settings.fallback == Fallback::Never => {
                return Err(BuildError::NotDelivered {
                    label: job.label.to_owned(),
                });
            }
            Delivery::Failed => {}
        }
        let is_this = |other: &WantedJob<'_>| other.job.path == job.path;
        let offers = |jobs: &[WantedJob<'a>]| {
            let others = jobs.iter().filter(|other| !is_this(other));
            let others: Vec<WantedJob<'a>> = others.cloned().collect();
            let mut offered = alternative.offers(&others)?.into_iter();
            let offers = jobs.iter().map(|other| match is_this(other) {
                true => None,
                false => offered.next().flatten(),
            });
            Ok::<_, BuildError>(offers.collect())
        };
        let durations = self.history.durations();
        let estimate = |label: &str| durations.get(label).copied();
        let store = self.tools.store;
        let outputs = job.derivation.outputs.iter();
        let names = outputs.filter(|(_, output)| {
            let path = output.path.as_ref();
            path.is_some_and(|path| task.outputs.contains(path))
        });
        let wanted = [WantedOutputs {
            path: job.path,
            names: Some(names.map(|(name, _)| name.as_str()).collect()),
        }];
        let todo = self
            .graph
            .missing_or_offered(wanted, store, offers, estimate)?;
        if todo.tasks.is_empty() {
            return Ok(TaskOutcome::Reused);
        }
        self.prepare(&todo)?;
        Ok(TaskOutcome::Instead(todo))
    }
}

impl BuildContext<'_, '_> {
    /// Makes an item with its builder.
    fn build<'a>(
        &self,
        task: &BuildTask<'a>,
        place: &dyn Place,
    ) -> Result<TaskOutcome<'a>, BuildError> {
        let job = task.job;
        let builtin = self.tools.builtins.of(job)?;
        let rules = ReferenceRules::of(job, &self.tools.store.directories().store_dir)?;
        let outputs = outputs(job)?;
        let Some(locks) = self.lock(job, &outputs, place)? else {
            return Ok(TaskOutcome::Reused);
        };
        if self.settings.only_elsewhere && !prefers_here(job, &self.settings.system) {
            return Err(BuildError::NotHere {
                label: job.label.to_owned(),
            });
        }
        if self.failed_before(job, &outputs)? {
            return Err(FailedBuild::without_log(
                job,
                BuildFailureCause::FailedBefore,
            ));
        }
        // Downloads wait for the network, not for a processor.
        let slot = match job.kind {
            Kind::Download => None,
            _ => Some(self.slot(task.urgency)?),
        };
        let staging = Staging::create(self.tools.store, &locks, outputs[0].1);
        let staging = staging.map_err(BuildError::store(job.label))?;
        let attempt = BuildAttempt {
            job,
            urgency: task.urgency,
            outputs: &outputs,
            rules: &rules,
            locks: &locks,
            staging: &staging.path,
        };
        let made = match (builtin, slot) {
            (Some(builtin), _slot) => self.build_here(&attempt, builtin),
            (None, Some(slot)) => self.build_in_sandbox(&attempt, slot),
            (None, None) => Err(BuildError::Derivation {
                label: job.label.to_owned(),
                problem: "it is a download, but no builtin makes it".to_owned(),
            }),
        };
        made.map(TaskOutcome::Made)
    }

    /// Waits for a job token.
    fn slot(&self, urgency: u64) -> Result<JobSlot, BuildError> {
        let slot = self.pool.acquire(urgency, self.settings.most_of_each());
        let directory = self.scratch.directory();
        let slot = slot.map_err(BuildError::io("create a job server's pipe in", directory))?;
        slot.ok_or(BuildError::Interrupted)
    }

    /// Has a builtin make the outputs, and registers them.
    fn build_here(
        &self,
        attempt: &BuildAttempt<'_>,
        builtin: &dyn Builtin,
    ) -> Result<Made, BuildError> {
        let job = attempt.job;
        let log = LogWriter::create(&self.logs, job.path, self.settings.log_compression)?;
        let start = self.begin(job, Some(self.log_of(job)));
        let made = self.have_made(attempt, builtin, start);
        let maker = &job.derivation.builder;
        let line = match &made {
            Ok(made) if made.cached => format!("{maker}: taken from the cache"),
            Ok(_) => format!("{maker}: done"),
            Err(error) => without_secrets(&with_hint(error)).into_owned(),
        };
        // What came of it is the thing to tell.
        if let Err(error) = log.end_with(&line) {
            tracing::warn!("{error}");
        }
        made
    }

    /// The part of [`build_here`](Self::build_here) that has a log.
    fn have_made(
        &self,
        attempt: &BuildAttempt<'_>,
        builtin: &dyn Builtin,
        start: Instant,
    ) -> Result<Made, BuildError> {
        let BuildAttempt { job, outputs, .. } = *attempt;
        let ran = self.run_builtin(builtin, job, outputs, attempt.staging)?;
        // Downloads have limits of their own.
        let deadline = Deadline::new(&self.cancellation, None);
        let new = NewOutputs {
            deadline: &deadline,
            job,
            outputs,
            store: &ran.store,
            candidates: ran.candidates,
            rules: attempt.rules,
        };
        match self.register(&new, attempt.locks, Round::ONLY)? {
            Ok(infos) => Ok(Made {
                cached: ran.report.cached,
                ..self.made(start, outputs, &infos)
            }),
            Err(cause) => Err(FailedBuild::without_log(job, cause)),
        }
    }

    /// Runs the builder in the sandbox, as often as there are rounds, and registers what it made the last time.
    fn build_in_sandbox(
        &self,
        attempt: &BuildAttempt<'_>,
        mut slot: JobSlot,
    ) -> Result<Made, BuildError> {
        // A fixed output is compared with its hash each time.
        let fixed = attempt.job.derivation.fixed_output().is_some();
        let rounds = if fixed { 1 } else { self.settings.rounds.get() };
        let mut before = Vec::new();
        for _ in 1..rounds {
            let round = Round {
                before: &before,
                is_last: false,
            };
            (_, before) = self.round(attempt, slot, round)?;
            self.put_aside(attempt)?;
            slot = self.slot(attempt.urgency)?;
        }
        let round = Round {
            before: &before,
            is_last: true,
        };
        Ok(self.round(attempt, slot, round)?.0)
    }

    /// Takes what a round has made out of the way of the next.
    fn put_aside(&self, attempt: &BuildAttempt<'_>) -> Result<(), BuildError> {
        let store = attempt.staging.join(BUILD_STORE);
        let before = attempt.staging.join(ROUND_BEFORE);
        let removed = match self.settings.keep_failed {
            true => &before,
            false => &store,
        };
        let fail = |error: FileError| BuildError::store(attempt.job.label)(error.into());
        remove_tree(removed).map_err(fail)?;
        match self.settings.keep_failed {
            true => fs::rename(&store, &before)
                .map_err(FileError::in_store("move aside", &store))
                .map_err(fail),
            false => Ok(()),
        }
    }

    /// Runs the builder once, and sees to its build directory and the record of failures.
    fn round(
        &self,
        attempt: &BuildAttempt<'_>,
        slot: JobSlot,
        round: Round<'_>,
    ) -> Result<(Made, Vec<PathInfo>), BuildError> {
        let job = attempt.job;
        let directory = self.scratch.build_directory(job.path)?;
        let made = self.attempt(attempt, &directory, slot, round);
        if let Err(error) = &made {
            self.record_failure(job, attempt.outputs, error);
        }
        match made {
            Err(BuildError::Failed(mut failed)) => {
                let (phase, cause) = (failed.phase.as_deref(), failed.likely_cause.as_deref());
                let excerpt = excerpt(&directory, phase, cause);
                failed.last_lines.extend(excerpt);
                failed.kept = self.leave(job, directory);
                Err(BuildError::Failed(failed))
            }
            made => {
                self.scratch.discard(directory);
                made
            }
        }
    }

    /// Whether the build of one of the `outputs` is recorded as failed, where such records count.
    pub(super) fn failed_before(
        &self,
        job: BuildJob<'_>,
        outputs: &[(&str, &StorePath)],
    ) -> Result<bool, BuildError> {
        if !self.settings.cache_failures {
            return Ok(false);
        }
        for (_, path) in outputs {
            let failed = self.tools.store.has_failed(path);
            if failed.map_err(BuildError::store(job.label))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Records that the build of `outputs` failed with `error`, where such records are kept and it would fail again. A
    /// fixed output often depends on a server, which may answer the next time.
    pub(super) fn record_failure(
        &self,
        job: BuildJob<'_>,
        outputs: &[(&str, &StorePath)],
        error: &BuildError,
    ) {
        let wanted = self.settings.cache_failures && error.is_permanent();
        if !wanted || job.derivation.fixed_output().is_some() || self.cancellation.is_cancelled() {
            return;
        }
        let paths = outputs.iter().map(|(_, path)| *path);
        if let Err(error) = self.tools.store.record_failure(paths) {
            tracing::warn!("cannot record that {} failed: {error}", job.label);
        }
    }

    /// Runs the builder in the build directory `directory`, and registers what it made, if this round is the last.
    fn attempt(
        &self,
        attempt: &BuildAttempt<'_>,
        directory: &Path,
        slot: JobSlot,
        round: Round<'_>,
    ) -> Result<(Made, Vec<PathInfo>), BuildError> {
        let BuildAttempt { job, outputs, .. } = *attempt;
        let start = self.begin(job, Some(self.log_of(job)));
        let deadline = Deadline::new(&self.cancellation, self.settings.build_limits.timeout);
        // The token is held until the outputs are registered: hashing them is work like any other.
        let (mut ran, _slot) = self.run(job, outputs, attempt.staging, directory, slot)?;
        let registered = match self.verdict(outputs, &mut ran, directory)? {
            Some(cause) => Err(cause),
            None => {
                let new = NewOutputs {
                    deadline: &deadline,
                    job,
                    outputs,
                    store: &ran.store,
                    candidates: ran.candidates(outputs),
                    rules: attempt.rules,
                };
                self.register(&new, attempt.locks, round)?
            }
        };
        match registered {
            Ok(infos) => {
                let made = Made {
                    user_seconds: ran.finished.user_time.as_secs_f64(),
                    system_seconds: ran.finished.system_time.as_secs_f64(),
                    phases: ran.phases,
                    ..self.made(start, outputs, &infos)
                };
                Ok((made, infos))
            }
            Err(cause) => Err(self.failed(job, ran, cause, None)),
        }
    }
}
