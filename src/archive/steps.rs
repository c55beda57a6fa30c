//! The two halves of unpacking and the channel between them.
//!
//! The calling thread reads and decodes; a second one creates files. The channel holds at most [`WAITING`] steps of at most
//! [`CHUNK`] bytes, so memory stays small whatever the archive holds.

use std::io::BufRead;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use super::compression::Decoder;
use super::entry_path::EntryPath;
use super::error::ArchiveError;
use super::tar;
use super::tree::Tree;

/// The most bytes of contents in one step. A file up to this size is one step.
pub(super) const CHUNK: usize = 128 * 1024;

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

/// Hands `step` to the writer.
pub(super) fn send(sender: &SyncSender<Step>, step: Step) -> Result<(), Stopped> {
    sender.send(step).map_err(|_| Stopped::Writer)
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
    let (written, decoded) = thread::scope(|scope| {
        let writer = scope.spawn(move || {
            for step in receiver {
                writer.apply(label, step)?;
            }
            writer.finish_file();
            Ok(())
        });
        let decoded = tar::decode(label, decoder, budget, &sender);
        drop(sender);
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
