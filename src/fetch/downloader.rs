// SPDX-License-Identifier: GPL-3.0-or-later
//! The order in which places are tried.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

use super::apt::{self, Apt, AptQueue, AptSettings, ArchiveFile, QueueError};
use super::cache::{Cache, CacheLookup, DownloadLock};
use super::error::{Attempts, FetchAttempt, FetchError, NO_SERVER, WrongBytes};
use super::file_hash::FileHash;
use super::http::{Http, HttpError, RetryPolicy, WantedFile};
use super::location::Location;
use super::mirrors::Mirrors;
use super::size_limit::SizeLimit;
use super::{FetchRequest, FetchedFile, Fetcher, Progress};

mod search;

use search::Search;
pub use search::SearchSettings;

/// The settings of a [`Downloader`].
#[derive(Debug, Clone)]
pub struct DownloaderSettings {
    /// The cache directory (see [`super::cache`]); created when needed.
    pub cache: PathBuf,
    /// Use nothing but the cache.
    pub offline: bool,
    /// Fetch also what the cache has, to see whether it is there still. Means nothing where `offline`.
    pub skip_cache: bool,
    /// Time-outs and retries.
    pub retry_policy: RetryPolicy,
    /// The most bytes of a download whose size is not known beforehand; `None`: what the cache has room for.
    pub maximum: Option<u64>,
    /// Downloads over HTTP at the same time; further ones wait.
    pub at_once: usize,
    /// The distribution whose archive `apt-get` gives; `None` where the seed has none.
    pub apt: Option<AptSettings>,
    /// The user's servers, in place of the usual ones.
    pub mirrors: Mirrors,
    /// Where files are searched that no named place has.
    pub search: SearchSettings,
}

impl DownloaderSettings {
    /// The defaults, with `cache` as the cache directory and without a distribution.
    pub fn new(cache: &Path) -> Self {
        Self {
            cache: cache.to_owned(),
            offline: false,
            skip_cache: false,
            retry_policy: RetryPolicy::default(),
            maximum: None,
            at_once: 4,
            apt: None,
            mirrors: Mirrors::default(),
            search: SearchSettings::default(),
        }
    }
}

/// The [`Fetcher`] of a run.
#[derive(Debug)]
pub struct Downloader {
    settings: DownloaderSettings,
    cache: Cache,
    pub(super) http: Http,
    pub(super) search: Search,
    slots: Slots,
    apt: OnceLock<AptQueue>,
    /// The mirrors of Debian that the host's APT uses.
    host: OnceLock<Mirrors>,
}

/// A number of things that may happen at the same time.
#[derive(Debug)]
struct Slots {
    free: Mutex<usize>,
    freed: Condvar,
}

/// One of the [`Slots`], given back when dropped.
struct DownloadSlot<'a>(&'a Slots);

impl Slots {
    fn new(count: usize) -> Self {
        Self {
            free: Mutex::new(count.max(1)),
            freed: Condvar::new(),
        }
    }

    fn take(&self) -> DownloadSlot<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self
            .freed
            .wait_while(free, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        DownloadSlot(self)
    }
}

impl Drop for DownloadSlot<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

/// A file that came with the wrong bytes.
struct Wrong {
    origin: String,
    actual: FileHash,
    kept: PathBuf,
}

/// What came of the places tried so far for one request.
#[derive(Default)]
pub(super) struct Tried {
    attempts: Vec<FetchAttempt>,
    wrong: Option<Wrong>,
}

impl Tried {
    pub(super) fn note(&mut self, location: &str, reason: impl Into<String>) {
        self.attempts.push(FetchAttempt {
            location: location.to_owned(),
            reason: reason.into(),
        });
    }
}

impl Downloader {
    /// A downloader; does nothing yet.
    pub fn new(settings: DownloaderSettings) -> Self {
        Self {
            cache: Cache::new(&settings.cache),
            http: Http::new(settings.retry_policy.clone()),
            search: Search::new(&settings.search, &settings.cache, &settings.retry_policy),
            slots: Slots::new(settings.at_once),
            apt: OnceLock::new(),
            host: OnceLock::new(),
            settings,
        }
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The distribution's archive; `None` where there is none or the network is not to be used.
    pub fn apt(&self) -> Option<Apt> {
        let settings = self.settings.apt.clone()?;
        (!self.settings.offline).then(|| Apt::new(&self.settings.cache, settings))
    }

    /// Looks into the cache, where the settings allow it, with the `lock` on the file where that is held; a file with
    /// other bytes is put aside, and that is said.
    fn cached(
        &self,
        request: &FetchRequest,
        lock: Option<&DownloadLock>,
    ) -> Result<Option<FetchedFile>, FetchError> {
        if self.settings.skip_cache && !self.settings.offline {
            return Ok(None);
        }
        let found = match lock {
            Some(lock) => self.cache.find_with(request.hash, lock),
            None => self.cache.find(request.hash),
        };
        match found? {
            CacheLookup::Verified(path) => Ok(Some(FetchedFile::cached(path))),
            CacheLookup::Missing => Ok(None),
            CacheLookup::Rejected { kept, actual } if self.settings.offline => {
                Err(FetchError::HashDiffers(Box::new(WrongBytes {
                    name: request.name.clone(),
                    origin: "the cache".to_owned(),
                    expected: request.hash,
                    actual,
                    kept,
                    attempts: Attempts::default(),
                })))
            }
            CacheLookup::Rejected { kept, actual } => {
                tracing::warn!(
                    "{} in the cache has the wrong bytes: expected {}, saw {actual}; put aside as {}, \
                     fetching it again",
                    request.name,
                    request.hash,
                    kept.display()
                );
                Ok(None)
            }
        }
    }

    /// The URLs that `url` stands for: with the user's servers, the built-in ones, or those of the host's APT.
    pub(super) fn urls(&self, url: &str, tried: &mut Tried) -> Vec<String> {
        let urls = self.settings.mirrors.urls(url);
        if !urls.is_empty() || self.settings.mirrors.sets(url) {
            return urls;
        }
        let host = self.host.get_or_init(|| {
            let settings = &self.settings;
            let apt = settings.apt.as_ref().or(settings.search.debian.as_ref());
            apt::host::mirrors(&apt.cloned().unwrap_or_else(|| AptSettings::new("", "")))
        });
        let urls = host.urls(url);
        if urls.is_empty() {
            tried.note(url, NO_SERVER);
        }
        urls
    }

    /// Tries one URL. `Ok(None)`: it has not got the file, and `tried` says why.
    pub(super) fn try_url(
        &self,
        http: &Http,
        request: &FetchRequest,
        url: &str,
        _lock: &DownloadLock,
        tried: &mut Tried,
        progress: &dyn Fn(Progress<'_>),
    ) -> Result<Option<PathBuf>, FetchError> {
        let partial = self.cache.partial(request.hash);
        let wanted = WantedFile {
            hash: request.hash,
            size: request.size,
            limit: match self.settings.maximum {
                Some(maximum) => SizeLimit::of(maximum),
                None => SizeLimit::of_room(&partial),
            },
        };
        let report = |received, total| {
            progress(Progress {
                name: &request.name,
                received,
                total,
                location: url,
            });
        };
        let downloaded = {
            let _slot = self.slots.take();
            http.download(url, &wanted, &partial, &report)
        };
        match downloaded {
            Ok(()) => self.cache.store(&partial, request.hash).map(Some),
            Err(HttpError::Unavailable(reason)) => {
                tracing::debug!(url, reason, "not fetched");
                tried.note(url, reason);
                Ok(None)
            }
            Err(HttpError::HashDiffers(actual)) => {
                let kept = self.cache.reject(&partial, request.hash)?;
                self.wrong(request, url, actual, kept, tried);
                Ok(None)
            }
            Err(HttpError::Write(path, error)) => Err(FetchError::Cache { path, error }),
        }
    }

    fn wrong(
        &self,
        request: &FetchRequest,
        origin: &str,
        actual: FileHash,
        kept: PathBuf,
        tried: &mut Tried,
    ) {
        tracing::info!(
            "{} from {origin} has the wrong bytes: expected {}, saw {actual}",
            request.name,
            request.hash
        );
        tried.note(origin, format!("it has other bytes, with {actual}"));
        tried.wrong.get_or_insert(Wrong {
            origin: origin.to_owned(),
            actual,
            kept,
        });
    }

    /// Tries the distribution's archive.
    fn try_apt(
        &self,
        request: &FetchRequest,
        location: &Location,
        tried: &mut Tried,
        progress: &dyn Fn(Progress<'_>),
    ) -> Result<Option<PathBuf>, FetchError> {
        let Some(apt) = self.apt() else {
            let text = location.to_string();
            tried.note(&text, "the seed in use names no distribution archive");
            return Ok(None);
        };
        let queue = self.apt.get_or_init(|| AptQueue::start(apt));
        self.try_queue(queue, request, location, tried, progress)
    }

    /// Tries the archive behind `queue`.
    pub(super) fn try_queue(
        &self,
        queue: &AptQueue,
        request: &FetchRequest,
        location: &Location,
        tried: &mut Tried,
        progress: &dyn Fn(Progress<'_>),
    ) -> Result<Option<PathBuf>, FetchError> {
        let text = location.to_string();
        let report = |received| {
            progress(Progress {
                name: &request.name,
                received,
                total: request.size,
                location: &text,
            });
        };
        let Some(sha256) = request.hash.sha256() else {
            tried.note(&text, "APT knows files by SHA-256 only");
            return Ok(None);
        };
        let file = ArchiveFile {
            location: location.clone(),
            sha256,
            size: request.size,
        };
        let fetched = match queue.fetch(&file, &report) {
            Ok(fetched) => fetched,
            Err(QueueError::Unavailable(reason)) => {
                tried.note(&text, reason);
                return Ok(None);
            }
            Err(QueueError::Io { path, error }) => {
                return Err(FetchError::Cache {
                    path,
                    error: io::Error::new(error.kind(), error),
                });
            }
        };
        let file = fetched.path();
        let actual = request
            .hash
            .of_file(file)
            .map_err(FetchError::cache(file))?;
        if actual == request.hash {
            return self.cache.store(file, request.hash).map(Some);
        }
        let kept = self.cache.reject(file, request.hash)?;
        self.wrong(request, &text, actual, kept, tried);
        Ok(None)
    }

    /// The error after all places were tried.
    fn failure(&self, request: &FetchRequest, tried: Tried) -> FetchError {
        match tried.wrong {
            Some(wrong) => FetchError::HashDiffers(Box::new(WrongBytes {
                name: request.name.clone(),
                origin: wrong.origin,
                expected: request.hash,
                actual: wrong.actual,
                kept: wrong.kept,
                attempts: Attempts(tried.attempts),
            })),
            None => FetchError::NotFetched {
                name: request.name.clone(),
                hash: request.hash,
                attempts: Attempts(tried.attempts),
                cache: self.cache.files().to_owned(),
            },
        }
    }
}

impl Fetcher for Downloader {
    fn fetch(
        &self,
        request: &FetchRequest,
        progress: &dyn Fn(Progress<'_>),
    ) -> Result<FetchedFile, FetchError> {
        if let Some(fetched) = self.cached(request, None)? {
            return Ok(fetched);
        }
        if self.settings.offline {
            return Err(FetchError::Offline {
                name: request.name.clone(),
                hash: request.hash,
            });
        }
        let lock = self.cache.lock(request.hash)?;
        // The previous holder of the lock may have fetched it.
        if let Some(fetched) = self.cached(request, Some(&lock))? {
            return Ok(fetched);
        }
        let mut tried = Tried {
            attempts: request.unusable.clone(),
            wrong: None,
        };
        for location in &request.locations {
            let Location::Url(url) = location else {
                continue;
            };
            for url in self.urls(url, &mut tried) {
                if let Some(path) =
                    self.try_url(&self.http, request, &url, &lock, &mut tried, progress)?
                {
                    return Ok(FetchedFile::downloaded(path));
                }
            }
        }
        for location in &request.locations {
            if matches!(location, Location::Url(_)) {
                continue;
            }
            if let Some(path) = self.try_apt(request, location, &mut tried, progress)? {
                return Ok(FetchedFile::downloaded(path));
            }
        }
        // Hosts without APT, and files that its index no longer lists.
        let apt = self.settings.apt.as_ref();
        let snapshot = apt.and_then(|apt| apt.snapshot.as_deref());
        let pool = request.locations.iter();
        for url in pool.flat_map(|location| location.pool_urls(snapshot)) {
            for url in self.urls(&url, &mut tried) {
                if let Some(path) =
                    self.try_url(&self.http, request, &url, &lock, &mut tried, progress)?
                {
                    return Ok(FetchedFile::downloaded(path));
                }
            }
        }
        for url in &request.by_hash {
            if let Some(path) =
                self.try_url(&self.http, request, url, &lock, &mut tried, progress)?
            {
                return Ok(FetchedFile::downloaded(path));
            }
        }
        if let Some(path) = self.search(request, &lock, &mut tried, progress)? {
            return Ok(FetchedFile::downloaded(path));
        }
        // What has come of the file is kept for the next run, but an empty file does not help it.
        let partial = self.cache.partial(request.hash);
        if partial.metadata().is_ok_and(|status| status.len() == 0) {
            let _ = std::fs::remove_file(&partial);
        }
        Err(self.failure(request, tried))
    }
}
