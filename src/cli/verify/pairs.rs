// SPDX-License-Identifier: GPL-3.0-or-later
//! `verify --fixpoint` and `verify --diverse`: outputs made in two ways, and how they compare.

use std::collections::BTreeMap;

use super::document;
use crate::cli::context::{Context, print};
use crate::cli::failure::{CommandFailure, Status};
use crate::engine::{EngineError, PairReport, PairVerdict};
use crate::formats::keys::SecretKey;
use crate::show::comparisons;
use crate::show::progress::size::counted;

/// Prints how the outputs of two ways compare, and fails where they do not agree.
pub(super) fn report(
    context: &Context,
    compared: Result<PairReport, EngineError>,
    key: Option<&SecretKey>,
) -> Result<(), CommandFailure> {
    let report = compared.map_err(|error| context.failure(error))?;
    let ways = &report.ways;
    let mut text = String::new();
    // By what is said of one output and of several.
    let mut counts: BTreeMap<[&str; 2], usize> = BTreeMap::new();
    for pair in &report.pairs {
        text.push_str(&comparisons::pair(pair, ways));
        let kind = match pair.verdict {
            PairVerdict::Same => continue,
            PairVerdict::Differs(_) => ["differs", "differ"],
            PairVerdict::Damaged { .. } => [
                "is not as it was registered",
                "are not as they were registered",
            ],
        };
        *counts.entry(kind).or_default() += 1;
    }
    for (names, way) in report.alone.iter().zip([&ways.first, &ways.second]) {
        for name in names {
            let kind = ["was built on one side only", "were built on one side only"];
            *counts.entry(kind).or_default() += 1;
            text.push_str(&format!("only one: {name}, {way}\n"));
        }
    }
    let all = report.all();
    if context.options.json || key.is_some() {
        document::put_out(&report.attestation, key)?;
    } else {
        text.push_str(&format!(
            "{} of {} the same, but for store hashes\n",
            all - counts.values().sum::<usize>(),
            counted(all, "output")
        ));
        print(&text)?;
    }
    if all == 0 {
        return Err(CommandFailure::new(
            Status::Hashes,
            format!(
                "there is nothing to compare: no output was made both {} and {}",
                ways.first, ways.second
            ),
            "",
        ));
    }
    if counts.is_empty() {
        return Ok(());
    }
    let counts = counts.iter();
    let counts: Vec<String> = counts
        .map(|([one, several], number)| {
            let verb = if *number == 1 { one } else { several };
            format!("{} {verb}", counted(*number, "output"))
        })
        .collect();
    Err(CommandFailure::new(
        Status::Hashes,
        format!(
            "{}, those {} and those {}",
            counts.join(", "),
            ways.first,
            ways.second
        ),
        "",
    ))
}
