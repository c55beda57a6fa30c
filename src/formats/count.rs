// SPDX-License-Identifier: GPL-3.0-or-later
//! Counts as text for users.

use std::fmt::Display;

/// `count` with its noun: `1 item`, `2 items`.
pub fn counted(count: impl Copy + Display + TryInto<u64>, noun: &str) -> String {
    match count.try_into().is_ok_and(|count| count == 1) {
        true => format!("1 {noun}"),
        false => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_singular() {
        let texts = [0_usize, 1, 2].map(|count| counted(count, "file"));
        assert_eq!(texts, ["0 files", "1 file", "2 files"]);
    }
}
