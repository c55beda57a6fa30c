// SPDX-License-Identifier: GPL-3.0-or-later
//! What happens during a run, as one stream of events.
//!
//! The console, plain lines, `--progress json` and the summary are all readers of this stream and know
//! nothing else about a build; so a new way of showing progress needs no change here. Every event names the
//! item it is about by its label in the plan (`stage0/sed`, `sed`, `source/sed-4.9.tar.xz`). All times are in
//! seconds, all sizes in bytes.

pub mod cancellation;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};

/// How an item comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Bytes with a known hash, from the cache or the network (`builtin:download`).
    Download,
    /// A root file system unpacked from archives (`builtin:unpack-seed`).
    Seed,
    /// A program run in a sandbox.
    Build,
    /// A store item that was built elsewhere, from a substitute server. No derivation is made in this way: what a
    /// server gives is taken before a run works out what is left to do.
    Substitute,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A step before the work begins: planning, opening the store, asking servers.
    Preparing {
        /// The step, for users.
        step: String,
    },
    /// The graph has been cut down to what is missing, and the work begins.
    RunStarted {
        /// Sandboxed builds and seeds to be made.
        builds: usize,
        /// Fixed-output items to be fetched.
        downloads: usize,
        /// Wanted items that were valid already.
        reused: usize,
    },
    /// Everything that is to be made, and how long that will take: what estimates are made of. Follows
    /// [`RunStarted`](Self::RunStarted) where there is anything to make.
    Planned {
        /// The items, each after those it needs.
        items: Vec<PlannedItem>,
        /// Builds and seeds at a time.
        jobs: usize,
        /// Downloads at a time.
        downloads: usize,
        /// Processor cores that all builds together use.
        cores: usize,
    },
    /// Items that are to be made besides, because a substitute server did not deliver.
    MorePlanned {
        /// The items, each after those it needs. Their inputs may be items that were planned before.
        items: Vec<PlannedItem>,
    },
    /// How busy the machine was since the last event of this kind, by all processes.
    Processor {
        /// The mean number of busy cores.
        busy: f64,
    },
    /// Another process, most likely `bootstrap` or a Guix daemon, works on the same store item; its result
    /// will be used.
    WaitingForLock {
        /// The lock file.
        path: PathBuf,
        /// The process that holds the lock, where the system reports it.
        holder: Option<u32>,
        /// How long the wait has lasted.
        seconds: f64,
    },
    /// A substitute server has store items that are wanted; what is said of them follows, each with its own label,
    /// until [`SubstitutesEnded`](Self::SubstitutesEnded). Comes before [`RunStarted`](Self::RunStarted), and again for
    /// each further server that is asked and has something.
    SubstitutesFound {
        /// How many items will be taken.
        substitutes: usize,
        /// What will cross the network, where the server says.
        size: Option<u64>,
        /// The server's URL.
        location: String,
    },
    /// A substitute server did not deliver an item. It is taken from another server, or built.
    SubstituteFailed {
        /// The label of the item.
        item: String,
        /// The server's URL.
        location: String,
        /// What went wrong.
        problem: String,
    },
    /// The build hook did not make an item that it was offered. The item is built here.
    HookFailed {
        /// The label of the item.
        item: String,
        /// What went wrong.
        problem: String,
    },
    /// Nothing more is being taken from a substitute server. What was begun and is not finished is not there, and
    /// nothing of it is left.
    SubstitutesEnded {
        /// The server's URL.
        location: String,
        /// How many items were installed.
        installed: usize,
        /// The size of their archives in the store.
        nar_size: u64,
        /// Why that was not all; the run goes on without the server unless its bytes were wrong.
        problem: Option<String>,
    },
    /// Work on an item began.
    Started {
        /// The label of the item; of a substitute that is an output other than `out`, with a colon and the output's
        /// name.
        item: String,
        /// How it is made.
        kind: Kind,
        /// The base name of its derivation.
        derivation: String,
        /// Where its log is being written, for builds.
        log: Option<PathBuf>,
    },
    /// A build entered a phase.
    PhaseStarted {
        /// The label of the item.
        item: String,
        /// The phase, with Guix's name (`configure`).
        phase: String,
    },
    /// A phase ended, well or not.
    PhaseEnded {
        /// The label of the item.
        item: String,
        /// The phase, with Guix's name.
        phase: String,
        /// How long it took, on the wall clock.
        seconds: f64,
        /// False where the phase failed, and the build with it.
        succeeded: bool,
    },
    /// A line of a build's output, safe to print: no control characters, at most a few thousand characters.
    Line {
        /// The label of the item.
        item: String,
        /// The text, without the line's end.
        text: String,
    },
    /// Bytes arrived.
    DownloadProgress {
        /// The label of the item.
        item: String,
        /// Bytes so far, those of a resumed partial download included.
        received: u64,
        /// The size, where it is known.
        total: Option<u64>,
        /// Where the bytes come from, for display.
        location: String,
    },
    /// An item was made and registered: it is valid.
    Finished {
        /// The label of the item.
        item: String,
        /// How it was made.
        kind: Kind,
        /// What it took and what it gave.
        made: Made,
    },
    /// An item turned out to be valid: another process made it meanwhile.
    Reused {
        /// The label of the item.
        item: String,
    },
    /// An item could not be made.
    Failed {
        /// The label of the item.
        item: String,
        /// What went wrong, in full, for display.
        message: String,
        /// What the user can do about it, where that is known.
        #[serde(default)]
        hint: Option<String>,
        /// That line of the output of the phase it failed in that most looks like the cause: a guess.
        #[serde(default)]
        likely_cause: Option<String>,
        /// The last lines that the phase printed, then an excerpt of the log file that explains them, where there is
        /// one.
        last_lines: Vec<String>,
        /// The whole log.
        log: Option<PathBuf>,
        /// The build directory, where it was kept.
        kept: Option<PathBuf>,
    },
    /// An item was not tried.
    Skipped {
        /// The label of the item.
        item: String,
        /// The label of the failed item it needs.
        because: String,
    },
    /// The run was asked to stop, and stops everything.
    Interrupted,
    /// The run is over.
    RunFinished {
        /// What was done.
        summary: Summary,
    },
}

/// An item that a run is going to make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedItem {
    /// The label of the item.
    pub item: String,
    /// How it will be made.
    pub kind: Kind,
    /// The labels of those items of the run that have to be there before.
    pub inputs: Vec<String>,
    /// How long it will take on the wall clock: what it took when it was last made here, else what its recipe says, as
    /// this machine is faster or slower with other items; `None` where it is unknown.
    pub seconds: Option<f64>,
    /// Whether `seconds` comes from its recipe, timed on two cores, or from its kind: it was never made here. Absent in
    /// records of older versions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub guessed: bool,
}

/// An event and when it happened: what is written, one JSON object a line, to `--progress json` and to the records of
/// runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// Seconds since the Epoch.
    pub time: f64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// `event` as one line of JSON that says that it happens now.
pub fn stamped_line(event: &Event) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct EventLine<'e> {
        time: f64,
        #[serde(flatten)]
        event: &'e Event,
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    // Milliseconds are what an adjustable clock is good for.
    let time = now.map_or(0.0, |now| (now.as_secs_f64() * 1e3).round() / 1e3);
    let mut line = serde_json::to_vec(&EventLine { time, event })?;
    line.push(b'\n');
    Ok(line)
}

/// What making one item took, and what it gave.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// The outputs, `out` first.
    pub outputs: Vec<OutputMade>,
    /// Whether a download found its bytes in the cache, so that nothing came from the network; absent in records of
    /// older versions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// Whether a build hook had another machine make it; absent in records of older versions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub elsewhere: bool,
    /// Wall-clock time from start to registration.
    pub seconds: f64,
    /// Processor time in user mode of all the build's processes.
    pub user_seconds: f64,
    /// Processor time in the kernel of all the build's processes.
    pub system_seconds: f64,
    /// Wall-clock time of each phase, in order.
    pub phases: Vec<PhaseTime>,
}

/// One output of a finished item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputMade {
    /// `out`, `lib`, `static`.
    pub name: String,
    /// The logical store path.
    pub path: String,
    /// The size of its NAR.
    pub nar_size: u64,
}

/// How long one phase took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseTime {
    /// The phase's name.
    pub phase: String,
    /// Its wall-clock time.
    pub seconds: f64,
    /// When it began, in seconds after the build's start; absent in records of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<f64>,
}

/// The result of a whole run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// What was made, in the order in which it was finished.
    pub made: Vec<MadeItem>,
    /// Labels of wanted items that were valid already, and of items that another process made meanwhile.
    pub reused: Vec<String>,
    /// Labels of failed items, each with its reason.
    pub failed: Vec<FailedItem>,
    /// Labels of items that were not tried because something they need failed.
    pub skipped: Vec<SkippedItem>,
    /// Labels of items that were not tried because the run ended before their turn came.
    pub not_started: Vec<String>,
    /// Whether the run was stopped from outside.
    pub interrupted: bool,
    /// Wall-clock time of the run, its preparation included.
    pub seconds: f64,
    /// The number of processor cores the run could use.
    pub cores: usize,
    /// Processor time of this process itself: unpacking, hashing, the database. Builds are not in it.
    pub own_processor_seconds: f64,
    /// Why others cannot make the same, where they cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impure: Option<String>,
}

impl Summary {
    /// The summary of this run and of a `later` one of the same command.
    #[must_use]
    pub fn and(&self, later: &Self) -> Self {
        let mut both = self.clone();
        both.made.extend_from_slice(&later.made);
        both.reused.extend_from_slice(&later.reused);
        both.failed.extend_from_slice(&later.failed);
        both.skipped.extend_from_slice(&later.skipped);
        both.not_started.extend_from_slice(&later.not_started);
        both.interrupted |= later.interrupted;
        both.seconds += later.seconds;
        both.cores = both.cores.max(later.cores);
        both.own_processor_seconds += later.own_processor_seconds;
        both.impure = both.impure.or_else(|| later.impure.clone());
        both
    }

    /// Processor time of all builds and of this process, user and system, in seconds.
    pub fn processor_seconds(&self) -> f64 {
        let builds = self.made.iter();
        let builds = builds.map(|item| item.made.user_seconds + item.made.system_seconds);
        builds.sum::<f64>() + self.own_processor_seconds
    }
}

/// A finished item in a [`Summary`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MadeItem {
    /// The label of the item.
    pub item: String,
    /// How it was made.
    pub kind: Kind,
    /// What it took and gave.
    pub made: Made,
}

/// A failed item in a [`Summary`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedItem {
    /// The label of the item.
    pub item: String,
    /// What went wrong.
    pub message: String,
}

/// An item in a [`Summary`] that was not tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedItem {
    /// The label of the item.
    pub item: String,
    /// The label of the failed item it needs.
    pub because: String,
}

/// How many events may wait to be read. A build that prints faster than the reader reads has to wait, or its output
/// would pile up in memory; until then, no build waits for a terminal.
const WAITING_MAX: usize = 1 << 14;

/// The sending end of the stream; cheap to clone, usable from any thread.
#[derive(Debug, Clone)]
pub struct EventSender {
    sender: SyncSender<Event>,
    since: Instant,
}

impl EventSender {
    /// A stream: its sending end, and the end that progress reads. It must be read while the run goes on, or dropped.
    pub fn channel() -> (Self, Receiver<Event>) {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let since = Instant::now();
        (Self { sender, since }, receiver)
    }

    /// A stream without a reader.
    pub fn ignored() -> Self {
        Self::channel().0
    }

    /// Sends `event`. Building goes on when the reader has gone away.
    pub fn emit(&self, event: Event) {
        let _ = self.sender.send(event);
    }

    /// Reports that `step` of the preparation begins.
    pub fn preparing(&self, step: &str) {
        self.emit(Event::Preparing {
            step: step.to_owned(),
        });
    }

    /// When the stream was made: the start of the run, its preparation included.
    pub fn since(&self) -> Instant {
        self.since
    }
}

#[cfg(test)]
mod tests;
