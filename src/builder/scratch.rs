// SPDX-License-Identifier: GPL-3.0-or-later
//! The directories that builds happen in, on the machine's side.
//!
//! A run has one directory, `bootstrap-build-PID-N`, in the place for temporary files, and each build one inside that.
//! The run's directory is locked as long as the run lives: a directory that is not locked was left behind by a run that
//! was killed, and the next run removes it. Build trees can be big, so a thread of its own removes them while the next
//! build runs.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::error::BuildError;
use super::kept_directory::{GivenContent, NewOwner};
use crate::diagnostics::FileError;
use crate::formats::store_path::StorePath;
use crate::store::file_flags;
use crate::store::remove::remove_tree;

const PREFIX: &str = "bootstrap-build-";

/// What a build directory that is kept is called, in a directory of its own.
const KEPT: &str = "build";

/// So long a run takes to end before it says why: the tree of a build like GCC's is removed in seconds, not at once.
const SILENT_WAIT: Duration = Duration::from_secs(1);
/// So long a run that is otherwise done removes directories without a word. On a machine that builds something else, a
/// second is usual.
const SILENT_END: Duration = Duration::from_secs(3);

/// The scratch directory of one run; dropping it removes it, with everything in it.
#[derive(Debug)]
pub struct ScratchDirectory {
    place: PathBuf,
    directory: PathBuf,
    owner: (u32, u32),
    next: AtomicU64,
    /// The lock.
    lock: Option<File>,
    janitor: Option<(Sender<Rubbish>, Removal)>,
    /// What removes the directories that killed runs left.
    leftovers: Option<Removal>,
    /// Whether the end does not wait until all is removed.
    abandoned: AtomicBool,
}

/// A directory that is to be removed, and its lock where it has one of its own: held until it is gone, so that no other
/// process that has just made it takes it for its own.
#[derive(Debug)]
struct Rubbish {
    path: PathBuf,
    _lock: Option<File>,
}

impl ScratchDirectory {
    /// Makes a scratch directory in `place`, for builds whose user is `owner` (user and group number) outside the
    /// sandbox, and removes those that killed runs of the same user left there.
    pub fn create(place: &Path, owner: (u32, u32)) -> Result<Self, BuildError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(place).map_err(unusable("create", place))?;
        let place = place.canonicalize().map_err(unusable("resolve", place))?;
        let (sender, receiver) = channel::<Rubbish>();
        let janitor = removing(receiver).map_err(BuildError::Thread)?;
        let leftovers = match leftovers(&place) {
            none if none.is_empty() => None,
            found => Some(removing(found).map_err(BuildError::Thread)?),
        };
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let directory = place.join(format!("{PREFIX}{}-{number}", std::process::id()));
            match make_directory(&directory) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(unusable("create", &directory))?,
            }
            // A process that cleans up may have been faster with the lock: to it, this was a leftover.
            if let Some(lock) = lock(&directory) {
                return Ok(Self {
                    place,
                    directory,
                    owner,
                    next: AtomicU64::new(0),
                    lock: Some(lock),
                    janitor: Some((sender, janitor)),
                    leftovers,
                    abandoned: AtomicBool::new(false),
                });
            }
        }
    }

    /// The run's own directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes an empty build directory for `derivation`.
    pub fn build_directory(&self, derivation: &StorePath) -> Result<PathBuf, BuildError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let directory = self
            .directory
            .join(format!("{number}-{}", derivation.name()));
        make_directory(&directory)
            .and_then(|()| give_to(&directory, self.owner))
            .map_err(BuildError::io("create", &directory))?;
        Ok(directory)
    }

    /// Gives a build directory to the user who wants to look at it: it becomes `build` in a directory with the name
    /// that guix-daemon would use, `guix-build-NAME.drv-N`, with the smallest free number.
    ///
    /// That directory is its caller's, and no other user may enter it: a build may leave programs that are set-user-ID,
    /// to the user who runs us or to the user of builds that run now, and open its own directory to all users.
    pub fn keep(&self, directory: &Path, derivation: &StorePath) -> Result<PathBuf, BuildError> {
        prepare_to_move(directory).map_err(BuildError::io("keep", directory))?;
        let kept = self.reserve(derivation)?;
        let target = kept.join(KEPT);
        put(directory, &target, &kept)?;
        Ok(target)
    }

    /// Gives a build directory to `owner`, another user who wants to look at it: it becomes `guix-build-NAME.drv-N`
    /// itself, where the build had it. No other user may enter it there.
    ///
    /// # Errors
    /// Where it cannot be given away or moved: it is where it was then.
    pub(super) fn keep_for(
        &self,
        directory: &Path,
        derivation: &StorePath,
        owner: NewOwner,
    ) -> Result<PathBuf, BuildError> {
        prepare_to_move(directory).map_err(BuildError::io("keep", directory))?;
        // While only this run can reach it.
        let content = GivenContent::of(directory, self.owner.0, owner);
        let content = content.map_err(BuildError::Temporary)?;
        // A name that is ours from here on: what is moved takes the place of an empty directory.
        let kept = self.reserve(derivation)?;
        put(directory, &kept, &kept)?;
        if let Err(error) = content.finish(&kept) {
            tracing::warn!("only the daemon's user can use what was kept: {error}");
        }
        Ok(kept)
    }

    /// Makes an empty directory with the name that guix-daemon would give a kept build of `derivation`, with the
    /// smallest free number.
    fn reserve(&self, derivation: &StorePath) -> Result<PathBuf, BuildError> {
        let mut number = 0;
        loop {
            let kept = self
                .place
                .join(format!("guix-build-{}-{number}", derivation.name()));
            match make_directory(&kept) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                made => {
                    return made
                        .map(|()| kept.clone())
                        .map_err(BuildError::io("create", &kept));
                }
            }
        }
    }

    /// Lets the end of the run wait for no more than a moment: what is not removed by then is left to the next run.
    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Has a build directory removed, soon.
    pub fn discard(&self, directory: PathBuf) {
        if let Some((janitor, _)) = &self.janitor {
            // What it does not get to is removed with the run's directory.
            let _ = janitor.send(Rubbish {
                path: directory,
                _lock: None,
            });
        }
    }
}

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        // What killed runs left may be more than this run has made: the next one goes on with it.
        if let Some(thread) = self.leftovers.take() {
            wait(&thread, SILENT_WAIT);
        }
        let Some((sender, thread)) = self.janitor.take() else {
            return;
        };
        let _ = sender.send(Rubbish {
            path: self.directory.clone(),
            _lock: self.lock.take(),
        });
        drop(sender);
        if self.abandoned.load(Ordering::Relaxed) {
            wait(&thread, SILENT_WAIT);
            return;
        }
        join(thread, SILENT_END, || {
            tracing::warn!(
                "all is done but for removing build directories, which takes a while: {}; the next run goes on with it \
                 if this one is stopped",
                self.directory.display()
            );
        });
    }
}

/// A thread that removes directories.
#[derive(Debug)]
struct Removal {
    thread: JoinHandle<()>,
    /// Closes when the thread ends.
    over: Mutex<Receiver<()>>,
}

/// A thread that removes `all`.
fn removing(all: impl IntoIterator<Item = Rubbish> + Send + 'static) -> io::Result<Removal> {
    let (alive, over) = channel();
    let thread = std::thread::Builder::new()
        .name("removing build trees".into())
        .spawn(move || {
            let _alive = alive;
            for rubbish in all {
                if let Err(error) = remove_tree(&rubbish.path) {
                    tracing::warn!("{error}");
                }
            }
        })?;
    let over = Mutex::new(over);
    Ok(Removal { thread, over })
}

/// Waits for the end of `removal`, but not longer than `most`; returns whether it has ended.
fn wait(removal: &Removal, most: Duration) -> bool {
    // Nothing is ever sent.
    let over = removal.over.lock().unwrap_or_else(PoisonError::into_inner);
    over.recv_timeout(most) == Err(RecvTimeoutError::Disconnected)
}

/// Waits for the end of `removal`, and calls `tell` where that takes longer than `silent`.
fn join(removal: Removal, silent: Duration, tell: impl FnOnce()) {
    if !wait(&removal, silent) {
        tell();
    }
    // A panic there has been printed; there is nothing to add.
    let _ = removal.thread.join();
}

/// Makes an I/O error in the place for temporary files into one of a build; for `map_err`.
fn unusable(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    let error = FileError::temporary(action, path);
    |source| BuildError::Temporary(error(source))
}

/// A directory for us alone: in it, build users' directories are reached by their mounts only.
fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Moves a build directory to `target`, which is `kept`, an empty directory, or a name in it.
fn put(directory: &Path, target: &Path, kept: &Path) -> Result<(), BuildError> {
    fs::rename(directory, target).map_err(|error| {
        // The error is the thing to tell.
        let _ = fs::remove_dir(kept);
        BuildError::io("keep", directory)(error)
    })
}

/// Has a build directory allow that it is renamed. The build may have made it one that not even its owner may write to,
/// and another parent is an entry in it.
fn prepare_to_move(from: &Path) -> io::Result<()> {
    // Flags forbid it, to root as well.
    if let Ok(directory) = File::open(from) {
        let _ = file_flags::clear_directory(directory.as_fd());
    }
    let mut permissions = fs::symlink_metadata(from)?.permissions();
    permissions.set_mode(permissions.mode() | 0o700);
    fs::set_permissions(from, permissions)
}

/// Makes `path` belong to `owner`; what belongs to him already is left alone, so that this needs no privilege.
pub(super) fn give_to(path: &Path, (user, group): (u32, u32)) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if (metadata.uid(), metadata.gid()) == (user, group) {
        return Ok(());
    }
    std::os::unix::fs::lchown(path, Some(user), Some(group))
}

/// Locks a run's directory; `None` where another process has, or it is gone.
fn lock(directory: &Path) -> Option<File> {
    let flags = rustix::fs::OFlags::RDONLY
        | rustix::fs::OFlags::DIRECTORY
        | rustix::fs::OFlags::NOFOLLOW
        | rustix::fs::OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(directory, flags, rustix::fs::Mode::empty()).ok()?);
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        // A file system without locks (some NFS): go without, and leave leftovers be.
        Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK) => return Some(file),
        Err(_) => return None,
    }
    let held = file.metadata().ok()?;
    let named = fs::symlink_metadata(directory).ok()?;
    ((held.dev(), held.ino()) == (named.dev(), named.ino())).then_some(file)
}

/// The directories in `place` that killed runs left, locked.
fn leftovers(place: &Path) -> Vec<Rubbish> {
    let own = rustix::process::geteuid().as_raw();
    let Ok(entries) = fs::read_dir(place) else {
        return Vec::new();
    };
    let paths = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name();
        let number = name.to_str()?.strip_prefix(PREFIX)?;
        // Any user may make files in /tmp: those of others are left alone, whatever their name.
        let metadata = entry.metadata().ok()?;
        let ours = metadata.is_dir() && metadata.uid() == own;
        (ours && number.contains('-')).then(|| entry.path())
    });
    paths
        .filter_map(|path| {
            let lock = lock(&path)?;
            // Again: where a file system has no locks, all directories are left alone.
            rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
            Some(Rubbish {
                path,
                _lock: Some(lock),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
