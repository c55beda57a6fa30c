// SPDX-License-Identifier: GPL-3.0-or-later
//! Building again and comparing: rounds over packages, with or without variation.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::document;
use super::error::EngineError;
use super::run::{FinishedRun, Targets, first_error};
use super::session::Session;
use super::watcher::Watcher;
use crate::builder::error::{BuildError, FailureKind};
use crate::builder::history::epoch_seconds;
use crate::builder::rebuild::RebuiltDerivation;
use crate::builder::variation::Variation;
use crate::diagnostics::FileError;
use crate::formats::count::{agreeing, counted};
use crate::road::plan::{Node, Plan};
use crate::store::directories::free_space;
use crate::verify::attestation::{Attestation, AttestedOutput, Seen};
use crate::verify::rebuild::{Comparer, Difference, RebuildOutcome};
use crate::verify::vary;

/// A file system in memory is taken for build directories where this much of it is free, in bytes: GCC's build needs
/// a third of it, and so does its compiler.
const ROOM: u64 = 16 << 30;

/// How packages are built again.
#[derive(Debug, Default)]
pub struct RebuildOptions {
    /// What is different in each round.
    pub variations: Vec<Variation>,
    /// What should be different and is not, and why.
    pub not_varied: BTreeMap<String, String>,
}

/// The result of building packages again, over all rounds.
#[derive(Debug, Default)]
pub struct Rounds {
    /// What was different in each round.
    pub variations: Vec<Variation>,
    /// When each round began, in seconds since the Epoch.
    started: Vec<u64>,
    /// What should have been different and is not, and why.
    pub not_varied: BTreeMap<String, String>,
    /// By package and output: the record, and the rounds that gave something else.
    pub outputs: BTreeMap<(String, String), SeenOutput>,
    /// Why packages could not be built again.
    pub failed: BTreeMap<String, String>,
    /// The kind of the first of these failures.
    pub first_failure: Option<FailureKind>,
}

/// An output that was built again.
#[derive(Debug)]
pub struct SeenOutput {
    /// What is recorded.
    pub outcome: RebuildOutcome,
    /// The rounds that gave something else, counted from 1.
    pub differing: Vec<(usize, Difference)>,
}

impl RebuildOptions {
    /// So many equal `rounds`.
    pub fn plain(rounds: usize) -> Self {
        Self {
            variations: vec![Variation::default(); rounds],
            not_varied: BTreeMap::new(),
        }
    }

    /// So many `rounds`, each varied in another way, with build directories in `directory` or wherever another file
    /// system is found.
    ///
    /// # Errors
    /// Where `directory` cannot be examined.
    pub fn varied(
        session: &Session,
        rounds: usize,
        directory: Option<&Path>,
    ) -> Result<Self, EngineError> {
        let cores = session.build_settings().cores;
        let mut not_varied = BTreeMap::new();
        let directory = other_file_system(session, directory, &mut not_varied)?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        if processors == 1 {
            let reason = "this machine has only one, or this process may use no more";
            not_varied.insert("processors".to_owned(), reason.to_owned());
        }
        let variations =
            (0..rounds).map(|round| vary::variation(round, cores, processors, directory.clone()));
        Ok(Self {
            variations: variations.collect(),
            not_varied,
        })
    }
}

impl Session {
    /// Builds what is `wanted`, all of which must be valid, again, once for each variation. Gives the run that the
    /// builds needed and the result.
    ///
    /// # Errors
    /// Where something wanted is not valid, inputs cannot be made, or a round was interrupted. A build that fails is in
    /// the result.
    pub fn rebuild(
        &self,
        wanted: Targets<'_>,
        options: RebuildOptions,
        watcher: &dyn Watcher,
    ) -> Result<(FinishedRun<'_>, Rounds), EngineError> {
        self.require_valid(wanted)?;
        // What the builds are made of, sources above all, may have been collected.
        let inputs = |plan: &Plan| -> Result<Vec<usize>, EngineError> {
            let nodes = wanted(plan)?.into_iter();
            let inputs = nodes.flat_map(|node| plan.nodes()[node].dependencies.iter().copied());
            let inputs: BTreeSet<usize> = inputs.collect();
            Ok(inputs.into_iter().collect())
        };
        let mut run = FinishedRun::start(self, &inputs, watcher)?.succeeded()?;
        run.targets = wanted(&run.planned.plan)?;
        let settings = self.build_settings();
        let mut rounds = Rounds {
            not_varied: options.not_varied,
            ..Rounds::default()
        };
        for variation in options.variations {
            rounds.started.push(epoch_seconds(SystemTime::now()));
            let comparer = Comparer::new(&run.store, &settings, &variation, true);
            let inspect = |rebuilt: &RebuiltDerivation<'_>| comparer.inspect(rebuilt).map(|_| ());
            let report = run.rebuild(&run.targets, &variation, &inspect, watcher)?;
            if report.summary.interrupted && first_error(&report).is_none() {
                return Err(EngineError::Run(Box::new(report)));
            }
            rounds.add(comparer.into_outcomes(), &report.errors, variation);
            if report.summary.interrupted {
                break;
            }
        }
        rounds.note_date();
        Ok((run, rounds))
    }

    /// Fails where something wanted was never built: there is nothing to compare with.
    fn require_valid(&self, wanted: Targets<'_>) -> Result<(), EngineError> {
        let planned = self.plan()?;
        let store = self.store_to_read()?;
        for index in wanted(&planned.plan)? {
            let node = &planned.plan.nodes()[index];
            let outputs: Vec<_> = node.output_paths().collect();
            let valid = store.valid_among(outputs.iter().map(|(_, path)| *path))?;
            if let Some((_, path)) = outputs.iter().find(|(_, path)| !valid.contains(*path)) {
                return Err(EngineError::NotBuilt {
                    package: node.label.clone(),
                    path: self.shown(path),
                });
            }
        }
        Ok(())
    }
}

impl Rounds {
    /// The number of rounds.
    pub fn count(&self) -> u32 {
        u32::try_from(self.variations.len()).unwrap_or(u32::MAX)
    }

    /// What was different in each round, by name, and when it began.
    pub fn described_variations(&self) -> Vec<BTreeMap<String, String>> {
        let rounds = self.variations.iter().zip(&self.started);
        rounds
            .map(|(variation, started)| {
                let mut varied = variation.describe();
                varied.insert("time".to_owned(), started.to_string());
                varied
            })
            .collect()
    }

    /// Notes that the date was the same, where something should have been different: the clock cannot be set for a
    /// build alone.
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
                "{} {} first built on the day (UTC) of every round; built again on another day, {} would show whether a \
                 date gets into {}",
                counted(same, "output"),
                agreeing(same, "was", "were"),
                agreeing(same, "it", "they"),
                agreeing(same, "it", "them")
            );
            self.not_varied.insert("date".to_owned(), reason);
        }
    }

    /// Those of the packages `nodes` whose outputs were all built again, and whether each gave the same bytes.
    pub fn compared<'p>(&self, nodes: impl IntoIterator<Item = &'p Node>) -> Vec<(&'p Node, bool)> {
        let compared = nodes.into_iter().filter_map(|node| {
            let of_it = |label: &str| label == node.label;
            let mut outputs = self.outputs.iter().filter(|((label, _), _)| of_it(label));
            if self.failed.keys().any(|label| of_it(label)) || outputs.clone().next().is_none() {
                return None;
            }
            Some((node, outputs.all(|(_, seen)| seen.differing.is_empty())))
        });
        compared.collect()
    }

    /// How many outputs differed in some round.
    pub fn differing(&self) -> usize {
        let outputs = self.outputs.values();
        outputs.filter(|seen| !seen.differing.is_empty()).count()
    }

    fn add(&mut self, outcomes: Vec<RebuildOutcome>, errors: &[BuildError], variation: Variation) {
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
            self.first_failure.get_or_insert(error.kind());
            let label = error.label().unwrap_or("the run").to_owned();
            self.failed
                .entry(label)
                .or_insert_with(|| format!("round {round}: {error}"));
        }
    }

    /// Adds the result to the document `attestation`.
    pub fn note(&self, session: &Session, attestation: &mut Attestation) {
        attestation.rounds = self.count();
        attestation.variations = self.described_variations();
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
                path: session.shown(&info.path),
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
}

/// A place for build directories on another file system than the usual one; where there is none, `not_varied` says why.
fn other_file_system(
    session: &Session,
    asked: Option<&Path>,
    not_varied: &mut BTreeMap<String, String>,
) -> Result<Option<PathBuf>, EngineError> {
    let usual = session.build_settings().temporary;
    let device = |path: &Path| path.metadata().map(|found| found.dev());
    let reason = if let Some(asked) = asked {
        let found = device(asked).map_err(FileError::named_by_user("read", asked))?;
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

/// A difference in a few words.
fn in_short(difference: &Difference) -> String {
    let files = match &difference.files {
        Ok(files) => files,
        Err(reason) => return reason.clone(),
    };
    let causes: BTreeSet<_> = files.iter().flat_map(|file| file.causes()).collect();
    let causes: Vec<&str> = causes.into_iter().map(|cause| cause.describe()).collect();
    let names: Vec<&str> = files
        .iter()
        .take(5)
        .map(|file| file.path.as_str())
        .collect();
    let verb = agreeing(files.len(), "differs", "differ");
    let mut text = format!(
        "{} {verb}: {}",
        counted(files.len(), "file"),
        names.join(", ")
    );
    if !causes.is_empty() {
        text.push_str(&format!("; likely {}", causes.join(", ")));
    }
    text
}
