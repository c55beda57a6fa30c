// SPDX-License-Identifier: GPL-3.0-or-later
//! What came of building again, in words.

use crate::engine::{Rounds, Session};
use crate::show::progress::size::counted;
use crate::verify::compare;
use crate::verify::rebuild::RebuildOutcome;

/// What a difference may mean.
pub const DIFFERENCE: &str = "`bootstrap verify` shows whether the store's outputs are as they were registered; a difference in \
     sound ones means that the build is not reproducible";

/// What came of building packages again: for each output, whether it was the same.
pub fn describe(session: &Session, rounds: &Rounds) -> String {
    let mut text = String::new();
    for ((label, output), seen) in &rounds.outputs {
        let info = &seen.outcome.info;
        if seen.differing.is_empty() {
            text.push_str(&format!(
                "reproducible: {label}:{output} {} {}\n",
                session.shown(&info.path),
                info.nar_sha256
            ));
        }
        for (round, difference) in &seen.differing {
            text.push_str(&format!(
                "differs in round {round}: {label}:{output} {}\n  expected the SHA-256 {}, saw {}\n",
                session.shown(&info.path),
                info.nar_sha256,
                difference.found
            ));
            match &difference.files {
                Ok(files) => text.push_str(&compare::describe(files)),
                Err(reason) => text.push_str(&format!("  {reason}\n")),
            }
            let first = session.directories().physical(&info.path);
            let Some(kept) = &difference.kept else {
                continue;
            };
            let pair = format!("{} {}", first.display(), kept.display());
            text.push_str(&match has_diffoscope() {
                true => format!("  see more with `diffoscope {pair}`\n"),
                false => format!("  both are there until `bootstrap gc`: {pair}\n"),
            });
        }
    }
    for (label, reason) in &rounds.failed {
        text.push_str(&format!("failed: {label}: {reason}\n"));
    }
    for (number, variation) in rounds.variations.iter().enumerate() {
        let varied: Vec<String> = variation
            .describe()
            .into_iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        if !varied.is_empty() {
            text.push_str(&format!("round {}: {}\n", number + 1, varied.join(", ")));
        }
    }
    for (what, reason) in &rounds.not_varied {
        text.push_str(&format!("not varied: {what}: {reason}\n"));
    }
    let same = rounds
        .outputs
        .values()
        .filter(|seen| seen.differing.is_empty());
    text.push_str(&format!(
        "{} of {} the same in {}\n",
        same.count(),
        counted(rounds.outputs.len(), "output"),
        counted(rounds.variations.len(), "round")
    ));
    text
}

fn has_diffoscope() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join("diffoscope").is_file())
}

/// What came of building derivations again once.
pub fn describe_outcomes(session: &Session, outcomes: &[RebuildOutcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        let (info, label, output) = (&outcome.info, &outcome.label, &outcome.output);
        let path = session.shown(&info.path);
        let Some(difference) = &outcome.difference else {
            let registered = info.nar_sha256;
            text.push_str(&format!(
                "reproducible: {label}:{output} {path} {registered}\n"
            ));
            continue;
        };
        text.push_str(&format!(
            "differs: {label}:{output} {path}\n  expected the SHA-256 {}, saw {}\n",
            info.nar_sha256, difference.found
        ));
        text.push_str(&match &difference.files {
            Ok(files) => compare::describe(files),
            Err(reason) => format!("  {reason}\n"),
        });
        if let Some(kept) = &difference.kept {
            text.push_str(&format!(
                "  both are there until `bootstrap gc`: {} {}\n",
                session.directories().physical(&info.path).display(),
                kept.display()
            ));
        }
    }
    let same = outcomes
        .iter()
        .filter(|outcome| outcome.difference.is_none());
    text.push_str(&format!(
        "{} of {} the same\n",
        same.count(),
        counted(outcomes.len(), "output")
    ));
    text
}
