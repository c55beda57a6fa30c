// SPDX-License-Identifier: GPL-3.0-or-later
//! The directory where a user's profiles are, which only root can make, or who may give files away.

use std::os::unix::fs::{DirBuilderExt, lchown};
use std::path::Path;

use crate::daemon::{log, users};

/// Makes the directory of the user whose name or number is `key` below `state`, as guix-daemon does when one connects.
/// Without it a user has no profile; everything else works, so a failure is logged.
pub(super) fn create(state: &Path, key: &str) {
    let Some(user) = users::user(key) else {
        log(format!(
            "user `{key}` not found: no profile directory is made"
        ));
        return;
    };
    if user.name.starts_with('.') || user.name.contains('/') {
        log(format!("user `{}` gets no profile directory", user.name));
        return;
    }
    let parent = state.join("profiles/per-user");
    let directory = parent.join(&user.name);
    if directory.symlink_metadata().is_ok() {
        return;
    }
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&parent)
        .and_then(|()| std::fs::DirBuilder::new().mode(0o755).create(&directory))
        .and_then(|()| {
            let given = match rustix::process::geteuid().as_raw() == user.number {
                true => Ok(()),
                // Root can, and who has CAP_CHOWN.
                false => lchown(&directory, Some(user.number), Some(user.group)),
            };
            // One of the daemon's own would be in the way of the user who makes it by hand.
            given.inspect_err(|_| drop(std::fs::remove_dir(&directory)))
        });
    if let Err(error) = made {
        log(format!("cannot make {}: {error}", directory.display()));
    }
}
