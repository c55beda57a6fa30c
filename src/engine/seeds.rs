// SPDX-License-Identifier: GPL-3.0-or-later
//! The choice of a session's seed, and what a front end shows and updates of seeds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use super::error::EngineError;
use super::notice::Notice;
use super::session::Session;
use crate::fetch::apt::Apt;
use crate::fetch::cache::Cache;
use crate::formats::system::System;
use crate::road::recipe::{Recipes, choose_variant};
use crate::road::seed::description::Description;
use crate::road::seed::release::default_seed;
use crate::road::seed::resolve::{self, Resolved, Strictness, load};
use crate::road::seed::update::update;
use crate::road::seed::{Seed, SeedArchive, SeedSource, own_base};

/// The seed of a plan, and the larger roots that its recipes want sources made in.
#[derive(Debug)]
pub struct ChosenSeeds {
    /// The seed.
    pub seed: Seed,
    /// The larger roots, by name.
    pub roots: BTreeMap<String, Seed>,
    /// How each seed differs from its lock, by name.
    changes: BTreeMap<String, Vec<String>>,
}

impl ChosenSeeds {
    /// The seed and the larger roots, each with how it differs from its lock.
    pub fn all(&self) -> impl Iterator<Item = (&Seed, &[String])> {
        std::iter::once(&self.seed)
            .chain(self.roots.values())
            .map(|seed| {
                let changes = self.changes.get(&seed.name);
                (seed, changes.map_or(&[][..], Vec::as_slice))
            })
    }

    /// The archives of all of them.
    pub fn archives(&self) -> impl Iterator<Item = &SeedArchive> {
        self.all().flat_map(|(seed, _)| &seed.archives)
    }
}

/// A seed that is described, as lists show it.
#[derive(Debug)]
pub struct DescribedSeed {
    /// Its name.
    pub name: String,
    /// The system whose programs it holds.
    pub system: String,
    /// Whether this program builds for that system.
    pub supported: bool,
    /// Whether it is the default seed of that system.
    pub default: bool,
    /// The seed as it is pinned; `None` where it has no lock yet.
    pub seed: Option<Seed>,
}

/// A seed's new lock, written from what the distribution offers now.
#[derive(Debug)]
pub struct UpdatedSeed {
    /// The seed.
    pub name: String,
    /// How it differs from the pinned one, one line each.
    pub changes: Vec<String>,
    /// The file it was written to.
    pub file: PathBuf,
    /// Whether that is this machine's own lock, in place of the one inside the program.
    pub is_own: bool,
}

/// The system that the seed `name` is for.
///
/// # Errors
/// Where no such seed is described, or its system is unknown.
pub fn system_of(source: &SeedSource, name: &str) -> Result<System, EngineError> {
    let description = Description::load(source, name)?;
    let system = description.with_pins(None).system.parse();
    system.map_err(
        |error: crate::formats::system::UnknownSystem| EngineError::UnknownSystem {
            seed: name.to_owned(),
            problem: error.to_string(),
        },
    )
}

impl Session {
    /// The name of the session's seed.
    pub fn seed_name(&self) -> &str {
        let named = self.options().seed.name.as_deref();
        named.unwrap_or(default_seed(self.options().system))
    }

    /// The seed called `name`; without a name, that of the session. It is as this machine knows it.
    ///
    /// # Errors
    /// Where there is no such seed, or it cannot be read.
    pub fn seed(&self, name: Option<&str>) -> Result<Seed, EngineError> {
        let own = match name {
            None => self.own_seed()?,
            Some(_) => None,
        };
        match own {
            Some(seed) => Ok(seed),
            None => {
                let name = name.unwrap_or(self.seed_name());
                Ok(self.resolved(name)?.seed)
            }
        }
    }

    /// All seeds that are described.
    ///
    /// # Errors
    /// Where a description cannot be read.
    pub fn described_seeds(&self) -> Result<Vec<DescribedSeed>, EngineError> {
        let source = &self.options().seed.descriptions;
        let names = source.names()?.into_iter();
        let described = names.map(|name| {
            let system = Description::load(source, &name)?.with_pins(None).system;
            let known = system.parse::<System>().ok();
            Ok(DescribedSeed {
                supported: known.is_some(),
                default: known.is_some_and(|system| default_seed(system) == name),
                // A seed without a lock is still one: an update makes it.
                seed: load(source, &name).ok(),
                system,
                name,
            })
        });
        described.collect()
    }

    /// Makes a new lock of the seed `name`, or of the session's, from what the distribution offers. It is written
    /// where seeds come from a folder; else it becomes this machine's own lock, in place of the one inside the program.
    ///
    /// # Errors
    /// Where the seed has no lock, the session has no network, or the distribution's index cannot be fetched.
    pub fn update_seed(&self, name: Option<&str>) -> Result<UpdatedSeed, EngineError> {
        let name = name.unwrap_or(self.seed_name());
        let source = &self.options().seed.descriptions;
        let description = Description::load(source, name)?;
        // Without a lock: what it says is about to be written.
        let Some(distribution) = description.with_pins(None).distribution else {
            return Err(EngineError::NoDistribution(name.to_owned()));
        };
        if self.options().offline {
            return Err(EngineError::Offline("the distribution's index"));
        }
        let apt = Apt::new(&self.directories().cache, distribution.apt_settings());
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        let update = update(source, name, &apt, now)?;
        let file = match source {
            SeedSource::Embedded => {
                resolve::replace(source, name, &self.directories().state, &update.pins)?
            }
            SeedSource::Directory(directory) => {
                let path = directory.join(format!("{name}.lock"));
                resolve::write(&path, &update.text)?;
                path
            }
        };
        Ok(UpdatedSeed {
            name: name.to_owned(),
            changes: update.changes.iter().map(ToString::to_string).collect(),
            file,
            is_own: matches!(source, SeedSource::Embedded),
        })
    }

    /// Removes this machine's own lock of the seed `name`, or of the session's, so that the pinned one counts again.
    /// Gives the seed's name, and whether there was such a lock.
    ///
    /// # Errors
    /// Where the file cannot be removed.
    pub fn reset_seed(&self, name: Option<&str>) -> Result<(String, bool), EngineError> {
        let name = name.unwrap_or(self.seed_name());
        // A name that is not a seed's must not lead out of the directory of locks.
        Description::load(&self.options().seed.descriptions, name)?;
        let was_there = resolve::reset(&self.directories().state, name)?;
        Ok((name.to_owned(), was_there))
    }

    /// The seeds of a plan with `recipes`.
    pub(super) fn choose_seeds(&self, recipes: &Recipes) -> Result<ChosenSeeds, EngineError> {
        let mut changes = BTreeMap::new();
        let mut resolved = |name: &str| -> Result<Seed, EngineError> {
            let resolved = self.resolved(name)?;
            let shown = resolved.changes.iter().map(ToString::to_string).collect();
            changes.insert(name.to_owned(), shown);
            Ok(resolved.seed)
        };
        let seed = match self.own_seed()? {
            Some(seed) => seed,
            None => resolved(self.seed_name())?,
        };
        let system = self.options().system;
        if seed.system != system.name() {
            return Err(EngineError::SeedSystem {
                seed: seed.name,
                system: seed.system,
                wanted: system.to_string(),
            });
        }
        // Only those that are wanted: each costs the reading of its lock.
        let wanted: BTreeSet<&str> = recipes
            .iter()
            .filter_map(|recipe| choose_variant(&recipe.sources, &seed.preferred_variant))
            .filter_map(|source| Some(source.regenerate.as_ref()?.root.get_ref().as_str()))
            .collect();
        let known = self.options().seed.descriptions.names()?;
        let mut roots = BTreeMap::new();
        for name in wanted {
            // One without a description is reported where the recipe names it.
            if known.iter().any(|known| known == name) {
                roots.insert(name.to_owned(), resolved(name)?);
            }
        }
        Ok(ChosenSeeds {
            seed,
            roots,
            changes,
        })
    }

    /// The seed that is not a described one: `--seed host`, `--seed-file`.
    fn own_seed(&self) -> Result<Option<Seed>, EngineError> {
        let options = &self.options().seed;
        let is_host = options.name.as_deref() == Some(own_base::HOST);
        let file = options.file.as_deref();
        if !is_host && file.is_none() {
            return Ok(None);
        }
        let model = match is_host {
            true => default_seed(self.options().system),
            false => self.seed_name(),
        };
        let model = load(&options.descriptions, model)?;
        let cache = Cache::new(&self.directories().cache);
        let places = own_base::SeedPlaces {
            cache: &cache,
            state: &self.directories().state,
        };
        Ok(Some(match (is_host, file) {
            (true, Some(_)) => return Err(EngineError::TwoSeeds),
            (_, Some(file)) => own_base::given(&model, file, places)?,
            (_, None) => own_base::host(&model, places)?,
        }))
    }

    /// The described seed called `name`, as its lock or this machine's own lock pins it.
    fn resolved(&self, name: &str) -> Result<Resolved, EngineError> {
        let options = &self.options().seed;
        let strictness = match options.locked {
            true => Strictness::Locked,
            false => Strictness::Replace,
        };
        let resolved = resolve::resolve(
            &options.descriptions,
            name,
            &self.directories().state,
            strictness,
        )?;
        if let Some(file) = &resolved.outdated {
            self.notify(Notice::OutdatedLock {
                seed: resolved.seed.name.clone(),
                file: file.clone(),
            });
        }
        Ok(resolved)
    }
}
