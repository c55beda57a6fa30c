// SPDX-License-Identifier: GPL-3.0-or-later
//! Fetched files on disk, by hash: `SHA256` stands for a SHA-256, or for `ALGORITHM-HASH` (see
//! [`FileHash::file_name`]).
//!
//! ```text
//! CACHE/files/SHA256       verified when it was stored, and again when it is used
//! CACHE/partial/SHA256     what has come so far of a download; a later one goes on from there
//! CACHE/partial/SHA256.lock  held by the process that downloads it
//! CACHE/rejected/SHA256    the last file that claimed to have this digest and had not
//! ```

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::{FetchError, WrongBytes};
use super::file_hash::FileHash;
use crate::formats::hash::Sha256Digest;
use crate::limited_file;

/// What identifies the state of a file: device, inode, size, and change time in seconds and nanoseconds.
type FileState = (u64, u64, u64, i64, i64);

/// Shorter waits for a lock are not reported; the same as for the store's locks.
const SILENT_WAIT: Duration = Duration::from_millis(200);

/// The directory of fetched files.
#[derive(Debug)]
pub struct Cache {
    files: PathBuf,
    partial: PathBuf,
    rejected: PathBuf,
    /// Files verified by this process, as they were then: hashing them again would find the same.
    verified: Mutex<HashMap<FileHash, FileState>>,
}

/// The right to download one file, against other processes and threads. Its file is removed with it.
#[derive(Debug)]
pub struct DownloadLock {
    _file: File,
    path: PathBuf,
}

impl Drop for DownloadLock {
    fn drop(&mut self) {
        // While it is still locked: a process that waits for it sees that it is gone, and makes a new one.
        let _ = fs::remove_file(&self.path);
    }
}

/// What [`Cache::find`] saw.
#[derive(Debug)]
pub enum CacheLookup {
    /// The file with these bytes.
    Verified(PathBuf),
    /// None.
    Missing,
    /// One with other bytes, which is now at `kept`.
    Rejected {
        /// Where it was put.
        kept: PathBuf,
        /// Its hash.
        actual: FileHash,
    },
}

/// What is in the place of a file.
enum CachedFile {
    Verified(PathBuf),
    Missing,
    /// A file with this hash.
    Other(FileHash),
}

impl Cache {
    /// The cache in `directory`, which is created when something is stored.
    pub fn new(directory: &Path) -> Self {
        Self {
            files: directory.join("files"),
            partial: directory.join("partial"),
            rejected: directory.join("rejected"),
            verified: Mutex::default(),
        }
    }

    /// The directory whose files are named by their digests.
    pub fn files(&self) -> &Path {
        &self.files
    }

    /// Whether there is a file with `hash`, without looking into it.
    pub fn holds(&self, hash: impl Into<FileHash>) -> bool {
        self.files.join(hash.into().file_name()).is_file()
    }

    /// Looks for the file with the digest `sha256` and verifies it. One with other bytes is put aside, for which its
    /// [`DownloadLock`] is waited for.
    pub fn find(&self, hash: impl Into<FileHash>) -> Result<CacheLookup, FetchError> {
        let hash = hash.into();
        match self.check(hash)? {
            CachedFile::Other(_) => {
                // Another process may be about to put the right one in its place.
                let lock = self.lock(hash)?;
                self.find_with(hash, &lock)
            }
            CachedFile::Verified(path) => Ok(CacheLookup::Verified(path)),
            CachedFile::Missing => Ok(CacheLookup::Missing),
        }
    }

    /// Does what [`find`](Self::find) does, for the holder of the lock on the file.
    pub fn find_with(
        &self,
        hash: impl Into<FileHash>,
        _lock: &DownloadLock,
    ) -> Result<CacheLookup, FetchError> {
        let hash = hash.into();
        Ok(match self.check(hash)? {
            CachedFile::Other(actual) => {
                let path = self.files.join(hash.file_name());
                let kept = self.reject(&path, hash)?;
                CacheLookup::Rejected { kept, actual }
            }
            CachedFile::Verified(path) => CacheLookup::Verified(path),
            CachedFile::Missing => CacheLookup::Missing,
        })
    }

    /// Looks for the file with the digest `sha256` and verifies it.
    fn check(&self, hash: FileHash) -> Result<CachedFile, FetchError> {
        let path = self.files.join(hash.file_name());
        let file = match limited_file::open_regular(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(CachedFile::Missing);
            }
            Err(error) => return Err(FetchError::cache(path)(error)),
        };
        let state = state(&file).map_err(FetchError::cache(&path))?;
        if self.lock_verified().get(&hash) == Some(&state) {
            return Ok(CachedFile::Verified(path));
        }
        let actual = hash.of_file(&path).map_err(FetchError::cache(&path))?;
        if actual == hash {
            self.lock_verified().insert(hash, state);
            return Ok(CachedFile::Verified(path));
        }
        Ok(CachedFile::Other(actual))
    }

    /// Moves `path` (on the same file system) to the rejected files, in the place of an earlier one of that digest.
    pub fn reject(&self, path: &Path, hash: impl Into<FileHash>) -> Result<PathBuf, FetchError> {
        fs::create_dir_all(&self.rejected).map_err(FetchError::cache(&self.rejected))?;
        let kept = self.rejected.join(hash.into().file_name());
        fs::rename(path, &kept).map_err(FetchError::cache(path))?;
        Ok(kept)
    }

    /// Waits until no other process or thread downloads the file with this digest.
    pub fn lock(&self, hash: impl Into<FileHash>) -> Result<DownloadLock, FetchError> {
        fs::create_dir_all(&self.partial).map_err(FetchError::cache(&self.partial))?;
        let path = self
            .partial
            .join(format!("{}.lock", hash.into().file_name()));
        loop {
            let file = File::create(&path).map_err(FetchError::cache(&path))?;
            lock_exclusively(&file, &path).map_err(FetchError::cache(&path))?;
            // Another may have held it until now, and removed it.
            let own = file.metadata().map_err(FetchError::cache(&path))?;
            let is_current = fs::metadata(&path)
                .is_ok_and(|current| (current.dev(), current.ino()) == (own.dev(), own.ino()));
            if is_current {
                return Ok(DownloadLock { _file: file, path });
            }
        }
    }

    /// Where a download of the file is collected; use it only while holding its [`DownloadLock`].
    pub fn partial(&self, hash: impl Into<FileHash>) -> PathBuf {
        self.partial.join(hash.into().file_name())
    }

    /// Stores the file at `path` (on the same file system), whose digest the caller has just computed from the bytes as
    /// they were written. To be called with its [`DownloadLock`]: another process may be about to rename another one.
    pub fn store(&self, path: &Path, hash: impl Into<FileHash>) -> Result<PathBuf, FetchError> {
        let hash = hash.into();
        fs::create_dir_all(&self.files).map_err(FetchError::cache(&self.files))?;
        let stored = self.files.join(hash.file_name());
        let file = File::open(path).map_err(FetchError::cache(path))?;
        file.set_permissions(fs::Permissions::from_mode(0o444))
            .map_err(FetchError::cache(path))?;
        fs::rename(path, &stored).map_err(FetchError::cache(path))?;
        // Renaming changes the change time, so the state is taken after it.
        let state = state(&file).map_err(FetchError::cache(&stored))?;
        self.lock_verified().insert(hash, state);
        Ok(stored)
    }

    /// Copies the file at `path`, which another user owns, into the cache, and verifies the copy.
    pub fn import(&self, path: &Path, hash: impl Into<FileHash>) -> Result<PathBuf, FetchError> {
        let hash = hash.into();
        let _lock = self.lock(hash)?;
        let partial = self.partial(hash);
        // Not with the original's mode: a copy that is cut short, and cannot be written to, would be in every user's
        // way.
        let mut original = limited_file::open_regular(path).map_err(FetchError::cache(path))?;
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FetchError::cache(&partial)(error));
            }
            _ => {}
        }
        File::create_new(&partial)
            .and_then(|mut copy| io::copy(&mut original, &mut copy))
            .map_err(FetchError::cache(&partial))?;
        let actual = hash
            .of_file(&partial)
            .map_err(FetchError::cache(&partial))?;
        if actual == hash {
            return self.store(&partial, hash);
        }
        Err(FetchError::HashDiffers(Box::new(WrongBytes {
            name: path.display().to_string(),
            origin: "this machine".to_owned(),
            expected: hash,
            actual,
            kept: self.reject(&partial, hash)?,
            attempts: super::Attempts::default(),
        })))
    }

    fn lock_verified(&self) -> std::sync::MutexGuard<'_, HashMap<FileHash, FileState>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the exclusive flock(2) of `file`, which is at `path`, and says so where that takes a while: a run that
/// waits for another one must not look as if it hung.
pub(super) fn lock_exclusively(file: &File, path: &Path) -> io::Result<()> {
    let start = Instant::now();
    while start.elapsed() < SILENT_WAIT {
        match rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(SILENT_WAIT / 10),
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map_err(io::Error::from),
        }
    }
    tracing::warn!(
        "waiting for the lock {}: another process is fetching",
        path.display()
    );
    loop {
        match rustix::fs::flock(file, rustix::fs::FlockOperation::LockExclusive) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map_err(io::Error::from),
        }
    }
}

fn state(file: &File) -> io::Result<FileState> {
    let status = file.metadata()?;
    Ok((
        status.dev(),
        status.ino(),
        status.len(),
        status.ctime(),
        status.ctime_nsec(),
    ))
}

/// The SHA-256 of the file at `path`.
pub fn digest_file(path: &Path) -> io::Result<Sha256Digest> {
    Sha256Digest::of_reader(&mut limited_file::open_regular(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(cache: &Cache, directory: &Path, contents: &[u8]) -> PathBuf {
        let path = directory.join("new");
        fs::write(&path, contents).unwrap();
        cache.store(&path, Sha256Digest::of(contents)).unwrap()
    }

    #[test]
    fn a_stored_file_is_found_and_read_only() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path());
        let digest = Sha256Digest::of(b"bytes");
        assert!(matches!(cache.find(digest).unwrap(), CacheLookup::Missing));
        let path = stored(&cache, directory.path(), b"bytes");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o444);
        for cache in [cache, Cache::new(directory.path())] {
            assert!(
                matches!(cache.find(digest).unwrap(), CacheLookup::Verified(found) if found == path)
            );
        }
    }

    #[test]
    fn what_is_not_a_file_is_an_error_and_waited_for_by_no_one() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path());
        let digest = Sha256Digest::of(b"bytes");
        let path = stored(&cache, directory.path(), b"bytes");
        fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let errors = [
            cache.find(digest).map(drop).unwrap_err(),
            cache.import(&path, digest).map(drop).unwrap_err(),
        ];
        for error in errors {
            assert!(error.to_string().contains("a regular file"), "{error}");
        }
    }

    #[test]
    fn a_file_with_other_bytes_is_put_aside_also_after_it_was_verified() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path());
        let digest = Sha256Digest::of(b"bytes");
        let path = stored(&cache, directory.path(), b"bytes");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, b"BYTES").unwrap();
        let CacheLookup::Rejected { kept, actual } = cache.find(digest).unwrap() else {
            panic!("it was accepted");
        };
        assert_eq!(actual, Sha256Digest::of(b"BYTES").into());
        assert_eq!(fs::read(kept).unwrap(), b"BYTES");
        assert!(matches!(cache.find(digest).unwrap(), CacheLookup::Missing));
    }

    #[test]
    fn a_file_that_is_put_right_meanwhile_is_not_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let (slow, fast) = (Cache::new(directory.path()), Cache::new(directory.path()));
        let digest = Sha256Digest::of(b"bytes");
        let path = stored(&fast, directory.path(), b"bytes");
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"BYTES").unwrap();
        let lock = fast.lock(digest).unwrap();
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| slow.find(digest).unwrap());
            // It has seen the wrong bytes, and waits.
            std::thread::sleep(Duration::from_millis(100));
            assert!(path.exists(), "it was put aside");
            stored(&fast, directory.path(), b"bytes");
            drop(lock);
            assert!(matches!(slow.join().unwrap(), CacheLookup::Verified(_)));
        });
        assert_eq!(fs::read(path).unwrap(), b"bytes");
    }

    #[test]
    fn the_copy_of_a_read_only_file_can_be_written_to_until_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path());
        let original = directory.path().join("original");
        fs::write(&original, b"bytes").unwrap();
        fs::set_permissions(&original, fs::Permissions::from_mode(0o444)).unwrap();
        // One that was left by a copy that was cut short.
        let digest = Sha256Digest::of(b"other");
        drop(cache.lock(digest).unwrap());
        fs::write(cache.partial(digest), b"b").unwrap();
        fs::set_permissions(cache.partial(digest), fs::Permissions::from_mode(0o444)).unwrap();
        let error = cache.import(&original, digest).unwrap_err();
        let FetchError::HashDiffers(wrong) = error else {
            panic!("{error}");
        };
        let mode = fs::metadata(&wrong.kept).unwrap().mode();
        assert_eq!(mode & 0o600, 0o600, "{mode:o}");
        // Whole, it is as all others are.
        let stored = cache.import(&original, Sha256Digest::of(b"bytes")).unwrap();
        assert_eq!(fs::metadata(stored).unwrap().mode() & 0o777, 0o444);
    }

    /// Keeps what is written to it.
    #[derive(Clone, Default)]
    struct LineBuffer(std::sync::Arc<Mutex<Vec<u8>>>);

    impl io::Write for LineBuffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_wait_for_another_download_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path());
        let digest = Sha256Digest::of(b"x");
        let lines = LineBuffer::default();
        let told = || String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let first = cache.lock(digest).unwrap();
        std::thread::scope(|scope| {
            let writer = lines.clone();
            let cache = &cache;
            let second = scope.spawn(move || {
                let subscriber = tracing_subscriber::fmt()
                    .with_writer(move || writer.clone())
                    .finish();
                tracing::subscriber::with_default(subscriber, || drop(cache.lock(digest)));
            });
            let start = Instant::now();
            while told().is_empty() && start.elapsed() < Duration::from_secs(30) {
                std::thread::sleep(Duration::from_millis(5));
            }
            drop(first);
            second.join().unwrap();
        });
        let told = told();
        assert!(told.contains("waiting for the lock "), "{told}");
        assert!(told.contains(&format!("{digest}.lock")), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }

    #[test]
    fn a_download_lock_keeps_others_out_until_it_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path());
        let digest = Sha256Digest::of(b"x");
        let first = cache.lock(digest).unwrap();
        std::thread::scope(|scope| {
            let (sender, receiver) = std::sync::mpsc::channel();
            let cache = &cache;
            scope.spawn(move || {
                let _second = cache.lock(digest).unwrap();
                sender.send(()).unwrap();
            });
            let wait = std::time::Duration::from_millis(50);
            assert!(receiver.recv_timeout(wait).is_err());
            drop(first);
            assert!(receiver.recv().is_ok());
        });
    }
}
