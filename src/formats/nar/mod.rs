// SPDX-License-Identifier: GPL-3.0-or-later
//! The Nix archive (NAR): one file tree as one sequence of bytes, the same for equal trees.
//!
//! A NAR is a sequence of strings, each a little-endian 64-bit length, the bytes, and zeros up to a multiple of eight:
//!
//! ```text
//! nar       = "nix-archive-1" node
//! node      = "(" "type" ( regular | directory | symlink ) ")"
//! regular   = "regular" [ "executable" "" ] "contents" CONTENTS
//! directory = "directory" { "entry" "(" "name" NAME "node" node ")" }
//! symlink   = "symlink" "target" TARGET
//! ```
//!
//! Entries ascend by the bytes of their names. Of the metadata only the owner's execute bit is kept. The format is that
//! of Nix's `nix-store --dump` and of Guix's `(guix serialization)`.
//!
//! [`Tree`] is a tree in memory. Trees on disk are archived and restored by [`store::nar`](crate::store::nar). The
//! readers take hostile input: they accept exactly what the writers write, allocate no more than a fixed amount beyond
//! what they have read, and never follow a symbolic link.

pub(crate) mod encode;
pub(crate) mod read;
mod tree;

pub use tree::Tree;

use std::io::{self, Read, Write};
use std::path::PathBuf;

use crate::formats::count::counted;
use crate::formats::visible::visible_path;

/// How many directories may be nested in an archive or in a tree that is archived.
///
/// The format has no bound. Real trees stay far below this one, which keeps a hostile archive from exhausting the stack
/// of a program that walks the restored tree.
pub const MAX_DEPTH: usize = 512;

/// The longest name of a directory entry, in bytes: `NAME_MAX` of the file systems that hold stores.
const MAX_NAME: u64 = 255;

/// The longest target of a symbolic link, in bytes: `PATH_MAX` without the final NUL.
const MAX_TARGET: u64 = 4095;

/// A tree that cannot be archived, or an archive that cannot be read or restored.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum NarError {
    /// A system call on a file failed.
    #[error("cannot {action} {}: {error}", visible_path(path))]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
    /// A file that archives cannot hold.
    #[error(
        "{} is a {kind}: expected only regular files, directories and symbolic links",
        visible_path(path)
    )]
    #[diagnostic(help("remove it"))]
    FileType {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A file that became shorter while it was read.
    #[error(
        "{} changed while it was read: expected {}, saw {seen}",
        visible_path(path),
        counted(*expected, "byte")
    )]
    #[diagnostic(help("try again"))]
    Changed {
        /// The file.
        path: PathBuf,
        /// Its size when it was opened.
        expected: u64,
        /// The bytes that could be read.
        seen: u64,
    },
    /// Directories nested deeper than [`MAX_DEPTH`].
    #[error("{} is nested too deep: expected at most {MAX_DEPTH} directories in each other", visible_path(.0))]
    Depth(PathBuf),
    /// A tree in memory with a name or a link target that no file can have.
    #[error("cannot archive the entry `{}`: {reason}", .entry.escape_ascii())]
    Entry {
        /// The name or target.
        entry: Vec<u8>,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The archive could not be written.
    #[error("cannot write the archive: {0}")]
    Sink(io::Error),
    /// It was stopped.
    #[error("stopped before its end")]
    Stopped,
    /// The archive could not be read.
    #[error("cannot read the archive after byte {offset}: {error}")]
    Source {
        /// How much had been read.
        offset: u64,
        /// Why the next read failed.
        error: io::Error,
    },
    /// The archive is malformed.
    #[error("not a Nix archive: at byte {offset}: {problem}")]
    Corrupt {
        /// Where, from 0: the start of the string (its length field) that does not fit, or the very byte where padding
        /// is not zero, the archive ends too early or goes on too long.
        offset: u64,
        /// What is wrong there.
        problem: NarProblem,
    },
}

/// What is wrong with a malformed archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum NarProblem {
    /// The input ends inside the archive.
    #[error("the archive ends here: it is incomplete")]
    Truncated,
    /// Bytes after the end of the archive.
    #[error("the archive is complete here, but more bytes follow")]
    Trailing,
    /// Another string than the grammar allows.
    #[error("expected {expected}, saw `{seen}`")]
    Unexpected {
        /// What the grammar allows.
        expected: &'static str,
        /// What is there, with escapes for unprintable bytes.
        seen: String,
    },
    /// A string longer than it can be.
    #[error("{what} of {length} bytes: expected at most {limit}")]
    Length {
        /// What the string is.
        what: &'static str,
        /// The length that the archive gives.
        length: u64,
        /// The longest that is allowed.
        limit: u64,
    },
    /// Padding that is not zero.
    #[error("the padding holds the byte {0}: expected 0")]
    Padding(u8),
    /// A name or link target that no file can have.
    #[error("`{entry}` {reason}")]
    Entry {
        /// The name or target, with escapes for unprintable bytes.
        entry: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An entry that does not come after the one before it.
    #[error("the entry `{name}` follows `{previous}`: expected ascending names without duplicates")]
    Order {
        /// The entry's name.
        name: String,
        /// The name before it.
        previous: String,
    },
    /// Directories nested deeper than [`MAX_DEPTH`].
    #[error("expected at most {MAX_DEPTH} directories in each other")]
    Depth,
}

/// Reads an archive and checks that it is well-formed, to its end; the content goes nowhere.
pub fn check(source: &mut dyn Read) -> Result<(), NarError> {
    struct Ignore;
    impl read::Visitor for Ignore {}
    read::read(source, &mut Ignore)
}

/// What forbids `name` as the name of a directory entry.
pub(crate) fn name_problem(name: &[u8]) -> Option<&'static str> {
    match name {
        b"" => Some("is not a name: it is empty"),
        b"." | b".." => Some("is not a name: it stands for a directory"),
        _ if name.contains(&b'/') => Some("is not a name: it holds a slash"),
        _ if name.contains(&0) => Some("is not a name: it holds a NUL"),
        _ if name.len() as u64 > MAX_NAME => Some("is longer than 255 bytes"),
        _ => None,
    }
}

/// What forbids `target` as the target of a symbolic link.
pub(crate) fn target_problem(target: &[u8]) -> Option<&'static str> {
    match target {
        b"" => Some("is not the target of a link: it is empty"),
        _ if target.contains(&0) => Some("is not the target of a link: it holds a NUL"),
        _ if target.len() as u64 > MAX_TARGET => Some("is longer than 4095 bytes"),
        _ => None,
    }
}

/// Writes the archive of one regular file whose `size` bytes are read from `contents`.
///
/// # Errors
/// Those of either side, and `UnexpectedEof` where `contents` is shorter than `size`.
pub fn write_file(
    sink: &mut impl Write,
    executable: bool,
    size: u64,
    contents: &mut impl Read,
) -> io::Result<()> {
    let mut start = Vec::new();
    encode::string(&mut start, encode::MAGIC);
    encode::file_start(&mut start, executable, size);
    sink.write_all(&start)?;
    if io::copy(&mut contents.take(size), sink)? != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut end = Vec::new();
    encode::file_end(&mut end, size);
    sink.write_all(&end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_is_singular() {
        let error = NarError::Changed {
            path: "/x".into(),
            expected: 1,
            seen: 0,
        };
        let text = error.to_string();
        assert!(text.ends_with("expected 1 byte, saw 0"), "{text}");
    }

    #[test]
    fn a_file_is_archived_as_a_tree_of_one_file() {
        for contents in ["", "1234567", "12345678"] {
            let mut archive = Vec::new();
            let size = contents.len() as u64;
            write_file(&mut archive, true, size, &mut contents.as_bytes()).unwrap();
            assert_eq!(archive, Tree::executable(contents).to_nar().unwrap());
            assert!(write_file(&mut Vec::new(), true, size + 1, &mut contents.as_bytes()).is_err());
        }
    }
}
