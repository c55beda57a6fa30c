// SPDX-License-Identifier: GPL-3.0-or-later
//! Locks on files, between processes and between threads.
//!
//! Between processes they are `fcntl` write or read locks on the whole file, the kind that guix-daemon uses. A process
//! that is done with a lock file removes it and then writes a byte into it. The byte tells the daemon, and the missing
//! name tells this program, that a lock obtained after that is one on a removed file: a process that waited starts
//! over.
//!
//! `fcntl` locks belong to the process: they do not keep its own threads apart, and closing *any* descriptor of a file
//! drops the process's lock on it. So there is one table of the locks that this process holds. A lock file is opened
//! once, by the thread that enters it there, and other threads wait for the entry to go, through whichever handle of
//! the store they came.
//!
//! The table is the only state of the process, and it is keyed by lock file, so handles of several stores do not meet.
//! Where one process serves one client, each process has a table of its own, and the system keeps them apart. A child
//! does not inherit `fcntl` locks, and all descriptors are closed when it executes a program, so neither its life nor
//! its end changes what the parent holds. A fork that goes on without `exec` must not use the store: its copy of the
//! table names locks that it does not hold.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode as FileMode, OFlags, fcntl_lock};
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, fcntl_getlk};

use super::error::LockError;
use super::lock_policy::{LockPolicy, LockWait};
use crate::diagnostics::FileError;

/// Waits shorter than this are not reported.
const FIRST_REPORT: Duration = Duration::from_millis(200);
/// A wait is reported again, and can be cancelled, this often.
const NEXT_REPORT: Duration = Duration::from_secs(1);

/// Whether others may hold the lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LockMode {
    Shared,
    Exclusive,
}

/// A lock on one file, held until dropped.
#[derive(Debug)]
pub(super) struct FileLock {
    path: PathBuf,
    /// Whether the file goes with the lock.
    remove: bool,
}

/// The locks of this process, by lock file.
struct Table {
    held: Mutex<HashMap<PathBuf, Held>>,
    changed: Condvar,
}

struct Held {
    mode: LockMode,
    holders: usize,
    /// Who got it first.
    thread: ThreadId,
    /// `None` while `thread` is still waiting for other processes. Nothing else may open and close the lock file.
    file: Option<File>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table {
    held: Mutex::new(HashMap::new()),
    changed: Condvar::new(),
});

impl Table {
    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Held>> {
        // The map is consistent after every statement that changes it.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FileLock {
    /// Locks the file `path`, which is created where it is missing and whose directory must be spelled the same by all
    /// threads. With `remove` the file is removed when the lock is released, by the protocol above.
    pub(super) fn acquire(
        path: PathBuf,
        mode: LockMode,
        remove: bool,
        lock_policy: &LockPolicy,
    ) -> Result<Self, LockError> {
        let mut wait = Wait::new(lock_policy);
        if enter_table(&path, mode, &mut wait)? {
            // From here on the drop of `lock` takes the entry out of the table again, whatever happens.
            let lock = Self { path, remove };
            let file = lock_file(&lock.path, mode, &mut wait)?;
            if let Some(held) = TABLE.lock().get_mut(&lock.path) {
                held.file = Some(file);
            }
            TABLE.changed.notify_all();
            return Ok(lock);
        }
        Ok(Self { path, remove })
    }

    /// Locks like [`acquire`](Self::acquire), but gives `None` instead of waiting.
    pub(super) fn try_acquire(
        path: PathBuf,
        mode: LockMode,
        remove: bool,
    ) -> Result<Option<Self>, LockError> {
        let lock_policy = LockPolicy {
            timeout: Some(Duration::ZERO),
            ..LockPolicy::default()
        };
        match Self::acquire(path, mode, remove, &lock_policy) {
            Ok(lock) => Ok(Some(lock)),
            Err(LockError::TimedOut { .. } | LockError::SelfHeld { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        let mut held = TABLE.lock();
        if let Some(entry) = held.get_mut(&self.path) {
            entry.holders -= 1;
            if entry.holders == 0 {
                // The file is closed, and with that unlocked, before another thread can see that the entry is gone:
                // closing it later would drop that thread's lock.
                match entry.file.take() {
                    Some(file) if self.remove => discard(&self.path, file),
                    other => drop(other),
                }
                held.remove(&self.path);
                TABLE.changed.notify_all();
            }
        }
    }
}

/// Removes the file `path`, on which `file` holds a write lock, telling those who wait for it that it is gone.
///
/// Removing lock files is tidiness; where it fails, the file just stays.
pub(super) fn discard(path: &Path, mut file: File) {
    if std::fs::remove_file(path).is_ok() {
        // Ignored: a process that waits also sees that the file has no name any more.
        let _ = file.write_all(b"d");
    }
}

/// Enters a lock into the table once no thread of this process stands in the way. Says whether the file is still to
/// be locked against other processes; it is not where another thread shares it already.
fn enter_table(path: &Path, mode: LockMode, wait: &mut Wait<'_>) -> Result<bool, LockError> {
    let thread = std::thread::current().id();
    let mut held = TABLE.lock();
    loop {
        let Some(entry) = held.get_mut(path) else {
            held.insert(
                path.to_owned(),
                Held {
                    mode,
                    holders: 1,
                    thread,
                    file: None,
                },
            );
            return Ok(true);
        };
        if mode == LockMode::Shared && entry.mode == LockMode::Shared && entry.file.is_some() {
            entry.holders += 1;
            return Ok(false);
        }
        if entry.mode == LockMode::Exclusive && entry.thread == thread {
            return Err(LockError::SelfHeld {
                path: path.to_owned(),
            });
        }
        // The report may take its time, and locks.
        drop(held);
        let pause = wait.blocked(path, || Some(std::process::id()))?;
        held = TABLE.lock();
        if held.contains_key(path) {
            (held, _) = TABLE
                .changed
                .wait_timeout(held, pause)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Opens and locks the file `path` against other processes.
fn lock_file(path: &Path, mode: LockMode, wait: &mut Wait<'_>) -> Result<File, LockError> {
    let fail = |action, errno: Errno| FileError::in_store(action, path)(errno.into());
    loop {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::open(path, flags, FileMode::RUSR | FileMode::WUSR)
            .map_err(|errno| fail("open", errno))?;
        lock_open_file(&file, path, mode, wait)?;
        let stat = rustix::fs::fstat(&file).map_err(|errno| fail("examine", errno))?;
        // Otherwise another process has removed this file while we waited. The daemon looks
        // at the size; but a file with a byte from elsewhere would keep us here forever.
        if stat.st_nlink > 0 {
            return Ok(file.into());
        }
    }
}

/// Locks an open file against other processes, or changes the lock this process has on it.
pub(super) fn lock_open_file(
    file: impl std::os::fd::AsFd,
    path: &Path,
    mode: LockMode,
    wait: &mut Wait<'_>,
) -> Result<(), LockError> {
    let (operation, kind) = match mode {
        LockMode::Shared => (FlockOperation::NonBlockingLockShared, FlockType::ReadLock),
        LockMode::Exclusive => (
            FlockOperation::NonBlockingLockExclusive,
            FlockType::WriteLock,
        ),
    };
    loop {
        match fcntl_lock(&file, operation) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            // POSIX leaves it to the system which of the two says "locked".
            Err(Errno::ACCESS | Errno::AGAIN) => {
                let holder = || {
                    let found = fcntl_getlk(&file, &Flock::from(kind)).ok().flatten()?;
                    u32::try_from(found.pid?.as_raw_nonzero().get()).ok()
                };
                // Asked for again and again, because a wait inside `fcntl` knows neither time-out nor report.
                let pause = wait.blocked(path, holder)?;
                std::thread::sleep(pause);
            }
            Err(errno) => {
                return Err(FileError::in_store("lock", path)(errno.into()).into());
            }
        }
    }
}

/// The state of one wait.
pub(super) struct Wait<'a> {
    lock_policy: &'a LockPolicy,
    started: Option<Instant>,
    next_report: Duration,
    pause: Duration,
}

impl<'a> Wait<'a> {
    pub(super) fn new(lock_policy: &'a LockPolicy) -> Self {
        Self {
            lock_policy,
            started: None,
            next_report: FIRST_REPORT,
            pause: Duration::from_micros(500),
        }
    }

    /// Notes that the lock is not free; says how long to pause before the next try, or that it is time to give up.
    fn blocked(
        &mut self,
        path: &Path,
        holder: impl FnOnce() -> Option<u32>,
    ) -> Result<Duration, LockError> {
        let waited = self.started.get_or_insert_with(Instant::now).elapsed();
        let left = match self.lock_policy.timeout {
            None => Duration::MAX,
            Some(timeout) if waited < timeout => timeout - waited,
            Some(_) => {
                return Err(LockError::TimedOut {
                    path: path.to_owned(),
                    holder: holder(),
                    waited,
                });
            }
        };
        if waited >= self.next_report {
            self.next_report = waited + NEXT_REPORT;
            let holder = holder();
            let waiting = LockWait {
                path,
                holder,
                waited,
            };
            if (self.lock_policy.report)(&waiting).is_break() {
                return Err(LockError::Cancelled {
                    path: path.to_owned(),
                    holder,
                });
            }
        }
        self.pause = (self.pause * 2).min(Duration::from_millis(50));
        Ok(self.pause.min(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::ControlFlow;
    use std::process::{Child, Command, Stdio};
    use std::sync::Arc;

    fn hurried(millis: u64) -> LockPolicy {
        LockPolicy {
            timeout: Some(Duration::from_millis(millis)),
            ..LockPolicy::default()
        }
    }

    /// Not a test: the other process of the tests below, which run it by its name. It locks a file until it is killed.
    #[test]
    fn other_process() {
        let Some(file) = std::env::var_os("BOOTSTRAP_TEST_LOCK") else {
            return;
        };
        let _lock =
            FileLock::acquire(file.into(), LockMode::Exclusive, true, &hurried(5000)).unwrap();
        println!("\nlocked");
        std::thread::sleep(Duration::from_secs(60));
    }

    fn lock_elsewhere(file: &Path) -> Child {
        use std::io::BufRead;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::file_lock::tests::other_process",
                "--nocapture",
            ])
            .env("BOOTSTRAP_TEST_LOCK", file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = std::io::BufReader::new(child.stdout.take().unwrap());
        assert!(output.lines().any(|line| line.unwrap() == "locked"));
        child
    }

    #[test]
    fn another_process_is_waited_for_and_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lock");
        let mut child = lock_elsewhere(&file);
        let reports = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&reports);
        let lock_policy = LockPolicy {
            timeout: Some(Duration::from_millis(400)),
            report: Arc::new(move |waiting| {
                log.lock().unwrap().push(waiting.to_string());
                ControlFlow::Continue(())
            }),
        };
        let error =
            FileLock::acquire(file.clone(), LockMode::Exclusive, true, &lock_policy).unwrap_err();
        let named = format!("process {}", child.id());
        assert!(error.to_string().contains(&named), "{error}");
        let reports = reports.lock().unwrap().clone();
        assert_eq!(reports.len(), 1, "{reports:?}");
        assert!(reports[0].ends_with(&format!("held by pid {}", child.id())));

        // Its lock dies with it, and its lock file is taken over.
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(file.exists());
        FileLock::acquire(file, LockMode::Exclusive, true, &hurried(5000)).unwrap();
    }

    /// Not a test: another process, which says whether it could have the lock.
    #[test]
    fn trying_process() {
        let Some(file) = std::env::var_os("BOOTSTRAP_TEST_TRY") else {
            return;
        };
        let lock = FileLock::try_acquire(file.into(), LockMode::Exclusive, false).unwrap();
        println!("\n{}", if lock.is_some() { "free" } else { "held" });
    }

    fn is_held(file: &Path) -> bool {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::file_lock::tests::trying_process",
                "--nocapture",
            ])
            .env("BOOTSTRAP_TEST_TRY", file)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("free") || text.contains("held"), "{text}");
        text.contains("held")
    }

    #[test]
    fn a_lock_outlives_the_children_of_its_process() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lock");
        let lock =
            FileLock::acquire(file.clone(), LockMode::Exclusive, false, &hurried(0)).unwrap();
        for _ in 0..5 {
            assert!(Command::new("true").status().unwrap().success());
        }
        assert!(is_held(&file));
        // A child that is still there does not keep it either.
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        drop(lock);
        let held = is_held(&file);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!held);
    }

    #[test]
    fn a_wait_can_be_cancelled() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lock");
        let _lock = FileLock::acquire(
            file.clone(),
            LockMode::Exclusive,
            true,
            &LockPolicy::default(),
        )
        .unwrap();
        let waiter = std::thread::spawn(|| {
            let lock_policy = LockPolicy {
                timeout: None,
                report: Arc::new(|_| ControlFlow::Break(())),
            };
            FileLock::acquire(file, LockMode::Exclusive, true, &lock_policy).unwrap_err()
        });
        let error = waiter.join().unwrap();
        assert!(
            matches!(error, LockError::Cancelled { holder: Some(pid), .. } if pid == std::process::id())
        );
    }

    #[test]
    fn shared_locks_go_together_and_keep_exclusive_ones_out() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lock");
        let first = FileLock::acquire(file.clone(), LockMode::Shared, false, &hurried(0)).unwrap();
        let second = FileLock::acquire(file.clone(), LockMode::Shared, false, &hurried(0)).unwrap();
        drop(first);
        let exclusive = || FileLock::try_acquire(file.clone(), LockMode::Exclusive, false).unwrap();
        assert!(exclusive().is_none());
        drop(second);
        assert!(exclusive().is_some());
    }

    #[test]
    fn a_lock_file_in_a_missing_directory_is_an_error_that_names_it() {
        let error = FileLock::acquire(
            "/nonexistent/lock".into(),
            LockMode::Exclusive,
            true,
            &hurried(0),
        )
        .unwrap_err();
        assert!(error.to_string().contains("/nonexistent/lock"), "{error}");
    }
}
