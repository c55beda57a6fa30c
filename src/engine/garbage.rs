// SPDX-License-Identifier: GPL-3.0-or-later
//! Garbage: what is removed, what keeps the rest, and which generations of roots are forgotten.

use std::collections::BTreeSet;

use super::error::EngineError;
use super::session::Session;
use crate::store::Store;
use crate::store::gc::{self, CollectOptions, Freed};
use crate::store::roots::{GcRoot, RootKind};

/// The result of a collection.
#[derive(Debug)]
pub struct Collected {
    /// What was removed, or would be in a dry run.
    pub freed: Freed,
    /// The generations of roots that were forgotten, or would be: `NAME/NUMBER`.
    pub forgotten: Vec<String>,
}

impl Session {
    /// Removes what nothing keeps alive; with `keep_generations` first all but so many of the newest generations of
    /// each name. A dry run opens the store for reading only.
    ///
    /// # Errors
    /// Where the store cannot be read or changed.
    pub fn collect_garbage(
        &self,
        options: &CollectOptions,
        keep_generations: Option<u64>,
    ) -> Result<Collected, EngineError> {
        let store = match options.dry_run {
            true => self.store_to_read()?,
            false => self.store_to_write()?,
        };
        let is_new = !self.directories().store.exists() && store.valid_paths()?.is_empty();
        if options.dry_run && is_new {
            return Ok(Collected {
                freed: Freed::default(),
                forgotten: Vec::new(),
            });
        }
        let mut options = options.clone();
        let forgotten = match keep_generations {
            Some(keep) => forget_generations(&store, keep, options.dry_run)?,
            None => Vec::new(),
        };
        if options.dry_run {
            options.without.clone_from(&forgotten);
        }
        Ok(Collected {
            freed: gc::collect(&store, &options)?,
            forgotten,
        })
    }

    /// What keeps items alive: links, and processes that use them.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn roots(&self) -> Result<Vec<GcRoot>, EngineError> {
        let store = self.store_to_read()?;
        let mut roots = store.roots()?;
        // What processes use may belong to another store that is called the same.
        let running = store.running_roots();
        let valid = store.valid_among(running.iter().map(|root| &root.path))?;
        let ours = running.into_iter();
        roots.extend(ours.filter(|root| valid.contains(&root.path)));
        Ok(roots)
    }
}

/// Forgets all but the newest `keep` generations of each name, unless in a dry run. Gives those that it forgets.
fn forget_generations(store: &Store, keep: u64, dry_run: bool) -> Result<Vec<String>, EngineError> {
    let mut forgotten = Vec::new();
    let keep = usize::try_from(keep).unwrap_or(usize::MAX);
    let names: BTreeSet<String> = store
        .roots()?
        .iter()
        .filter_map(|root| match &root.kind {
            RootKind::Named(name) => Some(generation(name)?.0),
            _ => None,
        })
        .collect();
    for name in names {
        let generations = store.generations(&name)?;
        let old = generations.len().saturating_sub(keep);
        for generation in &generations[..old] {
            let number = generation.number;
            if dry_run || store.remove_generation(&name, number)? {
                forgotten.push(format!("{name}/{number}"));
            }
        }
    }
    Ok(forgotten)
}

/// The generation that the root `name` (`build/stage0/sed/3/stage0/sed/out`) belongs to: its name and number.
pub fn generation(name: &str) -> Option<(String, String)> {
    let parts: Vec<&str> = name.split('/').collect();
    let number = parts
        .iter()
        .position(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some((parts[..number].join("/"), parts[number].to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_says_which_generation_it_belongs_to() {
        let of = |name: &str| generation(name).map(|(name, number)| format!("{name} {number}"));
        assert_eq!(of("all/12/libc/static").as_deref(), Some("all 12"));
        let sed = of("build/stage0/sed/3/sed/out");
        assert_eq!(sed.as_deref(), Some("build/stage0/sed 3"));
        assert_eq!(of("mine"), None);
    }
}
