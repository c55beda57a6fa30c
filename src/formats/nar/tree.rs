// SPDX-License-Identifier: GPL-3.0-or-later
//! A small tree in memory: recipe files, texts that belong together, test fixtures.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;

use super::read::{self, Visitor};
use super::{MAX_DEPTH, NarError, encode, name_problem, target_problem};
use crate::formats::hash::Sha256Digest;

/// A file tree with what archives keep of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// A regular file.
    File {
        /// Whether its owner may execute it.
        executable: bool,
        /// Its bytes.
        contents: Vec<u8>,
    },
    /// A directory: its entries by name.
    Directory(BTreeMap<OsString, Tree>),
    /// A symbolic link.
    Symlink(
        /// Where it leads.
        OsString,
    ),
}

impl Tree {
    /// A regular file that is not executable.
    pub fn file(contents: impl Into<Vec<u8>>) -> Self {
        Self::File {
            executable: false,
            contents: contents.into(),
        }
    }

    /// A regular file that is executable.
    pub fn executable(contents: impl Into<Vec<u8>>) -> Self {
        Self::File {
            executable: true,
            contents: contents.into(),
        }
    }

    /// A directory with the given entries; of two with one name the later stays.
    pub fn directory<Name: Into<OsString>>(
        entries: impl IntoIterator<Item = (Name, Tree)>,
    ) -> Self {
        let entries = entries.into_iter();
        Self::Directory(entries.map(|(name, tree)| (name.into(), tree)).collect())
    }

    /// A symbolic link to `target`.
    pub fn symlink(target: impl Into<OsString>) -> Self {
        Self::Symlink(target.into())
    }

    /// Writes the archive of this tree. A name or link target that no file can have is an error.
    pub fn dump(&self, sink: &mut dyn Write) -> Result<(), NarError> {
        sink.write_all(&self.to_nar()?).map_err(NarError::Sink)
    }

    /// The archive of this tree.
    pub fn to_nar(&self) -> Result<Vec<u8>, NarError> {
        let mut archive = Vec::new();
        encode::string(&mut archive, encode::MAGIC);
        self.visit(&mut Encoder {
            archive: &mut archive,
            depth: 0,
            size: 0,
        })?;
        Ok(archive)
    }

    /// The SHA-256 of the archive of this tree.
    pub fn nar_sha256(&self) -> Result<Sha256Digest, NarError> {
        Ok(Sha256Digest::of(self.to_nar()?))
    }

    /// Reads an archive into memory: as much of it as the source holds, so bound the source.
    pub fn parse(source: &mut dyn Read) -> Result<Self, NarError> {
        let mut builder = Builder::default();
        read::read(source, &mut builder)?;
        // The reader has seen a whole node, so there is a root.
        Ok(builder.root.unwrap_or_else(|| Self::file([])))
    }

    /// Passes this tree to `visitor`, checking names, targets and depth on the way.
    pub(crate) fn visit(&self, visitor: &mut dyn Visitor) -> Result<(), NarError> {
        let invalid = |entry: &OsStr, reason| NarError::Entry {
            entry: entry.as_bytes().to_vec(),
            reason,
        };
        // Iterative: one open iterator for each directory on the way down.
        let mut open: Vec<std::collections::btree_map::Iter<'_, OsString, Tree>> = Vec::new();
        let mut next = Some((None, self));
        while let Some((name, node)) = next {
            match node {
                Self::File {
                    executable,
                    contents,
                } => {
                    visitor.file(name, *executable, contents.len() as u64)?;
                    visitor.contents(contents)?;
                    visitor.file_end()?;
                }
                Self::Symlink(target) => {
                    if let Some(reason) = target_problem(target.as_bytes()) {
                        return Err(invalid(target, reason));
                    }
                    visitor.symlink(name, target)?;
                }
                Self::Directory(entries) => {
                    if open.len() == MAX_DEPTH {
                        return Err(NarError::Depth(name.unwrap_or_default().into()));
                    }
                    visitor.directory(name)?;
                    open.push(entries.iter());
                }
            }
            next = None;
            while let Some(entries) = open.last_mut() {
                if let Some((name, node)) = entries.next() {
                    if let Some(reason) = name_problem(name.as_bytes()) {
                        return Err(invalid(name, reason));
                    }
                    next = Some((Some(name.as_os_str()), node));
                    break;
                }
                open.pop();
                visitor.directory_end()?;
            }
        }
        Ok(())
    }
}

/// Writes the nodes that it receives as an archive.
struct Encoder<'a> {
    archive: &'a mut Vec<u8>,
    /// How many directories are open.
    depth: usize,
    /// The size of the file that is being written.
    size: u64,
}

impl Encoder<'_> {
    fn node_start(&mut self, name: Option<&OsStr>) {
        if let Some(name) = name {
            encode::entry_start(self.archive, name.as_bytes());
        }
    }

    fn node_end(&mut self) {
        if self.depth > 0 {
            encode::entry_end(self.archive);
        }
    }
}

impl Visitor for Encoder<'_> {
    fn directory(&mut self, name: Option<&OsStr>) -> Result<(), NarError> {
        self.node_start(name);
        encode::directory_start(self.archive);
        self.depth += 1;
        Ok(())
    }

    fn directory_end(&mut self) -> Result<(), NarError> {
        encode::directory_end(self.archive);
        self.depth -= 1;
        self.node_end();
        Ok(())
    }

    fn file(&mut self, name: Option<&OsStr>, executable: bool, size: u64) -> Result<(), NarError> {
        self.node_start(name);
        encode::file_start(self.archive, executable, size);
        self.size = size;
        Ok(())
    }

    fn contents(&mut self, bytes: &[u8]) -> Result<(), NarError> {
        self.archive.extend_from_slice(bytes);
        Ok(())
    }

    fn file_end(&mut self) -> Result<(), NarError> {
        encode::file_end(self.archive, self.size);
        self.node_end();
        Ok(())
    }

    fn symlink(&mut self, name: Option<&OsStr>, target: &OsStr) -> Result<(), NarError> {
        self.node_start(name);
        encode::symlink(self.archive, target.as_bytes());
        self.node_end();
        Ok(())
    }
}

/// Builds a tree from the nodes that it receives.
#[derive(Default)]
struct Builder {
    /// The directories on the way down, with the name of each in the one above.
    open: Vec<(Option<OsString>, BTreeMap<OsString, Tree>)>,
    /// The file that is being read: its name, execute bit and content so far.
    file: (Option<OsString>, bool, Vec<u8>),
    /// The whole tree, once it is complete.
    root: Option<Tree>,
}

impl Builder {
    fn place(&mut self, name: Option<OsString>, tree: Tree) {
        match (self.open.last_mut(), name) {
            (Some((_, entries)), Some(name)) => {
                entries.insert(name, tree);
            }
            _ => self.root = Some(tree),
        }
    }
}

impl Visitor for Builder {
    fn directory(&mut self, name: Option<&OsStr>) -> Result<(), NarError> {
        self.open.push((name.map(OsStr::to_owned), BTreeMap::new()));
        Ok(())
    }

    fn directory_end(&mut self) -> Result<(), NarError> {
        if let Some((name, entries)) = self.open.pop() {
            self.place(name, Tree::Directory(entries));
        }
        Ok(())
    }

    fn file(&mut self, name: Option<&OsStr>, executable: bool, _: u64) -> Result<(), NarError> {
        self.file = (name.map(OsStr::to_owned), executable, Vec::new());
        Ok(())
    }

    fn contents(&mut self, bytes: &[u8]) -> Result<(), NarError> {
        self.file.2.extend_from_slice(bytes);
        Ok(())
    }

    fn file_end(&mut self) -> Result<(), NarError> {
        let (name, executable, contents) = std::mem::take(&mut self.file);
        self.place(
            name,
            Tree::File {
                executable,
                contents,
            },
        );
        Ok(())
    }

    fn symlink(&mut self, name: Option<&OsStr>, target: &OsStr) -> Result<(), NarError> {
        self.place(name.map(OsStr::to_owned), Tree::Symlink(target.to_owned()));
        Ok(())
    }
}
