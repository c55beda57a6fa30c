// SPDX-License-Identifier: GPL-3.0-or-later
//! Trees that are canonical from the start, because this process writes them: nothing has to be undone,
//! and walking through them again takes as long as writing them did.

use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{self, AtFlags, Mode, RawMode};
use rustix::io::Errno;

use super::{TIMES, canonicalise, mode, platform};
use crate::store::error::StoreError;
use crate::store::nar::{Finish, restore_with};

/// Writes the tree of the archive in `source` to `target`, which must not exist, with canonical metadata.
///
/// # Errors
/// Where the archive is none, or the tree cannot be written. What was written before an error stays, for the caller to
/// remove.
pub fn restore(source: &mut dyn Read, target: &Path) -> Result<(), StoreError> {
    let at_creation = AtCreation::default();
    restore_with(source, target, &at_creation)?;
    if !at_creation.is_possible() {
        canonicalise(target)?;
    }
    Ok(())
}

/// Gives each node its metadata as it is made, where that is all there is to do: the new root belongs to this process,
/// the umask takes nothing away, and no ACL or group is inherited. What holds of the root holds of what is made in it.
#[derive(Default)]
struct AtCreation {
    possible: AtomicBool,
}

impl AtCreation {
    fn is_possible(&self) -> bool {
        self.possible.load(Ordering::Relaxed)
    }

    fn when_possible(&self, act: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
        if self.is_possible() { act() } else { Ok(()) }
    }
}

impl Finish for AtCreation {
    fn root(&self, directory: BorrowedFd<'_>) -> Result<(), Errno> {
        let found = fs::fstat(directory)?;
        let is_root = rustix::process::geteuid().is_root();
        let possible = Mode::from_raw_mode(found.st_mode) == Mode::from_raw_mode(0o755)
            && (!is_root || (found.st_uid, found.st_gid) == (0, 0))
            && platform::inherits_nothing(directory);
        self.possible.store(possible, Ordering::Relaxed);
        Ok(())
    }

    fn file_mode(&self, executable: bool) -> RawMode {
        match (self.is_possible(), executable) {
            (true, _) => mode(executable) as _,
            (false, true) => 0o755,
            (false, false) => 0o644,
        }
    }

    fn file(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        self.when_possible(|| fs::futimens(file, &TIMES))
    }

    fn directory(&self, directory: BorrowedFd<'_>) -> Result<(), Errno> {
        self.when_possible(|| {
            fs::fchmod(directory, Mode::from_raw_mode(mode(true) as _))?;
            fs::futimens(directory, &TIMES)
        })
    }

    fn symlink(&self, parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
        self.when_possible(|| fs::utimensat(parent, name, &TIMES, AtFlags::SYMLINK_NOFOLLOW))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::deviations;
    use super::*;
    use crate::formats::nar::Tree;
    use crate::store::remove::remove_tree;

    fn sample() -> Tree {
        let inner = Tree::directory([
            ("program", Tree::executable("#!")),
            ("empty", Tree::file("")),
        ]);
        Tree::directory([
            ("directory", Tree::directory([("deeper", inner)])),
            ("file", Tree::file("text")),
            ("link", Tree::symlink("file")),
        ])
    }

    fn check(scratch: &Path, tree: &Tree) {
        let target = scratch.join("item");
        restore(&mut tree.to_nar().unwrap().as_slice(), &target).unwrap();
        assert_eq!(deviations(&target).unwrap(), []);
        let mut archive = Vec::new();
        crate::store::nar::dump(&target, &mut archive).unwrap();
        assert_eq!(archive, tree.to_nar().unwrap());
        remove_tree(&target).unwrap();
    }

    #[test]
    fn what_is_restored_is_canonical_whatever_is_inherited() {
        let scratch = tempfile::tempdir().unwrap();
        let trees = [
            sample(),
            Tree::file("flat"),
            Tree::executable("flat"),
            Tree::symlink("nowhere"),
        ];
        // With the bit for the group, what is made inside gets the directory's group and the bit itself.
        for mode in [0o755, 0o2755] {
            if rustix::process::geteuid().is_root() {
                let group = if mode == 0o2755 { 1 } else { 0 };
                std::os::unix::fs::chown(scratch.path(), Some(0), Some(group)).unwrap();
            }
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(scratch.path(), permissions).unwrap();
            for tree in &trees {
                check(scratch.path(), tree);
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn inherited_access_lists_go() {
        let scratch = tempfile::tempdir().unwrap();
        // acl(5) as an extended attribute: version 2, then tag, permissions and number of each entry; user 1 may do
        // all.
        let mut list = 2u32.to_le_bytes().to_vec();
        for (tag, permissions, number) in [
            (0x01u16, 7u16, u32::MAX),
            (0x02, 7, 1),
            (0x04, 5, u32::MAX),
            (0x10, 7, u32::MAX),
            (0x20, 5, u32::MAX),
        ] {
            list.extend(tag.to_le_bytes());
            list.extend(permissions.to_le_bytes());
            list.extend(number.to_le_bytes());
        }
        let name = c"system.posix_acl_default";
        match fs::setxattr(scratch.path(), name, &list, fs::XattrFlags::empty()) {
            // Not every file system has them.
            Err(Errno::NOTSUP) => return,
            set => set.unwrap(),
        }
        let target = scratch.path().join("item");
        restore(&mut sample().to_nar().unwrap().as_slice(), &target).unwrap();
        assert_eq!(deviations(&target).unwrap(), []);
        for path in ["", "directory", "directory/deeper/program"] {
            let path = target.join(path);
            let mut names = [0u8; 256];
            let length = fs::llistxattr(&path, &mut names[..]).unwrap();
            assert!(
                !names[..length].windows(9).any(|part| part == b"posix_acl"),
                "{}",
                path.display()
            );
        }
        remove_tree(&target).unwrap();
    }
}
