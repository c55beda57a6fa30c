// SPDX-License-Identifier: GPL-3.0-or-later
//! Compressing archives on all cores, into files that are the same on any number of them.
//!
//! Archives are read one after the other and cut into chunks; each chunk is compressed in two ways, which are two tasks
//! of a pool of threads; one thread puts the results into their files, in order:
//!
//! ```text
//! read ──tasks──▶ threads ──one queue for each result──▶ write
//!   └───────────the queues, in the order of the archives───┘
//! ```
//!
//! So neither one large item nor many small ones leave a core idle. With `n` threads there are at most `n + 3` chunks
//! of 8 MiB at a time, and what became of them. What is read is hashed, too: a tree that is not what it should be gets
//! no file under its name.
//!
//! Of a chunk zstd makes a frame, and the file is one frame after the other, which every reader of zstd takes (RFC
//! 8878, section 3). With gzip the same would be several members, of which Guix's reader takes the first one only. So
//! the file is one member (RFC 1952): a chunk becomes deflate's blocks up to a byte's border, by what zlib calls a
//! synchronising flush.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::{Compression, Crc, write::DeflateEncoder};
use sha2::{Digest, Sha256};

use super::ExchangeError;
use crate::atomic_file::AtomicFile;
use crate::diagnostics::FileError;
use crate::formats::hash::Sha256Digest;
use crate::formats::nar::NarError;
use crate::formats::narinfo::shown;
use crate::store::nar;

/// The size of a chunk in bytes. Measured with gcc: frames of 4 MiB take 10 % more room than those of 8 MiB, and those
/// of 16 MiB 1 % less.
const CHUNK: usize = 8 << 20;

/// zstd's level: above it the archives of programs hardly shrink, and take several times as long.
const ZSTD_LEVEL: i32 = 12;

/// What a member of gzip's begins with: deflate, no name, no time, no system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// An archive to be made.
#[derive(Debug, Clone)]
pub struct CompressedArchive {
    /// The tree.
    pub tree: PathBuf,
    /// What the tree is called in errors.
    pub path: String,
    /// The SHA-256 that its NAR has to have.
    pub nar_sha256: Sha256Digest,
    /// The size that its NAR has to have, in bytes.
    pub nar_size: u64,
    /// The files that its archive is compressed into, with gzip and with zstd.
    pub files: [PathBuf; 2],
}

impl CompressedArchive {
    /// Fails where `seen` was read of the tree, and is not what it has to be.
    fn check(&self, seen: &NarTotals) -> Result<(), ExchangeError> {
        let differs = |what, expected, seen| {
            Err(ExchangeError::Damaged {
                path: self.path.clone(),
                what,
                expected,
                seen,
            })
        };
        if seen.nar_sha256 != self.nar_sha256 {
            let (expected, seen) = (shown(&self.nar_sha256), shown(&seen.nar_sha256));
            return differs("the NAR hash", expected, seen);
        }
        if seen.nar_size != self.nar_size {
            let (expected, seen) = (self.nar_size.to_string(), seen.nar_size.to_string());
            return differs("the NAR size", expected, seen);
        }
        Ok(())
    }
}

/// Writes `archives` on `threads` threads, which are at least one. `finished` is called on this thread with the number
/// of each and the sizes of its files, in the order of `archives`, when both files are in their places. An error of
/// `finished` ends it all and is returned.
///
/// # Errors
/// Where a tree cannot be read or is not what it should be, or a file cannot be written. The files of archives that
/// were not finished are gone.
pub fn compress(
    archives: &[CompressedArchive],
    threads: usize,
    finished: impl FnMut(usize, [u64; 2]) -> Result<(), ExchangeError>,
) -> Result<(), ExchangeError> {
    in_chunks(archives, threads, CHUNK, finished)
}

fn in_chunks(
    archives: &[CompressedArchive],
    threads: usize,
    chunk_size: usize,
    finished: impl FnMut(usize, [u64; 2]) -> Result<(), ExchangeError>,
) -> Result<(), ExchangeError> {
    std::thread::scope(|scope| {
        let (task_sender, tasks) = sync_channel::<CompressionTask>(2 * threads);
        let tasks = Arc::new(Mutex::new(tasks));
        let failed =
            |error| FileError::in_store("start a thread that compresses", "archives")(error).into();
        for number in 0..threads {
            let tasks = Arc::clone(&tasks);
            let started = std::thread::Builder::new().spawn_scoped(scope, move || work(&tasks));
            // Fewer do as well.
            if let (0, Err(error)) = (number, started) {
                return Err(failed(error));
            }
        }
        // The threads hold the receiver now: when they are gone, the reader must notice.
        drop(tasks);
        // Bounds everything: one more piece waits than there are threads, one is written, one is read.
        let (order_sender, order) = sync_channel(threads + 1);
        let reader = std::thread::Builder::new().spawn_scoped(scope, move || {
            for archive in archives {
                let mut chunks = Chunks {
                    chunk_size,
                    chunk: Vec::new(),
                    is_first: true,
                    crc: Crc::new(),
                    hash: Sha256::new(),
                    size: 0,
                    tasks: &task_sender,
                    order: &order_sender,
                };
                let read = nar::dump(&archive.tree, &mut chunks);
                let ended = match read {
                    Ok(()) => chunks.hand_over(true).is_err(),
                    // The writer is gone, and knows why.
                    Err(NarError::Sink(_)) => true,
                    Err(error) => {
                        let _ = order_sender.send(Err(error));
                        true
                    }
                };
                if ended {
                    return;
                }
            }
        });
        if let Err(error) = reader {
            return Err(failed(error));
        }
        write(archives, order, finished)
    })
}

/// A chunk in the two files of its archive.
struct ArchiveChunk {
    compressed: [Receiver<io::Result<Vec<u8>>>; 2],
    /// With the last chunk: what was read of the whole tree.
    whole: Option<NarTotals>,
}

/// What was read of a tree.
struct NarTotals {
    nar_sha256: Sha256Digest,
    nar_size: u64,
}

struct CompressionTask {
    chunk: Arc<Vec<u8>>,
    compressor: Compressor,
    result: Sender<io::Result<Vec<u8>>>,
}

enum Compressor {
    /// Whether the chunk is the first one, and what comes after the last one.
    Gzip(bool, Option<[u8; 8]>),
    Zstd,
}

/// Cuts what is written to it into chunks.
struct Chunks<'c> {
    chunk_size: usize,
    chunk: Vec<u8>,
    is_first: bool,
    crc: Crc,
    hash: Sha256,
    size: u64,
    tasks: &'c SyncSender<CompressionTask>,
    order: &'c SyncSender<Result<ArchiveChunk, NarError>>,
}

impl Chunks<'_> {
    fn hand_over(&mut self, is_last: bool) -> io::Result<()> {
        let chunk = Arc::new(std::mem::take(&mut self.chunk));
        self.crc.update(&chunk);
        self.hash.update(chunk.as_slice());
        self.size += chunk.len() as u64;
        let whole = is_last.then(|| NarTotals {
            nar_sha256: Sha256Digest(self.hash.clone().finalize().into()),
            nar_size: self.size,
        });
        let trailer = is_last.then(|| {
            let [a, b, c, d] = self.crc.sum().to_le_bytes();
            // The size, modulo 2³².
            let [e, f, g, h] = self.crc.amount().to_le_bytes();
            [a, b, c, d, e, f, g, h]
        });
        let (gzip_sender, gzip) = channel();
        let (zstd_sender, zstd) = channel();
        let piece = ArchiveChunk {
            compressed: [gzip, zstd],
            whole,
        };
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.order.send(Ok(piece)).map_err(|_| gone())?;
        let gzip = Compressor::Gzip(std::mem::take(&mut self.is_first), trailer);
        // What takes longer first.
        for (compressor, result) in [(Compressor::Zstd, zstd_sender), (gzip, gzip_sender)] {
            let task = CompressionTask {
                chunk: Arc::clone(&chunk),
                compressor,
                result,
            };
            self.tasks.send(task).map_err(|_| gone())?;
        }
        Ok(())
    }
}

impl Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Only when there is more: the last chunk is the one that knows it.
        if self.chunk.len() == self.chunk_size {
            self.hand_over(false)?;
        }
        let count = bytes.len().min(self.chunk_size - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn work(tasks: &Mutex<Receiver<CompressionTask>>) {
    loop {
        let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(task) = task else {
            return;
        };
        let compressed = match task.compressor {
            Compressor::Zstd => zstd::bulk::compress(&task.chunk, ZSTD_LEVEL),
            Compressor::Gzip(is_first, trailer) => gzip(&task.chunk, is_first, trailer),
        };
        // The result is not read where the writer has met an error.
        let _ = task.result.send(compressed);
    }
}

fn gzip(chunk: &[u8], is_first: bool, trailer: Option<[u8; 8]>) -> io::Result<Vec<u8>> {
    let start = match is_first {
        true => GZIP_HEADER.to_vec(),
        false => Vec::new(),
    };
    let mut encoder = DeflateEncoder::new(start, Compression::default());
    encoder.write_all(chunk)?;
    match trailer {
        Some(trailer) => {
            let mut bytes = encoder.finish()?;
            bytes.extend(trailer);
            Ok(bytes)
        }
        None => {
            encoder.flush()?;
            // What the encoder adds when it is dropped is deflate's end, and goes nowhere.
            Ok(std::mem::take(encoder.get_mut()))
        }
    }
}

fn write(
    archives: &[CompressedArchive],
    order: Receiver<Result<ArchiveChunk, NarError>>,
    mut finished: impl FnMut(usize, [u64; 2]) -> Result<(), ExchangeError>,
) -> Result<(), ExchangeError> {
    let mut pieces = order.into_iter();
    for (number, archive) in archives.iter().enumerate() {
        let mut files = [
            AtomicFile::create(&archive.files[0])?,
            AtomicFile::create(&archive.files[1])?,
        ];
        loop {
            let Some(piece) = pieces.next().transpose()? else {
                // The reader ends early only where we do, or has said why.
                return Ok(());
            };
            let places = files.iter_mut().zip(&archive.files);
            for ((file, place), compressed) in places.zip(piece.compressed) {
                let lost = || Err(io::Error::other("the compressor has gone"));
                let bytes = compressed.recv().unwrap_or_else(|_| lost());
                let bytes = bytes.map_err(FileError::in_store("compress", &archive.tree))?;
                file.write_all(&bytes)
                    .map_err(FileError::named_by_user("write", place))?;
            }
            if let Some(seen) = piece.whole {
                archive.check(&seen)?;
                break;
            }
        }
        let sizes = files.each_ref().map(AtomicFile::size);
        for file in files {
            file.persist()?;
        }
        finished(number, sizes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::nar::Tree;
    use std::fs;
    use std::io::Read;
    use std::path::Path;

    const SIZE: usize = 1000;

    /// Trees whose archives are shorter than a chunk, one of just a chunk, and some of several; what is to be made of
    /// them, and the archives.
    fn sample(directory: &Path) -> (Vec<CompressedArchive>, Vec<Vec<u8>>) {
        let text = |length: usize| (0..length).map(|number| (number * number / 7 % 97) as u8);
        // The archive of a file has 112 bytes beside the content and its padding.
        let lengths = [0, 1, SIZE - 112, SIZE - 111, 2 * SIZE, 12_345, 3];
        let mut archives = Vec::new();
        let mut nars = Vec::new();
        for (number, length) in lengths.into_iter().enumerate() {
            let tree = Tree::file(text(length).collect::<Vec<u8>>());
            let place = directory.join(number.to_string());
            nar::restore_tree(&tree, &place).unwrap();
            let nar = tree.to_nar().unwrap();
            archives.push(CompressedArchive {
                tree: place,
                path: number.to_string(),
                nar_sha256: Sha256Digest::of(&nar),
                nar_size: nar.len() as u64,
                files: ["gz", "zst"].map(|end| directory.join(format!("{number}.{end}"))),
            });
            nars.push(nar);
        }
        assert_eq!(nars[2].len(), SIZE);
        (archives, nars)
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn files_hold_the_archives_and_are_the_same_on_any_number_of_threads() {
        let mut seen = Vec::new();
        for threads in [1, 2, 7] {
            let directory = tempfile::tempdir().unwrap();
            let (archives, nars) = sample(directory.path());
            let mut order = Vec::new();
            in_chunks(&archives, threads, SIZE, |number, sizes| {
                for (file, size) in archives[number].files.iter().zip(sizes) {
                    assert_eq!(fs::metadata(file).unwrap().len(), size);
                }
                order.push(number);
                Ok(())
            })
            .unwrap();
            assert_eq!(order, (0..archives.len()).collect::<Vec<_>>());
            let mut files = Vec::new();
            for (archive, nar) in archives.iter().zip(&nars) {
                let [gzip, zstd] = archive.files.each_ref().map(|file| fs::read(file).unwrap());
                // One member, with nothing behind it: Guix's reader takes no more.
                let mut rest = gzip.as_slice();
                let mut bytes = Vec::new();
                flate2::bufread::GzDecoder::new(&mut rest)
                    .read_to_end(&mut bytes)
                    .unwrap();
                assert_eq!(&bytes, nar);
                assert!(rest.is_empty());
                assert_eq!(&zstd::stream::decode_all(zstd.as_slice()).unwrap(), nar);
                files.push((gzip, zstd));
            }
            assert_eq!(names(directory.path()).len(), 3 * archives.len());
            seen.push(files);
        }
        assert!(seen.iter().all(|files| *files == seen[0]));
    }

    #[test]
    fn what_cannot_be_read_or_written_or_is_damaged_ends_it_and_leaves_what_was_finished() {
        let broken: [fn(&mut CompressedArchive); 5] = [
            |archive| fs::remove_file(&archive.tree).unwrap(),
            |archive| archive.nar_sha256 = Sha256Digest::of("something else"),
            |archive| archive.nar_size += 1,
            |archive| archive.files[0] = "/nowhere/at/all.gz".into(),
            |archive| archive.files[1] = "/nowhere/at/all.zst".into(),
        ];
        for break_it in broken {
            let directory = tempfile::tempdir().unwrap();
            let (mut archives, _) = sample(directory.path());
            break_it(&mut archives[5]);
            let mut finished = 0;
            let count = |_, _| {
                finished += 1;
                Ok(())
            };
            assert!(in_chunks(&archives, 2, SIZE, count).is_err());
            assert_eq!(finished, 5);
            let mut names = names(directory.path());
            names.retain(|name| name.contains('.'));
            assert_eq!(names.len(), 2 * 5, "{names:?}");
        }
        // An error of the caller's.
        let directory = tempfile::tempdir().unwrap();
        let (archives, _) = sample(directory.path());
        let refuse = |_, _| Err(ExchangeError::Url("no".to_owned()));
        let error = in_chunks(&archives, 2, SIZE, refuse).unwrap_err();
        assert!(matches!(error, ExchangeError::Url(_)), "{error}");
    }
}
