// SPDX-License-Identifier: GPL-3.0-or-later
//! `roots`: what keeps items alive.

use std::collections::BTreeMap;

use serde::Serialize;

use super::context::{Context, print, print_json};
use super::failure::Failure;
use crate::engine::generation;
use crate::show::progress::size::counted;
use crate::store::roots::RootKind;

#[derive(Debug, Serialize)]
struct ShownRoot {
    kind: &'static str,
    link: String,
    path: String,
    /// `NAME/NUMBER` of the generation that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<String>,
}

/// `bootstrap roots`: a line for each generation, and for each other root.
pub fn roots(context: &Context) -> Result<(), Failure> {
    let roots = context.session.roots()?;
    let shown = roots.iter().map(|root| ShownRoot {
        kind: match root.kind {
            RootKind::Named(_) => "bootstrap",
            RootKind::Direct => "direct",
            RootKind::Indirect => "indirect",
            RootKind::Running(_) => "running",
        },
        link: root.link.display().to_string(),
        path: context.shown(&root.path),
        generation: match &root.kind {
            RootKind::Named(name) => {
                generation(name).map(|(name, number)| format!("{name}/{number}"))
            }
            _ => None,
        },
    });
    let shown: Vec<ShownRoot> = shown.collect();
    if context.options.json {
        return print_json(&shown);
    }
    if shown.is_empty() {
        context.note("nothing is kept alive: `bootstrap gc` would remove everything; `bootstrap all` and `bootstrap build` leave roots");
    }
    print(&describe(&shown))
}

fn describe(roots: &[ShownRoot]) -> String {
    let mut generations: BTreeMap<&str, usize> = BTreeMap::new();
    let mut others = String::new();
    for root in roots {
        match &root.generation {
            Some(generation) => *generations.entry(generation).or_default() += 1,
            None => others.push_str(&format!("{} -> {}\n", root.link, root.path)),
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
        ];
        assert_eq!(
            describe(&roots),
            "all/1: 2 items\nall/2: 1 item\n/home/me/result -> /gnu/store/x\n"
        );
    }
}
