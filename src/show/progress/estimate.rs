// SPDX-License-Identifier: GPL-3.0-or-later
//! Estimates how long a run will still take, from earlier builds, or from recipes for items never built here.
//!
//! The estimator reads events. It knows the items of the run, their earlier times and their inputs, and simulates the
//! rest of the run: with the run's number of builds and downloads at a time, the item with the longest chain behind it
//! first, as the scheduler chooses. Finished items correct the pace, and so do items that run longer than expected.
//!
//! One estimate costs a few thousand steps for a run of hundreds of items.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use crate::builder::pace::pace;
use crate::events::{Event, Kind, PlannedItem};

/// Follows an estimate for which [`Estimator::is_guess`] holds.
pub const BY_RECIPES: &str = ", going by recipes timed on two cores";

/// The share of all build time that must be known for an estimate. Seeds do not count.
const KNOWN: f64 = 0.5;
/// An item that takes longer than expected is expected to take this share of its time so far in addition.
const OVERTIME: f64 = 0.1;

#[derive(Debug, Clone, Copy, PartialEq)]
enum ItemState {
    Waiting,
    Running { since: f64 },
    Done,
}

#[derive(Debug)]
struct EstimatedItem {
    expected: f64,
    known: bool,
    guessed: bool,
    kind: Kind,
    /// The number of items it waits for.
    inputs: usize,
    dependants: Vec<usize>,
    /// The longest chain of items from here on, in seconds.
    chain: f64,
    state: ItemState,
}

impl EstimatedItem {
    /// Whether it is made here. Downloads depend on the network, not on the pace of the machine.
    fn is_made(&self) -> bool {
        self.kind != Kind::Download
    }

    /// The kind of slot it takes while it runs: 0 for builds, 1 for downloads.
    fn place(&self) -> usize {
        usize::from(self.kind == Kind::Download)
    }
}

/// The items of a run and their state.
#[derive(Debug, Default)]
pub struct Estimator {
    planned: Vec<PlannedItem>,
    items: Vec<EstimatedItem>,
    index: HashMap<String, usize>,
    jobs: usize,
    downloads: usize,
    /// The time of finished builds, and their expected time.
    taken: f64,
    expected: f64,
}

impl Estimator {
    /// Notes an event at the time `now`, in seconds since any fixed moment.
    pub fn observe(&mut self, event: &Event, now: f64) {
        match event {
            Event::Planned {
                items,
                jobs,
                downloads,
                ..
            } => {
                self.planned.clone_from(items);
                self.plan(*jobs, *downloads);
            }
            Event::MorePlanned { items } => self.plan_more(items),
            Event::Started { item, .. } => self.set(item, ItemState::Running { since: now }),
            Event::Finished { item, made, .. } => {
                if let Some(item) = self.index.get(item).map(|index| &self.items[*index])
                    && item.known
                    && item.is_made()
                {
                    self.taken += made.seconds;
                    self.expected += item.expected;
                }
                self.set(item, ItemState::Done);
            }
            Event::Reused { item } | Event::Failed { item, .. } | Event::Skipped { item, .. } => {
                self.set(item, ItemState::Done);
            }
            _ => {}
        }
    }

    /// The time from `now` to the end of the run; `None` if too little is known.
    pub fn remaining(&self, now: f64) -> Option<Duration> {
        let is_build = |item: &EstimatedItem| item.kind == Kind::Build;
        let known = self.sum(|item| is_build(item) && item.known);
        if self.items.is_empty() || known < KNOWN * self.sum(is_build) {
            return None;
        }
        Duration::try_from_secs_f64(self.play(now)).ok()
    }

    /// Whether more than half of the remaining work is estimated from recipes, whose times are from another machine.
    pub fn is_guess(&self) -> bool {
        let left = |item: &EstimatedItem| item.is_made() && item.state != ItemState::Done;
        let guessed = self.sum(|item| left(item) && item.guessed);
        guessed > 0.5 * self.sum(left)
    }

    /// The expected time of all items for which `which` holds.
    fn sum(&self, which: impl Fn(&EstimatedItem) -> bool) -> f64 {
        let items = self.items.iter().filter(|item| which(item));
        items.map(|item| item.expected).sum()
    }

    fn set(&mut self, item: &str, state: ItemState) {
        if let Some(index) = self.index.get(item) {
            self.items[*index].state = state;
        }
    }

    /// Adds `items` to the plan; what has happened so far stays.
    fn plan_more(&mut self, items: &[PlannedItem]) {
        let states: HashMap<String, ItemState> = self
            .index
            .iter()
            .map(|(item, number)| (item.clone(), self.items[*number].state))
            .collect();
        let seen = (self.taken, self.expected);
        let more = items.iter().filter(|item| !states.contains_key(&item.item));
        self.planned.extend(more.cloned());
        self.plan(self.jobs, self.downloads);
        for (item, state) in states {
            self.set(&item, state);
        }
        (self.taken, self.expected) = seen;
    }

    fn plan(&mut self, jobs: usize, downloads: usize) {
        let planned = std::mem::take(&mut self.planned);
        let usual = |kind: Kind| {
            let of_kind = |item: &&PlannedItem| item.kind == kind;
            let known = planned.iter().filter(of_kind);
            let mut known: Vec<f64> = known.filter_map(|item| item.seconds).collect();
            known.sort_by(f64::total_cmp);
            known.get(known.len() / 2).copied()
        };
        let build = usual(Kind::Build).unwrap_or(10.0);
        let download = usual(Kind::Download).unwrap_or(1.0);
        self.index = planned
            .iter()
            .enumerate()
            .map(|(index, item)| (item.item.clone(), index))
            .collect();
        self.items = planned
            .iter()
            .map(|item| {
                let usual = match item.kind {
                    Kind::Download | Kind::Substitute => download,
                    Kind::Seed | Kind::Build => build,
                };
                EstimatedItem {
                    expected: item.seconds.unwrap_or(usual).max(0.0),
                    known: item.seconds.is_some(),
                    guessed: item.guessed,
                    kind: item.kind,
                    inputs: 0,
                    dependants: Vec::new(),
                    chain: 0.0,
                    state: ItemState::Waiting,
                }
            })
            .collect();
        for (number, item) in planned.iter().enumerate() {
            for input in &item.inputs {
                // Items come after their inputs. Other edges are not from our plan, and could be circles.
                if let Some(input) = self.index.get(input).filter(|input| **input < number) {
                    self.items[*input].dependants.push(number);
                    self.items[number].inputs += 1;
                }
            }
        }
        for number in (0..self.items.len()).rev() {
            let item = &self.items[number];
            let after = item.dependants.iter().map(|next| self.items[*next].chain);
            self.items[number].chain = item.expected + after.fold(0.0, f64::max);
        }
        self.jobs = jobs.max(1);
        self.downloads = downloads.max(1);
        (self.taken, self.expected) = (0.0, 0.0);
        self.planned = planned;
    }

    /// The time of this run for each expected second.
    fn pace(&self, now: f64) -> f64 {
        let (mut taken, mut expected) = (self.taken, self.expected);
        let of_finished = pace(taken, expected);
        for item in self
            .items
            .iter()
            .filter(|item| item.known && item.is_made())
        {
            if let ItemState::Running { since } = item.state
                && now - since > item.expected * of_finished
            {
                // It still runs, but took at least this long.
                taken += now - since;
                expected += item.expected;
            }
        }
        pace(taken, expected)
    }

    /// Simulates the rest of the run, and returns its time in seconds.
    fn play(&self, now: f64) -> f64 {
        let pace = self.pace(now);
        let mut open: Vec<usize> = self.items.iter().map(|item| item.inputs).collect();
        let mut ready = [BinaryHeap::new(), BinaryHeap::new()];
        let mut free = [self.jobs, self.downloads];
        // The running items, by their end.
        let mut running: BinaryHeap<Reverse<(Seconds, usize)>> = BinaryHeap::new();
        let done = self.items.iter().enumerate();
        for (_, item) in done.filter(|(_, item)| item.state == ItemState::Done) {
            for dependant in &item.dependants {
                open[*dependant] -= 1;
            }
        }
        for (number, item) in self.items.iter().enumerate() {
            match item.state {
                ItemState::Done => {}
                ItemState::Running { since } => {
                    let elapsed = (now - since).max(0.0);
                    let left = (item.expected * pace - elapsed).max(elapsed * OVERTIME);
                    free[item.place()] = free[item.place()].saturating_sub(1);
                    running.push(Reverse((Seconds(left), number)));
                }
                ItemState::Waiting if open[number] == 0 => {
                    ready[item.place()].push((Seconds(item.chain), number));
                }
                ItemState::Waiting => {}
            }
        }
        let mut clock = 0.0;
        loop {
            for kind in 0..ready.len() {
                while free[kind] > 0 {
                    let Some((_, number)) = ready[kind].pop() else {
                        break;
                    };
                    free[kind] -= 1;
                    let end = clock + self.items[number].expected * pace;
                    running.push(Reverse((Seconds(end), number)));
                }
            }
            let Some(Reverse((end, number))) = running.pop() else {
                return clock;
            };
            clock = end.0.max(clock);
            let item = &self.items[number];
            free[item.place()] += 1;
            for dependant in &item.dependants {
                open[*dependant] -= 1;
                let next = &self.items[*dependant];
                if open[*dependant] == 0 && next.state == ItemState::Waiting {
                    ready[next.place()].push((Seconds(next.chain), *dependant));
                }
            }
        }
    }
}

/// A number of seconds with a total order.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Seconds(f64);

impl Eq for Seconds {}

impl PartialOrd for Seconds {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Seconds {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[cfg(test)]
#[path = "estimate/tests.rs"]
mod tests;
