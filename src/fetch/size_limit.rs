// SPDX-License-Identifier: GPL-3.0-or-later
//! How many bytes a download may have.
//!
//! Where the size is known, no more than that. Where it is not, as many as the file system of the cache has room for:
//! no source is too large for guix-daemon either, but a server that sends for ever must not fill the disk.

use std::path::Path;

use crate::formats::count::counted;
use crate::free_space::available;

/// What a download leaves free at least, in bytes, unless that is more than an eighth of what is free.
const LEFT_FREE: u64 = 512 << 20;

/// The most bytes that a download without a known size may have where the system does not say how many are free.
const MAXIMUM: u64 = 2 << 30;

/// In the reason why a place did not give a file: the hint of a failed download looks for it.
pub(super) const NO_ROOM: &str = "in the file system of the cache";

/// The most bytes to accept of a file whose size is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeLimit {
    bytes: u64,
    /// What is free, where the limit follows from that.
    free: Option<u64>,
}

impl SizeLimit {
    /// A limit of `bytes`.
    pub fn of(bytes: u64) -> Self {
        Self { bytes, free: None }
    }

    /// As many as the file `partial` may have where it is, or will be. What it has already counts as free.
    pub fn of_room(partial: &Path) -> Self {
        let directory = partial.parent().unwrap_or(Path::new("."));
        let Ok(system) = rustix::fs::statvfs(directory) else {
            return Self::of(MAXIMUM);
        };
        let partial = partial.metadata().map_or(0, |found| found.len());
        Self::of_free(available(&system).saturating_add(partial))
    }

    fn of_free(free: u64) -> Self {
        Self {
            bytes: free - LEFT_FREE.min(free / 8),
            free: Some(free),
        }
    }

    /// The limit, in bytes, for a file that should have `size` where that is known.
    pub(super) fn bytes(self, size: Option<u64>) -> u64 {
        size.unwrap_or(self.bytes)
    }

    /// Compares the size that a server announces with `size`, which is expected, before the bytes are read.
    ///
    /// # Errors
    /// Why the file is not wanted.
    pub(super) fn check(self, announced: Option<u64>, size: Option<u64>) -> Result<(), String> {
        let Some(announced) = announced else {
            return Ok(());
        };
        let seen = format!("its file has {}", counted(announced, "byte"));
        match size {
            Some(size) if announced != size => Err(format!("{seen}, expected {size}")),
            None if announced > self.bytes => Err(format!("{seen}, more than {self}")),
            _ => Ok(()),
        }
    }

    /// The reason why a file is not wanted that is longer than [`bytes`](Self::bytes).
    pub(super) fn too_long(self, size: Option<u64>) -> String {
        match size {
            Some(size) => format!("it sends more than the {} expected", counted(size, "byte")),
            None => format!("it sends more than {self}"),
        }
    }
}

impl std::fmt::Display for SizeLimit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = counted(self.bytes, "byte");
        match self.free {
            Some(free) => write!(
                formatter,
                "the {bytes} that a download may have with {free} free {NO_ROOM}"
            ),
            None => write!(formatter, "{bytes}, the limit for one download"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_may_have_what_is_free_but_for_a_reserve() {
        let large = SizeLimit::of_free(100 << 30);
        assert_eq!(large.bytes(None), (100 << 30) - LEFT_FREE);
        assert_eq!(large.bytes(Some(5)), 5);
        // Small files fit on disks that are nearly full.
        assert_eq!(SizeLimit::of_free(800).bytes(None), 700);
        assert_eq!(SizeLimit::of_free(0).bytes(None), 0);
    }

    #[test]
    fn what_is_there_already_counts_as_free() {
        let directory = tempfile::tempdir().unwrap();
        let partial = directory.path().join("partial");
        std::fs::File::create(&partial)
            .unwrap()
            .set_len(1 << 60)
            .unwrap_or_default();
        let size = partial.metadata().unwrap().len();
        let limit = SizeLimit::of_room(&partial);
        assert!(limit.free.unwrap() >= size);
    }

    #[test]
    fn a_refusal_names_what_was_seen_and_what_is_free() {
        let limit = SizeLimit::of_free(800);
        assert_eq!(
            limit.check(Some(900), None).unwrap_err(),
            "its file has 900 bytes, more than the 700 bytes that a download may have with 800 free in the file system \
             of the cache"
        );
        assert_eq!(limit.check(Some(700), None), Ok(()));
        assert_eq!(limit.check(None, None), Ok(()));
        assert_eq!(limit.check(Some(900), Some(900)), Ok(()));
        assert!(limit.too_long(None).contains("800 free"));
    }
}
