// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads a folder whose contents may be hostile: relative to its descriptor, without following symbolic links, and
//! nothing but regular files. A hostile clone then cannot name a file outside of the folder.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::unreadable::{SYMLINK, UnreadableRecipes};
use crate::formats::nar::Tree;

/// The most bytes of all files below a folder. Sources and patches of this project have less than 1 MiB.
const MOST_BYTES: u64 = 256 << 20;

/// The most folders below each other.
const DEEPEST: usize = 64;

/// A folder that is open.
pub(super) struct OpenFolder {
    folder: OwnedFd,
    path: PathBuf,
}

/// An entry of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Folder,
    Symlink,
    /// A socket, named pipe or device.
    Other,
}

impl EntryKind {
    /// What messages call it.
    fn name(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Folder => "a folder",
            Self::Symlink => SYMLINK,
            Self::Other => "a socket, named pipe or device",
        }
    }
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

impl OpenFolder {
    /// Opens the folder that the user named; here links are followed.
    pub(super) fn open(path: &Path) -> Result<Self, UnreadableRecipes> {
        let folder = rustix::fs::openat(CWD, path, FOLDER, Mode::empty())
            .map_err(|error| UnreadableRecipes::io(path, error))?;
        Ok(Self {
            folder,
            path: path.to_owned(),
        })
    }

    /// The path, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The entries, sorted by name.
    pub(super) fn entries(&self) -> Result<Vec<(OsString, EntryKind)>, UnreadableRecipes> {
        let failed = |error| UnreadableRecipes::io(&self.path, error);
        let mut entries = Vec::new();
        for entry in Dir::read_from(&self.folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_bytes().to_owned();
            if name == b"." || name == b".." {
                continue;
            }
            let name = OsString::from_vec(name);
            entries.push((self.kind(&name)?, name));
        }
        entries.sort_by(|(_, one), (_, other)| one.cmp(other));
        Ok(entries
            .into_iter()
            .map(|(kind, name)| (name, kind))
            .collect())
    }

    fn kind(&self, name: &OsStr) -> Result<EntryKind, UnreadableRecipes> {
        let status = rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| self.failed(name, error))?;
        Ok(kind_of(status.st_mode))
    }

    /// The folder `name` in this one; `None` where there is none.
    pub(super) fn folder(&self, name: &OsStr) -> Result<Option<Self>, UnreadableRecipes> {
        let flags = FOLDER | OFlags::NOFOLLOW;
        match rustix::fs::openat(&self.folder, name, flags, Mode::empty()) {
            Ok(folder) => Ok(Some(Self {
                folder,
                path: self.path.join(name),
            })),
            Err(Errno::NOENT) => Ok(None),
            // The systems disagree on which of these NOFOLLOW gives for a link.
            Err(Errno::LOOP | Errno::NOTDIR | Errno::MLINK) => {
                Err(self.refused(name, self.kind(name)?, "a folder"))
            }
            Err(error) => Err(self.failed(name, error)),
        }
    }

    /// Whether the file called `name` may be executed by its owner, and its bytes, which are taken from `budget`.
    pub(super) fn file(
        &self,
        name: &OsStr,
        budget: &mut FolderBudget,
    ) -> Result<(bool, Vec<u8>), UnreadableRecipes> {
        // Opening a named pipe would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.folder, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::LOOP | Errno::MLINK) => {
                return Err(self.refused(name, EntryKind::Symlink, "a file"));
            }
            Err(error) => return Err(self.failed(name, error)),
        };
        // What was opened counts: the name may stand for something else by now.
        let status = rustix::fs::fstat(&file).map_err(|error| self.failed(name, error))?;
        let kind = kind_of(status.st_mode);
        if kind != EntryKind::File {
            return Err(self.refused(name, kind, "a file"));
        }
        let mut contents = Vec::new();
        let read = File::from(file)
            .take(budget.0 + 1)
            .read_to_end(&mut contents);
        read.map_err(|error| UnreadableRecipes::Io {
            path: self.path.join(name),
            error,
        })?;
        match budget.0.checked_sub(contents.len() as u64) {
            Some(left) => budget.0 = left,
            None => {
                return Err(UnreadableRecipes::TooLarge {
                    path: self.path.join(name),
                    most: MOST_BYTES >> 20,
                });
            }
        }
        Ok((status.st_mode & 0o100 != 0, contents))
    }

    /// The whole folder as it is: files with their execute bits, links as links, empty folders, names of any bytes.
    pub(super) fn tree(&self, budget: &mut FolderBudget) -> Result<Tree, UnreadableRecipes> {
        self.tree_at(budget, 0)
    }

    fn tree_at(&self, budget: &mut FolderBudget, depth: usize) -> Result<Tree, UnreadableRecipes> {
        if depth > DEEPEST {
            return Err(UnreadableRecipes::TooDeep {
                path: self.path.clone(),
                most: DEEPEST,
            });
        }
        let mut entries = BTreeMap::new();
        for (name, kind) in self.entries()? {
            let entry = match kind {
                EntryKind::File => {
                    let (executable, contents) = self.file(&name, budget)?;
                    Tree::File {
                        executable,
                        contents,
                    }
                }
                EntryKind::Folder => match self.folder(&name)? {
                    Some(folder) => folder.tree_at(budget, depth + 1)?,
                    None => return Err(self.failed(&name, Errno::NOENT)),
                },
                EntryKind::Symlink => {
                    let target = rustix::fs::readlinkat(&self.folder, &name, Vec::new())
                        .map_err(|error| self.failed(&name, error))?;
                    Tree::Symlink(OsString::from_vec(target.into_bytes()))
                }
                EntryKind::Other => {
                    return Err(self.refused(&name, kind, "a file, folder or symbolic link"));
                }
            };
            entries.insert(name, entry);
        }
        Ok(Tree::Directory(entries))
    }

    /// An error about the entry `name`, which is `seen` where `expected` is needed.
    pub(super) fn refused(
        &self,
        name: &OsStr,
        seen: EntryKind,
        expected: &'static str,
    ) -> UnreadableRecipes {
        UnreadableRecipes::Kind {
            path: self.path.join(name),
            seen: seen.name(),
            expected,
        }
    }

    fn failed(&self, name: &OsStr, error: Errno) -> UnreadableRecipes {
        UnreadableRecipes::io(&self.path.join(name), error)
    }
}

/// How many bytes may still be read.
pub(super) struct FolderBudget(u64);

impl Default for FolderBudget {
    fn default() -> Self {
        Self(MOST_BYTES)
    }
}

fn kind_of(mode: rustix::fs::RawMode) -> EntryKind {
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Folder,
        FileType::Symlink => EntryKind::Symlink,
        _ => EntryKind::Other,
    }
}

/// Whether a file takes part: editors leave others behind.
pub(super) fn counts(name: &OsStr) -> bool {
    !name.as_bytes().starts_with(b".") && !name.as_bytes().ends_with(b"~")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn tree(path: &Path) -> Result<Tree, UnreadableRecipes> {
        OpenFolder::open(path)?.tree(&mut FolderBudget::default())
    }

    #[test]
    fn a_folder_becomes_a_tree_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        let raw = OsStr::from_bytes(b"caf\xe9");
        fs::write(top.join("plain"), "plain").unwrap();
        fs::write(top.join("script"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(top.join("script"), fs::Permissions::from_mode(0o4711)).unwrap();
        fs::write(top.join(".hidden"), "dot").unwrap();
        fs::write(top.join("backup~"), "tilde").unwrap();
        fs::write(top.join(raw), "bytes").unwrap();
        fs::create_dir_all(top.join("below/empty")).unwrap();
        symlink("below", top.join("to-folder")).unwrap();
        symlink("../../nowhere", top.join("dangling")).unwrap();
        symlink("/etc/passwd", top.join("absolute")).unwrap();
        let Tree::Directory(entries) = tree(top).unwrap() else {
            panic!("a folder is a directory");
        };
        let below = Tree::Directory([("empty".into(), Tree::Directory(BTreeMap::new()))].into());
        let expected: BTreeMap<OsString, Tree> = [
            ("plain".into(), Tree::file("plain")),
            (
                "script".into(),
                Tree::File {
                    executable: true,
                    contents: b"#!/bin/sh\n".to_vec(),
                },
            ),
            (".hidden".into(), Tree::file("dot")),
            ("backup~".into(), Tree::file("tilde")),
            (raw.to_owned(), Tree::file("bytes")),
            ("below".into(), below),
            ("to-folder".into(), Tree::Symlink("below".into())),
            ("dangling".into(), Tree::Symlink("../../nowhere".into())),
            ("absolute".into(), Tree::Symlink("/etc/passwd".into())),
        ]
        .into();
        assert_eq!(entries, expected);
    }

    #[test]
    fn what_a_tree_cannot_hold_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(directory.path().join("socket"));
        let error = tree(directory.path()).unwrap_err().to_string();
        assert!(
            error.contains("/socket is a socket, named pipe or device"),
            "{error}"
        );
        fs::remove_file(directory.path().join("socket")).unwrap();

        // No writer is waited for.
        let fifo = directory.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        let error = tree(directory.path()).unwrap_err();
        let hint = miette::Diagnostic::help(&error).unwrap().to_string();
        assert_eq!(hint, "move it out of the folder");
        let error = error.to_string();
        assert!(
            error.contains("/fifo is a socket, named pipe or device"),
            "{error}"
        );
        let folder = OpenFolder::open(directory.path()).unwrap();
        let error = folder.file(OsStr::new("fifo"), &mut FolderBudget::default());
        assert!(error.is_err(), "a pipe was read");
        fs::remove_file(fifo).unwrap();

        let deep = directory.path().join("d/".repeat(DEEPEST + 1));
        fs::create_dir_all(deep).unwrap();
        let error = tree(directory.path()).unwrap_err().to_string();
        assert!(error.contains("64 folders deep"), "{error}");
    }

    #[test]
    fn too_many_bytes_are_an_error_before_they_fill_the_memory() {
        let directory = tempfile::tempdir().unwrap();
        let file = File::create(directory.path().join("huge")).unwrap();
        file.set_len(10 << 40).unwrap();
        fs::write(directory.path().join("small"), "123456").unwrap();
        let folder = OpenFolder::open(directory.path()).unwrap();
        let mut budget = FolderBudget(10);
        folder.file(OsStr::new("small"), &mut budget).unwrap();
        let error = folder.file(OsStr::new("huge"), &mut budget).unwrap_err();
        assert!(error.to_string().contains("/huge is too large"), "{error}");
    }
}
