// SPDX-License-Identifier: GPL-3.0-or-later
//! Canonical metadata: all that is not in an archive is the same for every store item.
//!
//! Times of modification become 1 (one second after the epoch: 0 means "none" to some programs), modes 0444, or 0555
//! for directories and what its owner may execute; set-user-ID bits, extended attributes and ACLs go. When run as root,
//! root becomes the owner. It is what guix-daemon does to outputs (`canonicalisePathMetaData`).
//!
//! What a build made is hostile: no symbolic link is followed, a socket or device is an error, and so is a file that
//! has another hard link outside, whose mode and owner must not change (`ln /etc/shadow $out`). Everything is checked
//! before anything is changed. The processes of the build must be dead by then.

mod creation;
#[cfg(target_os = "freebsd")]
#[path = "freebsd.rs"]
mod platform;
#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod platform;

pub(super) use creation::restore;

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use super::error::CanonicalError;
use super::nar::special_kind;
use crate::diagnostics::FileError;
use crate::formats::nar::MAX_DEPTH;

/// The time of modification of everything in the store, in seconds since the epoch.
pub const MODIFICATION_TIME: i64 = 1;

/// The times that are set: that of access stays.
const TIMES: Timestamps = Timestamps {
    last_access: Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_OMIT,
    },
    last_modification: Timespec {
        tv_sec: MODIFICATION_TIME,
        tv_nsec: 0,
    },
};

/// The mode of what may be executed or entered, and of what may not.
fn mode(executable: bool) -> u32 {
    if executable { 0o555 } else { 0o444 }
}

/// Makes the metadata of the tree at `path` canonical.
///
/// A directory becomes read-only, its owner included: who is not root renames it before, or within the same parent.
pub fn canonicalise(path: &Path) -> Result<(), CanonicalError> {
    canonicalise_all(&[path], &[])
}

/// Makes the metadata of the directory `path` canonical, not of what is in it.
pub(super) fn canonicalise_directory(path: &Path) -> Result<(), CanonicalError> {
    let metadata = fs::symlink_metadata(path).map_err(failed("examine", path))?;
    canonicalise_one(path, &metadata, rustix::process::geteuid().is_root())
}

/// Makes the metadata of the tree `path`, a valid item's, canonical. Its files may be shared with other items.
pub(super) fn canonicalise_item(path: &Path) -> Result<(), CanonicalError> {
    let is_root = rustix::process::geteuid().is_root();
    walk(path, DirectoryMode::AsTheyAre, &mut |path, metadata| {
        canonicalise_one(path, metadata, is_root)
    })
}

/// Makes the metadata of several trees canonical, which may have hard links in common: the outputs of one derivation.
/// They may share files with the trees `beside`, too: outputs that are not wanted, which are left alone.
pub fn canonicalise_all(
    paths: &[impl AsRef<Path>],
    beside: &[&Path],
) -> Result<(), CanonicalError> {
    let is_root = rustix::process::geteuid().is_root();
    let directories = match is_root {
        true => DirectoryMode::AsTheyAre,
        false => DirectoryMode::MakeReadable,
    };
    let mut links: HashMap<(u64, u64), HardLinks> = HashMap::new();
    for path in paths {
        walk(path.as_ref(), directories, &mut |path, metadata| {
            if !metadata.is_dir() && metadata.nlink() > 1 {
                let identity = (metadata.dev(), metadata.ino());
                let links = links.entry(identity).or_insert_with(|| HardLinks {
                    path: path.to_owned(),
                    all: metadata.nlink(),
                    inside: 0,
                });
                links.inside += 1;
            }
            Ok(())
        })?;
    }
    for path in beside {
        // What cannot be looked at has no links that count.
        let _ = walk(path, DirectoryMode::AsTheyAre, &mut |_, metadata| {
            if let Some(links) = links.get_mut(&(metadata.dev(), metadata.ino())) {
                links.inside += 1;
            }
            Ok(())
        });
    }
    if let Some(links) = links.into_values().find(|links| links.inside < links.all) {
        return Err(CanonicalError::HardLink {
            path: links.path,
            links: links.all,
            inside: links.inside,
        });
    }
    for path in paths {
        walk(
            path.as_ref(),
            DirectoryMode::AsTheyAre,
            &mut |path, metadata| canonicalise_one(path, metadata, is_root),
        )?;
    }
    Ok(())
}

struct HardLinks {
    path: PathBuf,
    all: u64,
    inside: u64,
}

/// What the walk does to a directory before it lists it.
#[derive(Clone, Copy, PartialEq)]
enum DirectoryMode {
    /// Root can list any directory.
    AsTheyAre,
    /// Any other user must be allowed to. A directory has no other hard links, so its mode can change before all is
    /// checked.
    MakeReadable,
}

/// Calls `visit` with each file and its metadata, a directory after what it holds: by then its time does not change any
/// more, and it may become read-only.
fn walk(
    root: &Path,
    directories: DirectoryMode,
    visit: &mut dyn FnMut(&Path, &Metadata) -> Result<(), CanonicalError>,
) -> Result<(), CanonicalError> {
    // The names are read at once, so that depth costs no descriptors.
    let mut open: Vec<(PathBuf, Metadata, Vec<PathBuf>)> = Vec::new();
    let mut next = Some(root.to_owned());
    loop {
        if let Some(path) = next.take() {
            let metadata = fs::symlink_metadata(&path).map_err(failed("examine", &path))?;
            if metadata.is_dir() {
                if open.len() == MAX_DEPTH {
                    return Err(CanonicalError::Depth(path));
                }
                if directories == DirectoryMode::MakeReadable && metadata.mode() & 0o500 != 0o500 {
                    set_mode(&path, 0o700)?;
                }
                let entries = fs::read_dir(&path)
                    .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
                    .map_err(failed("list", &path))?;
                open.push((path, metadata, entries));
            } else if metadata.is_file() || metadata.is_symlink() {
                visit(&path, &metadata)?;
            } else {
                let kind = special_kind(metadata.file_type());
                return Err(CanonicalError::FileType { path, kind });
            }
        }
        let Some((_, _, entries)) = open.last_mut() else {
            return Ok(());
        };
        next = entries.pop();
        if next.is_none()
            && let Some((path, metadata, _)) = open.pop()
        {
            visit(&path, &metadata)?;
        }
    }
}

fn canonicalise_one(path: &Path, metadata: &Metadata, is_root: bool) -> Result<(), CanonicalError> {
    platform::strip(path, metadata)?;
    // Before the mode: a change of owner takes set-user-ID bits away on some systems, and not on others.
    if is_root && (metadata.uid(), metadata.gid()) != (0, 0) {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(CWD, path, Some(Uid::ROOT), Some(Gid::ROOT), flags)
            .map_err(failed("change the owner of", path))?;
    }
    if !metadata.is_symlink() {
        let mode = mode(metadata.is_dir() || metadata.mode() & 0o100 != 0);
        if metadata.mode() & 0o7777 != mode {
            set_mode(path, mode)?;
        }
    }
    if (metadata.mtime(), metadata.mtime_nsec()) != (MODIFICATION_TIME, 0) {
        set_time(path).map_err(failed("set the time of", path))?;
    }
    Ok(())
}

/// Sets the time of modification of the file `path`, or of the link that it is.
pub(super) fn set_time(path: &Path) -> io::Result<()> {
    match rustix::fs::utimensat(CWD, path, &TIMES, AtFlags::SYMLINK_NOFOLLOW) {
        // The file system has no times that could be set.
        Err(Errno::NOTSUP | Errno::NOSYS) => Ok(()),
        set => Ok(set?),
    }
}

/// A file whose metadata is not what the store gives every file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Deviation {
    /// The file, relative to the item; empty for the item itself.
    pub path: PathBuf,
    /// What was expected and what was seen, in words.
    pub problem: String,
}

/// How the metadata of the tree at `path` differs from what [`canonicalise`] would make it, in the order of the paths.
/// Changes nothing.
pub fn deviations(path: &Path) -> Result<Vec<Deviation>, CanonicalError> {
    compare(path, true)
}

/// As [`deviations`], but times may be any.
pub(super) fn deviations_but_times(path: &Path) -> Result<Vec<Deviation>, CanonicalError> {
    compare(path, false)
}

fn compare(path: &Path, times: bool) -> Result<Vec<Deviation>, CanonicalError> {
    let is_root = rustix::process::geteuid().is_root();
    let mut found = Vec::new();
    walk(path, DirectoryMode::AsTheyAre, &mut |file, metadata| {
        let mut problems = Vec::new();
        if !metadata.is_symlink() {
            let expected = mode(metadata.is_dir() || metadata.mode() & 0o100 != 0);
            let seen = metadata.mode() & 0o7777;
            if seen != expected {
                problems.push(format!("expected mode {expected:04o}, saw {seen:04o}"));
            }
        }
        if times && (metadata.mtime(), metadata.mtime_nsec()) != (MODIFICATION_TIME, 0) {
            problems.push(format!(
                "expected the time {MODIFICATION_TIME}, saw {}",
                metadata.mtime()
            ));
        }
        if is_root && (metadata.uid(), metadata.gid()) != (0, 0) {
            problems.push(format!(
                "expected the owner 0:0, saw {}:{}",
                metadata.uid(),
                metadata.gid()
            ));
        }
        problems.extend(platform::deviation(file, metadata)?);
        if !problems.is_empty() {
            found.push(Deviation {
                path: file.strip_prefix(path).unwrap_or(file).to_owned(),
                problem: problems.join("; "),
            });
        }
        Ok(())
    })?;
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// For what is known to be no symbolic link.
fn set_mode(path: &Path, mode: u32) -> Result<(), CanonicalError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(failed("change the mode of", path))
}

fn failed<Error: Into<io::Error>>(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(Error) -> CanonicalError {
    let failed = FileError::in_store(action, path);
    move |error| failed(error.into()).into()
}

#[cfg(test)]
mod tests;
