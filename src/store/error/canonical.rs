// SPDX-License-Identifier: GPL-3.0-or-later
//! Errors of making the metadata of a tree canonical.

use std::path::PathBuf;

use crate::diagnostics::FileError;
use crate::formats::nar::MAX_DEPTH;
use crate::formats::visible::visible_path;

/// A tree whose metadata cannot be made canonical.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum CanonicalError {
    /// A system call on a file failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] FileError),
    /// A file that the store cannot hold.
    #[error(
        "{} is a {kind}: a store item holds only regular files, directories and symbolic links",
        visible_path(path)
    )]
    #[diagnostic(help("remove it at the end of the build"))]
    FileType {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A file with hard links outside the tree.
    #[error(
        "{} has {links} hard links, of which only {inside} are in the output",
        visible_path(path)
    )]
    #[diagnostic(help("copy the file instead of linking it"))]
    HardLink {
        /// One of the links inside.
        path: PathBuf,
        /// All links.
        links: u64,
        /// The links inside.
        inside: u64,
    },
    /// Directories nested deeper than an archive may have them.
    #[error("{} is nested too deep: expected at most {MAX_DEPTH} directories in each other", visible_path(.0))]
    Depth(PathBuf),
}
