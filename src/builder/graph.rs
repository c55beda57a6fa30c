// SPDX-License-Identifier: GPL-3.0-or-later
//! What is to be done: the derivations that were asked for, cut down to what is missing, in order of urgency.
//!
//! Cutting down goes from the top: where the wanted outputs of a derivation are valid, nothing it was built from is
//! looked at, and so neither built nor downloaded again. What is left is ordered by the critical path: the urgency
//! of an item is the time that it and the longest chain of items waiting for it will take, as far as earlier runs
//! or the recipes tell; and earlier runs tell how fast this machine is against the one that recipes were timed on.
//! Starting the most urgent item first is what keeps the end of a run from being one long build alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::pace::pace;
use crate::events::Kind;
use crate::formats::derivation::Derivation;
use crate::formats::store_path::StorePath;
use crate::store::StoreError;

mod missing;

/// How long a build takes that no earlier run knows. Only ratios matter: a download is a tenth of it.
const UNKNOWN_BUILD: Duration = Duration::from_secs(10);
const UNKNOWN_DOWNLOAD: Duration = Duration::from_secs(1);
/// How long a seed takes on a machine of two cores: a base system of half a gigabyte. No recipe says it.
const TYPICAL_SEED: Duration = Duration::from_secs(10);

/// One derivation, and its name in messages.
#[derive(Debug, Clone, Copy)]
pub struct BuildJob<'a> {
    /// The label in the plan (`stage0/sed`): what events and errors call it.
    pub label: &'a str,
    /// Where the derivation goes in the store.
    pub path: &'a StorePath,
    /// The derivation, with the paths of its outputs.
    pub derivation: &'a Derivation,
    /// For downloads: the size in bytes, where it is known; for display, and not checked.
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
        /// The item that needs it, or the request itself.
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
    #[error("{label} depends on itself through its inputs")]
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
pub struct BuildGraph<'a> {
    jobs: BTreeMap<&'a StorePath, BuildJob<'a>>,
}

impl<'a> FromIterator<BuildJob<'a>> for BuildGraph<'a> {
    fn from_iter<I: IntoIterator<Item = BuildJob<'a>>>(jobs: I) -> Self {
        Self {
            jobs: jobs.into_iter().map(|job| (job.path, job)).collect(),
        }
    }
}

/// A derivation of which outputs are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedOutputs<'a> {
    /// The derivation.
    pub path: &'a StorePath,
    /// The names of the outputs; `None`: all.
    pub names: Option<BTreeSet<&'a str>>,
}

impl<'a> From<&'a StorePath> for WantedOutputs<'a> {
    /// All outputs of the derivation `path`.
    fn from(path: &'a StorePath) -> Self {
        Self { path, names: None }
    }
}

/// A job whose outputs are missing, and those of them that are wanted. Its builder makes all.
#[derive(Debug, Clone)]
pub struct WantedJob<'a> {
    /// The job.
    pub job: BuildJob<'a>,
    /// The paths of the outputs.
    pub outputs: BTreeSet<StorePath>,
}

/// An offer to make an item in another way than by its builder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offered {
    /// The store items that it makes valid: the outputs that are wanted, and what is missing of their closure.
    pub brings: BTreeSet<StorePath>,
}

/// How a task makes its item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// By its builder.
    Builder,
    /// By an [`Alternative`](super::alternative::Alternative), as offered.
    Alternative(Offered),
}

/// An item that is to be made.
#[derive(Debug, Clone)]
pub struct BuildTask<'a> {
    /// What it is.
    pub job: BuildJob<'a>,
    /// How it is made.
    pub way: Way,
    /// The outputs that are wanted, which is what an alternative has to deliver. Empty for a task that was not wanted
    /// for its outputs, as where it is built again.
    pub outputs: BTreeSet<StorePath>,
    /// The tasks that come before it, as indices.
    pub inputs: Vec<usize>,
    /// The tasks that wait for it, as indices.
    pub dependants: Vec<usize>,
    /// Milliseconds from its start to the end of the longest chain that waits for it.
    pub urgency: u64,
    /// How long it took before, where an earlier run tells; else how long it takes as a rule, on a machine that is as
    /// fast as this one was with other items.
    pub expected: Option<Duration>,
    /// Whether that is what it takes as a rule.
    pub guessed: bool,
}

impl<'a> BuildTask<'a> {
    /// How events call what it does.
    pub fn kind(&self) -> Kind {
        match self.way {
            Way::Builder => self.job.kind,
            Way::Alternative(_) => Kind::Substitute,
        }
    }

    /// `job`, which waits for nothing and nothing waits for it. On this machine things take `pace` times what recipes
    /// say.
    fn alone(job: BuildJob<'a>, pace: f64, estimate: impl Fn(&str) -> Option<Duration>) -> Self {
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
            way: Way::Builder,
            outputs: BTreeSet::new(),
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
    pub tasks: Vec<BuildTask<'a>>,
    /// The wanted derivations whose outputs are all valid, by label.
    pub reused: Vec<&'a str>,
    /// Why others cannot make the same, where they cannot. The run's summary says so.
    pub impure: Option<String>,
}

impl<'a> BuildGraph<'a> {
    /// All derivations.
    pub fn jobs(&self) -> impl Iterator<Item = BuildJob<'a>> {
        self.jobs.values().copied()
    }

    /// The job of the derivation `path`.
    pub fn get(&self, path: &StorePath) -> Option<BuildJob<'a>> {
        self.jobs.get(path).copied()
    }

    /// The derivations that `roots` are made of, themselves included: their closure in the graph.
    pub fn closure(
        &self,
        roots: impl IntoIterator<Item = &'a StorePath>,
    ) -> Result<Vec<BuildJob<'a>>, GraphError> {
        let mut waiting: Vec<BuildJob<'a>> = roots
            .into_iter()
            .map(|path| self.require(path, "the request"))
            .collect::<Result<_, _>>()?;
        let mut found: BTreeMap<&'a StorePath, BuildJob<'a>> = BTreeMap::new();
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
            Ok(BuildTask::alone(job, pace, &estimate))
        });
        Ok(Todo {
            tasks: tasks.collect::<Result<_, GraphError>>()?,
            reused: Vec::new(),
            impure: None,
        })
    }

    /// What this machine takes for a second of the one that recipes were timed on, as far as it made what recipes tell
    /// of.
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
    pub fn job(&self, path: &StorePath, label: &str) -> Result<BuildJob<'a>, GraphError> {
        self.require(path, label)
    }

    /// Everything that the derivation of `job` names as input: sources, and outputs of other derivations.
    ///
    /// # Errors
    /// An input derivation that is not in the graph, or an output that it does not have.
    pub fn inputs_of<'j>(&self, job: BuildJob<'j>) -> Result<BTreeSet<&'j StorePath>, GraphError>
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

    fn require(&self, path: &StorePath, label: &str) -> Result<BuildJob<'a>, GraphError> {
        self.get(path).ok_or_else(|| GraphError::Missing {
            label: label.to_owned(),
            missing: path.base_name().to_owned(),
        })
    }
}

#[cfg(test)]
#[path = "graph/tests.rs"]
mod tests;
