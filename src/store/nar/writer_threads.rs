// SPDX-License-Identifier: GPL-3.0-or-later
//! Threads that write the small files of an archive, while another one reads it: the system takes longer to make a
//! small file than to read and hash it.

use std::fs::File;
use std::io::Write;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, Scope};

use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;

use super::finish::{FINISH, Finish};
use crate::formats::nar::NarError;

/// The largest file that is kept in memory for another thread, in bytes.
pub(super) const SMALL: u64 = 64 * 1024;

pub(super) const NEW_FILE: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// How many files this thread writes itself before it gets help.
const ALONE: usize = 256;

/// How many files a thread gets at a time, and of how many bytes at most.
const BATCH: (usize, usize) = (64, 4 * SMALL as usize);

/// How many directories the files of a batch may be in: each is held open.
const DIRECTORIES: usize = 4;

/// How many batches may wait. With those that are being written, at most (WAITING + MOST + 1) × DIRECTORIES directories
/// are open at a time, of each archive that is restored.
const WAITING: usize = 8;

/// The most threads.
const MOST: usize = 4;

/// A directory that is being filled, while it is open.
#[derive(Debug)]
pub(super) struct Directory {
    pub descriptor: OwnedFd,
    pub path: PathBuf,
    pub unfinished: Arc<Unfinished>,
}

/// What every descriptor of a directory refers to, and what will add to the directory later. The last one to let it go
/// finishes the directory.
#[derive(Debug)]
pub(super) struct Unfinished;

impl Directory {
    /// Gives `directory` its mode and time, where its last entry is there.
    pub(super) fn release(directory: Arc<Self>, finish: &dyn Finish) -> Result<(), NarError> {
        let Some(directory) = Arc::into_inner(directory) else {
            return Ok(());
        };
        match Arc::into_inner(directory.unfinished) {
            Some(Unfinished) => finish
                .directory(directory.descriptor.as_fd())
                .map_err(failed(FINISH, &directory.path)),
            None => Ok(()),
        }
    }
}

/// A file to be written.
pub(super) struct NewFile {
    pub directory: Arc<Directory>,
    pub path: PathBuf,
    pub executable: bool,
    pub content: Vec<u8>,
}

impl NewFile {
    fn write(self, finish: &dyn Finish) -> Result<(), NarError> {
        let parent = self.directory.descriptor.as_fd();
        let name = self.path.file_name().unwrap_or_default();
        let mode = Mode::from_raw_mode(finish.file_mode(self.executable));
        let file = fs::openat(parent, name, NEW_FILE, mode);
        let mut file = File::from(file.map_err(failed("create the file", &self.path))?);
        let written = file.write_all(&self.content);
        written.map_err(|error| NarError::File {
            action: "write to",
            path: self.path.clone(),
            error,
        })?;
        let finished = finish.file(file.as_fd());
        finished.map_err(failed(FINISH, &self.path))?;
        Directory::release(self.directory, finish)
    }
}

/// The threads, which start when there is enough to do.
pub(super) struct WriterThreads<'s, 'e> {
    scope: &'s Scope<'s, 'e>,
    finish: &'e dyn Finish,
    state: &'e WritersState,
    files: usize,
    batch: Batch,
    /// The directories of the batch. One that was left and entered again counts twice, as it is open twice.
    directories: usize,
    sender: Option<SyncSender<Batch>>,
}

type Batch = Vec<NewFile>;

/// What the threads share.
#[derive(Default)]
pub(super) struct WritersState {
    failed: AtomicBool,
    error: Mutex<Option<NarError>>,
}

impl WritersState {
    fn fail(&self, error: NarError) {
        let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error);
        self.failed.store(true, Ordering::Relaxed);
    }

    /// The first error of a thread.
    pub(super) fn check(&self) -> Result<(), NarError> {
        if !self.failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        first.take().map_or(Ok(()), Err)
    }
}

impl<'s, 'e> WriterThreads<'s, 'e> {
    pub(super) fn new(
        scope: &'s Scope<'s, 'e>,
        finish: &'e dyn Finish,
        state: &'e WritersState,
    ) -> Self {
        Self {
            scope,
            finish,
            state,
            files: 0,
            batch: Batch::new(),
            directories: 0,
            sender: None,
        }
    }

    /// Whether the next file is one for [`write`](Self::write).
    pub(super) fn takes_next(&mut self) -> bool {
        self.files += 1;
        if self.files == ALONE {
            self.start();
        }
        self.sender.is_some()
    }

    /// Has `file` written, after [`takes_next`](Self::takes_next) and before [`finish`](Self::finish) ends.
    ///
    /// # Errors
    /// Where another file could not be written before.
    pub(super) fn write(&mut self, file: NewFile) -> Result<(), NarError> {
        let is_in = |last: &NewFile| Arc::ptr_eq(&last.directory, &file.directory);
        if !self.batch.last().is_some_and(is_in) {
            if self.directories == DIRECTORIES {
                self.send()?;
            }
            self.directories += 1;
        }
        self.batch.push(file);
        let bytes: usize = self.batch.iter().map(|file| file.content.len()).sum();
        match self.batch.len() >= BATCH.0 || bytes >= BATCH.1 {
            true => self.send(),
            false => Ok(()),
        }
    }

    fn send(&mut self) -> Result<(), NarError> {
        self.state.check()?;
        let batch = std::mem::take(&mut self.batch);
        self.directories = 0;
        let unsent = match &self.sender {
            Some(sender) => sender.send(batch).err().map(|unsent| unsent.0),
            None => Some(batch),
        };
        // Where no thread is left.
        let mut unsent = unsent.into_iter().flatten();
        unsent.try_for_each(|file| file.write(self.finish))
    }

    /// Has what is left written.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub(super) fn finish(mut self) -> Result<(), NarError> {
        self.send()
    }

    fn start(&mut self) {
        let processors = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let (sender, receiver) = sync_channel(WAITING);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..processors.get().min(MOST) {
            let receiver = Arc::clone(&receiver);
            let (finish, state) = (self.finish, self.state);
            let thread = Builder::new().name("writing files".into());
            let started = thread.spawn_scoped(self.scope, move || work(&receiver, finish, state));
            if started.is_err() {
                // Fewer threads do, or none.
                break;
            }
            self.sender = Some(sender.clone());
        }
    }
}

fn work(receiver: &Mutex<Receiver<Batch>>, finish: &dyn Finish, state: &WritersState) {
    loop {
        let next = receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        let Ok(batch) = next else {
            return;
        };
        for file in batch {
            // What follows an error is of no use, and its directories must be let go.
            if !state.failed.load(Ordering::Relaxed)
                && let Err(error) = file.write(finish)
            {
                state.fail(error);
            }
        }
    }
}

/// The failure to do `action` to `path`; for `map_err`.
pub(super) fn failed(action: &'static str, path: &Path) -> impl Fn(Errno) -> NarError {
    let path = path.to_owned();
    move |error| NarError::File {
        action,
        path: path.clone(),
        error: error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::fd::BorrowedFd;
    use std::process::Command;
    use std::time::Duration;

    use rustix::fs::RawMode;
    use rustix::process::{Resource, Rlimit, setrlimit};

    use super::*;
    use crate::formats::nar::Tree;
    use crate::store::nar::restore::restore_with;

    /// Takes longer than the archive is read.
    struct Slow;

    impl Finish for Slow {
        fn root(&self, _: BorrowedFd<'_>) -> Result<(), Errno> {
            Ok(())
        }

        fn file_mode(&self, _: bool) -> RawMode {
            0o644
        }

        fn file(&self, _: BorrowedFd<'_>) -> Result<(), Errno> {
            std::thread::sleep(Duration::from_millis(1));
            Ok(())
        }

        fn directory(&self, _: BorrowedFd<'_>) -> Result<(), Errno> {
            Ok(())
        }

        fn symlink(&self, _: BorrowedFd<'_>, _: &OsStr) -> Result<(), Errno> {
            Ok(())
        }
    }

    /// Not a test: the other process of the test below, which runs it by its name.
    #[test]
    fn other_process() {
        let Some(target) = std::env::var_os("BOOTSTRAP_TEST_RESTORE") else {
            return;
        };
        let few = Rlimit {
            current: Some(256),
            maximum: Some(256),
        };
        setrlimit(Resource::Nofile, few).unwrap();
        let names: Vec<String> = (0..2000).map(|number| format!("{number:04}")).collect();
        let directories = names.iter().map(|name| {
            (
                name.as_str(),
                Tree::directory([("file", Tree::file(name.as_str()))]),
            )
        });
        let archive = Tree::directory(directories).to_nar().unwrap();
        restore_with(&mut archive.as_slice(), Path::new(&target), &Slow).unwrap();
        println!("\nrestored");
    }

    #[test]
    fn few_directories_are_open_however_many_an_archive_has() {
        let scratch = tempfile::tempdir().unwrap();
        let target = scratch.path().join("target");
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::nar::writer_threads::tests::other_process",
                "--nocapture",
            ])
            .env("BOOTSTRAP_TEST_RESTORE", &target)
            .output()
            .unwrap();
        let [text, errors] =
            [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(text.contains("\nrestored\n"), "{text}{errors}");
        let content = std::fs::read_to_string(target.join("1999/file")).unwrap();
        assert_eq!(content, "1999");
        assert_eq!(std::fs::read_dir(&target).unwrap().count(), 2000);
    }
}
