//! Metadata that Linux has beyond POSIX: extended attributes, of which ACLs and file capabilities are some.

use std::ffi::CStr;
use std::fs::Metadata;
use std::path::Path;

use rustix::fs::{llistxattr, lremovexattr};
use rustix::io::Errno;

use super::{CanonicalError, failed};

/// Attributes that belong to the machine and not to the file: a security module labels every file, and would label it again.
const KEPT: [&[u8]; 1] = [b"security.selinux"];

/// Removes the extended attributes of `path`.
pub(super) fn strip(path: &Path, _: &Metadata) -> Result<(), CanonicalError> {
    // Enough for the names of a few attributes; nearly every file has none.
    let mut names = vec![0; 1024];
    let length = loop {
        match llistxattr(path, names.as_mut_slice()) {
            Ok(length) => break length,
            Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(()),
            // 64 KiB is the kernel's own limit.
            Err(Errno::RANGE) if names.len() < 64 * 1024 => names.resize(64 * 1024, 0),
            Err(error) => return Err(failed("list the extended attributes of", path)(error)),
        }
    };
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        if KEPT.contains(&name.to_bytes()) {
            continue;
        }
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
