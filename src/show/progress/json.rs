// SPDX-License-Identifier: GPL-3.0-or-later
//! Writes each event as one line of JSON with its time. `docs/events.md` describes the format.

use std::io::Write;

use super::Reporter;
use crate::events::{Event, stamped_line};

/// Writes events to a stream. A reader that has gone away does not stop the run.
pub struct Json<W> {
    output: W,
}

impl<W: Write> Json<W> {
    /// Writes to `output`.
    pub fn new(output: W) -> Self {
        Self { output }
    }
}

impl<W: Write + Send> Reporter for Json<W> {
    fn report(&mut self, event: &Event) {
        if let Ok(line) = stamped_line(event) {
            // In one piece and at once, for readers that follow the run.
            let _ = self.output.write_all(&line);
            let _ = self.output.flush();
        }
    }
}
