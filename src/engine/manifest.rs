// SPDX-License-Identifier: GPL-3.0-or-later
//! The manifest of a run: what it was made from, to find out later why two machines differ.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::planned::Planned;
use super::session::Session;
use crate::events::Summary;
use crate::road::recipe::RecipeSource;

/// What a run was made from, and its result. A front end writes it to the records of runs.
#[derive(Debug, Serialize)]
pub struct Manifest<'a> {
    /// Of this program.
    version: &'static str,
    /// Seconds since 1970, at the end of the run.
    ended: u64,
    system: &'static str,
    recipes: String,
    locked: bool,
    seeds: Vec<ManifestSeed<'a>>,
    summary: &'a Summary,
}

#[derive(Debug, Serialize)]
struct ManifestSeed<'a> {
    name: &'a str,
    /// Why others cannot have it; `null` where they can.
    impure: Option<&'a str>,
    /// How it differs from its lock.
    changes: &'a [String],
    /// Name and SHA-256 of each archive.
    archives: Vec<(&'a str, String)>,
}

impl<'a> Manifest<'a> {
    /// The manifest of a run that ended at `now`. A run of derivations of the store has no plan.
    pub fn new(
        session: &Session,
        planned: Option<&'a Planned>,
        summary: &'a Summary,
        now: SystemTime,
    ) -> Self {
        let options = session.options();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            ended: now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            system: options.system.name(),
            recipes: match &options.recipes {
                _ if planned.is_none() => "none".to_owned(),
                RecipeSource::Directory(directory) => directory.display().to_string(),
                RecipeSource::Embedded => "the program's own".to_owned(),
            },
            locked: options.seed.locked,
            seeds: planned
                .into_iter()
                .flat_map(|planned| planned.seeds.all())
                .map(|(seed, changes)| ManifestSeed {
                    name: &seed.name,
                    impure: seed.impure.as_deref(),
                    changes,
                    archives: seed
                        .archives
                        .iter()
                        .map(|archive| (archive.name.as_str(), archive.sha256.to_base16()))
                        .collect(),
                })
                .collect(),
            summary,
        }
    }
}
