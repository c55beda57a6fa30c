//! What can be wrong with an archive, or with writing what it holds.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::diagnostics::in_store;

/// A bound that an archive went over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The number of entries.
    Entries,
    /// The number of decoded bytes.
    Bytes,
    /// The bytes of a header that holds a name or attributes of the next entry.
    Header,
    /// The components of an entry's name.
    Depth,
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Entries => "entries",
            Self::Bytes => "unpacked bytes",
            Self::Header => "bytes in one extended header",
            Self::Depth => "nested directories",
        })
    }
}

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ArchiveError {
    /// The file cannot be read, ends too early, or its compressed data are damaged.
    #[error("cannot read the archive {archive}: {error}; remove it so that it is fetched again")]
    Read {
        /// The archive's path.
        archive: String,
        /// What the system or the decoder said.
        error: io::Error,
    },
    /// The bytes are not in the expected format.
    #[error(
        "the archive {archive} is malformed: {reason}; `bootstrap verify` tells whether it was damaged here; where it was not, \
         name another one"
    )]
    Malformed {
        /// The archive's path.
        archive: String,
        /// What was expected and seen.
        reason: String,
    },
    /// An entry that must not be unpacked.
    #[error(
        "the archive {archive} is refused: its entry `{entry}` {reason}; no base system has such an entry: look where the \
         archive is from, and name another one"
    )]
    Unsafe {
        /// The archive's path.
        archive: String,
        /// The entry's name, as the archive spells it.
        entry: String,
        /// What the entry would do.
        reason: String,
    },
    /// More than the limit allows.
    #[error(
        "the archive {archive} is refused: at `{entry}` it goes over the limit of {allowed} {limit}, which no base system \
         comes near: look where the archive is from, and name another one"
    )]
    Limit {
        /// The archive's path.
        archive: String,
        /// The entry at which it happened.
        entry: String,
        /// Which limit.
        limit: Limit,
        /// Its value.
        allowed: u64,
    },
    /// The caller asked to stop.
    #[error("unpacking {archive} was stopped")]
    Stopped {
        /// The archive's path.
        archive: String,
    },
    /// The unpacked tree cannot be written.
    #[error("cannot write {}: {error}{}", path.display(), in_store(error))]
    Write {
        /// The path in the tree.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl ArchiveError {
    /// Whether this machine is at fault (no space, no permission) and not the archive.
    pub fn is_environment(&self) -> bool {
        matches!(self, Self::Write { .. })
    }
}
