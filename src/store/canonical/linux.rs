// SPDX-License-Identifier: GPL-3.0-or-later
//! Metadata that Linux has beyond POSIX: extended attributes, of which ACLs and file capabilities are some.

use std::ffi::CStr;
use std::fs::Metadata;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{flistxattr, llistxattr, lremovexattr};
use rustix::io::Errno;

use super::{CanonicalError, failed};

/// Attributes that belong to the machine and not to the file: a security module labels every file, and would label it
/// again.
const KEPT: [&[u8]; 1] = [b"security.selinux"];

/// Removes the extended attributes of `path`.
pub(super) fn strip(path: &Path, _: &Metadata) -> Result<(), CanonicalError> {
    let names = attributes(|names| llistxattr(path, names))
        .map_err(failed("list the extended attributes of", path))?;
    for name in removable(&names) {
        match lremovexattr(path, name) {
            // It may have gone with another one.
            Ok(()) | Err(Errno::NODATA) => {}
            Err(error) => {
                return Err(failed("remove an extended attribute of", path)(error));
            }
        }
    }
    Ok(())
}

/// Attributes are not looked for again: the machine may add some at any time.
pub(super) fn deviation(_: &Path, _: &Metadata) -> Result<Option<String>, CanonicalError> {
    Ok(None)
}

/// Whether what is made in the new directory `directory` gets no attributes: default ACLs are inherited, and a
/// directory that inherits them has them itself.
pub(super) fn inherits_nothing(directory: BorrowedFd<'_>) -> bool {
    let names = attributes(|names| flistxattr(directory, names));
    names.is_ok_and(|names| removable(&names).next().is_none())
}

/// The names that `list` gives, each with a zero byte behind it; none where the file system has no attributes.
fn attributes(list: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    // Enough for the names of a few attributes; nearly every file has none.
    let mut names = vec![0; 1024];
    loop {
        match list(&mut names) {
            Ok(length) => {
                names.truncate(length);
                return Ok(names);
            }
            Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Vec::new()),
            // 64 KiB is the kernel's own limit.
            Err(Errno::RANGE) if names.len() < 64 * 1024 => names.resize(64 * 1024, 0),
            Err(error) => return Err(error),
        }
    }
}

/// Those of `names` that a store item must not have.
fn removable(names: &[u8]) -> impl Iterator<Item = &CStr> {
    let names = names.split_inclusive(|byte| *byte == 0);
    names
        .filter_map(|name| CStr::from_bytes_with_nul(name).ok())
        .filter(|name| !KEPT.contains(&name.to_bytes()))
}
