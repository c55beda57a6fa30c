//! Makes one item: locks it, has it built, downloaded or unpacked, checks what came out, and registers it.
//!
//! The order of steps is what makes a build safe to kill at any moment: the locks come first, everything is made in a
//! staging directory that belongs to the lock, and the store moves the outputs to their places and records them last,
//! all together. Whatever is left of a killed build is removed by whoever next holds the lock.

use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::error::{BuildError, Cause, FailedBuild};
use super::graph::{Graph, Job, Task};
use super::history::{History, Record, epoch_seconds};
use super::jobserver::{JobPool, JobSlot};
use super::log::log_path;
use super::references::{ReferenceRules, locate};
use super::sandboxed::Ran;
use super::scheduler::{Outcome, Parallelism, Workshop};
use super::scratch::Scratch;
use super::variation::Variation;
use super::watch::Patience;
use crate::events::cancellation::Cancellation;
use crate::events::{Event, EventSender, Kind, Made, OutputMade};
use crate::fetch::Fetcher;
use crate::formats::hash::Sha256Digest;
use crate::formats::store_path::{FixedOutputMethod, StorePath};
use crate::road::seed::unpack::SeedUnpacker;
use crate::sandbox::{BuildUser, Limits, Sandbox};
use crate::store::remove::remove_tree;
use crate::store::{PathInfo, PathLocks, PreparedOutputs, StagedOutput, Store, StoreError};

/// What a run builds with.
#[derive(Clone)]
pub struct Tools<'t> {
    /// Where everything goes.
    pub store: &'t Store,
    /// Where programs run.
    pub sandbox: &'t dyn Sandbox,
    /// Where downloads come from. Shared, because a download that is under way when a run is stopped is left alone and may
    /// outlive it by a moment.
    pub fetcher: Arc<dyn Fetcher>,
    /// What makes seeds.
    pub unpacker: &'t dyn SeedUnpacker,
}

/// What people can choose about builds.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The system of this machine, such as `x86_64-linux`: builds for another cannot run here.
    pub system: String,
    /// Processor cores to use: `NIX_BUILD_CORES`, and what estimates go by.
    pub cores: NonZeroUsize,
    /// Job tokens for all builds together: how many jobs run at a time.
    pub tokens: NonZeroUsize,
    /// Builds at a time.
    pub max_jobs: NonZeroUsize,
    /// Downloads at a time.
    pub downloads: NonZeroUsize,
    /// Whether everything that does not need a failed item is still made.
    pub keep_going: bool,
    /// Whether the build directory of a failed build stays, for people to look at.
    pub keep_failed: bool,
    /// How long a build may take and how much it may print.
    pub patience: Patience,
    /// What a build may use up.
    pub limits: Limits,
    /// Who builds are, in their sandbox.
    pub user: BuildUser,
    /// Where build directories are made on this machine; needs room for the largest of them (GCC's).
    pub temporary: PathBuf,
}

impl Settings {
    /// How much is done at a time, and what a failure means.
    pub fn parallelism(&self) -> Parallelism {
        Parallelism {
            builds: self.max_jobs,
            downloads: self.downloads,
            keep_going: self.keep_going,
        }
    }
}

/// Makes items for one run.
pub(super) struct Builder<'b, 'a> {
    pub tools: Tools<'b>,
    pub settings: &'b Settings,
    pub graph: &'b Graph<'a>,
    pub pool: JobPool,
    pub scratch: Scratch,
    /// Where logs go.
    pub logs: PathBuf,
    /// What is different about the builds of this run.
    pub variation: Variation,
    pub history: History,
    pub events: EventSender,
    pub cancellation: Cancellation,
}

/// One build under way.
struct Attempt<'x> {
    job: Job<'x>,
    outputs: &'x [(&'x str, &'x StorePath)],
    rules: &'x ReferenceRules,
    locks: &'x PathLocks,
    staging: &'x Path,
    directory: &'x Path,
}

/// The staging directory of one build; dropping it removes it. The locks it belongs to must be held as long.
pub(super) struct Staging<'l> {
    _locks: &'l PathLocks,
    pub path: PathBuf,
}

impl<'l> Staging<'l> {
    /// Makes the staging directory of the build that has `output`, which is locked.
    pub(super) fn create(
        store: &Store,
        locks: &'l PathLocks,
        output: &StorePath,
    ) -> Result<Self, StoreError> {
        let path = store.staging_directory(locks, output)?;
        Ok(Self {
            _locks: locks,
            path,
        })
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            tracing::warn!("{error}");
        }
    }
}

impl Workshop for Builder<'_, '_> {
    fn make(&self, task: &Task<'_>) -> Result<Outcome, BuildError> {
        let job = task.job;
        let outcome = match job.kind() {
            Kind::Download => self.download(job),
            Kind::Seed => self.unpack(task),
            // No derivation is a substitute.
            Kind::Build | Kind::Substitute => self.build(task),
        };
        let outcome = outcome.map_err(|error| error.unless_stopped(&self.cancellation))?;
        if let Outcome::Made(made) = &outcome {
            let ended = SystemTime::now();
            let taken = Duration::try_from_secs_f64(made.seconds).unwrap_or_default();
            let record = Record {
                item: job.label.to_owned(),
                kind: job.kind(),
                derivation: job.path.base_name().to_owned(),
                started: epoch_seconds(ended.checked_sub(taken).unwrap_or(ended)),
                ended: epoch_seconds(ended),
                cores: self.settings.cores.get(),
                made: made.clone(),
            };
            if let Err(error) = self.history.append(&record) {
                tracing::warn!("cannot write {}: {error}", self.history.path().display());
            }
        }
        Ok(outcome)
    }
}

/// The outputs of a job by name, `out` first. There is at least one.
pub(super) fn outputs<'a>(job: Job<'a>) -> Result<Vec<(&'a str, &'a StorePath)>, BuildError> {
    let mut outputs = Vec::with_capacity(job.derivation.outputs.len());
    for (name, output) in &job.derivation.outputs {
        let path = output.path.as_ref().ok_or_else(|| BuildError::Derivation {
            label: job.label.to_owned(),
            problem: format!("its output `{name}` has no path"),
        })?;
        outputs.push((name.as_str(), path));
    }
    if outputs.is_empty() {
        return Err(BuildError::Derivation {
            label: job.label.to_owned(),
            problem: "it has no outputs".to_owned(),
        });
    }
    outputs.sort_by_key(|(name, _)| (*name != "out", *name));
    Ok(outputs)
}

impl Builder<'_, '_> {
    /// Locks the outputs, valid or not.
    pub(super) fn lock_outputs(
        &self,
        job: Job<'_>,
        outputs: &[(&str, &StorePath)],
    ) -> Result<PathLocks, BuildError> {
        let paths: Vec<&StorePath> = outputs.iter().map(|(_, path)| *path).collect();
        let locks = self.tools.store.lock(paths.iter().copied());
        locks.map_err(BuildError::store(job.label))
    }

    /// Locks the outputs. `None` where all outputs have become valid meanwhile.
    pub(super) fn lock(
        &self,
        job: Job<'_>,
        outputs: &[(&str, &StorePath)],
    ) -> Result<Option<PathLocks>, BuildError> {
        let store = self.tools.store;
        let paths: Vec<&StorePath> = outputs.iter().map(|(_, path)| *path).collect();
        let locks = self.lock_outputs(job, outputs)?;
        let valid = store.valid_among(paths.iter().copied());
        let valid = valid.map_err(BuildError::store(job.label))?;
        Ok((valid.len() < paths.len()).then_some(locks))
    }

    /// A build, in the sandbox.
    fn build(&self, task: &Task<'_>) -> Result<Outcome, BuildError> {
        let job = task.job;
        let rules = ReferenceRules::of(job, &self.tools.store.directories().store_dir)?;
        let outputs = outputs(job)?;
        let Some(locks) = self.lock(job, &outputs)? else {
            return Ok(Outcome::Reused);
        };
        let directory = self.scratch.directory();
        let slot = self.pool.acquire(task.urgency, None);
        let Some(slot) =
            slot.map_err(BuildError::io("create a job server's pipe in", directory))?
        else {
            return Err(BuildError::Interrupted);
        };
        let staging = Staging::create(self.tools.store, &locks, outputs[0].1);
        let staging = staging.map_err(BuildError::store(job.label))?;
        let directory = self.scratch.build_directory(job.path)?;
        let attempt = Attempt {
            job,
            outputs: &outputs,
            rules: &rules,
            locks: &locks,
            staging: &staging.path,
            directory: &directory,
        };
        match self.attempt(&attempt, slot) {
            Err(BuildError::Failed(mut failed)) => {
                failed.kept = self.leave(job, directory);
                Err(BuildError::Failed(failed))
            }
            made => {
                self.scratch.discard(directory);
                made.map(Outcome::Made)
            }
        }
    }

    /// Keeps the build directory of a build that failed, where people want that and it can be done: why it cannot is no
    /// reason to say nothing of why the build failed.
    pub(super) fn leave(&self, job: Job<'_>, directory: PathBuf) -> Option<PathBuf> {
        if self.settings.keep_failed {
            match self.scratch.keep(&directory, job.path) {
                Ok(kept) => return Some(kept),
                Err(error) => {
                    tracing::warn!("the build directory of {} is lost: {error}", job.label)
                }
            }
        }
        self.scratch.discard(directory);
        None
    }

    /// Runs the builder, checks what it made and registers it.
    fn attempt(&self, attempt: &Attempt<'_>, slot: JobSlot) -> Result<Made, BuildError> {
        let Attempt { job, outputs, .. } = *attempt;
        let start = self.begin(job, Some(self.log_of(job)));
        // The token is held until the outputs are registered: hashing them is work like any other.
        let (mut ran, _slot) = self.run(job, outputs, attempt.staging, attempt.directory, slot)?;
        let cause = self.verdict(outputs, &mut ran, attempt.directory)?;
        let cause = cause.map_or_else(
            || self.check_fixed_file(job, outputs, &ran),
            |cause| Ok(Some(cause)),
        )?;
        let registered = match cause {
            Some(cause) => Err(cause),
            None => self.register(attempt, &ran)?,
        };
        match registered {
            Ok(infos) => Ok(Made {
                user_seconds: ran.finished.user_time.as_secs_f64(),
                system_seconds: ran.finished.system_time.as_secs_f64(),
                phases: ran.phases,
                ..self.made(start, outputs, &infos)
            }),
            Err(cause) => Err(BuildError::Failed(Box::new(FailedBuild {
                label: job.label.to_owned(),
                cause,
                phase: ran.phase,
                last_lines: ran.last_lines,
                likely_cause: ran.likely_cause,
                log: self.log_of(job),
                kept: None,
            }))),
        }
    }

    /// Makes the outputs valid, or tells what is wrong with them.
    fn register(
        &self,
        attempt: &Attempt<'_>,
        ran: &Ran,
    ) -> Result<Result<Vec<PathInfo>, Cause>, BuildError> {
        let Attempt {
            job,
            outputs,
            rules,
            ..
        } = *attempt;
        let mut candidates = ran.inputs.clone();
        candidates.extend(outputs.iter().map(|(_, path)| (*path).clone()));
        candidates.extend(rules.candidates().cloned());
        let staged = outputs.iter().map(|(_, path)| StagedOutput {
            staged: ran.store.join(path.base_name()),
            path: (*path).clone(),
            candidates: candidates.clone(),
            deriver: Some(job.path.clone()),
        });
        let prepared = self
            .tools
            .store
            .prepare_outputs(attempt.locks, staged.collect());
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(source) if source.is_environment() => {
                return Err(BuildError::store(job.label)(source));
            }
            Err(source) => return Ok(Err(Cause::UnusableOutput(Box::new(source)))),
        };
        if let Some(cause) = self.check_prepared(job, outputs, rules, &prepared, ran) {
            return Ok(Err(cause));
        }
        let infos = prepared.commit().map_err(BuildError::store(job.label))?;
        Ok(Ok(infos))
    }

    pub(super) fn log_of(&self, job: Job<'_>) -> PathBuf {
        log_path(&self.logs, job.path)
    }

    /// The hash of a fixed output that is one file, which is taken before its metadata becomes canonical.
    pub(super) fn check_fixed_file(
        &self,
        job: Job<'_>,
        outputs: &[(&str, &StorePath)],
        ran: &Ran,
    ) -> Result<Option<Cause>, BuildError> {
        let (Some(fixed), Some((_, path))) = (job.derivation.fixed_output(), outputs.first())
        else {
            return Ok(None);
        };
        if fixed.method != FixedOutputMethod::Flat {
            return Ok(None);
        }
        let file = ran.store.join(path.base_name());
        let shown = || self.tools.store.directories().store_dir.display(path);
        let status = file
            .symlink_metadata()
            .map_err(BuildError::io("examine", &file))?;
        // A link would be followed, and what it leads to is not the output. As in guix-daemon, what its owner may execute is
        // none either: the hash does not say so, and two items of one path would differ.
        if !status.is_file() || status.mode() & 0o100 != 0 {
            return Ok(Some(Cause::NotAFile {
                path: shown(),
                kind: kind(status.file_type()),
                expected: fixed.hash,
            }));
        }
        let found = std::fs::File::open(&file)
            .and_then(|mut file| Sha256Digest::of_reader(&mut file))
            .map_err(BuildError::io("read", &file))?;
        Ok((found != fixed.hash).then(|| Cause::HashDiffers {
            path: shown(),
            expected: fixed.hash,
            found,
        }))
    }

    /// The hash of a fixed output that is a tree, and the references of all outputs.
    fn check_prepared(
        &self,
        job: Job<'_>,
        outputs: &[(&str, &StorePath)],
        rules: &ReferenceRules,
        prepared: &PreparedOutputs<'_>,
        ran: &Ran,
    ) -> Option<Cause> {
        let store_dir = &self.tools.store.directories().store_dir;
        for info in prepared.infos() {
            let fixed = job.derivation.fixed_output().filter(|fixed| {
                fixed.method == FixedOutputMethod::Recursive && info.nar_sha256 != fixed.hash
            });
            if let Some(fixed) = fixed {
                return Some(Cause::HashDiffers {
                    path: store_dir.display(&info.path),
                    expected: fixed.hash,
                    found: info.nar_sha256,
                });
            }
            if let Some((reference, rule)) = rules.forbidden(&info.references) {
                let name = outputs.iter().find(|(_, path)| **path == info.path);
                let name = name.map_or("out", |(name, _)| name);
                let staged = ran.store.join(info.path.base_name());
                let found = locate(&staged, name, reference, rule, store_dir);
                return Some(Cause::Reference(Box::new(found)));
            }
        }
        None
    }

    /// Says that work on an item begins, which is after all waiting for locks and tokens. Gives the time.
    pub(super) fn begin(&self, job: Job<'_>, log: Option<PathBuf>) -> Instant {
        self.events.emit(Event::Started {
            item: job.label.to_owned(),
            kind: job.kind(),
            derivation: job.path.base_name().to_owned(),
            log,
        });
        Instant::now()
    }

    /// What was made since `start`.
    pub(super) fn made(
        &self,
        start: Instant,
        outputs: &[(&str, &StorePath)],
        infos: &[PathInfo],
    ) -> Made {
        let store_dir = &self.tools.store.directories().store_dir;
        let outputs = outputs.iter().filter_map(|(name, path)| {
            let info = infos.iter().find(|info| info.path == **path)?;
            Some(OutputMade {
                name: (*name).to_owned(),
                path: store_dir.display(path),
                nar_size: info.nar_size,
            })
        });
        Made {
            outputs: outputs.collect(),
            seconds: start.elapsed().as_secs_f64(),
            ..Made::default()
        }
    }
}

/// What a file that is not a plain one is, in words.
fn kind(file_type: std::fs::FileType) -> &'static str {
    if file_type.is_file() {
        "program"
    } else if file_type.is_dir() {
        "directory"
    } else if file_type.is_symlink() {
        "symbolic link"
    } else {
        "device, socket or pipe"
    }
}
