// SPDX-License-Identifier: GPL-3.0-or-later
//! The places of the tasks that work at a time.
//!
//! Builds and downloads have places of their own. A task that waits for another process, which makes the same item,
//! leaves its place to another task of the run. When it does not need to wait any more and still has to build, it
//! comes back, before any task that has not begun.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Sender, channel};

use super::parallelism::Parallelism;
use super::worker::{Place, TaskMessage};

/// The place of the task `number`, for the thread that makes it.
pub(super) struct HeldPlace<'a> {
    pub number: usize,
    pub messages: Sender<(usize, TaskMessage<'a>)>,
}

impl Place for HeldPlace<'_> {
    fn leave(&self) {
        // The receiver outlives all threads of tasks.
        let _ = self.messages.send((self.number, TaskMessage::Left));
    }

    fn come_back(&self) {
        let (grant, granted) = channel();
        let _ = self
            .messages
            .send((self.number, TaskMessage::ComesBack(grant)));
        // An error is the end of the run.
        let _ = granted.recv();
    }
}

/// The places that are taken, and the tasks that have left theirs, by number.
#[derive(Debug, Default)]
pub(super) struct Places {
    builds: usize,
    downloads: usize,
    /// Those that wait for another process, or to come back.
    away: BTreeSet<usize>,
    /// Those that wait to come back, most urgent first: whether each is a download, and where it waits for an answer.
    coming_back: BTreeMap<(Reverse<u64>, usize), (bool, Sender<()>)>,
}

impl Places {
    fn taken(&mut self, is_download: bool) -> &mut usize {
        match is_download {
            true => &mut self.downloads,
            false => &mut self.builds,
        }
    }

    /// Whether a download, or else a build, may begin.
    pub(super) fn has_room(&self, is_download: bool, parallelism: Parallelism) -> bool {
        match is_download {
            true => self.downloads < parallelism.downloads.get(),
            false => self.builds < parallelism.builds.get(),
        }
    }

    /// Gives a place to a task that begins.
    pub(super) fn take(&mut self, is_download: bool) {
        *self.taken(is_download) += 1;
    }

    /// Notes that the task `number` has left its place.
    pub(super) fn left(&mut self, number: usize, is_download: bool) {
        if self.away.insert(number) {
            *self.taken(is_download) -= 1;
        }
    }

    /// Notes that the task `number` wants a place again, and waits for a message of `grant`.
    pub(super) fn comes_back(
        &mut self,
        number: usize,
        urgency: u64,
        is_download: bool,
        grant: Sender<()>,
    ) {
        self.coming_back
            .insert((Reverse(urgency), number), (is_download, grant));
    }

    /// Gives places to tasks that come back: to all of them where the run is to stop, so that they end.
    pub(super) fn admit(&mut self, is_stopping: bool, parallelism: Parallelism) {
        for (key, (is_download, grant)) in std::mem::take(&mut self.coming_back) {
            if !is_stopping && !self.has_room(is_download, parallelism) {
                self.coming_back.insert(key, (is_download, grant));
                continue;
            }
            self.away.remove(&key.1);
            self.take(is_download);
            // Its thread waits for this, or is gone.
            let _ = grant.send(());
        }
    }

    /// Notes that the task `number` ended, which had a place or has left it.
    pub(super) fn ended(&mut self, number: usize, is_download: bool) {
        if !self.away.remove(&number) {
            *self.taken(is_download) -= 1;
        }
    }

    /// Whether no task has a place, or has left it to come back.
    pub(super) fn are_idle(&self) -> bool {
        self.builds + self.downloads == 0 && self.away.is_empty()
    }
}
