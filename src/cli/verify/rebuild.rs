//! `verify --rebuild` and `build --check`: building again, and the account of what came out differently.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::document;
use crate::builder::error::BuildError;
use crate::builder::history::epoch_seconds;
use crate::builder::variation::Variation;
use crate::cli::arguments::VerifyArguments;
use crate::cli::context::{Context, print};
use crate::cli::equipment;
use crate::cli::failure::{Failure, Status};
use crate::cli::run::{self, Run};
use crate::formats::keys::SecretKey;
use crate::road::plan::Plan;
use crate::show::records::{Rebuild, Rebuilds};
use crate::store::directories::free_space;
use crate::verify::attestation::{AttestedOutput, Seen};
use crate::verify::compare;
use crate::verify::rebuild::{Comparer, Difference, Outcome};
use crate::verify::vary;

/// A file system in memory is taken for build directories where this much of it is free, in bytes: GCC's build needs
/// a third of it, and so does its compiler.
const ROOM: u64 = 16 << 30;

/// What was seen of the packages, over all rounds.
#[derive(Debug, Default)]
struct Rounds {
    variations: Vec<Variation>,
    /// When each round began, in seconds since the Epoch.
    started: Vec<u64>,
    /// What should have been different and is not, and why.
    not_varied: BTreeMap<String, String>,
    /// By package and output: the record, and the rounds that gave something else.
    outputs: BTreeMap<(String, String), SeenOutput>,
    /// Why packages could not be built again.
    failed: BTreeMap<String, String>,
    /// Whose fault the first of these failures is.
    status: Option<Status>,
}

#[derive(Debug)]
struct SeenOutput {
    outcome: Outcome,
    /// The rounds that gave something else, counted from 1.
    differing: Vec<(usize, Difference)>,
}

/// `bootstrap verify --rebuild`.
pub fn rebuild(
    context: &Context,
    arguments: &VerifyArguments,
    key: Option<&SecretKey>,
) -> Result<(), Failure> {
    let cores = equipment::settings(context).cores;
    let mut not_varied = BTreeMap::new();
    let directory = match arguments.vary {
        true => other_file_system(arguments.vary_directory.as_deref(), &mut not_varied)?,
        false => None,
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    if arguments.vary && processors == 1 {
        let reason = "this machine has one only, or this process may use no more";
        not_varied.insert("processors".to_owned(), reason.to_owned());
    }
    let variations = (0..usize::from(arguments.rounds)).map(|round| match arguments.vary {
        true => vary::variation(round, cores, processors, directory.clone()),
        false => Variation::default(),
    });
    let wanted = |plan: &Plan| match arguments.packages.as_slice() {
        [] => Ok(plan.everything()?),
        packages => run::named(plan, packages),
    };
    again(context, &wanted, variations.collect(), not_varied, key)
}

/// `bootstrap build --check`, once all is built.
pub fn check(context: &Context, packages: &[String]) -> Result<(), Failure> {
    let wanted = |plan: &Plan| run::named(plan, packages);
    let plain = vec![Variation::default()];
    again(context, &wanted, plain, BTreeMap::new(), None)
}

/// Builds what is `wanted` again, once for each variation, and tells what came of it and what is `not_varied`.
fn again(
    context: &Context,
    wanted: &dyn Fn(&Plan) -> Result<Vec<usize>, Failure>,
    variations: Vec<Variation>,
    not_varied: BTreeMap<String, String>,
    key: Option<&SecretKey>,
) -> Result<(), Failure> {
    require_valid(context, wanted)?;
    // What the builds are made of, sources above all, may have been collected.
    let inputs = |plan: &Plan| -> Result<Vec<usize>, Failure> {
        let nodes = wanted(plan)?.into_iter();
        let inputs = nodes.flat_map(|node| plan.nodes()[node].dependencies.iter().copied());
        let inputs: BTreeSet<usize> = inputs.collect();
        Ok(inputs.into_iter().collect())
    };
    let run = Run::start(context, &inputs)?;
    run.succeeded()?;
    let nodes = wanted(&run.planned.plan)?;
    let settings = equipment::settings(context);
    let mut rounds = Rounds {
        not_varied,
        ..Rounds::default()
    };
    for variation in variations {
        rounds.started.push(epoch_seconds(SystemTime::now()));
        let comparer = Comparer::new(&run.store, &settings, &variation);
        let report = run.rebuild(&nodes, &variation, &|rebuilt| comparer.inspect(rebuilt))?;
        rounds.add(comparer.into_outcomes(), &report.errors, variation);
        if report.summary.interrupted {
            return run::failure(&report).map_or(Ok(()), Err);
        }
    }
    rounds.note_date();
    let bad = rounds
        .outputs
        .values()
        .filter(|seen| !seen.differing.is_empty())
        .count();
    let attestation = (context.options.json || key.is_some()).then(|| {
        let mut attestation = document::new(context, &run.planned, &["rebuild"]);
        rounds.note(context, &mut attestation);
        document::note_rebuilds(context, &run.planned.plan, &mut attestation);
        attestation.good = bad == 0 && rounds.failed.is_empty();
        attestation
    });
    // Not before: the document tells these rounds from those that were on record already.
    rounds.record(context, &run.planned.plan, &nodes);
    match attestation {
        Some(attestation) => document::put_out(&attestation, key)?,
        None => print(&context.invocation.complete(&rounds.describe(context)))?,
    }
    match (bad, rounds.failed.len()) {
        (0, 0) => Ok(()),
        (0, failed) => Err(Failure::Told {
            message: format!(
                "{failed} packages could not be built again: each has its reason above, and its log under {}",
                context.directories.log.join("rebuilds").display()
            ),
            status: rounds.status.unwrap_or(Status::Failed),
        }),
        (bad, _) => Err(Failure::Told {
            message: format!(
                "{bad} outputs came out differently when built again: `bootstrap verify` tells whether the store's are as \
                 they were registered, a difference in them where the build is not reproducible"
            ),
            status: Status::Hashes,
        }),
    }
}

impl Rounds {
    fn count(&self) -> u32 {
        u32::try_from(self.variations.len()).unwrap_or(u32::MAX)
    }

    /// What was different in each round, and when it began.
    fn variations(&self) -> Vec<BTreeMap<String, String>> {
        let rounds = self.variations.iter().zip(&self.started);
        rounds
            .map(|(variation, started)| {
                let mut varied = variation.describe();
                varied.insert("time".to_owned(), started.to_string());
                varied
            })
            .collect()
    }

    /// Notes that the date was the same, where something should have been different: the clock cannot be set for a build alone.
    fn note_date(&mut self) {
        let varied = |variation: &Variation| !variation.describe().is_empty();
        if !self.variations.iter().any(varied) {
            return;
        }
        const DAY: u64 = 24 * 60 * 60;
        let rounds: BTreeSet<u64> = self.started.iter().map(|time| time / DAY).collect();
        let first = |seen: &&SeenOutput| seen.outcome.info.registration_time / DAY;
        let outputs = self.outputs.values();
        let same = outputs.filter(|seen| rounds.iter().all(|day| *day == first(seen)));
        let same = same.count();
        if same > 0 {
            let reason = format!(
                "{same} outputs were first built on the day (UTC) of every round; built again on another day, they would show \
                 whether a date gets into them"
            );
            self.not_varied.insert("date".to_owned(), reason);
        }
    }

    /// Leaves on record, for reports, what came of each package.
    fn record(&self, context: &Context, plan: &Plan, nodes: &[usize]) {
        let records = Rebuilds::new(&context.directories.state);
        for node in nodes.iter().map(|index| &plan.nodes()[*index]) {
            let of_it = |label: &str| label == node.label;
            let mut outputs = self.outputs.iter().filter(|((label, _), _)| of_it(label));
            if self.failed.keys().any(|label| of_it(label)) || outputs.clone().next().is_none() {
                continue;
            }
            let rebuild = Rebuild {
                item: node.label.clone(),
                derivation: node.derivation_path.base_name().to_owned(),
                same: outputs.all(|(_, seen)| seen.differing.is_empty()),
                time: epoch_seconds(SystemTime::now()),
                rounds: self.count(),
                variations: self.variations(),
            };
            if let Err(error) = records.append(&rebuild) {
                tracing::warn!("cannot record that {} was built again: {error}", node.label);
            }
        }
    }
}

/// Fails where something wanted was never built: there is nothing to compare with.
fn require_valid(
    context: &Context,
    wanted: &dyn Fn(&Plan) -> Result<Vec<usize>, Failure>,
) -> Result<(), Failure> {
    let planned = context.plan()?;
    let store = context.store_to_read()?;
    for index in wanted(&planned.plan)? {
        let node = &planned.plan.nodes()[index];
        let outputs: Vec<_> = node.output_paths().collect();
        let valid = store.valid_among(outputs.iter().map(|(_, path)| *path))?;
        if let Some((_, path)) = outputs.iter().find(|(_, path)| !valid.contains(*path)) {
            return Err(Failure::NotBuilt {
                package: node.label.clone(),
                path: context.shown(path),
            });
        }
    }
    Ok(())
}

/// A place for build directories on another file system than the usual one; where there is none, `not_varied` says why.
fn other_file_system(
    asked: Option<&Path>,
    not_varied: &mut BTreeMap<String, String>,
) -> Result<Option<PathBuf>, Failure> {
    let usual = std::env::temp_dir();
    let device = |path: &Path| path.metadata().map(|found| found.dev());
    let reason = if let Some(asked) = asked {
        let found = device(asked).map_err(Failure::reading(asked))?;
        if !device(&usual).is_ok_and(|usual| usual == found) {
            return Ok(Some(asked.to_owned()));
        }
        format!(
            "{} is on the same file system as {}",
            asked.display(),
            usual.display()
        )
    } else {
        let memory = Path::new("/dev/shm");
        let has_room = free_space(memory).is_ok_and(|free| free >= ROOM);
        let differs =
            matches!((device(memory), device(&usual)), (Ok(one), Ok(other)) if one != other);
        if has_room && differs {
            return Ok(Some(memory.to_owned()));
        }
        "name a directory on another file system with --vary-directory".to_owned()
    };
    not_varied.insert("directory-order".to_owned(), reason);
    Ok(None)
}

impl Rounds {
    fn add(&mut self, outcomes: Vec<Outcome>, errors: &[BuildError], variation: Variation) {
        self.variations.push(variation);
        let round = self.variations.len();
        for outcome in outcomes {
            let key = (outcome.label.clone(), outcome.output.clone());
            let seen = self.outputs.entry(key).or_insert_with(|| SeenOutput {
                outcome: outcome.clone(),
                differing: Vec::new(),
            });
            seen.differing
                .extend(outcome.difference.map(|difference| (round, difference)));
        }
        for error in errors {
            self.status.get_or_insert(error.kind().into());
            let label = error.label().unwrap_or("the run").to_owned();
            self.failed
                .entry(label)
                .or_insert_with(|| format!("round {round}: {error}"));
        }
    }

    fn note(&self, context: &Context, attestation: &mut crate::verify::attestation::Attestation) {
        attestation.rounds = self.count();
        attestation.variations = self.variations();
        attestation.not_varied.clone_from(&self.not_varied);
        for seen in self.outputs.values() {
            let info = &seen.outcome.info;
            let (result, detail) = match seen.differing.as_slice() {
                [] => (Seen::Reproducible, String::new()),
                [(round, first), ..] => (
                    Seen::Differs,
                    format!("round {round} gave {}; {}", first.found, in_short(first)),
                ),
            };
            attestation.outputs.push(AttestedOutput {
                package: seen.outcome.label.clone(),
                output: seen.outcome.output.clone(),
                path: context.shown(&info.path),
                sha256: info.nar_sha256.to_base16(),
                size: info.nar_size,
                result,
                made: None,
                second: None,
                rebuilt: None,
                detail,
            });
        }
        for output in &mut attestation.outputs {
            if let Some(reason) = self.failed.get(&output.package)
                && output.result.is_good()
            {
                output.result = Seen::Failed;
                output.detail = reason.clone();
            }
        }
        for (label, reason) in &self.failed {
            if !attestation
                .outputs
                .iter()
                .any(|output| output.package == *label)
            {
                attestation
                    .other_damage
                    .insert(label.clone(), reason.clone());
            }
        }
        document::sort(attestation);
    }

    fn describe(&self, context: &Context) -> String {
        let rounds = self.variations.len();
        let plural = if rounds == 1 { "" } else { "s" };
        let mut text = String::new();
        for ((label, output), seen) in &self.outputs {
            let info = &seen.outcome.info;
            if seen.differing.is_empty() {
                text.push_str(&format!(
                    "reproducible: {label}:{output} {} {}\n",
                    context.shown(&info.path),
                    info.nar_sha256
                ));
            }
            for (round, difference) in &seen.differing {
                text.push_str(&format!(
                    "differs in round {round}: {label}:{output} {}\n  expected the SHA-256 {}, saw {}\n",
                    context.shown(&info.path),
                    info.nar_sha256,
                    difference.found
                ));
                match &difference.files {
                    Ok(files) => text.push_str(&compare::describe(files)),
                    Err(reason) => text.push_str(&format!("  {reason}\n")),
                }
                let first = context.directories.physical(&info.path);
                let pair = format!("{} {}", first.display(), difference.kept.display());
                text.push_str(&match has_diffoscope() {
                    true => format!("  see more with `diffoscope {pair}`\n"),
                    false => format!("  both are there until `bootstrap gc`: {pair}\n"),
                });
            }
        }
        for (label, reason) in &self.failed {
            text.push_str(&format!("failed: {label}: {reason}\n"));
        }
        for (number, variation) in self.variations.iter().enumerate() {
            let varied: Vec<String> = variation
                .describe()
                .into_iter()
                .map(|(name, value)| format!("{name} {value}"))
                .collect();
            if !varied.is_empty() {
                text.push_str(&format!("round {}: {}\n", number + 1, varied.join(", ")));
            }
        }
        for (what, reason) in &self.not_varied {
            text.push_str(&format!("not varied: {what}: {reason}\n"));
        }
        let same = self
            .outputs
            .values()
            .filter(|seen| seen.differing.is_empty());
        text.push_str(&format!(
            "{} of {} outputs the same in {rounds} round{plural}\n",
            same.count(),
            self.outputs.len()
        ));
        text
    }
}

/// A difference in a few words.
fn in_short(difference: &Difference) -> String {
    let files = match &difference.files {
        Ok(files) => files,
        Err(reason) => return reason.clone(),
    };
    let causes: std::collections::BTreeSet<_> =
        files.iter().flat_map(|file| file.causes()).collect();
    let causes: Vec<&str> = causes.into_iter().map(|cause| cause.describe()).collect();
    let names: Vec<&str> = files
        .iter()
        .take(5)
        .map(|file| file.path.as_str())
        .collect();
    let mut text = format!("{} files differ: {}", files.len(), names.join(", "));
    if !causes.is_empty() {
        text.push_str(&format!("; likely {}", causes.join(", ")));
    }
    text
}

fn has_diffoscope() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join("diffoscope").is_file())
}
