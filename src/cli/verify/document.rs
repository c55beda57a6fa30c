//! The document that `verify --json` prints: what goes into it whatever was verified, and how it is signed.

use std::collections::BTreeMap;
use std::path::Path;

use crate::build::graph::DOWNLOAD;
use crate::cli::context::{Context, Planned, print_json};
use crate::cli::failure::Failure;
use crate::keys::SecretKey;
use crate::plan::Kind;
use crate::verify::attestation::{Attestation, FORMAT, NamedHash};
use crate::verify::signature;

/// A document about `planned` that says nothing of outputs yet.
pub fn new(context: &Context, planned: &Planned, checks: &[&str]) -> Attestation {
    let machine = rustix::system::uname();
    let kernel = [machine.sysname(), machine.release(), machine.machine()]
        .map(|part| part.to_string_lossy().into_owned());
    let seeds = planned.seeds.all().map(|(seed, _)| NamedHash {
        name: seed.name.clone(),
        sha256: seed.digest().to_base16(),
    });
    let archives: Vec<_> = planned
        .seeds
        .archives()
        .map(|archive| archive.sha256)
        .collect();
    let downloads = planned
        .plan
        .nodes()
        .iter()
        .filter(|node| node.kind == Kind::Download && node.derivation.builder == DOWNLOAD);
    let sources = downloads.filter_map(|node| {
        let fixed = node.derivation.fixed_output()?;
        // Those are in the seed's hash.
        (!archives.contains(&fixed.hash)).then(|| NamedHash {
            name: node.name.clone(),
            sha256: fixed.hash.to_base16(),
        })
    });
    let mut attestation = Attestation {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        system: context.system.name().to_owned(),
        kernel: kernel.join(" "),
        seeds: seeds.collect(),
        sources: sources.collect(),
        checks: checks.iter().map(|&check| check.to_owned()).collect(),
        rounds: 0,
        variations: Vec::new(),
        not_varied: BTreeMap::new(),
        outputs: Vec::new(),
        other_items: 0,
        other_damage: BTreeMap::new(),
        unregistered: Vec::new(),
        extra: Vec::new(),
        good: true,
    };
    sort(&mut attestation);
    attestation
}

/// Adds the seeds and sources of another plan.
pub fn add_origin(attestation: &mut Attestation, context: &Context, planned: &Planned) {
    let other = new(context, planned, &[]);
    attestation.seeds.extend(other.seeds);
    attestation.sources.extend(other.sources);
    sort(attestation);
}

/// Brings what is in the document into its order.
pub fn sort(attestation: &mut Attestation) {
    attestation.seeds.sort();
    attestation.seeds.dedup();
    attestation.sources.sort();
    attestation.sources.dedup();
    attestation
        .outputs
        .sort_by(|one, other| (&one.package, &one.output).cmp(&(&other.package, &other.output)));
}

/// Reads the key in the file `path`.
pub fn read_key(path: &Path) -> Result<SecretKey, Failure> {
    Ok(SecretKey::read(path)?)
}

/// Prints the document, signed where there is a key.
pub fn put_out(attestation: &Attestation, key: Option<&SecretKey>) -> Result<(), Failure> {
    let Some(key) = key else {
        return print_json(attestation);
    };
    let value = serde_json::to_value(attestation)
        .map_err(|error| Failure::writing("JSON to standard output")(error.into()))?;
    let signed = signature::sign(value, key).map_err(Failure::signature("the document"))?;
    print_json(&signed)
}
