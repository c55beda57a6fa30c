// SPDX-License-Identifier: GPL-3.0-or-later
//! What a run is going to make, as events say it.

use std::num::NonZeroUsize;

use super::Parallelism;
use crate::builder::graph::{BuildTask, Todo, Way};
use crate::events::{Event, Kind, PlannedItem};

/// What is to be made here, for those who estimate how long it will take.
pub fn planned(todo: &Todo<'_>, parallelism: Parallelism, cores: NonZeroUsize) -> Event {
    Event::Planned {
        items: planned_items(&todo.tasks, 0..todo.tasks.len()),
        jobs: parallelism.builds.get(),
        downloads: parallelism.downloads.get(),
        cores: cores.get(),
    }
}

/// Those of the tasks with these `numbers` that are made by their builders.
pub(super) fn planned_items(
    tasks: &[BuildTask<'_>],
    numbers: impl IntoIterator<Item = usize>,
) -> Vec<PlannedItem> {
    let is_made = |number: &usize| tasks[*number].way == Way::Builder;
    let items = numbers.into_iter().filter(is_made).map(|number| {
        let task = &tasks[number];
        let inputs = task.inputs.iter().filter(|input| is_made(input));
        PlannedItem {
            item: task.job.label.to_owned(),
            kind: task.job.kind,
            inputs: inputs
                .map(|input| tasks[*input].job.label.to_owned())
                .collect(),
            seconds: task.expected.map(|expected| expected.as_secs_f64()),
            guessed: task.guessed,
        }
    });
    items.collect()
}

/// How many of `tasks` are builds or seeds, and how many are downloads.
pub(super) fn counts(tasks: &[BuildTask<'_>]) -> (usize, usize) {
    let made = tasks.iter().filter(|task| task.way == Way::Builder);
    let (downloads, builds): (Vec<&BuildTask<'_>>, Vec<_>) =
        made.partition(|task| task.job.kind == Kind::Download);
    (builds.len(), downloads.len())
}
