// SPDX-License-Identifier: GPL-3.0-or-later
//! Gets bytes by SHA-256: from the cache, from URLs, from the distribution's archive, or by the hash alone.
//!
//! Callers name a digest. All bytes are verified against it before they are used, so it does not matter who serves
//! them. Nothing here knows what the bytes are for.
//!
//! - [`cache`]: the files on disk.
//! - [`http`]: one URL, with time-outs, resuming and retries; [`mirrors`] spells out `mirror://`, [`hosts`] remembers
//!   which servers are dead.
//! - [`apt`]: Debian's archive through the host's `apt-get` with a configuration of our own.
//! - `downloader/search`: files that no named place has, by their SHA-256 alone.
//! - [`probe`]: whether a server answers at all, and what time it has.
//! - [`downloader`]: the order of these, and many files at a time.

pub mod apt;
pub mod attributes;
pub mod by_hash;
pub mod cache;
pub mod client;
pub mod downloader;
pub mod error;
pub mod file_hash;
pub mod hosts;
pub mod http;
pub mod location;
pub mod mirrors;
pub mod probe;
mod proxies;
pub mod size_limit;

use std::path::PathBuf;

pub use downloader::{Downloader, DownloaderSettings, SearchSettings};
pub use error::{Attempts, FailureClass, FetchAttempt, FetchError, WrongBytes};
pub use file_hash::{FileHash, Form};
pub use location::{InvalidLocation, Location};

/// A file to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    /// Its name, for messages.
    pub name: String,
    /// The hash that it must have.
    pub hash: FileHash,
    /// Its size in bytes, where that is known: it stops oversized downloads early.
    pub size: Option<u64>,
    /// Where it can be fetched. URLs are tried first, in their order, then the distribution's archive.
    pub locations: Vec<Location>,
    /// URLs that are tried next: of servers that may have any file, by its hash.
    pub by_hash: Vec<String>,
    /// Whether the file is then searched by its SHA-256 alone, where the [`DownloaderSettings`] allow it.
    pub search: bool,
    /// Places that cannot be used, and why, for the message where no other has the file.
    pub unusable: Vec<FetchAttempt>,
}

impl FetchRequest {
    /// A request for the file called `name` that has the hash `hash`.
    pub fn new(
        name: impl Into<String>,
        hash: impl Into<FileHash>,
        size: Option<u64>,
        locations: Vec<Location>,
    ) -> Self {
        Self {
            name: name.into(),
            hash: hash.into(),
            size,
            locations,
            by_hash: Vec::new(),
            search: false,
            unusable: Vec::new(),
        }
    }
}

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The [`FetchRequest`]'s name.
    pub name: &'a str,
    /// Bytes that have come so far; it falls when a download starts again.
    pub received: u64,
    /// The size in bytes, where it is known.
    pub total: Option<u64>,
    /// The URL or other location that is being tried.
    pub location: &'a str,
}

/// A file that a [`Fetcher`] got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedFile {
    /// Where it is: a verified file that stays there, read-only, and must not be written.
    pub path: PathBuf,
    /// Whether it was there already, so that nothing was downloaded for it.
    pub cached: bool,
}

impl FetchedFile {
    fn cached(path: PathBuf) -> Self {
        Self { path, cached: true }
    }

    fn downloaded(path: PathBuf) -> Self {
        Self {
            path,
            cached: false,
        }
    }
}

/// Something that gets files by their digests.
pub trait Fetcher: Send + Sync {
    /// Gets one file. Blocks until it is there. May be called from several threads; those that want the same file wait
    /// for the first.
    fn fetch(
        &self,
        request: &FetchRequest,
        progress: &dyn Fn(Progress<'_>),
    ) -> Result<FetchedFile, FetchError>;
}
