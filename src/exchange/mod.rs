// SPDX-License-Identifier: GPL-3.0-or-later
//! Exchanging store items with other stores: signatures, archives of several items, substitute servers.
//!
//! | module | what | format of |
//! |---|---|---|
//! | [`narinfo`](crate::formats::narinfo) | what a server says of an item, and what of that is signed | Nix and Guix |
//! | [`stream`] | items one after the other, as `nix-store --export` writes them | Nix and Guix |
//! | [`compress`] | compressing archives on all cores | gzip and zstd |
//! | [`decompress`] | decoding archives of servers | zstd, gzip, xz, lzip, bzip2, brotli |
//! | [`publish`] | a substitute server in files | Nix and Guix |
//! | [`substitute`] | installing from several such servers | |
//! | [`server`] | one server: narinfos, archives, further tries | Nix and Guix |
//! | `query` | asking a server about items without installing them | |
//! | `files` | reading its files | |
//! | `batch` | making several items valid at a time | |
//! | [`guile`] | the final inputs as a Guile module | Guix |
//! | [`daemon_connection`] | whether a daemon serves where a client looks for it | Guix |
//!
//! Keys and signatures are in [`keys`](crate::formats::keys). Nothing is given away that is not what the database says.
//! Nothing taken from others becomes valid before its archive has the hash, and the hash the signature, that it should.

use std::time::Duration;

use crate::diagnostics::FileError;
use crate::formats::nar::NarError;
use crate::formats::narinfo::NarInfoError;
use crate::store::StoreError;

mod batch;
pub mod compress;
pub mod daemon_connection;
pub mod decompress;
mod files;
pub mod guile;
mod incoming;
pub mod install;
pub mod nar_reader;
pub mod publish;
mod query;
pub mod server;
pub mod stream;
pub mod substitute;
mod urls;
mod watch;

/// Whether a server that does not answer as it should is worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It may pass: try again, after the time that the server asked for.
    Passing(Option<Duration>),
    /// It sends nothing, or hardly anything, for as long as anyone waits.
    Stalled,
    /// Nothing listens at the server's address.
    Refused,
    /// The server itself is of no use: its name or certificate is wrong, or it is for another store.
    Server,
    /// This file is of no use. The server may have others.
    File,
}

/// Why items could not be given or taken.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ExchangeError {
    /// A narinfo that cannot be read, or is not signed by a trusted key.
    #[error(transparent)]
    #[diagnostic(transparent)]
    NarInfo(#[from] NarInfoError),
    /// An item with other bytes or references than were said.
    #[error(
        "{path}, from {location}: expected {what} {expected}, saw {seen} (damaged or tampered with)"
    )]
    Differs {
        /// The item.
        path: String,
        /// Where it is from.
        location: String,
        /// What differs.
        what: &'static str,
        /// What was said.
        expected: String,
        /// What is there.
        seen: String,
    },
    /// An item whose signature is of other bytes.
    #[error("{path}, from {location}: the signature does not match: it was altered after signing")]
    Altered {
        /// The item.
        path: String,
        /// Where it is from.
        location: String,
    },
    /// An item of this store that is not what the database says.
    #[error(
        "{path} is damaged in the store: expected {what} {expected}, as recorded in the database, saw {seen}"
    )]
    #[diagnostic(help("repair the package that it belongs to: `bootstrap build --repair PKG`"))]
    Damaged {
        /// The item.
        path: String,
        /// What differs.
        what: &'static str,
        /// What the database says.
        expected: String,
        /// What is there.
        seen: String,
    },
    /// An item whose name stands for something else.
    #[error(
        "{path}, from {location}: its name is that of a lock or staging directory of {owner}, and its path does not follow from its content"
    )]
    Name {
        /// The item.
        path: String,
        /// Where it is from.
        location: String,
        /// The item whose lock or staging directory has the name.
        owner: String,
    },
    /// An item whose archive, decoded, is none.
    #[error("{path}, from {location}: {error} (damaged or tampered with)")]
    Archive {
        /// The item.
        path: String,
        /// Where it is from.
        location: String,
        /// What is wrong with the archive.
        error: NarError,
    },
    /// An item that refers to one that is not there.
    #[error("{path} needs {missing}, which is neither valid here nor in {location}")]
    #[diagnostic(help("export the closure: `bootstrap export` without --alone"))]
    Missing {
        /// The item.
        path: String,
        /// What it needs.
        missing: String,
        /// Where it is from.
        location: String,
    },
    /// A stream that is not an export.
    #[error("{location} is not an export of store items: {problem}")]
    #[diagnostic(help(
        "make one with `bootstrap export`, `guix archive --export` or `nix-store --export`, and copy the whole file"
    ))]
    Stream {
        /// Where it is from.
        location: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A URL that no server can have.
    #[error("{0}: expected http://, https:// or file://, and no parameter but `priority`")]
    Url(String),
    /// A server that does not answer as it should.
    #[error("{url}: {problem}")]
    Server {
        /// The URL.
        url: String,
        /// What went wrong.
        problem: String,
        /// Whether another try can help.
        trouble: Trouble,
    },
    /// The run was stopped.
    #[error("interrupted")]
    Interrupted,
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// A tree that cannot be read, or an archive.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Nar(#[from] NarError),
    /// A file cannot be read or written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] FileError),
}

impl ExchangeError {
    /// Whether a server is at fault, which another may make good, and not this machine.
    pub(crate) fn is_of_server(&self) -> bool {
        matches!(
            self,
            Self::Server { .. }
                | Self::NarInfo(_)
                | Self::Differs { .. }
                | Self::Name { .. }
                | Self::Archive { .. }
        )
    }

    /// Whether bytes are wrong, a server's or the store's, and not the machine or the request.
    pub fn is_mistrust(&self) -> bool {
        matches!(
            self,
            Self::NarInfo(NarInfoError::Untrusted { .. } | NarInfoError::Altered { .. })
                | Self::Altered { .. }
                | Self::Differs { .. }
                | Self::Damaged { .. }
                | Self::Name { .. }
                | Self::Archive { .. }
        )
    }
}
