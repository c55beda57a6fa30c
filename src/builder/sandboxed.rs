// SPDX-License-Identifier: GPL-3.0-or-later
//! Runs a derivation's builder in its sandbox: what the sandbox holds, and what came of it.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Instant;

use rustix::io::Errno;

use super::context::BuildContext;
use super::environment::shares_jobs;
use super::error::{BuildError, BuildFailureCause, FailedBuild};
use super::graph::BuildJob;
use super::jobserver::{BUILD_DESCRIPTORS, JobSlot};
use super::log::LogWriter;
use super::output::OutputLines;
use super::scratch::give_to;
use super::watch::BuildWatch;
use super::world::{BuildWorld, may_run};

use crate::events::PhaseTime;
use crate::formats::store_path::StorePath;
use crate::free_space::available;
use crate::sandbox::{Finished, SandboxError};

/// A file system with less than this free counts as full when a build has failed on it, in bytes.
const FULL: u64 = 4 << 20;

/// The same where the build has said that there is no space left: compilers and linkers remove what they could not
/// write to its end, which is then free again. Words alone prove nothing: test suites write to `/dev/full`.
const FULL_BY_ITS_OWN_WORDS: u64 = 256 << 20;

/// The directory in a staging directory that is the build's store.
pub(super) const BUILD_STORE: &str = "store";

/// A build that has ended, one way or another.
#[derive(Debug)]
pub(super) struct Ran {
    /// The store items the build could see, and the seed.
    pub inputs: BTreeSet<StorePath>,
    /// The directory that was its store.
    pub store: PathBuf,
    /// How the builder ended, and what it used.
    pub finished: Finished,
    /// Why it was ended, where it was.
    pub cause: Option<BuildFailureCause>,
    /// The phase it was in.
    pub phase: Option<String>,
    /// The time of each phase.
    pub phases: Vec<PhaseTime>,
    /// The last lines of its output.
    pub last_lines: Vec<String>,
    /// The line that most looks like the cause, had it failed.
    pub likely_cause: Option<String>,
}

impl Ran {
    /// The store items that its outputs may refer to.
    pub(super) fn candidates(&self, outputs: &[(&str, &StorePath)]) -> BTreeSet<StorePath> {
        let mut candidates = self.inputs.clone();
        candidates.extend(outputs.iter().map(|(_, path)| (*path).clone()));
        candidates
    }
}

impl BuildContext<'_, '_> {
    /// Runs the builder of `job` in a sandbox whose store is a new directory in `staging`, and gives the slot back,
    /// whose token is still held.
    ///
    /// # Errors
    /// Where the build could not run at all, or was interrupted. A build that failed is not an error here.
    pub(super) fn run(
        &self,
        job: BuildJob<'_>,
        outputs: &[(&str, &StorePath)],
        staging: &Path,
        directory: &Path,
        mut slot: JobSlot,
    ) -> Result<(Ran, JobSlot), BuildError> {
        let mut log = LogWriter::create(&self.logs, job.path, self.settings.log_compression)?;
        let inputs = self.inputs(job)?;
        self.check_derivation(job, outputs, &inputs)?;
        self.export_graphs(job, directory)?;
        let store = self.make_store(staging)?;
        let (read, write) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|errno| {
                BuildError::io("create a pipe for", "the output of the build")(errno.into())
            })?;

        let start = Instant::now();
        let world = BuildWorld {
            job,
            inputs: &inputs,
            directories: self.tools.store.directories(),
            settings: self.settings,
            variation: &self.variation,
            store: &store,
            directory,
        };
        let shares_jobs = shares_jobs(job.derivation);
        let mut world = world.make(shares_jobs.then(|| slot.make_flags()), write);
        // Builds that may not use all processors do not crowd on the same ones.
        world.limits.first_processor = slot.place();
        let ends = slot.take_descriptors();
        if let Some((read, write)) = ends.filter(|_| shares_jobs) {
            let ends = [(read, BUILD_DESCRIPTORS.0), (write, BUILD_DESCRIPTORS.1)];
            world.descriptors.extend(ends);
        }
        let sandbox_error = |source| match source {
            // The derivation's mistake, not the machine's.
            SandboxError::BadWorld(problem) => BuildError::Derivation {
                label: job.label.to_owned(),
                problem,
            },
            // Only trying shows whether there is an emulator.
            SandboxError::Program { ref source, .. }
                if job.derivation.system != self.settings.system
                    && Errno::from_io_error(source) == Some(Errno::NOEXEC) =>
            {
                BuildError::Derivation {
                    label: job.label.to_owned(),
                    problem: self.other_system(job),
                }
            }
            source => BuildError::Sandbox {
                label: job.label.to_owned(),
                source: Box::new(source),
            },
        };
        let mut running = self.tools.sandbox.spawn(world).map_err(sandbox_error)?;
        let _stop = self.cancellation.on_cancel(running.killer());
        let watch = BuildWatch {
            build_limits: self.settings.build_limits,
            output: OutputLines::new(job.label, self.events.clone()),
            log: &mut log,
            kill: running.killer(),
            start,
        };
        let (sender, over) = channel();
        let (finished, watched) = std::thread::scope(|scope| {
            let watcher = std::thread::Builder::new()
                .spawn_scoped(scope, move || watch.follow(read, &over))
                .map_err(|error| {
                    running.kill();
                    BuildError::Thread(error)
                })?;
            let finished = running.wait();
            drop(sender);
            Ok::<_, BuildError>((finished, watcher.join()))
        })?;
        if self.cancellation.is_cancelled()
            && !matches!(&finished, Ok(ended) if ended.status.is_success())
        {
            return Err(BuildError::Interrupted);
        }
        let finished = finished.map_err(sandbox_error)?;
        let watched = watched.map_err(|_| BuildError::Panicked {
            label: job.label.to_owned(),
            message: "the thread that reads the build's output died".to_owned(),
        })?;
        if let Some(error) = watched.error {
            return Err(error);
        }
        log.finish()?;
        let ran = Ran {
            inputs,
            store,
            finished,
            cause: watched.cause,
            phase: watched.output.phase().map(ToOwned::to_owned),
            phases: watched.output.phases().to_vec(),
            last_lines: watched.output.last_lines(),
            likely_cause: watched.output.likely_cause().map(ToOwned::to_owned),
        };
        Ok((ran, slot))
    }

    /// The closure of everything the derivation names as input. All of it is valid.
    pub(super) fn inputs(&self, job: BuildJob<'_>) -> Result<BTreeSet<StorePath>, BuildError> {
        let closure = self.tools.store.closure(self.graph.inputs_of(job)?);
        closure.map_err(BuildError::store(job.label))
    }

    /// The error for a build that ran and failed.
    pub(super) fn failed(
        &self,
        job: BuildJob<'_>,
        ran: Ran,
        cause: BuildFailureCause,
        kept: Option<PathBuf>,
    ) -> BuildError {
        BuildError::Failed(Box::new(FailedBuild {
            label: job.label.to_owned(),
            cause,
            phase: ran.phase,
            last_lines: ran.last_lines,
            likely_cause: ran.likely_cause,
            log: Some(self.log_of(job)),
            kept,
        }))
    }

    fn check_derivation(
        &self,
        job: BuildJob<'_>,
        outputs: &[(&str, &StorePath)],
        inputs: &BTreeSet<StorePath>,
    ) -> Result<(), BuildError> {
        let wrong = |problem| {
            Err(BuildError::Derivation {
                label: job.label.to_owned(),
                problem,
            })
        };
        let system = &job.derivation.system;
        if !may_run(system, &self.settings.system) {
            return wrong(self.other_system(job));
        }
        if let Some(root) = job.root.filter(|root| !inputs.contains(*root)) {
            let root = self.tools.store.directories().store_dir.display(root);
            return wrong(format!("its root {root} is not among its inputs"));
        }
        match outputs.iter().find(|(_, path)| inputs.contains(*path)) {
            Some((name, _)) => wrong(format!("its output `{name}` is among its own inputs")),
            None => Ok(()),
        }
    }

    /// That `job` is for a system whose programs do not run on this machine.
    fn other_system(&self, job: BuildJob<'_>) -> String {
        format!(
            "it is for {}, and this machine is {}: build it on one of those, and take it from there as a substitute, or by \
             `bootstrap export` and `bootstrap import`",
            job.derivation.system, self.settings.system
        )
    }

    /// The directory that is the build's store: the build user's, who reaches it by its mount only.
    fn make_store(&self, staging: &Path) -> Result<PathBuf, BuildError> {
        let owner = self.tools.sandbox.outside(&self.settings.user);
        let store = staging.join(BUILD_STORE);
        DirBuilder::new()
            .mode(0o755)
            .create(&store)
            .map_err(BuildError::io("create", &store))?;
        give_to(&store, owner).map_err(BuildError::io("give to the build user", &store))?;
        Ok(store)
    }

    /// What was wrong with the build, going by how it ended and what it left in its store.
    pub(super) fn verdict(
        &self,
        outputs: &[(&str, &StorePath)],
        ran: &mut Ran,
        directory: &Path,
    ) -> Result<Option<BuildFailureCause>, BuildError> {
        if let Some(cause) = ran.cause.take() {
            return Ok(Some(cause));
        }
        let directories = self.tools.store.directories();
        if !ran.finished.status.is_success() {
            let mut lines = ran.last_lines.iter().chain(&ran.likely_cause);
            let said = lines.any(|line| line.contains("No space left on device"));
            return Ok(Some(
                no_space(&[directory, &directories.store], said)
                    .unwrap_or(BuildFailureCause::Status(ran.finished.status)),
            ));
        }
        let mut foreign = Vec::new();
        let fail = BuildError::io("list", &ran.store);
        let entries =
            fs::read_dir(&ran.store).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
        for entry in entries.map_err(fail)? {
            let name = entry.file_name();
            let base_name = name
                .to_str()
                .and_then(|name| StorePath::from_base_name(name).ok());
            // Inputs left their mount points behind.
            let known = base_name.is_some_and(|path| {
                ran.inputs.contains(&path) || outputs.iter().any(|(_, output)| **output == path)
            });
            if !known {
                foreign.push(format!(
                    "{}/{}",
                    directories.store_dir,
                    name.to_string_lossy()
                ));
            }
        }
        if !foreign.is_empty() && !self.settings.ignores_strays {
            foreign.sort();
            return Ok(Some(BuildFailureCause::OutsideOutputs(foreign)));
        }
        let missing = outputs
            .iter()
            .find(|(_, path)| fs::symlink_metadata(ran.store.join(path.base_name())).is_err());
        Ok(missing.map(|(name, path)| BuildFailureCause::NoOutput {
            name: (*name).to_owned(),
            path: directories.store_dir.display(path),
        }))
    }
}

/// What is left on a file system for an unprivileged user.
#[derive(Debug, Clone, Copy)]
struct Room {
    /// In bytes.
    free: u64,
    /// How many more files it can hold; `None` where it has no bound of its own.
    files: Option<u64>,
}

impl Room {
    /// The room on the file system of `path`; `None` where it cannot be asked.
    fn of(path: &Path) -> Option<Self> {
        let system = rustix::fs::statvfs(path).ok()?;
        Some(Self {
            free: available(&system),
            files: (system.f_files > 0).then_some(system.f_favail),
        })
    }

    /// Whether this is what made a build fail; `said` is whether the build told so.
    fn is_used_up(self, said: bool) -> bool {
        let limit = if said { FULL_BY_ITS_OWN_WORDS } else { FULL };
        // Not every file system that counts files counts those to come.
        self.free < limit || said && self.files == Some(0)
    }
}

/// Whether a build failed for want of space on one of the file systems of `places`, which are those it writes to;
/// `said` is whether it told so.
fn no_space(places: &[&Path], said: bool) -> Option<BuildFailureCause> {
    let mut rooms = places
        .iter()
        .filter_map(|path| Some((*path, Room::of(path)?)));
    let (path, room) = rooms.find(|(_, room)| room.is_used_up(said))?;
    Some(BuildFailureCause::NoSpace {
        path: path.to_owned(),
        free: room.free,
        files: room.files,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_full_by_what_is_free_and_not_by_what_a_build_says() {
        let room = |free, files| Room { free, files };
        for (room, said, expected) in [
            (room(0, None), false, true),
            (room(FULL, None), false, false),
            // A linker has removed what it could not finish.
            (room(64 << 20, Some(1000)), true, true),
            (room(64 << 20, Some(1000)), false, false),
            // A test suite has written to /dev/full.
            (room(1 << 30, None), true, false),
            (room(1 << 30, Some(0)), true, true),
            (room(1 << 30, Some(0)), false, false),
        ] {
            assert_eq!(room.is_used_up(said), expected, "{room:?} {said}");
        }
    }
}
