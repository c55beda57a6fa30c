// SPDX-License-Identifier: GPL-3.0-or-later
//! Running the engine with its progress shown, and interrupted by signals.

use super::arguments::ProgressStyle;
use super::context::Context;
use crate::engine::Watcher;
use crate::events::EventSender;
use crate::events::cancellation::Cancellation;
use crate::show::progress::{self, Reporter, Style, Verbosity};
use crate::show::records::{Recorder, Runs};

impl Watcher for Context {
    fn cancellation(&self) -> &Cancellation {
        self.interruption()
    }

    /// Shows and records the events meanwhile.
    fn follow(&self, work: &mut dyn FnMut(&EventSender)) {
        let (events, receiver) = EventSender::channel();
        // From the start: waits for locks and the questions to servers come before anything is built.
        let reporter = progress::follow(receiver, self.reporters());
        work(&events);
        drop(events);
        reporter.end();
    }
}

impl Context {
    fn reporters(&self) -> Vec<Box<dyn Reporter>> {
        let style = match self.options.progress {
            ProgressStyle::Auto => Style::for_terminal(),
            ProgressStyle::Plain => Style::Lines,
            ProgressStyle::Json => Style::Json,
        };
        let verbosity = match (self.options.quiet, self.options.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::Normal,
            (false, _) => Verbosity::Verbose,
        };
        vec![
            style.reporter(verbosity, self.color, self.invocation.clone()),
            Box::new(Recorder::new(&Runs::new(&self.directories.state))),
        ]
    }
}
