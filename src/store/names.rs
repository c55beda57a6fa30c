// SPDX-License-Identifier: GPL-3.0-or-later
//! Names in the store directory that are not store items: locks, staging directories, the trash, shared files.

use crate::formats::store_path::StorePath;

/// What the name of a lock file has after the store path's.
pub(super) const LOCK_SUFFIX: &str = ".lock";

/// What the name of a staging directory has after that of the path that is built or added in it.
pub const STAGING_SUFFIX: &str = ".chroot";

/// The directory inside the store that items are moved to before they are removed. guix-daemon uses the same name for
/// the same purpose, and so does not take it for a store item.
pub(super) const TRASH: &str = "trash";

/// The directory of deduplicated files, one hard link each.
pub(super) const LINKS: &str = ".links";

/// Whether `name` is the store directory's own: the trash, the directory of shared files.
pub(super) fn is_own(name: &str) -> bool {
    name == TRASH || name == LINKS
}

/// Whether `name` is that of a lock or of a staging directory of some store path.
pub(super) fn is_work_in_progress(name: &str) -> bool {
    owner_of(name).is_some()
}

/// The store path whose lock or staging directory is called `name`.
pub fn owner_of(name: &str) -> Option<StorePath> {
    [LOCK_SUFFIX, STAGING_SUFFIX]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .and_then(|base| StorePath::from_base_name(base).ok())
}
