// SPDX-License-Identifier: GPL-3.0-or-later
//! The pipe through which one build gets job tokens.
//!
//! Whether reading blocks is a property of an *open file description*, which the two processes at the ends of
//! an inherited descriptor share: GNU make 4.3 makes the end it inherits non-blocking, other clients expect a
//! blocking one, and the pool itself must never block. A FIFO is opened again for each user, which gives each
//! its own description (re-opening `/proc/self/fd/N` would too, but only on Linux). It has a name for a few
//! microseconds only.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags};

/// The byte that stands for a token. GNU make writes back the byte it read; `+` is what it uses itself.
const TOKEN: u8 = b'+';

/// A pipe: the pool's own, non-blocking ends, and those for the build.
#[derive(Debug)]
pub(super) struct TokenPipe {
    read: Arc<OwnedFd>,
    write: OwnedFd,
    build_read: OwnedFd,
    build_write: OwnedFd,
}

impl TokenPipe {
    /// A pipe made in `directory`.
    pub(super) fn create(directory: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("jobserver-{}-{number}", std::process::id()));
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        let opened = Self::open(&path);
        let removed = std::fs::remove_file(&path);
        let opened = opened?;
        removed?;
        Ok(opened)
    }

    /// The order matters: opening a FIFO for reading without blocking always works; every other open needs
    /// a process at the other end already.
    fn open(path: &Path) -> io::Result<Self> {
        let open = |flags: OFlags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty());
        Ok(Self {
            read: Arc::new(open(OFlags::RDONLY | OFlags::NONBLOCK)?),
            write: open(OFlags::WRONLY | OFlags::NONBLOCK)?,
            build_read: open(OFlags::RDONLY)?,
            build_write: open(OFlags::WRONLY)?,
        })
    }

    /// The ends for a build: reading, writing, both blocking.
    pub(super) fn ends(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        Ok((self.build_read.try_clone()?, self.build_write.try_clone()?))
    }

    /// What [`wait_for_any`] waits for.
    pub(super) fn reading_end(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.read)
    }

    /// How many bytes lie unread in the pipe.
    pub(super) fn unread(&self) -> usize {
        rustix::io::ioctl_fionread(&*self.read)
            .ok()
            .and_then(|count| usize::try_from(count).ok())
            .unwrap_or(0)
    }

    /// Puts one token in. False where the pipe is full, which only a build that writes rubbish brings about.
    pub(super) fn put(&self) -> bool {
        matches!(
            rustix::io::retry_on_intr(|| rustix::io::write(&self.write, &[TOKEN])),
            Ok(1)
        )
    }

    /// Takes up to `count` bytes out again; how many there were. The build may read them first.
    pub(super) fn take(&self, count: usize) -> usize {
        let mut buffer = [0; 4096];
        let mut taken = 0;
        while taken < count {
            let want = (count - taken).min(buffer.len());
            match rustix::io::retry_on_intr(|| rustix::io::read(&*self.read, &mut buffer[..want])) {
                Ok(0) | Err(_) => break,
                Ok(got) => taken += got,
            }
        }
        taken
    }
}

/// Waits until a token lies in one of `pipes`, or for `longest`.
pub(super) fn wait_for_any(pipes: &[Arc<OwnedFd>], longest: Duration) {
    let mut waiting: Vec<PollFd<'_>> = pipes
        .iter()
        .map(|pipe| PollFd::new(&**pipe, PollFlags::IN))
        .collect();
    let timeout = Timespec {
        tv_sec: longest.as_secs().min(3600) as _,
        tv_nsec: longest.subsec_nanos() as _,
    };
    // Whatever it says, the pipes are looked at next.
    let _ = poll(&mut waiting, Some(&timeout));
}
