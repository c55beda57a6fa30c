// SPDX-License-Identifier: GPL-3.0-or-later
//! What the scheduler has make its tasks.

use std::sync::mpsc::Sender;

use crate::builder::error::BuildError;
use crate::builder::graph::{BuildTask, Todo};
use crate::events::Made;

/// How an item was come by.
#[derive(Debug)]
pub enum TaskOutcome<'a> {
    /// We made it.
    Made(Made),
    /// Another process made it while we waited for its lock.
    Reused,
    /// An alternative made it, and has reported that.
    Delivered,
    /// An alternative did not make it. This is what has to be made to build it, itself included.
    Instead(Todo<'a>),
    /// The build hook does not make it. It is to be built here.
    Declined,
    /// The build hook may make it later. It is to be offered again.
    Postponed,
}

/// What the thread of a task says.
pub(super) enum TaskMessage<'a> {
    /// The build hook makes it.
    Accepted,
    /// It waits for another process, without its place.
    Left,
    /// It wants a place again, and waits for a message.
    ComesBack(Sender<()>),
    /// The thread ends.
    Ended(Result<TaskOutcome<'a>, BuildError>),
}

/// The place of a task that is being made.
pub trait Place {
    /// Leaves it to another task: this one waits for another process. It may end without a place.
    fn leave(&self);

    /// Waits until there is a place again, after [`leave`](Self::leave). Returns soon in a run that is to stop.
    fn come_back(&self);
}

/// Something that makes items.
pub trait Worker<'a>: Sync {
    /// Makes the item, in the calling thread. Leaves `place` while it waits for another process. Returns soon once the
    /// run is cancelled.
    ///
    /// # Errors
    /// Why there is no item.
    fn make(&self, task: &BuildTask<'a>, place: &dyn Place) -> Result<TaskOutcome<'a>, BuildError>;

    /// Whether the item is to be offered to a build hook before it is made here.
    fn is_offered(&self, _task: &BuildTask<'a>) -> bool {
        false
    }

    /// Offers the item to the build hook, and waits for it where the hook makes it, which `accepted` is called for.
    /// `room_here` is whether it could be built here at once. Returns soon once the run is cancelled.
    ///
    /// # Errors
    /// Why there is no item, and will be none.
    fn offer(
        &self,
        _task: &BuildTask<'a>,
        _room_here: bool,
        _accepted: &dyn Fn(),
    ) -> Result<TaskOutcome<'a>, BuildError> {
        Ok(TaskOutcome::Declined)
    }

    /// No task of an alternative is left, for now, or there was none.
    fn alternative_is_done(&self) {}
}
