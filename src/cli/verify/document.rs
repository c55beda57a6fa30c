//! The document that `verify --json` prints: what goes into it whatever was verified, and how it is signed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use crate::cli::context::{Context, Planned, print_json};
use crate::cli::failure::Failure;
use crate::engine::builtins::DOWNLOAD;
use crate::formats::hash::Sha256Digest;
use crate::formats::keys::SecretKey;
use crate::road::plan::{Kind, Plan, fixpoint};
use crate::show::records::Rebuilds;
use crate::verify::attestation::{Attestation, FORMAT, NamedHash, Rebuilt};
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
    let impure = planned.seeds.all().filter_map(|(seed, _)| {
        let reason = seed.impure.clone()?;
        Some((seed.name.clone(), reason))
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
        let sha256 = node.derivation.fixed_output()?.hash.sha256()?;
        // Those are in the seed's hash.
        (!archives.contains(&sha256)).then(|| NamedHash {
            name: node.name.clone(),
            sha256: sha256.to_base16(),
        })
    });
    let mut attestation = Attestation {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        system: context.system.name().to_owned(),
        kernel: kernel.join(" "),
        seeds: seeds.collect(),
        impure: impure.collect(),
        sources: sources.collect(),
        plans: vec![NamedHash {
            name: planned.seeds.seed.name.clone(),
            sha256: plan_digest(context, &planned.plan).to_base16(),
        }],
        checks: checks.iter().map(|&check| check.to_owned()).collect(),
        lock: None,
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

/// The SHA-256 of all that is planned: of a line `LABEL PATH` for each derivation, sorted. What `--fixpoint` adds is left
/// out: it follows from the rest.
fn plan_digest(context: &Context, plan: &Plan) -> Sha256Digest {
    let nodes = plan.nodes().iter();
    let nodes = nodes.filter(|node| !node.label.starts_with(fixpoint::PREFIX));
    let mut lines: Vec<String> = nodes
        .map(|node| format!("{} {}\n", node.label, context.shown(&node.derivation_path)))
        .collect();
    lines.sort();
    Sha256Digest::of(lines.concat())
}

/// Notes with each output of `plan` what came of building it again, as far as that is on record. What cannot be read is not.
pub fn note_rebuilds(context: &Context, plan: &Plan, attestation: &mut Attestation) {
    let state = &context.directories.state;
    let records = Rebuilds::new(state).read().unwrap_or_else(|error| {
        tracing::warn!("cannot read what was built again: {error}");
        Vec::new()
    });
    let mut rebuilds: HashMap<&str, Rebuilt> = HashMap::new();
    for record in &records {
        let rebuilt = rebuilds.entry(&record.derivation).or_insert(Rebuilt {
            rounds: 0,
            same: true,
            varied: BTreeSet::new(),
        });
        rebuilt.rounds = rebuilt.rounds.saturating_add(record.rounds);
        let varied = record.variations.iter().flat_map(BTreeMap::keys);
        // When a round began is there of every round.
        let varied = varied.filter(|name| *name != "time").cloned();
        rebuilt.varied.extend(varied);
        // A difference stays one, whatever is tried later.
        rebuilt.same &= record.same;
    }
    for output in &mut attestation.outputs {
        let node = plan.get(&output.package);
        let rebuilt = node.and_then(|node| rebuilds.get(node.derivation_path.base_name()));
        output.rebuilt = rebuilt.cloned();
    }
}

/// Adds the seeds, sources and derivations of another plan.
pub fn add_origin(attestation: &mut Attestation, context: &Context, planned: &Planned) {
    let other = new(context, planned, &[]);
    attestation.seeds.extend(other.seeds);
    attestation.impure.extend(other.impure);
    attestation.sources.extend(other.sources);
    attestation.plans.extend(other.plans);
    sort(attestation);
}

/// Brings what is in the document into its order.
pub fn sort(attestation: &mut Attestation) {
    attestation.seeds.sort();
    attestation.seeds.dedup();
    attestation.sources.sort();
    attestation.sources.dedup();
    attestation.plans.sort();
    attestation.plans.dedup();
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
