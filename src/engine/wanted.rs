// SPDX-License-Identifier: GPL-3.0-or-later
//! Derivations of the store that a front end wants realised, and how users name them.

use std::collections::BTreeSet;
use std::path::Path;

use super::derivations::StoredDerivations;
use super::error::EngineError;
use super::session::Session;
use crate::builder::graph::WantedOutputs;
use crate::formats::store_path::{StorePath, StorePathError};
use crate::store::directories::Directories;

/// A derivation whose outputs a front end wants valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedDerivation {
    /// The path of its `.drv` file.
    pub derivation: StorePath,
    /// The names of the outputs; empty is all of them. The builder makes all outputs of a derivation at once, but where
    /// those named are valid already nothing is built.
    pub outputs: BTreeSet<String>,
}

impl WantedDerivation {
    /// All outputs of `derivation`.
    pub fn all(derivation: StorePath) -> Self {
        Self {
            derivation,
            outputs: BTreeSet::new(),
        }
    }

    /// The same for the builder.
    pub(super) fn outputs(&self) -> WantedOutputs<'_> {
        let names = || self.outputs.iter().map(String::as_str).collect();
        WantedOutputs {
            path: &self.derivation,
            names: (!self.outputs.is_empty()).then(names),
        }
    }

    /// Whether a user who writes `name` means a derivation of the store: an absolute path, one that begins with a dot,
    /// or one that ends in `.drv`. No package is called so.
    pub fn is_meant_by(name: &str) -> bool {
        let (path, _) = split(name);
        path.starts_with(['/', '.']) || path.ends_with(".drv")
    }

    /// Reads `/gnu/store/HASH-NAME.drv`, with `!OUTPUT,…` after it (as Guix writes it) or `:OUTPUT` (as for packages)
    /// where not all outputs are meant. The store directory may also be where it is on disk, or be left out.
    ///
    /// # Errors
    /// A path that cannot be a derivation of the store.
    pub fn parse(directories: &Directories, name: &str) -> Result<Self, EngineError> {
        let (path, outputs) = split(name);
        let derivation = match path.contains('/') {
            true => stored_item(directories, path)?,
            // Events, and so messages, name derivations without the store directory.
            false => StorePath::from_base_name(path)?,
        };
        if !derivation.is_derivation() {
            return Err(StorePathError::NotADerivation(path.to_owned()).into());
        }
        let outputs = outputs.map(|outputs| outputs.split(',').map(ToOwned::to_owned));
        Ok(Self {
            derivation,
            outputs: outputs.into_iter().flatten().collect(),
        })
    }
}

/// Reads the path of an item of the store, which may also be where the store directory is on disk.
///
/// # Errors
/// A path that is not of this store.
pub(super) fn stored_item(
    directories: &Directories,
    path: &str,
) -> Result<StorePath, StorePathError> {
    let store_dir = &directories.store_dir;
    let on_disk = Path::new(path).strip_prefix(&directories.store).ok();
    match on_disk.and_then(Path::to_str) {
        Some(base_name) => store_dir.parse(&format!("{store_dir}/{base_name}")),
        None => store_dir.parse(path),
    }
}

/// The path in `name`, and the outputs after it.
fn split(name: &str) -> (&str, Option<&str>) {
    match name.split_once(['!', ':']) {
        Some((path, outputs)) => (path, Some(outputs)),
        None => (name, None),
    }
}

impl Session {
    /// The names and paths of the outputs that are `wanted`, `out` first; with none named, of all. A path that the
    /// derivation does not say is `None`.
    ///
    /// # Errors
    /// A derivation that was not read, or an output that it does not have.
    pub(super) fn outputs<'d>(
        &self,
        derivations: &'d StoredDerivations,
        wanted: &WantedDerivation,
    ) -> Result<Vec<(&'d str, Option<&'d StorePath>)>, EngineError> {
        let shown = || self.shown(&wanted.derivation);
        let derivation = derivations
            .get(&wanted.derivation)
            .ok_or_else(|| EngineError::NoDerivation { path: shown() })?;
        let known = &derivation.outputs;
        let mut named = wanted.outputs.iter();
        if let Some(output) = named.find(|name| !known.contains_key(*name)) {
            return Err(EngineError::NoOutput {
                derivation: shown(),
                output: output.clone(),
                known: known.keys().cloned().collect::<Vec<_>>().join(", "),
            });
        }
        let mut outputs: Vec<_> = known
            .iter()
            .filter(|(name, _)| wanted.outputs.is_empty() || wanted.outputs.contains(*name))
            .map(|(name, output)| (name.as_str(), output.path.as_ref()))
            .collect();
        outputs.sort_by_key(|(name, _)| *name != "out");
        Ok(outputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::store_path::StoreDir;

    #[test]
    fn derivations_are_named_as_guix_and_as_packages_are() {
        let directories = Directories::new(
            StoreDir::new("/gnu/store").unwrap(),
            Some(Path::new("/root of mine")),
        );
        let base = format!("{}-x-1.0.drv", "0".repeat(32));
        let outputs = |name: &str| {
            let wanted = WantedDerivation::parse(&directories, name).unwrap();
            assert_eq!(wanted.derivation.base_name(), base);
            wanted.outputs.into_iter().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(outputs(&format!("/gnu/store/{base}")), "");
        assert_eq!(outputs(&format!("{base}:lib")), "lib");
        assert_eq!(outputs(&format!("/gnu/store/{base}!out,lib")), "lib out");
        assert_eq!(outputs(&format!("/gnu/store/{base}:lib")), "lib");
        assert_eq!(
            outputs(&format!("/root of mine/gnu/store/{base}!doc")),
            "doc"
        );
        let refused = |name: &str| {
            assert!(WantedDerivation::is_meant_by(name), "{name}");
            WantedDerivation::parse(&directories, name)
                .unwrap_err()
                .to_string()
        };
        for name in ["/etc/x.drv", "./x.drv", "/", "/gnu/store", "/gnu/store/"] {
            let error = refused(name);
            assert!(
                error.ends_with("is not a store path: expected /gnu/store/HASH-NAME"),
                "{error}"
            );
        }
        let below = refused(&format!("/gnu/store/{base}/x.drv"));
        assert!(below.contains("is not a store path"), "{below}");
        let item = refused(&format!("/gnu/store/{}-x", "0".repeat(32)));
        assert!(item.contains("ends in .drv"), "{item}");
        for name in ["/gnu/store/x.drv", "x.drv"] {
            assert!(refused(name).contains("32 characters"));
        }
        for name in ["sed", "stage0/sed", "gcc:lib", "source/sed-4.9.tar.xz"] {
            assert!(!WantedDerivation::is_meant_by(name), "{name}");
        }
    }
}
