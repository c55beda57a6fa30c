// SPDX-License-Identifier: GPL-3.0-or-later
//! Modes and times of what is restored from an archive.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;

use rustix::fs::RawMode;
use rustix::io::Errno;

/// What [`Finish`] does, as a verb for messages.
pub(super) const FINISH: &str = "set the mode and the time of";

/// What is done to the nodes of a tree beside writing them, while they are open anyway.
pub(in crate::store) trait Finish: Sync {
    /// The root is a directory and was just made, with mode 0755 less the umask.
    fn root(&self, directory: BorrowedFd<'_>) -> Result<(), Errno>;
    /// The mode that a file is made with, less the umask.
    fn file_mode(&self, executable: bool) -> RawMode;
    /// All of a file is written.
    fn file(&self, file: BorrowedFd<'_>) -> Result<(), Errno>;
    /// All entries of a directory are there.
    fn directory(&self, directory: BorrowedFd<'_>) -> Result<(), Errno>;
    /// The link `name` was made in the directory `parent`.
    fn symlink(&self, parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno>;
}

/// Modes are what they were made with, times are the clock's.
pub(super) struct Plain;

impl Finish for Plain {
    fn root(&self, _: BorrowedFd<'_>) -> Result<(), Errno> {
        Ok(())
    }

    fn file_mode(&self, executable: bool) -> RawMode {
        if executable { 0o755 } else { 0o644 }
    }

    fn file(&self, _: BorrowedFd<'_>) -> Result<(), Errno> {
        Ok(())
    }

    fn directory(&self, _: BorrowedFd<'_>) -> Result<(), Errno> {
        Ok(())
    }

    fn symlink(&self, _: BorrowedFd<'_>, _: &OsStr) -> Result<(), Errno> {
        Ok(())
    }
}
