//! Why a file is not there.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::diagnostics::in_store;
use crate::formats::hash::Sha256Digest;

/// One place that was tried, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The URL, or the text form of another location.
    pub location: String,
    /// What was expected and seen.
    pub reason: String,
}

/// The attempts, one a line, for the end of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempts(pub Vec<Attempt>);

impl fmt::Display for Attempts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Attempt { location, reason } in &self.0 {
            write!(formatter, "\n  {location}: {reason}")?;
        }
        Ok(())
    }
}

/// What kind of failure an error is; the command's exit status follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// Bytes came, and they are not the expected ones (exit status 3).
    HashDiffers,
    /// No place had the file (exit status 4).
    NotFetched,
    /// This machine is at fault: no space, no permission (exit status 5).
    Environment,
}

/// A file with other bytes than the expected ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongBytes {
    /// The file's name.
    pub name: String,
    /// Where it came from.
    pub origin: String,
    /// The expected digest.
    pub expected: Sha256Digest,
    /// The digest of what came.
    pub actual: Sha256Digest,
    /// Where the wrong file is now.
    pub kept: PathBuf,
    /// All places that were tried.
    pub attempts: Attempts,
}

impl fmt::Display for WrongBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            origin,
            expected,
            actual,
            kept,
            attempts,
        } = self;
        write!(
            formatter,
            "{name} from {origin} has the wrong bytes: expected SHA-256 {expected}, saw {actual}; kept as {}",
            kept.display()
        )?;
        // One attempt says nothing new.
        if attempts.0.len() > 1 {
            write!(formatter, "; tried:{attempts}")?;
        }
        Ok(())
    }
}

/// Why a file was not fetched.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum FetchError {
    /// No place had the file.
    #[error(
        "cannot fetch {name} (SHA-256 {sha256}); tried:{attempts}\nPut the file into {} under the name {sha256}, \
         or try again later where a server did not answer",
        cache.display()
    )]
    NotFetched {
        /// The file's name.
        name: String,
        /// Its expected digest.
        sha256: Sha256Digest,
        /// The places that were tried.
        attempts: Attempts,
        /// The cache's directory of files.
        cache: PathBuf,
    },
    /// A place had a file with other bytes, and no other place had the right ones.
    #[error("{0}")]
    HashDiffers(Box<WrongBytes>),
    /// Not in the cache, and the network is not to be used.
    #[error(
        "{name} (SHA-256 {sha256}) is not in the cache, and --offline forbids fetching it; run `bootstrap fetch` \
         with a network first"
    )]
    Offline {
        /// The file's name.
        name: String,
        /// Its expected digest.
        sha256: Sha256Digest,
    },
    /// The cache cannot be read or written.
    #[error("cannot use the cache: {}: {error}{}", path.display(), in_store(error))]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl FetchError {
    /// What kind of failure this is.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::HashDiffers(_) => FailureClass::HashDiffers,
            Self::NotFetched { .. } | Self::Offline { .. } => FailureClass::NotFetched,
            Self::Cache { .. } => FailureClass::Environment,
        }
    }

    /// Makes an I/O error into one of these; for `map_err`.
    pub(super) fn cache(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Cache { path, error }
    }
}
