// SPDX-License-Identifier: GPL-3.0-or-later
//! The scheduler's settings.

use std::num::NonZeroUsize;

/// How much is done at a time, and what a failure means.
#[derive(Debug, Clone, Copy)]
pub struct Parallelism {
    /// Builds at a time.
    pub builds: NonZeroUsize,
    /// Downloads at a time.
    pub downloads: NonZeroUsize,
    /// Whether everything that does not need the failed item is still made.
    pub keep_going: bool,
    /// Whether a failure, where nothing more is made after it, cancels the run: what runs already is ended.
    pub ends_others: bool,
}
