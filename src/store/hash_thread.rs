// SPDX-License-Identifier: GPL-3.0-or-later
//! Hashes what one thread reads in another: reading and writing a large file takes nearly as long as hashing it.

use std::io::{self, Read};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::Builder;

use sha2::{Digest, Sha256};

use crate::formats::hash::Sha256Digest;

/// How many bytes are hashed at a time.
const CHUNK: usize = 256 * 1024;

/// How many chunks may wait.
const WAITING: usize = 8;

/// Has `work` read `source`; gives its result, and the SHA-256 and the number of the bytes that it read.
///
/// # Errors
/// Where no thread can be started: then `work` was not called.
pub(super) fn hash_in_thread<R>(
    source: &mut dyn Read,
    work: impl FnOnce(&mut dyn Read) -> R,
) -> io::Result<(R, Sha256Digest, u64)> {
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel::<Vec<u8>>(WAITING);
        let hash = move || {
            let mut hash = Sha256::new();
            for chunk in receiver {
                hash.update(&chunk);
            }
            Sha256Digest(hash.finalize().into())
        };
        let thread = Builder::new().name("hashing".into());
        let thread = thread.spawn_scoped(scope, hash)?;
        let mut passing = Passing {
            source,
            chunk: Vec::with_capacity(CHUNK),
            sender,
            size: 0,
        };
        let result = work(&mut passing);
        let size = passing.size;
        passing.send();
        drop(passing);
        let panicked = |_| io::Error::other("the thread that hashes died");
        Ok((result, thread.join().map_err(panicked)?, size))
    })
}

/// Passes on what is read.
struct Passing<'s> {
    source: &'s mut dyn Read,
    chunk: Vec<u8>,
    sender: SyncSender<Vec<u8>>,
    size: u64,
}

impl Passing<'_> {
    fn send(&mut self) {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        // Where the thread is dead, its end says so.
        let _ = self.sender.send(chunk);
    }
}

impl Read for Passing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.size += count as u64;
        self.chunk.extend_from_slice(&buffer[..count]);
        if self.chunk.len() >= CHUNK {
            self.send();
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_of_all_that_was_read_and_of_no_more() {
        let bytes: Vec<u8> = (0..3 * CHUNK + 5).map(|number| number as u8).collect();
        for length in [0, 1, CHUNK, bytes.len()] {
            let mut source = bytes.as_slice();
            let (read, digest, size) = hash_in_thread(&mut source, |source| {
                let mut read = vec![0; length];
                source.read_exact(&mut read).map(|()| read)
            })
            .unwrap();
            assert_eq!(read.unwrap(), &bytes[..length]);
            assert_eq!(digest, Sha256Digest::of(&bytes[..length]));
            assert_eq!(size, length as u64);
        }
    }
}
