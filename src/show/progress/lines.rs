// SPDX-License-Identifier: GPL-3.0-or-later
//! Writes a line for each event: for logs, pipes and terminals that cannot move their cursor.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use super::estimate::{BY_RECIPES, Estimator};
use super::invocation::{Invocation, word};
use super::{Reporter, Verbosity, size, visible_events};
use crate::events::{Event, Kind};
use crate::formats::visible::visible_path;
use crate::show::cause::cause;

/// Shorter estimates are not shown.
const SHORTEST_ESTIMATE: Duration = Duration::from_secs(5);

/// A step of the preparation is shown once it has lasted this long.
const SLOW_STEP: Duration = Duration::from_secs(1);

/// What becomes of items that a substitute server did not deliver.
const REST: &str = "the rest comes from other servers or is built";

/// So many failures are named that have the cause of an earlier one. A run without a network has a hundred.
const NAMED_FAILURES: usize = 3;

/// How often a download reports its progress.
const DOWNLOAD_INTERVAL: Duration = Duration::from_secs(10);

/// Writes lines to a stream. A reader that has gone away does not stop the run.
pub struct ProgressLines<W> {
    output: W,
    writer: EventWriter,
}

impl<W: Write> ProgressLines<W> {
    /// Writes to `output`; `invocation` completes the commands in messages.
    pub fn new(output: W, verbosity: Verbosity, color: bool, invocation: Invocation) -> Self {
        Self {
            output,
            writer: EventWriter::new(verbosity, color, invocation),
        }
    }
}

impl<W: Write + Send> Reporter for ProgressLines<W> {
    fn report(&mut self, event: &Event) {
        let event = &visible_events::for_terminal(event);
        let skipped = self.writer.skipped_before(event);
        let text = self.writer.text(event);
        for text in skipped.into_iter().chain(text) {
            let _ = writeln!(self.output, "{text}");
        }
    }

    fn tick(&mut self) {
        let skipped = self.writer.skipped();
        for text in skipped.into_iter().chain(self.writer.slow_step()) {
            let _ = writeln!(self.output, "{text}");
        }
    }

    fn end(&mut self) {
        self.tick();
    }
}

/// Turns events into text.
pub(super) struct EventWriter {
    verbosity: Verbosity,
    color: bool,
    invocation: Invocation,
    /// The counts of finished items, and of all.
    done: usize,
    total: usize,
    /// When the progress of each download was last shown.
    said: BTreeMap<String, Instant>,
    /// The number of items that each substitute server offers, by URL.
    offered: BTreeMap<String, usize>,
    estimator: Estimator,
    started: Instant,
    /// The step of the preparation under way, and since when, until it has been shown.
    step: Option<(String, Instant)>,
    /// Items that are not tried, and the failed item that they need: shown in one line.
    skipped: Option<(String, Vec<String>)>,
    /// The causes of failures so far, each with the first item that failed so and how many others have since.
    causes: BTreeMap<String, (String, usize)>,
    /// Whether the lines of finished builds give the time left.
    estimates: bool,
}

impl EventWriter {
    pub(super) fn new(verbosity: Verbosity, color: bool, invocation: Invocation) -> Self {
        Self {
            verbosity,
            color,
            invocation,
            done: 0,
            total: 0,
            said: BTreeMap::new(),
            offered: BTreeMap::new(),
            estimator: Estimator::default(),
            started: Instant::now(),
            step: None,
            skipped: None,
            causes: BTreeMap::new(),
            estimates: true,
        }
    }

    /// A writer for a reporter that shows the time left itself.
    pub(super) fn without_estimates(
        verbosity: Verbosity,
        color: bool,
        invocation: Invocation,
    ) -> Self {
        Self {
            estimates: false,
            ..Self::new(verbosity, color, invocation)
        }
    }

    /// The line about skipped items, if `event` is not one more of them.
    pub(super) fn skipped_before(&mut self, event: &Event) -> Option<String> {
        match (event, &self.skipped) {
            (Event::Skipped { because, .. }, Some((before, _))) if because == before => None,
            _ => self.skipped(),
        }
    }

    /// The line about the items skipped since the last one.
    pub(super) fn skipped(&mut self) -> Option<String> {
        let (because, items) = self.skipped.take()?;
        let names = match items.as_slice() {
            [item] => item.clone(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
            [] => return None,
        };
        (self.verbosity > Verbosity::Quiet)
            .then(|| format!("{names}: not tried, since {because} failed"))
    }

    /// The line about a step of the preparation that takes long, once for each.
    fn slow_step(&mut self) -> Option<String> {
        let (step, _) = self
            .step
            .take_if(|(_, since)| since.elapsed() >= SLOW_STEP)?;
        (self.verbosity > Verbosity::Quiet).then(|| format!("preparing: {step}"))
    }

    fn paint(&self, code: &str, text: &str) -> String {
        match self.color {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    /// How long the run will still take, where enough is known.
    pub(super) fn remaining(&self) -> Option<Duration> {
        let now = self.started.elapsed().as_secs_f64();
        self.estimator.remaining(now)
    }

    /// The same, where it is long enough to be worth showing.
    pub(super) fn left(&self) -> Option<Duration> {
        self.remaining()
            .filter(|remaining| *remaining >= SHORTEST_ESTIMATE)
    }

    /// Whether that is based on the recipes' times, not on builds on this machine.
    pub(super) fn is_guess(&self) -> bool {
        self.estimator.is_guess()
    }

    fn count(&mut self) -> String {
        self.done += 1;
        format!("[{}/{}]", self.done, self.total)
    }

    /// The lines about `event`, without the last newline; `None` if the event is not shown.
    pub(super) fn text(&mut self, event: &Event) -> Option<String> {
        self.estimator
            .observe(event, self.started.elapsed().as_secs_f64());
        if self.verbosity == Verbosity::Quiet {
            return match event {
                Event::Failed { .. } => self.failure(event),
                _ => None,
            };
        }
        Some(match event {
            Event::RunStarted {
                builds, downloads, ..
            } => {
                self.step = None;
                (self.done, self.total) = (0, builds + downloads);
                if self.total == 0 {
                    return None;
                }
                format!("{} to build, {} to fetch", builds, downloads)
            }
            Event::Planned { .. } => {
                let by = if self.is_guess() { BY_RECIPES } else { "" };
                format!("this takes about {}{by}", size::duration(self.left()?))
            }
            Event::Preparing { step } => {
                self.step = Some((step.clone(), Instant::now()));
                return None;
            }
            Event::Processor { .. } => return None,
            Event::WaitingForLock {
                path,
                holder,
                seconds,
            } => {
                // The event comes every second: shown at once, and each time the wait has doubled.
                let seconds = *seconds as u64;
                if seconds > 1 && !seconds.is_power_of_two() {
                    return None;
                }
                let holder = match holder {
                    Some(holder) => format!("process {holder}"),
                    None => "another process".to_owned(),
                };
                format!("waiting for {holder}, which holds {}", path.display())
            }
            Event::SubstitutesFound {
                substitutes,
                size,
                location,
            } => {
                *self.offered.entry(location.clone()).or_default() += substitutes;
                self.total += substitutes;
                let size = size.map_or_else(String::new, |size| format!(", {}", size::bytes(size)));
                format!("{substitutes} to take from {location}{size}")
            }
            Event::SubstitutesEnded {
                location,
                installed,
                nar_size,
                problem,
            } => {
                // What was not taken does not come from there any more.
                let offered = self.offered.remove(location).unwrap_or(0);
                let missed = offered.saturating_sub(*installed);
                self.total = self.total.saturating_sub(missed).max(self.done);
                let items = size::counted(*installed, "item");
                let bytes = size::bytes(*nar_size);
                match (installed, problem) {
                    (0, None) => return None,
                    (0, Some(problem)) => format!("{location}: {problem}; {REST}"),
                    (_, None) => format!("installed {items}, {bytes}, from {location}"),
                    (_, Some(problem)) => format!(
                        "installed {items}, {bytes}, from {location}; then: {problem}; {REST}"
                    ),
                }
            }
            Event::SubstituteFailed {
                item,
                location,
                problem,
            } => {
                self.said.remove(item);
                format!("{item}: not taken from {location}: {problem}")
            }
            Event::HookFailed { item, problem } => {
                format!("{item}: not built on another machine: {problem}")
            }
            Event::MorePlanned { items } => {
                self.total += items.len();
                return None;
            }
            Event::Started { item, kind, .. } => match kind {
                Kind::Download | Kind::Substitute => return None,
                Kind::Seed => format!("{item}: unpacking"),
                Kind::Build => format!("{item}: building"),
            },
            Event::PhaseStarted { item, phase } => format!("{item}: {phase}"),
            Event::PhaseEnded { .. } => return None,
            Event::Line { item, text } => {
                if self.verbosity < Verbosity::Verbose {
                    return None;
                }
                format!("{}> {text}", self.paint("2", item))
            }
            Event::DownloadProgress {
                item,
                received,
                total,
                location,
            } => {
                let now = Instant::now();
                let last = self.said.get(item);
                if last.is_some_and(|last| now.duration_since(*last) < DOWNLOAD_INTERVAL) {
                    return None;
                }
                let first = last.is_none();
                self.said.insert(item.clone(), now);
                match (first, total) {
                    (true, _) => format!("{item}: downloading from {location}"),
                    (false, Some(total)) => {
                        format!(
                            "{item}: {} of {}",
                            size::bytes(*received),
                            size::bytes(*total)
                        )
                    }
                    (false, None) => format!("{item}: {}", size::bytes(*received)),
                }
            }
            Event::Finished { item, kind, made } => {
                self.said.remove(item);
                let bytes = size::bytes(made.outputs.iter().map(|output| output.nar_size).sum());
                let verb = match kind {
                    Kind::Download if made.cached => "from the cache",
                    Kind::Download => "downloaded",
                    Kind::Seed => "unpacked",
                    Kind::Build if made.elsewhere => "built on another machine",
                    Kind::Build => "built",
                    Kind::Substitute => "installed",
                };
                let done = self.paint("32", verb);
                let count = self.count();
                let left = match (kind, self.left().filter(|_| self.estimates)) {
                    (Kind::Build, Some(left)) => format!("; about {} left", size::duration(left)),
                    _ => String::new(),
                };
                format!(
                    "{count} {item}: {done}, {bytes} in {}{left}",
                    size::seconds(made.seconds)
                )
            }
            Event::Reused { item } => {
                let count = self.count();
                format!("{count} {item}: made by another process meanwhile")
            }
            Event::Failed { .. } => return self.failure(event),
            Event::Skipped { item, because } => {
                let skipped = self
                    .skipped
                    .get_or_insert_with(|| (because.clone(), Vec::new()));
                skipped.1.push(item.clone());
                return None;
            }
            Event::Interrupted => {
                "stopping; what is finished stays, and the next run goes on from there".to_owned()
            }
            Event::RunFinished { .. } => return None,
        })
    }

    /// A failure in full: the reason, the end of the log, and where the whole log is. Of failures without a log, one
    /// with the cause of an earlier one names that instead.
    fn failure(&mut self, event: &Event) -> Option<String> {
        let Event::Failed {
            item,
            message,
            hint,
            likely_cause,
            last_lines,
            log,
            kept,
        } = event
        else {
            return None;
        };
        let failed = self.paint("1;31", "failed");
        let own = message.strip_prefix(item.as_str());
        let message = own
            .and_then(|rest| rest.strip_prefix(": "))
            .unwrap_or(message);
        if log.is_none() && last_lines.is_empty() {
            let cause = cause(item, message);
            if let Some((first, others)) = self.causes.get_mut(&cause) {
                *others += 1;
                return match (*others).cmp(&NAMED_FAILURES) {
                    Ordering::Less => {
                        Some(format!("{item}: {failed}, for the same reason as {first}"))
                    }
                    Ordering::Equal => Some(format!(
                        "{item}: {failed}, for the same reason as {first}; more such failures are counted at the end"
                    )),
                    Ordering::Greater => None,
                };
            }
            self.causes.insert(cause, (item.clone(), 0));
        }
        let mut text = self
            .invocation
            .complete(&format!("{item}: {failed}: {message}"));
        for line in last_lines {
            text.push_str(&format!("\n  | {line}"));
        }
        if let Some(cause) = likely_cause {
            let cause = self.paint("1", cause);
            text.push_str(&format!("\n  most likely: {cause}"));
        }
        if let Some(hint) = hint {
            text.push_str(&self.invocation.complete(&format!("\n  hint: {hint}")));
        }
        // Commands are completed in our own text alone, not in the output of builds.
        let mut next = String::new();
        if let Some(log) = log {
            next.push_str(&format!(
                "\n  the whole log: `bootstrap log {item}`, {}",
                log.display()
            ));
        }
        // `shell --of` is for packages; these are derivations that another program added.
        let is_package = !item.ends_with(".drv");
        if let Some(kept) = kept.as_ref().filter(|_| !is_package) {
            next.push_str(&format!(
                "\n  the build directory was kept: {}",
                visible_path(kept)
            ));
        } else if let Some(kept) = kept {
            let kept = word(&kept.to_string_lossy());
            next.push_str(&format!(
                "\n  the build directory was kept; for a shell in its sandbox: `bootstrap shell --of {item} --directory {kept}`"
            ));
        } else if log.is_some() {
            next.push_str(&format!(
                "\n  to keep the build directory for inspection: `bootstrap --keep-failed build {item}`"
            ));
            if is_package {
                next.push_str(&format!(
                    "; for a shell in its sandbox: `bootstrap shell --of {item}`"
                ));
            }
        }
        Some(text + &self.invocation.complete(&next))
    }
}

#[cfg(test)]
#[path = "lines/tests.rs"]
mod tests;
