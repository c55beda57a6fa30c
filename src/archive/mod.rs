// SPDX-License-Identifier: GPL-3.0-or-later
//! Unpacks archives that others made into a directory, and nowhere else.
//!
//! Formats: `tar` (plain, or compressed with gzip, xz or zstd) and Debian's `.deb` (an `ar` archive that holds a tar).
//! An archive is input that may be hostile even when its hash is the expected one, so:
//!
//! - An entry's name is taken apart and checked (`entry_path`): absolute names and `..` are refused.
//! - A file is created relative to the handle of its directory, and each directory on the way to it is opened without
//!   following symbolic links (`tree`). An entry that would pass through a link is refused, whatever the
//!   link points to; a link itself is only a name with a text, and kept as it is.
//! - Only files, directories, symbolic and hard links are made. Of the mode only the owner's execute bit
//!   counts, so set-user-ID bits are gone; owners, times, flags and extended attributes are ignored. That is all a NAR
//!   would keep.
//! - [`ArchiveLimits`] bound the number of entries and of decoded bytes.
//!
//! Decoding and writing run on two threads with a bounded channel between them: unpacking takes as long as the
//! slower of the two, which is the decoder.

mod ar;
mod compression;
mod deb;
mod entry_path;
mod error;
mod headers;
mod pax;
mod peek;
mod sparse;
mod steps;
mod tar;
mod tree;
mod unpack;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use crate::limited_file;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

pub use ar::{ArError, ArReader, Member};
pub use compression::{Compression, Decoder};
pub use error::{ArchiveError, Limit};
pub use peek::file_in;
pub use tree::{ArchiveTree, MERGED_USR};

/// Bytes read from a file at a time.
const READ_BUFFER: usize = 128 * 1024;

/// How much an archive may unpack to before it is taken for a bomb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Entries of all archives unpacked into one tree.
    pub entries: u64,
    /// Decoded bytes of all archives unpacked into one tree: contents and the archive's own headers.
    pub bytes: u64,
}

impl Default for ArchiveLimits {
    /// Several times what the largest seed holds (about 1.5 GiB, 35,000 entries), and well below what would
    /// fill a disk.
    fn default() -> Self {
        Self {
            entries: 1_000_000,
            bytes: 6 << 30,
        }
    }
}

/// The format of an archive file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A Debian binary package.
    Deb,
    /// A tar, compressed or not; which, its first bytes say.
    Tar,
}

/// What has been unpacked into a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Entries of archives.
    pub entries: u64,
    /// Decoded bytes.
    pub bytes: u64,
}

/// A reader that fails once `stop` is set.
struct StoppableReader<'s, R> {
    input: R,
    stop: &'s AtomicBool,
}

impl<R: Read> Read for StoppableReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("told to stop"));
        }
        self.input.read(buffer)
    }
}

/// Unpacks the archive file `archive` into `tree`, unless another thread sets `stop` before it is done.
///
/// On an error the tree holds what came before the entry at fault; the caller throws it away.
pub fn unpack(
    archive: &Path,
    format: Format,
    tree: &mut ArchiveTree,
    stop: &AtomicBool,
) -> Result<(), ArchiveError> {
    let label = archive.display().to_string();
    let file = limited_file::open_regular(archive).map_err(|error| ArchiveError::Read {
        archive: label.clone(),
        error,
    })?;
    let reader = BufReader::with_capacity(READ_BUFFER, StoppableReader { input: file, stop });
    let unpacked = match format {
        Format::Tar => unpack::unpack_tar(&label, reader, tree),
        Format::Deb => deb::unpack(&label, reader, tree),
    };
    match unpacked {
        // What the decoder makes of input that stops is not the archive's fault.
        Err(_) if stop.load(Ordering::Relaxed) => Err(ArchiveError::Stopped { archive: label }),
        unpacked => unpacked,
    }
}
