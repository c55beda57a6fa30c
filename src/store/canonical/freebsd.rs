// SPDX-License-Identifier: GPL-3.0-or-later
//! Metadata that FreeBSD has beyond POSIX: file flags, such as `uchg`, which forbid any other change.

use std::ffi::{CString, c_char, c_int, c_ulong};
use std::fs::Metadata;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::freebsd::fs::MetadataExt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{CanonicalError, failed};

unsafe extern "C" {
    /// lchflags(2): sets the flags of a file, of a symbolic link itself where it is one.
    fn lchflags(path: *const c_char, flags: c_ulong) -> c_int;
}

/// Clears the file flags of `path`. ACLs go with the change of mode, extended attributes need privileges to be set.
pub(super) fn strip(path: &Path, metadata: &Metadata) -> Result<(), CanonicalError> {
    // UF_ARCHIVE is set by the file system itself and means nothing.
    const UF_ARCHIVE: u32 = 0x0000_0800;
    if metadata.st_flags() & !UF_ARCHIVE == 0 {
        return Ok(());
    }
    let name = CString::new(path.as_os_str().as_bytes()).map_err(failed("name", path))?;
    // SAFETY: `name` is a NUL-terminated string that lives until the call returns, and the call keeps no pointer to it.
    match unsafe { lchflags(name.as_ptr(), 0) } {
        0 => Ok(()),
        _ => Err(failed("clear the flags of", path)(
            io::Error::last_os_error(),
        )),
    }
}

/// Whether what is made in a new directory certainly inherits nothing. ZFS has NFSv4 ACLs, which go only when a mode is
/// changed (acl(9)); so the modes are changed.
pub(super) fn inherits_nothing(_: BorrowedFd<'_>) -> bool {
    false
}
