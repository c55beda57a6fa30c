// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use crate::builder::graph::{BuildGraph, GraphError, Offered, WantedJob};
use crate::builder::testing::Items;
use crate::events::Made;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

mod places;

/// Makes everything, unless told otherwise, and remembers what was going on.
#[derive(Default)]
struct FakeWorker {
    fails: Vec<&'static str>,
    panics: Vec<&'static str>,
    reused: Vec<&'static str>,
    delays: BTreeMap<&'static str, u64>,
    /// Milliseconds for which another process makes it.
    waits: BTreeMap<&'static str, u64>,
    cancel_in: Option<(&'static str, Cancellation)>,
    order: Mutex<Vec<String>>,
    builds: Overlap,
    downloads: Overlap,
}

#[derive(Default)]
struct Overlap {
    now: AtomicUsize,
    greatest: AtomicUsize,
}

impl Overlap {
    fn during(&self, work: impl FnOnce()) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.greatest.fetch_max(now, Ordering::SeqCst);
        work();
        self.now.fetch_sub(1, Ordering::SeqCst);
    }

    fn greatest(&self) -> usize {
        self.greatest.load(Ordering::SeqCst)
    }
}

impl FakeWorker {
    fn order(&self) -> Vec<String> {
        self.order.lock().unwrap().clone()
    }
}

impl<'a> Worker<'a> for FakeWorker {
    fn make(&self, task: &BuildTask<'a>, place: &dyn Place) -> Result<TaskOutcome<'a>, BuildError> {
        let label = task.job.label;
        self.order.lock().unwrap().push(label.to_owned());
        if let Some(milliseconds) = self.waits.get(label) {
            place.leave();
            std::thread::sleep(Duration::from_millis(*milliseconds));
            if !self.reused.contains(&label) {
                place.come_back();
            }
        }
        let overlap = match task.job.kind {
            Kind::Download => &self.downloads,
            _ => &self.builds,
        };
        let delay = self.delays.get(label).copied().unwrap_or(0);
        overlap.during(|| std::thread::sleep(Duration::from_millis(delay)));
        match &self.cancel_in {
            Some((at, cancellation)) if *at == label => {
                cancellation.cancel();
                return Err(BuildError::Interrupted);
            }
            _ => {}
        }
        assert!(!self.panics.contains(&label), "a bug in {label}");
        if self.fails.contains(&label) {
            return Err(BuildError::Derivation {
                label: label.to_owned(),
                problem: "it is made to fail".to_owned(),
            });
        }
        Ok(match self.reused.contains(&label) {
            true => TaskOutcome::Reused,
            false => TaskOutcome::Made(Made::default()),
        })
    }
}

fn everything<'a>(items: &'a Items, graph: &BuildGraph<'a>, wanted: &[&str]) -> Todo<'a> {
    graph
        .missing_with(
            wanted.iter().map(|label| items.path(label)),
            |_| Ok(BTreeSet::new()),
            |jobs| Ok::<_, GraphError>(jobs.iter().map(|_| None).collect()),
            |_| None,
        )
        .unwrap()
}

fn run_all(
    items: &Items,
    wanted: &[&str],
    worker: &FakeWorker,
    builds: usize,
    keep_going: bool,
) -> (RunReport, Vec<Event>) {
    let graph = items.graph();
    let todo = everything(items, &graph, wanted);
    let (events, receiver) = EventSender::channel();
    let parallelism = Parallelism {
        builds: NonZeroUsize::new(builds).unwrap(),
        downloads: NonZeroUsize::new(3).unwrap(),
        keep_going,
        ends_others: false,
    };
    let cancellation = match &worker.cancel_in {
        Some((_, cancellation)) => cancellation.clone(),
        None => Cancellation::new(),
    };
    let cores = NonZeroUsize::new(2).unwrap();
    let report = run(&todo, worker, parallelism, cores, &events, &cancellation);
    drop(events);
    (report, receiver.iter().collect())
}

#[test]
fn inputs_are_made_before_what_needs_them() {
    let items = Items::new(&[("a", &[]), ("b", &["a"]), ("c", &["b", "a"])]);
    let worker = FakeWorker::default();
    let (report, events) = run_all(&items, &["c"], &worker, 4, false);
    assert_eq!(worker.order(), ["a", "b", "c"]);
    assert_eq!(report.summary.made.len(), 3);
    assert!(matches!(
        events.first(),
        Some(Event::RunStarted {
            builds: 3,
            downloads: 0,
            reused: 0
        })
    ));
    assert!(
        matches!(events.last(), Some(Event::RunFinished { summary }) if *summary == report.summary)
    );
}

#[test]
fn what_others_cannot_make_is_said_to_be_so_in_the_summary() {
    let items = Items::new(&[("a", &[])]);
    let graph = items.graph();
    let mut todo = everything(&items, &graph, &["a"]);
    todo.impure = Some("it is mine".to_owned());
    let parallelism = Parallelism {
        builds: NonZeroUsize::MIN,
        downloads: NonZeroUsize::MIN,
        keep_going: false,
        ends_others: false,
    };
    let (events, receiver) = EventSender::channel();
    let worker = FakeWorker::default();
    let cancellation = Cancellation::new();
    let report = run(
        &todo,
        &worker,
        parallelism,
        NonZeroUsize::MIN,
        &events,
        &cancellation,
    );
    drop(events);
    assert_eq!(report.summary.impure.as_deref(), Some("it is mine"));
    assert!(
        matches!(receiver.iter().last(), Some(Event::RunFinished { summary }) if summary == report.summary)
    );
}

#[test]
fn the_longest_chain_is_started_first() {
    let items = Items::new(&[
        ("a-lonely-one", &[]),
        ("deep", &[]),
        ("deeper", &["deep"]),
        ("end", &["deeper", "a-lonely-one"]),
    ]);
    let worker = FakeWorker::default();
    run_all(&items, &["end"], &worker, 1, false);
    assert_eq!(worker.order(), ["deep", "a-lonely-one", "deeper", "end"]);
}

#[test]
fn no_more_builds_run_at_a_time_than_allowed_and_downloads_do_not_count() {
    let labels = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut items = Items::new(&labels.map(|label| (label, &[][..])));
    for label in &labels[4..] {
        items.download(label);
    }
    let worker = FakeWorker {
        delays: labels.iter().map(|label| (*label, 30)).collect(),
        ..FakeWorker::default()
    };
    let (report, _) = run_all(&items, &labels, &worker, 2, false);
    assert_eq!(report.summary.made.len(), 8);
    assert_eq!(worker.builds.greatest(), 2);
    assert_eq!(worker.downloads.greatest(), 3);
}

#[test]
fn what_needs_a_failed_item_is_skipped_and_says_why() {
    let items = Items::new(&[
        ("lib", &[]),
        ("tool", &["lib"]),
        ("other", &[]),
        ("all", &["tool", "other"]),
    ]);
    let worker = FakeWorker {
        fails: vec!["lib"],
        ..FakeWorker::default()
    };
    let (report, events) = run_all(&items, &["all"], &worker, 1, true);
    let skipped: Vec<(&str, &str)> = report
        .summary
        .skipped
        .iter()
        .map(|skipped| (skipped.item.as_str(), skipped.because.as_str()))
        .collect();
    assert_eq!(skipped, [("tool", "lib"), ("all", "lib")]);
    assert_eq!(worker.order(), ["lib", "other"]);
    assert_eq!(report.summary.failed[0].item, "lib");
    assert_eq!(report.errors.len(), 1);
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::Failed { item, .. } if item == "lib"))
    );
}

#[test]
fn a_failure_stops_new_work_but_not_what_runs() {
    let items = Items::new(&[("bad", &[]), ("slow", &[]), ("next", &[]), ("last", &[])]);
    let worker = FakeWorker {
        fails: vec!["bad"],
        delays: BTreeMap::from([("bad", 20), ("slow", 80)]),
        ..FakeWorker::default()
    };
    let (report, _) = run_all(&items, &["bad", "slow", "next", "last"], &worker, 2, false);
    let made: Vec<&str> = report
        .summary
        .made
        .iter()
        .map(|made| made.item.as_str())
        .collect();
    // Equal urgency goes by path, so which two came first is not fixed; what ran was let end.
    assert_eq!(made.len() + 1 + report.summary.not_started.len(), 4);
    assert_eq!(report.summary.failed.len(), 1);
    assert!(!report.summary.interrupted);
}

#[test]
fn an_item_made_by_somebody_else_is_used() {
    let items = Items::new(&[("lib", &[]), ("tool", &["lib"])]);
    let worker = FakeWorker {
        reused: vec!["lib"],
        ..FakeWorker::default()
    };
    let (report, _) = run_all(&items, &["tool"], &worker, 1, false);
    assert_eq!(report.summary.reused, ["lib"]);
    assert_eq!(report.summary.made.len(), 1);
}

#[test]
fn a_cancelled_run_starts_nothing_more_and_is_no_failure() {
    let items = Items::new(&[("lib", &[]), ("tool", &["lib"]), ("all", &["tool"])]);
    let worker = FakeWorker {
        cancel_in: Some(("tool", Cancellation::new())),
        ..FakeWorker::default()
    };
    let (report, events) = run_all(&items, &["all"], &worker, 4, true);
    assert!(report.summary.interrupted);
    assert!(report.errors.is_empty());
    assert_eq!(report.summary.not_started, ["all"]);
    assert_eq!(worker.order(), ["lib", "tool"]);
    assert!(events.contains(&Event::Interrupted));
}

#[test]
fn a_bug_in_one_build_fails_that_build() {
    let items = Items::new(&[("lib", &[]), ("tool", &["lib"])]);
    let worker = FakeWorker {
        panics: vec!["lib"],
        ..FakeWorker::default()
    };
    let (report, _) = run_all(&items, &["tool"], &worker, 1, false);
    assert!(report.summary.failed[0].message.contains("a bug in lib"));
    assert_eq!(report.summary.skipped.len(), 1);
}

#[test]
fn nothing_to_do_is_done_at_once() {
    let items = Items::new(&[]);
    let (report, events) = run_all(&items, &[], &FakeWorker::default(), 1, false);
    assert_eq!(report.summary.made, []);
    assert_eq!(events.len(), 2);
}

#[test]
fn the_time_of_a_run_includes_its_preparation() {
    let items = Items::new(&[]);
    let graph = items.graph();
    let todo = everything(&items, &graph, &[]);
    let (events, _receiver) = EventSender::channel();
    // Planning, asking servers …
    std::thread::sleep(std::time::Duration::from_millis(50));
    let parallelism = Parallelism {
        builds: NonZeroUsize::MIN,
        downloads: NonZeroUsize::MIN,
        keep_going: false,
        ends_others: false,
    };
    let (worker, cancellation) = (FakeWorker::default(), Cancellation::new());
    let cores = NonZeroUsize::MIN;
    let report = run(&todo, &worker, parallelism, cores, &events, &cancellation);
    assert!(report.summary.seconds >= 0.05);
}

/// Delivers what is offered, unless it is made to fail, and builds the rest.
struct Deliverer<'g, 'a> {
    graph: &'g BuildGraph<'a>,
    offered: Vec<&'static str>,
    undelivered: Vec<&'static str>,
    fails: Vec<&'static str>,
    order: Mutex<Vec<String>>,
    pauses: AtomicUsize,
}

impl<'a> Deliverer<'_, 'a> {
    fn missing(&self, wanted: &'a StorePath, without: Option<&str>) -> Todo<'a> {
        let offers = |jobs: &[WantedJob<'a>]| {
            let offers = jobs.iter().map(|job| {
                let label = job.job.label;
                let is_offered = self.offered.contains(&label) && without != Some(label);
                is_offered.then(|| Offered {
                    brings: job.outputs.clone(),
                })
            });
            Ok::<_, GraphError>(offers.collect())
        };
        let valid = |_: &BTreeSet<&StorePath>| Ok(BTreeSet::new());
        let todo = self.graph.missing_with([wanted], valid, offers, |_| None);
        todo.unwrap()
    }
}

impl<'a> Worker<'a> for Deliverer<'_, 'a> {
    fn make(&self, task: &BuildTask<'a>, _: &dyn Place) -> Result<TaskOutcome<'a>, BuildError> {
        let label = task.job.label;
        let way = match task.way {
            Way::Builder => "build",
            Way::Alternative(_) => "take",
        };
        self.order.lock().unwrap().push(format!("{way} {label}"));
        if self.fails.contains(&label) {
            return Err(BuildError::Derivation {
                label: label.to_owned(),
                problem: "it is made to fail".to_owned(),
            });
        }
        Ok(match (&task.way, self.undelivered.contains(&label)) {
            (Way::Builder, _) => TaskOutcome::Made(Made::default()),
            (Way::Alternative(_), false) => TaskOutcome::Delivered,
            (Way::Alternative(_), true) => {
                TaskOutcome::Instead(self.missing(task.job.path, Some(label)))
            }
        })
    }

    fn alternative_is_done(&self) {
        self.pauses.fetch_add(1, Ordering::SeqCst);
    }
}

/// Makes `c`, which is built from `a` and `b`, of which `b` is built from `a`, and `a` from `source`.
fn deliver(
    offered: &[&'static str],
    undelivered: &[&'static str],
    fails: &[&'static str],
) -> (Vec<String>, RunReport, Vec<Event>) {
    let items = Items::new(&[
        ("source", &[]),
        ("a", &["source"]),
        ("b", &["a"]),
        ("c", &["b", "a"]),
    ]);
    let graph = items.graph();
    let worker = Deliverer {
        graph: &graph,
        offered: offered.to_vec(),
        undelivered: undelivered.to_vec(),
        fails: fails.to_vec(),
        order: Mutex::default(),
        pauses: AtomicUsize::new(0),
    };
    let todo = worker.missing(items.path("c"), None);
    let (events, receiver) = EventSender::channel();
    let one = NonZeroUsize::MIN;
    let parallelism = Parallelism {
        builds: one,
        downloads: one,
        keep_going: true,
        ends_others: false,
    };
    let report = run(
        &todo,
        &worker,
        parallelism,
        one,
        &events,
        &Cancellation::new(),
    );
    drop(events);
    // Also where nothing was offered: what was asked for offers may have failed.
    assert!(worker.pauses.load(Ordering::SeqCst) > 0);
    let order = worker.order.into_inner().unwrap();
    (order, report, receiver.iter().collect())
}

#[test]
fn what_an_alternative_delivers_needs_no_inputs() {
    let (order, report, events) = deliver(&["c"], &[], &[]);
    assert_eq!(order, ["take c"]);
    assert!(report.summary.made.is_empty() && report.summary.not_started.is_empty());
    assert!(matches!(
        events[0],
        Event::RunStarted {
            builds: 0,
            downloads: 0,
            ..
        }
    ));
    let (order, report, _) = deliver(&["a", "b"], &[], &[]);
    assert_eq!(order.last().unwrap(), "build c");
    assert_eq!(report.summary.made.len(), 1);
}

#[test]
fn what_an_alternative_does_not_deliver_is_built_from_what_that_needs() {
    let (order, report, events) = deliver(&["c"], &["c"], &[]);
    assert_eq!(
        order,
        ["take c", "build source", "build a", "build b", "build c"]
    );
    assert_eq!(report.summary.made.len(), 4);
    let more = events.iter().find_map(|event| match event {
        Event::MorePlanned { items } => Some(items),
        _ => None,
    });
    let more: Vec<_> = more
        .unwrap()
        .iter()
        .map(|item| item.item.as_str())
        .collect();
    assert_eq!(more, ["source", "a", "b", "c"]);
    // Inputs may be offered in their turn, and fail in their turn, and are made once.
    let (order, report, _) = deliver(&["c", "b", "a"], &["c", "a"], &[]);
    let count = |what: &str| order.iter().filter(|done| *done == what).count();
    for what in [
        "take c",
        "take b",
        "take a",
        "build source",
        "build a",
        "build c",
    ] {
        assert_eq!(count(what), 1, "{what}: {order:?}");
    }
    assert_eq!(order.len(), 6, "{order:?}");
    assert!(report.errors.is_empty());
}

#[test]
fn what_cannot_be_built_in_place_of_a_delivery_is_skipped() {
    let (order, report, _) = deliver(&["c", "b"], &["b"], &["source"]);
    assert_eq!(order, ["take c"]);
    assert!(report.errors.is_empty());
    let (_, report, events) = deliver(&["c"], &["c"], &["a"]);
    let skipped = report.summary.skipped.iter();
    let skipped: BTreeSet<_> = skipped.map(|item| item.item.as_str()).collect();
    assert_eq!(skipped, BTreeSet::from(["b", "c"]));
    assert!(matches!(events.last(), Some(Event::RunFinished { .. })));
    // It needs what failed before.
    let (order, report, _) = deliver(&["b"], &["b"], &["a"]);
    assert!(order.contains(&"build a".to_owned()), "{order:?}");
    assert_eq!(report.summary.skipped.len(), 2, "{:?}", report.summary);
}
