// SPDX-License-Identifier: GPL-3.0-or-later
//! Collects what several threads want from the archive, so that they share calls of `apt-get`.
//!
//! One thread takes all that waits, fetches it, and then looks again. Starting `apt-get` costs about half a second;
//! sixty packages one by one would cost half a minute.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::download::{self, ArchiveFile};
use super::{Apt, AptError};

/// How long to wait for others after the first comes: threads that start together arrive within this.
const GATHER: Duration = Duration::from_millis(50);

/// Numbers the directories of a process.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A directory that goes away with the last file that is in use.
#[derive(Debug)]
struct QueueDirectory(PathBuf);

impl Drop for QueueDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file that `apt-get` fetched. Move it away before this is dropped; its digest is not checked yet.
#[derive(Debug)]
pub struct Fetched {
    path: PathBuf,
    _scratch: Arc<QueueDirectory>,
}

impl Fetched {
    /// Where it is, in the cache's file system.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Why the queue did not fetch a file.
#[derive(Debug, Clone, thiserror::Error, miette::Diagnostic)]
pub enum QueueError {
    /// The archive has not got it, or cannot be asked.
    #[error("{0}")]
    Unavailable(String),
    /// The private directory cannot be used: this machine is at fault, and no other place would help.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The error of the system; several waiting tasks may get the same.
        error: Arc<io::Error>,
    },
}

impl QueueError {
    fn io(path: &Path, error: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            error: Arc::new(error),
        }
    }
}

impl From<AptError> for QueueError {
    fn from(error: AptError) -> Self {
        match error {
            AptError::Io { path, error } => Self::io(&path, error),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

enum QueueUpdate {
    Received(u64),
    Finished(Result<Fetched, QueueError>),
}

struct Wish {
    file: ArchiveFile,
    updates: Sender<QueueUpdate>,
}

/// The queue in front of `apt-get`.
#[derive(Debug)]
pub struct AptQueue {
    /// `None` only while it is dropped.
    wishes: Option<Mutex<Sender<Wish>>>,
    worker: Option<JoinHandle<()>>,
}

impl AptQueue {
    /// Starts the thread that serves the queue.
    pub fn start(apt: Apt) -> Self {
        remove_leftovers(&apt);
        let (sender, receiver) = channel();
        Self {
            wishes: Some(Mutex::new(sender)),
            // Without the thread each wish fails, and says so.
            worker: std::thread::Builder::new()
                .spawn(move || serve(&apt, &receiver))
                .ok(),
        }
    }

    /// Fetches one file and waits for it. `progress` gets the bytes so far.
    pub fn fetch(&self, file: &ArchiveFile, progress: &dyn Fn(u64)) -> Result<Fetched, QueueError> {
        let gone = || QueueError::Unavailable("the thread that runs apt-get is gone".to_owned());
        let (updates, received) = channel();
        let wish = Wish {
            file: file.clone(),
            updates,
        };
        let wishes = self.wishes.as_ref().ok_or_else(gone)?;
        wishes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send(wish)
            .map_err(|_| gone())?;
        loop {
            match received.recv() {
                Ok(QueueUpdate::Received(bytes)) => progress(bytes),
                Ok(QueueUpdate::Finished(result)) => return result,
                Err(_) => return Err(gone()),
            }
        }
    }
}

impl Drop for AptQueue {
    fn drop(&mut self) {
        self.wishes = None;
        if let Some(worker) = self.worker.take() {
            // A panic there has been printed; there is nothing to add.
            let _ = worker.join();
        }
    }
}

fn serve(apt: &Apt, wishes: &Receiver<Wish>) {
    while let Ok(first) = wishes.recv() {
        let mut batch = vec![first];
        while let Ok(wish) = wishes.recv_timeout(GATHER) {
            batch.push(wish);
        }
        let results = fetch_batch(apt, &batch);
        for (wish, result) in batch.iter().zip(results) {
            // A task that stopped waiting does not want it any more.
            let _ = wish.updates.send(QueueUpdate::Finished(result));
        }
    }
}

fn fetch_batch(apt: &Apt, batch: &[Wish]) -> Vec<Result<Fetched, QueueError>> {
    let all_failed = |reason: QueueError| batch.iter().map(|_| Err(reason.clone())).collect();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory = apt
        .directory
        .join(format!("fetched-{}-{number}", std::process::id()));
    // A process of the same number that was killed may have left one.
    let _ = fs::remove_dir_all(&directory);
    if let Err(error) = fs::create_dir_all(&directory) {
        return all_failed(QueueError::io(&directory, error));
    }
    let scratch = Arc::new(QueueDirectory(directory));
    let files: Vec<ArchiveFile> = batch.iter().map(|wish| wish.file.clone()).collect();
    let mut tick = |sizes: &[u64]| {
        for (wish, size) in batch.iter().zip(sizes) {
            if *size > 0 {
                let _ = wish.updates.send(QueueUpdate::Received(*size));
            }
        }
    };
    match download::fetch(apt, &files, &scratch.0, &mut tick) {
        Ok(results) => results
            .into_iter()
            .enumerate()
            .map(|(index, result)| {
                Ok(Fetched {
                    path: own_name(&result.map_err(QueueError::Unavailable)?, index)?,
                    _scratch: Arc::clone(&scratch),
                })
            })
            .collect(),
        Err(error) => all_failed(error.into()),
    }
}

/// Gives `file` a second name for one wish alone: another may wish for the same file, and each moves its own away.
fn own_name(file: &Path, index: usize) -> Result<PathBuf, QueueError> {
    let own = file.with_file_name(format!("wish-{index}"));
    fs::hard_link(file, &own).map_err(|error| QueueError::io(&own, error))?;
    Ok(own)
}

/// Removes the directories of processes that were killed.
fn remove_leftovers(apt: &Apt) {
    let Ok(listing) = fs::read_dir(&apt.directory) else {
        return;
    };
    for entry in listing.flatten() {
        let name = entry.file_name();
        let process = name
            .to_str()
            .and_then(|name| {
                name.strip_prefix("fetched-")?
                    .split('-')
                    .next()?
                    .parse()
                    .ok()
            })
            .and_then(rustix::process::Pid::from_raw);
        let is_gone =
            |process| rustix::process::test_kill_process(process) == Err(rustix::io::Errno::SRCH);
        if process.is_some_and(is_gone) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::apt::AptSettings;

    #[test]
    fn only_the_directories_of_dead_processes_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let apt = Apt::new(directory.path(), AptSettings::new("bookworm", "amd64"));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = apt.directory.join(format!("fetched-{}-0", child.id()));
        child.wait().unwrap();
        let own = apt
            .directory
            .join(format!("fetched-{}-77", std::process::id()));
        let lists = apt.directory.join("lists");
        for path in [&dead, &own, &lists] {
            fs::create_dir_all(path).unwrap();
        }
        remove_leftovers(&apt);
        assert!(!dead.exists() && own.exists() && lists.exists());
    }
}
