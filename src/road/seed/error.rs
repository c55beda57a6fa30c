// SPDX-License-Identifier: GPL-3.0-or-later
//! Why a seed cannot be used.

use std::io;
use std::path::PathBuf;

use crate::archive::ArchiveError;
use crate::diagnostics::FileError;
use crate::fetch::apt::AptError;
use crate::formats::count::counted;
use crate::formats::visible::{visible, visible_lines, visible_path};

/// What kind of failure an error is. The exit status of the command follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeedFailure {
    /// A wrong name, description or lock (exit status 2).
    Usage,
    /// A given file is not the described one (exit status 3).
    HashDiffers,
    /// Debian's archive cannot be reached, or lacks a package (exit status 4).
    NotFetched,
    /// The archives cannot be unpacked (exit status 1).
    Unpack,
    /// This machine is at fault (exit status 5).
    Environment,
}

/// Why a seed cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SeedError {
    /// No seed of that name.
    #[error("unknown seed `{}`", visible(name))]
    #[diagnostic(help("{}", known_seeds(known)))]
    Unknown {
        /// The name as it was given.
        name: String,
        /// The names of all seeds.
        known: Vec<String>,
    },
    /// The description is not TOML, has an unknown key, or lacks one.
    #[error("{file}: {}", visible_lines(error.to_string()))]
    Description {
        /// The file.
        file: String,
        /// With line, column and caret.
        error: Box<toml::de::Error>,
    },
    /// The description contradicts itself or has an invalid value.
    #[error("{file}: {}", visible(reason))]
    Invalid {
        /// The file.
        file: String,
        /// What was expected and seen.
        reason: String,
    },
    /// A file of the base's top folder has a name that no build could be given.
    #[error("the base's top folder holds `{0}`, whose name is not UTF-8")]
    #[diagnostic(help(
        "a base that FreeBSD or Debian makes has no such name: make the archive without it"
    ))]
    Name(String),
    /// A line of the lock is invalid.
    #[error("{file}:{line}: {}", visible(reason))]
    Lock {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What was expected and seen.
        reason: String,
    },
    /// A seed of packages has no lock.
    #[error("the seed {name} has no lock ({file})")]
    #[diagnostic(help("`bootstrap seed update {name}` writes one"))]
    NoLock {
        /// The seed.
        name: String,
        /// The missing file.
        file: String,
    },
    /// The index has no version at all of a package.
    #[error("Debian's index does not offer {}, which the seed {name} needs", packages.join(", "))]
    #[diagnostic(help("correct the packages, or the release, in the description of the seed"))]
    NotOffered {
        /// The seed.
        name: String,
        /// The packages.
        packages: Vec<String>,
    },
    /// A directory that was given as a seed holds no base system.
    #[error(
        "{} is not an unpacked base system: it lacks {missing}",
        visible_path(path)
    )]
    #[diagnostic(help(
        "give --seed-file a base archive such as base.txz, or the directory it was unpacked into"
    ))]
    NoBase {
        /// The directory.
        path: PathBuf,
        /// What every base system has.
        missing: String,
    },
    /// A file that was given as a seed is larger than a base system unpacked.
    #[error(
        "{} has {}: a base system has at most {}, unpacked",
        visible_path(path),
        counted(*size, "byte"),
        counted(*limit, "byte")
    )]
    #[diagnostic(help("give --seed-file a base archive such as base.txz"))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// In bytes.
        size: u64,
        /// In bytes.
        limit: u64,
    },
    /// The running host's base was asked for where it cannot be a seed.
    #[error("the seed `host` is the base of a running FreeBSD, and this is {system}")]
    #[diagnostic(help("choose another seed with --seed"))]
    NoHostBase {
        /// The operating system.
        system: &'static str,
    },
    /// The kernel is older than the seed.
    #[error(
        "the seed {name} is FreeBSD {release}, whose programs may not run on this machine's kernel, {host}"
    )]
    #[diagnostic(help(
        "choose an older seed (`bootstrap seed list`), give --seed-file a base of this release, or --seed host"
    ))]
    HostTooOld {
        /// The seed.
        name: String,
        /// Its release.
        release: String,
        /// The kernel's.
        host: String,
    },
    /// The variables of a derivation do not describe a seed.
    #[error("the derivation does not describe a seed: {0}")]
    Environment(String),
    /// See [`AptError`].
    #[error(transparent)]
    #[diagnostic(transparent)]
    Apt(#[from] AptError),
    /// See [`ArchiveError`].
    #[error(transparent)]
    #[diagnostic(transparent)]
    Archive(#[from] ArchiveError),
    /// See [`crate::fetch::FetchError`].
    #[error(transparent)]
    #[diagnostic(transparent)]
    Fetch(#[from] crate::fetch::FetchError),
    /// A file cannot be read or written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] FileError),
}

impl SeedError {
    /// What kind of failure this is.
    pub fn failure(&self) -> SeedFailure {
        use crate::fetch::FailureClass;
        match self {
            Self::Unknown { .. }
            | Self::Description { .. }
            | Self::Invalid { .. }
            | Self::Lock { .. }
            | Self::NoLock { .. }
            | Self::NoBase { .. }
            | Self::TooLarge { .. }
            | Self::NoHostBase { .. }
            | Self::Environment(_) => SeedFailure::Usage,
            Self::Apt(AptError::Io { .. }) => SeedFailure::Environment,
            Self::NotOffered { .. } | Self::Apt(_) => SeedFailure::NotFetched,
            Self::Archive(error) if error.is_environment() => SeedFailure::Environment,
            Self::Archive(_) | Self::Name(_) => SeedFailure::Unpack,
            Self::Fetch(error) => match error.class() {
                FailureClass::HashDiffers => SeedFailure::HashDiffers,
                FailureClass::NotFetched => SeedFailure::NotFetched,
                FailureClass::Environment => SeedFailure::Environment,
            },
            Self::HostTooOld { .. } | Self::File(_) => SeedFailure::Environment,
        }
    }

    /// A file that cannot be read, for `map_err`.
    pub(super) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        Self::file("read", path)
    }

    /// A file that cannot be written, for `map_err`.
    pub(super) fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        Self::file("write", path)
    }

    /// A file that cannot be removed, for `map_err`.
    pub(super) fn remove(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        Self::file("remove", path)
    }

    fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let error = FileError::named_by_user(action, path);
        move |source| error(source).into()
    }
}

/// What to name instead of a seed that is unknown.
fn known_seeds(known: &[String]) -> String {
    match known.is_empty() {
        true => "the directory has none: give --seeds a directory with files NAME.toml".to_owned(),
        false => format!("known seeds: {}", known.join(", ")),
    }
}
