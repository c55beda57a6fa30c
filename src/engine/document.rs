// SPDX-License-Identifier: GPL-3.0-or-later
//! The document of a verification: what is in it whatever was verified.

use std::collections::BTreeMap;

use super::builtins::DOWNLOAD;
use super::planned::Planned;
use super::run::FinishedRun;
use super::session::Session;
use crate::formats::count::counted;
use crate::formats::hash::Sha256Digest;
use crate::formats::store_path::StorePath;
use crate::formats::visible::{visible_line, visible_path};
use crate::road::plan::{NodeKind, Plan, fixpoint};
use crate::store::canonical::Deviation;
use crate::verify::attestation::{Attestation, AttestedOutput, FORMAT, NamedHash, Seen};
use crate::verify::whole::{Condition, StoreCheckReport};

/// How many files of an item are named.
const FILES: usize = 5;

impl Session {
    /// A document about `planned` that holds no outputs yet.
    pub fn attestation(&self, planned: &Planned, checks: &[&str]) -> Attestation {
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
        let downloads =
            planned.plan.nodes().iter().filter(|node| {
                node.kind == NodeKind::Download && node.derivation.builder == DOWNLOAD
            });
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
            system: self.options().system.name().to_owned(),
            kernel: kernel.join(" "),
            seeds: seeds.collect(),
            impure: impure.collect(),
            sources: sources.collect(),
            plans: vec![NamedHash {
                name: planned.seeds.seed.name.clone(),
                sha256: plan_digest(self, &planned.plan).to_base16(),
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
}

/// The SHA-256 of all that is planned: of a line `LABEL PATH` for each derivation, sorted. What `--fixpoint` adds is
/// left out: it follows from the rest.
fn plan_digest(session: &Session, plan: &Plan) -> Sha256Digest {
    let nodes = plan.nodes().iter();
    let nodes = nodes.filter(|node| !node.label.starts_with(fixpoint::PREFIX));
    let mut lines: Vec<String> = nodes
        .map(|node| format!("{} {}\n", node.label, session.shown(&node.derivation_path)))
        .collect();
    lines.sort();
    Sha256Digest::of(lines.concat())
}

/// What makes each store item that the plan knows.
pub struct Makers<'p> {
    outputs: BTreeMap<&'p StorePath, (&'p str, &'p str)>,
    /// Derivations and what they are given as it is.
    others: BTreeMap<&'p StorePath, &'p str>,
}

impl<'p> Makers<'p> {
    /// What makes the items of `plan`.
    pub fn of(plan: &'p Plan) -> Self {
        let mut makers = Self {
            outputs: BTreeMap::new(),
            others: BTreeMap::new(),
        };
        for node in plan.nodes() {
            let label = node.label.as_str();
            for (output, path) in node.output_paths() {
                makers.outputs.entry(path).or_insert((label, output));
            }
            makers.others.insert(&node.derivation_path, label);
            for source in &node.derivation.input_sources {
                makers.others.entry(source).or_insert(label);
            }
        }
        makers
    }

    /// The label of what has `path` as an output.
    pub fn output_label(&self, path: &StorePath) -> Option<&'p str> {
        self.outputs.get(path).map(|(label, _)| *label)
    }

    /// The label of what makes `path`.
    pub fn label(&self, path: &StorePath) -> Option<&'p str> {
        let output = self.output_label(path);
        output.or_else(|| self.others.get(path).copied())
    }
}

/// Adds what was seen of each item to the document.
pub fn note_items(
    session: &Session,
    makers: &Makers<'_>,
    report: &StoreCheckReport,
    attestation: &mut Attestation,
) {
    for checked in &report.items {
        let path = &checked.info.path;
        let (seen, detail) = seen(&checked.condition);
        match makers.outputs.get(path) {
            Some((label, output)) => attestation.outputs.push(AttestedOutput {
                package: (*label).to_owned(),
                output: (*output).to_owned(),
                path: session.shown(path),
                sha256: checked.info.nar_sha256.to_base16(),
                size: checked.info.nar_size,
                result: seen,
                made: None,
                second: None,
                rebuilt: None,
                detail,
            }),
            None if seen.is_good() => attestation.other_items += 1,
            None => {
                attestation
                    .other_damage
                    .insert(session.shown(path), format!("{}: {detail}", word(seen)));
            }
        }
    }
    let unregistered = report.strays.unregistered.iter();
    attestation.unregistered = unregistered.map(|path| session.shown(path)).collect();
    let foreign = report.strays.foreign.iter();
    let store_dir = &session.directories().store_dir;
    attestation.extra = foreign.map(|name| format!("{store_dir}/{name}")).collect();
    sort(attestation);
}

/// What `condition` is called in documents, and its details.
pub fn seen(condition: &Condition) -> (Seen, String) {
    match condition {
        Condition::Intact => (Seen::Intact, String::new()),
        Condition::Missing => (Seen::Missing, String::new()),
        Condition::Touched(files) => (Seen::Touched, list(files).join("; ")),
        Condition::Altered { found, .. } => (Seen::Altered, format!("its SHA-256 is now {found}")),
        Condition::Misrecorded(wrong) => (Seen::Misrecorded, wrong.problems.join("; ")),
        Condition::Unreadable(detail) => (Seen::Unreadable, detail.clone()),
    }
}

/// The word for `seen`.
pub fn word(seen: Seen) -> &'static str {
    match seen {
        Seen::Intact => "intact",
        Seen::Reproducible => "reproducible",
        Seen::Equivalent => "equivalent",
        Seen::Registered => "registered",
        Seen::Touched => "touched",
        Seen::Altered => "altered",
        Seen::Misrecorded => "misrecorded",
        Seen::Missing => "missing",
        Seen::Unreadable => "unreadable",
        Seen::Differs => "differs",
        Seen::Failed => "failed",
    }
}

/// The first of `files` with their problems, one each.
pub fn list(files: &[Deviation]) -> Vec<String> {
    let mut lines: Vec<String> = files
        .iter()
        .take(FILES)
        .map(|file| match file.path.as_os_str().is_empty() {
            true => visible_line(&file.problem),
            false => format!(
                "{}: {}",
                visible_path(&file.path),
                visible_line(&file.problem)
            ),
        })
        .collect();
    if files.len() > FILES {
        lines.push(format!("and {}", counted(files.len() - FILES, "more file")));
    }
    lines
}

/// Adds the seeds, sources and derivations of the plan of `run`.
pub(super) fn add_origin(attestation: &mut Attestation, run: &FinishedRun<'_>) {
    let other = run.session.attestation(&run.planned, &[]);
    attestation.seeds.extend(other.seeds);
    attestation.impure.extend(other.impure);
    attestation.sources.extend(other.sources);
    attestation.plans.extend(other.plans);
    sort(attestation);
}

/// Sorts what is in the document.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_of_files_end_with_a_count() {
        let last = |count: usize| {
            let file = |number| Deviation {
                path: format!("f{number}").into(),
                problem: "it is writable".to_owned(),
            };
            let files: Vec<Deviation> = (0..count).map(file).collect();
            list(&files).pop().unwrap()
        };
        assert_eq!(last(FILES), "f4: it is writable");
        assert_eq!(last(FILES + 1), "and 1 more file");
        assert_eq!(last(FILES + 2), "and 2 more files");
    }
}
