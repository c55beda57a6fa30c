// SPDX-License-Identifier: GPL-3.0-or-later
//! What builds run with: the store, the sandbox, the builtins, and the user's choices.

use std::collections::BTreeSet;
use std::io;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::alternative::Alternative;
use super::builtin::Builtins;
use super::hook::BuildHook;
use super::jobserver::{JobPool, Spare};
use super::kept_directory::NewOwner;
use super::log::LogCompression;
use super::scheduler::Parallelism;
use super::shared_tokens::SharedTokens;
use super::watch::BuildLimits;
use crate::sandbox::{BuildUser, ResourceLimits, Sandbox};
use crate::store::Store;

/// What a run builds with.
#[derive(Clone)]
pub struct Tools<'t> {
    /// Where outputs go.
    pub store: &'t Store,
    /// Where builders run.
    pub sandbox: &'t dyn Sandbox,
    /// The builders that are part of this program.
    pub builtins: &'t Builtins<'t>,
    /// Another way to make items, such as substitute servers.
    pub alternative: Option<&'t dyn Alternative>,
    /// What is offered builds, and has other machines make them.
    pub hook: Option<&'t BuildHook>,
}

/// What becomes of an item that substitute servers have offered and do not deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fallback {
    /// It is built, but not where a server has given other bytes than were signed.
    #[default]
    Careful,
    /// It is built in any case.
    Always,
    /// It has failed.
    Never,
}

/// What users can choose about builds.
#[derive(Debug, Clone)]
pub struct BuildSettings {
    /// The system of this machine, such as `x86_64-linux`. Builds for another system cannot run here.
    pub system: String,
    /// Processor cores to use: `NIX_BUILD_CORES`, and the number that estimates assume.
    pub cores: NonZeroUsize,
    /// Whether builds read 0 as the number of cores, which is guix-daemon's word for all of them.
    pub tells_all_cores: bool,
    /// Job tokens for all builds together: the number of jobs at a time.
    pub tokens: NonZeroUsize,
    /// The pool that the tokens are borrowed from, where several processes share one.
    pub shared_tokens: Option<Arc<SharedTokens>>,
    /// Builds at a time.
    pub max_jobs: NonZeroUsize,
    /// Whether only what prefers this machine is built here: downloads and seeds, and builds that say so.
    pub only_elsewhere: bool,
    /// Downloads at a time.
    pub downloads: NonZeroUsize,
    /// Whether the run continues with everything that does not need a failed item.
    pub keep_going: bool,
    /// Whether a failure, where the run does not continue, ends what is being built as well.
    pub ends_others: bool,
    /// Whether what a build leaves in the store beside its outputs is ignored, and not a failure.
    pub ignores_strays: bool,
    /// What becomes of an item that a substitute server does not deliver.
    pub fallback: Fallback,
    /// Whether the build directory of a failed build is kept.
    pub keep_failed: bool,
    /// Who gets that directory; `None`: who runs this process.
    pub keeps_for: Option<NewOwner>,
    /// Whether failed builds are recorded in the store, and not tried again.
    pub cache_failures: bool,
    /// How build logs are compressed.
    pub log_compression: LogCompression,
    /// How often each is built before it is registered: all rounds must give the same.
    pub rounds: NonZeroU32,
    /// How long a build may take and how much it may print.
    pub build_limits: BuildLimits,
    /// What a build may use up.
    pub limits: ResourceLimits,
    /// The user that builders run as in their sandbox.
    pub user: BuildUser,
    /// Directories of this machine that builds without a root of their own see, read-only, at the same places.
    pub host_directories: BTreeSet<PathBuf>,
    /// Whether builds are known to run in the sandbox of this machine. Otherwise a run that builds tries it first.
    pub sandbox_is_fit: bool,
    /// Where build directories are made on this machine. It needs room for the largest of them (GCC's).
    pub temporary: PathBuf,
}

impl BuildSettings {
    /// A pool of `tokens` for one run, some of which may be `spare` where they are not borrowed. Its pipes are made in
    /// `directory`.
    ///
    /// # Errors
    /// Where its thread cannot be started.
    pub(super) fn job_pool(
        &self,
        tokens: NonZeroUsize,
        spare: Option<Spare>,
        directory: &Path,
    ) -> io::Result<JobPool> {
        match &self.shared_tokens {
            Some(shared) => JobPool::borrowing(tokens, directory, Arc::clone(shared)),
            None => JobPool::new(tokens, spare, directory),
        }
    }

    /// The most tokens of one build; `None`: all there are.
    pub(super) fn most_of_each(&self) -> Option<NonZeroUsize> {
        self.shared_tokens.as_ref().map(|_| self.cores)
    }

    /// The value of `NIX_BUILD_CORES`.
    pub(super) fn told_cores(&self) -> usize {
        match self.tells_all_cores {
            true => 0,
            false => self.cores.get(),
        }
    }

    /// How much runs at a time, and whether a failure stops the run.
    pub fn parallelism(&self) -> Parallelism {
        Parallelism {
            builds: self.max_jobs,
            downloads: self.downloads,
            keep_going: self.keep_going,
            ends_others: self.ends_others,
        }
    }
}
