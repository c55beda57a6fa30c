// SPDX-License-Identifier: GPL-3.0-or-later
//! Counts as text for users.

use std::fmt::Display;

/// `count` with its noun: `1 item`, `2 items`.
pub fn counted(count: impl Copy + Display + TryInto<u64>, noun: &str) -> String {
    format!("{count} {noun}{}", agreeing(count, "", "s"))
}

/// `one` where `count` is 1, `more` otherwise: for verbs and pronouns that follow a count.
pub fn agreeing(count: impl TryInto<u64>, one: &'static str, more: &'static str) -> &'static str {
    match count.try_into() {
        Ok(1) => one,
        _ => more,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_singular() {
        let texts = [0_usize, 1, 2].map(|count| counted(count, "file"));
        assert_eq!(texts, ["0 files", "1 file", "2 files"]);
        let verbs = [0_u64, 1, 2].map(|count| agreeing(count, "differs", "differ"));
        assert_eq!(verbs, ["differ", "differs", "differ"]);
    }
}
