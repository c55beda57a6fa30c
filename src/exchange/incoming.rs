// SPDX-License-Identifier: GPL-3.0-or-later
//! What an archive goes through while it arrives: a limit of its length, and news of the bytes that are there.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use super::watch::{InstallationNews, InstallationWatch};
use crate::formats::count::counted;
use crate::formats::store_path::StorePath;

/// How often the bytes of an item that have arrived are reported.
const NEWS_INTERVAL: Duration = Duration::from_millis(100);

/// An archive as it arrives, and an error instead of more than there can be of it.
pub(super) struct Bounded<R> {
    pub inner: R,
    pub left: u64,
    /// The bytes that it is to become.
    pub contents: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other(format!(
                "archive exceeds the compressed size limit for {}",
                counted(self.contents, "byte")
            )));
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
    location: &'w str,
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
        location: &'w str,
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
            location: self.location,
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
