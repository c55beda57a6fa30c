// SPDX-License-Identifier: GPL-3.0-or-later
//! Build directories that were kept, for another process of this program to work in, or for the user who wanted them.
//!
//! A build has made what is in them, and may have given a process outside of its sandbox a descriptor of one of their
//! directories. So nothing here resolves more than one name at a time, and only what is open is given away.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

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

/// Gives `directory`, which was kept of a build by the user number `old`, to `owner`, and puts it in the place of the
/// one above it, which kept others out: builds have recorded that name as their directory's. Returns where it is now:
/// where it was, with the one above given away as well, if it cannot be moved. Files of other owners stay as they are,
/// and so does what is neither a regular file nor a directory.
///
/// No link is followed, and no program stays set-user-ID.
///
/// # Errors
/// As for [`take_over`]; the directory is where it was then.
pub(super) fn hand_over(directory: &Path, old: u32, owner: NewOwner) -> Result<PathBuf, FileError> {
    let given = give(directory, old, owner);
    // Only this process's user can make or rename what is above.
    let above = directory.parent().unwrap_or(directory);
    if given.is_ok()
        && let Ok(()) = take_place_of(directory, above)
    {
        return Ok(above.to_owned());
    }
    let above =
        lchown(above, Some(owner.0), owner.1).map_err(FileError::named_by_user("give away", above));
    given.and(above).map(|()| directory.to_owned())
}

/// Moves `directory` to the place of `above`, in which there is nothing else. Other users cannot enter it there either.
fn take_place_of(directory: &Path, above: &Path) -> std::io::Result<()> {
    let Some(name) = directory.file_name() else {
        return Err(std::io::ErrorKind::InvalidInput.into());
    };
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    let mut aside = above.as_os_str().to_owned();
    aside.push(".pivot");
    let aside = PathBuf::from(aside);
    fs::rename(above, &aside)?;
    if let Err(error) = fs::rename(aside.join(name), above) {
        // Another may have taken the name: then what was kept stays beside it.
        fs::rename(&aside, above)?;
        return Err(error);
    }
    fs::remove_dir(&aside)
}

/// Gives what the user number `old` has in `directory` to `owner`.
fn give(directory: &Path, old: u32, owner: NewOwner) -> Result<(), FileError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let failed = |errno: Errno| FileError::named_by_user("give away", directory)(errno.into());
    let top = rustix::fs::open(directory, flags, Mode::empty()).map_err(failed)?;
    let mut first = None;
    // Each directory with the names in it that are still to be looked at.
    let mut open: Vec<(OwnedFd, Vec<CString>)> = Vec::new();
    let mut next = Some(top);
    loop {
        if let Some(entered) = next.take() {
            let done = give_open(entered.as_fd(), old, owner).and_then(|()| names(entered.as_fd()));
            match done {
                Ok(names) => open.push((entered, names)),
                Err(errno) => {
                    first.get_or_insert(errno);
                }
            }
        }
        let depth = open.len();
        let Some((parent, names)) = open.last_mut() else {
            break;
        };
        let Some(name) = names.pop() else {
            open.pop();
            continue;
        };
        match give_entry(parent.as_fd(), &name, old, owner) {
            Ok(Some(directory)) if depth < DEPTH_MAX => next = Some(directory),
            // A link, or a file that is gone.
            Ok(_) | Err(Errno::LOOP | Errno::MLINK | Errno::NOENT) => {}
            Err(errno) => {
                first.get_or_insert(errno);
            }
        }
    }
    first.map_or(Ok(()), |errno| Err(failed(errno)))
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
        let now = hand_over(&kept, BUILDS, (CLIENT, Some(CLIENT))).unwrap();
        // Where builds had it, and nothing is left of the move.
        assert_eq!(now, above);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
        assert_eq!(above.metadata().unwrap().mode() & 0o7777, 0o700);
        let inner = above.join("inner");
        let given = [above.clone(), inner.clone(), inner.join("file")];
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
        let again = place.path().join("guix-build-x-1.drv-1");
        fs::create_dir(&again).unwrap();
        fs::rename(&above, again.join("build")).unwrap();
        hand_over(&again.join("build"), CLIENT, (OTHER, None)).unwrap();
        assert_eq!(owner(&again.join("inner/file")), (OTHER, CLIENT));
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
        let now = hand_over(&kept, BUILDS, (CLIENT, None)).unwrap();
        let moved = directories
            .iter()
            .map(|path| now.join(path.strip_prefix(&kept).unwrap()));
        let owners: Vec<u32> = moved.map(|path| owner(&path).0).collect();
        assert!(owners[..DEPTH_MAX].iter().all(|owner| *owner == CLIENT));
        assert_eq!(owners.last(), Some(&BUILDS));
    }
}
