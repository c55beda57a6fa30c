//! What can go wrong in the store.

use std::io;
use std::path::PathBuf;

use super::canonical::CanonicalError;
use super::database::DatabaseError;
use super::lock::LockError;
use super::remove::RemoveError;
use super::roots::RootError;
use crate::diagnostics::in_store;
use crate::formats::derivation::aterm::AtermError;
use crate::formats::hash::Sha256Digest;
use crate::formats::nar::NarError;
use crate::formats::store_path::StorePathError;

/// Whether a system call failed because of the machine, and not of what was asked of it: no permission, no space.
fn is_machines_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::ReadOnlyFilesystem
    )
}

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
    /// See [`RemoveError`].
    #[error(transparent)]
    #[diagnostic(transparent)]
    Remove(#[from] RemoveError),
    /// See [`RootError`].
    #[error(transparent)]
    #[diagnostic(transparent)]
    Root(#[from] RootError),
    /// See [`StorePathError`].
    #[error(transparent)]
    #[diagnostic(transparent)]
    Path(#[from] StorePathError),
    /// A directory of the store cannot be made or used.
    #[error(
        "cannot {action} {}: {source}; run as the user that owns the store, root as a rule, or choose another place \
         with --root",
        path.display()
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What was being done, as an infinitive.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The store directory, or one above it, is a symbolic link.
    #[error(
        "the store directory goes through the symbolic link {}: builds would record the path behind it; make it a \
         directory, or mount the place it leads to there",
        path.display()
    )]
    Symlink {
        /// The link.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} {}: {source}{}", path.display(), in_store(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done, as an infinitive.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// An output cannot be made canonical: it holds a device, say.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Canonical(#[from] CanonicalError),
    /// A tree cannot be hashed, scanned or written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Nar(#[from] NarError),
    /// A store item called `….drv` is no derivation.
    #[error("{path} cannot be registered: {error}; only derivations may be called `.drv`")]
    Derivation {
        /// The path, with the store directory.
        path: String,
        /// What is wrong with its content.
        error: AtermError,
    },
    /// A build ended well without making one of its outputs.
    #[error("the build made no output {path}: expected a file, directory or link at {}", staged.display())]
    MissingOutput {
        /// The store item it was to become.
        path: String,
        /// Where it should be.
        staged: PathBuf,
    },
    /// A file has another content than it was said to have.
    #[error(
        "{} has the SHA-256 {found}, expected {expected}: it was changed, or cut short; remove it and fetch it again",
        file.display()
    )]
    Digest {
        /// The file.
        file: PathBuf,
        /// What it should be.
        expected: Sha256Digest,
        /// What it is.
        found: Sha256Digest,
    },
    /// An output was staged where it cannot be renamed into the store from.
    #[error(
        "{} is on another file system than the store {}: builds have to be staged on the store's own",
        staged.display(), store.display()
    )]
    OtherFileSystem {
        /// Where it was staged.
        staged: PathBuf,
        /// The physical store directory.
        store: PathBuf,
    },
    /// A path is to be changed by somebody who has not locked it.
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
    #[error("the store {} was opened for reading only", path.display())]
    ReadOnly {
        /// The physical store directory.
        path: PathBuf,
    },
}

impl StoreError {
    /// Whether the machine, and not what was asked, is to blame: no permission, no space, a lock held too long.
    pub fn is_environment(&self) -> bool {
        match self {
            Self::Directory { .. } | Self::Symlink { .. } | Self::Lock(_) => true,
            Self::Database(error) => matches!(
                error,
                DatabaseError::Locked { .. }
                    | DatabaseError::NotWritable { .. }
                    | DatabaseError::Full { .. }
                    | DatabaseError::Schema { .. }
            ),
            Self::Io { source, .. } | Self::Root(RootError::Io { source, .. }) => {
                is_machines_fault(source)
            }
            Self::Remove(error) => is_machines_fault(&error.source),
            Self::Nar(NarError::File { error, .. } | NarError::Sink(error))
            | Self::Canonical(CanonicalError::File { error, .. }) => is_machines_fault(error),
            _ => false,
        }
    }
}
