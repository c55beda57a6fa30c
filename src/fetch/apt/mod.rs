// SPDX-License-Identifier: GPL-3.0-or-later
//! Debian's archive, through the host's `apt-get` and `apt-cache`.
//!
//! APT checks the archive's signature and knows its mirrors, proxies and transports; doing that again here would be
//! doing it worse. The host's state is left alone: everything that APT writes is in a directory of our own, with a
//! [`configuration`] generated from the host's entries for the archive ([`sources`]). [`index`] asks what the archive
//! has, [`source_index`] finds source files by hash, [`download`] gets files, [`queue`] collects what several threads
//! want into few calls. [`host`] lists the host's mirrors.

pub mod command;
pub mod configuration;
pub mod download;
pub mod host;
pub mod index;
pub mod queue;
pub mod source_index;
pub mod sources;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::diagnostics::in_store;
use crate::formats::visible::visible_path;

pub use download::ArchiveFile;
pub use index::{BinaryPackage, PackageIndex};
pub use queue::{AptQueue, Fetched, QueueError};

/// Which archive is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AptSettings {
    /// The release's code name, such as `bookworm`.
    pub release: String,
    /// Debian's name of the architecture, such as `amd64`.
    pub architecture: String,
    /// A time at which Debian's snapshot archive has the files that are wanted, as that archive writes it.
    pub snapshot: Option<String>,
    /// The directory under which the host's `etc/apt` and `etc/os-release` are: `/`.
    pub host: PathBuf,
    /// Whether only the index of source packages is wanted, of the release itself without its updates.
    pub only_sources: bool,
    /// URLs of the archive to use in place of those of the host's entries; the entries still name the keys.
    pub mirrors: Vec<String>,
    /// The directory of `apt-get`, `apt-cache` and `apt-config`; `None` for where `PATH` finds them.
    pub programs: Option<PathBuf>,
}

impl AptSettings {
    /// The archive of `release` for `architecture`, by this host's entries.
    pub fn new(release: &str, architecture: &str) -> Self {
        Self {
            release: release.to_owned(),
            architecture: architecture.to_owned(),
            snapshot: None,
            only_sources: false,
            mirrors: Vec::new(),
            host: PathBuf::from("/"),
            programs: None,
        }
    }

    /// Where the signed index of the release is: a URL, of whatever kind, for each archive that the host's entries
    /// name. Asks no server.
    ///
    /// # Errors
    /// Where the host has no APT, or no entry for the archive.
    pub fn release_files(&self) -> Result<Vec<String>, AptError> {
        command::find(self, "apt-get")?;
        let mut urls = Vec::new();
        for entry in configuration::entries(self)? {
            for uri in &entry.uris {
                let suites = entry.suites.iter();
                urls.extend(
                    suites.map(|suite| {
                        format!("{}/dists/{suite}/InRelease", uri.trim_end_matches('/'))
                    }),
                );
            }
        }
        Ok(urls)
    }
}

/// Why the archive cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum AptError {
    /// The host has no APT.
    #[error("{program} is missing: what Debian's archive has now cannot be looked up")]
    #[diagnostic(help("install APT"))]
    Missing {
        /// The program that was not found.
        program: String,
    },
    /// The host's configuration names no Debian archive.
    #[error(
        "no entry for Debian's archive, with the suite `{release}` and the component `main`, in {}/sources.list or sources.list.d",
        visible_path(directory)
    )]
    #[diagnostic(help("add such an entry"))]
    NoEntries {
        /// The host's `etc/apt`.
        directory: PathBuf,
        /// The release that is needed.
        release: String,
    },
    /// A call failed.
    #[error("`{command}` failed: {message}")]
    #[diagnostic(help("{}", command::remedy(message)))]
    Failed {
        /// The program and its first argument.
        command: String,
        /// What it said last.
        message: String,
    },
    /// The index lists a package in a way that is not understood.
    #[error("the package index cannot be parsed: {0}")]
    Index(String),
    /// The private configuration or a downloaded file cannot be written or read.
    #[error("{}: {error}", visible_path(path))]
    #[diagnostic(help("{}", in_store(error)))]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl AptError {
    fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { path, error }
    }
}

/// A private APT for one archive. Cheap to make; files appear with the first use.
#[derive(Debug, Clone)]
pub struct Apt {
    directory: PathBuf,
    settings: AptSettings,
}

/// The right to run APT in the private directory; APT's own locks would make a second process fail instead of wait.
///
/// Programs that are run with it share it: one that outlives us, because we were killed, still has APT's locks.
#[derive(Debug)]
pub struct AptLock {
    file: File,
    /// Whether the index was fetched with this lock.
    is_fresh: bool,
}

impl AptLock {
    /// The lock as a program's standard input, which keeps it until the program ends too. There is nothing to read from
    /// it.
    fn shared(&self) -> io::Result<Stdio> {
        Ok(self.file.try_clone()?.into())
    }
}

impl Apt {
    /// The private APT under the cache directory `cache`.
    pub fn new(cache: &Path, settings: AptSettings) -> Self {
        let name = match settings.only_sources {
            true => format!("sources-{}", settings.release),
            false => format!("{}-{}", settings.release, settings.architecture),
        };
        Self {
            directory: cache.join("apt").join(name),
            settings,
        }
    }

    /// Waits for other processes, and sees to it that the configuration is there and the index has been fetched once.
    pub fn lock(&self) -> Result<AptLock, AptError> {
        fs::create_dir_all(&self.directory).map_err(AptError::io(&self.directory))?;
        let path = self.directory.join("lock");
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(true);
        let file = file.open(&path).map_err(AptError::io(&path))?;
        crate::fetch::cache::lock_exclusively(&file, &path).map_err(AptError::io(&path))?;
        let mut lock = AptLock {
            file,
            is_fresh: false,
        };
        configuration::write(self)?;
        if !self.has_index() {
            self.update(&mut lock)?;
        }
        Ok(lock)
    }

    /// Fetches the package index again, unless that was done with the same lock.
    pub fn update(&self, lock: &mut AptLock) -> Result<(), AptError> {
        if lock.is_fresh {
            return Ok(());
        }
        tracing::debug!(
            release = self.settings.release,
            "fetching the package index"
        );
        // A failure to fetch would otherwise only be a warning, and the old index stay.
        command::apt_get(self, lock, &["update", "-qq", "--error-on=any"])?;
        let stamp = self.stamp();
        fs::write(&stamp, b"").map_err(AptError::io(&stamp))?;
        lock.is_fresh = true;
        Ok(())
    }

    fn has_index(&self) -> bool {
        self.stamp().exists()
    }

    /// The private configuration: the file for `APT_CONFIG`.
    fn configuration_file(&self) -> PathBuf {
        self.directory.join("apt.conf")
    }

    /// A file that is there once the index is.
    fn stamp(&self) -> PathBuf {
        self.directory.join("index-fetched")
    }
}
