// SPDX-License-Identifier: GPL-3.0-or-later
//! File flags that forbid removal, such as FreeBSD's `uchg`, which a build may set on what it makes.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

/// Clears the flags of the entry `name` of the directory `parent`, not following a link. Says whether that worked, so
/// that it is worth trying again what failed.
#[cfg(target_os = "freebsd")]
pub(crate) fn clear_entry(parent: BorrowedFd<'_>, name: &CStr) -> bool {
    use std::ffi::{c_char, c_int, c_ulong};
    use std::os::fd::AsRawFd;
    unsafe extern "C" {
        /// chflagsat(2)
        fn chflagsat(fd: c_int, path: *const c_char, flags: c_ulong, at_flag: c_int) -> c_int;
    }
    const AT_SYMLINK_NOFOLLOW: c_int = 0x200;
    // SAFETY: the descriptor and the NUL-terminated name outlive the call, which keeps neither.
    unsafe { chflagsat(parent.as_raw_fd(), name.as_ptr(), 0, AT_SYMLINK_NOFOLLOW) == 0 }
}

/// Clears the flags of an open directory, which may forbid changes of its entries.
#[cfg(target_os = "freebsd")]
pub(crate) fn clear_directory(directory: BorrowedFd<'_>) -> bool {
    use std::ffi::{c_int, c_ulong};
    use std::os::fd::AsRawFd;
    unsafe extern "C" {
        /// fchflags(2)
        fn fchflags(fd: c_int, flags: c_ulong) -> c_int;
    }
    // SAFETY: the descriptor outlives the call.
    unsafe { fchflags(directory.as_raw_fd(), 0) == 0 }
}

/// Other systems have no such flags, or give them to root only.
#[cfg(not(target_os = "freebsd"))]
pub(crate) fn clear_entry(_parent: BorrowedFd<'_>, _name: &CStr) -> bool {
    false
}

/// See [`clear_entry`].
#[cfg(not(target_os = "freebsd"))]
pub(crate) fn clear_directory(_directory: BorrowedFd<'_>) -> bool {
    false
}
