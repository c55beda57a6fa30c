// SPDX-License-Identifier: GPL-3.0-or-later
//! The directory where a user's profiles are, which only root can make.

use std::os::unix::fs::DirBuilderExt;
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
            // Where this is not root, the only user whose files it can make is its own.
            match rustix::process::geteuid().is_root() {
                true => std::os::unix::fs::lchown(&directory, Some(user.number), Some(user.group)),
                false => Ok(()),
            }
        });
    if let Err(error) = made {
        log(format!("cannot make {}: {error}", directory.display()));
    }
}
