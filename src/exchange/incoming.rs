// SPDX-License-Identifier: GPL-3.0-or-later
//! What an archive goes through while it arrives: a limit of its length, and news of the bytes that are there.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use super::watch::{InstallationNews, InstallationWatch};
use crate::formats::count::counted;
use crate::formats::store_path::StorePath;

/// How often the bytes of an item that have arrived are reported.
const NEWS_INTERVAL: Duration = Duration::from_millis(100);
/// However little an archive can be compressed, it becomes longer by an eighth and so many bytes at most.
const OVERHEAD_MAX: u64 = 1 << 16;
/// So many times as many bytes as are read of a text may come for it.
const TEXT_OVERHEAD: u64 = 4;

/// The most bytes that a decoder reads of what a server sends: it may be kept reading without an end by what becomes
/// nothing, such as empty frames.
#[derive(Debug, Clone)]
pub(super) struct ByteLimit {
    bytes: u64,
    /// The error of what has more, in words.
    problem: String,
}

impl ByteLimit {
    /// That of a text, of which `most` bytes are read.
    pub fn of_text(most: u64) -> Self {
        let bytes = most.saturating_mul(TEXT_OVERHEAD);
        Self {
            bytes,
            problem: format!(
                "answer exceeds the size limit of {}",
                counted(bytes, "byte")
            ),
        }
    }

    /// That of the compressed archive of an item whose archive has `nar_size` bytes.
    pub fn of_archive(nar_size: u64) -> Self {
        let most = nar_size.saturating_add(nar_size / 8);
        Self {
            bytes: most.saturating_add(OVERHEAD_MAX),
            problem: format!(
                "archive exceeds the compressed size limit for {}",
                counted(nar_size, "byte")
            ),
        }
    }

    /// `inner`, and an error instead of more than the limit.
    pub fn on<R: Read>(&self, inner: R) -> Bounded<R> {
        Bounded {
            inner,
            left: self.bytes,
            problem: self.problem.clone(),
        }
    }
}

/// What arrives, and an error instead of more than a [`ByteLimit`].
pub(super) struct Bounded<R> {
    inner: R,
    left: u64,
    problem: String,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                self.problem.clone(),
            ));
        }
        let count = (&mut self.inner).take(self.left).read(buffer)?;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Tells how much of an item's archive has arrived.
pub(super) struct Counting<'w, R> {
    inner: R,
    path: &'w StorePath,
    location: String,
    bytes: u64,
    total: Option<u64>,
    told: Instant,
    watch: &'w InstallationWatch<'w>,
}

impl<'w, R> Counting<'w, R> {
    /// Of `path`, whose archive of `total` bytes comes from `location` as `inner`. Says that it begins.
    pub fn begin(
        inner: R,
        path: &'w StorePath,
        location: String,
        total: Option<u64>,
        watch: &'w InstallationWatch<'w>,
    ) -> Self {
        let counting = Self {
            inner,
            path,
            location,
            bytes: 0,
            total,
            told: Instant::now(),
            watch,
        };
        counting.tell();
        counting
    }

    fn tell(&self) {
        (self.watch.news)(InstallationNews::Received {
            path: self.path,
            location: &self.location,
            bytes: self.bytes,
            total: self.total,
        });
    }
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let is_first = self.bytes == 0;
        self.bytes += count as u64;
        // A decoder need not read on when it has all.
        let is_last = Some(self.bytes) == self.total;
        if is_first || is_last || self.told.elapsed() >= NEWS_INTERVAL {
            self.told = Instant::now();
            self.tell();
        }
        Ok(count)
    }
}
