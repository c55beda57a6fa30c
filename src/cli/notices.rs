//! The engine's notices, in words.

use super::{explain, repair};
use crate::engine::Notice;

/// The lines that say what `notice` is about.
pub(super) fn describe(notice: &Notice) -> Vec<String> {
    match notice {
        Notice::OutdatedLock { seed, file } => vec![format!(
            "seed {seed}: {} replaces an earlier lock and is not used; `bootstrap seed update {seed}` makes it again, \
             `bootstrap seed reset {seed}` removes it",
            file.display()
        )],
        Notice::BuiltAgain(again) => again.iter().map(explain::in_short).collect(),
        Notice::Repaired(step) => vec![repair::describe(step)],
        Notice::ServerLeft { problem } => vec![format!(
            "{problem}; going on without this server: what it does not give is built"
        )],
    }
}
