//! Bars on a terminal: one for the whole run, below it one line for each build, and a bar for each download.

use std::collections::HashMap;
use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::lines::Writer;
use super::{Reporter, Verbosity, size};
use crate::build::events::{Event, Kind};

/// Draws on standard error.
pub struct Bars {
    screen: MultiProgress,
    overall: ProgressBar,
    running: HashMap<String, Running>,
    writer: Writer,
    color: bool,
    started: Instant,
    busy: Option<f64>,
}

/// An item that is being made, and its line.
struct Running {
    line: ProgressBar,
    started: Instant,
    phase: String,
    download: bool,
}

impl Bars {
    /// An empty screen.
    pub fn new(verbosity: Verbosity, color: bool) -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let overall = screen.add(ProgressBar::new(0));
        overall.set_style(style(match color {
            true => "{bar:24.green/dim} {pos}/{len}  {msg}",
            false => "{bar:24} {pos}/{len}  {msg}",
        }));
        Self {
            screen,
            overall,
            running: HashMap::new(),
            writer: Writer::new(verbosity, color),
            color,
            started: Instant::now(),
            busy: None,
        }
    }

    fn start(&mut self, item: &str, download: bool) {
        let line = self.screen.add(ProgressBar::new(0));
        line.set_style(style("{msg}"));
        let running = Running {
            line,
            started: Instant::now(),
            phase: String::new(),
            download,
        };
        running.draw(item);
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

impl Running {
    fn draw(&self, item: &str) {
        if !self.download {
            let elapsed = size::duration(self.started.elapsed());
            self.line
                .set_message(format!("  {item:<24} {:<32} {elapsed}", self.phase));
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
                self.overall.set_length((builds + downloads) as u64);
            }
            Event::Started { item, kind, .. } => self.start(item, *kind == Kind::Download),
            Event::PhaseStarted { item, phase } => {
                if let Some(running) = self.running.get_mut(item) {
                    running.phase.clone_from(phase);
                    running.draw(item);
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
                    line.set_message(format!("  {item}"));
                    match total {
                        Some(total) => {
                            line.set_style(style(match self.color {
                                true => "{msg:40!} {bar:24.cyan/dim} {bytes}/{total_bytes} {bytes_per_sec}",
                                false => "{msg:40!} {bar:24} {bytes}/{total_bytes} {bytes_per_sec}",
                            }));
                            line.set_length(*total);
                        }
                        None => line.set_style(style("{msg:40!} {bytes} {bytes_per_sec} {prefix}")),
                    }
                    line.set_prefix(location.clone());
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
            Event::PhaseEnded { .. } | Event::Planned { .. } | Event::RunFinished { .. } => {}
        }
        self.tick();
    }

    fn tick(&mut self) {
        let builds = self
            .running
            .values()
            .filter(|running| !running.download)
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
            "{builds} building, {downloads} downloading, {elapsed}{busy}{left}"
        ));
        for (item, running) in &self.running {
            running.draw(item);
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

/// The style of `template`, all of which are written in this file and shown by its test.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::InMemoryTerm;

    fn on_screen() -> (Bars, InMemoryTerm) {
        let terminal = InMemoryTerm::new(12, 100);
        let bars = Bars::new(Verbosity::Normal, false);
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

    #[test]
    fn the_screen_shows_the_run_its_builds_and_its_downloads() {
        let (mut bars, terminal) = on_screen();
        bars.report(&Event::RunStarted {
            builds: 2,
            downloads: 1,
            reused: 0,
        });
        bars.report(&started("stage0/sed", Kind::Build));
        bars.report(&Event::PhaseStarted {
            item: "stage0/sed".into(),
            phase: "configure".into(),
        });
        bars.report(&started("source/grep-3.8.tar.xz", Kind::Download));
        bars.report(&Event::DownloadProgress {
            item: "source/grep-3.8.tar.xz".into(),
            received: 1 << 20,
            total: Some(2 << 20),
            location: "https://example.org/".into(),
        });
        wait();
        bars.tick();
        let screen = terminal.contents();
        assert!(
            screen.contains("0/3  1 building, 1 downloading"),
            "{screen}"
        );
        assert!(
            screen.contains("stage0/sed               configure"),
            "{screen}"
        );
        assert!(screen.contains("1.00 MiB/2.00 MiB"), "{screen}");
    }

    #[test]
    fn failures_stay_and_bars_go() {
        let (mut bars, terminal) = on_screen();
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
