// SPDX-License-Identifier: GPL-3.0-or-later
//! Computes a lock from the package index.

use std::collections::{BTreeMap, BTreeSet};

use super::description::{Description, SeedKind};
use super::pins::{PinChange, Pinned, Pins, Snapshot, changes};
use super::resolve::pinned;
use super::{SeedError, SeedSource};
use crate::fetch::apt::{BinaryPackage, PackageIndex};

/// The lock of a seed of packages, as the index has them now.
///
/// What belongs to the seed: what is asked for, and what that depends on, as far as installing it would bring it; but
/// nothing that is excluded, and nothing that only excluded packages depend on.
pub fn compute(description: &Description, index: &dyn PackageIndex) -> Result<Pins, SeedError> {
    let SeedKind::Debian {
        packages, exclude, ..
    } = &description.kind
    else {
        return Err(SeedError::Invalid {
            file: description.name.clone(),
            reason: "only seeds of kind \"debian\" have a lock".to_owned(),
        });
    };
    let asked: Vec<String> = packages.iter().cloned().collect();
    let found = index.candidates(&asked)?;
    let missing: Vec<String> = asked
        .iter()
        .filter(|name| !found.iter().any(|package| package.name == **name))
        .cloned()
        .collect();
    if !missing.is_empty() {
        return Err(SeedError::NotOffered {
            name: description.name.clone(),
            packages: missing,
        });
    }
    let names = index.installed_with(&asked)?;
    let installed: BTreeMap<String, BinaryPackage> = index
        .candidates(&names)?
        .into_iter()
        .map(|package| (package.name.clone(), package))
        .collect();
    let providers = providers(&installed);
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> = packages.iter().map(String::as_str).collect();
    while let Some(name) = next.pop() {
        if exclude.contains(name) || !reached.insert(name) {
            continue;
        }
        let Some(package) = installed.get(name) else {
            return Err(SeedError::NotOffered {
                name: description.name.clone(),
                packages: vec![name.to_owned()],
            });
        };
        // APT has chosen among the alternatives: what it chose is installed.
        for alternative in package.depends.iter().flatten() {
            if let Some((name, _)) = installed.get_key_value(alternative) {
                next.push(name);
            }
            next.extend(providers.get(alternative.as_str()).into_iter().flatten());
        }
    }
    let pinned = reached
        .into_iter()
        .filter_map(|name| installed.get(name))
        .map(Pinned::from);
    Ok(Pins::new(pinned.collect()))
}

/// For each virtual name, the packages that answer to it.
fn providers(installed: &BTreeMap<String, BinaryPackage>) -> BTreeMap<&str, Vec<&str>> {
    let mut providers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in installed.values() {
        for provided in &package.provides {
            providers.entry(provided).or_default().push(&package.name);
        }
    }
    providers
}

/// A lock computed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockUpdate {
    /// The packages.
    pub pins: Pins,
    /// The text for `NAME.lock`.
    pub text: String,
    /// What differs from the pinned lock.
    pub changes: Vec<PinChange>,
}

/// Computes the lock of the seed `name` from the index, which it fetches first, `epoch` seconds after the start of
/// 1970. Writes nothing.
///
/// # Errors
/// A seed without packages, or an index that cannot be fetched or lacks a package.
pub fn update(
    source: &SeedSource,
    name: &str,
    index: &dyn PackageIndex,
    epoch: u64,
) -> Result<LockUpdate, SeedError> {
    let description = Description::load(source, name)?;
    index.refresh()?;
    let pins = compute(&description, index)?;
    let before = pinned(source, name)?.unwrap_or_default();
    // The same packages keep their time: an update that changes nothing writes the same lock.
    let snapshot = match before.packages() == pins.packages() && before.snapshot().is_some() {
        true => before.snapshot().cloned(),
        false => Some(Snapshot::after_index(epoch)),
    };
    let pins = pins.with_snapshot(snapshot);
    let text = pins.to_text(&[
        &format!("What the seed {name} is made of; written by `bootstrap seed update {name}`."),
        "PACKAGE VERSION ARCHITECTURE SIZE SHA256 FILE",
    ]);
    Ok(LockUpdate {
        text,
        changes: changes(&before, &pins),
        pins,
    })
}
