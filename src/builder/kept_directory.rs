// SPDX-License-Identifier: GPL-3.0-or-later
//! Build directories that were kept, for another process of this program to work in, or for the user who wanted them.
//!
//! A build has made what is in them, and may have given a process outside of its sandbox a descriptor of one of their
//! directories. So nothing here resolves more than one name at a time, and only what is open is given away.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags, fchmod, fchown, fstat, openat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use crate::diagnostics::FileError;
use crate::sandbox::{BuildUser, Sandbox};
use crate::store::file_flags;

/// How deep directories are entered: each one that is open takes a descriptor. What lies deeper stays as it is.
const DEPTH_MAX: usize = 128;

/// Whom files are given to: a user number, and a group number or `None` for the group that they have.
pub type NewOwner = (u32, Option<u32>);

/// Makes what builds have left in `directory` belong to the builds of this process, which on some systems have another
/// user number than those of the process that made it. Files of other owners stay as they are, and so does a directory
/// that is not from a build.
///
/// No link is followed.
///
/// # Errors
/// Where a directory cannot be listed, or a file not be given away: all others are, and the first error is returned.
pub fn take_over(
    directory: &Path,
    sandbox: &dyn Sandbox,
    user: &BuildUser,
) -> Result<(), FileError> {
    let found = fs::symlink_metadata(directory);
    let old = found
        .map_err(FileError::named_by_user("examine", directory))?
        .uid();
    let (user, group) = sandbox.outside(user);
    if old == user || !sandbox.is_of_builds(old) {
        return Ok(());
    }
    give(directory, old, (user, Some(group)))
}

/// A build directory all of whose content has been given away, and that is still to be moved and given away itself.
pub(super) struct GivenContent {
    directory: OwnedFd,
    old: u32,
    owner: NewOwner,
}

impl GivenContent {
    /// Gives what is in `directory`, which a build of the user number `old` has left, to `owner`, and keeps all but its
    /// owner out of it. No other user may reach it meanwhile. Files of other owners stay as they are, and so does what
    /// is neither a regular file nor a directory.
    ///
    /// No link is followed, and no program stays set-user-ID.
    ///
    /// # Errors
    /// As for [`take_over`].
    pub(super) fn of(directory: &Path, old: u32, owner: NewOwner) -> Result<Self, FileError> {
        let top = open_directory(directory)?;
        give_below(&top, directory, old, owner)?;
        fchmod(&top, Mode::RWXU).map_err(give_error(directory))?;
        Ok(Self {
            directory: top,
            old,
            owner,
        })
    }

    /// Gives the directory itself away, wherever it is by now. Last, since only its owner may move it.
    ///
    /// # Errors
    /// Where it cannot be given away.
    pub(super) fn finish(self, place: &Path) -> Result<(), FileError> {
        give_open(self.directory.as_fd(), self.old, self.owner).map_err(give_error(place))
    }
}

fn give_error(directory: &Path) -> impl Fn(Errno) -> FileError + '_ {
    move |errno| FileError::named_by_user("give away", directory)(errno.into())
}

fn open_directory(directory: &Path) -> Result<OwnedFd, FileError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(directory, flags, Mode::empty()).map_err(give_error(directory))
}

/// Gives what the user number `old` has in `directory`, and that itself, to `owner`.
fn give(directory: &Path, old: u32, owner: NewOwner) -> Result<(), FileError> {
    let top = open_directory(directory)?;
    let itself = give_open(top.as_fd(), old, owner).map_err(give_error(directory));
    let below = give_below(&top, directory, old, owner);
    itself.and(below)
}

/// Gives what the user number `old` has below the open directory `top`, which is called `path`, to `owner`.
fn give_below(top: &OwnedFd, path: &Path, old: u32, owner: NewOwner) -> Result<(), FileError> {
    let mut first = None;
    let listed = names(top.as_fd()).map_err(give_error(path))?;
    let copy = top
        .try_clone()
        .map_err(FileError::named_by_user("give away", path))?;
    // Each directory with the names in it that are still to be looked at.
    let mut open: Vec<(OwnedFd, Vec<CString>)> = vec![(copy, listed)];
    while let Some((parent, names_left)) = open.last_mut() {
        let Some(name) = names_left.pop() else {
            open.pop();
            continue;
        };
        let given = give_entry(parent.as_fd(), &name, old, owner);
        let entered = match given {
            Ok(Some(directory)) if open.len() < DEPTH_MAX => {
                let done = give_open(directory.as_fd(), old, owner);
                done.and_then(|()| Ok(Some((names(directory.as_fd())?, directory))))
            }
            // A link, or a file that is gone.
            Ok(_) | Err(Errno::LOOP | Errno::MLINK | Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        };
        match entered {
            Ok(Some((names, directory))) => open.push((directory, names)),
            Ok(None) => {}
            Err(errno) => {
                first.get_or_insert(errno);
            }
        }
    }
    first.map_or(Ok(()), |errno| Err(give_error(path)(errno)))
}

/// The names in an open directory.
fn names(directory: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let entries = Dir::read_from(directory)?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_owned()));
    let mut names = names.collect::<Result<Vec<_>, Errno>>()?;
    names.retain(|name| name.as_c_str() != c"." && name.as_c_str() != c"..");
    Ok(names)
}

/// Gives away the regular file `name` of the directory `parent`, or opens the directory of that name.
fn give_entry(
    parent: BorrowedFd<'_>,
    name: &CString,
    old: u32,
    owner: NewOwner,
) -> Result<Option<OwnedFd>, Errno> {
    // A FIFO is not waited for.
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let found = rustix::fs::statat(parent, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(found.st_mode);
    if kind != FileType::RegularFile && kind != FileType::Directory {
        return Ok(None);
    }
    let entry = openat(parent, name, flags, Mode::empty())?;
    let found = fstat(&entry)?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => return Ok(Some(entry)),
        FileType::RegularFile => {}
        _ => return Ok(None),
    }
    match give_open(entry.as_fd(), old, owner) {
        Err(Errno::PERM) if file_flags::clear_entry(parent, name) => {
            give_open(entry.as_fd(), old, owner)?;
        }
        given => given?,
    }
    Ok(None)
}

/// Gives away an open file or directory, if it belongs to `old`.
fn give_open(file: BorrowedFd<'_>, old: u32, (user, group): NewOwner) -> Result<(), Errno> {
    let found = fstat(file)?;
    if found.st_uid != old {
        return Ok(());
    }
    // Whose it would be set to is another user now.
    let mode = Mode::from_raw_mode(found.st_mode);
    let set_id = Mode::SUID | Mode::SGID;
    if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile && mode.intersects(set_id) {
        fchmod(file, mode - set_id)?;
    }
    fchown(file, Some(Uid::from_raw(user)), group.map(Gid::from_raw))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    const BUILDS: u32 = 30001;
    const CLIENT: u32 = 30002;
    const OTHER: u32 = 30003;

    /// What only root can do.
    fn is_root() -> bool {
        let root = rustix::process::geteuid().is_root();
        if !root {
            println!("skipped: only root can give files away");
        }
        root
    }

    fn owner(path: &Path) -> (u32, u32) {
        let found = path.symlink_metadata().unwrap();
        (found.uid(), found.gid())
    }

    #[test]
    fn what_builds_have_left_is_given_away_and_nothing_that_links_lead_to() {
        if !is_root() {
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let outside = place.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "").unwrap();
        chown(&outside, Some(BUILDS), Some(BUILDS)).unwrap();
        chown(outside.join("file"), Some(BUILDS), Some(BUILDS)).unwrap();
        let above = place.path().join("guix-build-x-1.drv-0");
        let kept = above.join("build");
        let inner = kept.join("inner");
        fs::create_dir_all(&inner).unwrap();
        for name in ["file", "program", "theirs"] {
            fs::write(inner.join(name), "").unwrap();
            chown(inner.join(name), Some(BUILDS), Some(BUILDS)).unwrap();
        }
        chown(inner.join("theirs"), Some(OTHER), Some(OTHER)).unwrap();
        fs::set_permissions(inner.join("program"), fs::Permissions::from_mode(0o6755)).unwrap();
        symlink(outside.join("file"), inner.join("link")).unwrap();
        symlink(&outside, inner.join("directory")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, inner.join("fifo"), Mode::RWXU).unwrap();
        for directory in [&kept, &inner] {
            chown(directory, Some(BUILDS), Some(BUILDS)).unwrap();
            fs::set_permissions(directory, fs::Permissions::from_mode(0o000)).unwrap();
        }
        let content = GivenContent::of(&kept, BUILDS, (CLIENT, Some(CLIENT))).unwrap();
        // Not before it is where it stays.
        assert_eq!(owner(&kept), (BUILDS, BUILDS));
        assert_eq!(kept.metadata().unwrap().mode() & 0o7777, 0o700);
        let moved = place.path().join("moved");
        fs::rename(&kept, &moved).unwrap();
        content.finish(&moved).unwrap();
        let inner = moved.join("inner");
        let given = [moved.clone(), inner.clone(), inner.join("file")];
        for path in given.iter().chain([&inner.join("program")]) {
            assert_eq!(owner(path), (CLIENT, CLIENT), "{}", path.display());
        }
        let program = inner.join("program").metadata().unwrap();
        assert_eq!(program.mode() & 0o7777, 0o755);
        assert_eq!(owner(&inner.join("theirs")), (OTHER, OTHER));
        for path in [outside.clone(), outside.join("file")] {
            assert_eq!(owner(&path), (BUILDS, BUILDS), "{}", path.display());
        }
        // Without a group, that of each file stays.
        let content = GivenContent::of(&moved, CLIENT, (OTHER, None)).unwrap();
        content.finish(&moved).unwrap();
        assert_eq!(owner(&moved.join("inner/file")), (OTHER, CLIENT));
    }

    #[test]
    fn what_lies_very_deep_stays_as_it_is() {
        if !is_root() {
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let kept = place.path().join("guix-build-x-1.drv-0/build");
        fs::create_dir_all(&kept).unwrap();
        let mut deep = kept.clone();
        let mut directories = vec![kept.clone()];
        for _ in 0..DEPTH_MAX + 10 {
            deep = deep.join("d");
            fs::create_dir(&deep).unwrap();
            directories.push(deep.clone());
        }
        for directory in &directories {
            chown(directory, Some(BUILDS), None).unwrap();
        }
        let content = GivenContent::of(&kept, BUILDS, (CLIENT, None)).unwrap();
        content.finish(&kept).unwrap();
        let owners: Vec<u32> = directories.iter().map(|path| owner(path).0).collect();
        assert!(owners[..DEPTH_MAX].iter().all(|owner| *owner == CLIENT));
        assert_eq!(owners.last(), Some(&BUILDS));
    }
}
