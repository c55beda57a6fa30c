// SPDX-License-Identifier: GPL-3.0-or-later
//! Archives of trees on disk: [`dump`] writes one, [`restore()`] and [`restore_tree`] write the tree of one to disk.
//! [`copy`] does both.
//!
//! The format is [`formats::nar`](crate::formats::nar).

mod copy;
mod finish;
mod restore;
pub(super) mod stream;
#[cfg(test)]
mod tests;
mod walk;
mod writer_threads;

pub use copy::{copy, copy_while};
pub(super) use finish::Finish;
pub(super) use restore::restore_with;
pub use restore::{restore, restore_tree};
pub(super) use walk::special_kind;

use std::io::Write;
use std::path::Path;

use crate::formats::nar::NarError;

/// Writes the archive of the tree at `path` (a symbolic link is archived as such) to `sink`.
///
/// Files are read ahead on other threads, in bounded memory (a few MiB). A socket, device or FIFO is an error that
/// names it.
pub fn dump(path: &Path, sink: &mut dyn Write) -> Result<(), NarError> {
    stream::stream(path, &|_| {}, |chunk| {
        sink.write_all(chunk).map_err(NarError::Sink)
    })
}
