//! Computes a lock from the package index.

use std::collections::{BTreeMap, BTreeSet};

use super::description::{Description, Kind};
use super::lock::{Lock, Pinned};
use super::{SeedError, SeedSource};
use crate::fetch::apt::{BinaryPackage, PackageIndex};

/// A difference between two locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The package.
    pub package: String,
    /// Its version before; `None` where it was not there.
    pub before: Option<String>,
    /// Its version after; `None` where it is no longer there. The same as before where only the bytes differ.
    pub after: Option<String>,
}

impl std::fmt::Display for Change {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            package,
            before,
            after,
        } = self;
        match (before, after) {
            (Some(before), Some(after)) if before == after => {
                write!(formatter, "{package} {after} (other bytes)")
            }
            (Some(before), Some(after)) => write!(formatter, "{package} {before} -> {after}"),
            (Some(before), None) => write!(formatter, "{package} {before} (dropped)"),
            (None, after) => {
                write!(
                    formatter,
                    "{package} {} (added)",
                    after.as_deref().unwrap_or_default()
                )
            }
        }
    }
}

/// The lock of a seed of packages, as the index has them now.
///
/// What belongs to the seed: what is asked for, and what that depends on, as far as installing it would bring it; but
/// nothing that is excluded, and nothing that only excluded packages depend on.
pub fn compute(description: &Description, index: &dyn PackageIndex) -> Result<Lock, SeedError> {
    let Kind::Debian {
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
    Ok(Lock::new(pinned.collect()))
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

/// What differs between `before` and `after`, by package.
pub fn changes(before: &Lock, after: &Lock) -> Vec<Change> {
    let names: BTreeSet<&str> = before
        .packages()
        .iter()
        .chain(after.packages())
        .map(|pinned| pinned.package.as_str())
        .collect();
    names
        .into_iter()
        .filter_map(|package| {
            let (old, new) = (before.get(package), after.get(package));
            (old != new).then(|| Change {
                package: package.to_owned(),
                before: old.map(|pinned| pinned.version.clone()),
                after: new.map(|pinned| pinned.version.clone()),
            })
        })
        .collect()
}

/// A lock computed anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The text for `NAME.lock`.
    pub text: String,
    /// What differs from the lock that was there.
    pub changes: Vec<Change>,
}

/// Computes the lock of the seed `name` anew, after fetching the index anew. Writes nothing.
pub fn update(
    source: &SeedSource,
    name: &str,
    index: &dyn PackageIndex,
) -> Result<Update, SeedError> {
    let description = Description::load(source, name)?;
    index.refresh()?;
    let lock = compute(&description, index)?;
    let before = super::resolve::pinned_lock(source, name)?.unwrap_or_default();
    let text = lock.to_text(&[
        &format!("What the seed {name} is made of; written by `bootstrap seed update {name}`."),
        "PACKAGE VERSION ARCHITECTURE SIZE SHA256 FILE",
    ]);
    Ok(Update {
        text,
        changes: changes(&before, &lock),
    })
}
