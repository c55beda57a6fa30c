// SPDX-License-Identifier: GPL-3.0-or-later
//! Why an archive cannot be unpacked.

use std::fmt;
use std::io;

use crate::diagnostics::FileError;
use crate::formats::visible::visible;

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
    /// The parts of a sparse file.
    Parts,
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Entries => "entries",
            Self::Bytes => "unpacked bytes",
            Self::Header => "bytes in one extended header",
            Self::Depth => "nested directories",
            Self::Parts => "parts of a sparse file",
        })
    }
}

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ArchiveError {
    /// The file cannot be read, ends too early, or its compressed data are damaged.
    #[error("cannot read the archive {}: {error}", visible(archive))]
    #[diagnostic(help("remove it, so that it is fetched again, or name another one"))]
    Read {
        /// The archive's path.
        archive: String,
        /// What the system or the decoder reported.
        error: io::Error,
    },
    /// The bytes are not in the expected format.
    #[error("the archive {} is malformed: {reason}", visible(archive))]
    #[diagnostic(help(
        "run `bootstrap verify` to see whether it was damaged here; where it was not, name another archive"
    ))]
    Malformed {
        /// The archive's path.
        archive: String,
        /// What was expected and seen.
        reason: String,
    },
    /// An entry that must not be unpacked.
    #[error(
        "the archive {} is refused: its entry `{entry}` {reason}",
        visible(archive)
    )]
    #[diagnostic(help(
        "base systems have no such entries: check where the archive comes from, and name another one"
    ))]
    Unsafe {
        /// The archive's path.
        archive: String,
        /// The entry's name, in visible characters.
        entry: String,
        /// What the entry would do.
        reason: String,
    },
    /// More than the limit allows.
    #[error(
        "the archive {} is refused: at `{entry}` it exceeds the limit of {allowed} {limit}",
        visible(archive)
    )]
    #[diagnostic(help(
        "base systems stay far below that: check where the archive comes from, and name another one"
    ))]
    Limit {
        /// The archive's path.
        archive: String,
        /// The entry at which it happened, in visible characters.
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
    #[error(transparent)]
    #[diagnostic(transparent)]
    Write(#[from] FileError),
}

impl ArchiveError {
    /// Whether this machine is at fault (no space, no permission) and not the archive.
    pub fn is_environment(&self) -> bool {
        matches!(self, Self::Write(_))
    }
}
