// SPDX-License-Identifier: GPL-3.0-or-later
//! The options of the daemon, as values. The listener makes them once, and passes them to each session.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::builder::log::LogCompression;
use crate::engine::SPARE;
use crate::fetch::mirrors::Mirrors;
use crate::formats::store_path::{StoreDir, StorePathError};
use crate::store::directories::Directories;

/// The options of guix-daemon that this daemon does not have, each with the reason.
const UNSUPPORTED: [(&str, &str); 5] = [
    ("--disable-chroot", "builds are always isolated"),
    (
        "--impersonate-linux-2.6",
        "builds see the kernel's own version",
    ),
    ("--lose-logs", "build logs are kept"),
    (
        "--isolate-host-loopback",
        "downloads run in the daemon itself",
    ),
    (
        "--discover",
        "servers have to be named with --substitute-urls",
    ),
];

/// The first of the options that this daemon does not have, in the order of their list here, that is `given`, with the
/// reason.
pub fn unsupported(given: [bool; UNSUPPORTED.len()]) -> Option<String> {
    let mut refused = UNSUPPORTED.iter().zip(given).filter(|(_, given)| *given);
    let ((option, instead), _) = refused.next()?;
    Some(format!("{option} is not supported: {instead}"))
}

/// The directory of this machine that `text` names, which builds can be shown: it is neither their own `/`, `/etc` and
/// the like nor the usual store's. (Where the store is elsewhere, builds fail that have it in the same place.)
///
/// # Errors
/// Where they cannot be shown it, in words.
pub fn shown_directory(text: &str) -> Result<PathBuf, String> {
    // Without `/` at the end, and `.` or `//` within.
    let directory: PathBuf = Path::new(text).components().collect();
    let is_plain = directory
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !directory.is_absolute() || !is_plain {
        return Err("expected an absolute name without `..`".to_owned());
    }
    let own = ["/dev", "/etc", "/gnu/store", "/proc", "/tmp"].map(Path::new);
    let mut own = own.into_iter();
    if own.any(|own| own.starts_with(&directory) || directory.starts_with(own)) {
        return Err("builds have their own there; name another directory".to_owned());
    }
    match directory.symlink_metadata() {
        Ok(found) if found.is_dir() => Ok(directory),
        Ok(_) => Err("expected a directory".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The longest time of a build, in seconds, where no other is given: guix-daemon's (`buildTimeout` in `globals.cc`).
pub const TIMEOUT: u64 = 24 * 60 * 60;

/// The same of a build's silence (`maxSilentTime`).
pub const SILENT_TIME: u64 = 60 * 60;

/// What sessions of the daemon go by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonConfiguration {
    /// Where everything is.
    pub places: DaemonDirectories,
    /// The system to build for, such as `x86_64-linux`.
    pub system: String,
    /// Builds at a time of one session. 0 builds nothing here.
    pub max_jobs: u32,
    /// Processor cores of one build; 0 is all.
    pub cores: u32,
    /// Jobs at a time of all sessions together; 0 is as many as the machine has processors and two more, or what one
    /// client may use, if that is more.
    pub total_jobs: u32,
    /// The longest time of a build, in seconds; 0 is without bound.
    pub timeout: u64,
    /// The longest silence of a build, in seconds; 0 is without bound.
    pub max_silent_time: u64,
    /// The most address space of each process of a build, in bytes.
    pub max_memory: Option<u64>,
    /// The most processes and threads of a build.
    pub max_processes: Option<u64>,
    /// How often each derivation is built.
    pub rounds: u32,
    /// Whether substitutes are used at all.
    pub use_substitutes: bool,
    /// Whether the network is off limits: nothing is downloaded, and of substitute servers only folders are asked.
    pub offline: bool,
    /// The servers for `mirror://` URLs, and those that have files by hash.
    pub mirrors: Mirrors,
    /// The substitute servers of clients that name none.
    pub substitute_urls: Vec<String>,
    /// The file of keys whose owners may say what is in the store: Guix's access control list.
    pub acl: PathBuf,
    /// The file of the key that exports are signed with.
    pub signing_key: PathBuf,
    /// The program and first arguments of the build hook; empty where there is none.
    pub build_hook: Vec<String>,
    /// Whether failed builds are recorded, and not tried again.
    pub cache_failures: bool,
    /// Whether the collector keeps the outputs of live derivations.
    pub keep_outputs: bool,
    /// Whether the collector keeps the derivations of live outputs.
    pub keep_derivations: bool,
    /// How build logs are compressed.
    pub log_compression: LogCompression,
    /// Whether equal files of new items become links of one file.
    pub deduplicate: bool,
    /// Directories of this machine that builds see.
    pub chroot_directories: BTreeSet<PathBuf>,
    /// Users that are trusted beside root.
    pub trusted_users: Vec<String>,
    /// Whether requests are logged.
    pub debug: bool,
}

impl DaemonConfiguration {
    /// The configuration that guix-daemon has without options, for `system` and `directories`.
    pub fn new(system: String, directories: &Directories) -> Self {
        Self {
            places: DaemonDirectories::of(directories),
            system,
            max_jobs: 1,
            cores: 0,
            total_jobs: 0,
            timeout: TIMEOUT,
            max_silent_time: SILENT_TIME,
            max_memory: None,
            max_processes: None,
            rounds: 1,
            use_substitutes: true,
            offline: false,
            mirrors: Mirrors::default(),
            substitute_urls: ["https://bordeaux.guix.gnu.org", "https://ci.guix.gnu.org"]
                .map(str::to_owned)
                .to_vec(),
            acl: PathBuf::from("/etc/guix/acl"),
            signing_key: PathBuf::from("/etc/guix/signing-key.sec"),
            build_hook: Vec::new(),
            cache_failures: false,
            keep_outputs: false,
            keep_derivations: true,
            log_compression: LogCompression::default(),
            deduplicate: true,
            chroot_directories: BTreeSet::new(),
            trusted_users: Vec::new(),
            debug: false,
        }
    }
}

impl DaemonConfiguration {
    /// Sets the substitute servers of clients that name none to `urls`, which are separated by spaces, where they are
    /// given.
    pub fn set_substitute_urls(&mut self, urls: Option<&str>) {
        if let Some(urls) = urls {
            self.substitute_urls = urls.split_whitespace().map(str::to_owned).collect();
        }
    }

    /// The number of job tokens of all sessions together.
    pub fn tokens(&self) -> NonZeroUsize {
        let processors = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let one = u64::from(self.max_jobs) * u64::from(self.cores);
        let usual = processors.saturating_add(SPARE);
        match NonZeroUsize::new(self.total_jobs as usize) {
            Some(total) => total,
            None => NonZeroUsize::new(usize::try_from(one).unwrap_or(usize::MAX))
                .map_or(usual, |one| one.max(usual)),
        }
    }

    /// How many of the tokens are only for builds that start: those that the machine has no processors for, at most
    /// one.
    pub fn reserved_tokens(&self) -> usize {
        let processors = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        usize::from(self.tokens() > processors)
    }
}

/// [`Directories`], as text that a session can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonDirectories {
    store_dir: String,
    store: PathBuf,
    state: PathBuf,
    log: PathBuf,
    cache: PathBuf,
}

impl DaemonDirectories {
    /// `directories` as text.
    pub fn of(directories: &Directories) -> Self {
        Self {
            store_dir: directories.store_dir.as_str().to_owned(),
            store: directories.store.clone(),
            state: directories.state.clone(),
            log: directories.log.clone(),
            cache: directories.cache.clone(),
        }
    }

    /// The directories.
    ///
    /// # Errors
    /// Where the store directory is not one, which this program has not written.
    pub fn directories(&self) -> Result<Directories, StorePathError> {
        Ok(Directories {
            store_dir: StoreDir::new(&self.store_dir)?,
            store: self.store.clone(),
            state: self.state.clone(),
            log: self.log.clone(),
            cache: self.cache.clone(),
        })
    }

    /// The state directory.
    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    /// The socket that clients connect to where no other is named.
    pub fn socket(&self) -> PathBuf {
        self.state.join("daemon-socket/socket")
    }

    /// The directory of what the daemon's processes say of themselves.
    pub(super) fn processes(&self) -> PathBuf {
        self.state.join("bootstrap/daemon/processes")
    }

    /// The directory of the job tokens that all sessions share.
    pub fn tokens(&self) -> PathBuf {
        self.state.join("bootstrap/daemon/tokens")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_builds_have_of_their_own_is_not_shown_to_them() {
        for spelling in ["/usr", "/usr/", "//usr", "/./usr//."] {
            let shown = shown_directory(spelling).unwrap();
            assert_eq!(shown.to_str(), Some("/usr"), "{spelling}");
        }
        for directory in [
            "",
            "/",
            "/tmp",
            "/tmp/x",
            "/etc",
            "/gnu",
            "/gnu/store",
            "/gnu/store/x",
            "usr",
            "/usr/../etc",
            "/nonexistent",
            "/usr/bin/env",
        ] {
            assert!(shown_directory(directory).is_err(), "{directory}");
        }
    }
}
