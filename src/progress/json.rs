//! One JSON object a line for each event, as [`Event`] serialises.

use std::io::Write;

use super::Reporter;
use crate::build::events::Event;

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
        if let Ok(mut line) = serde_json::to_vec(event) {
            line.push(b'\n');
            // In one piece, and at once: somebody is waiting for it.
            let _ = self.output.write_all(&line);
            let _ = self.output.flush();
        }
    }
}
