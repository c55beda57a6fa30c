//! Why a seed cannot be had.

use std::io;
use std::path::PathBuf;

use crate::archive::ArchiveError;
use crate::diagnostics::on_file;
use crate::fetch::apt::AptError;
use crate::formats::hash::Sha256Digest;

/// What kind of failure an error is; the command's exit status follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeedFailure {
    /// A wrong name, description or lock (exit status 2).
    Usage,
    /// The lock and the archive, or a given file and the description, disagree (exit status 3).
    HashDiffers,
    /// The distribution's archive cannot be asked or does not have it (exit status 4).
    NotFetched,
    /// The archives cannot be unpacked (exit status 1).
    Unpack,
    /// This machine is at fault (exit status 5).
    Environment,
}

/// Why a seed cannot be had.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SeedError {
    /// No seed of that name.
    #[error("no seed is called `{name}`; there are: {}", known.join(", "))]
    Unknown {
        /// The name as it was given.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// The description is no TOML, has an unknown key, or lacks one.
    #[error("{file}: {error}")]
    Description {
        /// The file.
        file: String,
        /// With line, column and caret.
        error: Box<toml::de::Error>,
    },
    /// The description says something that makes no sense.
    #[error("{file}: {reason}")]
    Invalid {
        /// The file.
        file: String,
        /// What was expected and seen.
        reason: String,
    },
    /// A line of the lock is wrong.
    #[error("{file}:{line}: {reason}")]
    Lock {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What was expected and seen.
        reason: String,
    },
    /// A seed of packages has no lock.
    #[error("the seed {name} has no lock ({file}): make one with `bootstrap seed update {name}`")]
    NoLock {
        /// The seed.
        name: String,
        /// The missing file.
        file: String,
    },
    /// Pinned versions are gone, and only pinned ones may be used.
    #[error(
        "the archive no longer has what the lock of the seed {name} pins: {}; run without --locked, or `bootstrap seed \
         update {name}`",
        gone.join(", ")
    )]
    Locked {
        /// The seed.
        name: String,
        /// The packages with their pinned versions.
        gone: Vec<String>,
    },
    /// The archive offers a pinned version with other bytes, which no archive does: one of the two is not to be trusted.
    #[error(
        "{lock} pins other bytes than the signed index of the archive has for {}; one of the two is wrong: look whether \
         {lock} was changed, or the archive is another one than it was made for",
        packages.join(", ")
    )]
    OtherBytes {
        /// The file of the lock.
        lock: String,
        /// The packages, each with its version and both digests.
        packages: Vec<String>,
    },
    /// The index has no version at all of a package.
    #[error(
        "Debian's index does not offer {}, which the seed {name} asks for: look whether that is how the packages are called \
         in the archive and release that the seed's description names",
        packages.join(", ")
    )]
    NotOffered {
        /// The seed.
        name: String,
        /// The packages.
        packages: Vec<String>,
    },
    /// A file that was given for a seed is another one.
    #[error("{} is not an archive of the seed {name}: its SHA-256 is {actual}, expected {}; download it again, or name the \
        seed that it is of with --seed", path.display(),
        expected.iter().map(Sha256Digest::to_base16).collect::<Vec<_>>().join(" or "))]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// The seed.
        name: String,
        /// The digests of the seed's archives.
        expected: Vec<Sha256Digest>,
        /// The file's digest.
        actual: Sha256Digest,
    },
    /// A directory that was given as a seed holds no base system.
    #[error("{} is no unpacked base system: it has no {missing}; give --seed-file a base archive such as base.txz, or the \
        directory it was unpacked into", path.display())]
    NoBase {
        /// The directory.
        path: PathBuf,
        /// What every base system has.
        missing: String,
    },
    /// The running host's base was asked for where it is no seed.
    #[error(
        "the seed `host` is the base of a running FreeBSD, and this is {system}; choose another with --seed"
    )]
    NoHostBase {
        /// The operating system.
        system: &'static str,
    },
    /// The kernel is older than the seed.
    #[error(
        "the seed {name} is FreeBSD {release}, whose programs may not run on this machine's kernel, {host}: choose an \
        older seed (`bootstrap seed list`), give --seed-file a base of this release, or --seed host"
    )]
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
    #[error("{}: {error}{}", path.display(), on_file(error))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
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
            | Self::NoHostBase { .. }
            | Self::Environment(_) => SeedFailure::Usage,
            Self::Locked { .. } | Self::OtherBytes { .. } | Self::OtherFile { .. } => {
                SeedFailure::HashDiffers
            }
            Self::Apt(AptError::Io { .. }) => SeedFailure::Environment,
            Self::NotOffered { .. } | Self::Apt(_) => SeedFailure::NotFetched,
            Self::Archive(error) if error.is_environment() => SeedFailure::Environment,
            Self::Archive(_) => SeedFailure::Unpack,
            Self::Fetch(error) => match error.class() {
                FailureClass::HashDiffers => SeedFailure::HashDiffers,
                FailureClass::NotFetched => SeedFailure::NotFetched,
                FailureClass::Environment => SeedFailure::Environment,
            },
            Self::HostTooOld { .. } | Self::Io { .. } => SeedFailure::Environment,
        }
    }

    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { path, error }
    }
}
