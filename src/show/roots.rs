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
    /// The number of the running process that uses the item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
}

/// A line for each generation, for each other root that is a link, and for each running process.
pub fn describe(roots: &[ShownRoot]) -> String {
    let mut generations: BTreeMap<String, usize> = BTreeMap::new();
    let mut processes: BTreeMap<u32, usize> = BTreeMap::new();
    let mut links = String::new();
    for root in roots {
        match (&root.generation, root.process) {
            (Some(generation), _) => *generations.entry(visible(generation)).or_default() += 1,
            (None, Some(process)) => *processes.entry(process).or_default() += 1,
            (None, None) => {
                links.push_str(&format!("{} -> {}\n", visible(&root.link), root.path));
            }
        }
    }
    let generations = generations
        .into_iter()
        .map(|(generation, items)| format!("{generation}: {}\n", counted(items, "item")));
    let processes = processes
        .into_iter()
        .map(|(process, items)| format!("process {process}: {}\n", counted(items, "item")));
    generations.collect::<String>() + &links + &processes.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_one_line_and_a_process_and_any_link() {
        let of_process = |process| ShownRoot {
            kind: "running",
            link: format!("/proc/{process}"),
            path: "/gnu/store/x".to_owned(),
            generation: None,
            process: Some(process),
        };
        let root = |link: &str, generation: Option<&str>| ShownRoot {
            process: None,
            kind: "bootstrap",
            link: link.to_owned(),
            path: "/gnu/store/x".to_owned(),
            generation: generation.map(ToOwned::to_owned),
        };
        let roots = [
            root("/var/guix/gcroots/bootstrap/all/1/sed/out", Some("all/1")),
            root("/var/guix/gcroots/bootstrap/all/1/libc/out", Some("all/1")),
            root("/var/guix/gcroots/bootstrap/all/2/sed/out", Some("all/2")),
            of_process(31039),
            of_process(99),
            of_process(31039),
            root("/home/me/result", None),
            root("/home/me/\u{1b}[2J\nall/3: 1 item", None),
        ];
        assert_eq!(
            describe(&roots),
            "all/1: 2 items\nall/2: 1 item\n/home/me/result -> /gnu/store/x\n\
             /home/me/\\u{1b}[2J\\nall/3: 1 item -> /gnu/store/x\nprocess 99: 1 item\nprocess 31039: 2 items\n"
        );
    }
}
