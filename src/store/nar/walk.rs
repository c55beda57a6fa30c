// SPDX-License-Identifier: GPL-3.0-or-later
//! Walking a tree in the order of its archive, without reading the files' content.
//!
//! The walk yields [`ReadJob`]s: a piece of archive with holes, and for each hole the file whose node fills it. What is
//! between the files (names, directories, links) is already there. Jobs are small, so that several threads share the
//! reading of even a small tree, and they are what bounds memory: a job knows at most [`FILES`] paths.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, FileType};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::formats::nar::{MAX_DEPTH, NarError, encode};

/// The most files in a job.
const FILES: usize = 48;

/// The size of framing at which a job ends, in bytes.
const FRAMING: usize = 64 * 1024;

/// A piece of an archive: `framing`, with the nodes of `files` inserted.
#[derive(Default)]
pub(super) struct ReadJob {
    pub(super) framing: Vec<u8>,
    /// Positions in `framing`, ascending, and the regular files that belong there.
    pub(super) files: Vec<(usize, PathBuf)>,
}

/// The walk, as an iterator over jobs.
pub(super) struct TreeWalk {
    /// The root, until it is visited.
    root: Option<PathBuf>,
    /// The open directories: the path of each, and its entries that are still to come.
    open: Vec<(PathBuf, VecDeque<(OsString, FileType)>)>,
    job: ReadJob,
}

impl TreeWalk {
    pub(super) fn new(root: &Path) -> Self {
        let mut job = ReadJob::default();
        encode::string(&mut job.framing, encode::MAGIC);
        Self {
            root: Some(root.to_owned()),
            open: Vec::new(),
            job,
        }
    }

    /// The next job, or `None` after the last.
    pub(super) fn next_job(&mut self) -> Result<Option<ReadJob>, NarError> {
        if let Some(root) = self.root.take() {
            let metadata = fs::symlink_metadata(&root);
            let kind = metadata.map_err(failed("examine", &root))?.file_type();
            self.node(root, kind)?;
        }
        while self.job.files.len() < FILES && self.job.framing.len() < FRAMING {
            let Some((directory, entries)) = self.open.last_mut() else {
                break;
            };
            match entries.pop_front() {
                Some((name, kind)) => {
                    let path = directory.join(&name);
                    encode::entry_start(&mut self.job.framing, name.as_bytes());
                    self.node(path, kind)?;
                }
                None => {
                    self.open.pop();
                    encode::directory_end(&mut self.job.framing);
                    if !self.open.is_empty() {
                        encode::entry_end(&mut self.job.framing);
                    }
                }
            }
        }
        match self.job.framing.is_empty() {
            true => Ok(None),
            false => Ok(Some(std::mem::take(&mut self.job))),
        }
    }

    /// Whether all of the tree is in the jobs returned so far.
    pub(super) fn is_done(&self) -> bool {
        self.root.is_none() && self.open.is_empty() && self.job.framing.is_empty()
    }

    /// Adds a node, of a directory only the start.
    fn node(&mut self, path: PathBuf, kind: FileType) -> Result<(), NarError> {
        let framing = &mut self.job.framing;
        if kind.is_dir() {
            if self.open.len() == MAX_DEPTH {
                return Err(NarError::Depth(path));
            }
            encode::directory_start(framing);
            let entries = entries(&path)?;
            self.open.push((path, entries));
            return Ok(());
        }
        if kind.is_symlink() {
            let target = fs::read_link(&path).map_err(failed("read the link", &path))?;
            encode::symlink(framing, target.as_os_str().as_bytes());
        } else if kind.is_file() {
            self.job.files.push((framing.len(), path));
        } else {
            let kind = special_kind(kind);
            return Err(NarError::FileType { path, kind });
        }
        if !self.open.is_empty() {
            encode::entry_end(&mut self.job.framing);
        }
        Ok(())
    }
}

/// The entries of the directory at `path`, sorted by the bytes of their names.
fn entries(path: &Path) -> Result<VecDeque<(OsString, FileType)>, NarError> {
    let listing = || -> io::Result<Vec<_>> {
        // `file_type` mostly costs nothing: the directory itself tells.
        fs::read_dir(path)?
            .map(|entry| entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?))))
            .collect()
    };
    let mut entries = listing().map_err(failed("list", path))?;
    entries.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    Ok(entries.into())
}

/// What a file that archives cannot hold is.
pub(in crate::store) fn special_kind(kind: FileType) -> &'static str {
    if kind.is_socket() {
        "socket"
    } else if kind.is_fifo() {
        "FIFO"
    } else if kind.is_char_device() {
        "character device"
    } else if kind.is_block_device() {
        "block device"
    } else {
        "special file"
    }
}

pub(super) fn failed<Error: Into<io::Error>>(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(Error) -> NarError {
    let path = path.to_owned();
    move |error| NarError::File {
        action,
        path,
        error: error.into(),
    }
}
