//! What the recorded events of runs say: what failed, what came from servers, how many cores there were, and how busy they were.

use std::collections::{BTreeMap, HashMap};

use super::collect::made_name;
use super::{FailureShown, Span};
use crate::build::events::Kind;
use crate::records::{RecordedEvent, RecordedRun};

/// Something that failed and was not made after that.
#[derive(Debug)]
pub(super) struct Failed {
    /// What is shown of it.
    pub shown: FailureShown,
    /// The build until then, where the record says when it began.
    pub span: Option<Span>,
}

/// Work on an item that was begun.
struct Begun<'r> {
    time: f64,
    kind: Kind,
    derivation: &'r str,
    /// As in [`Span`].
    phases: Vec<(String, f64, f64)>,
    /// The phase that it is in, and since when.
    phase: Option<(&'r str, f64)>,
}

/// What failed in `runs`, oldest first, each as it failed last, by the base name of the derivation; by the label where the
/// record does not say which derivation it was, as of what failed before it was begun. What a later run finished is no
/// failure any more.
pub(super) fn failed(runs: &[RecordedRun]) -> HashMap<&str, Failed> {
    let mut failed = HashMap::new();
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
                    failed.remove(key);
                    failed.remove(item.as_str());
                }
                RecordedEvent::Failed {
                    item,
                    message,
                    likely_cause,
                    last_lines,
                    log,
                } => {
                    let begun = begun.remove(item.as_str());
                    let key = begun.as_ref().map_or(item.as_str(), |it| it.derivation);
                    let shown = FailureShown {
                        message: message.clone(),
                        likely_cause: likely_cause.clone(),
                        last_lines: last_lines.clone(),
                        log: log.as_ref().map(|log| log.display().to_string()),
                    };
                    let span = begun.and_then(|begun| begun.span(item, time));
                    failed.insert(key, Failed { shown, span });
                }
                _ => {}
            }
        }
    }
    failed
}

impl Begun<'_> {
    fn end_phase(&mut self, time: f64) {
        if let Some((phase, since)) = self.phase.take() {
            let phase = (phase.to_owned(), since - self.time, time - since);
            self.phases.push(phase);
        }
    }

    /// What `label`, which failed at `time`, is on the time line; nothing where the clock was set back meanwhile.
    fn span(mut self, label: &str, time: f64) -> Option<Span> {
        self.end_phase(time);
        let in_order = |seconds: f64| seconds.is_finite() && seconds >= 0.0;
        let phases = self.phases.into_iter();
        Some(Span {
            label: label.to_owned(),
            kind: made_name(self.kind),
            start: self.time,
            seconds: Some(time - self.time).filter(|seconds| in_order(*seconds))?,
            processor_seconds: 0.0,
            phases: phases
                .filter(|(_, start, seconds)| in_order(*start) && in_order(*seconds))
                .collect(),
            critical: false,
            failed: true,
        })
    }
}

/// What `runs` took from servers, each output as it was taken last: the base name of its derivation, and what it is on the time
/// line.
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
                    let span = Span {
                        label: item.clone(),
                        kind: made_name(*kind),
                        start,
                        seconds: seconds.max(0.0),
                        processor_seconds: 0.0,
                        phases: Vec::new(),
                        critical: false,
                        failed: false,
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

/// How many cores the last of `runs` had.
pub(super) fn cores(runs: &[RecordedRun]) -> Option<usize> {
    let mut events = runs.iter().rev().flat_map(|run| &run.events);
    events.find_map(|(_, event)| match event {
        RecordedEvent::Planned { cores } | RecordedEvent::RunFinished { cores } => Some(*cores),
        _ => None,
    })
}

/// How busy the machine was while anything of `spans` ran.
pub(super) fn samples(runs: &[RecordedRun], spans: &[Span]) -> Vec<(f64, f64)> {
    let first = spans.iter().map(|span| span.start).fold(f64::MAX, f64::min);
    let last = spans.iter().map(Span::end).fold(f64::MIN, f64::max);
    let events = runs.iter().flat_map(|run| &run.events);
    events
        .filter(|(time, _)| *time >= first && *time <= last)
        .filter_map(|(time, event)| match event {
            RecordedEvent::Processor { busy } if busy.is_finite() => Some((*time, *busy)),
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
            likely_cause: Some("sed.c:1: error: oh".into()),
            last_lines: vec!["oh".into()],
            log: Some("/log.gz".into()),
        }
    }

    #[test]
    fn a_failed_build_has_a_bar_with_the_phase_that_it_did_not_end() {
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
        let failed = failed(&runs);
        let found = &failed["a.drv"];
        assert_eq!(found.shown.log.as_deref(), Some("/log.gz"));
        assert!(found.shown.likely_cause.is_some());
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
            // Nothing that matters to it happened in the last run.
            run(vec![(7.0, RecordedEvent::Processor { busy: 1.0 })]),
        ];
        let found = failed(&runs);
        assert_eq!(found["a.drv"].shown.message, "first");
        assert_eq!(found["b.drv"].shown.message, "third");
        let mut runs = runs.to_vec();
        runs.push(run(vec![(8.0, started("b.drv")), (9.0, made)]));
        let found = failed(&runs);
        assert_eq!(found.keys().collect::<Vec<_>>(), [&"a.drv"]);
    }

    #[test]
    fn what_failed_before_it_was_begun_is_known_by_its_label_and_has_no_bar() {
        let runs = [run(vec![(2.0, failure("no space"))])];
        let failed = failed(&runs);
        assert!(failed["sed"].span.is_none());
    }

    #[test]
    fn what_came_from_servers_is_there_as_it_came_last_and_only_when_it_came() {
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
            // Something that is built.
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
    fn a_clock_that_was_set_back_makes_no_bar() {
        let runs = [run(vec![(9.0, started("a.drv")), (2.0, failure("exit 1"))])];
        assert!(failed(&runs)["a.drv"].span.is_none());
    }
}
