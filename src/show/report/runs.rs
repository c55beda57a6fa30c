// SPDX-License-Identifier: GPL-3.0-or-later
//! Evaluates the recorded events of runs: failed and unfinished items, substitutes, the number of cores and their use.

use std::collections::{BTreeMap, HashMap};

use super::FailureShown;
use super::span::{Span, is_duration, made_name};
use crate::events::Kind;
use crate::formats::secrets::without_secrets;
use crate::formats::visible::visible_lines;
use crate::show::progress::invocation::Invocation;
use crate::show::records::{RecordedEvent, RecordedRun};

/// More cores than any machine has.
const BUSY_MAX: f64 = 1e6;

/// An item that was tried, and not made since.
#[derive(Debug)]
pub(super) struct Unmade {
    /// Its failure; `None` if it was not finished: its run was stopped or killed, or still goes on.
    pub shown: Option<FailureShown>,
    /// The build until then, if its start is recorded.
    pub span: Option<Span>,
}

/// How an item ended.
#[derive(Debug, Clone, Copy, PartialEq)]
enum ItemEnd {
    Failed,
    Unknown,
}

/// Work on an item that has started.
struct Begun<'r> {
    time: f64,
    kind: Kind,
    derivation: &'r str,
    /// As in [`Span`].
    phases: Vec<(String, f64, f64)>,
    /// Its phase, and the start of that.
    phase: Option<(&'r str, f64)>,
}

/// The items that were not made in `runs`, which are oldest first: each with its last failure, or else its last start.
/// Keys are base names of derivations, or labels where no derivation is recorded, as for failures before the start.
/// Items that a later run finished are left out, and so are unfinished substitutes.
pub(super) fn unmade(runs: &[RecordedRun]) -> HashMap<&str, Unmade> {
    let mut unmade: HashMap<&str, Unmade> = HashMap::new();
    for run in runs {
        let mut begun: HashMap<&str, Begun<'_>> = HashMap::new();
        for (time, event) in &run.events {
            let time = *time;
            match event {
                RecordedEvent::Started {
                    item,
                    kind,
                    derivation,
                } => {
                    let now = Begun {
                        time,
                        kind: *kind,
                        derivation,
                        phases: Vec::new(),
                        phase: None,
                    };
                    begun.insert(item, now);
                }
                RecordedEvent::PhaseStarted { item, phase } => {
                    if let Some(begun) = begun.get_mut(item.as_str()) {
                        begun.phase = Some((phase.as_str(), time));
                    }
                }
                RecordedEvent::PhaseEnded { item } => {
                    if let Some(begun) = begun.get_mut(item.as_str()) {
                        begun.end_phase(time);
                    }
                }
                RecordedEvent::Finished { item, .. } | RecordedEvent::Reused { item } => {
                    let begun = begun.remove(item.as_str());
                    let key = begun.map_or(item.as_str(), |begun| begun.derivation);
                    unmade.remove(key);
                    unmade.remove(item.as_str());
                }
                RecordedEvent::Failed {
                    item,
                    message,
                    hint,
                    likely_cause,
                    last_lines,
                    log,
                } => {
                    let begun = begun.remove(item.as_str());
                    let key = begun.as_ref().map_or(item.as_str(), |it| it.derivation);
                    let shown = FailureShown {
                        message: message.clone(),
                        hint: hint.clone(),
                        likely_cause: likely_cause.clone(),
                        last_lines: last_lines.clone(),
                        log: log.as_ref().map(|log| log.display().to_string()),
                    };
                    let span = begun.and_then(|begun| begun.span(item, time, ItemEnd::Failed));
                    let shown = Some(shown);
                    unmade.insert(key, Unmade { shown, span });
                }
                _ => {}
            }
        }
        let last = run.events.last().map_or(0.0, |(time, _)| *time);
        begun.retain(|_, begun| begun.kind != Kind::Substitute);
        for (item, begun) in begun {
            let before = unmade.get(begun.derivation);
            // A failure says more than an unfinished later try.
            if before.is_none_or(|before| before.shown.is_none()) {
                let key = begun.derivation;
                let span = begun.span(item, last, ItemEnd::Unknown);
                unmade.insert(key, Unmade { shown: None, span });
            }
        }
    }
    unmade
}

/// Leaves in `shown` what can be displayed, with complete commands. Records of older versions may hold secrets.
pub(super) fn cleaned(shown: &mut FailureShown, invocation: &Invocation) {
    let text = std::iter::once(&mut shown.message)
        .chain(&mut shown.hint)
        .chain(&mut shown.likely_cause)
        .chain(&mut shown.last_lines);
    for text in text {
        *text = visible_lines(&*without_secrets(text));
    }
    for text in std::iter::once(&mut shown.message).chain(&mut shown.hint) {
        *text = invocation.complete(text);
    }
}

impl Begun<'_> {
    fn end_phase(&mut self, time: f64) {
        if let Some((phase, since)) = self.phase.take() {
            let phase = (phase.to_owned(), since - self.time, time - since);
            self.phases.push(phase);
        }
    }

    /// The span of `label` up to `time`, its last event; `None` if the clock was set back in between.
    fn span(mut self, label: &str, time: f64, end: ItemEnd) -> Option<Span> {
        self.end_phase(time);
        let phases = self.phases.into_iter();
        Some(Span {
            label: label.to_owned(),
            kind: made_name(self.kind),
            start: self.time,
            seconds: Some(time - self.time).filter(|seconds| is_duration(*seconds))?,
            processor_seconds: 0.0,
            phases: phases
                .filter(|(_, start, seconds)| is_duration(*start) && is_duration(*seconds))
                .collect(),
            critical: false,
            failed: end == ItemEnd::Failed,
            unfinished: end == ItemEnd::Unknown,
        })
    }
}

/// The substitutes of `runs`, each output as it was last installed: the base name of its derivation, and its span.
pub(super) fn substitutes(runs: &[RecordedRun]) -> Vec<(&str, Span)> {
    let mut taken: BTreeMap<(&str, &str), Span> = BTreeMap::new();
    for run in runs {
        let mut begun: HashMap<&str, (f64, &str)> = HashMap::new();
        for (time, event) in &run.events {
            match event {
                RecordedEvent::Started {
                    item,
                    kind: Kind::Substitute,
                    derivation,
                } => {
                    begun.insert(item.as_str(), (*time, derivation.as_str()));
                }
                RecordedEvent::Finished {
                    item,
                    kind: kind @ Kind::Substitute,
                    seconds,
                } => {
                    let Some((start, derivation)) = begun.remove(item.as_str()) else {
                        continue;
                    };
                    let seconds = Some(*seconds).filter(|seconds| is_duration(*seconds));
                    let span = Span {
                        label: item.clone(),
                        kind: made_name(*kind),
                        start,
                        seconds: seconds.unwrap_or(0.0),
                        processor_seconds: 0.0,
                        phases: Vec::new(),
                        critical: false,
                        failed: false,
                        unfinished: false,
                    };
                    taken.insert((derivation, item.as_str()), span);
                }
                _ => {}
            }
        }
    }
    let taken = taken.into_iter();
    taken
        .map(|((derivation, _), span)| (derivation, span))
        .collect()
}

/// The number of cores of the last of `runs`.
pub(super) fn cores(runs: &[RecordedRun]) -> Option<usize> {
    let mut events = runs.iter().rev().flat_map(|run| &run.events);
    events.find_map(|(_, event)| match event {
        RecordedEvent::Planned { cores } | RecordedEvent::RunFinished { cores } => Some(*cores),
        _ => None,
    })
}

/// Processor use between the first and the last of `spans`.
pub(super) fn samples(runs: &[RecordedRun], spans: &[Span]) -> Vec<(f64, f64)> {
    let first = spans.iter().map(|span| span.start).fold(f64::MAX, f64::min);
    let last = spans.iter().map(Span::end).fold(f64::MIN, f64::max);
    let events = runs.iter().flat_map(|run| &run.events);
    events
        .filter(|(time, _)| *time >= first && *time <= last)
        .filter_map(|(time, event)| match event {
            RecordedEvent::Processor { busy } if (0.0..=BUSY_MAX).contains(busy) => {
                Some((*time, *busy))
            }
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(events: Vec<(f64, RecordedEvent)>) -> RecordedRun {
        RecordedRun { events }
    }

    fn started(derivation: &str) -> RecordedEvent {
        RecordedEvent::Started {
            item: "sed".into(),
            kind: Kind::Build,
            derivation: derivation.into(),
        }
    }

    fn failure(message: &str) -> RecordedEvent {
        RecordedEvent::Failed {
            item: "sed".into(),
            message: message.into(),
            hint: None,
            likely_cause: Some("sed.c:1: error: oh".into()),
            last_lines: vec!["oh".into()],
            log: Some("/log.gz".into()),
        }
    }

    #[test]
    fn a_failed_build_has_a_span_with_its_last_phase() {
        let phase = |phase: &str| RecordedEvent::PhaseStarted {
            item: "sed".into(),
            phase: phase.into(),
        };
        let ended = RecordedEvent::PhaseEnded { item: "sed".into() };
        let runs = [run(vec![
            (100.0, started("a.drv")),
            (101.0, phase("unpack")),
            (103.0, ended),
            (103.0, phase("build")),
            (110.0, failure("exit 1")),
        ])];
        let failed = unmade(&runs);
        let found = &failed["a.drv"];
        let shown = found.shown.as_ref().unwrap();
        assert_eq!(shown.log.as_deref(), Some("/log.gz"));
        assert!(shown.likely_cause.is_some());
        let span = found.span.as_ref().unwrap();
        assert_eq!((span.start, span.seconds, span.failed), (100.0, 10.0, true));
        let expected = [
            ("unpack".to_owned(), 1.0, 2.0),
            ("build".to_owned(), 3.0, 7.0),
        ];
        assert_eq!(span.phases, expected);
    }

    #[test]
    fn a_failure_stays_until_a_later_run_finishes_that_derivation() {
        let made = RecordedEvent::Finished {
            item: "sed".into(),
            kind: Kind::Build,
            seconds: 1.0,
        };
        let runs = [
            run(vec![(1.0, started("a.drv")), (2.0, failure("first"))]),
            run(vec![(3.0, started("b.drv")), (4.0, failure("second"))]),
            run(vec![(5.0, started("b.drv")), (6.0, failure("third"))]),
            // The last run has other events only.
            run(vec![(7.0, RecordedEvent::Processor { busy: 1.0 })]),
        ];
        let found = unmade(&runs);
        let message = |derivation: &str| &found[derivation].shown.as_ref().unwrap().message;
        assert_eq!(
            (message("a.drv").as_str(), message("b.drv").as_str()),
            ("first", "third")
        );
        let mut runs = runs.to_vec();
        runs.push(run(vec![(8.0, started("b.drv")), (9.0, made)]));
        let found = unmade(&runs);
        assert_eq!(found.keys().collect::<Vec<_>>(), [&"a.drv"]);
    }

    #[test]
    fn an_item_of_a_killed_run_has_a_span_up_to_the_last_event() {
        let phase = RecordedEvent::PhaseStarted {
            item: "sed".into(),
            phase: "build".into(),
        };
        let killed = run(vec![
            (100.0, started("a.drv")),
            (104.0, phase),
            (110.0, RecordedEvent::Processor { busy: 1.0 }),
        ]);
        let mut runs = vec![killed];
        let found = unmade(&runs);
        let span = found["a.drv"].span.as_ref().unwrap();
        assert_eq!(
            (span.seconds, span.failed, span.unfinished),
            (10.0, false, true)
        );
        assert_eq!(span.phases, [("build".to_owned(), 4.0, 6.0)]);
        assert!(found["a.drv"].shown.is_none());
        // An earlier failure stays known after an unfinished try.
        runs.insert(0, run(vec![(1.0, started("a.drv")), (2.0, failure("oh"))]));
        assert!(unmade(&runs)["a.drv"].shown.is_some());
        let reused = RecordedEvent::Reused { item: "sed".into() };
        runs.push(run(vec![(200.0, started("a.drv")), (201.0, reused)]));
        let begun = RecordedEvent::Started {
            item: "grep".into(),
            kind: Kind::Substitute,
            derivation: "b.drv".into(),
        };
        runs.push(run(vec![(300.0, begun)]));
        assert!(unmade(&runs).is_empty());
    }

    #[test]
    fn a_failure_before_the_start_is_known_by_its_label_and_has_no_span() {
        let runs = [run(vec![(2.0, failure("no space"))])];
        let failed = unmade(&runs);
        assert!(failed["sed"].span.is_none());
    }

    #[test]
    fn substitutes_have_the_span_of_their_last_installation() {
        let begun = |item: &str| RecordedEvent::Started {
            item: item.into(),
            kind: Kind::Substitute,
            derivation: "a.drv".into(),
        };
        let taken = |seconds: f64| RecordedEvent::Finished {
            item: "sed".into(),
            kind: Kind::Substitute,
            seconds,
        };
        let runs = [
            run(vec![(1.0, begun("sed")), (3.0, taken(2.0))]),
            run(vec![
                (11.0, begun("grep")),
                (12.0, begun("sed")),
                (13.0, taken(0.5)),
                (14.0, RecordedEvent::RunFinished { cores: 3 }),
            ]),
            // A build.
            run(vec![(20.0, started("b.drv"))]),
        ];
        let found = substitutes(&runs);
        assert_eq!(found.len(), 1);
        let (derivation, span) = &found[0];
        assert_eq!(*derivation, "a.drv");
        assert_eq!(
            (span.kind, span.start, span.seconds),
            ("substitute", 12.0, 0.5)
        );
        assert_eq!(cores(&runs), Some(3));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_span() {
        let runs = [run(vec![(9.0, started("a.drv")), (2.0, failure("exit 1"))])];
        assert!(unmade(&runs)["a.drv"].span.is_none());
    }
}
