// SPDX-License-Identifier: GPL-3.0-or-later
//! What tells a directory from one that is mounted in it.

use std::os::fd::BorrowedFd;

/// A number that is the same for two directories only where nothing is mounted between them; `None` where the system
/// does not say. Linux numbers its mounts (statx(2), since 5.8): bind mounts share a device with what is around them,
/// and subvolumes of btrfs, which builds may make, have devices of their own.
#[cfg(target_os = "linux")]
pub(super) fn mount_of(directory: BorrowedFd<'_>) -> Option<u64> {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    let found = statx(directory, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    let known = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::MNT_ID);
    known.then_some(found.stx_mnt_id)
}

/// See above. FreeBSD's nullfs(5) has a device for each mount, as other file systems have.
#[cfg(not(target_os = "linux"))]
#[allow(
    clippy::unnecessary_cast,
    reason = "the type differs between systems and their releases"
)]
pub(super) fn mount_of(directory: BorrowedFd<'_>) -> Option<u64> {
    let found = rustix::fs::fstat(directory).ok()?;
    Some(found.st_dev as u64)
}
