//! Runs tasks in parallel, the most urgent first, until all are done, one has failed, or the run is stopped.
//!
//! One thread decides, a thread for each running task works. Downloads have places of their own beside those for
//! builds, so that the network is busy while the processor is; within each kind the most urgent ready task is next.
//! How many builds really compute at a time is not decided here but by the job tokens each of them waits for.
//!
//! When something fails, what waits for it is skipped, and named together with the reason. Unless the run is
//! to keep going, nothing new is started then; what runs already may end, for its result is of use next time.

use std::any::Any;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::time::Instant;

use super::error::BuildError;
use super::graph::{Task, Todo};
use crate::events::cancellation::Cancellation;
use crate::events::{
    Event, EventSender, FailedItem, Kind, Made, MadeItem, PlannedItem, SkippedItem, Summary,
};
use crate::formats::secrets::without_secrets;

/// How an item was come by.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// We made it.
    Made(Made),
    /// Another process made it while we waited for its lock.
    Reused,
}

/// Something that makes items.
pub trait Worker: Sync {
    /// Makes the item, in the calling thread. Returns soon once the run is cancelled.
    ///
    /// # Errors
    /// Why there is no item.
    fn make(&self, task: &Task<'_>) -> Result<Outcome, BuildError>;
}

/// How much is done at a time, and what a failure means.
#[derive(Debug, Clone, Copy)]
pub struct Parallelism {
    /// Builds at a time.
    pub builds: NonZeroUsize,
    /// Downloads at a time.
    pub downloads: NonZeroUsize,
    /// Whether everything that does not need the failed item is still made.
    pub keep_going: bool,
}

/// What became of a run.
#[derive(Debug)]
pub struct Report {
    /// The same that readers of events got.
    pub summary: Summary,
    /// What went wrong, in the order in which it did.
    pub errors: Vec<BuildError>,
}

/// The state of a run, owned by the thread that decides.
struct Run<'r, 'a> {
    todo: &'r Todo<'a>,
    /// For each task, how many of its inputs are still to be made.
    open_inputs: Vec<usize>,
    ready: BTreeSet<(std::cmp::Reverse<u64>, usize)>,
    running_builds: usize,
    running_downloads: usize,
    skipped: BTreeSet<usize>,
    started: BTreeSet<usize>,
    summary: Summary,
    errors: Vec<BuildError>,
}

/// Makes all tasks of `todo`.
pub fn run(
    todo: &Todo<'_>,
    worker: &dyn Worker,
    parallelism: Parallelism,
    cores: NonZeroUsize,
    events: &EventSender,
    cancellation: &Cancellation,
) -> Report {
    let start = (events.since(), own_processor_seconds());
    let mut run = Run::new(todo, cores);
    let count = |download: bool| {
        let kinds = todo.tasks.iter().map(|task| task.job.kind);
        kinds
            .filter(|kind| (*kind == Kind::Download) == download)
            .count()
    };
    events.emit(Event::RunStarted {
        builds: count(false),
        downloads: count(true),
        reused: todo.reused.len(),
    });
    if !todo.tasks.is_empty() {
        events.emit(planned(todo, parallelism, cores));
    }
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        loop {
            while let Some(number) = run.next(parallelism, cancellation) {
                let sender = sender.clone();
                let work = move || {
                    let task = &todo.tasks[number];
                    // A bug in one build is one failed build, not a run that hangs waiting for it.
                    let result = catch_unwind(AssertUnwindSafe(|| worker.make(task)));
                    let result = result.unwrap_or_else(|panic| {
                        Err(BuildError::Panicked {
                            label: task.job.label.to_owned(),
                            message: panic_message(panic.as_ref()),
                        })
                    });
                    // The receiver outlives this scope.
                    let _ = sender.send((number, result));
                };
                let thread =
                    std::thread::Builder::new().name(todo.tasks[number].job.label.to_owned());
                if let Err(source) = thread.spawn_scoped(scope, work) {
                    run.ended(number, Err(BuildError::Thread(source)), events);
                }
            }
            if run.running_builds + run.running_downloads == 0 {
                break;
            }
            let Ok((number, result)) = receiver.recv() else {
                break;
            };
            run.ended(number, result, events);
        }
    });
    run.finish(start, events, cancellation)
}

/// What is to be made, for those who estimate how long it will take.
pub fn planned(todo: &Todo<'_>, parallelism: Parallelism, cores: NonZeroUsize) -> Event {
    let item = |task: &Task<'_>| PlannedItem {
        item: task.job.label.to_owned(),
        kind: task.job.kind,
        inputs: task
            .inputs
            .iter()
            .map(|input| todo.tasks[*input].job.label.to_owned())
            .collect(),
        seconds: task.expected.map(|expected| expected.as_secs_f64()),
        guessed: task.guessed,
    };
    Event::Planned {
        items: todo.tasks.iter().map(item).collect(),
        jobs: parallelism.builds.get(),
        downloads: parallelism.downloads.get(),
        cores: cores.get(),
    }
}

/// The processor time this process has used so far.
fn own_processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

impl<'r, 'a> Run<'r, 'a> {
    fn new(todo: &'r Todo<'a>, cores: NonZeroUsize) -> Self {
        let mut run = Self {
            todo,
            open_inputs: todo.tasks.iter().map(|task| task.inputs.len()).collect(),
            ready: BTreeSet::new(),
            running_builds: 0,
            running_downloads: 0,
            skipped: BTreeSet::new(),
            started: BTreeSet::new(),
            summary: Summary {
                reused: todo
                    .reused
                    .iter()
                    .map(|label| (*label).to_owned())
                    .collect(),
                cores: cores.get(),
                impure: todo.impure.clone(),
                ..Summary::default()
            },
            errors: Vec::new(),
        };
        for number in 0..todo.tasks.len() {
            if run.open_inputs[number] == 0 {
                run.make_ready(number);
            }
        }
        run
    }

    fn make_ready(&mut self, number: usize) {
        let urgency = self.todo.tasks[number].urgency;
        self.ready.insert((std::cmp::Reverse(urgency), number));
    }

    fn running(&mut self, number: usize) -> &mut usize {
        match self.todo.tasks[number].job.kind {
            Kind::Download | Kind::Substitute => &mut self.running_downloads,
            Kind::Seed | Kind::Build => &mut self.running_builds,
        }
    }

    /// The next task to start, if one may start now.
    fn next(&mut self, parallelism: Parallelism, cancellation: &Cancellation) -> Option<usize> {
        if cancellation.is_cancelled() || (!self.errors.is_empty() && !parallelism.keep_going) {
            return None;
        }
        let build = self.running_builds < parallelism.builds.get();
        let download = self.running_downloads < parallelism.downloads.get();
        let next =
            *self
                .ready
                .iter()
                .find(|(_, number)| match self.todo.tasks[*number].job.kind {
                    Kind::Download | Kind::Substitute => download,
                    Kind::Seed | Kind::Build => build,
                })?;
        self.ready.remove(&next);
        self.started.insert(next.1);
        *self.running(next.1) += 1;
        Some(next.1)
    }

    fn ended(&mut self, number: usize, result: Result<Outcome, BuildError>, events: &EventSender) {
        *self.running(number) -= 1;
        let task = &self.todo.tasks[number];
        let item = task.job.label.to_owned();
        match result {
            Ok(outcome) => {
                match outcome {
                    Outcome::Made(made) => {
                        let kind = task.job.kind;
                        events.emit(Event::Finished {
                            item: item.clone(),
                            kind,
                            made: made.clone(),
                        });
                        self.summary.made.push(MadeItem { item, kind, made });
                    }
                    Outcome::Reused => {
                        events.emit(Event::Reused { item: item.clone() });
                        self.summary.reused.push(item);
                    }
                }
                for dependant in &task.dependants {
                    self.open_inputs[*dependant] -= 1;
                    if self.open_inputs[*dependant] == 0 && !self.skipped.contains(dependant) {
                        self.make_ready(*dependant);
                    }
                }
            }
            // Stopping is no failure of what was stopped.
            Err(BuildError::Interrupted) => self.summary.interrupted = true,
            Err(error) => {
                // Summaries are printed and recorded.
                let message = without_secrets(&error.to_string()).into_owned();
                events.emit(Event::Failed {
                    item: item.clone(),
                    message: message.clone(),
                    likely_cause: error.likely_cause().map(ToOwned::to_owned),
                    last_lines: error.last_lines().to_vec(),
                    log: error.log().map(ToOwned::to_owned),
                    kept: error.kept().map(ToOwned::to_owned),
                });
                self.skip_dependants(number, &item, events);
                self.summary.failed.push(FailedItem { item, message });
                self.errors.push(error);
            }
        }
    }

    fn skip_dependants(&mut self, number: usize, because: &str, events: &EventSender) {
        let mut waiting = self.todo.tasks[number].dependants.clone();
        let mut found = BTreeSet::new();
        while let Some(number) = waiting.pop() {
            if self.skipped.insert(number) {
                found.insert(number);
                waiting.extend(&self.todo.tasks[number].dependants);
            }
        }
        for number in found {
            let skipped = SkippedItem {
                item: self.todo.tasks[number].job.label.to_owned(),
                because: because.to_owned(),
            };
            events.emit(Event::Skipped {
                item: skipped.item.clone(),
                because: skipped.because.clone(),
            });
            self.summary.skipped.push(skipped);
        }
    }

    fn finish(
        mut self,
        start: (Instant, f64),
        events: &EventSender,
        cancellation: &Cancellation,
    ) -> Report {
        let tried = |number: &usize| self.started.contains(number) || self.skipped.contains(number);
        let left = (0..self.todo.tasks.len()).filter(|number| !tried(number));
        self.summary.not_started = left
            .map(|number| self.todo.tasks[number].job.label.to_owned())
            .collect();
        // A cancellation that came when all was done interrupted nothing.
        self.summary.interrupted |=
            cancellation.is_cancelled() && !self.summary.not_started.is_empty();
        if self.summary.interrupted {
            events.emit(Event::Interrupted);
        }
        self.summary.seconds = start.0.elapsed().as_secs_f64();
        self.summary.own_processor_seconds = own_processor_seconds() - start.1;
        events.emit(Event::RunFinished {
            summary: self.summary.clone(),
        });
        Report {
            summary: self.summary,
            errors: self.errors,
        }
    }
}

#[cfg(test)]
#[path = "scheduler/tests.rs"]
mod tests;
