// SPDX-License-Identifier: GPL-3.0-or-later
//! The archive of a tree on disk as a stream of chunks: read ahead on several threads, delivered in order on one.
//!
//! A cryptographic hash takes its input in order, on one thread; that thread must never wait for a file. So one thread
//! [walks](super::walk) the tree and cuts it into jobs, a few workers open and read files and put together chunks of
//! [`CHUNK`] bytes, and the caller's thread consumes the chunks in the order of the archive:
//!
//! ```text
//! walk ──jobs──▶ workers ──one bounded queue of chunks for each job──▶ consumer
//!   └──────────the jobs' queues, in the order of the archive──────────────┘
//! ```
//!
//! Workers take jobs first come, first served, so the job that the consumer waits for always has a worker, and all
//! queues can be bounded: with `w` workers at most `w × (AHEAD + 1)` chunks exist beside the one that is consumed.
//! Buffers are reused. A tree of one job with little content is done on the caller's thread, since starting threads
//! would take longer.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::buffer::spare_capacity;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::walk::{ReadJob, TreeWalk, failed, special_kind};
use crate::formats::nar::{NarError, encode};

/// The size of a chunk in bytes: large enough that handing it over costs nothing, small enough to stay in a core's
/// cache between being read and being inspected.
pub(crate) const CHUNK: usize = 256 * 1024;

/// Room in a buffer for what follows a full chunk until it is handed over.
const FRAMING_ROOM: usize = 4096;

/// How many finished chunks of one job may wait.
const AHEAD: usize = 6;

/// Up to this many bytes of content a tree is not worth a thread.
const SMALL: u64 = 512 * 1024;

/// Calls `consume` on this thread with the archive of the tree at `path`, chunk by chunk, in order; and before that, in
/// any order and on any thread, `inspect` with each chunk. An error of `consume` ends the stream and is returned.
pub(crate) fn stream(
    path: &Path,
    inspect: &(impl Fn(&[u8]) + Sync),
    mut consume: impl FnMut(&[u8]) -> Result<(), NarError>,
) -> Result<(), NarError> {
    let mut walk = TreeWalk::new(path);
    let Some(first) = walk.next_job()? else {
        return Ok(());
    };
    if walk.is_done() && is_small(&first) {
        return stream_alone(walk, first, inspect, consume);
    }

    let workers = worker_count();
    let spare = Mutex::new(Vec::new());
    let streamed = std::thread::scope(|scope| {
        let start = std::thread::Builder::new;
        let (job_sender, jobs) = sync_channel::<(ReadJob, ChunkSender)>(workers);
        let jobs = Arc::new(Mutex::new(jobs));
        // Wide enough that the walk stays ahead of the workers, not of the consumer.
        let (order_sender, order) = sync_channel::<Receiver<Chunk>>(2 * workers);
        let walker = move || walk_ahead(walk, first, &job_sender, &order_sender);
        let is_walking = start().spawn_scoped(scope, walker).is_ok();
        let is_read = (0..workers).fold(false, |is_read, _| {
            let jobs = Arc::clone(&jobs);
            let spare = &spare;
            let started = start().spawn_scoped(scope, move || work(&jobs, spare, inspect));
            is_read || started.is_ok()
        });
        // The workers hold the receiver now: when they are gone, the walk must notice.
        drop(jobs);
        if !is_walking || !is_read {
            return Ok(false);
        }
        for chunks in order {
            for chunk in chunks {
                let mut chunk = chunk?;
                consume(&chunk)?;
                chunk.clear();
                lock(&spare).push(chunk);
            }
        }
        Ok(true)
    });
    if streamed? {
        return Ok(());
    }
    // The system allows no more threads.
    let mut walk = TreeWalk::new(path);
    match walk.next_job()? {
        Some(first) => stream_alone(walk, first, inspect, consume),
        None => Ok(()),
    }
}

/// As [`stream`], on this thread alone: the jobs of `walk`, after `first`.
fn stream_alone(
    mut walk: TreeWalk,
    first: ReadJob,
    inspect: &impl Fn(&[u8]),
    mut consume: impl FnMut(&[u8]) -> Result<(), NarError>,
) -> Result<(), NarError> {
    let mut emit = |mut chunk: Vec<u8>| {
        inspect(&chunk);
        consume(&chunk)?;
        chunk.clear();
        Ok(chunk)
    };
    let mut buffer = Vec::new();
    let mut next = Some(first);
    while let Some(job) = next {
        match assemble(&job, buffer, &mut emit) {
            Ok(unused) => buffer = unused,
            Err(Halt::Failed(error)) => return Err(error),
            // Only threads stop without an error.
            Err(Halt::NobodyListens) => return Ok(()),
        }
        next = walk.next_job()?;
    }
    Ok(())
}

type Chunk = Result<Vec<u8>, NarError>;
type ChunkSender = SyncSender<Chunk>;

/// Why a job is not finished.
enum Halt {
    Failed(NarError),
    NobodyListens,
}

impl From<NarError> for Halt {
    fn from(error: NarError) -> Self {
        Self::Failed(error)
    }
}

/// Hands out the jobs of `walk`, after `first`; in the same order, the receiving ends of their queues.
fn walk_ahead(
    mut walk: TreeWalk,
    first: ReadJob,
    jobs: &SyncSender<(ReadJob, ChunkSender)>,
    order: &SyncSender<Receiver<Chunk>>,
) {
    let mut next = Ok(Some(first));
    loop {
        let (sender, receiver) = sync_channel(AHEAD);
        let sent = match next {
            Ok(None) => return,
            Ok(Some(job)) => order.send(receiver).is_ok() && jobs.send((job, sender)).is_ok(),
            Err(error) => {
                // The consumer meets the error where the tree ends for it. The queue is empty, so this does not block.
                let _ = sender.send(Err(error));
                let _ = order.send(receiver);
                return;
            }
        };
        if !sent {
            // The consumer has met an error.
            return;
        }
        next = walk.next_job();
    }
}

fn work(
    jobs: &Mutex<Receiver<(ReadJob, ChunkSender)>>,
    spare: &Mutex<Vec<Vec<u8>>>,
    inspect: &impl Fn(&[u8]),
) {
    loop {
        let next = lock(jobs).recv();
        let Ok((job, chunks)) = next else {
            return;
        };
        let fresh = || lock(spare).pop().unwrap_or_default();
        let mut emit = |chunk: Vec<u8>| {
            inspect(&chunk);
            chunks.send(Ok(chunk)).map_err(|_| Halt::NobodyListens)?;
            Ok(fresh())
        };
        match assemble(&job, fresh(), &mut emit) {
            Ok(unused) => lock(spare).push(unused),
            Err(Halt::Failed(error)) => {
                let _ = chunks.send(Err(error));
            }
            Err(Halt::NobodyListens) => return,
        }
    }
}

/// A chunk in the making, and where it goes when it is full: `emit` gives an empty buffer for the next.
struct Assembly<'a> {
    chunk: Vec<u8>,
    emit: &'a mut dyn FnMut(Vec<u8>) -> Result<Vec<u8>, Halt>,
}

/// Reads the files of `job` and emits its chunks; returns the last buffer, empty.
fn assemble(
    job: &ReadJob,
    buffer: Vec<u8>,
    emit: &mut dyn FnMut(Vec<u8>) -> Result<Vec<u8>, Halt>,
) -> Result<Vec<u8>, Halt> {
    let mut assembly = Assembly {
        chunk: buffer,
        emit,
    };
    let mut done = 0;
    for (position, path) in &job.files {
        assembly.append(&job.framing[done..*position]);
        assembly.file(path)?;
        done = *position;
    }
    assembly.append(&job.framing[done..]);
    if !assembly.chunk.is_empty() {
        assembly.flush()?;
    }
    Ok(assembly.chunk)
}

impl Assembly<'_> {
    /// Adds framing, which is short: a chunk may exceed its size by so much.
    fn append(&mut self, framing: &[u8]) {
        self.chunk.extend_from_slice(framing);
    }

    fn flush(&mut self) -> Result<(), Halt> {
        self.chunk = (self.emit)(std::mem::take(&mut self.chunk))?;
        Ok(())
    }

    /// Adds the node of the regular file at `path`.
    fn file(&mut self, path: &Path) -> Result<(), Halt> {
        // Without O_NONBLOCK, a FIFO that took the file's place would be waited for.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::options()
            .read(true)
            .custom_flags(flags.bits() as i32)
            .open(path)
            .map_err(failed("open", path))?;
        let metadata = file.metadata().map_err(failed("examine", path))?;
        if !metadata.is_file() {
            let path = path.to_owned();
            let kind = special_kind(metadata.file_type());
            return Err(NarError::FileType { path, kind }.into());
        }
        let size = metadata.len();
        encode::file_start(&mut self.chunk, metadata.mode() & 0o100 != 0, size);
        let mut left = size;
        while left > 0 {
            if self.chunk.len() >= CHUNK {
                self.flush()?;
            }
            let count = self.read(&file, left).map_err(failed("read", path))?;
            if count == 0 {
                return Err(NarError::Changed {
                    path: path.to_owned(),
                    expected: size,
                    seen: size - left,
                }
                .into());
            }
            left -= count;
        }
        encode::file_end(&mut self.chunk, size);
        Ok(())
    }

    /// Reads up to `limit` bytes behind what is in the chunk; nothing at the end of the file.
    fn read(&mut self, file: &File, limit: u64) -> Result<u64, Errno> {
        // The whole size at once: growing step by step would copy.
        let capacity = CHUNK + FRAMING_ROOM;
        if self.chunk.capacity() < capacity {
            self.chunk.reserve_exact(capacity - self.chunk.len());
        }
        let before = self.chunk.len();
        loop {
            match rustix::io::read(file, spare_capacity(&mut self.chunk)) {
                Ok(count) => {
                    // A file that grows is archived with the size it had.
                    let count = limit.min(count as u64);
                    self.chunk.truncate(before + count as usize);
                    return Ok(count);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether the job's files hold so little that threads do not pay. Errors do not count here: reading meets them again.
fn is_small(job: &ReadJob) -> bool {
    let size = |path: &Path| path.symlink_metadata().map_or(0, |metadata| metadata.len());
    job.files.iter().map(|(_, path)| size(path)).sum::<u64>() <= SMALL
}

/// Reading saturates memory with four threads; hashing, on its one thread, is slower than two of them.
fn worker_count() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT
        .get_or_init(|| std::thread::available_parallelism().map_or(1, |count| count.get().min(4)))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // The data behind these locks is consistent between any two operations, also where another thread panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
