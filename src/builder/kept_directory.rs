// SPDX-License-Identifier: GPL-3.0-or-later
//! Build directories that were kept, for another process of this program to work in, or for the user who wanted them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;

use crate::diagnostics::FileError;
use crate::sandbox::{BuildUser, Sandbox};

/// Makes what builds have left in `directory` belong to the builds of this process, which on some systems have another
/// user number than those of the process that made it. Files of other owners stay as they are, and so does a directory
/// that is not from a build.
///
/// No link is followed. The build has ended, and no other user may enter the directory above.
///
/// # Errors
/// Where a directory cannot be listed, or a file not be given away.
pub fn take_over(
    directory: &Path,
    sandbox: &dyn Sandbox,
    user: &BuildUser,
) -> Result<(), FileError> {
    let examine =
        |path: &Path| fs::symlink_metadata(path).map_err(FileError::named_by_user("examine", path));
    let old = examine(directory)?.uid();
    let (user, group) = sandbox.outside(user);
    if old == user || !sandbox.is_of_builds(old) {
        return Ok(());
    }
    give(directory, old, (user, group))
}

/// Gives `directory`, which was kept of a build by the user number `old`, and the one above it, which keeps others out,
/// to `owner`: user and group number. Files of other owners stay as they are.
///
/// No link is followed, and no program stays set-user-ID.
///
/// # Errors
/// As for [`take_over`]. What was given away by then stays so, and only root reaches it.
pub(super) fn hand_over(directory: &Path, old: u32, owner: (u32, u32)) -> Result<(), FileError> {
    give(directory, old, owner)?;
    let above = directory.parent().unwrap_or(directory);
    lchown(above, Some(owner.0), Some(owner.1))
        .map_err(FileError::named_by_user("give away", above))
}

/// Gives what the user number `old` has in `directory` to `owner`.
fn give(directory: &Path, old: u32, owner: (u32, u32)) -> Result<(), FileError> {
    let examine =
        |path: &Path| fs::symlink_metadata(path).map_err(FileError::named_by_user("examine", path));
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = examine(&path)?;
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).map_err(FileError::named_by_user("list", &path))?;
            for entry in entries {
                let entry = entry.map_err(FileError::named_by_user("list", &path))?;
                open.push(entry.path());
            }
        }
        if metadata.uid() != old {
            continue;
        }
        // Whose it would be set to is another user now.
        let mode = metadata.mode() & 0o7777;
        if metadata.is_file() && mode & 0o6000 != 0 {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode & !0o6000))
                .map_err(FileError::named_by_user("change the mode of", &path))?;
        }
        lchown(&path, Some(owner.0), Some(owner.1))
            .map_err(FileError::named_by_user("give away", &path))?;
    }
    Ok(())
}
