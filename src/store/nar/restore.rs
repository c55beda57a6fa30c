// SPDX-License-Identifier: GPL-3.0-or-later
//! Writing the tree of an archive to disk.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::finish::{FINISH, Finish, Plain};
use super::writer_threads::{
    Directory, NEW_FILE, NewFile, SMALL, Unfinished, WriterThreads, WritersState, failed,
};
use crate::formats::nar::read::{self, Visitor};
use crate::formats::nar::{NarError, Tree};

/// Writes the tree of the archive in `source` to `target`, which must not exist.
///
/// Files are created, never opened or replaced, in directories that are held open: no symbolic link is followed,
/// not even one that another process puts in the way. Modes are 0644, or 0755 for directories and executable files,
/// less the umask. What was written before an error stays, for the caller to remove.
pub fn restore(source: &mut dyn Read, target: &Path) -> Result<(), NarError> {
    restore_with(source, target, &Plain)
}

/// Writes `tree` to `target`, which must not exist; as [`restore()`] does with an archive.
pub fn restore_tree(tree: &Tree, target: &Path) -> Result<(), NarError> {
    with_restorer(target, &Plain, |restorer| tree.visit(restorer))
}

/// As [`restore()`], and `finish` decides what becomes of modes and times.
pub(in crate::store) fn restore_with(
    source: &mut dyn Read,
    target: &Path,
    finish: &dyn Finish,
) -> Result<(), NarError> {
    with_restorer(target, finish, |restorer| read::read(source, restorer))
}

fn with_restorer(
    target: &Path,
    finish: &dyn Finish,
    visit: impl FnOnce(&mut Restorer<'_, '_>) -> Result<(), NarError>,
) -> Result<(), NarError> {
    let state = WritersState::default();
    // Its end waits for the threads.
    let visited = std::thread::scope(|scope| {
        let writers = WriterThreads::new(scope, finish, &state);
        let mut restorer = Restorer::new(target, finish, writers);
        visit(&mut restorer)?;
        restorer.writers.finish()
    });
    // A thread's error is the reason for the one that follows from it.
    state.check().and(visited)
}

/// Writes the nodes it visits to disk.
struct Restorer<'s, 'a> {
    target: &'a Path,
    finish: &'a dyn Finish,
    writers: WriterThreads<'s, 'a>,
    /// The path of the innermost open directory, or of the file that is being written; for messages.
    path: PathBuf,
    /// The innermost open directory.
    directory: Option<Arc<Directory>>,
    /// Device and inode of the directories above it: one descriptor does for any depth, and a directory that is moved
    /// away meanwhile is noticed.
    above: Vec<(DirectoryIdentity, Arc<Unfinished>)>,
    file: Option<OpenFile>,
}

/// The file that is being written.
enum OpenFile {
    Here(File),
    /// For another thread.
    Kept {
        executable: bool,
        content: Vec<u8>,
    },
}

type DirectoryIdentity = (u64, u64);

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl<'s, 'a> Restorer<'s, 'a> {
    fn new(target: &'a Path, finish: &'a dyn Finish, writers: WriterThreads<'s, 'a>) -> Self {
        Self {
            target,
            finish,
            writers,
            path: target.to_owned(),
            directory: None,
            above: Vec::new(),
            file: None,
        }
    }

    /// The directory in which the node `name` is to be made, and its name there.
    fn place<'b>(&'b self, name: Option<&'b OsStr>) -> (BorrowedFd<'b>, &'b OsStr) {
        match (&self.directory, name) {
            (Some(directory), Some(name)) => (directory.descriptor.as_fd(), name),
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
        failed(action, &self.path)
    }

    fn identity(&self, directory: BorrowedFd<'_>) -> Result<DirectoryIdentity, NarError> {
        let status = fs::fstat(directory).map_err(self.failed("examine the directory"))?;
        // The types of the two fields differ between platforms; only equality counts.
        #[allow(clippy::unnecessary_cast)]
        Ok((status.st_dev as u64, status.st_ino as u64))
    }
}

impl Visitor for Restorer<'_, '_> {
    fn directory(&mut self, name: Option<&OsStr>) -> Result<(), NarError> {
        let (parent, base_name) = self.place(name);
        let made = fs::mkdirat(parent, base_name, Mode::from_raw_mode(0o755));
        let opened = made.and_then(|()| fs::openat(parent, base_name, DIRECTORY, Mode::empty()));
        self.enter(name);
        let opened = opened.map_err(self.failed("create the directory"))?;
        match self.directory.take() {
            Some(parent) => {
                let identity = self.identity(parent.descriptor.as_fd())?;
                self.above.push((identity, Arc::clone(&parent.unfinished)));
            }
            None => {
                let finished = self.finish.root(opened.as_fd());
                finished.map_err(self.failed("examine the directory"))?;
            }
        }
        self.directory = Some(Arc::new(Directory {
            descriptor: opened,
            path: self.path.clone(),
            unfinished: Arc::new(Unfinished),
        }));
        Ok(())
    }

    fn directory_end(&mut self) -> Result<(), NarError> {
        let Some(directory) = self.directory.take() else {
            return Ok(());
        };
        if let Some((expected, unfinished)) = self.above.pop() {
            let parent: &CStr = c"..";
            let parent = fs::openat(&directory.descriptor, parent, DIRECTORY, Mode::empty())
                .map_err(self.failed("return from the directory"))?;
            if self.identity(parent.as_fd())? != expected {
                return Err(self.failed("return to the parent of the moved directory")(
                    Errno::NOENT,
                ));
            }
            let path = self.path.parent().unwrap_or(self.target).to_owned();
            self.directory = Some(Arc::new(Directory {
                descriptor: parent,
                path,
                unfinished,
            }));
        }
        Directory::release(directory, self.finish)?;
        self.leave();
        Ok(())
    }

    fn file(&mut self, name: Option<&OsStr>, executable: bool, size: u64) -> Result<(), NarError> {
        if name.is_some() && size <= SMALL && self.writers.takes_next() {
            self.enter(name);
            self.file = Some(OpenFile::Kept {
                executable,
                content: Vec::with_capacity(size as usize),
            });
            return Ok(());
        }
        let (parent, base_name) = self.place(name);
        let mode = self.finish.file_mode(executable);
        // The claimed size does not reserve space: only what really comes is written.
        let file = fs::openat(parent, base_name, NEW_FILE, Mode::from_raw_mode(mode));
        self.enter(name);
        let file = File::from(file.map_err(self.failed("create the file"))?);
        self.file = Some(OpenFile::Here(file));
        Ok(())
    }

    fn contents(&mut self, bytes: &[u8]) -> Result<(), NarError> {
        match &mut self.file {
            Some(OpenFile::Here(file)) => file.write_all(bytes).map_err(|error| NarError::File {
                action: "write to",
                path: self.path.clone(),
                error,
            }),
            Some(OpenFile::Kept { content, .. }) => {
                content.extend_from_slice(bytes);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn file_end(&mut self) -> Result<(), NarError> {
        match (self.file.take(), &self.directory) {
            (
                Some(OpenFile::Kept {
                    executable,
                    content,
                }),
                Some(directory),
            ) => self.writers.write(NewFile {
                directory: Arc::clone(directory),
                path: self.path.clone(),
                executable,
                content,
            })?,
            (Some(OpenFile::Here(file)), _) => {
                let finished = self.finish.file(file.as_fd());
                finished.map_err(self.failed(FINISH))?;
            }
            _ => {}
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
