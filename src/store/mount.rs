// SPDX-License-Identifier: GPL-3.0-or-later
//! What is mounted where: what tells a directory from one that is mounted in it, and a store that is mounted read-only.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

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

/// Lets this thread, and all that it starts from now on, write to the directory `store` where that is a mount of its
/// own and read-only: so Guix System and Debian's package of Guix keep all but the daemon from changing what is in it.
/// They get a mount namespace of their own, in which it is writable. Only root can do so; for others nothing changes.
///
/// # Errors
/// Where the system refuses.
#[cfg(target_os = "linux")]
pub(super) fn make_writable(store: &Path) -> io::Result<()> {
    use rustix::fs::{StatVfsMountFlags as Status, statvfs};
    use rustix::io::Errno;
    use rustix::mount::{MountFlags, mount_remount};
    use rustix::thread::{UnshareFlags, unshare_unsafe};

    let status = statvfs(store)?.f_flag;
    if !status.contains(Status::RDONLY) || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    // SAFETY: descriptors stay shared, which is all that the call could break.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    let mut flags = MountFlags::BIND;
    for (kept, flag) in [
        (Status::NOSUID, MountFlags::NOSUID),
        (Status::NODEV, MountFlags::NODEV),
        (Status::NOEXEC, MountFlags::NOEXEC),
        (Status::NOATIME, MountFlags::NOATIME),
        (Status::NODIRATIME, MountFlags::NODIRATIME),
        (Status::RELATIME, MountFlags::RELATIME),
    ] {
        flags.set(flag, status.contains(kept));
    }
    match mount_remount(store, flags, "") {
        // It is not a mount: the file system around it is read-only.
        Err(Errno::INVAL) => Ok(()),
        remounted => Ok(remounted?),
    }
}

/// See above. Other systems have no mount namespaces.
#[cfg(not(target_os = "linux"))]
pub(super) fn make_writable(_store: &Path) -> io::Result<()> {
    Ok(())
}
