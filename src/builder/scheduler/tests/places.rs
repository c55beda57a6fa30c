// SPDX-License-Identifier: GPL-3.0-or-later
//! Tasks that wait for another process.

use super::*;

/// The items in the order in which they were made or found made.
fn ends(events: &[Event]) -> Vec<&str> {
    let ended = events.iter().filter_map(|event| match event {
        Event::Finished { item, .. } | Event::Reused { item } => Some(item.as_str()),
        _ => None,
    });
    ended.collect()
}

#[test]
fn what_waits_for_another_process_leaves_its_place() {
    let items = Items::new(&[("a", &[]), ("b", &[]), ("c", &[])]);
    let worker = FakeWorker {
        waits: [("a", 300)].into(),
        delays: [("b", 100), ("c", 100)].into(),
        ..FakeWorker::default()
    };
    let (report, events) = run_all(&items, &["a", "b", "c"], &worker, 1, false);
    assert!(report.errors.is_empty());
    assert_eq!(worker.order()[0], "a");
    assert_eq!(ends(&events)[2], "a");
    assert_eq!(worker.builds.greatest(), 1);
}

#[test]
fn what_comes_back_is_built_before_what_has_not_begun() {
    let items = Items::new(&[("a", &[]), ("b", &[]), ("c", &[])]);
    let worker = FakeWorker {
        waits: [("a", 50)].into(),
        delays: [("b", 300), ("c", 300)].into(),
        ..FakeWorker::default()
    };
    let (_, events) = run_all(&items, &["a", "b", "c"], &worker, 1, false);
    assert_eq!(ends(&events)[1], "a");
    assert_eq!(worker.builds.greatest(), 1);
}

#[test]
fn what_another_process_has_made_ends_without_a_place() {
    let items = Items::new(&[("a", &[]), ("b", &[])]);
    let worker = FakeWorker {
        waits: [("a", 50)].into(),
        reused: vec!["a"],
        delays: [("b", 300)].into(),
        ..FakeWorker::default()
    };
    let (report, events) = run_all(&items, &["a", "b"], &worker, 1, false);
    assert_eq!(ends(&events), ["a", "b"]);
    assert_eq!(report.summary.reused, ["a"]);
}

#[test]
fn what_comes_back_to_a_failed_run_ends() {
    let items = Items::new(&[("a", &[]), ("b", &[]), ("c", &[])]);
    let worker = FakeWorker {
        waits: [("a", 50)].into(),
        delays: [("b", 200), ("c", 200)].into(),
        fails: vec!["b", "c"],
        ..FakeWorker::default()
    };
    let (report, events) = run_all(&items, &["a", "b", "c"], &worker, 1, false);
    assert_eq!(ends(&events), ["a"]);
    assert_eq!(report.errors.len(), 1);
    assert_eq!(report.summary.not_started.len(), 1);
}
