// SPDX-License-Identifier: GPL-3.0-or-later
//! The engine's notices, in words.

use crate::engine::{Notice, Repaired};
use crate::show::reasons;

/// The lines that say what `notice` is about.
pub(super) fn describe(notice: &Notice) -> Vec<String> {
    match notice {
        Notice::OutdatedLock { seed, file } => vec![format!(
            "seed {seed}: {} replaces an earlier lock and is not used; `bootstrap seed update {seed}` makes it again, \
             `bootstrap seed reset {seed}` removes it",
            file.display()
        )],
        Notice::BuiltAgain(again) => reasons::in_short(again),
        Notice::Repaired(step) => repaired(step).lines().map(str::to_owned).collect(),
        Notice::ServerProblem { problem, is_left } => vec![match is_left {
            true => {
                format!("{problem}; going on without this server: missing items are built")
            }
            false => format!("{problem}; what this server does not give is built"),
        }],
    }
}

/// One step of a repair.
fn repaired(step: &Repaired) -> String {
    match step {
        Repaired::Metadata(path) => format!("{path}: times, modes and owners repaired"),
        Repaired::Record(path) => format!("{path}: its record repaired"),
        Repaired::Replaced {
            path,
            kept: Some(kept),
        } => format!("{path}: repaired; the damaged copy is {}", kept.display()),
        Repaired::Replaced { path, kept: None } => format!("{path}: put back"),
        Repaired::Rehashed {
            path,
            recorded,
            found,
        } => format!("{path}: corrected the recorded SHA-256 from {recorded} to {found}"),
        Repaired::NotBuilt { label, because } => {
            format!("{label}: not built again, since {because}, which it is built with, is damaged")
        }
        Repaired::Refused {
            path,
            recorded,
            found,
            kept,
        } => format!(
            "{path}: expected the recorded SHA-256 {recorded}, the build gave {found}: the record is damaged too, or the \
             build is not reproducible. The item is unchanged, the new output is {}\n\
             hint: compare with a lock (`bootstrap verify --lock`); once nothing keeps the item (`bootstrap roots`), \
             `bootstrap gc` removes it, and it can be built again",
            kept.display()
        ),
    }
}
