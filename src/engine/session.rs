// SPDX-License-Identifier: GPL-3.0-or-later
//! A session: one user's options, and the tools that follow from them.

use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;

use super::builtins::Fetching;
use super::builtins::download::DownloadBuiltin;
use super::builtins::git::GitDownload;
use super::error::EngineError;
use super::notice::{Notice, Notify};
use super::options::SessionOptions;
use crate::builder::history::History;
use crate::builder::run::lock_policy;
use crate::builder::settings::BuildSettings;
use crate::builder::watch::BuildLimits;
use crate::events::EventSender;
use crate::events::cancellation::Cancellation;
use crate::fetch::apt::AptSettings;
use crate::fetch::{self, Downloader, Fetcher, SearchSettings, by_hash};
use crate::formats::store_path::StorePath;
use crate::sandbox::{self, BuildUser, ResourceLimits, Sandbox};
use crate::store::directories::Directories;
use crate::store::recover::{Recovered, recover, refuse_whole};
use crate::store::{Access, OpenOptions, Store, StoreError};

/// Downloads at a time: enough to fill a line that is faster than any one server, and to have APT fetch several
/// packages in one call.
const DOWNLOADS: NonZeroUsize = NonZeroUsize::new(12).unwrap();

/// How many more jobs run than there are processors. Jobs that sleep (many tests do) or wait for the disk hold their
/// tokens all the same. Ninja's `GuessParallelism` takes as many on most machines.
pub const SPARE: usize = 2;

/// One user's options, and the tools that follow from them. It opens nothing until asked.
pub struct Session {
    options: SessionOptions,
    notify: Notify,
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Session")
            .field(&self.options)
            .finish()
    }
}

impl Session {
    /// A session with `options`, whose notices are dropped.
    pub fn new(options: SessionOptions) -> Self {
        Self::with_notices(options, Arc::new(drop))
    }

    /// A session with `options` that gives its notices to `notify`.
    pub fn with_notices(options: SessionOptions, notify: Notify) -> Self {
        Self { options, notify }
    }

    /// A session with other options, and the same front end.
    pub(super) fn with_options(&self, options: SessionOptions) -> Self {
        Self::with_notices(options, Arc::clone(&self.notify))
    }

    /// Passes `notice` on to the front end.
    pub(super) fn notify(&self, notice: Notice) {
        (self.notify)(notice);
    }

    /// The options.
    pub fn options(&self) -> &SessionOptions {
        &self.options
    }

    /// Where everything is on disk.
    pub fn directories(&self) -> &Directories {
        &self.options.directories
    }

    /// How long builds took on this machine, and how they ended.
    pub fn history(&self) -> History {
        History::new(&self.directories().state)
    }

    /// `path` with the store directory that it was computed for.
    pub fn shown(&self, path: &StorePath) -> String {
        self.directories().store_dir.display(path)
    }

    /// Opens the store for reading. A store that does not exist is empty.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn store_to_read(&self) -> Result<Store, EngineError> {
        let options = OpenOptions {
            access: Access::ReadOnly,
            ..OpenOptions::default()
        };
        Ok(Store::open_with(self.directories().clone(), options)?)
    }

    /// Opens the store for changes without a run; makes it where there is none. Waits for locks go unreported.
    ///
    /// # Errors
    /// Where the store cannot be made or its database not be opened.
    pub fn store_to_write(&self) -> Result<Store, EngineError> {
        Ok(Store::open(self.directories().clone())?)
    }

    /// Opens the store for runs; makes it where there is none. Waits for locks are reported in `events` and end upon
    /// `cancellation`.
    ///
    /// # Errors
    /// Where the store cannot be made or its database not be opened.
    pub fn open_store(
        &self,
        events: &EventSender,
        cancellation: &Cancellation,
    ) -> Result<Store, EngineError> {
        let options = OpenOptions {
            lock_policy: lock_policy(events, cancellation),
            ..OpenOptions::default()
        };
        Ok(Store::open_with(self.directories().clone(), options)?)
    }

    /// Rebuilds a lost or damaged database from what the store holds.
    ///
    /// # Errors
    /// Where the database is intact, or the store cannot be read or the database not be written.
    pub fn recover(&self) -> Result<Recovered, EngineError> {
        let options = OpenOptions::default();
        refuse_whole(self.directories(), &options).map_err(StoreError::from)?;
        let (_, recovered) = recover(self.directories().clone(), options)?;
        Ok(recovered)
    }

    /// The sandbox of this machine.
    ///
    /// # Errors
    /// Where the platform has none.
    pub fn sandbox(&self) -> Result<Box<dyn Sandbox>, EngineError> {
        Ok(sandbox::platform(&self.directories().state)?)
    }

    /// What fetches sources: into the cache, with `apt` for the packages of a distribution.
    pub fn downloader(&self, apt: Option<AptSettings>) -> Arc<Downloader> {
        Arc::new(Downloader::new(self.downloader_settings(apt)))
    }

    /// The same, which fetches also what the cache has.
    pub(super) fn downloader_without_cache(&self) -> Arc<Downloader> {
        Arc::new(Downloader::new(fetch::DownloaderSettings {
            skip_cache: true,
            ..self.downloader_settings(None)
        }))
    }

    fn downloader_settings(&self, apt: Option<AptSettings>) -> fetch::DownloaderSettings {
        let mirrors = &self.options.mirrors;
        let debian = mirrors.set("debian");
        let search = SearchSettings {
            // Without a mirror there is nothing to search.
            debian: (debian != Some(&[])).then(|| AptSettings {
                mirrors: debian.unwrap_or_default().to_vec(),
                ..AptSettings::new("stable", "amd64")
            }),
            servers: by_hash::servers(mirrors),
        };
        fetch::DownloaderSettings {
            search,
            offline: self.options.offline,
            apt,
            mirrors: self.options.mirrors.clone(),
            ..fetch::DownloaderSettings::new(&self.directories().cache)
        }
    }

    /// What fetches sources: files through `fetcher`, commits as the user of builds in `sandbox`.
    pub(super) fn fetching(&self, fetcher: Arc<dyn Fetcher>, sandbox: &dyn Sandbox) -> Fetching {
        let temporary = self.options.build.temporary.clone();
        Fetching {
            download: DownloadBuiltin { fetcher },
            git: GitDownload {
                offline: self.options.offline,
                temporary: temporary.unwrap_or_else(std::env::temp_dir),
                owner: sandbox.outside(&BuildUser::default()),
            },
        }
    }

    /// How builds run.
    pub fn build_settings(&self) -> BuildSettings {
        let options = &self.options.build;
        let all = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let cores = options.cores.unwrap_or(all);
        let tokens = match &options.shared_tokens {
            Some(shared) => share(options.cores, options.max_jobs, shared.size()),
            None => tokens(options.cores, all),
        };
        let usual = ResourceLimits::of_machine();
        BuildSettings {
            system: self.options.system.name().to_owned(),
            cores,
            tells_all_cores: options.tells_all_cores && options.cores.is_none(),
            tokens,
            shared_tokens: options.shared_tokens.clone(),
            max_jobs: options.max_jobs.unwrap_or(tokens),
            only_elsewhere: options.only_elsewhere,
            downloads: DOWNLOADS,
            keep_going: options.keep_going,
            ends_others: options.ends_others,
            ignores_strays: options.ignores_strays,
            fallback: options.fallback,
            keep_failed: options.keep_failed,
            keeps_for: options.keeps_for,
            cache_failures: options.cache_failures,
            log_compression: options.log_compression,
            rounds: options.rounds.unwrap_or(NonZeroU32::MIN),
            build_limits: BuildLimits {
                timeout: options.timeout,
                max_silent_time: options.max_silent_time,
                ..BuildLimits::default()
            },
            limits: ResourceLimits {
                memory: options.max_memory,
                processes: options.max_processes.or(usual.processes),
                ..usual
            },
            user: BuildUser::default(),
            host_directories: options.host_directories.clone(),
            sandbox_is_fit: options.sandbox_is_fit,
            temporary: options.temporary.clone().unwrap_or_else(std::env::temp_dir),
        }
    }
}

/// The most tokens of a shared pool of `size` that one session takes.
fn share(
    cores: Option<NonZeroUsize>,
    max_jobs: Option<NonZeroUsize>,
    size: NonZeroUsize,
) -> NonZeroUsize {
    match (cores, max_jobs) {
        (Some(cores), Some(jobs)) => size.min(cores.saturating_mul(jobs)),
        _ => size,
    }
}

/// The number of job tokens on a machine of so many `processors`. Where a number of `cores` is given it is exactly
/// that: the rest of the machine is not for this run to use.
fn tokens(cores: Option<NonZeroUsize>, processors: NonZeroUsize) -> NonZeroUsize {
    cores.unwrap_or_else(|| processors.saturating_add(SPARE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_spare_tokens_unless_cores_are_given() {
        let [two, three, four] = [2, 3, 4].map(|count| NonZeroUsize::new(count).unwrap());
        assert_eq!(tokens(None, two), four);
        assert_eq!(tokens(Some(two), two), two);
        assert_eq!(tokens(Some(three), two), three);
        assert_eq!(share(Some(two), Some(two), three), three);
        assert_eq!(share(Some(two), Some(NonZeroUsize::MIN), three), two);
        assert_eq!(share(None, Some(two), three), three);
    }
}
