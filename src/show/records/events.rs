// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads the events of runs back, as far as reports need them.
//!
//! The records may have some hundred thousand lines. Most are not parsed as JSON: the name of an event is at the start
//! of its line. The others are parsed into one struct with the members of all events, because serde copies a whole line
//! before it parses a tagged enum.

use std::borrow::Cow;
use std::path::PathBuf;

use serde::Deserialize;

use super::TIME_MAX;
use crate::events::Kind;

/// The part of an event that reports need.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordedEvent {
    /// Work on an item began.
    Started {
        /// The label of the item.
        item: String,
        /// How it is made.
        kind: Kind,
        /// The base name of its derivation.
        derivation: String,
    },
    /// A build entered a phase. Read only for runs with failed or unfinished items: `builds.jsonl` has the phases of
    /// finished ones.
    PhaseStarted {
        /// The label of the item.
        item: String,
        /// The phase.
        phase: String,
    },
    /// A phase ended. Read for the same runs.
    PhaseEnded {
        /// The label of the item.
        item: String,
    },
    /// An item was made.
    Finished {
        /// The label of the item.
        item: String,
        /// How it was made.
        kind: Kind,
        /// How long that took, on the wall clock.
        seconds: f64,
    },
    /// Another process made an item.
    Reused {
        /// The label of the item.
        item: String,
    },
    /// An item could not be made.
    Failed {
        /// The label of the item.
        item: String,
        /// What went wrong.
        message: String,
        /// What the user can do about it.
        hint: Option<String>,
        /// That line of the build's output that most looks like the cause.
        likely_cause: Option<String>,
        /// The last lines of the build's output.
        last_lines: Vec<String>,
        /// The whole log.
        log: Option<PathBuf>,
    },
    /// The plan was made.
    Planned {
        /// Processor cores that all builds together use.
        cores: usize,
    },
    /// Processor use.
    Processor {
        /// The mean number of busy cores.
        busy: f64,
    },
    /// The run is over. Read only for runs without a plan.
    RunFinished {
        /// Processor cores that the run could use.
        cores: usize,
    },
}

/// The events of `text`, one a line, each with its time in seconds since the Epoch. Lines that are not events, from
/// another version or cut off, are skipped.
pub(super) fn read(text: &str) -> Vec<(f64, RecordedEvent)> {
    let lines: Vec<(Option<&str>, &str)> = text.lines().map(|line| (name(line), line)).collect();
    let has = |wanted: &str| lines.iter().any(|(name, _)| *name == Some(wanted));
    let planned = has("planned");
    // A run that was killed or is still running has no end.
    let unmade = has("failed") || has("interrupted") || !has("run-finished");
    let is_read = |name: &str| match name {
        "started" | "finished" | "reused" | "failed" | "planned" | "processor" => true,
        "phase-started" | "phase-ended" => unmade,
        // It lists all items, and is as long as all lines before it.
        "run-finished" => !planned,
        _ => false,
    };
    let read = lines.iter().filter(|(name, _)| name.is_none_or(is_read));
    read.filter_map(|(_, line)| serde_json::from_str::<EventMembers<'_>>(line).ok()?.event())
        .collect()
}

/// The name of the event in `line`, if it is the second member, as [`stamped_line`](crate::events::stamped_line) writes
/// it.
fn name(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(',')?;
    let (name, _) = rest.strip_prefix("\"event\":\"")?.split_once('"')?;
    Some(name)
}

/// The members of all events that are read.
#[derive(Deserialize)]
struct EventMembers<'l> {
    time: f64,
    #[serde(borrow)]
    event: Cow<'l, str>,
    item: Option<String>,
    kind: Option<Kind>,
    derivation: Option<String>,
    phase: Option<String>,
    made: Option<MadeMembers>,
    message: Option<String>,
    hint: Option<String>,
    likely_cause: Option<String>,
    #[serde(default)]
    last_lines: Vec<String>,
    log: Option<PathBuf>,
    cores: Option<usize>,
    busy: Option<f64>,
    summary: Option<SummaryMembers>,
}

#[derive(Deserialize)]
struct MadeMembers {
    seconds: f64,
}

#[derive(Deserialize)]
struct SummaryMembers {
    cores: usize,
}

impl EventMembers<'_> {
    /// The event and its time; `None` if it is of another kind, or lacks a member.
    fn event(self) -> Option<(f64, RecordedEvent)> {
        let event = match self.event.as_ref() {
            "started" => RecordedEvent::Started {
                item: self.item?,
                kind: self.kind?,
                derivation: self.derivation?,
            },
            "phase-started" => RecordedEvent::PhaseStarted {
                item: self.item?,
                phase: self.phase?,
            },
            "phase-ended" => RecordedEvent::PhaseEnded { item: self.item? },
            "finished" => RecordedEvent::Finished {
                item: self.item?,
                kind: self.kind?,
                seconds: self.made?.seconds,
            },
            "reused" => RecordedEvent::Reused { item: self.item? },
            "failed" => RecordedEvent::Failed {
                item: self.item?,
                message: self.message?,
                hint: self.hint,
                likely_cause: self.likely_cause,
                last_lines: self.last_lines,
                log: self.log,
            },
            "planned" => RecordedEvent::Planned { cores: self.cores? },
            "processor" => RecordedEvent::Processor { busy: self.busy? },
            "run-finished" => RecordedEvent::RunFinished {
                cores: self.summary?.cores,
            },
            _ => return None,
        };
        (0.0..=TIME_MAX as f64)
            .contains(&self.time)
            .then_some((self.time, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{self, Event, stamped_line};

    fn written(events: &[Event]) -> String {
        let lines = events.iter().map(|event| stamped_line(event).unwrap());
        String::from_utf8(lines.flatten().collect()).unwrap()
    }

    fn events_of(text: &str) -> Vec<RecordedEvent> {
        read(text).into_iter().map(|(_, event)| event).collect()
    }

    fn failed() -> Event {
        Event::Failed {
            item: "sed".into(),
            message: "exit 1".into(),
            hint: Some("try".into()),
            likely_cause: None,
            last_lines: vec!["\"oh\"".into()],
            log: Some("/log.gz".into()),
            kept: None,
        }
    }

    fn phase() -> [Event; 2] {
        let (item, phase) = ("sed".to_owned(), "build".to_owned());
        [
            Event::PhaseStarted {
                item: item.clone(),
                phase: phase.clone(),
            },
            Event::PhaseEnded {
                item,
                phase,
                seconds: 1.0,
                succeeded: false,
            },
        ]
    }

    #[test]
    fn events_are_read_as_they_are_written() {
        let [phase_started, phase_ended] = phase();
        let item = || "sed".to_owned();
        let events = [
            Event::Started {
                item: item(),
                kind: Kind::Build,
                derivation: "a.drv".into(),
                log: Some("/log.gz".into()),
            },
            phase_started,
            phase_ended,
            Event::Finished {
                item: item(),
                kind: Kind::Substitute,
                made: events::Made {
                    seconds: 2.5,
                    ..events::Made::default()
                },
            },
            Event::Reused { item: item() },
            failed(),
            Event::Processor { busy: 1.5 },
            Event::Interrupted,
            Event::RunFinished {
                summary: events::Summary {
                    cores: 3,
                    ..events::Summary::default()
                },
            },
        ];
        let expected = [
            RecordedEvent::Started {
                item: item(),
                kind: Kind::Build,
                derivation: "a.drv".into(),
            },
            RecordedEvent::PhaseStarted {
                item: item(),
                phase: "build".into(),
            },
            RecordedEvent::PhaseEnded { item: item() },
            RecordedEvent::Finished {
                item: item(),
                kind: Kind::Substitute,
                seconds: 2.5,
            },
            RecordedEvent::Reused { item: item() },
            RecordedEvent::Failed {
                item: item(),
                message: "exit 1".into(),
                hint: Some("try".into()),
                likely_cause: None,
                last_lines: vec!["\"oh\"".into()],
                log: Some("/log.gz".into()),
            },
            RecordedEvent::Processor { busy: 1.5 },
            RecordedEvent::RunFinished { cores: 3 },
        ];
        assert_eq!(events_of(&written(&events)), expected);
    }

    #[test]
    fn events_that_reports_do_not_need_are_not_read() {
        let planned = Event::Planned {
            items: Vec::new(),
            jobs: 1,
            downloads: 4,
            cores: 2,
        };
        let over = Event::RunFinished {
            summary: events::Summary::default(),
        };
        let [started, ended] = phase();
        let text = written(&[planned, started, ended, over]);
        assert_eq!(events_of(&text), [RecordedEvent::Planned { cores: 2 }]);
    }

    #[test]
    fn members_may_come_in_any_order_and_other_lines_are_skipped() {
        let text = "{\"event\":\"reused\",\"item\":\"sed\",\"time\":2.5}\nrubbish\n{\"time\":1,\"event\":\"new\",\"item\":3}\n\n\
                    {\"time\":3,\"event\":\"processor\",\"busy\":null}\n{\"time\":-1,\"event\":\"reused\",\"item\":\"sed\"}\n\
                    {\"time\":1e300,\"event\":\"reused\",\"item\":\"sed\"}\n{\"time\":4,\"event\":\"reus";
        let reused = RecordedEvent::Reused { item: "sed".into() };
        assert_eq!(read(text), [(2.5, reused)]);
    }
}
