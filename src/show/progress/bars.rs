//! Bars on a terminal: one for the whole run, one line for each build, and a bar for each download.
//!
//! The first line shows the share of the forecast time, the count of items and the time left, in this order: on a narrow
//! terminal only the end of a line is cut off. A build's line ends with the last line of its log.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::invocation::Invocation;
use super::lines::Writer;
use super::{Reporter, Verbosity, clean, screen, size};
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
    running: HashMap<String, Running>,
    writer: Writer,
    color: bool,
    columns: u16,
    started: Instant,
    /// When the plan was made: forecasts count from here.
    planned: Option<Instant>,
    busy: Option<f64>,
    stage: Stage,
    drawn: Option<Instant>,
}

/// What the first line is about.
enum Stage {
    /// Nothing to draw yet.
    Silent,
    /// A step before the first item starts.
    Preparing(String),
    /// Items are being made: so many are finished, of so many.
    Making { done: usize, total: usize },
}

/// An item that is being made, and its line.
struct Running {
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
            writer: Writer::without_estimates(verbosity, color, invocation),
            color,
            columns,
            started: Instant::now(),
            planned: None,
            busy: None,
            stage: Stage::Silent,
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
        let running = Running {
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
            Stage::Making { done, total } => (done, total),
            _ => (0, 0),
        }
    }

    fn count(&mut self, done: usize, total: usize) {
        if !matches!(self.stage, Stage::Making { .. }) && self.columns >= NARROW {
            let bar = bar(self.columns, self.color, "green");
            self.overall
                .set_style(style(&format!("{bar} {{wide_msg}}")));
        }
        self.stage = Stage::Making { done, total };
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
            Stage::Silent => return None,
            Stage::Preparing(step) => return Some(format!("preparing: {step}, {elapsed}")),
            Stage::Making { done, total } => (*done, *total),
        };
        let builds = self.running.values();
        let builds = builds.filter(|running| !is_fetched(running.kind)).count();
        let fetches = self.running.len() - builds;
        let percent = self.share(done, total) / (WHOLE / 100);
        let mut text = format!("{percent:>2} %  {done}/{total}  ");
        if let Some(left) = self.writer.left() {
            text.push_str(&format!("{} left, ", size::rounded(left)));
        }
        text.push_str(&format!("{builds} building, {fetches} fetching, {elapsed}"));
        if let Some(busy) = self.busy {
            text.push_str(&format!(", {busy:.1} cores busy"));
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

impl Running {
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
        let event = &clean::for_terminal(event);
        if let Some(skipped) = self.writer.skipped_before(event) {
            self.say(&skipped);
        }
        let text = self.writer.text(event);
        match event {
            // Drawn with the next tick: commands that find everything done show nothing.
            Event::Preparing { step } => {
                if !matches!(self.stage, Stage::Making { .. }) {
                    self.stage = Stage::Preparing(step.clone());
                }
                return;
            }
            Event::RunStarted {
                builds, downloads, ..
            } => self.count(0, builds + downloads),
            Event::SubstitutesFound { substitutes, .. } => self.expect(*substitutes),
            Event::SubstitutesEnded { .. } => {
                let running = self.running.iter();
                let left: Vec<String> = running
                    .filter(|(_, running)| running.kind == Kind::Substitute)
                    .map(|(item, _)| item.clone())
                    .collect();
                for item in left {
                    self.stop(&item);
                }
                let (done, _) = self.counts();
                self.count(done, done);
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
        if let Stage::Making { done, total } = self.stage {
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

/// The template of a bar: a quarter of the terminal, at most [`BAR`] columns.
fn bar(columns: u16, color: bool, name: &str) -> String {
    let length = (columns / 4).clamp(4, BAR);
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
pub(super) mod tests {
    use super::*;
    use crate::events::{Made, PlannedItem};
    use indicatif::InMemoryTerm;

    pub fn on_screen(columns: u16) -> (Bars, InMemoryTerm) {
        let terminal = InMemoryTerm::new(12, columns);
        let bars = Bars::with_columns(Verbosity::Normal, false, columns, Invocation::default());
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 250);
        bars.screen.set_draw_target(target);
        (bars, terminal)
    }

    fn started(item: &str, kind: Kind) -> Event {
        Event::Started {
            item: item.into(),
            kind,
            derivation: "x.drv".into(),
            log: None,
        }
    }

    /// Drawing is limited to a number of times a second.
    fn wait() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }

    /// Shows a run with a build and two downloads, one of unknown size.
    fn story(bars: &mut Bars) {
        bars.report(&Event::RunStarted {
            builds: 2,
            downloads: 2,
            reused: 0,
        });
        bars.report(&started("stage0/sed", Kind::Build));
        bars.report(&Event::PhaseStarted {
            item: "stage0/sed".into(),
            phase: "configure".into(),
        });
        bars.report(&Event::Line {
            item: "stage0/sed".into(),
            text: "  checking for gcc... yes".into(),
        });
        for (item, total) in [
            ("source/grep-3.8.tar.xz", Some(2 << 20)),
            ("source/gcc-12_12.2.0.orig.tar.gz", None),
        ] {
            bars.report(&started(item, Kind::Download));
            bars.report(&Event::DownloadProgress {
                item: item.into(),
                received: 1 << 20,
                total,
                location: "https://example.org/with/a/long/path/to/the/file".into(),
            });
        }
        wait();
        bars.tick();
    }

    #[test]
    fn the_screen_shows_the_run_its_builds_and_its_downloads() {
        let (mut bars, terminal) = on_screen(100);
        story(&mut bars);
        let screen = terminal.contents();
        assert!(
            screen.contains(" 0 %  0/4  1 building, 2 fetching"),
            "{screen}"
        );
        assert!(
            screen.contains("stage0/sed           configure checking for gcc... yes"),
            "{screen}"
        );
        assert!(screen.contains("1.00 MiB/2.00 MiB"), "{screen}");
        assert!(screen.contains(".orig.tar.gz from https://"), "{screen}");
    }

    #[test]
    fn every_line_fits_the_terminal_however_narrow() {
        for columns in [120, 100, 80, 79, 60, 40, 30] {
            let (mut bars, terminal) = on_screen(columns);
            story(&mut bars);
            let screen = terminal.contents();
            let lines: Vec<&str> = screen.lines().collect();
            // A line that did not fit would go on in the next one.
            assert_eq!(lines.len(), 4, "{columns}\n{screen}");
            for (line, part) in lines.iter().zip([
                " 0 %  0/4  1 b",
                "  stage0/sed ",
                "1.00 MiB/2.00 MiB",
                "1.00 MiB",
            ]) {
                assert!(line.contains(part), "{columns}: {part}\n{screen}");
                assert!(line.chars().count() <= usize::from(columns), "{screen}");
            }
            bars.end();
            assert_eq!(terminal.contents(), "");
        }
    }

    #[test]
    fn bars_have_colours_only_on_request() {
        assert_eq!(bar(80, false, "green"), "{bar:20}");
        assert_eq!(bar(80, true, "green"), "{bar:20.green/dim}");
        assert_eq!(bar(200, false, "green"), "{bar:20}");
        assert_eq!(bar(7, false, "green"), "{bar:4}");
    }

    #[test]
    fn an_estimate_by_recipes_alone_is_marked() {
        for (guessed, said) in [
            (
                true,
                "this takes about 1 min 40 s, going by recipes timed on two cores",
            ),
            (false, ""),
        ] {
            let (mut bars, terminal) = on_screen(100);
            bars.report(&Event::Planned {
                items: vec![PlannedItem {
                    item: "sed".into(),
                    kind: Kind::Build,
                    inputs: Vec::new(),
                    seconds: Some(100.4),
                    guessed,
                }],
                jobs: 1,
                downloads: 1,
                cores: 1,
            });
            wait();
            bars.end();
            assert_eq!(terminal.contents(), said);
        }
    }

    #[test]
    fn substitutes_have_bars_until_their_server_is_done() {
        let (mut bars, terminal) = on_screen(100);
        let location = || "https://example.org".to_owned();
        bars.tick();
        assert_eq!(terminal.contents(), "");
        bars.report(&Event::SubstitutesFound {
            substitutes: 3,
            size: None,
            location: location(),
        });
        for item in ["libc", "gcc:lib"] {
            bars.report(&started(item, Kind::Substitute));
            bars.report(&Event::DownloadProgress {
                item: item.into(),
                received: 1 << 20,
                total: Some(2 << 20),
                location: location(),
            });
        }
        bars.report(&Event::Finished {
            item: "libc".into(),
            kind: Kind::Substitute,
            made: Default::default(),
        });
        wait();
        bars.tick();
        let screen = terminal.contents();
        assert!(
            screen.contains("33 %  1/3  0 building, 1 fetching"),
            "{screen}"
        );
        assert!(screen.contains("1.00 MiB/2.00 MiB"), "{screen}");
        assert!(screen.contains("[1/3] libc: installed, 0 B"), "{screen}");
        // The server's other items are not fetched any more.
        bars.report(&Event::SubstitutesEnded {
            location: location(),
            installed: 1,
            nar_size: 1 << 20,
            problem: Some("it broke off".into()),
        });
        bars.report(&Event::RunStarted {
            builds: 2,
            downloads: 0,
            reused: 0,
        });
        wait();
        bars.tick();
        let screen = terminal.contents();
        assert!(screen.contains("installed 1 item, "), "{screen}");
        assert!(
            screen.contains(" 0 %  0/2  0 building, 0 fetching"),
            "{screen}"
        );
        assert!(!screen.contains("gcc:lib"), "{screen}");
    }

    fn planned(seconds: &[f64]) -> [Event; 2] {
        let item = |(number, seconds): (usize, &f64)| PlannedItem {
            item: format!("p{number}"),
            kind: Kind::Build,
            inputs: Vec::new(),
            seconds: Some(*seconds),
            guessed: false,
        };
        [
            Event::RunStarted {
                builds: seconds.len(),
                downloads: 0,
                reused: 0,
            },
            Event::Planned {
                items: seconds.iter().enumerate().map(item).collect(),
                jobs: 1,
                downloads: 1,
                cores: 1,
            },
        ]
    }

    fn finished(item: &str, seconds: f64) -> Event {
        Event::Finished {
            item: item.into(),
            kind: Kind::Build,
            made: Made {
                seconds,
                ..Made::default()
            },
        }
    }

    #[test]
    fn the_time_left_is_on_the_screen_at_every_usual_width() {
        for columns in [40, 60, 80, 100, 120] {
            let (mut bars, terminal) = on_screen(columns);
            for event in planned(&[3700.0, 25.0]) {
                bars.report(&event);
            }
            bars.report(&started("p0", Kind::Build));
            wait();
            bars.tick();
            let screen = terminal.contents();
            assert!(
                screen.contains("0/2  1 h 02 min left"),
                "{columns}: {screen}"
            );
            bars.end();
        }
    }

    #[test]
    fn the_bar_follows_the_forecast_time_and_not_the_count_of_items() {
        let (mut bars, terminal) = on_screen(100);
        let mut seconds = vec![0.0; 72];
        seconds.push(3600.0);
        for event in planned(&seconds) {
            bars.report(&event);
        }
        for number in 0..72 {
            bars.report(&finished(&format!("p{number}"), 0.0));
        }
        wait();
        bars.tick();
        let screen = terminal.contents();
        assert!(screen.contains(" 0 %  72/73  1 h 00 min left"), "{screen}");
        // Half of the forecast has passed.
        bars.planned = Instant::now().checked_sub(Duration::from_secs(3600));
        assert_eq!(bars.share(72, 73) / 10, 50);
    }

    #[test]
    fn each_finished_package_leaves_a_line_and_sources_do_not() {
        let (mut bars, terminal) = on_screen(100);
        for event in planned(&[10.0, 500.0]) {
            bars.report(&event);
        }
        bars.report(&finished("p0", 12.0));
        bars.report(&Event::Finished {
            item: "source/p1.tar.gz".into(),
            kind: Kind::Download,
            made: Made::default(),
        });
        wait();
        bars.end();
        assert_eq!(terminal.contents(), "[1/2] p0: built, 0 B in 12.0 s");
    }

    #[test]
    fn preparation_shows_its_step_and_time_and_leaves_nothing() {
        let (mut bars, terminal) = on_screen(80);
        bars.report(&Event::Preparing {
            step: "reading recipes".into(),
        });
        wait();
        // A command that finds everything done within a tick shows nothing.
        assert_eq!(terminal.contents(), "");
        bars.tick();
        wait();
        bars.tick();
        let screen = terminal.contents();
        assert!(
            screen.contains("preparing: reading recipes, 0.0 s"),
            "{screen}"
        );
        bars.end();
        assert_eq!(terminal.contents(), "");
    }

    #[test]
    fn failures_stay_and_bars_go() {
        let (mut bars, terminal) = on_screen(100);
        bars.report(&Event::RunStarted {
            builds: 1,
            downloads: 0,
            reused: 0,
        });
        bars.report(&started("sed", Kind::Build));
        bars.report(&Event::Failed {
            item: "sed".into(),
            message: "exit status 1".into(),
            likely_cause: None,
            last_lines: vec!["oh no".into()],
            log: None,
            kept: None,
        });
        wait();
        bars.end();
        assert_eq!(terminal.contents(), "sed: failed: exit status 1\n  | oh no");
    }
}
