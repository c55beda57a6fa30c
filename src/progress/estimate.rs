//! How long a run will still take, by what earlier runs took.
//!
//! The estimator is a reader of events like any other. It knows the items of the run, how long each took before and what
//! each waits for, and plays the rest of the run through: as many builds and downloads at a time as the run has, the
//! item with the longest chain of others behind it first, which is how the scheduler chooses. What is finished corrects
//! it: where builds take half as long again as they did before, so will the rest.
//!
//! One estimate costs a few thousand steps for a run of hundreds of items.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use crate::build::events::{Event, Kind, PlannedItem};

/// The speed of this run counts half as much as that of earlier ones when this many seconds' work is done.
const PRIOR: f64 = 60.0;
/// This run is taken to be so much slower or faster than earlier ones at the most.
const SPEEDS: (f64, f64) = (0.2, 5.0);
/// Of what builds take together, at least so much must be known by name for an estimate.
const KNOWN: f64 = 0.5;
/// An item that takes longer than expected is expected to take this share of what it took so far, still.
const OVERTIME: f64 = 0.1;

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Waiting,
    Running { since: f64 },
    Done,
}

#[derive(Debug)]
struct Item {
    expected: f64,
    known: bool,
    download: bool,
    /// How many items it waits for.
    inputs: usize,
    dependants: Vec<usize>,
    /// The longest chain of items from here on, in seconds.
    chain: f64,
    state: State,
}

/// Knows a run and how far it is.
#[derive(Debug, Default)]
pub struct Estimator {
    items: Vec<Item>,
    index: HashMap<String, usize>,
    jobs: usize,
    downloads: usize,
    /// What finished builds took, and were expected to take.
    taken: f64,
    expected: f64,
}

impl Estimator {
    /// Takes notice of what happened at the moment `now`, in seconds since any fixed time.
    pub fn observe(&mut self, event: &Event, now: f64) {
        match event {
            Event::Planned {
                items,
                jobs,
                downloads,
                ..
            } => self.plan(items, *jobs, *downloads),
            Event::Started { item, .. } => self.set(item, State::Running { since: now }),
            Event::Finished { item, made, .. } => {
                if let Some(item) = self.index.get(item).map(|index| &self.items[*index])
                    && item.known
                    && !item.download
                {
                    self.taken += made.seconds;
                    self.expected += item.expected;
                }
                self.set(item, State::Done);
            }
            Event::Reused { item } | Event::Failed { item, .. } | Event::Skipped { item, .. } => {
                self.set(item, State::Done);
            }
            _ => {}
        }
    }

    /// The time from `now` to the end of the run; `None` where too little is known for a guess worth showing.
    pub fn remaining(&self, now: f64) -> Option<Duration> {
        let builds = || self.items.iter().filter(|item| !item.download);
        let known = builds().filter(|item| item.known).count() as f64;
        if self.items.is_empty() || known < KNOWN * builds().count() as f64 {
            return None;
        }
        Duration::try_from_secs_f64(self.play(now)).ok()
    }

    fn set(&mut self, item: &str, state: State) {
        if let Some(index) = self.index.get(item) {
            self.items[*index].state = state;
        }
    }

    fn plan(&mut self, planned: &[PlannedItem], jobs: usize, downloads: usize) {
        let usual = |download: bool| {
            let of_kind = |item: &&PlannedItem| (item.kind == Kind::Download) == download;
            let known = planned.iter().filter(of_kind);
            let mut known: Vec<f64> = known.filter_map(|item| item.seconds).collect();
            known.sort_by(f64::total_cmp);
            known.get(known.len() / 2).copied()
        };
        let (build, download) = (usual(false).unwrap_or(10.0), usual(true).unwrap_or(1.0));
        self.index = planned
            .iter()
            .enumerate()
            .map(|(index, item)| (item.item.clone(), index))
            .collect();
        self.items = planned
            .iter()
            .map(|item| {
                let is_download = item.kind == Kind::Download;
                let usual = if is_download { download } else { build };
                Item {
                    expected: item.seconds.unwrap_or(usual).max(0.0),
                    known: item.seconds.is_some(),
                    download: is_download,
                    inputs: 0,
                    dependants: Vec::new(),
                    chain: 0.0,
                    state: State::Waiting,
                }
            })
            .collect();
        for (number, item) in planned.iter().enumerate() {
            for input in &item.inputs {
                // Items come after those they need; anything else is no plan of ours.
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
    }

    /// What this run takes for a second of earlier ones.
    fn pace(&self) -> f64 {
        let pace = (self.taken + PRIOR) / (self.expected + PRIOR);
        pace.clamp(SPEEDS.0, SPEEDS.1)
    }

    /// Plays the rest of the run through, and gives the seconds it takes.
    fn play(&self, now: f64) -> f64 {
        let pace = self.pace();
        let mut open: Vec<usize> = self.items.iter().map(|item| item.inputs).collect();
        let mut ready = [BinaryHeap::new(), BinaryHeap::new()];
        let mut free = [self.jobs, self.downloads];
        // What runs, by its end.
        let mut running: BinaryHeap<Reverse<(Seconds, usize)>> = BinaryHeap::new();
        let done = self.items.iter().enumerate();
        for (_, item) in done.filter(|(_, item)| item.state == State::Done) {
            for dependant in &item.dependants {
                open[*dependant] -= 1;
            }
        }
        for (number, item) in self.items.iter().enumerate() {
            match item.state {
                State::Done => {}
                State::Running { since } => {
                    let elapsed = (now - since).max(0.0);
                    let left = (item.expected * pace - elapsed).max(elapsed * OVERTIME);
                    free[usize::from(item.download)] =
                        free[usize::from(item.download)].saturating_sub(1);
                    running.push(Reverse((Seconds(left), number)));
                }
                State::Waiting if open[number] == 0 => {
                    ready[usize::from(item.download)].push((Seconds(item.chain), number));
                }
                State::Waiting => {}
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
            free[usize::from(item.download)] += 1;
            for dependant in &item.dependants {
                open[*dependant] -= 1;
                let next = &self.items[*dependant];
                if open[*dependant] == 0 && next.state == State::Waiting {
                    ready[usize::from(next.download)].push((Seconds(next.chain), *dependant));
                }
            }
        }
    }
}

/// A number of seconds that can be ordered.
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
