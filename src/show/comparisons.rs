// SPDX-License-Identifier: GPL-3.0-or-later
//! Comparisons in words: of two documents, and of outputs made in two ways.

use std::path::Path;

use crate::engine::{Pair, PairVerdict, Ways, word};
use crate::formats::count::{agreeing, counted};
use crate::formats::visible::visible;
use crate::verify::attestation::Comparison;
use crate::verify::compare;

/// Two documents, called `files` and signed by `keys`, compared.
pub fn documents(comparison: &Comparison, files: [&Path; 2], keys: &[Option<String>; 2]) -> String {
    let mut text = String::new();
    for (file, key) in files.iter().zip(keys) {
        let signed = match key {
            Some(key) => format!("signed by the Ed25519 key {key}"),
            None => "not signed".to_owned(),
        };
        text.push_str(&format!("{}: {signed}\n", file.display()));
    }
    for line in &comparison.origin {
        text.push_str(&format!("other origin: {}\n", visible(line)));
    }
    for line in &comparison.impure {
        text.push_str(&format!("impure: {}\n", visible(line)));
    }
    for different in &comparison.different {
        text.push_str(&format!(
            "differs: {} {}\n  {}\n  {}\n",
            visible(&different.output),
            different.path,
            different.first,
            different.second
        ));
    }
    for (names, word) in [
        (&comparison.bad, "not good"),
        (&comparison.damage, "damage"),
        (&comparison.incomparable, "other derivation"),
        (&comparison.only_first, "in the first only"),
        (&comparison.only_second, "in the second only"),
    ] {
        for name in names {
            text.push_str(&format!("{word}: {}\n", visible(name)));
        }
    }
    text.push_str(&format!(
        "{} the same, {} {}, {} cannot be compared\n",
        counted(comparison.same.len(), "output"),
        comparison.different.len(),
        agreeing(comparison.different.len(), "differs", "differ"),
        comparison.incomparable.len() + comparison.only_first.len() + comparison.only_second.len()
    ));
    text
}

/// An output that was made in two ways.
pub fn pair(pair: &Pair, ways: &Ways) -> String {
    let Pair {
        name,
        paths: [first, second],
        verdict,
    } = pair;
    match verdict {
        PairVerdict::Same => format!("the same: {name}\n"),
        PairVerdict::Differs(files) => format!(
            "differs: {name}\n  first, {}: {first}\n  second, {}: {second}\n{}",
            ways.first,
            ways.second,
            compare::describe(files)
        ),
        PairVerdict::Damaged { side, seen, detail } => {
            let way = [&ways.first, &ways.second][*side];
            let detail = match detail.as_str() {
                "" => String::new(),
                detail => format!(": {detail}"),
            };
            format!(
                "not compared: {name}\n  {}, {way}: {}{detail}\n",
                pair.paths[*side],
                word(*seen)
            )
        }
    }
}
