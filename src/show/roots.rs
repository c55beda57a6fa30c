// SPDX-License-Identifier: GPL-3.0-or-later
//! What keeps items alive, in words.

use std::collections::BTreeMap;

use serde::Serialize;

use super::progress::size::counted;
use crate::formats::visible::visible;

/// A root, for users and other programs.
#[derive(Debug, Serialize)]
pub struct ShownRoot {
    /// Who made it.
    pub kind: &'static str,
    /// Where it is.
    pub link: String,
    /// What it keeps.
    pub path: String,
    /// `NAME/NUMBER` of the generation that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
}

/// A line for each generation, and for each other root.
pub fn describe(roots: &[ShownRoot]) -> String {
    let mut generations: BTreeMap<String, usize> = BTreeMap::new();
    let mut others = String::new();
    for root in roots {
        match &root.generation {
            Some(generation) => *generations.entry(visible(generation)).or_default() += 1,
            None => others.push_str(&format!("{} -> {}\n", visible(&root.link), root.path)),
        }
    }
    let lines = generations.into_iter();
    let lines =
        lines.map(|(generation, items)| format!("{generation}: {}\n", counted(items, "item")));
    lines.collect::<String>() + &others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_one_line_and_any_other_root_too() {
        let root = |link: &str, generation: Option<&str>| ShownRoot {
            kind: "bootstrap",
            link: link.to_owned(),
            path: "/gnu/store/x".to_owned(),
            generation: generation.map(ToOwned::to_owned),
        };
        let roots = [
            root("/var/guix/gcroots/bootstrap/all/1/sed/out", Some("all/1")),
            root("/var/guix/gcroots/bootstrap/all/1/libc/out", Some("all/1")),
            root("/var/guix/gcroots/bootstrap/all/2/sed/out", Some("all/2")),
            root("/home/me/result", None),
            root("/home/me/\u{1b}[2J\nall/3: 1 item", None),
        ];
        assert_eq!(
            describe(&roots),
            "all/1: 2 items\nall/2: 1 item\n/home/me/result -> /gnu/store/x\n\
             /home/me/\\u{1b}[2J\\nall/3: 1 item -> /gnu/store/x\n"
        );
    }
}
