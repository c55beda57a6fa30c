// SPDX-License-Identifier: GPL-3.0-or-later
//! Errors of garbage-collector roots.

use std::path::PathBuf;

use crate::diagnostics::FileError;
use crate::formats::visible::visible_path;

/// A root that cannot be made, read or removed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RootError {
    /// A name that cannot be a file's.
    #[error(
        "`{0}` cannot be the name of a root: expected names without a leading dot, separated by single slashes"
    )]
    Name(String),
    /// Something that is not a link into the store is where an indirect root's link should go.
    #[error("{} is in the way: it is not a link into the store, so it stays", visible_path(.0))]
    #[diagnostic(help("choose another place for the root"))]
    Occupied(PathBuf),
    /// An indirect root's link inside the store would keep itself alive.
    #[error("{} is inside the store: a root has to be outside it", visible_path(.0))]
    InsideStore(PathBuf),
    /// The link or directory of a root cannot be read or written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] FileError),
}
