// SPDX-License-Identifier: GPL-3.0-or-later
//! Errors of locks.

use std::path::PathBuf;
use std::time::Duration;

use crate::diagnostics::FileError;
use crate::formats::visible::visible_path;

/// A lock that was not obtained.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LockError {
    /// The lock file cannot be opened or locked.
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] FileError),
    /// Another process held the lock for too long.
    #[error(
        "{} stayed locked{} for {} s",
        visible_path(path), by(*holder), waited.as_secs()
    )]
    #[diagnostic(help("wait for that process to end, or end it, and try again"))]
    TimedOut {
        /// The lock file.
        path: PathBuf,
        /// The process that holds it, where the system reports it.
        holder: Option<u32>,
        /// How long we waited.
        waited: Duration,
    },
    /// The caller stopped the wait.
    #[error("stopped waiting for {}, which is locked{}", visible_path(path), by(*holder))]
    Cancelled {
        /// The lock file.
        path: PathBuf,
        /// The process that holds it, where the system reports it.
        holder: Option<u32>,
    },
    /// The thread holds this very lock already and would wait for itself for ever.
    #[error("{} is locked by this thread already", visible_path(path))]
    SelfHeld {
        /// The lock file.
        path: PathBuf,
    },
    /// One process, or the client that it serves, wants more temporary roots than a collector reads.
    #[error("{wanted} temporary roots in one process: expected at most {most} temporary roots")]
    #[diagnostic(help("ask for fewer items at a time, each part in a run or session of its own"))]
    TooManyRoots {
        /// How many there would be.
        wanted: usize,
        /// The limit.
        most: usize,
    },
}

fn by(holder: Option<u32>) -> String {
    holder.map_or_else(String::new, |holder| format!(" by process {holder}"))
}
