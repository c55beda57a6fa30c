// SPDX-License-Identifier: GPL-3.0-or-later
//! Writing the tree of an archive to disk.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, CWD, Mode, OFlags, RawMode};
use rustix::io::Errno;

use crate::formats::nar::read::{self, Visitor};
use crate::formats::nar::{NarError, Tree};

/// Writes the tree of the archive in `source` to `target`, which must not exist.
///
/// Files are created anew, never opened or replaced, in directories that are held open: no symbolic link is followed,
/// not even one that another process puts in the way. Modes are 0644, or 0755 for directories and executable files,
/// less the umask. What was written before an error stays, for the caller to remove.
pub fn restore(source: &mut dyn Read, target: &Path) -> Result<(), NarError> {
    restore_with(source, target, &mut Plain)
}

/// Writes `tree` to `target`, which must not exist; as [`restore()`] does with an archive.
pub fn restore_tree(tree: &Tree, target: &Path) -> Result<(), NarError> {
    tree.visit(&mut Restorer::new(target, &mut Plain))
}

/// As [`restore()`], and `finish` decides what becomes of modes and times.
pub(in crate::store) fn restore_with(
    source: &mut dyn Read,
    target: &Path,
    finish: &mut dyn Finish,
) -> Result<(), NarError> {
    read::read(source, &mut Restorer::new(target, finish))
}

/// What is done to the nodes of a tree beside writing them, while they are open anyway.
pub(in crate::store) trait Finish {
    /// The root is a directory and was just made, with mode 0755 less the umask.
    fn root(&mut self, directory: BorrowedFd<'_>) -> Result<(), Errno>;
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
    fn root(&mut self, _: BorrowedFd<'_>) -> Result<(), Errno> {
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

/// Writes the nodes it visits to disk.
pub(super) struct Restorer<'a> {
    target: &'a Path,
    finish: &'a mut dyn Finish,
    /// The path of the innermost open directory, or of the file that is being written; for messages.
    path: PathBuf,
    /// The innermost open directory.
    directory: Option<OwnedFd>,
    /// Device and inode of the directories above it: one descriptor does for any depth, and a directory that is moved
    /// away meanwhile is noticed.
    above: Vec<Identity>,
    file: Option<File>,
}

type Identity = (u64, u64);

/// What [`Finish`] does, as a verb for messages.
const FINISH: &str = "set the mode and the time of";

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

const NEW_FILE: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl<'a> Restorer<'a> {
    pub(super) fn new(target: &'a Path, finish: &'a mut dyn Finish) -> Self {
        Self {
            target,
            finish,
            path: target.to_owned(),
            directory: None,
            above: Vec::new(),
            file: None,
        }
    }

    /// The directory in which the node `name` is to be made, and its name there.
    fn place<'b>(&'b self, name: Option<&'b OsStr>) -> (BorrowedFd<'b>, &'b OsStr) {
        match (&self.directory, name) {
            (Some(directory), Some(name)) => (directory.as_fd(), name),
            _ => (CWD, self.target.as_os_str()),
        }
    }

    fn enter(&mut self, name: Option<&OsStr>) {
        if let Some(name) = name {
            self.path.push(name);
        }
    }

    /// Undoes [`Self::enter`] for a node that is not a directory, or has been left.
    fn leave(&mut self) {
        if self.directory.is_some() {
            self.path.pop();
        }
    }

    fn failed(&self, action: &'static str) -> impl Fn(Errno) -> NarError {
        let path = self.path.clone();
        move |error| NarError::File {
            action,
            path: path.clone(),
            error: error.into(),
        }
    }

    fn identity(&self, directory: &OwnedFd) -> Result<Identity, NarError> {
        let status = fs::fstat(directory).map_err(self.failed("examine the directory"))?;
        // The types of the two fields differ between platforms; only equality counts.
        #[allow(clippy::unnecessary_cast)]
        Ok((status.st_dev as u64, status.st_ino as u64))
    }
}

impl Visitor for Restorer<'_> {
    fn directory(&mut self, name: Option<&OsStr>) -> Result<(), NarError> {
        let (parent, base_name) = self.place(name);
        let made = fs::mkdirat(parent, base_name, Mode::from_raw_mode(0o755));
        let opened = made.and_then(|()| fs::openat(parent, base_name, DIRECTORY, Mode::empty()));
        self.enter(name);
        let opened = opened.map_err(self.failed("create the directory"))?;
        match self.directory.replace(opened) {
            Some(parent) => {
                let identity = self.identity(&parent)?;
                self.above.push(identity);
            }
            None => {
                if let Some(root) = &self.directory {
                    let finished = self.finish.root(root.as_fd());
                    finished.map_err(self.failed("examine the directory"))?;
                }
            }
        }
        Ok(())
    }

    fn directory_end(&mut self) -> Result<(), NarError> {
        let Some(directory) = self.directory.take() else {
            return Ok(());
        };
        let finished = self.finish.directory(directory.as_fd());
        finished.map_err(self.failed(FINISH))?;
        if let Some(expected) = self.above.pop() {
            let parent: &CStr = c"..";
            let parent = fs::openat(&directory, parent, DIRECTORY, Mode::empty())
                .map_err(self.failed("return from the directory"))?;
            if self.identity(&parent)? != expected {
                return Err(self.failed("return to the parent of the moved directory")(
                    Errno::NOENT,
                ));
            }
            self.directory = Some(parent);
        }
        self.leave();
        Ok(())
    }

    fn file(&mut self, name: Option<&OsStr>, executable: bool, _: u64) -> Result<(), NarError> {
        let (parent, base_name) = self.place(name);
        let mode = self.finish.file_mode(executable);
        // The claimed size does not reserve space: only what really comes is written.
        let file = fs::openat(parent, base_name, NEW_FILE, Mode::from_raw_mode(mode));
        self.enter(name);
        self.file = Some(File::from(file.map_err(self.failed("create the file"))?));
        Ok(())
    }

    fn contents(&mut self, bytes: &[u8]) -> Result<(), NarError> {
        match &mut self.file {
            Some(file) => file.write_all(bytes).map_err(|error| NarError::File {
                action: "write to",
                path: self.path.clone(),
                error,
            }),
            None => Ok(()),
        }
    }

    fn file_end(&mut self) -> Result<(), NarError> {
        if let Some(file) = self.file.take() {
            let finished = self.finish.file(file.as_fd());
            finished.map_err(self.failed(FINISH))?;
        }
        self.leave();
        Ok(())
    }

    fn symlink(&mut self, name: Option<&OsStr>, target: &OsStr) -> Result<(), NarError> {
        let (parent, base_name) = self.place(name);
        let made = fs::symlinkat(target, parent, base_name);
        let finished = made.is_ok().then(|| self.finish.symlink(parent, base_name));
        self.enter(name);
        made.map_err(self.failed("create the symbolic link"))?;
        finished.transpose().map_err(self.failed(FINISH))?;
        self.leave();
        Ok(())
    }
}
