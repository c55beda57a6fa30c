//! `lock`, and `verify --lock`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::cli::context::{Context, Planned};
use crate::cli::failure::Failure;
use crate::store::Store;
use crate::verify::attestation::{Attestation, LockCounts, Seen};
use crate::verify::lock::{
    Finding, Lock, LockFileError, LockedDerivation, LockedOutput, Record, SeedKey,
};

/// `bootstrap lock [FILE]`.
pub fn write(context: &Context, file: &Path) -> Result<(), Failure> {
    let planned = context.plan()?;
    let store = context.store_to_read()?;
    let mut lock = match Lock::read(file) {
        Err(LockFileError::Missing(_)) => Lock::default(),
        lock => lock?,
    };
    let here = record(context, &planned, &store, |_| true)?;
    let outputs: usize = here
        .derivations
        .values()
        .map(|derivation| derivation.outputs.len())
        .sum();
    let nodes = planned.plan.nodes().iter();
    let planned_paths: BTreeMap<&str, String> = nodes
        .map(|node| (node.label.as_str(), context.shown(&node.derivation_path)))
        .collect();
    let record = lock.records.entry(key(context, &planned)).or_default();
    record.update(here, |label, path| {
        planned_paths
            .get(label)
            .is_some_and(|planned| planned == path)
    });
    let all = record.derivations.values();
    let all: usize = all.map(|derivation| derivation.outputs.len()).sum();
    lock.write(file)?;
    context.note(&format!(
        "{}: {all} outputs of the seed {}, {outputs} of them from this store",
        file.display(),
        planned.seeds.seed.name
    ));
    Ok(())
}

/// Whose record the plan's would be.
fn key(context: &Context, planned: &Planned) -> SeedKey {
    SeedKey {
        system: context.system.name().to_owned(),
        sha256: planned.seeds.seed.digest(),
    }
}

/// What the database has of the plan's derivations whose labels are `wanted`.
fn record(
    context: &Context,
    planned: &Planned,
    store: &Store,
    wanted: impl Fn(&str) -> bool,
) -> Result<Record, Failure> {
    let mut record = Record {
        seed: planned.seeds.seed.name.clone(),
        impure: planned.seeds.seed.impure.clone(),
        derivations: BTreeMap::new(),
    };
    for node in planned.plan.nodes() {
        if !wanted(&node.label) {
            continue;
        }
        let mut outputs = BTreeMap::new();
        for (name, path) in node.output_paths() {
            let Some(info) = store.path_info(path)? else {
                continue;
            };
            let references = info.references.iter();
            outputs.insert(
                name.to_owned(),
                LockedOutput {
                    path: context.shown(path),
                    sha256: info.nar_sha256,
                    size: info.nar_size,
                    references: references.map(|path| context.shown(path)).collect(),
                },
            );
        }
        let path = context.shown(&node.derivation_path);
        let locked = LockedDerivation { path, outputs };
        record.derivations.insert(node.label.clone(), locked);
    }
    Ok(record)
}

/// Compares what is built of `labels` with the lock `file`, notes in the document what was found, and says it in words.
///
/// Where nothing could be compared, the document does not list the lock among the checks.
pub fn compare(
    context: &Context,
    planned: &Planned,
    store: &Store,
    file: &Path,
    labels: &BTreeSet<String>,
    attestation: &mut Attestation,
) -> Result<String, Failure> {
    let lock = Lock::read(file)?;
    let counts = attestation.lock.insert(LockCounts::default());
    let Some(recorded) = lock.records.get(&key(context, planned)) else {
        let known: Vec<&str> = lock
            .records
            .values()
            .map(|record| record.seed.as_str())
            .collect();
        return Ok(format!(
            "{}: nothing is on record for the seed {} {}; there is for: {}\n",
            file.display(),
            planned.seeds.seed.name,
            planned.seeds.seed.digest(),
            match known.is_empty() {
                true => "none".to_owned(),
                false => known.join(", "),
            }
        ));
    };
    let wanted = |label: &str| labels.contains(label);
    let here = record(context, planned, store, wanted)?;
    let mut text = String::new();
    for compared in recorded.compare(&here, wanted) {
        let name = format!("{}:{}", compared.label, compared.output);
        match &compared.finding {
            Finding::Same => counts.same += 1,
            Finding::Differs { recorded, found } => {
                counts.different += 1;
                text.push_str(&describe_difference(
                    &compared.label,
                    &name,
                    recorded,
                    found,
                ));
                let detail = format!("the lock has {}", recorded.sha256);
                let output = attestation.outputs.iter_mut().find(|output| {
                    output.package == compared.label && output.output == compared.output
                });
                match output {
                    Some(output) => {
                        output.result = Seen::Differs;
                        output.detail = detail;
                    }
                    // Another package of the same derivation stands for it: a difference is one all the same.
                    None => {
                        attestation.other_damage.insert(name, detail);
                    }
                }
            }
            Finding::OtherDerivation { .. } => {
                counts.other_derivation += 1;
                text.push_str(&format!("other derivation than in the lock: {name}\n"));
            }
            Finding::NotRecorded => counts.not_recorded += 1,
            Finding::NotBuilt => counts.not_built += 1,
        }
    }
    if counts.same + counts.different > 0 {
        attestation.checks.push("lock".to_owned());
    }
    let counts = [
        (counts.different, "different"),
        (counts.not_built, "not built here"),
        (counts.not_recorded, "not on record"),
        (counts.other_derivation, "of another derivation"),
        (counts.same, "the same"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let counts = match counts.is_empty() {
        true => "nothing to compare".to_owned(),
        false => counts.join(", "),
    };
    text.push_str(&format!("{}: {counts}\n", file.display()));
    Ok(text)
}

/// What the lock has and what the store has of the output `name` of `label`, in words.
fn describe_difference(
    label: &str,
    name: &str,
    recorded: &LockedOutput,
    found: &LockedOutput,
) -> String {
    let mut text = format!("differs from the lock: {name} {}\n", found.path);
    for (side, output) in [("lock", recorded), ("store", found)] {
        let LockedOutput { sha256, size, .. } = output;
        text.push_str(&format!("  {side}: {sha256}, {size} bytes\n"));
    }
    for reference in recorded.references.difference(&found.references) {
        text.push_str(&format!("  only in the lock: a reference to {reference}\n"));
    }
    for reference in found.references.difference(&recorded.references) {
        text.push_str(&format!(
            "  only in the store: a reference to {reference}\n"
        ));
    }
    text.push_str(&format!(
        "  see where with `bootstrap verify --rebuild {label}`\n"
    ));
    text
}
