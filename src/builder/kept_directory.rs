// SPDX-License-Identifier: GPL-3.0-or-later
//! Build directories that were kept, for another process of this program to work in.

use std::fs;
use std::os::unix::fs::{MetadataExt, lchown};
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
        if metadata.uid() == old {
            lchown(&path, Some(user), Some(group))
                .map_err(FileError::named_by_user("give to the build user", &path))?;
        }
    }
    Ok(())
}
