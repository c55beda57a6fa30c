//! What is to be done: the derivations that were asked for, cut down to what is missing, in order of urgency.
//!
//! Cutting down goes from the top: where the wanted outputs of a derivation are valid, nothing it was built from is
//! looked at, and so neither built nor downloaded again. What is left is ordered by the critical path: the urgency
//! of an item is the time that it and the longest chain of items waiting for it will take, as far as earlier runs
//! or the recipes tell; and earlier runs tell how fast this machine is against the one that recipes were timed on. Starting
//! the most urgent item first is what keeps the end of a run from being one long build alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::pace::pace;
use crate::events::Kind;
use crate::formats::derivation::Derivation;
use crate::formats::store_path::StorePath;
use crate::store::{Store, StoreError};

/// How long a build takes that no earlier run knows. Only ratios matter: a download is a tenth of it.
const UNKNOWN_BUILD: Duration = Duration::from_secs(10);
const UNKNOWN_DOWNLOAD: Duration = Duration::from_secs(1);
/// How long a seed takes on a machine of two cores: a base system of half a gigabyte. No recipe says it.
const TYPICAL_SEED: Duration = Duration::from_secs(10);

/// One derivation, and what people call it.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The label in the plan (`stage0/sed`): what events and errors call it.
    pub label: &'a str,
    /// Where the derivation goes in the store.
    pub path: &'a StorePath,
    /// The derivation, with the paths of its outputs.
    pub derivation: &'a Derivation,
    /// For downloads: the size in bytes, where it is known; for people, and not checked.
    pub size: Option<u64>,
    /// How long it takes on a machine of two cores, where that is known.
    pub typical: Option<Duration>,
    /// How it is made.
    pub kind: Kind,
    /// The input that is the root of the builder's sandbox; `None` where the builder sees nothing but the store.
    pub root: Option<&'a StorePath>,
}

/// A graph that cannot be worked on.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum GraphError {
    /// A derivation that is neither valid nor in the graph.
    #[error("{label} needs the derivation {missing}, which is not part of the plan")]
    Missing {
        /// Who needs it; the request itself where nobody does.
        label: String,
        /// The base name of the derivation.
        missing: String,
    },
    /// An input's output that its derivation does not have.
    #[error("{label} needs the output `{output}` of {input}, which has no such output")]
    NoOutput {
        /// Who needs it.
        label: String,
        /// The label of the input.
        input: String,
        /// The output.
        output: String,
    },
    /// Derivations that wait for each other.
    #[error("{label} needs itself, by way of its inputs")]
    Cycle {
        /// One of them.
        label: String,
    },
    /// The store could not be asked.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

/// All derivations that are known, by path.
#[derive(Debug, Default)]
pub struct Graph<'a> {
    jobs: BTreeMap<&'a StorePath, Job<'a>>,
}

impl<'a> FromIterator<Job<'a>> for Graph<'a> {
    fn from_iter<I: IntoIterator<Item = Job<'a>>>(jobs: I) -> Self {
        Self {
            jobs: jobs.into_iter().map(|job| (job.path, job)).collect(),
        }
    }
}

/// An item that is to be made.
#[derive(Debug)]
pub struct Task<'a> {
    /// What it is.
    pub job: Job<'a>,
    /// The tasks that come before it, as indices.
    pub inputs: Vec<usize>,
    /// The tasks that wait for it, as indices.
    pub dependants: Vec<usize>,
    /// Milliseconds from its start to the end of the longest chain that waits for it.
    pub urgency: u64,
    /// How long it took before, where an earlier run tells; else how long it takes as a rule, on a machine that is as fast as
    /// this one was with other items.
    pub expected: Option<Duration>,
    /// Whether that is what it takes as a rule.
    pub guessed: bool,
}

impl<'a> Task<'a> {
    /// `job`, which waits for nothing and nothing waits for it. On this machine things take `pace` times what recipes say.
    fn alone(job: Job<'a>, pace: f64, estimate: impl Fn(&str) -> Option<Duration>) -> Self {
        let before = estimate(job.label);
        let typical = job.typical.or(match job.kind {
            Kind::Seed => Some(TYPICAL_SEED),
            Kind::Download | Kind::Substitute | Kind::Build => None,
        });
        let guess = typical
            .and_then(|typical| Duration::try_from_secs_f64(typical.as_secs_f64() * pace).ok());
        let expected = before.or(guess);
        let own = expected.unwrap_or(match job.kind {
            Kind::Download | Kind::Substitute => UNKNOWN_DOWNLOAD,
            Kind::Seed | Kind::Build => UNKNOWN_BUILD,
        });
        Self {
            job,
            inputs: Vec::new(),
            dependants: Vec::new(),
            urgency: u64::try_from(own.as_millis()).unwrap_or(u64::MAX),
            expected,
            guessed: before.is_none() && guess.is_some(),
        }
    }
}

/// Everything that is to be made, dependencies first, and what was found valid.
#[derive(Debug, Default)]
pub struct Todo<'a> {
    /// What is to be made; every task comes after its inputs.
    pub tasks: Vec<Task<'a>>,
    /// The wanted derivations whose outputs are all valid, by label.
    pub reused: Vec<&'a str>,
    /// Why others cannot make the same, where they cannot. The run's summary says so.
    pub impure: Option<String>,
}

impl<'a> Graph<'a> {
    /// The job of the derivation `path`.
    pub fn get(&self, path: &StorePath) -> Option<Job<'a>> {
        self.jobs.get(path).copied()
    }

    /// What has to be made for all outputs of the `wanted` derivations to be valid. What is relied on (valid outputs
    /// of wanted derivations and of inputs) and what will be made is kept from the garbage collector.
    ///
    /// `estimate` tells how long an item took before.
    ///
    /// # Errors
    /// Where an input is not in the graph, or the store cannot be asked.
    pub fn missing(
        &self,
        wanted: impl IntoIterator<Item = &'a StorePath>,
        store: &Store,
        estimate: impl Fn(&str) -> Option<Duration>,
    ) -> Result<Todo<'a>, GraphError> {
        let valid = |paths: &BTreeSet<&StorePath>| -> Result<BTreeSet<StorePath>, GraphError> {
            // First kept, then asked: what is found valid stays so.
            store.add_temporary_roots(paths.iter().copied())?;
            Ok(store.valid_among(paths.iter().copied())?)
        };
        self.missing_with(wanted, valid, estimate)
    }

    /// As [`missing`](Self::missing), for a store that is only looked at: what is found valid may be gone a moment later.
    ///
    /// # Errors
    /// As for [`missing`](Self::missing).
    pub fn missing_now(
        &self,
        wanted: impl IntoIterator<Item = &'a StorePath>,
        store: &Store,
        estimate: impl Fn(&str) -> Option<Duration>,
    ) -> Result<Todo<'a>, GraphError> {
        let valid = |paths: &BTreeSet<&StorePath>| Ok(store.valid_among(paths.iter().copied())?);
        self.missing_with(wanted, valid, estimate)
    }

    /// As [`missing_now`](Self::missing_now), as if the items `there` were valid, too.
    ///
    /// # Errors
    /// As for [`missing`](Self::missing).
    pub fn missing_with_items(
        &self,
        wanted: impl IntoIterator<Item = &'a StorePath>,
        store: &Store,
        there: &BTreeSet<StorePath>,
        estimate: impl Fn(&str) -> Option<Duration>,
    ) -> Result<Todo<'a>, GraphError> {
        let valid = |paths: &BTreeSet<&StorePath>| {
            let mut valid = store.valid_among(paths.iter().copied())?;
            let besides = paths.iter().filter(|path| there.contains(**path));
            valid.extend(besides.map(|path| (*path).clone()));
            Ok(valid)
        };
        self.missing_with(wanted, valid, estimate)
    }

    pub(super) fn missing_with(
        &self,
        wanted: impl IntoIterator<Item = &'a StorePath>,
        valid: impl Fn(&BTreeSet<&StorePath>) -> Result<BTreeSet<StorePath>, GraphError>,
        estimate: impl Fn(&str) -> Option<Duration>,
    ) -> Result<Todo<'a>, GraphError> {
        let wanted: Vec<Job<'a>> = wanted
            .into_iter()
            .map(|path| self.require(path, "the request"))
            .collect::<Result<_, _>>()?;
        let mut missing: BTreeSet<&'a StorePath> = BTreeSet::new();
        // One round asks the store about one layer of the graph.
        let mut layer: BTreeMap<&'a StorePath, BTreeSet<&'a str>> = wanted
            .iter()
            .map(|job| {
                let outputs = job.derivation.outputs.keys().map(String::as_str);
                (job.path, outputs.collect())
            })
            .collect();
        while !layer.is_empty() {
            let mut outputs = BTreeSet::new();
            for (path, names) in &layer {
                let job = self.require(path, "the request")?;
                outputs.extend(
                    names
                        .iter()
                        .filter_map(|name| job.derivation.output_path(name)),
                );
            }
            let valid = valid(&outputs)?;
            let mut next: BTreeMap<&'a StorePath, BTreeSet<&'a str>> = BTreeMap::new();
            for (path, names) in layer {
                let job = self.require(path, "the request")?;
                let is_valid = |name: &&str| {
                    let output = job.derivation.output_path(name);
                    output.is_some_and(|output| valid.contains(output))
                };
                if names.iter().all(is_valid) || !missing.insert(path) {
                    continue;
                }
                for (input, names) in &job.derivation.input_derivations {
                    let input_job = self.require(input, job.label)?;
                    for name in names {
                        if !input_job.derivation.outputs.contains_key(name) {
                            return Err(GraphError::NoOutput {
                                label: job.label.to_owned(),
                                input: input_job.label.to_owned(),
                                output: name.clone(),
                            });
                        }
                    }
                    if !missing.contains(input) {
                        let wanted = next.entry(input_job.path).or_default();
                        wanted.extend(names.iter().map(String::as_str));
                    }
                }
            }
            layer = next;
        }
        let reused = wanted
            .iter()
            .filter(|job| !missing.contains(job.path))
            .map(|job| job.label)
            .collect();
        Ok(Todo {
            tasks: self.order(&missing, estimate)?,
            reused,
            impure: None,
        })
    }

    /// The derivations that `roots` are made of, themselves included: their closure in the graph.
    pub fn closure(
        &self,
        roots: impl IntoIterator<Item = &'a StorePath>,
    ) -> Result<Vec<Job<'a>>, GraphError> {
        let mut waiting: Vec<Job<'a>> = roots
            .into_iter()
            .map(|path| self.require(path, "the request"))
            .collect::<Result<_, _>>()?;
        let mut found: BTreeMap<&'a StorePath, Job<'a>> = BTreeMap::new();
        while let Some(job) = waiting.pop() {
            if found.insert(job.path, job).is_some() {
                continue;
            }
            for input in job.derivation.input_derivations.keys() {
                waiting.push(self.require(input, job.label)?);
            }
        }
        Ok(found.into_values().collect())
    }

    /// The `wanted` derivations as tasks that wait for nothing: what they need is valid.
    ///
    /// # Errors
    /// Where one is not in the graph.
    pub fn alone(
        &self,
        wanted: impl IntoIterator<Item = &'a StorePath>,
        estimate: impl Fn(&str) -> Option<Duration>,
    ) -> Result<Todo<'a>, GraphError> {
        let pace = self.pace(&estimate);
        let tasks = wanted.into_iter().map(|path| {
            let job = self.require(path, "the request")?;
            Ok(Task::alone(job, pace, &estimate))
        });
        Ok(Todo {
            tasks: tasks.collect::<Result<_, GraphError>>()?,
            reused: Vec::new(),
            impure: None,
        })
    }

    /// What this machine takes for a second of the one that recipes were timed on, as far as it made what recipes tell of.
    fn pace(&self, estimate: impl Fn(&str) -> Option<Duration>) -> f64 {
        let (mut taken, mut typical) = (0.0, 0.0);
        for job in self.jobs.values() {
            if let Some(job_typical) = job.typical
                && let Some(took) = estimate(job.label)
            {
                taken += took.as_secs_f64();
                typical += job_typical.as_secs_f64();
            }
        }
        pace(taken, typical)
    }

    /// The job of the derivation `path`, which `label` needs.
    ///
    /// # Errors
    /// Where it is not in the graph.
    pub fn job(&self, path: &StorePath, label: &str) -> Result<Job<'a>, GraphError> {
        self.require(path, label)
    }

    /// Everything that the derivation of `job` names as input: sources, and outputs of other derivations.
    ///
    /// # Errors
    /// An input derivation that is not in the graph, or an output that it does not have.
    pub fn inputs_of<'j>(&self, job: Job<'j>) -> Result<BTreeSet<&'j StorePath>, GraphError>
    where
        'a: 'j,
    {
        let mut inputs: BTreeSet<&'j StorePath> = job.derivation.input_sources.iter().collect();
        for (derivation, names) in &job.derivation.input_derivations {
            let input = self.require(derivation, job.label)?;
            for name in names {
                let output = input.derivation.output_path(name);
                inputs.insert(output.ok_or_else(|| GraphError::NoOutput {
                    label: job.label.to_owned(),
                    input: input.label.to_owned(),
                    output: name.clone(),
                })?);
            }
        }
        Ok(inputs)
    }

    fn require(&self, path: &StorePath, label: &str) -> Result<Job<'a>, GraphError> {
        self.get(path).ok_or_else(|| GraphError::Missing {
            label: label.to_owned(),
            missing: path.base_name().to_owned(),
        })
    }

    /// `missing` as tasks, dependencies first, with their urgency.
    fn order(
        &self,
        missing: &BTreeSet<&'a StorePath>,
        estimate: impl Fn(&str) -> Option<Duration>,
    ) -> Result<Vec<Task<'a>>, GraphError> {
        let mut tasks: Vec<Task<'a>> = Vec::with_capacity(missing.len());
        if missing.is_empty() {
            // Nobody needs to look what earlier runs took.
            return Ok(tasks);
        }
        let pace = self.pace(&estimate);
        let mut index: BTreeMap<&'a StorePath, usize> = BTreeMap::new();
        let mut open: Vec<&'a StorePath> = missing.iter().copied().collect();
        // Rounds instead of recursion: a chain may be as long as it likes.
        while !open.is_empty() {
            let before = open.len();
            let mut left = Vec::new();
            for path in open {
                let job = self.require(path, "the request")?;
                let inputs: Vec<&StorePath> = job
                    .derivation
                    .input_derivations
                    .keys()
                    .filter(|input| missing.contains(*input))
                    .collect();
                if inputs.iter().all(|input| index.contains_key(*input)) {
                    index.insert(job.path, tasks.len());
                    tasks.push(Task {
                        inputs: inputs
                            .iter()
                            .filter_map(|input| index.get(*input).copied())
                            .collect(),
                        ..Task::alone(job, pace, &estimate)
                    });
                } else {
                    left.push(path);
                }
            }
            if left.len() == before {
                let path = left.first().copied();
                let label = path.and_then(|path| self.get(path)).map(|job| job.label);
                return Err(GraphError::Cycle {
                    label: label.unwrap_or_default().to_owned(),
                });
            }
            open = left;
        }
        for number in 0..tasks.len() {
            for input in tasks[number].inputs.clone() {
                tasks[input].dependants.push(number);
            }
        }
        for number in (0..tasks.len()).rev() {
            let task = &tasks[number];
            let after = task
                .dependants
                .iter()
                .map(|next| tasks[*next].urgency)
                .max();
            tasks[number].urgency = task.urgency.saturating_add(after.unwrap_or(0));
        }
        Ok(tasks)
    }
}

#[cfg(test)]
#[path = "graph/tests.rs"]
mod tests;
