// SPDX-License-Identifier: GPL-3.0-or-later
//! Runs tasks in parallel, the most urgent first, until all are done, one has failed, or the run is stopped.
//!
//! One thread decides, a thread for each running task works. Downloads have places of their own beside those for
//! builds, so that the network is busy while the processor is; within each kind the most urgent ready task is next.
//! How many builds really compute at a time is not decided here but by the job tokens each of them waits for.
//!
//! A task of an [`Alternative`](super::alternative::Alternative) counts as a download. Where it fails to deliver, the
//! task becomes a build, and what that needs joins the tasks, while everything else goes on.
//!
//! A task that a build hook may have made elsewhere is offered to it first, and does not count as a build meanwhile.
//!
//! When something fails, what waits for it is skipped, and named together with the reason. Unless the run is
//! to keep going, nothing new is started then; what runs already may end, for its result is of use next time. A client
//! of the daemon that waits for all of it may prefer to have it ended.

mod offers;
mod parallelism;
mod places;
mod planned;
mod worker;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Instant;

use self::offers::Offers;
pub use self::parallelism::Parallelism;
use self::places::{HeldPlace, Places};
pub use self::planned::planned;
use self::planned::{counts, planned_items};
use self::worker::TaskMessage;
pub use self::worker::{Place, TaskOutcome, Worker};
use super::error::BuildError;
use super::graph::{BuildTask, Todo, Way};
use crate::events::cancellation::Cancellation;
use crate::events::{Event, EventSender, FailedItem, Kind, MadeItem, SkippedItem, Summary};
use crate::formats::secrets::without_secrets;
use crate::formats::store_path::StorePath;

/// What became of a run.
#[derive(Debug)]
pub struct RunReport {
    /// The same that readers of events got.
    pub summary: Summary,
    /// What went wrong, in the order in which it did.
    pub errors: Vec<BuildError>,
}

/// The state of a run, owned by the thread that decides.
struct RunState<'w, 'a> {
    worker: &'w dyn Worker<'a>,
    offers: Offers,
    tasks: Vec<BuildTask<'a>>,
    /// The number of each task, by derivation.
    index: BTreeMap<&'a StorePath, usize>,
    /// For each task, how many of its inputs are still to be made.
    open_inputs: Vec<usize>,
    ready: BTreeSet<(std::cmp::Reverse<u64>, usize)>,
    places: Places,
    skipped: BTreeSet<usize>,
    started: BTreeSet<usize>,
    done: BTreeSet<usize>,
    /// Tasks that ended without an item.
    failed: BTreeSet<usize>,
    /// How many tasks of an alternative are neither done nor failed.
    open_alternatives: usize,
    /// Whether a failure has cancelled the run.
    ended_by_failure: bool,
    summary: Summary,
    errors: Vec<BuildError>,
}

/// Makes all tasks of `todo`.
pub fn run<'a>(
    todo: &Todo<'a>,
    worker: &dyn Worker<'a>,
    parallelism: Parallelism,
    cores: NonZeroUsize,
    events: &EventSender,
    cancellation: &Cancellation,
) -> RunReport {
    let start = (events.since(), own_processor_seconds());
    let mut run = RunState::new(todo, worker, cores);
    let (builds, downloads) = counts(&todo.tasks);
    events.emit(Event::RunStarted {
        builds,
        downloads,
        reused: todo.reused.len(),
    });
    if builds + downloads > 0 {
        events.emit(planned(todo, parallelism, cores));
    }
    if run.open_alternatives == 0 {
        // The servers were asked, if there are any: one that does not work is named though nothing is taken from it.
        worker.alternative_is_done();
    }
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        loop {
            let is_stopping = run.is_stopping(parallelism, cancellation);
            run.places.admit(is_stopping, parallelism);
            while let Some((number, offer)) = run.next(parallelism, cancellation) {
                let sender = sender.clone();
                let task = run.tasks[number].clone();
                let label = task.job.label;
                let work = move || {
                    let accepted = || {
                        // The receiver outlives this scope.
                        let _ = sender.send((number, TaskMessage::Accepted));
                    };
                    let place = HeldPlace {
                        number,
                        messages: sender.clone(),
                    };
                    // A bug in one build is one failed build, not a run that hangs waiting for it.
                    let result = catch_unwind(AssertUnwindSafe(|| match offer {
                        Some(room_here) => worker.offer(&task, room_here, &accepted),
                        None => worker.make(&task, &place),
                    }));
                    let result = result.unwrap_or_else(|panic| {
                        Err(BuildError::Panicked {
                            label: task.job.label.to_owned(),
                            message: panic_message(panic.as_ref()),
                        })
                    });
                    let _ = sender.send((number, TaskMessage::Ended(result)));
                };
                let thread = std::thread::Builder::new().name(label.to_owned());
                if let Err(source) = thread.spawn_scoped(scope, work) {
                    run.ended(number, Err(BuildError::Thread(source)), events);
                }
            }
            if run.is_over(parallelism, cancellation) {
                break;
            }
            let message = match run.offers.pause() {
                Some(pause) => receiver.recv_timeout(pause),
                None => receiver.recv().map_err(RecvTimeoutError::from),
            };
            let (number, result) = match message {
                Ok((number, TaskMessage::Ended(result))) => (number, result),
                Ok((number, TaskMessage::Accepted)) => {
                    run.offers.accepted(number);
                    continue;
                }
                Ok((number, TaskMessage::Left)) => {
                    run.places.left(number, is_transfer(&run.tasks[number]));
                    continue;
                }
                Ok((number, TaskMessage::ComesBack(grant))) => {
                    let task = &run.tasks[number];
                    run.places
                        .comes_back(number, task.urgency, is_transfer(task), grant);
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let before = run.open_alternatives;
            run.ended(number, result, events);
            let is_over = run.is_stopping(parallelism, cancellation);
            if parallelism.ends_others && is_over && !cancellation.is_cancelled() {
                run.ended_by_failure = true;
                cancellation.cancel();
            }
            if before > 0 && run.open_alternatives == 0 {
                worker.alternative_is_done();
            }
        }
    });
    if run.open_alternatives > 0 {
        worker.alternative_is_done();
    }
    run.finish(start, events, cancellation)
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

impl<'w, 'a> RunState<'w, 'a> {
    fn new(todo: &Todo<'a>, worker: &'w dyn Worker<'a>, cores: NonZeroUsize) -> Self {
        let tasks = todo.tasks.clone();
        let alternatives = tasks.iter().filter(|task| task.way != Way::Builder);
        let mut run = Self {
            worker,
            offers: Offers::default(),
            index: (0..tasks.len())
                .map(|number| (tasks[number].job.path, number))
                .collect(),
            open_inputs: tasks.iter().map(|task| task.inputs.len()).collect(),
            open_alternatives: alternatives.count(),
            ended_by_failure: false,
            tasks,
            ready: BTreeSet::new(),
            places: Places::default(),
            skipped: BTreeSet::new(),
            started: BTreeSet::new(),
            done: BTreeSet::new(),
            failed: BTreeSet::new(),
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
        for number in 0..run.tasks.len() {
            if run.open_inputs[number] == 0 {
                run.make_ready(number);
            }
        }
        run
    }

    fn make_ready(&mut self, number: usize) {
        let task = &self.tasks[number];
        match self.worker.is_offered(task) {
            true => self.offers.add(task.urgency, number),
            false => self.make_ready_here(number),
        }
    }

    fn make_ready_here(&mut self, number: usize) {
        let urgency = self.tasks[number].urgency;
        self.ready.insert((std::cmp::Reverse(urgency), number));
    }

    fn label(&self, number: usize) -> &'a str {
        self.tasks[number].job.label
    }

    /// Whether nothing new is started any more.
    fn is_stopping(&self, parallelism: Parallelism, cancellation: &Cancellation) -> bool {
        cancellation.is_cancelled() || (!self.errors.is_empty() && !parallelism.keep_going)
    }

    /// Whether nothing runs, and nothing more will.
    fn is_over(&self, parallelism: Parallelism, cancellation: &Cancellation) -> bool {
        let is_idle = self.places.are_idle() && self.offers.are_idle();
        is_idle && (self.offers.are_over() || self.is_stopping(parallelism, cancellation))
    }

    /// The next task to start, if one may start now; with it, where it is to be offered to the build hook, whether
    /// there is room for it here.
    fn next(
        &mut self,
        parallelism: Parallelism,
        cancellation: &Cancellation,
    ) -> Option<(usize, Option<bool>)> {
        if self.is_stopping(parallelism, cancellation) {
            return None;
        }
        let room = |is_download: bool| self.places.has_room(is_download, parallelism);
        let (build, download) = (room(false), room(true));
        let mut ready = self.ready.iter();
        let next = ready.find(|(_, number)| match is_transfer(&self.tasks[*number]) {
            true => download,
            false => build,
        });
        let Some(next) = next.copied() else {
            let number = self.offers.next()?;
            self.started.insert(number);
            return Some((number, Some(build)));
        };
        self.ready.remove(&next);
        self.started.insert(next.1);
        self.places.take(is_transfer(&self.tasks[next.1]));
        Some((next.1, None))
    }

    fn ended(
        &mut self,
        number: usize,
        result: Result<TaskOutcome<'a>, BuildError>,
        events: &EventSender,
    ) {
        if !self.offers.ended(number) {
            self.places.ended(number, is_transfer(&self.tasks[number]));
        }
        let item = self.label(number).to_owned();
        let is_alternative = self.tasks[number].way != Way::Builder;
        match result {
            Ok(TaskOutcome::Declined) => {
                self.started.remove(&number);
                self.make_ready_here(number);
                return;
            }
            Ok(TaskOutcome::Postponed) => {
                self.started.remove(&number);
                self.offers.postpone(self.tasks[number].urgency, number);
                return;
            }
            Ok(TaskOutcome::Instead(todo)) => {
                self.open_alternatives -= usize::from(is_alternative);
                self.started.remove(&number);
                self.join(number, todo, events);
                return;
            }
            Ok(outcome) => {
                match outcome {
                    TaskOutcome::Made(made) => {
                        let kind = self.tasks[number].kind();
                        events.emit(Event::Finished {
                            item: item.clone(),
                            kind,
                            made: made.clone(),
                        });
                        self.summary.made.push(MadeItem { item, kind, made });
                    }
                    TaskOutcome::Reused => {
                        events.emit(Event::Reused { item: item.clone() });
                        self.summary.reused.push(item);
                    }
                    TaskOutcome::Delivered
                    | TaskOutcome::Instead(_)
                    | TaskOutcome::Declined
                    | TaskOutcome::Postponed => {}
                }
                self.done.insert(number);
                for dependant in self.tasks[number].dependants.clone() {
                    self.open_inputs[dependant] -= 1;
                    if self.open_inputs[dependant] == 0 && !self.skipped.contains(&dependant) {
                        self.make_ready(dependant);
                    }
                }
            }
            // A stopped build has not failed.
            Err(BuildError::Interrupted) => {
                self.failed.insert(number);
                if is_alternative {
                    // Nothing of it is left.
                    self.started.remove(&number);
                }
                // What a failure has ended was not interrupted by the user.
                self.summary.interrupted |= !self.ended_by_failure;
            }
            Err(error) => {
                // Summaries are printed and recorded.
                let message = without_secrets(&error.to_string()).into_owned();
                events.emit(Event::Failed {
                    item: item.clone(),
                    message: message.clone(),
                    hint: error.hint().map(|hint| without_secrets(&hint).into_owned()),
                    likely_cause: error.likely_cause().map(ToOwned::to_owned),
                    last_lines: error.last_lines().to_vec(),
                    log: error.log().map(ToOwned::to_owned),
                    kept: error.kept().map(ToOwned::to_owned),
                });
                self.failed.insert(number);
                self.skip(self.tasks[number].dependants.clone(), &item, events);
                self.summary.failed.push(FailedItem { item, message });
                self.errors.push(error);
            }
        }
        self.open_alternatives -= usize::from(is_alternative);
        self.offers.retry();
    }

    /// Makes the task `number`, which an alternative has not delivered, a build, and adds the tasks of `todo` that come
    /// before it and are not there yet.
    fn join(&mut self, number: usize, todo: Todo<'a>, events: &EventSender) {
        let after = self.tasks[number].urgency;
        let mut numbers: Vec<usize> = Vec::with_capacity(todo.tasks.len());
        let mut joined: Vec<usize> = Vec::new();
        for task in todo.tasks {
            let known = self.index.get(task.job.path).copied();
            if let Some(known) = known.filter(|known| *known != number) {
                numbers.push(known);
                continue;
            }
            let inputs: Vec<usize> = task.inputs.iter().map(|input| numbers[*input]).collect();
            let new = match known {
                Some(number) => {
                    let own = &mut self.tasks[number];
                    (own.way, own.inputs) = (task.way, inputs);
                    (own.expected, own.guessed) = (task.expected, task.guessed);
                    number
                }
                None => {
                    let new = self.tasks.len();
                    self.open_alternatives += usize::from(task.way != Way::Builder);
                    self.index.insert(task.job.path, new);
                    self.open_inputs.push(0);
                    self.tasks.push(BuildTask {
                        inputs,
                        dependants: Vec::new(),
                        urgency: task.urgency.saturating_add(after),
                        ..task
                    });
                    new
                }
            };
            numbers.push(new);
            joined.push(new);
        }
        let items = planned_items(&self.tasks, joined.iter().copied());
        events.emit(Event::MorePlanned { items });
        for new in joined {
            let mut open = 0;
            let mut lost = None;
            for input in self.tasks[new].inputs.clone() {
                if self.failed.contains(&input) || self.skipped.contains(&input) {
                    lost = Some(input);
                } else if !self.done.contains(&input) {
                    open += 1;
                    self.tasks[input].dependants.push(new);
                }
            }
            self.open_inputs[new] = open;
            match lost {
                Some(input) => {
                    let because = self.label(input).to_owned();
                    self.skip(vec![new], &because, events);
                }
                None if open == 0 => self.make_ready(new),
                None => {}
            }
        }
    }

    /// Skips the tasks `waiting` and all that wait for them.
    fn skip(&mut self, mut waiting: Vec<usize>, because: &str, events: &EventSender) {
        let mut found = BTreeSet::new();
        while let Some(number) = waiting.pop() {
            if self.skipped.insert(number) {
                found.insert(number);
                waiting.extend(&self.tasks[number].dependants);
            }
        }
        for number in found {
            self.open_alternatives -= usize::from(self.tasks[number].way != Way::Builder);
            let skipped = SkippedItem {
                item: self.label(number).to_owned(),
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
    ) -> RunReport {
        let tried = |number: &usize| self.started.contains(number) || self.skipped.contains(number);
        let left = (0..self.tasks.len()).filter(|number| !tried(number));
        self.summary.not_started = left.map(|number| self.label(number).to_owned()).collect();
        // A cancellation that came when all was done interrupted nothing.
        self.summary.interrupted |= cancellation.is_cancelled()
            && !self.ended_by_failure
            && !self.summary.not_started.is_empty();
        if self.summary.interrupted {
            events.emit(Event::Interrupted);
        }
        self.summary.seconds = start.0.elapsed().as_secs_f64();
        self.summary.own_processor_seconds = own_processor_seconds() - start.1;
        events.emit(Event::RunFinished {
            summary: self.summary.clone(),
        });
        RunReport {
            summary: self.summary,
            errors: self.errors,
        }
    }
}

/// Whether `task` waits for the network more than for a processor.
fn is_transfer(task: &BuildTask<'_>) -> bool {
    matches!(task.kind(), Kind::Download | Kind::Substitute)
}

#[cfg(test)]
mod tests;
