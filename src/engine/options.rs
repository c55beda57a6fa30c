// SPDX-License-Identifier: GPL-3.0-or-later
//! The options of a session, as values that are already checked.

use std::collections::BTreeSet;
use std::io;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::error::EngineError;
use crate::builder::hook::HookSettings;
use crate::builder::kept_directory::NewOwner;
use crate::builder::log::LogCompression;
use crate::builder::settings::Fallback;
use crate::builder::shared_tokens::SharedTokens;
use crate::diagnostics::FileError;
use crate::fetch::mirrors::Mirrors;
use crate::formats::keys::{KeyError, PublicKey};
use crate::formats::store_path::StoreDir;
use crate::formats::system::System;
use crate::road::recipe::RecipeSource;
use crate::road::seed::SeedSource;
use crate::store::directories::Directories;

/// Everything a session depends on.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// The system to build for.
    pub system: System,
    /// Store, state, logs and cache.
    pub directories: Directories,
    /// Where recipes come from.
    pub recipes: RecipeSource,
    /// The seed of plans.
    pub seed: SeedOptions,
    /// Whether the network is off limits.
    pub offline: bool,
    /// The servers for `mirror://` URLs.
    pub mirrors: Mirrors,
    /// The URLs of substitute servers, most preferred first.
    pub substitute_urls: Vec<String>,
    /// The keys whose owners may say what is in the store.
    pub trusted_keys: TrustedKeys,
    /// How builds run.
    pub build: BuildOptions,
}

impl SessionOptions {
    /// The options for `system` with its default seed, the built-in recipes and all directories in their usual places.
    pub fn new(system: System, store_dir: StoreDir) -> Self {
        Self {
            system,
            directories: Directories::new(store_dir, None),
            recipes: RecipeSource::Embedded,
            seed: SeedOptions::default(),
            offline: false,
            mirrors: Mirrors::default(),
            substitute_urls: Vec::new(),
            trusted_keys: TrustedKeys::default(),
            build: BuildOptions::default(),
        }
    }
}

/// Which seed a plan starts from.
#[derive(Debug, Clone, Default)]
pub struct SeedOptions {
    /// Where seeds are described.
    pub descriptions: SeedSource,
    /// The seed's name; `None` is the default seed of the system.
    pub name: Option<String>,
    /// An archive or directory to use in place of the described archives.
    pub file: Option<PathBuf>,
    /// Whether only exactly what the seed's lock pins may be used.
    pub locked: bool,
}

/// Public keys that signatures are checked with.
#[derive(Debug, Clone)]
pub enum TrustedKeys {
    /// Text in the form that [`PublicKey::parse_all`] reads. It is read when a key is needed, since it may name files.
    Text(String),
    /// The keys themselves.
    Keys(Vec<PublicKey>),
}

impl Default for TrustedKeys {
    fn default() -> Self {
        Self::Keys(Vec::new())
    }
}

impl TrustedKeys {
    /// The keys.
    ///
    /// # Errors
    /// Where the text is not a list of keys, or a file in it cannot be read.
    pub fn read(&self) -> Result<Vec<PublicKey>, KeyError> {
        match self {
            Self::Text(text) => PublicKey::parse_all("--trusted-keys", text),
            Self::Keys(keys) => Ok(keys.clone()),
        }
    }
}

/// How builds run.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// Builds at a time; `None` is as many as job tokens.
    pub max_jobs: Option<NonZeroUsize>,
    /// What is offered builds of stored derivations, and has other machines make them.
    pub hook: Option<HookSettings>,
    /// Whether only what prefers this machine is built here.
    pub only_elsewhere: bool,
    /// Processor cores for all builds together; `None` is all of the machine.
    pub cores: Option<NonZeroUsize>,
    /// Whether builds read 0 as the number of cores where `cores` is `None`, as with guix-daemon.
    pub tells_all_cores: bool,
    /// The pool of job tokens that this session shares with others; `None`: it has one of its own. With a shared pool
    /// `cores` are those of each build.
    pub shared_tokens: Option<Arc<SharedTokens>>,
    /// Whether the build directory of a failed build stays.
    pub keep_failed: bool,
    /// Whether a failure stops only what depends on it.
    pub keep_going: bool,
    /// Whether a failure, where not everything else is still made, ends what is being built as well.
    pub ends_others: bool,
    /// Whether what a build leaves in the store beside its outputs is ignored, as by guix-daemon, and not a failure.
    pub ignores_strays: bool,
    /// What becomes of an item that a substitute server does not deliver.
    pub fallback: Fallback,
    /// The longest time that a build may take.
    pub timeout: Option<Duration>,
    /// The longest time that a build may print nothing.
    pub max_silent_time: Option<Duration>,
    /// The most address space of each process of a build, in bytes.
    pub max_memory: Option<u64>,
    /// The most processes and threads of a build.
    pub max_processes: Option<u64>,
    /// Who gets the build directories of failed builds that are kept; `None`: who runs this process.
    pub keeps_for: Option<NewOwner>,
    /// Whether failures are recorded, and what has failed is not tried again until the record is cleared.
    pub cache_failures: bool,
    /// How build logs are compressed.
    pub log_compression: LogCompression,
    /// How often each is built before it is registered: all rounds must give the same. `None`: once.
    pub rounds: Option<NonZeroU32>,
    /// Whether what a substitute server has without a trusted signature counts as something that it lacks, as with
    /// guix-daemon. Otherwise it is an error.
    pub skips_untrusted: bool,
    /// Directories of this machine that builds see, read-only, at the same places. What builds make may depend on them.
    pub host_directories: BTreeSet<PathBuf>,
    /// Whether builds are known to run in the sandbox of this machine. Otherwise each run that builds tries it first.
    pub sandbox_is_fit: bool,
    /// Where build directories are made; `None` is the directory for temporary files.
    pub temporary: Option<PathBuf>,
}

/// Finds out whether `root`, where one is given, may be one: a directory, or nothing yet.
///
/// # Errors
/// Where it is something else.
pub fn check_root(root: Option<&Path>) -> Result<(), EngineError> {
    let other = root.filter(|root| root.exists() && !root.is_dir());
    other.map_or(Ok(()), |root| {
        let error = io::ErrorKind::NotADirectory.into();
        Err(FileError::named_by_user("use as --root", root)(error).into())
    })
}
