// SPDX-License-Identifier: GPL-3.0-or-later
//! Bars on a terminal: one for the whole run, one line for each build, and a bar for each download.
//!
//! The first line shows the share of the forecast time, the count of items and the time left, in this order: on a
//! narrow terminal only the end of a line is cut off. A build's line ends with the last line of its log.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::invocation::Invocation;
use super::lines::EventWriter;
use super::{Reporter, Verbosity, screen, size, visible_events};
use crate::events::{Event, Kind};

/// The width of a terminal that does not report one.
const COLUMNS: u16 = 80;
/// From this width on, names are padded and downloads have bars.
const ROOMY: u16 = 80;
/// Below this width there is no bar, only text.
const NARROW: u16 = 40;
/// The longest bar, in columns.
const BAR: u16 = 20;
/// The length of the overall bar: it moves in steps of a thousandth.
const WHOLE: u64 = 1000;
/// The shortest time between two updates. Builds may print thousands of lines a second.
const REDRAW: Duration = Duration::from_millis(100);

/// Draws on standard error.
pub struct Bars {
    screen: MultiProgress,
    overall: ProgressBar,
    running: HashMap<String, ItemBar>,
    /// The number of items that each substitute server offers, by URL.
    offered: HashMap<String, usize>,
    writer: EventWriter,
    color: bool,
    columns: u16,
    started: Instant,
    /// When the plan was made: forecasts count from here.
    planned: Option<Instant>,
    busy: Option<f64>,
    stage: ProgressStage,
    drawn: Option<Instant>,
}

/// What the first line is about.
enum ProgressStage {
    /// Nothing to draw yet.
    Silent,
    /// A step before the first item starts.
    Preparing(String),
    /// Items are being made: so many are finished, of so many.
    Making { done: usize, total: usize },
}

/// An item that is being made, and its line.
struct ItemBar {
    line: ProgressBar,
    started: Instant,
    phase: String,
    /// The last line of its log.
    said: String,
    kind: Kind,
}

impl Bars {
    /// An empty screen; `invocation` completes the commands in messages.
    pub fn new(verbosity: Verbosity, color: bool, invocation: Invocation) -> Self {
        let size = rustix::termios::tcgetwinsize(std::io::stderr());
        let columns = size.map_or(COLUMNS, |size| size.ws_col);
        // Some terminals report 0.
        let columns = if columns == 0 { COLUMNS } else { columns };
        let bars = Self::with_columns(verbosity, color, columns, invocation);
        screen::share(Some(bars.screen.clone()));
        bars
    }

    fn with_columns(
        verbosity: Verbosity,
        color: bool,
        columns: u16,
        invocation: Invocation,
    ) -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let overall = screen.add(ProgressBar::new(WHOLE));
        overall.set_style(style("{wide_msg}"));
        Self {
            screen,
            overall,
            running: HashMap::new(),
            offered: HashMap::new(),
            writer: EventWriter::without_estimates(verbosity, color, invocation),
            color,
            columns,
            started: Instant::now(),
            planned: None,
            busy: None,
            stage: ProgressStage::Silent,
            drawn: None,
        }
    }

    fn start(&mut self, item: &str, kind: Kind) {
        let line = self.screen.add(ProgressBar::new(0));
        if is_fetched(kind) {
            line.set_style(style("{wide_msg}"));
            line.set_message(format!("  {item}"));
        } else {
            line.set_style(style("  {prefix:>9}  {wide_msg}"));
        }
        let running = ItemBar {
            line,
            started: Instant::now(),
            phase: String::new(),
            said: String::new(),
            kind,
        };
        running.draw(item, self.columns);
        self.running.insert(item.to_owned(), running);
    }

    fn stop(&mut self, item: &str) {
        if let Some(running) = self.running.remove(item) {
            running.line.finish_and_clear();
            self.screen.remove(&running.line);
        }
    }

    /// From now on the first line counts items: `more` in addition to those known, none of which is finished.
    fn expect(&mut self, more: usize) {
        let (done, total) = self.counts();
        self.count(done, total + more);
    }

    fn finished_one(&mut self) {
        let (done, total) = self.counts();
        self.count(done + 1, total);
    }

    fn counts(&self) -> (usize, usize) {
        match self.stage {
            ProgressStage::Making { done, total } => (done, total),
            _ => (0, 0),
        }
    }

    fn count(&mut self, done: usize, total: usize) {
        if !matches!(self.stage, ProgressStage::Making { .. }) && self.columns >= NARROW {
            let bar = bar(self.columns, self.color, "green");
            self.overall
                .set_style(style(&format!("{bar} {{wide_msg}}")));
        }
        self.stage = ProgressStage::Making { done, total };
    }

    /// How much of the run is done, in thousandths: of its forecast time, or of its items where there is no forecast.
    fn share(&self, done: usize, total: usize) -> u64 {
        let share = match (self.planned, self.writer.remaining()) {
            (Some(planned), Some(left)) => {
                let elapsed = planned.elapsed().as_secs_f64();
                elapsed / (elapsed + left.as_secs_f64()).max(1e-3)
            }
            _ => done as f64 / total.max(1) as f64,
        };
        (share * WHOLE as f64) as u64
    }

    /// The text of the first line: what matters most comes first.
    fn overview(&self) -> Option<String> {
        let elapsed = size::duration(self.started.elapsed());
        let (done, total) = match &self.stage {
            ProgressStage::Silent => return None,
            ProgressStage::Preparing(step) => return Some(format!("preparing: {step}, {elapsed}")),
            ProgressStage::Making { done, total } => (*done, *total),
        };
        let builds = self.running.values();
        let builds = builds.filter(|running| !is_fetched(running.kind)).count();
        let fetches = self.running.len() - builds;
        let percent = self.share(done, total) / (WHOLE / 100);
        let left = self.writer.left();
        let parts = [
            left.map(|left| format!("{} left", size::rounded(left))),
            Some(format!("{builds} building")),
            (fetches > 0).then(|| format!("{fetches} fetching")),
            Some(elapsed),
            self.busy.map(|busy| format!("{busy:.1} cores busy")),
        ];
        let bar = match self.columns >= NARROW {
            true => bar_length(self.columns) + 1,
            false => 0,
        };
        let room = usize::from(self.columns.saturating_sub(bar));
        let mut text = format!("{percent:>2} %  {done}/{total}  ");
        for (number, part) in parts.into_iter().flatten().enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            // What does not fit as a whole is left out.
            if number > 0 && text.len() + separator.len() + part.len() > room {
                break;
            }
            text.push_str(separator);
            text.push_str(&part);
        }
        Some(text)
    }

    /// Shows `text` for good, above the bars.
    fn say(&self, text: &str) {
        for line in text.lines() {
            let _ = self.screen.println(line);
        }
    }

    /// Whether enough time has passed since the last update.
    fn is_due(&self) -> bool {
        self.drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW)
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        screen::share(None);
    }
}

impl ItemBar {
    fn draw(&self, item: &str, columns: u16) {
        if !is_fetched(self.kind) {
            self.line.set_prefix(size::duration(self.started.elapsed()));
            let (phase, said) = (&self.phase, &self.said);
            self.line.set_message(match columns >= ROOMY {
                true => format!("{item:<20} {phase:<9} {said}"),
                false => format!("{item} {phase} {said}"),
            });
        }
    }
}

impl Reporter for Bars {
    fn report(&mut self, event: &Event) {
        let event = &visible_events::for_terminal(event);
        if let Some(skipped) = self.writer.skipped_before(event) {
            self.say(&skipped);
        }
        let text = self.writer.text(event);
        match event {
            // Drawn with the next tick: commands that find everything done show nothing.
            Event::Preparing { step } => {
                if !matches!(self.stage, ProgressStage::Making { .. }) {
                    self.stage = ProgressStage::Preparing(step.clone());
                }
                return;
            }
            Event::RunStarted {
                builds, downloads, ..
            } => self.count(0, builds + downloads),
            Event::SubstitutesFound {
                substitutes,
                location,
                ..
            } => {
                *self.offered.entry(location.clone()).or_default() += substitutes;
                self.expect(*substitutes);
            }
            Event::MorePlanned { items } => self.expect(items.len()),
            Event::SubstituteFailed { item, .. } | Event::HookFailed { item, .. } => {
                self.stop(item);
                if let Some(text) = text {
                    self.say(&text);
                }
            }
            Event::SubstitutesEnded {
                location,
                installed,
                ..
            } => {
                let running = self.running.iter();
                let left: Vec<String> = running
                    .filter(|(_, running)| running.kind == Kind::Substitute)
                    .map(|(item, _)| item.clone())
                    .collect();
                for item in left {
                    self.stop(&item);
                }
                // What was not taken does not come from there any more.
                let offered = self.offered.remove(location).unwrap_or(0);
                let (done, total) = self.counts();
                let missed = offered.saturating_sub(*installed);
                self.count(done, total.saturating_sub(missed).max(done));
                if let Some(text) = text {
                    self.say(&text);
                }
            }
            Event::Started { item, kind, .. } => self.start(item, *kind),
            Event::PhaseStarted { item, phase } => {
                if let Some(running) = self.running.get_mut(item) {
                    running.phase.clone_from(phase);
                    running.said.clear();
                    running.draw(item, self.columns);
                }
            }
            Event::DownloadProgress {
                item,
                received,
                total,
                location,
            } => {
                if let Some(running) = self.running.get(item) {
                    let line = &running.line;
                    match total {
                        Some(total) => {
                            let bar = bar(self.columns, self.color, "cyan");
                            line.set_style(style(&match self.columns >= ROOMY {
                                true => format!(
                                    "{{wide_msg}} {bar} {{bytes}}/{{total_bytes}} {{bytes_per_sec}}"
                                ),
                                false => "{wide_msg} {bytes}/{total_bytes}".to_owned(),
                            }));
                            line.set_message(format!("  {item}"));
                            line.set_length(*total);
                        }
                        None => {
                            line.set_style(style("{wide_msg} {bytes} {bytes_per_sec}"));
                            line.set_message(format!("  {item} from {location}"));
                        }
                    }
                    line.set_position(*received);
                }
            }
            Event::Finished { item, kind, .. } => {
                self.stop(item);
                self.finished_one();
                // Sources are many, and of interest only while they are fetched.
                if let Some(text) = text.filter(|_| *kind != Kind::Download) {
                    self.say(&text);
                }
            }
            Event::Reused { item } => {
                self.stop(item);
                self.finished_one();
            }
            Event::Processor { busy } => self.busy = Some(*busy),
            Event::Failed { item, .. } => {
                self.stop(item);
                self.say(&text.unwrap_or_default());
            }
            Event::Line { item, text: said } => {
                if let Some(running) = self.running.get_mut(item)
                    && !said.trim().is_empty()
                {
                    running.said = said.trim().to_owned();
                }
                if let Some(text) = text {
                    self.say(&text);
                }
                if !self.is_due() {
                    return;
                }
            }
            // Shown together, in one line.
            Event::Skipped { .. } => {}
            Event::WaitingForLock { .. } | Event::Interrupted => {
                if let Some(text) = text {
                    self.say(&text);
                }
            }
            Event::Planned { .. } => {
                self.planned = Some(Instant::now());
                // The first line shows the time left, but not what the forecast is based on.
                if self.writer.is_guess() {
                    self.say(&text.unwrap_or_default());
                }
            }
            Event::PhaseEnded { .. } | Event::RunFinished { .. } => {}
        }
        self.tick();
    }

    fn tick(&mut self) {
        let Some(text) = self.overview() else {
            return;
        };
        self.drawn = Some(Instant::now());
        if let ProgressStage::Making { done, total } = self.stage {
            self.overall.set_position(self.share(done, total));
        }
        self.overall.set_message(text);
        for (item, running) in &self.running {
            running.draw(item, self.columns);
        }
    }

    fn end(&mut self) {
        if let Some(skipped) = self.writer.skipped() {
            self.say(&skipped);
        }
        for (_, running) in self.running.drain() {
            running.line.finish_and_clear();
        }
        self.overall.finish_and_clear();
        let _ = self.screen.clear();
    }
}

/// Whether an item of this kind is only transferred, so that received bytes are its progress.
fn is_fetched(kind: Kind) -> bool {
    matches!(kind, Kind::Download | Kind::Substitute)
}

/// The length of a bar: a quarter of the terminal, at most [`BAR`] columns.
fn bar_length(columns: u16) -> u16 {
    (columns / 4).clamp(4, BAR)
}

/// The template of a bar.
fn bar(columns: u16, color: bool, name: &str) -> String {
    let length = bar_length(columns);
    match color {
        true => format!("{{bar:{length}.{name}/dim}}"),
        false => format!("{{bar:{length}}}"),
    }
}

/// The style of `template`. All templates are in this file, and its tests use each.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

#[cfg(test)]
#[path = "bars/tests.rs"]
pub(super) mod tests;
