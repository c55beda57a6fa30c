// SPDX-License-Identifier: GPL-3.0-or-later
use std::collections::{BTreeMap, BTreeSet};

use super::*;

#[test]
fn an_event_is_one_json_object_tagged_with_its_kind() {
    let event = Event::PhaseEnded {
        item: "stage0/sed".into(),
        phase: "configure".into(),
        seconds: 1.5,
        succeeded: true,
    };
    let json = serde_json::to_string(&event).unwrap();
    assert_eq!(
        json,
        r#"{"event":"phase-ended","item":"stage0/sed","phase":"configure","seconds":1.5,"succeeded":true}"#
    );
    assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
}

#[test]
fn a_written_event_says_when_it_happened() {
    let line = stamped_line(&Event::Processor { busy: 1.5 }).unwrap();
    let text = String::from_utf8(line).unwrap();
    assert!(text.starts_with("{\"time\":"), "{text}");
    assert!(
        text.ends_with(",\"event\":\"processor\",\"busy\":1.5}\n"),
        "{text}"
    );
    let read: Stamped = serde_json::from_str(&text).unwrap();
    assert!(read.time > 1e9);
    assert_eq!(read.event, Event::Processor { busy: 1.5 });
}

#[test]
fn a_reader_that_went_away_does_not_stop_the_sender() {
    let (sender, receiver) = EventSender::channel();
    drop(receiver);
    sender.emit(Event::Interrupted);
}

/// One of each kind, with all that it can have.
fn every_kind() -> Vec<Event> {
    let item = || "sed".to_owned();
    let made = || Made {
        outputs: vec![OutputMade {
            name: "out".into(),
            path: "/gnu/store/x".into(),
            nar_size: 1,
        }],
        cached: true,
        elsewhere: true,
        seconds: 1.0,
        user_seconds: 1.0,
        system_seconds: 1.0,
        phases: vec![PhaseTime {
            phase: "build".into(),
            seconds: 1.0,
            start: Some(0.0),
        }],
    };
    vec![
        Event::Preparing {
            step: "opening the store".into(),
        },
        Event::RunStarted {
            builds: 1,
            downloads: 1,
            reused: 0,
        },
        Event::Planned {
            items: vec![PlannedItem {
                item: item(),
                kind: Kind::Build,
                inputs: Vec::new(),
                seconds: None,
                guessed: true,
            }],
            jobs: 1,
            downloads: 1,
            cores: 1,
        },
        Event::MorePlanned {
            items: vec![PlannedItem {
                item: item(),
                kind: Kind::Build,
                inputs: Vec::new(),
                seconds: None,
                guessed: false,
            }],
        },
        Event::SubstituteFailed {
            item: item(),
            location: "https://example.org".into(),
            problem: "it answers 503".into(),
        },
        Event::HookFailed {
            item: item(),
            problem: "it ended".into(),
        },
        Event::Processor { busy: 1.0 },
        Event::WaitingForLock {
            path: "/gnu/store/x.lock".into(),
            holder: None,
            seconds: 1.0,
        },
        Event::SubstitutesFound {
            substitutes: 1,
            size: None,
            location: "https://example.org".into(),
        },
        Event::SubstitutesEnded {
            location: "https://example.org".into(),
            installed: 1,
            nar_size: 1,
            problem: None,
        },
        Event::Started {
            item: item(),
            kind: Kind::Build,
            derivation: "x.drv".into(),
            log: None,
        },
        Event::PhaseStarted {
            item: item(),
            phase: "build".into(),
        },
        Event::PhaseEnded {
            item: item(),
            phase: "build".into(),
            seconds: 1.0,
            succeeded: true,
        },
        Event::Line {
            item: item(),
            text: "hello".into(),
        },
        Event::DownloadProgress {
            item: item(),
            received: 1,
            total: None,
            location: "https://example.org/".into(),
        },
        Event::Finished {
            item: item(),
            kind: Kind::Build,
            made: made(),
        },
        Event::Reused { item: item() },
        Event::Failed {
            item: item(),
            message: "no".into(),
            hint: None,
            likely_cause: None,
            last_lines: Vec::new(),
            log: None,
            kept: None,
        },
        Event::Skipped {
            item: item(),
            because: item(),
        },
        Event::Interrupted,
        Event::RunFinished {
            summary: Summary {
                made: vec![MadeItem {
                    item: item(),
                    kind: Kind::Build,
                    made: made(),
                }],
                failed: vec![FailedItem {
                    item: item(),
                    message: "no".into(),
                }],
                skipped: vec![SkippedItem {
                    item: item(),
                    because: item(),
                }],
                impure: Some("mine".into()),
                ..Summary::default()
            },
        },
    ]
}

/// A new kind of event does not compile here: add it to [`every_kind`], which checks that the document describes it.
fn is_in_the_list(event: &Event) {
    match event {
        Event::Preparing { .. }
        | Event::RunStarted { .. }
        | Event::Planned { .. }
        | Event::MorePlanned { .. }
        | Event::SubstituteFailed { .. }
        | Event::HookFailed { .. }
        | Event::Processor { .. }
        | Event::WaitingForLock { .. }
        | Event::SubstitutesFound { .. }
        | Event::SubstitutesEnded { .. }
        | Event::Started { .. }
        | Event::PhaseStarted { .. }
        | Event::PhaseEnded { .. }
        | Event::Line { .. }
        | Event::DownloadProgress { .. }
        | Event::Finished { .. }
        | Event::Reused { .. }
        | Event::Failed { .. }
        | Event::Skipped { .. }
        | Event::Interrupted
        | Event::RunFinished { .. } => {}
    }
}

/// The names of all members in `value`, at any depth.
fn members(value: &serde_json::Value, names: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Array(values) => {
            values.iter().for_each(|value| members(value, names));
        }
        serde_json::Value::Object(object) => {
            for (name, value) in object {
                names.insert(name.clone());
                members(value, names);
            }
        }
        _ => {}
    }
}

/// What is between backquotes in `text`.
fn named(text: &str) -> BTreeSet<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn the_document_describes_every_event_with_its_members_and_no_others() {
    let document = include_str!("../../docs/events.md");
    let (_, table) = document.split_once("| `event` | members |").unwrap();
    let (table, after) = table.split_once("\n\n").unwrap();
    let mut rows: BTreeMap<&str, &str> = table
        .lines()
        .filter_map(|row| row.strip_prefix("| `")?.split_once("` | "))
        .collect();
    let (made, _) = after.split_once("\n\n").unwrap();
    let made = named(made);
    let values = ["null", "download", "seed", "build", "substitute"].map(ToOwned::to_owned);
    for event in every_kind() {
        is_in_the_list(&event);
        let json = serde_json::to_value(&event).unwrap();
        let kind = json["event"].as_str().unwrap();
        let row = rows.remove(kind).unwrap_or_else(|| panic!("{kind}"));
        let (row, _) = row.split_once(" |").unwrap();
        let described = named(row);
        let object = json.as_object().unwrap();
        for name in object.keys().filter(|name| *name != "event") {
            assert!(described.contains(name), "{kind}: {name} is not in `{row}`");
        }
        let mut all = BTreeSet::new();
        members(&json, &mut all);
        for name in &described {
            assert!(
                all.contains(name) || values.contains(name),
                "{kind} has no `{name}`"
            );
        }
    }
    assert!(rows.is_empty(), "{rows:?}");
    let mut all = BTreeSet::from(["made".to_owned()]);
    let event = every_kind()
        .into_iter()
        .find(|event| matches!(event, Event::Finished { .. }));
    let json = serde_json::to_value(event.unwrap()).unwrap();
    members(&json["made"], &mut all);
    assert_eq!(made, all);
    // What lists hold is described as a member of some event.
    let every = named(document);
    for event in every_kind() {
        let mut all = BTreeSet::new();
        members(&serde_json::to_value(&event).unwrap(), &mut all);
        assert!(all.is_subset(&every), "{all:?}");
    }
}
