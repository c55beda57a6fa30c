//! A whole run: from the derivations somebody wants to valid outputs.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::context::BuildContext;
use super::error::BuildError;
use super::graph::{Graph, Job, Todo};
use super::history::History;
use super::jobserver::{JobPool, Spare};
use super::scheduler::{self, Report, Worker};
use super::scratch::Scratch;
use super::settings::{BuildSettings, Tools};
use super::variation::Variation;
use crate::events::cancellation::Cancellation;
use crate::events::{Event, EventSender, Kind};
use crate::formats::derivation::aterm;
use crate::formats::store_path::StorePath;
use crate::store::add::Text;
use crate::store::{Patience, Store, StoreError};

/// What a run is to do.
pub struct Request<'r, 'a> {
    /// All derivations that are known: those wanted and all that they need.
    pub graph: &'r Graph<'a>,
    /// The derivations whose outputs are wanted.
    pub wanted: Vec<&'a StorePath>,
    /// Why others cannot make the same, where they cannot. The summary says so.
    pub impure: Option<String>,
    /// Makes one of the derivations' input sources valid, which is not yet.
    pub add_source: &'r dyn Fn(&Store, &StorePath) -> Result<(), StoreError>,
}

/// How a store waits for locks during a run: it says so in `events`, and stops when the run is cancelled. To be given to
/// [`Store::open_with`](crate::store::Store::open_with).
pub fn lock_patience(events: &EventSender, cancellation: &Cancellation) -> Patience {
    let (events, cancellation) = (events.clone(), cancellation.clone());
    Patience {
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
        ..Patience::default()
    }
}

/// Makes the outputs of the wanted derivations valid. Whatever can be made is; what could not is in the report.
///
/// With everything valid this is a few questions to the database.
///
/// # Errors
/// Where the run could not begin: nothing has been built then.
pub fn realise(
    request: &Request<'_, '_>,
    tools: Tools<'_>,
    settings: &BuildSettings,
    events: &EventSender,
    cancellation: &Cancellation,
) -> Result<Report, BuildError> {
    let history = History::new(&tools.store.directories().state);
    let durations = OnceCell::new();
    let mut todo = request
        .graph
        .missing(request.wanted.iter().copied(), tools.store, |label| {
            durations
                .get_or_init(|| history.durations())
                .get(label)
                .copied()
        })
        .map_err(|error| BuildError::from(error).unless_stopped(cancellation))?;
    todo.impure.clone_from(&request.impure);
    if todo.tasks.is_empty() {
        return Ok(run(&todo, &Nothing, settings, events, cancellation));
    }
    if todo.tasks.iter().any(|task| task.job.kind == Kind::Build) {
        prepare_sandbox(&tools)?;
    }
    add_derivations(request, &todo, tools.store)
        .map_err(|error| error.unless_stopped(cancellation))?;
    let owner = tools.sandbox.outside(&settings.user);
    let scratch = Scratch::create(&settings.temporary, owner)?;
    let spare = Spare {
        processors: settings.cores,
        outlasting: outlasting(&todo),
    };
    let pool = JobPool::new(settings.tokens, Some(spare), scratch.directory())
        .map_err(BuildError::Thread)?;
    let _stop = cancellation.on_cancel(pool.closer());
    let builder = BuildContext {
        settings,
        graph: request.graph,
        pool,
        scratch,
        logs: tools.store.directories().log.clone(),
        variation: Variation::default(),
        history,
        events: events.clone(),
        cancellation: cancellation.clone(),
        tools,
    };
    Ok(run(&todo, &builder, settings, events, cancellation))
}

/// By how much more urgency, in milliseconds, a build outlasts another: a sixth of what the whole run takes at least, and no less
/// than two minutes. So it is about a road's compilers and what can be built beside them, however fast the machine, and not about
/// two packages of a few minutes.
fn outlasting(todo: &Todo<'_>) -> u64 {
    let longest = todo.tasks.iter().map(|task| task.urgency).max();
    (longest.unwrap_or(0) / 6).max(120_000)
}

fn run(
    todo: &Todo<'_>,
    worker: &dyn Worker,
    settings: &BuildSettings,
    events: &EventSender,
    cancellation: &Cancellation,
) -> Report {
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

impl Worker for Nothing {
    fn make(&self, task: &super::graph::Task<'_>) -> Result<scheduler::Outcome, BuildError> {
        Err(BuildError::Derivation {
            label: task.job.label.to_owned(),
            problem: "it was valid when the run began".to_owned(),
        })
    }
}

pub(super) fn prepare_sandbox(tools: &Tools<'_>) -> Result<(), BuildError> {
    let check = tools
        .sandbox
        .check()
        .and_then(|()| tools.sandbox.clean_leftovers());
    check.map_err(|source| BuildError::Sandbox {
        label: "the sandbox".to_owned(),
        source: Box::new(source),
    })
}

/// Makes the derivations that are to be built valid, with everything they refer to but other outputs: a store item
/// without its derivation could not be traced back to where it comes from.
fn add_derivations(
    request: &Request<'_, '_>,
    todo: &Todo<'_>,
    store: &Store,
) -> Result<(), BuildError> {
    let store_dir = &store.directories().store_dir;
    let jobs = request
        .graph
        .closure(todo.tasks.iter().map(|task| task.job.path))?;
    let sources: BTreeSet<&StorePath> = jobs
        .iter()
        .flat_map(|job| &job.derivation.input_sources)
        .collect();
    let fail = BuildError::store("the sources of builds");
    store
        .add_temporary_roots(sources.iter().copied())
        .map_err(&fail)?;
    let valid = store.valid_among(sources.iter().copied()).map_err(&fail)?;
    for source in sources {
        if !valid.contains(source) {
            (request.add_source)(store, source).map_err(&fail)?;
        }
    }

    let fail = BuildError::store("the derivations");
    let paths = jobs.iter().map(|job| job.path);
    let valid = store.valid_among(paths).map_err(&fail)?;
    let jobs: Vec<&Job<'_>> = jobs
        .iter()
        .filter(|job| !valid.contains(job.path))
        .collect();
    let contents: Vec<_> = jobs
        .iter()
        .map(|job| {
            (
                aterm::write(store_dir, job.derivation),
                job.derivation.references(),
            )
        })
        .collect();
    let texts: Vec<Text<'_>> = jobs
        .iter()
        .zip(&contents)
        .map(|(job, (content, references))| Text {
            name: job.path.name(),
            content,
            references,
        })
        .collect();
    let paths = store.add_texts(&texts).map_err(&fail)?;
    match jobs
        .iter()
        .zip(&paths)
        .find(|(job, path)| job.path != *path)
    {
        Some((job, path)) => Err(BuildError::Derivation {
            label: job.label.to_owned(),
            problem: format!(
                "it was planned as {}, but is {}",
                store_dir.display(job.path),
                store_dir.display(path)
            ),
        }),
        None => Ok(()),
    }
}
