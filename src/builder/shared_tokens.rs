// SPDX-License-Identifier: GPL-3.0-or-later
//! One pool of job tokens for several processes.
//!
//! The pool is a directory. Each process that builds has a file there, its *share*, whose name says how many tokens it
//! holds and whether it wants more. It holds a lock (`flock`) on its share as long as it lives. What is free is the
//! size of the pool less what the locked shares hold, so the tokens of a killed process are free at once: the system
//! drops its lock. The next process that looks removes a share that is not locked. All changes are made under the lock
//! of one more file.
//!
//! A token goes to the process that wants to start a build and holds the fewest; of these, to the one that has waited
//! longest since it last got one. A process that holds more than another that waits hands over what its builds do not
//! use at the moment. So each process has its share of the machine, whatever the others ask for.
//!
//! Looking costs one listing of the directory and a few system calls for each process that holds a token. Whether a
//! waiting process lives matters only while it is among the next to get one. A process that waits looks again after a
//! pause that grows with the number of those before it. So many waiting processes cost little.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::{Errno, retry_on_intr};
use rustix::time::{ClockId, clock_gettime};

/// The file whose lock is held while shares are read and changed.
const TURNSTILE: &str = "turnstile";

/// What the names of shares begin with.
const SHARE: &str = "share-";

/// How long a process waits before it looks again, for each that comes before it.
const PAUSE: Duration = Duration::from_millis(5);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// What a process wants tokens for. The order is that of importance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Wants {
    /// It has what it needs.
    #[default]
    Nothing,
    /// For further jobs of builds that run.
    Jobs,
    /// For a build that waits to start.
    Start,
}

/// What came of one trade with the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trade {
    /// Whether it got a token.
    pub granted: bool,
    /// How many others hold less and lack a token that this process could hand over.
    pub lacking: usize,
    /// When to trade again.
    pub pause: Duration,
}

/// One process's part in a pool of tokens that several processes share.
#[derive(Debug)]
pub struct SharedTokens {
    directory: PathBuf,
    size: NonZeroUsize,
    /// How many tokens are kept for builds that start.
    reserve: usize,
    own: Mutex<OwnTokens>,
}

/// The share of this process, and its file, which exists while it holds or wants tokens.
#[derive(Debug, Default)]
struct OwnTokens {
    file: Option<ShareFile>,
    share: Share,
}

/// The file of this process's share, and its lock.
#[derive(Debug)]
struct ShareFile {
    owner: ShareOwner,
    path: PathBuf,
    _lock: File,
}

/// Whose a share is: a process, and a number within that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ShareOwner {
    process: u32,
    number: u64,
}

/// The share of another process.
#[derive(Debug)]
struct OtherShare {
    path: PathBuf,
    share: Share,
}

/// What a process holds and wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Share {
    held: usize,
    wants: Wants,
    /// When it last got a token or began to want one, in nanoseconds of the machine's monotonic clock.
    since: u64,
}

impl Share {
    /// The name of the file of this share, which belongs to `owner`: `share-PROCESS-NUMBER-HELD-WANTS-SINCE`.
    fn to_name(self, owner: ShareOwner) -> String {
        let wants = match self.wants {
            Wants::Nothing => 0,
            Wants::Jobs => 1,
            Wants::Start => 2,
        };
        let ShareOwner { process, number } = owner;
        let Self { held, since, .. } = self;
        format!("{SHARE}{process}-{number}-{held}-{wants}-{since}")
    }

    fn of_name(name: &str) -> Option<Self> {
        // After the owner's process and number.
        let mut fields = name.strip_prefix(SHARE)?.split('-').skip(2);
        Some(Self {
            held: fields.next()?.parse().ok()?,
            wants: match fields.next()? {
                "0" => Wants::Nothing,
                "1" => Wants::Jobs,
                "2" => Wants::Start,
                _ => return None,
            },
            since: fields.next()?.parse().ok()?,
        })
    }

    /// Of those that want a token, the one with the lowest rank is the next to get one.
    fn rank(&self) -> (usize, u64) {
        (self.held, self.since)
    }

    /// Whether the next token is rather for `other` than for this one.
    fn yields_to(&self, other: &Self) -> bool {
        match (self.wants, other.wants) {
            (_, Wants::Nothing) => false,
            (Wants::Start, Wants::Start) | (Wants::Jobs, Wants::Jobs) => other.rank() < self.rank(),
            (Wants::Start, Wants::Jobs) => other.held < self.held,
            (Wants::Jobs | Wants::Nothing, Wants::Start) => other.held <= self.held,
            (Wants::Nothing, Wants::Jobs) => true,
        }
    }

    /// Whether `other` should have one of the tokens that this one holds.
    fn owes(&self, other: &Self) -> bool {
        match other.wants {
            Wants::Nothing => false,
            Wants::Jobs => other.held + 1 < self.held,
            Wants::Start => other.held < self.held,
        }
    }
}

impl SharedTokens {
    /// A part in the pool of `size` tokens in `directory`, which is made where it is missing. Of the tokens, `reserve`
    /// are only for builds that start.
    ///
    /// # Errors
    /// Where the directory cannot be made.
    pub fn new(directory: &Path, size: NonZeroUsize, reserve: usize) -> io::Result<Self> {
        if let Some(parent) = directory.parent() {
            std::fs::create_dir_all(parent)?;
        }
        // Private: a user who can open its files could lock them.
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        Ok(Self {
            directory: directory.to_owned(),
            size,
            reserve: reserve.min(size.get() - 1),
            own: Mutex::default(),
        })
    }

    /// The number of tokens in the pool.
    pub fn size(&self) -> NonZeroUsize {
        self.size
    }

    /// How many tokens of the pool in `directory` are used at the moment: 0 where the directory is missing.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn used(directory: &Path) -> io::Result<usize> {
        if !directory.try_exists()? {
            return Ok(0);
        }
        let onlooker = Self::new(directory, NonZeroUsize::MIN, 0)?;
        let _turn = onlooker.turn()?;
        let shares = onlooker.others(&OwnTokens::default())?;
        Ok(shares.iter().map(|other| other.share.held).sum())
    }

    /// Gives `surplus` tokens back and asks for one, if `wants` says so.
    ///
    /// # Errors
    /// Where files of the pool cannot be read or written. The process holds what it held before.
    pub fn trade(&self, surplus: usize, wants: Wants) -> io::Result<Trade> {
        let _turn = self.turn()?;
        let mut own = self.lock();
        let others = self.others(&own)?;
        let mut share = own.share;
        share.held = share.held.saturating_sub(surplus);
        if wants > share.wants {
            share.since = now();
        }
        share.wants = wants;
        let held: usize = share.held + others.iter().map(|other| other.share.held).sum::<usize>();
        let free = self.size.get().saturating_sub(held);
        let kept = match wants {
            Wants::Start => 0,
            _ => self.reserve,
        };
        let may_get = wants != Wants::Nothing && free > kept;
        let ahead = others.iter().filter(|other| share.yields_to(&other.share));
        let ahead = match may_get {
            true => self.alive(ahead.collect(), free)?,
            false => ahead.count(),
        };
        let granted = may_get && ahead < free;
        if granted {
            share.held += 1;
            share.since = now();
        }
        self.write(&mut own, share)?;
        let owed = others.iter().map(|other| &other.share);
        let owed: Vec<&Share> = owed.filter(|other| share.owes(other)).collect();
        let to_take = match owed.iter().any(|other| other.wants == Wants::Start) {
            true => free,
            false => free.saturating_sub(self.reserve),
        };
        let pause = match wants {
            Wants::Start => PAUSE * u32::try_from(ahead + 1).unwrap_or(u32::MAX).min(100),
            _ => PAUSE * 4 + Duration::from_millis(others.len() as u64),
        };
        Ok(Trade {
            granted,
            lacking: owed.len().saturating_sub(to_take),
            pause: pause.min(LONGEST_PAUSE),
        })
    }

    fn lock(&self) -> MutexGuard<'_, OwnTokens> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn of this process to change shares, which lasts as long as the file is open.
    fn turn(&self) -> io::Result<File> {
        let file = private()
            .create(true)
            .open(self.directory.join(TURNSTILE))?;
        retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))?;
        Ok(file)
    }

    /// The shares of the other processes. What a dead one held is not among them.
    fn others(&self, own: &OwnTokens) -> io::Result<Vec<OtherShare>> {
        let mut shares = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let is_own = own.file.as_ref().is_some_and(|own| own.path == path);
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name.filter(|name| !is_own && name.starts_with(SHARE)) else {
                continue;
            };
            match Share::of_name(name) {
                Some(share) if share.held == 0 || is_alive(&path)? => {
                    shares.push(OtherShare { path, share });
                }
                Some(_) => {}
                // An earlier version's: it goes with its process.
                None => drop(is_alive(&path)?),
            }
        }
        Ok(shares)
    }

    /// How many of `ahead` are to be counted: the dead are not, as far as they are among the next `free` to get a
    /// token.
    fn alive(&self, mut ahead: Vec<&OtherShare>, free: usize) -> io::Result<usize> {
        ahead.sort_by_key(|other| other.share.rank());
        let mut count = ahead.len();
        let mut alive = 0;
        for other in ahead {
            if alive == free {
                break;
            }
            match is_alive(&other.path)? {
                true => alive += 1,
                false => count -= 1,
            }
        }
        Ok(count)
    }

    /// Makes `share` this process's own, in its file and here.
    fn write(&self, own: &mut OwnTokens, share: Share) -> io::Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        if share.held == 0 && share.wants == Wants::Nothing {
            if let Some(file) = own.file.take() {
                std::fs::remove_file(file.path)?;
            }
        } else if let Some(file) = &mut own.file {
            let path = self.directory.join(share.to_name(file.owner));
            if path != file.path {
                std::fs::rename(&file.path, &path)?;
                file.path = path;
            }
        } else {
            let owner = ShareOwner {
                process: std::process::id(),
                number: NEXT.fetch_add(1, Ordering::Relaxed),
            };
            let path = self.directory.join(share.to_name(owner));
            let file = private().create(true).open(&path)?;
            retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockExclusive))?;
            own.file = Some(ShareFile {
                owner,
                path,
                _lock: file,
            });
        }
        own.share = share;
        Ok(())
    }
}

/// Whether the process of the share at `path` lives. What a dead one left is removed.
fn is_alive(path: &Path) -> io::Result<bool> {
    let file = match private().open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => {
            std::fs::remove_file(path)?;
            Ok(false)
        }
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

impl Drop for SharedTokens {
    fn drop(&mut self) {
        if let Some(file) = self.lock().file.take() {
            // The lock goes with the file: a share that stays is removed by another process.
            let _ = std::fs::remove_file(file.path);
        }
    }
}

/// How files of the pool are opened.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = OFlags::NOFOLLOW.bits() as i32;
    options
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(flags);
    options
}

fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000) + u64::try_from(time.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
#[path = "shared_tokens/tests.rs"]
mod tests;
