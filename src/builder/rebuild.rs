// SPDX-License-Identifier: GPL-3.0-or-later
//! Making again what is valid already: to compare, or to put a damaged item right.
//!
//! Nothing is registered here. The outputs are made where a first build makes them, under the same locks, made
//! canonical and hashed; then the caller looks at them, while they are still there, and decides what becomes of
//! them. Inputs are those of the store, which must be valid.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::SystemTime;

use super::context::{BuildContext, Staging, make_ready, needs_sandbox, outputs};
use super::deadline::Deadline;
use super::derivations::{AddSource, add_derivations};
use super::error::{BuildError, FailedBuild};
use super::graph::{BuildGraph, BuildJob, BuildTask, Todo};
use super::history::History;
use super::outputs::NewOutputs;
use super::references::ReferenceRules;
use super::scheduler::{self, Place, RunReport, TaskOutcome, Worker};
use super::scratch::ScratchDirectory;
use super::settings::{BuildSettings, Tools};
use super::variation::Variation;
use crate::events::cancellation::Cancellation;
use crate::events::{EventSender, Kind, Made};
use crate::formats::nar::NarError;
use crate::formats::store_path::StorePath;
use crate::store::{PathInfo, PathLocks, StoreError};

/// An output that was made again.
#[derive(Debug)]
pub struct RebuiltOutput<'x> {
    /// Its name.
    pub name: &'x str,
    /// Where it is now, canonical.
    pub staged: PathBuf,
    /// What its record would be.
    pub info: PathInfo,
}

/// A derivation that was built again.
pub struct RebuiltDerivation<'x> {
    /// The derivation.
    pub job: BuildJob<'x>,
    /// Its outputs, `out` first.
    pub outputs: Vec<RebuiltOutput<'x>>,
    /// The locks on them.
    pub locks: &'x PathLocks,
    /// When the build began.
    pub started: SystemTime,
    /// Whether the work on the outputs goes on: the run is not cancelled, and the time limit is not reached. Who stops
    /// for it ends with [`NarError::Stopped`].
    pub goes_on: &'x (dyn Fn() -> bool + Sync),
}

/// What looks at outputs that were made again. Called on several threads.
pub type Inspect<'i> = &'i (dyn Fn(&RebuiltDerivation<'_>) -> Result<(), BuildError> + Sync);

/// What is to be made again.
pub struct Again<'r, 'a> {
    /// All derivations that are known: those wanted and what they are built from.
    pub graph: &'r BuildGraph<'a>,
    /// The derivations to be built again.
    pub wanted: Vec<&'a StorePath>,
    /// What is different this time.
    pub variation: Variation,
    /// Why others cannot make the same, where they cannot. The summary says so.
    pub impure: Option<String>,
    /// Adds an input source of one of the derivations. What came from a substitute server may have come without it.
    pub add_source: AddSource<'r>,
    /// Whether the log of the first build stays what `log` shows.
    pub log_apart: bool,
}

/// Makes the outputs of the wanted derivations again, and has `inspect` look at each.
///
/// # Errors
/// Where the run could not begin; an input that is not valid is such a case.
pub fn rebuild(
    again: &Again<'_, '_>,
    tools: Tools<'_>,
    settings: &BuildSettings,
    inspect: Inspect<'_>,
    events: &EventSender,
    cancellation: &Cancellation,
) -> Result<RunReport, BuildError> {
    let settings = again.variation.settings(settings);
    let directories = tools.store.directories();
    let history = History::new(&directories.state);
    let durations = history.durations();
    let mut todo = again.graph.alone(again.wanted.iter().copied(), |label| {
        durations.get(label).copied()
    })?;
    todo.impure.clone_from(&again.impure);
    let added = add_derivations(again.graph, again.add_source, &todo, tools.store);
    added.map_err(|error| error.unless_stopped(cancellation))?;
    keep_inputs(again, &todo, &tools).map_err(|error| error.unless_stopped(cancellation))?;
    let _umask = again.variation.enter();
    let builds = needs_sandbox(&todo);
    if builds {
        make_ready(tools.sandbox, settings.sandbox_is_fit)?;
    }
    let owner = tools.sandbox.outside(&settings.user);
    let scratch = ScratchDirectory::create(&settings.temporary, owner)?;
    // Builds that are kept on some of the processors have their tokens each, as many as there is room for beside each
    // other.
    let tokens = settings.tokens.saturating_mul(apart(&settings));
    // None are spare: nothing here waits for anything else, so that there is always something to build.
    let pool = settings.job_pool(tokens, None, scratch.directory());
    let pool = pool.map_err(BuildError::Thread)?;
    let _stop = cancellation.on_cancel(pool.closer());
    let rebuilder = Rebuilder {
        builder: BuildContext {
            settings: &settings,
            graph: again.graph,
            pool,
            scratch,
            logs: match again.log_apart {
                true => directories.log.join("rebuilds"),
                false => directories.log.clone(),
            },
            variation: again.variation.clone(),
            history,
            events: events.clone(),
            cancellation: cancellation.clone(),
            add_source: again.add_source,
            sandbox_is_ready: Mutex::new(builds),
            tools,
        },
        inspect,
    };
    let report = scheduler::run(
        &todo,
        &rebuilder,
        settings.parallelism(),
        settings.cores,
        events,
        cancellation,
    );
    if cancellation.is_cancelled() {
        rebuilder.builder.scratch.abandon();
    }
    Ok(report)
}

/// How many builds there is room for on processors of their own; one where they may use all.
fn apart(settings: &BuildSettings) -> NonZeroUsize {
    let one = NonZeroUsize::MIN;
    let Some(processors) = settings.limits.processors else {
        return one;
    };
    let all = std::thread::available_parallelism().unwrap_or(one).get();
    NonZeroUsize::new(all / processors.max(1)).unwrap_or(one)
}

/// Keeps what the tasks use from the collector, and sees that it is valid.
fn keep_inputs(
    again: &Again<'_, '_>,
    todo: &Todo<'_>,
    tools: &Tools<'_>,
) -> Result<(), BuildError> {
    for task in &todo.tasks {
        let job = task.job;
        let mut inputs = again.graph.inputs_of(job)?;
        if job.kind == Kind::Download {
            // Nothing in the store is used.
            inputs.clear();
        }
        let store = tools.store;
        let fail = BuildError::store(job.label);
        store
            .add_temporary_roots(inputs.iter().copied())
            .map_err(&fail)?;
        let valid = store.valid_among(inputs.iter().copied()).map_err(&fail)?;
        if let Some(missing) = inputs.into_iter().find(|path| !valid.contains(*path)) {
            return Err(BuildError::Derivation {
                label: job.label.to_owned(),
                problem: format!(
                    "it cannot be built again without {}, which is not valid; build what it needs first",
                    store.directories().store_dir.display(missing)
                ),
            });
        }
    }
    Ok(())
}

/// Makes items again for one run.
struct Rebuilder<'b, 'a, 'i> {
    builder: BuildContext<'b, 'a>,
    inspect: Inspect<'i>,
}

impl<'a> Worker<'a> for Rebuilder<'_, 'a, '_> {
    fn make(&self, task: &BuildTask<'a>, place: &dyn Place) -> Result<TaskOutcome<'a>, BuildError> {
        let made = self.make_again(task, place);
        made.map_err(|error| error.unless_stopped(&self.builder.cancellation))
    }
}

impl Rebuilder<'_, '_, '_> {
    fn make_again<'t>(
        &self,
        task: &BuildTask<'t>,
        place: &dyn Place,
    ) -> Result<TaskOutcome<'t>, BuildError> {
        let builder = &self.builder;
        let job = task.job;
        let outputs = outputs(job)?;
        let (locks, waited) = builder.lock_outputs(job, &outputs, place)?;
        if waited {
            place.come_back();
        }
        let most = builder.settings.most_of_each();
        let most = most.unwrap_or(builder.settings.tokens);
        let slot = builder.pool.acquire(task.urgency, Some(most));
        let in_pool = builder.scratch.directory();
        let Some(slot) = slot.map_err(BuildError::io("create a job server's pipe in", in_pool))?
        else {
            return Err(BuildError::Interrupted);
        };
        let staging = Staging::create(builder.tools.store, &locks, outputs[0].1)
            .map_err(BuildError::store(job.label))?;
        let started = SystemTime::now();
        let rules = ReferenceRules::of(job, &builder.tools.store.directories().store_dir)?;
        let mut made = Made::default();
        let start;
        let store;
        let candidates;
        let deadline = Deadline::new(&builder.cancellation, builder.settings.build_limits.timeout);
        // Held until the outputs are looked at, which is work like any other.
        let _slot;
        if let Some(builtin) = builder.tools.builtins.of(job)? {
            start = builder.begin(job, None);
            let ran = builder.run_builtin(builtin, job, &outputs, &staging.path)?;
            (store, candidates, _slot) = (ran.store, ran.candidates, slot);
        } else {
            let directory = builder.scratch.build_directory(job.path)?;
            start = builder.begin(job, Some(builder.log_of(job)));
            let ran = builder.run(job, &outputs, &staging.path, &directory, slot);
            let (mut ran, slot) = match ran {
                Ok(ran) => ran,
                Err(error) => {
                    builder.scratch.discard(directory);
                    return Err(error);
                }
            };
            _slot = slot;
            let cause = builder.verdict(&outputs, &mut ran, &directory)?;
            if let Some(cause) = cause {
                let kept = builder.leave(job, directory);
                return Err(builder.failed(job, ran, cause, kept));
            }
            candidates = ran.candidates(&outputs);
            let new = NewOutputs {
                deadline: &deadline,
                job,
                outputs: &outputs,
                store: &ran.store,
                candidates: BTreeSet::new(),
                rules: &rules,
            };
            if let Some(cause) = builder.check_fixed_output(&new)? {
                let kept = builder.leave(job, directory);
                return Err(builder.failed(job, ran, cause, kept));
            }
            builder.scratch.discard(directory);
            made.user_seconds = ran.finished.user_time.as_secs_f64();
            made.system_seconds = ran.finished.system_time.as_secs_f64();
            made.phases = ran.phases;
            store = ran.store;
        }
        let new = NewOutputs {
            deadline: &deadline,
            job,
            outputs: &outputs,
            store: &store,
            candidates,
            rules: &rules,
        };
        let staged = new.staged();
        let goes_on = || deadline.goes_on();
        let infos = builder.tools.store.examine_staged(&staged, &goes_on);
        let infos = match infos {
            Err(StoreError::Nar(NarError::Stopped)) => {
                return Err(FailedBuild::without_log(job, deadline.cause()?));
            }
            infos => infos.map_err(BuildError::store(job.label))?,
        };
        let made = Made {
            user_seconds: made.user_seconds,
            system_seconds: made.system_seconds,
            phases: made.phases,
            ..builder.made(start, &outputs, &infos)
        };
        let rebuilt = RebuiltDerivation {
            job,
            outputs: outputs
                .iter()
                .zip(staged)
                .zip(infos)
                .map(|(((name, _), staged), info)| RebuiltOutput {
                    name,
                    staged: staged.staged,
                    info,
                })
                .collect(),
            locks: &locks,
            started,
            goes_on: &goes_on,
        };
        match (self.inspect)(&rebuilt) {
            Err(BuildError::Store { source, .. })
                if matches!(*source, StoreError::Nar(NarError::Stopped)) =>
            {
                return Err(FailedBuild::without_log(job, deadline.cause()?));
            }
            inspected => inspected?,
        }
        Ok(TaskOutcome::Made(made))
    }
}
