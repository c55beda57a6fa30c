// SPDX-License-Identifier: GPL-3.0-or-later
//! A directory that is being filled, and cannot be left.
//!
//! Every path is walked from the tree's top, one component at a time, each opened relative to the one before without
//! following symbolic links. The handles of the last path stay open: entries of one directory follow each other, so
//! most need no walk at all.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::diagnostics::FileError;
use crate::formats::visible::visible;

use super::entry_path::EntryPath;
use super::error::ArchiveError;
use super::steps::UnpackStep;
use super::tar::UnpackBudget;
use super::{ArchiveLimits, Unpacked};

/// The top-level directories that Debian keeps under `/usr`, with a link in their old place (merged `/usr`).
/// Packages of Debian 12 still name files by the old places.
pub const MERGED_USR: &[&str] = &["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// How directories are opened on the way to an entry.
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// A directory into which archives are unpacked.
#[derive(Debug)]
pub struct ArchiveTree {
    writer: TreeWriter,
    budget: UnpackBudget,
}

/// The part of an [`ArchiveTree`] that creates files; the writer thread has it while an archive is decoded.
#[derive(Debug)]
pub(super) struct TreeWriter {
    top_path: PathBuf,
    top: OwnedFd,
    /// The directories of the last path, with their names.
    open: Vec<(Vec<u8>, OwnedFd)>,
    /// Top-level names that are links to the same name under `usr`.
    merged: &'static [&'static str],
    /// Those of them that have their link.
    linked: Vec<Vec<u8>>,
    /// The file whose contents are still coming.
    large: Option<(EntryPath, File)>,
}

impl ArchiveTree {
    /// Creates the directory `path`, which must not exist or be empty.
    ///
    /// `merged` (empty, or [`MERGED_USR`]) are the top-level names that become links to the same name under `usr`, as
    /// soon as an entry uses them. These links, and no others, lead entries elsewhere.
    pub fn create(
        path: &Path,
        merged: &'static [&'static str],
        limits: ArchiveLimits,
    ) -> Result<Self, ArchiveError> {
        let failed =
            |error: io::Error| ArchiveError::from(FileError::in_store("create", path)(error));
        match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let mut entries = std::fs::read_dir(path).map_err(failed)?;
                if entries.next().is_some() {
                    return Err(failed(io::ErrorKind::DirectoryNotEmpty.into()));
                }
            }
            Err(error) => return Err(failed(error.into())),
        }
        let top = rustix::fs::open(path, DIRECTORY, Mode::empty())
            .map_err(|error| failed(error.into()))?;
        Ok(Self {
            writer: TreeWriter {
                top_path: path.to_owned(),
                top,
                open: Vec::new(),
                merged,
                linked: Vec::new(),
                large: None,
            },
            budget: UnpackBudget::new(limits),
        })
    }

    /// Makes a symbolic link at `path` (relative to the top; a leading slash means the top). What was there is
    /// replaced, unless it is a directory.
    pub fn symlink(&mut self, label: &str, path: &str, target: &str) -> Result<(), ArchiveError> {
        let path = parse(label, path)?;
        let target = target.as_bytes().to_owned();
        self.writer
            .apply(label, UnpackStep::Symlink { path, target })
            .map(drop)
    }

    /// Makes a file at `path`, like [`ArchiveTree::symlink`].
    pub fn file(
        &mut self,
        label: &str,
        path: &str,
        contents: &[u8],
        executable: bool,
    ) -> Result<(), ArchiveError> {
        let step = UnpackStep::File {
            path: parse(label, path)?,
            executable,
            contents: contents.to_owned(),
        };
        self.writer.apply(label, step).map(drop)
    }

    /// Makes a directory at `path`, with those above it.
    pub fn directory(&mut self, label: &str, path: &str) -> Result<(), ArchiveError> {
        let path = parse(label, path)?;
        self.writer
            .apply(label, UnpackStep::Directory(path))
            .map(drop)
    }

    /// What has been unpacked so far.
    pub fn unpacked(&self) -> Unpacked {
        Unpacked {
            entries: self.budget.entries,
            bytes: self.budget.bytes,
        }
    }

    pub(super) fn parts(&mut self) -> (&mut TreeWriter, &mut UnpackBudget) {
        (&mut self.writer, &mut self.budget)
    }
}

/// A path that the tool's own files name.
fn parse(label: &str, path: &str) -> Result<EntryPath, ArchiveError> {
    EntryPath::parse(path.trim_start_matches('/').as_bytes()).map_err(|bad| ArchiveError::Unsafe {
        archive: label.to_owned(),
        entry: path.to_owned(),
        reason: bad.reason(),
    })
}

impl TreeWriter {
    /// Does one step, and returns the buffer of its contents where it had any. `label` names the archive in errors.
    pub(super) fn apply(
        &mut self,
        label: &str,
        step: UnpackStep,
    ) -> Result<Option<Vec<u8>>, ArchiveError> {
        match (&step, &mut self.large) {
            (UnpackStep::Chunk(contents), Some((path, file))) => {
                file.write_all(contents)
                    .map_err(|error| failed(label, &self.top_path, path, error))?;
            }
            (UnpackStep::Hole(size), Some((path, file))) => {
                hole(file, *size).map_err(|error| failed(label, &self.top_path, path, error))?;
            }
            _ => {}
        }
        if !matches!(step, UnpackStep::Chunk(_) | UnpackStep::Hole(_)) {
            self.finish_file();
        }
        match step {
            UnpackStep::Chunk(contents) => return Ok(Some(contents)),
            UnpackStep::Hole(_) => {}
            UnpackStep::Directory(path) => {
                let path = self.merge(label, &path)?;
                self.walk(label, &path, path.components(), true)?;
            }
            UnpackStep::File {
                path,
                executable,
                contents,
            } => {
                let (path, mut file) = self.new_file(label, &path, executable)?;
                file.write_all(&contents)
                    .map_err(|error| failed(label, &self.top_path, &path, error))?;
                return Ok(Some(contents));
            }
            UnpackStep::LargeFile { path, executable } => {
                self.large = Some(self.new_file(label, &path, executable)?);
            }
            UnpackStep::Symlink { path, target } => self.new_symlink(label, &path, &target)?,
            UnpackStep::HardLink { path, target } => self.new_hard_link(label, &path, &target)?,
        }
        Ok(None)
    }

    /// Closes the file whose contents have come.
    pub(super) fn finish_file(&mut self) {
        self.large = None;
    }

    fn new_file(
        &mut self,
        label: &str,
        path: &EntryPath,
        executable: bool,
    ) -> Result<(EntryPath, File), ArchiveError> {
        let path = self.merge_leaf(label, path)?;
        let mode = Mode::from_raw_mode(if executable { 0o755 } else { 0o644 });
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.create(label, &path, |parent, name| {
            rustix::fs::openat(parent, name, flags, mode)
        })?;
        Ok((path, File::from(file)))
    }

    fn new_symlink(
        &mut self,
        label: &str,
        path: &EntryPath,
        target: &[u8],
    ) -> Result<(), ArchiveError> {
        // A package may ship one of the links that are there already.
        if let [name] = path.components()
            && self.is_merged(name)
        {
            let own = [b"usr/".as_slice(), name].concat();
            if target.strip_prefix(b"/").unwrap_or(target) == own {
                return self.merge(label, path).map(drop);
            }
            let target = visible(target);
            return Err(refused(
                label,
                path,
                &format!("links to `{target}`, not into usr"),
            ));
        }
        let path = self.merge_leaf(label, path)?;
        self.create(label, &path, |parent, name| {
            rustix::fs::symlinkat(target, parent, name)
        })
    }

    fn new_hard_link(
        &mut self,
        label: &str,
        path: &EntryPath,
        target: &EntryPath,
    ) -> Result<(), ArchiveError> {
        let path = self.merge_leaf(label, path)?;
        let target = self.merge_leaf(label, target)?;
        if path == target {
            return Ok(());
        }
        let Some((target_parents, target_name)) = target.split_last() else {
            return Err(refused(label, &path, "is a hard link to the top directory"));
        };
        let directory = self
            .walk(label, &path, target_parents, false)?
            .try_clone_to_owned()
            .map_err(|error| failed(label, &self.top_path, &target, error))?;
        let missing = || {
            let target = display(&target);
            let reason = format!(
                "is a hard link to `{target}`, which is not a file before it in the archive"
            );
            refused(label, &path, &reason)
        };
        match rustix::fs::statat(&directory, target_name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(status) if FileType::from_raw_mode(status.st_mode) == FileType::RegularFile => {}
            Ok(_) | Err(Errno::NOENT) => return Err(missing()),
            Err(error) => return Err(failed(label, &self.top_path, &target, error.into())),
        }
        self.create(label, &path, |parent, name| {
            rustix::fs::linkat(&directory, target_name, parent, name, AtFlags::empty())
        })
    }

    /// Creates the last component of `path` in its directory; `make` must fail where the name is taken. A file or link
    /// of that name gives way, as the later of two entries counts; a directory does not.
    fn create<T>(
        &mut self,
        label: &str,
        path: &EntryPath,
        make: impl Fn(BorrowedFd<'_>, &[u8]) -> Result<T, Errno>,
    ) -> Result<T, ArchiveError> {
        let Some((parents, name)) = path.split_last() else {
            return Err(refused(label, path, "would replace the tree itself"));
        };
        let top_path = self.top_path.clone();
        let parent = self.walk(label, path, parents, true)?;
        match make(parent, name) {
            Ok(made) => return Ok(made),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(label, &top_path, path, error.into())),
        }
        // Without REMOVEDIR this fails on directories: EISDIR on Linux, EPERM where POSIX is followed.
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::ISDIR | Errno::PERM) => {
                return Err(refused(label, path, "would replace a directory"));
            }
            Err(error) => return Err(failed(label, &top_path, path, error.into())),
        }
        make(parent, name).map_err(|error| failed(label, &top_path, path, error.into()))
    }

    /// Opens the directory `components`, with `create` also creating what is missing. `entry` is for errors.
    fn walk(
        &mut self,
        label: &str,
        entry: &EntryPath,
        components: &[Vec<u8>],
        create: bool,
    ) -> Result<BorrowedFd<'_>, ArchiveError> {
        let shared = self
            .open
            .iter()
            .zip(components)
            .take_while(|((open, _), component)| open == *component)
            .count();
        self.open.truncate(shared);
        for component in &components[shared..] {
            let parent = self
                .open
                .last()
                .map_or(self.top.as_fd(), |(_, fd)| fd.as_fd());
            let mut opened =
                rustix::fs::openat(parent, component.as_slice(), DIRECTORY, Mode::empty());
            if create && matches!(opened, Err(Errno::NOENT)) {
                opened =
                    rustix::fs::mkdirat(parent, component.as_slice(), Mode::from_raw_mode(0o755))
                        .and_then(|()| {
                            rustix::fs::openat(
                                parent,
                                component.as_slice(),
                                DIRECTORY,
                                Mode::empty(),
                            )
                        });
            }
            let opened = opened.map_err(|error| match error {
                // The systems disagree on which of these NOFOLLOW gives for a link.
                Errno::LOOP | Errno::NOTDIR | Errno::MLINK => {
                    let through = visible(component);
                    let reason = format!(
                        "leads through `{through}`, which is a link or a file, not a directory"
                    );
                    refused(label, entry, &reason)
                }
                Errno::NOENT => refused(label, entry, "refers to a directory that is not there"),
                error => failed(label, &self.top_path, entry, error.into()),
            })?;
            self.open.push((component.clone(), opened));
        }
        Ok(self
            .open
            .last()
            .map_or(self.top.as_fd(), |(_, fd)| fd.as_fd()))
    }

    fn is_merged(&self, name: &[u8]) -> bool {
        self.merged.iter().any(|merged| merged.as_bytes() == name)
    }

    /// `path`, with a merged top-level directory replaced by its place under `usr`; makes its link where it is missing.
    fn merge(&mut self, label: &str, path: &EntryPath) -> Result<EntryPath, ArchiveError> {
        let Some(first) = path.components().first() else {
            return Ok(path.clone());
        };
        if !self.is_merged(first) {
            return Ok(path.clone());
        }
        let merged = path.with_first(&[b"usr", first]);
        if self.linked.contains(first) {
            return Ok(merged);
        }
        let target = [b"usr/".as_slice(), first].concat();
        match rustix::fs::symlinkat(target.as_slice(), &self.top, first.as_slice()) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(label, &self.top_path, path, error.into())),
        }
        let directory = [b"usr".to_vec(), first.clone()];
        self.walk(label, path, &directory, true)?;
        self.linked.push(first.clone());
        Ok(merged)
    }

    /// Like [`Self::merge`], for an entry that is not a directory.
    fn merge_leaf(&mut self, label: &str, path: &EntryPath) -> Result<EntryPath, ArchiveError> {
        match path.components() {
            [name] if self.is_merged(name) => {
                Err(refused(label, path, "would replace a link into usr"))
            }
            _ => self.merge(label, path),
        }
    }
}

/// Adds `size` zeros to the end of `file` without writing them.
fn hole(file: &mut File, size: u64) -> io::Result<()> {
    let end = file.stream_position()?.checked_add(size);
    let end = end.ok_or(io::ErrorKind::FileTooLarge)?;
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end)).map(drop)
}

fn display(path: &EntryPath) -> String {
    visible(path.components().join(&b'/'))
}

fn refused(label: &str, entry: &EntryPath, reason: &str) -> ArchiveError {
    ArchiveError::Unsafe {
        archive: label.to_owned(),
        entry: display(entry),
        reason: reason.to_owned(),
    }
}

/// Why an entry could not be written: the archive's fault where a file system cannot have such a name, target or number
/// of links at all, else this machine's.
fn failed(label: &str, top: &Path, entry: &EntryPath, error: io::Error) -> ArchiveError {
    if let Some(Errno::NAMETOOLONG | Errno::ILSEQ | Errno::INVAL | Errno::MLINK) =
        Errno::from_io_error(&error)
    {
        return refused(label, entry, &format!("cannot be written: {error}"));
    }
    let relative = std::ffi::OsString::from_vec(entry.components().join(&b'/'));
    FileError::in_store("write", top.join(relative))(error).into()
}
