//! What a run was made from, in a file of its own: for people who ask later why two machines differ.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::context::{Context, Planned};
use super::failure::Failure;
use crate::events::Summary;
use crate::show::records::Runs;

#[derive(Debug, Serialize)]
struct Manifest<'a> {
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

/// Writes the manifest of a run to `bootstrap/runs` in the state directory, under the time of its end.
pub fn write(context: &Context, planned: &Planned, summary: &Summary) -> Result<(), Failure> {
    let now = SystemTime::now();
    let manifest = Manifest {
        version: env!("CARGO_PKG_VERSION"),
        ended: now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        system: context.system.name(),
        recipes: match &context.options.recipes {
            Some(directory) => directory.display().to_string(),
            None => "the program's own".to_owned(),
        },
        locked: context.options.locked,
        seeds: planned
            .seeds
            .all()
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
    };
    let runs = Runs::new(&context.directories.state);
    let directory = runs.directory().display().to_string();
    let text = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| Failure::writing(directory.clone())(error.into()))?;
    let (mut file, path) = runs
        .create_manifest(now)
        .map_err(Failure::writing(directory))?;
    file.write_all(&text)
        .map_err(Failure::writing(path.display().to_string()))
}
