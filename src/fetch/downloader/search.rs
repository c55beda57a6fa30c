// SPDX-License-Identifier: GPL-3.0-or-later
//! The search for a file by its SHA-256 alone: in the indexes of Debian's sources, then at servers that have files by
//! hash. A server that cannot be reached is asked once in a run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Downloader, Tried};
use crate::fetch::apt::source_index::{Searched, SourceFile, SourceIndex};
use crate::fetch::apt::{Apt, AptQueue, AptSettings};
use crate::fetch::by_hash::Template;
use crate::fetch::cache::DownloadLock;
use crate::fetch::error::FetchError;
use crate::fetch::http::{Http, RetryPolicy};
use crate::fetch::{FetchRequest, Progress};

/// Longer than a run.
const RUN: Duration = Duration::from_secs(365 * 24 * 3600);

/// Where files are searched.
#[derive(Debug, Clone, Default)]
pub struct SearchSettings {
    /// The APT that reaches Debian's archive; `None` to leave its sources out.
    pub debian: Option<AptSettings>,
    /// Servers that have files by hash.
    pub servers: Vec<Template>,
}

/// The state of the searches of a run.
#[derive(Debug)]
pub struct Search {
    sources: Option<SourceIndex>,
    servers: Vec<Template>,
    /// Of its own, as a server that answers slowly or not is left for the rest of the run.
    http: Http,
}

impl Search {
    /// Does nothing yet.
    pub fn new(settings: &SearchSettings, cache: &Path, retry_policy: &RetryPolicy) -> Self {
        let retry_policy = RetryPolicy {
            connect: retry_policy.connect.min(Duration::from_secs(5)),
            pauses: Vec::new(),
            dead: RUN,
            ..retry_policy.clone()
        };
        let debian = settings.debian.as_ref();
        Self {
            sources: debian.map(|apt| SourceIndex::new(cache, apt)),
            servers: settings.servers.clone(),
            http: Http::new(retry_policy),
        }
    }
}

impl Downloader {
    /// Searches the file of `request`. `Ok(None)`: it is not found, and `tried` says why.
    pub(super) fn search(
        &self,
        request: &FetchRequest,
        lock: &DownloadLock,
        tried: &mut Tried,
        progress: &dyn Fn(Progress<'_>),
    ) -> Result<Option<PathBuf>, FetchError> {
        let (true, Some(sha256)) = (request.search, request.hash.sha256()) else {
            return Ok(None);
        };
        let search = &self.search;
        let mut missing = Vec::new();
        // Suites of one archive are mostly unusable for one reason.
        let mut unusable: Vec<(String, Vec<&str>)> = Vec::new();
        let mut tried_paths = Vec::new();
        for (suite, searched) in search.sources.iter().flat_map(|all| all.search(&sha256)) {
            match searched {
                // Suites share the files of their archive.
                Searched::Found(file, _) if tried_paths.contains(&file.path) => {}
                Searched::Found(file, apt) => {
                    let found = self.fetch_source(request, &file, apt, lock, tried, progress)?;
                    if found.is_some() {
                        return Ok(found);
                    }
                    tried_paths.push(file.path);
                }
                Searched::Missing => missing.push(suite),
                Searched::Unusable(Some(reason)) => {
                    match unusable.iter_mut().find(|(other, _)| *other == reason) {
                        Some((_, suites)) => suites.push(suite),
                        None => unusable.push((reason, vec![suite])),
                    }
                }
                Searched::Unusable(None) => {}
            }
        }
        for (reason, suites) in unusable {
            tried.note(&format!("Debian's sources ({})", suites.join(", ")), reason);
        }
        if !missing.is_empty() {
            let place = format!("Debian's sources ({})", missing.join(", "));
            tried.note(&place, "they have no file with this SHA-256");
        }
        for server in &search.servers {
            let url = server.url(&request.name, &request.hash.hash);
            if request.by_hash.contains(&url) {
                continue;
            }
            let found = self.try_url(&search.http, request, &url, lock, tried, progress)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Fetches a file that an index of sources lists.
    fn fetch_source(
        &self,
        request: &FetchRequest,
        file: &SourceFile,
        apt: &Apt,
        lock: &DownloadLock,
        tried: &mut Tried,
        progress: &dyn Fn(Progress<'_>),
    ) -> Result<Option<PathBuf>, FetchError> {
        let request = FetchRequest {
            size: request.size.or(Some(file.size)),
            ..request.clone()
        };
        let urls = self.urls(&format!("mirror://debian/{}", file.path), tried);
        for url in &urls {
            let found = self.try_url(&self.http, &request, url, lock, tried, progress)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        if !urls.is_empty() {
            return Ok(None);
        }
        // A mirror may have no web address: APT has more ways to it.
        let queue = AptQueue::start(apt.clone());
        self.try_queue(&queue, &request, &file.location, tried, progress)
    }
}
