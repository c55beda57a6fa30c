// SPDX-License-Identifier: GPL-3.0-or-later
//! Sums up a run for users: what was made, how long it took, what failed and why.

use std::collections::{BTreeMap, BTreeSet};

use super::cause::cause;
use crate::events::{FailedItem, Kind, MadeItem, Summary};
use crate::show::progress::size;

/// How many of the slowest phases are named.
const SLOWEST: usize = 5;

/// How many items of a list are named.
const NAMED: usize = 6;

/// What ends the first line of a message that goes on with the places that were tried.
const TRIED: &str = "; tried:";

/// The summary of a run that made something.
pub fn describe(summary: &Summary) -> String {
    let mut text = String::new();
    let of_kind = |kind: Kind| summary.made.iter().filter(move |item| item.kind == kind);
    let builds: Vec<&MadeItem> = of_kind(Kind::Build).collect();
    if !builds.is_empty() {
        let width = builds.iter().map(|item| item.item.len()).max().unwrap_or(0);
        text.push_str("built:\n");
        for item in &builds {
            let made = &item.made;
            text.push_str(&format!(
                "  {:<width$}  {:>14} wall  {:>14} CPU\n",
                item.item,
                size::seconds(made.seconds),
                size::seconds(made.user_seconds + made.system_seconds)
            ));
            for output in &made.outputs {
                text.push_str(&format!(
                    "  {:<width$}  {:>9}  {}\n",
                    "",
                    size::bytes(output.nar_size),
                    output.path
                ));
            }
        }
    }
    for (kind, cached, verb) in [
        (Kind::Seed, false, "unpacked"),
        (Kind::Download, false, "downloaded"),
        (Kind::Download, true, "from the cache"),
    ] {
        let items = of_kind(kind).filter(|item| item.made.cached == cached);
        let items: Vec<&MadeItem> = items.collect();
        if !items.is_empty() {
            let outputs = items.iter().flat_map(|item| &item.made.outputs);
            let bytes: u64 = outputs.map(|output| output.nar_size).sum();
            text.push_str(&format!(
                "{verb}: {}, {}\n",
                size::counted(items.len(), "item"),
                size::bytes(bytes)
            ));
        }
    }
    if !summary.reused.is_empty() {
        let names = summary.reused.iter().map(String::as_str);
        text.push_str(&format!("there already: {}\n", named(names)));
    }
    text.push_str(&failures(summary));
    if !summary.not_started.is_empty() {
        let names = summary.not_started.iter().map(String::as_str);
        text.push_str(&format!("not started: {}\n", named(names)));
    }
    if let Some(impurity) = &summary.impure {
        text.push_str(&format!("impure: {impurity}\n"));
    }
    let slowest = slowest_phases(&builds);
    if !slowest.is_empty() {
        text.push_str(&format!("longest phases: {}\n", slowest.join(", ")));
    }
    text.push_str(&times(summary));
    text
}

/// The failures by cause, and what was not tried by the cause for which the failed items that it needs failed. Each
/// failure was shown in full when it happened.
fn failures(summary: &Summary) -> String {
    let mut text = String::new();
    let failed = summary.failed.iter();
    let causes: BTreeMap<&str, String> = failed
        .map(|failed| (failed.item.as_str(), cause(&failed.item, &failed.message)))
        .collect();
    let cause_of = |item: &str| causes.get(item).map_or(item, String::as_str).to_owned();
    let failed = summary.failed.iter();
    for (_, failed) in grouped(failed.map(|failed| (cause_of(&failed.item), failed))) {
        let reason = reason(failed[0]);
        let names = named(failed.iter().map(|failed| failed.item.as_str()));
        text.push_str(&match failed.as_slice() {
            [_] => format!("failed: {names}: {reason}\n"),
            all => format!(
                "failed for the same reason: {} items: {names}\n  the first: {reason}\n",
                all.len()
            ),
        });
    }
    let skipped = summary.skipped.iter();
    for (_, skipped) in grouped(skipped.map(|skipped| (cause_of(&skipped.because), skipped))) {
        let names = named(skipped.iter().map(|skipped| skipped.item.as_str()));
        let first = &skipped[0].because;
        let needed: BTreeSet<&str> = skipped.iter().map(|one| one.because.as_str()).collect();
        let others = match needed.len() {
            1 => String::new(),
            all => format!(
                " or {} that failed for the same reason",
                size::counted(all - 1, "other")
            ),
        };
        text.push_str(&format!("not tried: {names} (needs {first}{others})\n"));
    }
    text
}

/// The first line of why `failed` failed, without its own name before it, and without the list that may follow.
fn reason(failed: &FailedItem) -> &str {
    let reason = failed.message.lines().next().unwrap_or_default();
    let reason = reason.strip_suffix(TRIED).unwrap_or(reason);
    let own = reason.strip_prefix(failed.item.as_str());
    own.and_then(|rest| rest.strip_prefix(": "))
        .unwrap_or(reason)
}

/// `pairs` grouped by their first part, in the order in which each first occurs.
fn grouped<T>(pairs: impl Iterator<Item = (String, T)>) -> Vec<(String, Vec<T>)> {
    let mut groups: Vec<(String, Vec<T>)> = Vec::new();
    for (key, value) in pairs {
        match groups.iter_mut().find(|(other, _)| *other == key) {
            Some((_, values)) => values.push(value),
            None => groups.push((key, vec![value])),
        }
    }
    groups
}

/// The first of `names`, and how many more there are.
fn named<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> String {
    let count = names.len();
    // One more is named rather than counted.
    let shown = if count == NAMED + 1 { count } else { NAMED };
    let mut text = names.take(shown).collect::<Vec<_>>().join(" ");
    if count > shown {
        text.push_str(&format!(" and {} more", count - shown));
    }
    text
}

/// Wall-clock and processor time, and how far the first is from what the cores could have done at best.
fn times(summary: &Summary) -> String {
    let processor = summary.processor_seconds();
    let mut text = format!(
        "time: {} wall, {} CPU",
        size::seconds(summary.seconds),
        size::seconds(processor)
    );
    let cores = summary.cores.max(1);
    let best = processor / cores as f64;
    if !summary.failed.is_empty() || summary.interrupted {
        text.push_str(" (builds that failed or were stopped not counted)");
    // Over a run of seconds the ratio says nothing.
    } else if best >= 1.0 {
        text.push_str(&format!(
            "; wall ÷ (CPU ÷ {}) = {:.3}",
            size::counted(cores, "core"),
            summary.seconds / best
        ));
    }
    text.push('\n');
    text
}

fn slowest_phases(builds: &[&MadeItem]) -> Vec<String> {
    let mut phases: Vec<(&str, f64)> = Vec::new();
    let mut totals: BTreeMap<&str, f64> = BTreeMap::new();
    for item in builds {
        for phase in &item.made.phases {
            *totals.entry(&phase.phase).or_default() += phase.seconds;
        }
    }
    phases.extend(totals.into_iter().filter(|(_, seconds)| *seconds >= 1.0));
    phases.sort_by(|one, other| other.1.total_cmp(&one.1));
    let shown = phases.into_iter().take(SLOWEST);
    shown
        .map(|(phase, seconds)| format!("{phase} {}", size::seconds(seconds)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Made, OutputMade, PhaseTime, SkippedItem};

    fn made(item: &str, kind: Kind, seconds: f64) -> MadeItem {
        MadeItem {
            item: item.into(),
            kind,
            made: Made {
                cached: false,
                elsewhere: false,
                outputs: vec![OutputMade {
                    name: "out".into(),
                    path: format!(
                        "/gnu/store/00000000000000000000000000000000-{}",
                        item.replace('/', "-")
                    ),
                    nar_size: 3 << 20,
                }],
                seconds,
                user_seconds: seconds * 1.5,
                system_seconds: seconds * 0.25,
                phases: vec![
                    PhaseTime {
                        phase: "build".into(),
                        seconds: seconds * 0.8,
                        start: None,
                    },
                    PhaseTime {
                        phase: "unpack".into(),
                        seconds: 0.1,
                        start: None,
                    },
                ],
            },
        }
    }

    fn cached(mut item: MadeItem) -> MadeItem {
        item.made.cached = true;
        item
    }

    #[test]
    fn a_run_is_summed_up() {
        let summary = Summary {
            made: vec![
                made("source/sed.tar.xz", Kind::Download, 1.0),
                cached(made("source/grep.tar.xz", Kind::Download, 0.1)),
                made("seed/small", Kind::Seed, 2.0),
                made("stage0/make", Kind::Build, 10.0),
                made("stage0/gcc", Kind::Build, 700.0),
            ],
            reused: vec!["stage0/sed".into()],
            failed: vec![FailedItem {
                item: "gcc".into(),
                message: "the phase `build` failed\nmore".into(),
            }],
            skipped: vec![SkippedItem {
                item: "hello".into(),
                because: "gcc".into(),
            }],
            not_started: vec!["grep".into()],
            interrupted: false,
            seconds: 705.0,
            cores: 2,
            own_processor_seconds: 0.0,
            impure: None,
        };
        insta::assert_snapshot!(describe(&summary));
    }

    #[test]
    fn wall_and_processor_time_are_compared_where_all_builds_are_counted() {
        let mut summary = Summary {
            made: vec![made("stage0/gcc", Kind::Build, 700.0)],
            seconds: 700.0,
            cores: 2,
            ..Summary::default()
        };
        let times = |summary: &Summary| describe(summary).lines().last().unwrap().to_owned();
        let counted = "time: 11 min 40 s wall, 20 min 25 s CPU";
        assert_eq!(
            times(&summary),
            format!("{counted}; wall ÷ (CPU ÷ 2 cores) = 1.143")
        );
        summary.interrupted = true;
        assert_eq!(
            times(&summary),
            format!("{counted} (builds that failed or were stopped not counted)")
        );
    }

    #[test]
    fn a_run_from_a_seed_that_nobody_else_has_says_so() {
        let text = describe(&Summary {
            impure: Some("made from the seed `host`, and it is mine".into()),
            ..Summary::default()
        });
        assert!(
            text.starts_with("impure: made from the seed `host`, and it is mine\ntime: "),
            "{text}"
        );
    }

    #[test]
    fn failures_are_grouped_by_cause_and_long_lists_counted() {
        let labels: Vec<String> = (0..52)
            .map(|number| format!("source/p{number}.tar.gz"))
            .collect();
        let failed = labels.iter().enumerate().map(|(number, item)| FailedItem {
            item: item.clone(),
            message: format!(
                "{item}: {} (SHA-256 {number:064x}) is not in the cache, and --offline forbids fetching it",
                item.trim_start_matches("source/")
            ),
        });
        let mut failed: Vec<FailedItem> = failed.collect();
        failed.push(FailedItem {
            item: "gcc".into(),
            message: "the phase `build` failed".into(),
        });
        let skipped = labels[..9].iter().map(|item| SkippedItem {
            item: item.clone(),
            because: "gcc".into(),
        });
        let text = describe(&Summary {
            failed,
            skipped: skipped.collect(),
            not_started: labels[..7].to_vec(),
            ..Summary::default()
        });
        let first = labels[..6].join(" ");
        let hash = "0".repeat(64);
        assert_eq!(
            text,
            format!(
                "failed for the same reason: 52 items: {first} and 46 more\n  the first: p0.tar.gz (SHA-256 {hash}) is not in the \
                 cache, and --offline forbids fetching it\nfailed: gcc: the phase `build` failed\n\
                 not tried: {first} and 3 more (needs gcc)\nnot started: {first} {}\ntime: 0.0 s wall, 0.0 s CPU (builds that failed or were stopped not counted)\n",
                labels[6]
            )
        );
    }

    #[test]
    fn what_was_not_tried_is_grouped_by_the_cause_for_which_its_needs_failed() {
        let failed = ["a.tar", "b.tar", "c.tar", "d.tar"].map(|name| FailedItem {
            item: format!("source/{name}"),
            message: match name {
                "d.tar" => format!("cannot fetch {name}; tried:\n  http://a.example/{name}: 404"),
                _ => format!("cannot fetch {name}; tried:\n  http://a.example/{name}: 503"),
            },
        });
        let skipped = ["a.tar", "d.tar", "b.tar", "a.tar", "c.tar"];
        let skipped = skipped
            .iter()
            .enumerate()
            .map(|(number, need)| SkippedItem {
                item: format!("p{number}"),
                because: format!("source/{need}"),
            });
        let mut summary = Summary {
            failed: failed.to_vec(),
            skipped: skipped.collect(),
            ..Summary::default()
        };
        assert_eq!(
            failures(&summary),
            "failed for the same reason: 3 items: source/a.tar source/b.tar source/c.tar\n  \
             the first: cannot fetch a.tar\n\
             failed: source/d.tar: cannot fetch d.tar\n\
             not tried: p0 p2 p3 p4 (needs source/a.tar or 2 others that failed for the same reason)\n\
             not tried: p1 (needs source/d.tar)\n"
        );
        summary.skipped.truncate(3);
        let text = failures(&summary);
        let one =
            "not tried: p0 p2 (needs source/a.tar or 1 other that failed for the same reason)";
        assert!(text.contains(one), "{text}");
    }

    #[test]
    fn a_run_that_made_nothing_has_no_ratio() {
        let text = describe(&Summary {
            seconds: 0.01,
            cores: 2,
            ..Summary::default()
        });
        assert_eq!(text, "time: 0.0 s wall, 0.0 s CPU\n");
    }
}
