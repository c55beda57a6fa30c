// SPDX-License-Identifier: GPL-3.0-or-later
//! Shows a run to users, or to programs, while it lasts.
//!
//! All input comes from [`crate::events`]; nothing here knows how builds work. [`bars`] is for terminals, [`lines`] for
//! everything else, [`json`] for programs. Bars and lines go to standard error, JSON to standard output.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::events::Event;
use invocation::Invocation;

pub mod bars;
pub mod estimate;
pub mod invocation;
pub mod json;
pub mod lines;
pub mod processor;
pub mod screen;
pub mod size;
mod visible_events;

/// How often elapsed times are redrawn.
const TICK: Duration = Duration::from_millis(200);

/// The form of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Bars.
    Bars,
    /// Lines.
    Lines,
    /// JSON.
    Json,
}

/// How much progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Failures only.
    Quiet,
    /// The start, end and progress of items.
    Normal,
    /// The output of builds as well.
    Verbose,
}

/// A reader of events.
pub trait Reporter: Send {
    /// Shows `event`.
    fn report(&mut self, event: &Event);

    /// Called when time has passed without an event.
    fn tick(&mut self) {}

    /// Called once after the last event: removes what is not to stay.
    fn end(&mut self) {}
}

impl Style {
    /// Bars if standard error is a terminal that can move its cursor, otherwise lines.
    pub fn for_terminal() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        match std::io::stderr().is_terminal() && !dumb {
            true => Self::Bars,
            false => Self::Lines,
        }
    }

    /// The reporter of this style; `invocation` completes the commands in messages.
    pub fn reporter(
        self,
        verbosity: Verbosity,
        color: bool,
        invocation: Invocation,
    ) -> Box<dyn Reporter> {
        match self {
            Self::Json => Box::new(json::Json::new(std::io::stdout())),
            // Without progress there is nothing to draw.
            Self::Bars if verbosity > Verbosity::Quiet => {
                Box::new(bars::Bars::new(verbosity, color, invocation))
            }
            Self::Bars | Self::Lines => Box::new(lines::ProgressLines::new(
                std::io::stderr(),
                verbosity,
                color,
                invocation,
            )),
        }
    }
}

/// Several reporters that get the same events.
struct All(Vec<Box<dyn Reporter>>);

impl Reporter for All {
    fn report(&mut self, event: &Event) {
        for reporter in &mut self.0 {
            reporter.report(event);
        }
    }

    fn tick(&mut self) {
        for reporter in &mut self.0 {
            reporter.tick();
        }
    }

    fn end(&mut self) {
        for reporter in &mut self.0 {
            reporter.end();
        }
    }
}

/// The thread that shows a run.
pub struct Following {
    /// `None` where the system allows no more threads: then nothing is shown.
    thread: Option<JoinHandle<()>>,
    over: Arc<AtomicBool>,
}

/// How often processor use is measured.
const PROCESSOR_INTERVAL: Duration = Duration::from_secs(2);

/// Shows `events` in a thread, and processor use between them, until the last event of the run or [`Following::end`].
pub fn follow(events: Receiver<Event>, reporters: Vec<Box<dyn Reporter>>) -> Following {
    let over = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&over);
    let mut reporter = All(reporters);
    let thread = thread::Builder::new().spawn(move || {
        let mut processor = processor::Processor::new();
        let mut measured = Instant::now();
        let mut began = false;
        loop {
            if began && measured.elapsed() >= PROCESSOR_INTERVAL {
                measured = Instant::now();
                if let Some(busy) = processor.busy() {
                    reporter.report(&Event::Processor { busy });
                }
            }
            match events.recv_timeout(TICK) {
                Ok(mut event) => {
                    visible_events::hide_secrets(&mut event);
                    began |= matches!(event, Event::Planned { .. });
                    reporter.report(&event);
                    if matches!(event, Event::RunFinished { .. }) {
                        break;
                    }
                }
                // Senders may outlive the run, so the end of the channel is not enough.
                Err(RecvTimeoutError::Timeout) if is_over.load(Ordering::SeqCst) => break,
                Err(RecvTimeoutError::Timeout) => reporter.tick(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        reporter.end();
    });
    if let Err(error) = &thread {
        tracing::warn!("cannot show how the run goes: {error}");
    }
    Following {
        thread: thread.ok(),
        over,
    }
}

impl Following {
    /// Waits until all events have been shown. After a run without a last event this takes one tick more.
    pub fn end(self) {
        self.over.store(true, Ordering::SeqCst);
        if self.thread.is_some_and(|thread| thread.join().is_err()) {
            // The summary follows in any case.
            tracing::warn!(
                "internal error: the progress display stopped (this is a bug; see CONTRIBUTING.md)"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{EventSender, Summary};
    use std::sync::Mutex;

    /// Counts its events.
    #[derive(Clone, Default)]
    struct Counter(Arc<Mutex<(usize, bool)>>);

    impl Reporter for Counter {
        fn report(&mut self, _: &Event) {
            self.0.lock().unwrap().0 += 1;
        }

        fn end(&mut self) {
            self.0.lock().unwrap().1 = true;
        }
    }

    #[test]
    fn following_ends_with_the_run_even_where_senders_remain() {
        let (sender, receiver) = EventSender::channel();
        let counter = Counter::default();
        let following = follow(receiver, vec![Box::new(counter.clone())]);
        sender.emit(Event::Interrupted);
        sender.emit(Event::RunFinished {
            summary: Summary::default(),
        });
        following.end();
        assert_eq!(*counter.0.lock().unwrap(), (2, true));

        let (_sender, receiver) = EventSender::channel();
        let counter = Counter::default();
        follow(receiver, vec![Box::new(counter.clone())]).end();
        assert_eq!(*counter.0.lock().unwrap(), (0, true));
    }
}
