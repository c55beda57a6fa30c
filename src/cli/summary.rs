//! The end of a run in words: what was made, what it took, where it is.

use std::collections::BTreeMap;

use crate::events::{Kind, MadeItem, Summary};
use crate::show::progress::size;

/// How many of the slowest phases are named.
const SLOWEST: usize = 5;

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
            let plural = if items.len() == 1 { "" } else { "s" };
            text.push_str(&format!(
                "{verb}: {} item{plural}, {}\n",
                items.len(),
                size::bytes(bytes)
            ));
        }
    }
    if !summary.reused.is_empty() {
        text.push_str(&format!("there already: {}\n", summary.reused.join(" ")));
    }
    for failed in &summary.failed {
        let reason = failed.message.lines().next().unwrap_or_default();
        text.push_str(&format!("failed: {}: {reason}\n", failed.item));
    }
    for skipped in &summary.skipped {
        text.push_str(&format!(
            "not tried: {} (needs {})\n",
            skipped.item, skipped.because
        ));
    }
    if !summary.not_started.is_empty() {
        let list = summary.not_started.join(" ");
        text.push_str(&format!("not started: {list}\n"));
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
    // Over a run of seconds the ratio says nothing.
    if best >= 1.0 {
        let plural = if cores == 1 { "" } else { "s" };
        text.push_str(&format!(
            "; wall ÷ (CPU ÷ {cores} core{plural}) = {:.3}",
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
    use crate::events::{FailedItem, Made, OutputMade, PhaseTime, SkippedItem};

    fn made(item: &str, kind: Kind, seconds: f64) -> MadeItem {
        MadeItem {
            item: item.into(),
            kind,
            made: Made {
                cached: false,
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
    fn a_run_that_made_nothing_has_no_ratio() {
        let text = describe(&Summary {
            seconds: 0.01,
            cores: 2,
            ..Summary::default()
        });
        assert_eq!(text, "time: 0.0 s wall, 0.0 s CPU\n");
    }
}
