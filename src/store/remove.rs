// SPDX-License-Identifier: GPL-3.0-or-later
//! Removes trees that hostile programs may have made: store items, leftovers of killed builds, garbage.
//!
//! A build's output may hold anything: symbolic links that lead out of the store, directories without permissions,
//! directories nested ten thousand deep. So nothing here ever resolves more than one file name at a time: a
//! directory is opened with `openat` and `O_NOFOLLOW` relative to its parent, and its entries are removed with
//! `unlinkat` relative to it. A symbolic link is removed, never followed, and swapping a directory for a link while we
//! work gains nothing.
//!
//! What is mounted in a tree is not of the tree, be it a device file system or a directory of the machine's: there the
//! removal stops with an error.
//!
//! The walk keeps at most `DEPTH_MAX` directories open. What lies deeper is moved up, beside the tree's top, and
//! removed from there: memory, stack and descriptors stay bounded whatever the depth. In the trash the directories of a
//! large tree are moved up as well, so that several threads remove them at a time.

use std::cell::OnceCell;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::file_flags;
use super::mount::mount_of;
use crate::diagnostics::FileError;

/// How many directories of one tree are open at a time, at most.
const DEPTH_MAX: usize = 64;

/// How many entries are removed before a tree counts as large.
const LARGE: usize = 1000;

/// Removes the file, symbolic link or directory tree at `path`; absent is fine.
///
/// Directories without write permission are made writable first. Returns the number of bytes of disk space given
/// back; a file with further hard links elsewhere gives back nothing.
pub fn remove_tree(path: &Path) -> Result<u64, FileError> {
    let (parent, name) = open_parent(path)?;
    let Some(parent) = parent else {
        return Ok(0);
    };
    let parent_path = path.parent().unwrap_or(Path::new("."));
    let mut left = vec![name];
    let mut freed = 0;
    while let Some(name) = left.pop() {
        let removed = Remover::of(parent.as_fd(), parent_path).remove(&name, FileType::Unknown)?;
        freed += removed.freed;
        left.extend(removed.moved);
    }
    Ok(freed)
}

/// Removes the entry `name`, of the type `kind`, of the open directory `trash`, which `path` leads to, as
/// [`remove_tree`] does; a large tree on several threads.
pub(super) fn remove_from_trash(
    trash: BorrowedFd<'_>,
    path: &Path,
    name: &CStr,
    kind: FileType,
) -> Result<u64, FileError> {
    let remove = |name: &CStr, kind| {
        let remover = Remover::of(trash, path);
        Remover {
            large: Some(LARGE),
            ..remover
        }
        .remove(name, kind)
    };
    let mut removed = remove(name, kind)?;
    // Round by round, and not by recursion: how deep a tree is, its maker decides.
    while !removed.moved.is_empty() {
        crate::threads::ready();
        let parts = removed.moved.par_iter();
        let parts: Vec<Removed> = parts
            .map(|name| remove(name, FileType::Directory))
            .collect::<Result<_, _>>()?;
        removed.freed += parts.iter().map(|part| part.freed).sum::<u64>();
        removed.moved = parts.into_iter().flat_map(|part| part.moved).collect();
    }
    Ok(removed.freed)
}

/// One removal under way.
struct Remover<'a> {
    /// The directory that holds the tree.
    top: BorrowedFd<'a>,
    /// What `top` is mounted with, once that is needed.
    mount: OnceCell<Option<u64>>,
    top_path: &'a Path,
    /// After how many entries directories are moved up, for others to remove; `None`: never for that reason.
    large: Option<usize>,
    /// How many entries were met.
    met: usize,
    removed: Removed,
}

/// What a removal did.
#[derive(Debug, Default)]
struct Removed {
    /// Disk space in bytes.
    freed: u64,
    /// Names of what was moved up, beside the tree's top, and is still to be removed.
    moved: Vec<CString>,
}

/// A directory that is being emptied.
struct Frame {
    name: CString,
    entries: Dir,
    /// Whether anything was removed since the listing was last started.
    progress: bool,
}

/// What [`open_directory`] found.
pub(super) enum Opened {
    /// A directory, with its disk space in bytes.
    Directory((OwnedFd, u64)),
    /// Anything that is not a directory.
    Other,
    /// Nothing.
    Gone,
}

impl<'a> Remover<'a> {
    /// A removal in the directory `top`, which `top_path` leads to.
    fn of(top: BorrowedFd<'a>, top_path: &'a Path) -> Self {
        Self {
            top,
            mount: OnceCell::new(),
            top_path,
            large: None,
            met: 0,
            removed: Removed::default(),
        }
    }

    fn remove(mut self, name: &CStr, kind: FileType) -> Result<Removed, FileError> {
        let mut stack: Vec<Frame> = Vec::new();
        self.start(&mut stack, name.to_owned(), kind)?;
        while let Some(frame) = stack.last_mut() {
            match frame.entries.read() {
                Some(Ok(entry)) => {
                    let name = entry.file_name();
                    if name == c"." || name == c".." {
                        continue;
                    }
                    frame.progress = true;
                    self.met += 1;
                    let name = name.to_owned();
                    self.start(&mut stack, name, entry.file_type())?;
                }
                // Another process has removed the directory itself.
                Some(Err(Errno::NOENT)) => self.leave(&mut stack)?,
                Some(Err(errno)) => return Err(self.error("list", &stack, c"", errno)),
                None => self.leave(&mut stack)?,
            }
        }
        Ok(self.removed)
    }

    /// Starts on the entry `name` of the innermost directory.
    fn start(
        &mut self,
        stack: &mut Vec<Frame>,
        name: CString,
        kind: FileType,
    ) -> Result<(), FileError> {
        if !matches!(kind, FileType::Directory | FileType::Unknown) {
            return self.unlink(stack, &name);
        }
        let opened = {
            let parent = self.innermost(stack)?;
            open_directory(parent, &name)
        };
        match opened {
            Ok(Opened::Gone) => Ok(()),
            Ok(Opened::Other) => self.unlink(stack, &name),
            Ok(Opened::Directory((directory, _)))
                if mount_of(directory.as_fd()) != self.mount() =>
            {
                Err(self.error("remove what is mounted at", stack, &name, Errno::BUSY))
            }
            Ok(Opened::Directory((directory, size))) => {
                if stack.len() >= DEPTH_MAX {
                    return self.move_up(stack, &name);
                }
                // Where the file system cannot, as between the layers of an overlay, it is emptied where it is.
                let is_large = self.large.is_some_and(|large| self.met > large);
                if is_large && self.move_up(stack, &name).is_ok() {
                    return Ok(());
                }
                let entries =
                    Dir::new(directory).map_err(|errno| self.error("list", stack, &name, errno))?;
                self.removed.freed += size;
                stack.push(Frame {
                    name,
                    entries,
                    progress: false,
                });
                Ok(())
            }
            Err(errno) => Err(self.error("open", stack, &name, errno)),
        }
    }

    /// Removes the innermost directory, which has been emptied.
    fn leave(&mut self, stack: &mut Vec<Frame>) -> Result<(), FileError> {
        let Some(mut frame) = stack.pop() else {
            return Ok(());
        };
        let removed = self.unlink_entry(stack, &frame.name, AtFlags::REMOVEDIR)?;
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // Some file systems skip entries of a directory that shrinks while it is listed: go round again.
            Err(Errno::NOTEMPTY | Errno::EXIST) if frame.progress => {
                frame.progress = false;
                frame.entries.rewind();
                stack.push(frame);
                Ok(())
            }
            Err(errno) => Err(self.error("remove", stack, &frame.name, errno)),
        }
    }

    fn unlink(&mut self, stack: &[Frame], name: &CStr) -> Result<(), FileError> {
        let parent = self.innermost(stack)?;
        let size = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if stat.st_nlink == 1 => disk_space(&stat),
            _ => 0,
        };
        match self.unlink_entry(stack, name, AtFlags::empty())? {
            Ok(()) => {
                self.removed.freed += size;
                Ok(())
            }
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.error("remove", stack, name, errno)),
        }
    }

    /// Removes the entry `name` of the innermost directory, once more where flags forbade it.
    fn unlink_entry(
        &self,
        stack: &[Frame],
        name: &CStr,
        flags: AtFlags,
    ) -> Result<Result<(), Errno>, FileError> {
        let parent = self.innermost(stack)?;
        let removed = rustix::fs::unlinkat(parent, name, flags);
        match removed {
            Err(Errno::PERM) if clear_flags(parent, name, !stack.is_empty()) => {
                Ok(rustix::fs::unlinkat(parent, name, flags))
            }
            removed => Ok(removed),
        }
    }

    /// Moves the directory `name` up beside the tree's top.
    fn move_up(&mut self, stack: &[Frame], name: &CStr) -> Result<(), FileError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let target = CString::new(format!(
            ".removing-{}-{}",
            std::process::id(),
            COUNTER.fetch_add(1, Ordering::Relaxed)
        ))
        .unwrap_or_default();
        let parent = self.innermost(stack)?;
        let mut moved = rustix::fs::renameat(parent, name, self.top, &target);
        if moved == Err(Errno::PERM) && clear_flags(parent, name, !stack.is_empty()) {
            moved = rustix::fs::renameat(parent, name, self.top, &target);
        }
        match moved {
            Ok(()) => self.removed.moved.push(target),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(self.error("move up", stack, name, errno)),
        }
        Ok(())
    }

    fn mount(&self) -> Option<u64> {
        *self.mount.get_or_init(|| mount_of(self.top))
    }

    fn innermost<'s>(&'s self, stack: &'s [Frame]) -> Result<BorrowedFd<'s>, FileError> {
        match stack.last() {
            None => Ok(self.top),
            Some(frame) => frame
                .entries
                .fd()
                .map_err(|errno| self.error("list", stack, c"", errno)),
        }
    }

    fn error(&self, action: &'static str, stack: &[Frame], name: &CStr, errno: Errno) -> FileError {
        let mut path = self.top_path.to_owned();
        for name in stack
            .iter()
            .map(|frame| frame.name.as_c_str())
            .chain([name])
        {
            if !name.is_empty() {
                path.push(OsStr::from_bytes(name.to_bytes()));
            }
        }
        FileError::in_store(action, path)(errno.into())
    }
}

/// Opens the directory that `path` is in, which may be missing, and gives the last component of `path`.
fn open_parent(path: &Path) -> Result<(Option<OwnedFd>, CString), FileError> {
    let fail = |source| FileError::in_store("remove", path)(source);
    let name = path
        .file_name()
        .and_then(|name| CString::new(name.as_bytes()).ok())
        .ok_or_else(|| fail(io::ErrorKind::InvalidInput.into()))?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(parent, flags, Mode::empty()) {
        Ok(parent) => Ok((Some(parent), name)),
        Err(Errno::NOENT) => Ok((None, name)),
        Err(errno) => Err(fail(errno.into())),
    }
}

/// Clears the flags of the entry `name` of `parent`, and of `parent` where that is `ours`: the directory that holds the
/// whole tree is not. Says whether it is worth trying again what they forbade.
fn clear_flags(parent: BorrowedFd<'_>, name: &CStr, ours: bool) -> bool {
    let entry = file_flags::clear_entry(parent, name);
    let directory = ours && file_flags::clear_directory(parent);
    entry || directory
}

/// Opens the directory `name` of `parent` without following a link, and makes it readable and writable for its owner.
pub(super) fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<Opened, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut opened = rustix::fs::openat(parent, name, flags, Mode::empty());
    if matches!(opened, Err(Errno::ACCESS)) {
        make_accessible(parent, name)?;
        opened = rustix::fs::openat(parent, name, flags, Mode::empty());
    }
    match opened {
        Ok(directory) => {
            let stat = rustix::fs::fstat(&directory)?;
            let mode = Mode::from_raw_mode(stat.st_mode);
            if !mode.contains(Mode::RWXU) {
                let writable = mode | Mode::RWXU;
                match rustix::fs::fchmod(&directory, writable) {
                    Err(Errno::PERM) if file_flags::clear_directory(directory.as_fd()) => {
                        rustix::fs::fchmod(&directory, writable)?;
                    }
                    changed => changed?,
                }
            }
            Ok(Opened::Directory((directory, disk_space(&stat))))
        }
        // Opening a symbolic link so fails with ELOOP, on FreeBSD with EMLINK, or with ENOTDIR.
        Err(Errno::NOTDIR | Errno::LOOP | Errno::MLINK) => Ok(Opened::Other),
        Err(Errno::NOENT) => Ok(Opened::Gone),
        Err(errno) => Err(errno),
    }
}

/// Gives the owner access to a directory that cannot even be opened. Never needed by root, so no other user's files
/// can be reached through it: a link put in the directory's place would lead to files of the same owner.
fn make_accessible(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok(());
    }
    match rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::SYMLINK_NOFOLLOW) {
        // Linux before 6.6 cannot change modes without following links.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())
        }
        result => result,
    }
}

/// The disk space of a file in bytes; `st_blocks` counts 512 bytes each on every system.
#[allow(clippy::unnecessary_cast)] // The field's type differs between systems.
pub(super) fn disk_space(stat: &rustix::fs::Stat) -> u64 {
    u64::try_from(stat.st_blocks as i64).unwrap_or(0) * 512
}

/// The disk space in bytes that the tree at `path` takes, as far as it can be read.
pub(super) fn disk_usage(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut usage = 0;
    let mut pending = vec![path.to_owned()];
    while let Some(path) = pending.pop() {
        let Ok(found) = path.symlink_metadata() else {
            continue;
        };
        usage += found.blocks() * 512;
        if found.is_dir() {
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            pending.extend(entries.map(|entry| entry.path()));
        }
    }
    usage
}

#[cfg(test)]
#[path = "remove/tests.rs"]
mod tests;
