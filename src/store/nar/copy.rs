// SPDX-License-Identifier: GPL-3.0-or-later
//! Copying a tree, as its archive says it, to new inodes.

use std::io::Write;
use std::path::Path;

use super::{restore, stream};
use crate::diagnostics::FileError;
use crate::formats::nar::NarError;
use crate::store::error::StoreError;

/// Copies the tree at `from` to `to`, where nothing is. Links are copied, not followed, and no file of the copy is one
/// of the tree: other processes may hold descriptors of those.
///
/// # Errors
/// Where `from` is not what an archive can hold, or one of them cannot be read or written.
pub fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    copy_while(from, to, &|| true)
}

/// As [`copy`], as long as `goes_on` says so.
///
/// # Errors
/// Those, and [`NarError::Stopped`] where it said no.
pub fn copy_while(
    from: &Path,
    to: &Path,
    goes_on: &(dyn Fn() -> bool + Sync),
) -> Result<(), StoreError> {
    let (mut reader, mut writer) =
        std::io::pipe().map_err(FileError::in_store("create a pipe for", from))?;
    let (dumped, restored) = std::thread::scope(|scope| {
        let dump = move || {
            stream::stream(from, &|_| {}, |chunk| match goes_on() {
                true => writer.write_all(chunk).map_err(NarError::Sink),
                false => Err(NarError::Stopped),
            })
        };
        let dump = std::thread::Builder::new()
            .spawn_scoped(scope, dump)
            .map_err(FileError::in_store("start a thread to copy", from))?;
        let restored = restore(&mut reader, to);
        // A reader that has failed must not keep the writer waiting.
        drop(reader);
        Ok::<_, FileError>((dump.join(), restored))
    })?;
    match dumped {
        // It only noticed that the other side has failed.
        Ok(Ok(()) | Err(NarError::Sink(_))) => {}
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => {
            let error = std::io::Error::other("the thread that reads it died");
            return Err(FileError::in_store("copy", from)(error).into());
        }
    }
    Ok(restored?)
}
