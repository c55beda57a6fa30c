//! Bars on a terminal: one for the whole run, below it one line for each build, and a bar for each download.
//!
//! Every line fits the terminal: what is longer than what is left beside a line's numbers is cut off.

use std::collections::HashMap;
use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::invocation::Invocation;
use super::lines::Writer;
use super::screen;
use super::{Reporter, Verbosity, size};
use crate::events::{Event, Kind};

/// How many columns a terminal is taken to have that does not say.
const COLUMNS: u16 = 80;
/// From here on there is room for names to be padded, and for bars of downloads.
const ROOMY: u16 = 80;
/// The longest bar, in columns.
const BAR: u16 = 24;

/// Draws on standard error.
pub struct Bars {
    screen: MultiProgress,
    overall: ProgressBar,
    running: HashMap<String, Running>,
    writer: Writer,
    color: bool,
    columns: u16,
    started: Instant,
    busy: Option<f64>,
    /// Whether there is anything to draw yet.
    began: bool,
}

/// An item that is being made, and its line.
struct Running {
    line: ProgressBar,
    started: Instant,
    phase: String,
    kind: Kind,
}

impl Bars {
    /// An empty screen; `invocation` is how the commands that messages name are typed.
    pub fn new(verbosity: Verbosity, color: bool, invocation: Invocation) -> Self {
        let size = rustix::termios::tcgetwinsize(std::io::stderr());
        let columns = size.map_or(COLUMNS, |size| size.ws_col);
        // Some say that they have none.
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
        let overall = screen.add(ProgressBar::new(0));
        let bar = bar(columns, color, "green");
        overall.set_style(style(&format!("{bar} {{pos}}/{{len}}  {{wide_msg}}")));
        Self {
            screen,
            overall,
            running: HashMap::new(),
            writer: Writer::new(verbosity, color, invocation),
            color,
            columns,
            started: Instant::now(),
            busy: None,
            began: false,
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

    /// Shows `text` for good, above the bars.
    fn say(&self, text: &str) {
        for line in text.lines() {
            let _ = self.screen.println(line);
        }
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
            let phase = &self.phase;
            self.line.set_message(match columns >= ROOMY {
                true => format!("{item:<24} {phase}"),
                false => format!("{item} {phase}"),
            });
        }
    }
}

impl Reporter for Bars {
    fn report(&mut self, event: &Event) {
        let text = self.writer.text(event);
        match event {
            Event::RunStarted {
                builds, downloads, ..
            } => {
                self.began = true;
                self.overall.set_length((builds + downloads) as u64);
                self.overall.set_position(0);
            }
            Event::SubstitutesFound { substitutes, .. } => {
                self.began = true;
                self.overall.inc_length(*substitutes as u64);
            }
            Event::SubstitutesEnded { .. } => {
                let running = self.running.iter();
                let left: Vec<String> = running
                    .filter(|(_, running)| running.kind == Kind::Substitute)
                    .map(|(item, _)| item.clone())
                    .collect();
                for item in left {
                    self.stop(&item);
                }
                self.overall.set_length(self.overall.position());
                if let Some(text) = text {
                    self.say(&text);
                }
            }
            Event::Started { item, kind, .. } => self.start(item, *kind),
            Event::PhaseStarted { item, phase } => {
                if let Some(running) = self.running.get_mut(item) {
                    running.phase.clone_from(phase);
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
            Event::Finished { item, .. } | Event::Reused { item } => {
                self.stop(item);
                self.overall.inc(1);
            }
            Event::Processor { busy } => self.busy = Some(*busy),
            Event::Failed { item, .. } => {
                self.stop(item);
                self.say(&text.unwrap_or_default());
            }
            Event::Line { .. }
            | Event::WaitingForLock { .. }
            | Event::Skipped { .. }
            | Event::Interrupted => {
                if let Some(text) = text {
                    self.say(&text);
                }
            }
            // The bar tells the time that is left, but not by what it goes.
            Event::Planned { .. } if self.writer.is_guess() => self.say(&text.unwrap_or_default()),
            Event::PhaseEnded { .. } | Event::Planned { .. } | Event::RunFinished { .. } => {}
        }
        self.tick();
    }

    fn tick(&mut self) {
        if !self.began {
            return;
        }
        let builds = self
            .running
            .values()
            .filter(|running| !is_fetched(running.kind))
            .count();
        let downloads = self.running.len() - builds;
        let elapsed = size::duration(self.started.elapsed());
        let left = self.writer.left();
        let left = left.map_or_else(String::new, |left| format!(", about {left} left"));
        let busy = match self.busy {
            Some(busy) => format!(", {busy:.1} cores busy"),
            None => String::new(),
        };
        self.overall.set_message(format!(
            "{builds} building, {downloads} fetching, {elapsed}{busy}{left}"
        ));
        for (item, running) in &self.running {
            running.draw(item, self.columns);
        }
    }

    fn end(&mut self) {
        for (_, running) in self.running.drain() {
            running.line.finish_and_clear();
        }
        self.overall.finish_and_clear();
        let _ = self.screen.clear();
    }
}

/// Whether bytes that arrive are all there is to see of an item of this kind.
fn is_fetched(kind: Kind) -> bool {
    matches!(kind, Kind::Download | Kind::Substitute)
}

/// A bar for a template: a quarter of the terminal, and not longer than looks well.
fn bar(columns: u16, color: bool, name: &str) -> String {
    let length = (columns / 4).clamp(4, BAR);
    match color {
        true => format!("{{bar:{length}.{name}/dim}}"),
        false => format!("{{bar:{length}}}"),
    }
}

/// The style of `template`, all of which are written in this file and shown by its test.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::PlannedItem;
    use indicatif::InMemoryTerm;

    fn on_screen(columns: u16) -> (Bars, InMemoryTerm) {
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

    /// Shows a run with a build and two downloads under way, of one of which nobody knows how large it is.
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
        assert!(screen.contains("0/4  1 building, 2 fetching"), "{screen}");
        assert!(
            screen.contains("stage0/sed               configure"),
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
                " 0/4  1 b",
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
    fn bars_have_colours_only_where_they_are_wanted() {
        assert_eq!(bar(80, false, "green"), "{bar:20}");
        assert_eq!(bar(80, true, "green"), "{bar:20.green/dim}");
        assert_eq!(bar(200, false, "green"), "{bar:24}");
        assert_eq!(bar(7, false, "green"), "{bar:4}");
    }

    #[test]
    fn an_estimate_by_recipes_alone_is_said_to_be_one() {
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
    fn substitutes_have_bars_until_their_server_is_done_with() {
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
        assert!(screen.contains("1/3  0 building, 1 fetching"), "{screen}");
        assert!(screen.contains("1.00 MiB/2.00 MiB"), "{screen}");
        // What it did not give is not fetched any more.
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
        assert!(screen.contains("0/2  0 building, 0 fetching"), "{screen}");
        assert!(!screen.contains("gcc:lib"), "{screen}");
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
