// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether programs can run on a file system.

use std::io;
use std::path::Path;

/// Whether the file system of `path` is mounted `noexec`, so that a build's own programs (those of `configure`, first)
/// cannot run there.
///
/// # Errors
/// Where the system cannot be asked about `path`.
pub fn forbids_programs(path: &Path) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    return Ok(rustix::fs::statvfs(path)?
        .f_flag
        .contains(rustix::fs::StatVfsMountFlags::NOEXEC));
    // FreeBSD reports it by statfs(2) alone.
    #[cfg(target_os = "freebsd")]
    return Ok(rustix::fs::statfs(path)?.f_flags & libc::MNT_NOEXEC as u64 != 0);
    #[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
    {
        let _ = path;
        Ok(false)
    }
}
