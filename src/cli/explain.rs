//! `explain`, and what `build` says before it builds: why a package is built again.
//!
//! The derivation that would be built now is compared with the one that was built last, and where an input has changed,
//! that one with its own predecessor, down to the changes that follow from nothing else.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::context::{Context, Planned, print, print_json};
use super::failure::Failure;
use super::look;
use crate::builder::history::History;
use crate::formats::derivation::difference::{self, Change};
use crate::formats::derivation::{Derivation, aterm};
use crate::formats::store_path::StorePath;
use crate::road::plan::Node;

/// How much of a value is shown, in characters.
const SHOWN: usize = 160;

/// How many reasons `build` names for a package.
const REASONS: usize = 3;

/// A change that follows from nothing else, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Reason {
    /// The package, or source, that has changed.
    of: String,
    /// Which of its inputs, variables … and how.
    change: String,
    /// The same in a word or two.
    #[serde(skip)]
    short: String,
}

#[derive(Debug, Serialize)]
struct Explained {
    package: String,
    derivation: String,
    /// Whether all its outputs are valid.
    built: bool,
    /// Whether this very derivation was built before: its outputs were removed since.
    gone: bool,
    /// The derivation that was built before.
    previous: Option<String>,
    reasons: Vec<Reason>,
}

/// `bootstrap explain PKG`.
pub fn explain(context: &Context, name: &str) -> Result<(), Failure> {
    let planned = context.plan()?;
    let store = context.store_to_read()?;
    let (node, _) = look::package(&planned, name)?;
    let outputs: Vec<&StorePath> = node.output_paths().map(|(_, path)| path).collect();
    let built = store.valid_among(outputs.iter().copied())?.len() == outputs.len();
    let explainer = Explainer::new(context, &planned);
    let gone = !built && explainer.was_built(node);
    let previous = match gone {
        true => None,
        false => explainer.previous(node),
    };
    let explained = Explained {
        package: node.label.clone(),
        derivation: context.shown(&node.derivation_path),
        built,
        gone,
        previous: previous.as_ref().map(|(path, _)| context.shown(path)),
        reasons: previous.map_or_else(Vec::new, |(path, _)| {
            explainer.reasons(&node.label, &path, &node.derivation_path)
        }),
    };
    if context.options.json {
        return print_json(&explained);
    }
    print(&describe(&explained))
}

fn describe(explained: &Explained) -> String {
    let Explained {
        package, reasons, ..
    } = explained;
    if explained.gone {
        return format!(
            "{package} would be built again: it was built like this before, and its outputs are not in the store any \
             more\n"
        );
    }
    let mut text = match (&explained.previous, explained.built) {
        (None, true) => return format!("{package} is built, and no other build of it is known\n"),
        (None, false) => {
            return format!(
                "{package} would be built, for the first time as far as is known here: {}\n",
                explained.derivation
            );
        }
        (Some(previous), true) => format!(
            "{package} is built: nothing is to be done\n  what made it another than {previous}:\n"
        ),
        (Some(previous), false) => {
            format!("{package} would be built again\n  what makes it another than {previous}:\n")
        }
    };
    for reason in reasons {
        text.push_str(&format!("  {}: {}\n", reason.of, reason.change));
    }
    if reasons.is_empty() {
        text.push_str("  nothing but store paths of inputs whose derivations are gone\n");
    }
    text
}

/// Why the packages called `labels` are built again, in one line each; nothing of those that were never built.
pub(super) fn in_short(context: &Context, planned: &Planned, labels: &[String]) -> Vec<String> {
    let explainer = Explainer::new(context, planned);
    labels
        .iter()
        .filter_map(|label| {
            let node = planned.plan.get(label)?;
            node.stage?;
            if explainer.was_built(node) {
                return Some(format!(
                    "{label}: built again, its outputs are not in the store any more"
                ));
            }
            let (previous, _) = explainer.previous(node)?;
            let reasons = explainer.reasons(&node.label, &previous, &node.derivation_path);
            let mut short: Vec<String> = reasons
                .iter()
                .map(|reason| match reason.of == node.label {
                    true => reason.short.clone(),
                    false => format!("{} ({})", reason.of, reason.short),
                })
                .collect();
            short.dedup();
            if short.len() > REASONS {
                let more = short.len() - REASONS;
                short.truncate(REASONS);
                short.push(format!("{more} more"));
            }
            Some(match short.is_empty() {
                true => format!(
                    "{}: built again because of something whose derivation is gone",
                    node.label
                ),
                false => format!(
                    "{}: built again because of {}",
                    node.label,
                    short.join(", ")
                ),
            })
        })
        .collect()
}

struct Explainer<'c> {
    context: &'c Context,
    history: History,
    planned: BTreeMap<&'c StorePath, &'c Node>,
    /// Derivations that were read, `None` where they are gone.
    read: RefCell<BTreeMap<StorePath, Option<Derivation>>>,
}

impl<'c> Explainer<'c> {
    fn new(context: &'c Context, planned: &'c Planned) -> Self {
        let nodes = planned.plan.nodes().iter();
        Self {
            context,
            history: History::new(&context.directories.state),
            planned: nodes.map(|node| (&node.derivation_path, node)).collect(),
            read: RefCell::default(),
        }
    }

    /// Whether what was built last of a package is its present derivation.
    fn was_built(&self, node: &Node) -> bool {
        let built = self.history.derivations(&node.label);
        built.first().map(String::as_str) == Some(node.derivation_path.base_name())
    }

    /// The derivation of the same package that was built last, and is not the present one.
    fn previous(&self, node: &Node) -> Option<(StorePath, Derivation)> {
        let built = self.history.derivations(&node.label).into_iter();
        built
            .filter_map(|name| StorePath::from_base_name(&name).ok())
            .filter(|path| *path != node.derivation_path)
            .find_map(|path| Some((path.clone(), self.derivation(&path)?)))
    }

    /// The derivation at `path`: from the plan, or from the store, where its file stays as long as anything built from
    /// it does.
    fn derivation(&self, path: &StorePath) -> Option<Derivation> {
        if let Some(node) = self.planned.get(path) {
            return Some(node.derivation.clone());
        }
        if let Some(read) = self.read.borrow().get(path) {
            return read.clone();
        }
        let directories = &self.context.directories;
        let bytes = std::fs::read(directories.physical(path)).ok();
        let derivation = bytes.and_then(|bytes| aterm::parse(&directories.store_dir, &bytes).ok());
        self.read
            .borrow_mut()
            .insert(path.clone(), derivation.clone());
        derivation
    }

    /// The changes between two derivations of `label` that follow from nothing else.
    fn reasons(&self, label: &str, old: &StorePath, new: &StorePath) -> Vec<Reason> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        let mut open = vec![(label.to_owned(), old.clone(), new.clone())];
        while let Some((of, old, new)) = open.pop() {
            if !seen.insert((old.clone(), new.clone())) {
                continue;
            }
            let (Some(before), Some(now)) = (self.derivation(&old), self.derivation(&new)) else {
                found.push(Reason {
                    of,
                    change: format!("was {}, which is gone", self.context.shown(&old)),
                    short: "changed".to_owned(),
                });
                continue;
            };
            let changes = difference::changes(
                &self.context.directories.store_dir,
                &before,
                &now,
                &|path| self.derivation(path),
            );
            for change in changes {
                match change {
                    Change::Input { name, old, new } => {
                        let name = self.label(&new).unwrap_or(name);
                        open.push((name, old, new));
                    }
                    change => found.push(reason(&of, &change)),
                }
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// What the plan calls the derivation at `path`.
    fn label(&self, path: &StorePath) -> Option<String> {
        self.planned.get(path).map(|node| node.label.clone())
    }
}

/// `change` in words.
fn reason(of: &str, change: &Change) -> Reason {
    let from_to = |old: &str, new: &str| {
        let (old, new) = trimmed(old, new);
        format!("{old:?} became {new:?}")
    };
    let words = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
    let (change, short) = match change {
        // Followed, not told.
        Change::Input { name, .. } => (format!("the input {name} changed"), name.clone()),
        Change::InputSet { name, added } => {
            let verb = if *added {
                "is a new input"
            } else {
                "is no input any more"
            };
            (format!("{name} {verb}"), format!("input {name}"))
        }
        Change::InputOutputs { name, old, new } => (
            format!("of the input {name}, {}", from_to(&words(old), &words(new))),
            format!("input {name}"),
        ),
        Change::Source { name } => (format!("{name} has other contents"), name.clone()),
        Change::SourceSet { name, added } => {
            let verb = if *added { "came" } else { "went" };
            (format!("{name} {verb}"), name.clone())
        }
        Change::Variable { name, old, new } => (
            match (old, new) {
                (Some(old), Some(new)) => format!("{name}: {}", from_to(old, new)),
                (None, Some(new)) => format!("{name} is set: {:?}", trimmed("", new).1),
                (Some(old), _) => format!("{name} is not set any more: {:?}", trimmed(old, "").0),
                (None, None) => name.clone(),
            },
            name.clone(),
        ),
        Change::Builder { old, new } => (
            format!("the builder: {}", from_to(old, new)),
            "builder".to_owned(),
        ),
        Change::System { old, new } => (
            format!("the system: {}", from_to(old, new)),
            "system".to_owned(),
        ),
        Change::Outputs { old, new } => (
            format!("the outputs: {}", from_to(&words(old), &words(new))),
            "outputs".to_owned(),
        ),
    };
    Reason {
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
