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
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    fn modes_and_times(root: &Path) -> BTreeMap<String, (u32, i64)> {
        let mut seen = BTreeMap::new();
        walk(root, DirectoryMode::AsTheyAre, &mut |path, metadata| {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            seen.insert(
                name.to_owned(),
                (metadata.mode() & 0o7777, metadata.mtime()),
            );
            Ok(())
        })
        .unwrap();
        seen
    }

    /// A temporary directory cannot be removed while what is in it is read-only.
    fn release(root: &Path) {
        let _ = walk(root, DirectoryMode::AsTheyAre, &mut |path, metadata| {
            if metadata.is_dir() {
                set_mode(path, 0o755)?;
            }
            Ok(())
        });
    }

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn modes_and_times_become_canonical() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("item");
        fs::create_dir_all(root.join("a/b")).unwrap();
        for (name, mode) in [
            ("plain", 0o600),
            ("a/program", 0o4711),
            ("a/others", 0o611),
            ("a/b/none", 0),
        ] {
            fs::write(root.join(name), name).unwrap();
            set(&root.join(name), mode);
        }
        symlink("plain", root.join("link")).unwrap();
        set(&root.join("a/b"), 0o1777);
        canonicalise(&root).unwrap();
        let expected = [
            ("", 0o555),
            ("a", 0o555),
            ("a/b", 0o555),
            ("a/b/none", 0o444),
            ("a/others", 0o444),
            ("a/program", 0o555),
            ("link", 0o777),
            ("plain", 0o444),
        ];
        let expected = expected.map(|(name, mode)| (name.to_owned(), (mode, 1)));
        let seen = modes_and_times(&root);
        release(&root);
        assert_eq!(seen, BTreeMap::from(expected));
    }

    #[test]
    fn what_is_not_canonical_any_more_is_told_and_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("item");
        fs::create_dir_all(root.join("a")).unwrap();
        fs::write(root.join("a/touched"), "x").unwrap();
        fs::write(root.join("plain"), "x").unwrap();
        canonicalise(&root).unwrap();
        assert_eq!(deviations(&root).unwrap(), []);
        set(&root.join("plain"), 0o644);
        let file = fs::File::open(root.join("a/touched")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(7))
            .unwrap();
        let found = deviations(&root).unwrap();
        release(&root);
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|one| (one.path.to_str().unwrap(), one.problem.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("a/touched", "expected the time 1, saw 7"),
                ("plain", "expected mode 0444, saw 0644"),
            ]
        );
    }

    #[test]
    fn a_directory_that_nobody_may_read_is_no_obstacle() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("item");
        fs::create_dir_all(root.join("closed")).unwrap();
        fs::write(root.join("closed/file"), "").unwrap();
        set(&root.join("closed"), 0);
        canonicalise(&root).unwrap();
        let seen = modes_and_times(&root);
        release(&root);
        assert_eq!(seen["closed/file"], (0o444, 1));
    }

    #[test]
    fn links_are_not_followed() {
        let scratch = tempfile::tempdir().unwrap();
        let (outside, root) = (scratch.path().join("outside"), scratch.path().join("item"));
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "").unwrap();
        set(&outside.join("file"), 0o640);
        fs::create_dir(&root).unwrap();
        symlink(&outside, root.join("directory")).unwrap();
        symlink(outside.join("file"), root.join("file")).unwrap();
        let before = modes_and_times(&outside);
        canonicalise(&root).unwrap();
        release(&root);
        assert_eq!(modes_and_times(&outside), before);

        let link = scratch.path().join("link");
        symlink(&outside, &link).unwrap();
        canonicalise(&link).unwrap();
        assert_eq!(fs::symlink_metadata(&link).unwrap().mtime(), 1);
        assert_eq!(modes_and_times(&outside), before);
    }

    #[test]
    fn a_hard_link_to_the_outside_is_refused_before_anything_changes() {
        let scratch = tempfile::tempdir().unwrap();
        let (outside, root) = (scratch.path().join("outside"), scratch.path().join("item"));
        fs::write(&outside, "secret").unwrap();
        set(&outside, 0o600);
        fs::create_dir(&root).unwrap();
        fs::write(root.join("a"), "").unwrap();
        fs::hard_link(&outside, root.join("b")).unwrap();
        let before = modes_and_times(&root);
        let error = canonicalise(&root).unwrap_err();
        assert!(
            matches!(&error, CanonicalError::HardLink { path, links: 2, inside: 1 } if path.ends_with("b")),
            "{error}"
        );
        assert_eq!(modes_and_times(&root), before);
        assert_eq!(fs::metadata(&outside).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn hard_links_within_the_outputs_are_fine() {
        let scratch = tempfile::tempdir().unwrap();
        let roots = ["out", "lib"].map(|name| scratch.path().join(name));
        for root in &roots {
            fs::create_dir(root).unwrap();
        }
        fs::write(roots[0].join("a"), "").unwrap();
        set(&roots[0].join("a"), 0o755);
        fs::hard_link(roots[0].join("a"), roots[1].join("b")).unwrap();
        assert!(canonicalise(&roots[0]).is_err());
        canonicalise_all(&roots, &[]).unwrap();
        let seen = modes_and_times(&roots[1]);
        roots.iter().for_each(|root| release(root));
        assert_eq!(seen["b"], (0o555, 1));
    }

    #[test]
    fn sockets_are_named_and_nothing_changes() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("item");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("a"), "").unwrap();
        let _listener = UnixListener::bind(root.join("s")).unwrap();
        let before = fs::metadata(root.join("a")).unwrap().mode();
        let error = canonicalise(&root).unwrap_err();
        assert!(error.to_string().contains("item/s is a socket"), "{error}");
        assert_eq!(fs::metadata(root.join("a")).unwrap().mode(), before);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn extended_attributes_are_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        let name = "user.test";
        match rustix::fs::lsetxattr(&file, name, b"1", rustix::fs::XattrFlags::empty()) {
            // The file system of the temporary directory has none: nothing to strip.
            Err(rustix::io::Errno::NOTSUP) => return,
            result => result.unwrap(),
        }
        canonicalise(&file).unwrap();
        let mut names = [0; 64];
        assert_eq!(rustix::fs::llistxattr(&file, &mut names[..]), Ok(0));
    }
}
