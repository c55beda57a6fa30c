// SPDX-License-Identifier: GPL-3.0-or-later
//! How much room a file system has.

use rustix::fs::StatVfs;

/// The bytes that an unprivileged user may still write on the file system of which `system` tells.
///
/// FreeBSD's UFS counts below zero once root has used some of its reserve, and statvfs(3) has no sign: then there are
/// more free blocks than there are blocks.
pub(crate) fn available(system: &StatVfs) -> u64 {
    match system.f_bavail <= system.f_blocks {
        true => system.f_bavail.saturating_mul(system.f_frsize),
        false => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_over_full_has_no_room() {
        let mut system = rustix::fs::statvfs("/").unwrap();
        (system.f_blocks, system.f_frsize) = (1000, 512);
        for (free, expected) in [(0, 0), (80, 80 * 512), (-1_i64 as u64, 0)] {
            system.f_bavail = free;
            assert_eq!(available(&system), expected);
        }
    }
}
