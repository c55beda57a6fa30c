// SPDX-License-Identifier: GPL-3.0-or-later
//! Errors of the store: [`StoreError`], and one for each of its parts.

mod canonical;
mod database;
mod locking;
mod roots;

pub use canonical::CanonicalError;
pub use database::DatabaseError;
pub use locking::LockError;
pub use roots::RootError;

use std::path::PathBuf;

use crate::diagnostics::{FileError, is_environment};
use crate::formats::derivation::InstantiateError;
use crate::formats::derivation::aterm::AtermError;
use crate::formats::nar::NarError;
use crate::formats::store_path::StorePathError;
use crate::formats::visible::visible_path;

/// Something that went wrong in the store.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum StoreError {
    /// See [`DatabaseError`].
    #[error(transparent)]
    #[diagnostic(transparent)]
    Database(#[from] DatabaseError),
    /// See [`LockError`].
    #[error(transparent)]
    #[diagnostic(transparent)]
    Lock(#[from] LockError),
    /// See [`RootError`].
    #[error(transparent)]
    #[diagnostic(transparent)]
    Root(#[from] RootError),
    /// See [`StorePathError`].
    #[error(transparent)]
    #[diagnostic(transparent)]
    Path(#[from] StorePathError),
    /// A directory of the store cannot be made or used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Directory(FileError),
    /// The store directory, or one above it, is a symbolic link.
    #[error(
        "the store directory goes through the symbolic link {}: builds would record the path behind it",
        visible_path(path)
    )]
    #[diagnostic(help("make it a directory, or mount there what it leads to"))]
    Symlink {
        /// The link.
        path: PathBuf,
    },
    /// A file cannot be read, written or removed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] FileError),
    /// An output cannot be made canonical: it holds a device, say.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Canonical(#[from] CanonicalError),
    /// A tree cannot be hashed, scanned or written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Nar(NarError),
    /// A store item called `….drv` is not a derivation.
    #[error("cannot register {path}: {error}")]
    #[diagnostic(help("only derivations may be called `.drv`"))]
    Derivation {
        /// The path, with the store directory.
        path: String,
        /// What is wrong with its content.
        error: AtermError,
    },
    /// A derivation has an output path that does not follow from its content.
    #[error("derivation `{path}' has incorrect output `{output}', should be `{expected}'")]
    #[diagnostic(help("make the derivation again: its output paths follow from the rest of it"))]
    WrongOutput {
        /// The derivation's path, with the store directory.
        path: String,
        /// The output's path as it is in the derivation.
        output: String,
        /// The path that follows.
        expected: String,
    },
    /// A derivation's output paths cannot be computed.
    #[error("cannot register {path}: {error}")]
    DerivationContent {
        /// The path, with the store directory.
        path: String,
        /// Why not.
        error: InstantiateError,
    },
    /// A derivation uses another that is not there, or one that uses it.
    #[error("derivation `{path}' uses the derivation `{input}', which is not valid")]
    #[diagnostic(help("add the derivations that it uses first"))]
    InputDerivation {
        /// The derivation's path, with the store directory.
        path: String,
        /// The other one's.
        input: String,
    },
    /// A build succeeded without making one of its outputs.
    #[error(
        "the build did not create {path}: expected a file, directory or link at {}",
        visible_path(staged)
    )]
    MissingOutput {
        /// The store item it was to become.
        path: String,
        /// Where it should be.
        staged: PathBuf,
    },
    /// A tree that should be one regular file.
    #[error("cannot add {name} by its flat hash: expected a regular file")]
    NotAFile {
        /// The name that it was to have.
        name: String,
    },
    /// An output was staged where it cannot be renamed into the store from.
    #[error(
        "{} is on another file system than the store {}: builds have to be staged on the same one",
        visible_path(staged),
        visible_path(store)
    )]
    OtherFileSystem {
        /// Where it was staged.
        staged: PathBuf,
        /// The physical store directory.
        store: PathBuf,
    },
    /// A path is to be changed without its lock.
    #[error("{path} has to be locked before it is built or added")]
    NotLocked {
        /// The path, with the store directory.
        path: String,
    },
    /// A path to be deleted that a root keeps.
    #[error("cannot delete {path}: it is still alive")]
    #[diagnostic(help("`bootstrap roots` lists what keeps store items"))]
    StillAlive {
        /// The path, with the store directory.
        path: String,
    },
    /// The store was opened for reading.
    #[error("the store {} was opened for reading only", visible_path(path))]
    ReadOnly {
        /// The physical store directory.
        path: PathBuf,
    },
}

impl From<NarError> for StoreError {
    fn from(error: NarError) -> Self {
        match error {
            NarError::File {
                action,
                path,
                error,
            } => Self::File(FileError::in_store(action, path)(error)),
            other => Self::Nar(other),
        }
    }
}

impl StoreError {
    /// Whether the machine, and not what was asked, is to blame: no permission, no space, a lock held too long.
    pub fn is_environment(&self) -> bool {
        match self {
            Self::Directory { .. } | Self::Symlink { .. } | Self::Lock(_) => true,
            Self::Database(error) => error.is_environment(),
            Self::File(error)
            | Self::Root(RootError::File(error))
            | Self::Canonical(CanonicalError::File(error)) => error.is_environment(),
            Self::Nar(NarError::File { error, .. } | NarError::Sink(error)) => {
                is_environment(error)
            }
            _ => false,
        }
    }
}
