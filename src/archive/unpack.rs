// SPDX-License-Identifier: GPL-3.0-or-later
//! Unpacks one tar on two threads: the calling one reads and decodes, a second one creates files.

use std::io::BufRead;
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

use super::compression::Decoder;
use super::error::ArchiveError;
use super::steps::{Outlet, Return, Stopped, WAITING};
use super::tar;
use super::tree::ArchiveTree;

/// Unpacks the tar in `input`, compressed or not, into `tree`. `label` names the archive in errors.
pub(super) fn unpack_tar(
    label: &str,
    input: impl BufRead,
    tree: &mut ArchiveTree,
) -> Result<(), ArchiveError> {
    let decoder = Decoder::new(input).map_err(|error| ArchiveError::Read {
        archive: label.to_owned(),
        error,
    })?;
    let (writer, budget) = tree.parts();
    let (sender, receiver) = sync_channel(WAITING);
    let (give, used) = channel();
    let outlet = Outlet::new(sender, used);
    let (written, decoded) = thread::scope(|scope| {
        let writer = thread::Builder::new().spawn_scoped(scope, move || {
            let give = Return::new(give);
            for step in receiver {
                if let Some(buffer) = writer.apply(label, step)? {
                    give.give(buffer);
                }
            }
            writer.finish_file();
            Ok::<(), ArchiveError>(())
        });
        let writer = writer.map_err(|error| ArchiveError::Read {
            archive: label.to_owned(),
            error,
        })?;
        let decoded = tar::decode(label, decoder, budget, &outlet);
        drop(outlet);
        Ok::<_, ArchiveError>((writer.join(), decoded))
    })?;
    // Where both have an error, the writer's came first: the decoder only noticed that it was gone.
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
