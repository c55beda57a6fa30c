// SPDX-License-Identifier: GPL-3.0-or-later
//! Why packages are built again, in words.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::engine::{BuiltAgain, ChangeCause, Reason, Why};
use crate::formats::count::counted;
use crate::formats::derivation::difference::DerivationChange;

/// How much of a value is shown, in characters.
const SHOWN: usize = 160;

/// How many reasons `build` names for a package.
const REASONS: usize = 3;

/// Of how many packages `build` gives reasons. What is built first is what has changed; most of the rest follows.
const PACKAGES: usize = 6;

/// A reason in words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Words {
    /// The package, or source, that has changed.
    pub of: String,
    /// Which of its inputs, variables and so on, and how.
    pub change: String,
    /// The same in a word or two.
    #[serde(skip)]
    pub short: String,
}

/// Why packages are about to be built again, a line each; of many, the first ones.
pub fn in_short(again: &[BuiltAgain]) -> Vec<String> {
    let shown = match again.len() {
        // A line that says `1 more` is as long as that of the package.
        count if count <= PACKAGES + 1 => count,
        _ => PACKAGES,
    };
    let mut lines: Vec<String> = again[..shown].iter().map(reason_in_short).collect();
    if shown < again.len() {
        let more = counted(again.len() - shown, "more package");
        lines.push(format!(
            "{more} are built again; `bootstrap explain PKG` gives the reasons"
        ));
    }
    lines
}

/// Why a package is about to be built again, in one line.
fn reason_in_short(again: &BuiltAgain) -> String {
    let package = &again.package;
    let Why::Changed(reasons) = &again.why else {
        return format!("{package}: built again, since its outputs are no longer in the store");
    };
    let reasons = words(reasons).into_iter();
    let mut short: Vec<String> = reasons
        .map(|reason| match reason.of == *package {
            true => reason.short,
            false => format!("{} ({})", reason.of, reason.short),
        })
        .collect();
    short.dedup();
    if short.len() > REASONS {
        let more = short.len() - REASONS;
        short.truncate(REASONS);
        short.push(format!("{more} more"));
    }
    match short.is_empty() {
        true => format!("{package}: built again because of something whose derivation is gone"),
        false => format!("{package}: built again because of {}", short.join(", ")),
    }
}

/// `reasons` in words, sorted, each once.
pub fn words(reasons: &[Reason]) -> Vec<Words> {
    let words = reasons.iter().map(|reason| match &reason.cause {
        ChangeCause::Change(change) => describe_change(&reason.of, change),
        ChangeCause::Gone(path) => Words {
            of: reason.of.clone(),
            change: format!("was {path}, which is gone"),
            short: "changed".to_owned(),
        },
    });
    let words: BTreeSet<Words> = words.collect();
    words.into_iter().collect()
}

/// `change` in words.
fn describe_change(of: &str, change: &DerivationChange) -> Words {
    let from_to = |old: &str, new: &str| {
        let (old, new) = trimmed(old, new);
        format!("{old:?} became {new:?}")
    };
    let words = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
    let (change, short) = match change {
        // Followed, not shown.
        DerivationChange::Input { name, .. } => (format!("the input {name} changed"), name.clone()),
        DerivationChange::InputSet { name, added } => {
            let verb = if *added {
                "is a new input"
            } else {
                "is no longer an input"
            };
            (format!("{name} {verb}"), format!("input {name}"))
        }
        DerivationChange::InputOutputs { name, old, new } => (
            format!("of the input {name}, {}", from_to(&words(old), &words(new))),
            format!("input {name}"),
        ),
        DerivationChange::Source { name } => (format!("{name} has other contents"), name.clone()),
        DerivationChange::SourceSet { name, added } => {
            let verb = if *added { "came" } else { "went" };
            (format!("{name} {verb}"), name.clone())
        }
        DerivationChange::Variable { name, old, new } => (
            match (old, new) {
                (Some(old), Some(new)) => format!("{name}: {}", from_to(old, new)),
                (None, Some(new)) => format!("{name} is set: {:?}", trimmed("", new).1),
                (Some(old), _) => format!("{name} is no longer set: {:?}", trimmed(old, "").0),
                (None, None) => name.clone(),
            },
            name.clone(),
        ),
        DerivationChange::Builder { old, new } => (
            format!("the builder: {}", from_to(old, new)),
            "builder".to_owned(),
        ),
        DerivationChange::System { old, new } => (
            format!("the system: {}", from_to(old, new)),
            "system".to_owned(),
        ),
        DerivationChange::Outputs { old, new } => (
            format!("the outputs: {}", from_to(&words(old), &words(new))),
            "outputs".to_owned(),
        ),
    };
    Words {
        of: of.to_owned(),
        change,
        short,
    }
}

/// Two values without what they have in common, where they are too long to be shown: whole words around it stay.
fn trimmed(old: &str, new: &str) -> (String, String) {
    if old.chars().count() <= SHOWN && new.chars().count() <= SHOWN {
        return (old.to_owned(), new.to_owned());
    }
    let words = |text: &str| {
        text.split(' ')
            .map(ToOwned::to_owned)
            .collect::<Vec<String>>()
    };
    let (old, new) = (words(old), words(new));
    let start = old
        .iter()
        .zip(&new)
        .take_while(|(one, other)| one == other)
        .count();
    let left = old.len().min(new.len()) - start;
    let end = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take(left)
        .take_while(|(one, other)| one == other)
        .count();
    let cut = |words: &[String]| {
        let middle = words[start..words.len() - end].join(" ");
        let mut text: String = middle.chars().take(SHOWN).collect();
        if text.len() < middle.len() || end > 0 {
            text.push('…');
        }
        match start {
            0 => text,
            _ => format!("…{text}"),
        }
    };
    (cut(&old), cut(&new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_packages_the_first_are_named() {
        let again = |count: usize| {
            let names = (0..count).map(|number| BuiltAgain {
                package: format!("p{number}"),
                why: Why::Removed,
            });
            in_short(&names.collect::<Vec<_>>())
        };
        assert_eq!(again(0).len(), 0);
        assert_eq!(again(7).len(), 7);
        let lines = again(37);
        assert_eq!(lines.len(), 7);
        assert!(lines[5].starts_with("p5: built again"), "{lines:?}");
        assert_eq!(
            lines[6],
            "31 more packages are built again; `bootstrap explain PKG` gives the reasons"
        );
    }

    #[test]
    fn long_values_are_shown_where_they_differ() {
        let long = |flag: &str| {
            format!(
                "{} {flag} {}",
                "--a ".repeat(60).trim(),
                "--z ".repeat(60).trim()
            )
        };
        assert_eq!(
            trimmed(&long("--old"), &long("--new")),
            ("…--old…".to_owned(), "…--new…".to_owned())
        );
        assert_eq!(trimmed("a", "b"), ("a".to_owned(), "b".to_owned()));
        let (old, new) = trimmed(&long(""), "");
        assert!(old.chars().count() <= SHOWN + 2 && new.is_empty());
    }
}
