// SPDX-License-Identifier: GPL-3.0-or-later
//! `lock`, and `verify --lock`.

use std::path::Path;

use crate::cli::context::Context;
use crate::cli::failure::CommandFailure;
use crate::engine::LockComparison;
use crate::formats::count::counted;
use crate::verify::lock_file::{LockFinding, LockedOutput};

/// `bootstrap lock [FILE]`.
pub fn write(context: &Context, file: &Path) -> Result<(), CommandFailure> {
    let written = context.session.write_lock(file)?;
    context.note(&format!(
        "{}: {} of the seed {}, {} of them from this store",
        file.display(),
        counted(written.all, "output"),
        written.seed,
        written.here
    ));
    Ok(())
}

/// How the store compares with the lock `file`.
pub fn describe(file: &Path, comparison: &LockComparison) -> String {
    let Some(compared) = &comparison.compared else {
        let (seed, digest) = &comparison.seed;
        return format!(
            "{}: nothing is recorded for the seed {seed} {digest}; there is for: {}\n",
            file.display(),
            match comparison.known.is_empty() {
                true => "none".to_owned(),
                false => comparison.known.join(", "),
            }
        );
    };
    let mut text = String::new();
    for compared in compared {
        let name = format!("{}:{}", compared.label, compared.output);
        match &compared.finding {
            LockFinding::Differs { recorded, found } => {
                let label = &compared.label;
                text.push_str(&describe_difference(label, &name, recorded, found));
            }
            LockFinding::OtherDerivation { .. } => {
                text.push_str(&format!("other derivation than in the lock: {name}\n"));
            }
            LockFinding::Same | LockFinding::NotRecorded | LockFinding::NotBuilt => {}
        }
    }
    let counts = comparison.counts;
    let counts = [
        (counts.different, "different"),
        (counts.not_built, "not built here"),
        (counts.not_recorded, "not recorded"),
        (counts.other_derivation, "of another derivation"),
        (counts.same, "the same"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let counts = match counts.is_empty() {
        true => "nothing to compare".to_owned(),
        false => counts.join(", "),
    };
    text.push_str(&format!("{}: {counts}\n", file.display()));
    text
}

/// What the lock has and what the store has of the output `name` of `label`, in words.
fn describe_difference(
    label: &str,
    name: &str,
    recorded: &LockedOutput,
    found: &LockedOutput,
) -> String {
    let mut text = format!("differs from the lock: {name} {}\n", found.path);
    for (side, output) in [("lock", recorded), ("store", found)] {
        let LockedOutput { sha256, size, .. } = output;
        let size = counted(*size, "byte");
        text.push_str(&format!("  {side}: {sha256}, {size}\n"));
    }
    for reference in recorded.references.difference(&found.references) {
        text.push_str(&format!("  only in the lock: a reference to {reference}\n"));
    }
    for reference in found.references.difference(&recorded.references) {
        text.push_str(&format!(
            "  only in the store: a reference to {reference}\n"
        ));
    }
    text.push_str(&format!(
        "  see where with `bootstrap verify --rebuild {label}`\n"
    ));
    text
}
