// SPDX-License-Identifier: GPL-3.0-or-later
//! The channel between the thread that decodes an archive and the thread that creates files.
//!
//! It holds at most [`WAITING`] steps of at most [`CHUNK`] bytes, so memory stays small whatever the archive holds.

use std::sync::mpsc::{Receiver, Sender, SyncSender};

use super::entry_path::EntryPath;
use super::error::ArchiveError;

/// The most bytes of contents in one step. A file up to this size is one step.
pub(super) const CHUNK: usize = 128 * 1024;

/// Contents below this size get a buffer of their own size.
const SMALL: usize = 16 * 1024;

/// Steps between the decoder and the writer: 8 MiB of contents at most.
pub(super) const WAITING: usize = 64;

/// One thing to do in the tree.
#[derive(Debug)]
pub(super) enum UnpackStep {
    /// A directory is there.
    Directory(EntryPath),
    /// A file with these contents.
    File {
        path: EntryPath,
        executable: bool,
        contents: Vec<u8>,
    },
    /// A file whose contents follow as [`UnpackStep::Chunk`]s and [`UnpackStep::Hole`]s, up to the next step that is
    /// neither.
    LargeFile { path: EntryPath, executable: bool },
    /// The next bytes of the file that was begun.
    Chunk(Vec<u8>),
    /// So many zeros of the file that was begun, which need no space on the disk.
    Hole(u64),
    /// A symbolic link; the target is any text.
    Symlink { path: EntryPath, target: Vec<u8> },
    /// A second name for a file of the tree.
    HardLink { path: EntryPath, target: EntryPath },
}

/// Why decoding stopped.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The archive is invalid.
    Archive(ArchiveError),
    /// The writer is gone; it knows why.
    Writer,
}

impl From<ArchiveError> for Stopped {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

/// The decoder's end of the channel.
pub(super) struct Outlet {
    steps: SyncSender<UnpackStep>,
    /// Buffers that the writer is done with. Allocating such large ones each time costs more than filling them.
    used: Receiver<Vec<u8>>,
}

impl Outlet {
    /// The sending ends of both channels: of steps, and of buffers that come back.
    pub(super) fn new(steps: SyncSender<UnpackStep>, used: Receiver<Vec<u8>>) -> Self {
        Self { steps, used }
    }

    /// Hands `step` to the writer.
    pub(super) fn send(&self, step: UnpackStep) -> Result<(), Stopped> {
        self.steps.send(step).map_err(|_| Stopped::Writer)
    }

    /// A buffer of `size` bytes, at most [`CHUNK`], with anything in it.
    pub(super) fn buffer(&self, size: usize) -> Vec<u8> {
        if size < SMALL {
            return vec![0; size];
        }
        let mut buffer = self
            .used
            .try_recv()
            .unwrap_or_else(|_| Vec::with_capacity(CHUNK));
        buffer.resize(size, 0);
        buffer
    }
}

/// Where the writer gives buffers back.
#[derive(Debug)]
pub(super) struct Return(Sender<Vec<u8>>);

impl Return {
    /// Gives buffers to `sender`.
    pub(super) fn new(sender: Sender<Vec<u8>>) -> Self {
        Self(sender)
    }

    /// Takes a buffer of contents that are written.
    pub(super) fn give(&self, buffer: Vec<u8>) {
        if buffer.capacity() >= CHUNK {
            // The decoder may have ended.
            let _ = self.0.send(buffer);
        }
    }
}
