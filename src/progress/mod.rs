//! Showing a run to people, or to programs, while it lasts.
//!
//! Everything shown here comes from [`crate::build::events`]; nothing here knows how builds work. [`bars`] is for
//! terminals, [`lines`] for everything else, [`json`] for programs. All three write to standard error, except
//! JSON, which is what its reader asked for and goes to standard output.

use std::io::IsTerminal;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::build::events::Event;

pub mod bars;
pub mod json;
pub mod lines;
pub mod size;

/// How often elapsed times are drawn again.
const TICK: Duration = Duration::from_millis(200);

/// How a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Bars.
    Bars,
    /// Lines.
    Lines,
    /// JSON.
    Json,
}

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Failures only.
    Quiet,
    /// What starts, what ends, how far it is.
    Normal,
    /// What builds print, too.
    Verbose,
}

/// What is done with each event.
pub trait Reporter: Send {
    /// Shows `event`.
    fn report(&mut self, event: &Event);

    /// Shows that time has passed.
    fn tick(&mut self) {}

    /// Takes away what does not stay.
    fn end(&mut self) {}
}

impl Style {
    /// Bars where standard error is a terminal that can move its cursor, else lines.
    pub fn for_terminal() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        match std::io::stderr().is_terminal() && !dumb {
            true => Self::Bars,
            false => Self::Lines,
        }
    }

    /// The reporter of this style.
    pub fn reporter(self, verbosity: Verbosity, color: bool) -> Box<dyn Reporter> {
        match self {
            Self::Json => Box::new(json::Json::new(std::io::stdout())),
            // Nothing moves where only failures are shown.
            Self::Bars if verbosity > Verbosity::Quiet => {
                Box::new(bars::Bars::new(verbosity, color))
            }
            Self::Bars | Self::Lines => {
                Box::new(lines::Lines::new(std::io::stderr(), verbosity, color))
            }
        }
    }
}

/// Shows `events` in a thread of its own, until the last sender is gone.
pub fn follow(events: Receiver<Event>, mut reporter: Box<dyn Reporter>) -> JoinHandle<()> {
    thread::spawn(move || {
        loop {
            match events.recv_timeout(TICK) {
                Ok(event) => reporter.report(&event),
                Err(RecvTimeoutError::Timeout) => reporter.tick(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        reporter.end();
    })
}
