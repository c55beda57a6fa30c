// SPDX-License-Identifier: GPL-3.0-or-later
//! Cleans the text of events: hides secrets from all reporters, and makes foreign strings visible for terminals.

use std::borrow::Cow;
use std::path::PathBuf;

use crate::events::Event;
use crate::formats::secrets::without_secrets;
use crate::formats::visible::{visible, visible_lines, visible_path};

/// Hides the secrets of URLs in `event`: reporters show it, or write it to records that every user can read.
pub(super) fn hide_secrets(event: &mut Event) {
    match event {
        Event::SubstitutesFound { location, .. } | Event::DownloadProgress { location, .. } => {
            hide(location);
        }
        Event::SubstituteFailed {
            location, problem, ..
        } => {
            hide(location);
            hide(problem);
        }
        Event::HookFailed { problem, .. } => hide(problem),
        Event::SubstitutesEnded {
            location, problem, ..
        } => {
            hide(location);
            problem.iter_mut().for_each(hide);
        }
        Event::Line { text, .. } => hide(text),
        Event::Failed {
            message,
            hint,
            likely_cause,
            last_lines,
            ..
        } => {
            hide(message);
            let rest = hint.iter_mut().chain(likely_cause).chain(last_lines);
            rest.for_each(hide);
        }
        Event::RunFinished { summary } => {
            for failed in &mut summary.failed {
                hide(&mut failed.message);
            }
        }
        Event::Preparing { .. }
        | Event::RunStarted { .. }
        | Event::Planned { .. }
        | Event::MorePlanned { .. }
        | Event::Processor { .. }
        | Event::WaitingForLock { .. }
        | Event::Started { .. }
        | Event::PhaseStarted { .. }
        | Event::PhaseEnded { .. }
        | Event::Finished { .. }
        | Event::Reused { .. }
        | Event::Skipped { .. }
        | Event::Interrupted => {}
    }
}

/// `event` for a terminal: names, paths, log lines and messages as text that a terminal only displays. JSON and records
/// keep the strings as they are; JSON escapes them itself.
pub(super) fn for_terminal(event: &Event) -> Event {
    let mut event = event.clone();
    let show = |text: &mut String| *text = visible(&*text);
    let show_path = |path: &mut PathBuf| *path = visible_path(&*path).into();
    match &mut event {
        Event::Preparing { step } => show(step),
        Event::Planned { items, .. } | Event::MorePlanned { items } => {
            for item in items {
                show(&mut item.item);
                item.inputs.iter_mut().for_each(show);
            }
        }
        Event::WaitingForLock { path, .. } => show_path(path),
        Event::SubstitutesFound { location, .. } => show(location),
        Event::SubstituteFailed {
            item,
            location,
            problem,
        } => {
            show(item);
            show(location);
            show(problem);
        }
        Event::HookFailed { item, problem } => {
            show(item);
            show(problem);
        }
        Event::SubstitutesEnded {
            location, problem, ..
        } => {
            show(location);
            problem.iter_mut().for_each(show);
        }
        Event::Started { item, log, .. } => {
            show(item);
            log.iter_mut().for_each(show_path);
        }
        Event::PhaseStarted { item, phase } | Event::PhaseEnded { item, phase, .. } => {
            show(item);
            show(phase);
        }
        Event::Line { item, text } => {
            show(item);
            show(text);
        }
        Event::DownloadProgress { item, location, .. } => {
            show(item);
            show(location);
        }
        Event::Finished { item, .. } | Event::Reused { item } => show(item),
        Event::Failed {
            item,
            message,
            hint,
            likely_cause,
            last_lines,
            log,
            kept,
        } => {
            show(item);
            // Messages have lines of their own; what they quote was made visible there.
            *message = visible_lines(&*message);
            let rest = hint.iter_mut().chain(likely_cause).chain(last_lines);
            rest.for_each(show);
            log.iter_mut().chain(kept).for_each(show_path);
        }
        Event::Skipped { item, because } => {
            show(item);
            show(because);
        }
        // Reporters on terminals do not show the summary: the command does.
        Event::RunFinished { .. }
        | Event::RunStarted { .. }
        | Event::Processor { .. }
        | Event::Interrupted => {}
    }
    event
}

fn hide(text: &mut String) {
    if let Cow::Owned(hidden) = without_secrets(text) {
        *text = hidden;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{FailedItem, Kind, Made, Summary};
    use crate::formats::visible::is_invisible;
    use crate::show::progress::invocation::Invocation;
    use crate::show::progress::lines::ProgressLines;
    use crate::show::progress::{Reporter, Verbosity, bars};

    /// Erases the screen, sets the title, fakes a line, and turns the text around.
    const HOSTILE: &str = "a\x1b[2J\x1b]0;t\x07\u{202e}b\u{200b}\r";

    fn hostile_events() -> Vec<Event> {
        let text = || format!("{HOSTILE}\nfailed: c");
        let path = || PathBuf::from(text());
        vec![
            Event::Preparing { step: text() },
            Event::WaitingForLock {
                path: path(),
                holder: None,
                seconds: 1.0,
            },
            Event::SubstitutesFound {
                substitutes: 1,
                size: None,
                location: text(),
            },
            Event::SubstituteFailed {
                item: text(),
                location: text(),
                problem: text(),
            },
            Event::HookFailed {
                item: text(),
                problem: text(),
            },
            Event::Started {
                item: text(),
                kind: Kind::Build,
                derivation: text(),
                log: Some(path()),
            },
            Event::PhaseStarted {
                item: text(),
                phase: text(),
            },
            Event::Line {
                item: text(),
                text: text(),
            },
            Event::Started {
                item: format!("source/{}", text()),
                kind: Kind::Download,
                derivation: text(),
                log: None,
            },
            Event::DownloadProgress {
                item: format!("source/{}", text()),
                received: 1,
                total: None,
                location: text(),
            },
            Event::Finished {
                item: text(),
                kind: Kind::Build,
                made: Made::default(),
            },
            Event::Reused { item: text() },
            Event::Failed {
                item: text(),
                message: HOSTILE.into(),
                hint: Some(text()),
                likely_cause: Some(text()),
                last_lines: vec![text()],
                log: Some(path()),
                kept: Some(path()),
            },
            Event::Skipped {
                item: text(),
                because: text(),
            },
            Event::SubstitutesEnded {
                location: text(),
                installed: 1,
                nar_size: 1,
                problem: Some(text()),
            },
            Event::Interrupted,
        ]
    }

    #[test]
    fn no_foreign_string_reaches_the_terminal_as_it_is() {
        let mut output = Vec::new();
        let invocation = Invocation::default();
        let mut lines =
            ProgressLines::new(&mut output, Verbosity::Verbose, false, invocation.clone());
        for event in hostile_events() {
            lines.report(&event);
        }
        lines.end();
        let text = String::from_utf8(output).unwrap();
        assert!(
            !text.chars().any(|one| one != '\n' && is_invisible(one)),
            "{text:?}"
        );
        assert!(
            !text.lines().any(|line| line.starts_with("failed:")),
            "{text}"
        );
        assert!(text.contains("a\\u{1b}[2J"), "{text}");

        let (mut bars, terminal) = bars::tests::on_screen(4000);
        for event in hostile_events() {
            bars.report(&event);
            std::thread::sleep(std::time::Duration::from_millis(5));
            bars.tick();
            let screen = terminal.contents();
            assert!(
                !screen.chars().any(|one| one != '\n' && is_invisible(one)),
                "{screen:?}"
            );
            assert!(
                !screen.lines().any(|line| line.starts_with("failed:")),
                "{screen}"
            );
        }
    }

    #[test]
    fn no_event_carries_the_secret_of_a_url() {
        let url = || "http://user:word@host/?token=word".to_owned();
        let mut events = [
            Event::SubstitutesFound {
                substitutes: 1,
                size: None,
                location: url(),
            },
            Event::SubstitutesEnded {
                location: url(),
                installed: 0,
                nar_size: 0,
                problem: Some(url()),
            },
            Event::DownloadProgress {
                item: "sed".into(),
                received: 0,
                total: None,
                location: url(),
            },
            Event::Line {
                item: "sed".into(),
                text: url(),
            },
            Event::Failed {
                item: "sed".into(),
                message: url(),
                hint: Some(url()),
                likely_cause: Some(url()),
                last_lines: vec![url()],
                log: None,
                kept: None,
            },
            Event::RunFinished {
                summary: Summary {
                    failed: vec![FailedItem {
                        item: "sed".into(),
                        message: url(),
                    }],
                    ..Summary::default()
                },
            },
        ];
        for event in &mut events {
            hide_secrets(event);
            let json = serde_json::to_string(&event).unwrap();
            assert!(!json.contains("word"), "{json}");
            assert!(json.contains("http://***@host/?token=***"), "{json}");
        }
    }
}
