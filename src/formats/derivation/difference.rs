// SPDX-License-Identifier: GPL-3.0-or-later
//! What makes one derivation another: the changes themselves, without all that merely follows from them.
//!
//! A derivation names its inputs' paths in many places. Where an input has changed, every mention of it has, and so
//! have the derivation's own outputs; those are consequences. So inputs of the same kind are paired first, the old
//! one's paths are replaced by the new one's, and only what differs after that is a change.

use std::collections::{BTreeMap, BTreeSet};

use bstr::ByteSlice;

use super::Derivation;
use crate::formats::store_path::{StoreDir, StorePath};

/// One way in which a derivation differs from an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DerivationChange {
    /// An input derivation became another.
    Input {
        /// Its name in messages: `gcc`, `stage0/gcc`, `sed-4.9.tar.xz`.
        name: String,
        /// The earlier one.
        old: StorePath,
        /// The present one.
        new: StorePath,
    },
    /// An input derivation came or went.
    InputSet {
        /// Its name in messages.
        name: String,
        /// Whether it came.
        added: bool,
    },
    /// Other outputs of an input are used.
    InputOutputs {
        /// Its name in messages.
        name: String,
        /// Those used before.
        old: BTreeSet<String>,
        /// Those used now.
        new: BTreeSet<String>,
    },
    /// A store item that is used as it is (phases, a patch) has other contents.
    Source {
        /// Its name.
        name: String,
    },
    /// One came or went.
    SourceSet {
        /// Its name.
        name: String,
        /// Whether it came.
        added: bool,
    },
    /// A variable of the environment; `None` is one that is not set.
    Variable {
        /// Its name.
        name: String,
        /// The earlier value.
        old: Option<String>,
        /// The present value.
        new: Option<String>,
    },
    /// The builder and its arguments.
    Builder {
        /// The earlier command.
        old: String,
        /// The present command.
        new: String,
    },
    /// The system.
    System {
        /// The earlier one.
        old: String,
        /// The present one.
        new: String,
    },
    /// The outputs.
    Outputs {
        /// The earlier ones.
        old: BTreeSet<String>,
        /// The present ones.
        new: BTreeSet<String>,
    },
}

/// The name in messages of `derivation`, which is at `path`: stage and package for a package.
pub fn called(path: &StorePath, derivation: Option<&Derivation>) -> String {
    let variable = |name| derivation.and_then(|derivation| derivation.environment.text(name));
    match (variable("stage"), variable("pname")) {
        (Some("stage0"), Some(name)) => format!("stage0/{name}"),
        (Some(_), Some(name)) => name.to_owned(),
        _ => {
            let name = path.name();
            name.strip_suffix(".drv").unwrap_or(name).to_owned()
        }
    }
}

/// How `new` differs from `old`. `read` gives the derivation at a path, where it is known.
pub fn changes(
    store_dir: &StoreDir,
    old: &Derivation,
    new: &Derivation,
    read: &dyn Fn(&StorePath) -> Option<Derivation>,
) -> Vec<DerivationChange> {
    let mut changes = Vec::new();
    let mut renamed = Renamed {
        store_dir,
        paths: Vec::new(),
    };
    inputs(old, new, read, &mut renamed, &mut changes);
    sources(old, new, &mut renamed, &mut changes);
    for (name, output) in &new.outputs {
        let before = old.outputs.get(name);
        renamed.add(
            before.and_then(|output| output.path.as_ref()),
            output.path.as_ref(),
        );
    }
    let names = |derivation: &Derivation| derivation.outputs.keys().cloned().collect();
    let (old_outputs, new_outputs): (BTreeSet<String>, BTreeSet<String>) = (names(old), names(new));
    if old_outputs != new_outputs {
        changes.push(DerivationChange::Outputs {
            old: old_outputs.clone(),
            new: new_outputs.clone(),
        });
    }
    if old.system != new.system {
        changes.push(DerivationChange::System {
            old: old.system.clone(),
            new: new.system.clone(),
        });
    }
    let command = |derivation: &Derivation| {
        let arguments = derivation.arguments.iter();
        let words: Vec<_> = std::iter::once(&derivation.builder)
            .chain(arguments)
            .map(|word| word.to_str_lossy())
            .collect();
        words.join(" ")
    };
    let (old_command, new_command) = (renamed.apply(&command(old)), command(new));
    if old_command != new_command {
        changes.push(DerivationChange::Builder {
            old: old_command,
            new: new_command,
        });
    }
    let variables = old.environment.keys().chain(new.environment.keys());
    for variable in variables.collect::<BTreeSet<_>>() {
        let name = variable.to_str_lossy().into_owned();
        if old_outputs.contains(&name) || new_outputs.contains(&name) {
            continue;
        }
        let value = |derivation: &Derivation| {
            let value = (*derivation.environment).get(variable)?;
            Some(value.to_str_lossy().into_owned())
        };
        let before = value(old).map(|value| renamed.apply(&value));
        let now = value(new);
        let names = |value: Option<&str>| value.map(|value| names_in(store_dir, value));
        let follows =
            name == "disallowedReferences" && names(before.as_deref()) == names(now.as_deref());
        if before != now && !follows {
            changes.push(DerivationChange::Variable {
                name,
                old: before,
                new: now,
            });
        }
    }
    changes
}

/// The names of store items in `value`, a list of paths, sorted: what it lists may itself have been rebuilt.
fn names_in(store_dir: &StoreDir, value: &str) -> Vec<String> {
    let mut names: Vec<String> = value
        .split_ascii_whitespace()
        .map(|word| match store_dir.parse(word) {
            Ok(path) => path.name().to_owned(),
            Err(_) => word.to_owned(),
        })
        .collect();
    names.sort();
    names
}

/// Old paths, and the new ones in their place.
struct Renamed<'s> {
    store_dir: &'s StoreDir,
    paths: Vec<(String, String)>,
}

impl Renamed<'_> {
    fn add(&mut self, old: Option<&StorePath>, new: Option<&StorePath>) {
        if let (Some(old), Some(new)) = (old, new)
            && old != new
        {
            let shown = |path| self.store_dir.display(path);
            self.paths.push((shown(old), shown(new)));
        }
    }

    fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (old, new) in &self.paths {
            if text.contains(old.as_str()) {
                text = text.replace(old, new);
            }
        }
        text
    }
}

fn inputs(
    old: &Derivation,
    new: &Derivation,
    read: &dyn Fn(&StorePath) -> Option<Derivation>,
    renamed: &mut Renamed<'_>,
    changes: &mut Vec<DerivationChange>,
) {
    type Inputs = BTreeMap<String, (StorePath, BTreeSet<String>, Option<Derivation>)>;
    // What both have by the same path needs no reading.
    let only = |one: &Derivation, other: &Derivation| -> Inputs {
        let inputs = one.input_derivations.iter();
        inputs
            .filter(|(path, _)| !other.input_derivations.contains_key(*path))
            .map(|(path, outputs)| {
                let derivation = read(path);
                let name = called(path, derivation.as_ref());
                (name, (path.clone(), outputs.clone(), derivation))
            })
            .collect()
    };
    let (gone, come) = (only(old, new), only(new, old));
    for (path, outputs) in &new.input_derivations {
        if let Some(before) = old.input_derivations.get(path)
            && before != outputs
        {
            changes.push(DerivationChange::InputOutputs {
                name: called(path, read(path).as_ref()),
                old: before.clone(),
                new: outputs.clone(),
            });
        }
    }
    for (name, (old_path, old_outputs, old_derivation)) in &gone {
        let Some((new_path, new_outputs, new_derivation)) = come.get(name) else {
            changes.push(DerivationChange::InputSet {
                name: name.clone(),
                added: false,
            });
            continue;
        };
        changes.push(DerivationChange::Input {
            name: name.clone(),
            old: old_path.clone(),
            new: new_path.clone(),
        });
        if old_outputs != new_outputs {
            changes.push(DerivationChange::InputOutputs {
                name: name.clone(),
                old: old_outputs.clone(),
                new: new_outputs.clone(),
            });
        }
        if let (Some(old), Some(new)) = (old_derivation, new_derivation) {
            for output in new.outputs.keys() {
                renamed.add(old.output_path(output), new.output_path(output));
            }
        }
    }
    for name in come.keys().filter(|name| !gone.contains_key(*name)) {
        changes.push(DerivationChange::InputSet {
            name: name.clone(),
            added: true,
        });
    }
}

fn sources(
    old: &Derivation,
    new: &Derivation,
    renamed: &mut Renamed<'_>,
    changes: &mut Vec<DerivationChange>,
) {
    let only = |one: &Derivation, other: &Derivation| -> BTreeMap<String, StorePath> {
        let sources = one.input_sources.difference(&other.input_sources);
        sources
            .map(|path| (path.name().to_owned(), path.clone()))
            .collect()
    };
    let (gone, come) = (only(old, new), only(new, old));
    let names: BTreeSet<&String> = gone.keys().chain(come.keys()).collect();
    for name in names {
        let (before, now) = (gone.get(name), come.get(name));
        renamed.add(before, now);
        changes.push(match (before, now) {
            (Some(_), Some(_)) => DerivationChange::Source { name: name.clone() },
            (_, now) => DerivationChange::SourceSet {
                name: name.clone(),
                added: now.is_some(),
            },
        });
    }
}

#[cfg(test)]
#[path = "difference/tests.rs"]
mod tests;
