// SPDX-License-Identifier: GPL-3.0-or-later
//! The tasks that a build hook is offered before they are built here.
//!
//! Offers are made one at a time, beside all other work, since a hook may take long to answer. As with guix-daemon,
//! what it declines is built here, and what it postpones is offered again when a task has ended, or after five seconds.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long a postponed task waits at most.
const WAIT: Duration = Duration::from_secs(5);

/// How often a run that waits for postponed tasks alone checks whether it is to stop.
const CHECK: Duration = Duration::from_millis(100);

/// The tasks that are or will be offered, by number.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// Those to offer, most urgent first.
    waiting: BTreeSet<(Reverse<u64>, usize)>,
    /// The one whose answer is awaited.
    asked: Option<usize>,
    /// Those that the hook makes.
    accepted: BTreeSet<usize>,
    /// Those to offer later.
    postponed: Vec<(Reverse<u64>, usize)>,
    /// When that is.
    again: Option<Instant>,
}

impl Offers {
    /// Has the task `number` offered.
    pub(super) fn add(&mut self, urgency: u64, number: usize) {
        self.waiting.insert((Reverse(urgency), number));
    }

    /// The next task to offer, if one may be offered now.
    pub(super) fn next(&mut self) -> Option<usize> {
        if self.again.is_some_and(|again| again <= Instant::now()) {
            self.retry();
        }
        if self.asked.is_some() {
            return None;
        }
        let (_, number) = self.waiting.pop_first()?;
        self.asked = Some(number);
        Some(number)
    }

    /// Notes that the hook makes the task `number`.
    pub(super) fn accepted(&mut self, number: usize) {
        if self.asked == Some(number) {
            self.asked = None;
            self.accepted.insert(number);
        }
    }

    /// Notes that the task `number` ended, one way or another. Whether it was offered.
    pub(super) fn ended(&mut self, number: usize) -> bool {
        match self.asked == Some(number) {
            true => {
                self.asked = None;
                true
            }
            false => self.accepted.remove(&number),
        }
    }

    /// Has the task `number` offered again later.
    pub(super) fn postpone(&mut self, urgency: u64, number: usize) {
        self.postponed.push((Reverse(urgency), number));
        self.again.get_or_insert_with(|| Instant::now() + WAIT);
    }

    /// Has all postponed tasks offered again: something has ended.
    pub(super) fn retry(&mut self) {
        self.again = None;
        self.waiting.extend(self.postponed.drain(..));
    }

    /// Whether nothing is offered or made by the hook.
    pub(super) fn are_idle(&self) -> bool {
        self.asked.is_none() && self.accepted.is_empty()
    }

    /// Whether nothing waits to be offered.
    pub(super) fn are_over(&self) -> bool {
        self.waiting.is_empty() && self.postponed.is_empty()
    }

    /// How long to wait for an end before another look; `None` is without bound.
    pub(super) fn pause(&self) -> Option<Duration> {
        let again = self.again?;
        Some(again.saturating_duration_since(Instant::now()).min(CHECK))
    }
}
