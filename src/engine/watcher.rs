// SPDX-License-Identifier: GPL-3.0-or-later
//! How a front end follows runs, where one operation may need several.

use super::error::EngineError;
use crate::events::EventSender;
use crate::events::cancellation::Cancellation;

/// A front end's way to follow runs and to stop them.
pub trait Watcher {
    /// What stops every run. Runs ask for it once they have planned, so a front end may handle signals from then on.
    fn cancellation(&self) -> &Cancellation;

    /// Makes a stream of events for one run, reads it while `work` sends, and returns once all of it has been read.
    fn follow(&self, work: &mut dyn FnMut(&EventSender));
}

/// Runs `work` with a stream of its own that `watcher` follows.
///
/// # Errors
/// Those of `work`.
pub(super) fn watched<T>(
    watcher: &dyn Watcher,
    work: impl FnOnce(&EventSender) -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    let mut work = Some(work);
    let mut done = None;
    watcher.follow(&mut |events| {
        if let Some(work) = work.take() {
            done = Some(work(events));
        }
    });
    done.unwrap_or(Err(EngineError::NotFollowed))
}
