//! The two halves of unpacking and the channel between them.
//!
//! The calling thread reads and decodes; a second one creates files. The channel holds at most [`WAITING`] steps of at most
//! [`CHUNK`] bytes, so memory stays small whatever the archive holds.

use std::io::BufRead;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use super::compression::Decoder;
use super::entry_path::EntryPath;
use super::error::ArchiveError;
use super::tar;
use super::tree::Tree;

/// The most bytes of contents in one step. A file up to this size is one step.
pub(super) const CHUNK: usize = 128 * 1024;

/// Contents below this size get a buffer of their own size.
const SMALL: usize = 16 * 1024;

/// Steps between the decoder and the writer: 8 MiB of contents at most.
const WAITING: usize = 64;

/// One thing to do in the tree.
#[derive(Debug)]
pub(super) enum Step {
    /// A directory is there.
    Directory(EntryPath),
    /// A file with these contents.
    File {
        path: EntryPath,
        executable: bool,
        contents: Vec<u8>,
    },
    /// A file whose contents follow as [`Step::Chunk`]s, up to the next step that is not one.
    LargeFile { path: EntryPath, executable: bool },
    /// The next bytes of the file that was begun.
    Chunk(Vec<u8>),
    /// A symbolic link; the target is any text.
    Symlink { path: EntryPath, target: Vec<u8> },
    /// A second name for a file of the tree.
    HardLink { path: EntryPath, target: EntryPath },
}

/// Why decoding stopped.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The archive is at fault.
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
    steps: SyncSender<Step>,
    /// Buffers that the writer is done with. Allocating such large ones anew each time costs more than filling them.
    used: Receiver<Vec<u8>>,
}

impl Outlet {
    /// Hands `step` to the writer.
    pub(super) fn send(&self, step: Step) -> Result<(), Stopped> {
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
    /// Takes a buffer of contents that are written.
    pub(super) fn give(&self, buffer: Vec<u8>) {
        if buffer.capacity() >= CHUNK {
            // The decoder may have ended, and needs none.
            let _ = self.0.send(buffer);
        }
    }
}

/// Unpacks the tar in `input`, compressed or not, into `tree`. `label` names the archive in errors.
pub(super) fn unpack_tar(
    label: &str,
    input: impl BufRead,
    tree: &mut Tree,
) -> Result<(), ArchiveError> {
    let decoder = Decoder::new(input).map_err(|error| ArchiveError::Read {
        archive: label.to_owned(),
        error,
    })?;
    let (writer, budget) = tree.parts();
    let (sender, receiver) = sync_channel(WAITING);
    let (give, used) = channel();
    let outlet = Outlet {
        steps: sender,
        used,
    };
    let (written, decoded) = thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let give = Return(give);
            for step in receiver {
                if let Some(buffer) = writer.apply(label, step)? {
                    give.give(buffer);
                }
            }
            writer.finish_file();
            Ok(())
        });
        let decoded = tar::decode(label, decoder, budget, &outlet);
        drop(outlet);
        (writer.join(), decoded)
    });
    // The writer's error came first where both have one: the decoder only saw it go away.
    match written {
        Ok(result) => result?,
        Err(panic) => std::panic::resume_unwind(panic),
    }
    match decoded {
        Ok(()) => Ok(()),
        Err(Stopped::Archive(error)) => Err(error),
        Err(Stopped::Writer) => Err(ArchiveError::Malformed {
            archive: label.to_owned(),
            reason: "unpacking stopped early".to_owned(),
        }),
    }
}
