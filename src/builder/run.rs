// SPDX-License-Identifier: GPL-3.0-or-later
//! A whole run: from the wanted derivations to valid outputs.

use std::cell::OnceCell;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use super::alternative::Alternative;
use super::context::{BuildContext, make_ready, needs_sandbox};
pub use super::derivations::{AddSource, add_with_inputs};
use super::error::BuildError;
use super::graph::{BuildGraph, BuildTask, Todo, WantedJob, WantedOutputs};
use super::history::History;
use super::jobserver::Spare;
use super::scheduler::{self, Place, RunReport, TaskOutcome, Worker};
use super::scratch::ScratchDirectory;
use super::settings::{BuildSettings, Tools};
use super::variation::Variation;
use crate::events::cancellation::Cancellation;
use crate::events::{Event, EventSender, Summary};
use crate::store::{LockPolicy, Store};

/// What a run is to do.
pub struct RunRequest<'r, 'a> {
    /// All derivations that are known: those wanted and all that they need.
    pub graph: &'r BuildGraph<'a>,
    /// The outputs that are wanted, by derivation.
    pub wanted: Vec<WantedOutputs<'a>>,
    /// Why others cannot make the same, where they cannot. The summary says so.
    pub impure: Option<String>,
    /// Makes one of the derivations' input sources valid, which is not yet.
    pub add_source: AddSource<'r>,
}

/// How a store waits for locks during a run: it says so in `events`, and stops when the run is cancelled. To be given
/// to [`Store::open_with`](crate::store::Store::open_with).
pub fn lock_policy(events: &EventSender, cancellation: &Cancellation) -> LockPolicy {
    let (events, cancellation) = (events.clone(), cancellation.clone());
    LockPolicy {
        report: Arc::new(move |waiting| {
            if cancellation.is_cancelled() {
                return ControlFlow::Break(());
            }
            events.emit(Event::WaitingForLock {
                path: waiting.path.to_owned(),
                holder: waiting.holder,
                seconds: waiting.waited.as_secs_f64(),
            });
            ControlFlow::Continue(())
        }),
        // A build takes as long as it takes.
        timeout: None,
    }
}

/// What has to be made, or `alternative` can get, for the outputs of the wanted derivations to be valid.
///
/// # Errors
/// Where the graph, the store or the alternative says so.
pub fn missing<'a>(
    request: &RunRequest<'_, 'a>,
    store: &Store,
    alternative: Option<&dyn Alternative>,
    cancellation: &Cancellation,
) -> Result<Todo<'a>, BuildError> {
    let todo = missing_now(request, store, alternative);
    todo.map_err(|error| error.unless_stopped(cancellation))
}

fn missing_now<'a>(
    request: &RunRequest<'_, 'a>,
    store: &Store,
    alternative: Option<&dyn Alternative>,
) -> Result<Todo<'a>, BuildError> {
    let history = History::new(&store.directories().state);
    let durations = OnceCell::new();
    let estimate = |label: &str| {
        let durations = durations.get_or_init(|| history.durations());
        durations.get(label).copied()
    };
    let wanted = request.wanted.iter().cloned();
    let mut todo = match alternative {
        Some(alternative) => {
            let offers = |jobs: &[WantedJob<'a>]| alternative.offers(jobs);
            request
                .graph
                .missing_or_offered(wanted, store, offers, estimate)?
        }
        None => request.graph.missing(wanted, store, estimate)?,
    };
    todo.impure.clone_from(&request.impure);
    Ok(todo)
}

/// Makes the outputs of the wanted derivations valid. Whatever can be made is; what could not is in the report.
///
/// With everything valid this is a few questions to the database.
///
/// # Errors
/// Where the run could not begin: nothing has been built then.
pub fn realise(
    request: &RunRequest<'_, '_>,
    tools: Tools<'_>,
    settings: &BuildSettings,
    events: &EventSender,
    cancellation: &Cancellation,
) -> Result<RunReport, BuildError> {
    let todo = missing(request, tools.store, tools.alternative, cancellation)?;
    realise_todo(request, &todo, tools, settings, events, cancellation)
}

/// The report of a run that was stopped before it knew what to make.
pub fn interrupted(
    request: &RunRequest<'_, '_>,
    settings: &BuildSettings,
    events: &EventSender,
) -> RunReport {
    let summary = Summary {
        interrupted: true,
        impure: request.impure.clone(),
        seconds: events.since().elapsed().as_secs_f64(),
        cores: settings.cores.get(),
        ..Summary::default()
    };
    events.emit(Event::Interrupted);
    events.emit(Event::RunFinished {
        summary: summary.clone(),
    });
    RunReport {
        summary,
        errors: Vec::new(),
    }
}

/// Makes what is to be done, which is what [`missing`] has found for the same request.
///
/// # Errors
/// As for [`realise`].
pub fn realise_todo<'a>(
    request: &RunRequest<'_, 'a>,
    todo: &Todo<'a>,
    tools: Tools<'_>,
    settings: &BuildSettings,
    events: &EventSender,
    cancellation: &Cancellation,
) -> Result<RunReport, BuildError> {
    if todo.tasks.is_empty() {
        return Ok(run(todo, &Nothing, settings, events, cancellation));
    }
    // First of all: a user who may not build needs to know that, and not that a directory cannot be written to.
    let builds = needs_sandbox(todo);
    if builds {
        make_ready(tools.sandbox, settings.sandbox_is_fit)?;
    }
    let owner = tools.sandbox.outside(&settings.user);
    let scratch = ScratchDirectory::create(&settings.temporary, owner)?;
    let spare = Spare {
        processors: settings.cores,
        outlasting: outlasting(todo),
    };
    let pool = settings.job_pool(settings.tokens, Some(spare), scratch.directory());
    let pool = pool.map_err(BuildError::Thread)?;
    let _stop = cancellation.on_cancel(pool.closer());
    let builder = BuildContext {
        settings,
        graph: request.graph,
        add_source: request.add_source,
        pool,
        scratch,
        logs: tools.store.directories().log.clone(),
        variation: Variation::default(),
        history: History::new(&tools.store.directories().state),
        events: events.clone(),
        cancellation: cancellation.clone(),
        sandbox_is_ready: Mutex::new(builds),
        tools,
    };
    builder
        .prepare(todo)
        .map_err(|error| error.unless_stopped(cancellation))?;
    let report = run(todo, &builder, settings, events, cancellation);
    if cancellation.is_cancelled() {
        builder.scratch.abandon();
    }
    Ok(report)
}

/// By how much more urgency, in milliseconds, a build outlasts another: a sixth of what the whole run takes at least,
/// and no less than two minutes. So it is about the compilers and what can be built beside them, however fast the
/// machine, and not about two packages of a few minutes.
fn outlasting(todo: &Todo<'_>) -> u64 {
    let longest = todo.tasks.iter().map(|task| task.urgency).max();
    (longest.unwrap_or(0) / 6).max(120_000)
}

fn run<'a>(
    todo: &Todo<'a>,
    worker: &dyn Worker<'a>,
    settings: &BuildSettings,
    events: &EventSender,
    cancellation: &Cancellation,
) -> RunReport {
    scheduler::run(
        todo,
        worker,
        settings.parallelism(),
        settings.cores,
        events,
        cancellation,
    )
}

/// The worker for a run without tasks.
struct Nothing;

impl<'a> Worker<'a> for Nothing {
    fn make(&self, task: &BuildTask<'a>, _: &dyn Place) -> Result<TaskOutcome<'a>, BuildError> {
        Err(BuildError::Derivation {
            label: task.job.label.to_owned(),
            problem: "it was valid when the run began".to_owned(),
        })
    }
}
