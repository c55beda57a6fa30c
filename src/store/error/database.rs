// SPDX-License-Identifier: GPL-3.0-or-later
//! Errors of the store database.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::process::Resource;

use crate::diagnostics::{FileError, in_store, of_machine};
use crate::formats::visible::visible_path;
use crate::process_limit::limit_of;

/// Something wrong with the database or with a query.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum DatabaseError {
    /// A schema version that this program cannot use.
    #[error(
        "the store database {} has schema version {found}: expected 7, guix-daemon's, or Nix's 8 to 10",
        visible_path(path)
    )]
    #[diagnostic(help(
        "{}",
        if *found > 7 { "use the program that wrote it, or a newer version of bootstrap" }
        else { "start guix-daemon once: it upgrades the database" }
    ))]
    Schema {
        /// The file that holds the version.
        path: PathBuf,
        /// The version in it.
        found: u32,
    },
    /// The schema file does not hold a number.
    #[error(
        "{} holds `{found}`: expected the schema version, a number",
        visible_path(path)
    )]
    #[diagnostic(help("if guix-daemon made the database beside it, write 7 into the file"))]
    SchemaFile {
        /// The file.
        path: PathBuf,
        /// The start of its content.
        found: String,
    },
    /// The schema file is missing while the database is there.
    #[error(
        "{} is missing, which says the version of {}",
        visible_path(path),
        visible_path(database)
    )]
    #[diagnostic(help(
        "if guix-daemon or bootstrap made the database, write 7 into the file; else `bootstrap verify --recover` makes a new \
         database from the store"
    ))]
    NoSchemaFile {
        /// The schema file.
        path: PathBuf,
        /// The database file.
        database: PathBuf,
    },
    /// The database file is missing while something else of the store exists.
    #[error(
        "the store database {} is missing, though {} shows that there was one",
        visible_path(path),
        visible_path(evidence)
    )]
    #[diagnostic(help(
        "restore it from a copy, or rebuild it from the store with `bootstrap verify --recover`"
    ))]
    Missing {
        /// The database file.
        path: PathBuf,
        /// What shows it: the schema file, or an item in the store directory.
        evidence: PathBuf,
    },
    /// Not a database, or one with broken pages or nonsense in it.
    #[error("the store database {} is damaged ({detail})", visible_path(path))]
    #[diagnostic(help(
        "restore it from a copy, or rebuild it from the store with `bootstrap verify --recover`"
    ))]
    Corrupt {
        /// The database file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// Another process held it locked for too long.
    #[error(
        "the store database {} stayed locked by another process",
        visible_path(path)
    )]
    #[diagnostic(help("wait for that process to end, and try again"))]
    Locked {
        /// The database file.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("cannot write the store database {}: {source}", visible_path(path))]
    #[diagnostic(help("{}", in_store(source)))]
    NotWritable {
        /// The database file.
        path: PathBuf,
        /// Why: permissions, or a file system that is mounted read-only.
        source: io::Error,
    },
    /// The disk is full.
    #[error("no space left for the store database {}", visible_path(path))]
    #[diagnostic(help("free some space, for instance with `bootstrap gc`, and try again"))]
    Full {
        /// The database file.
        path: PathBuf,
    },
    /// The disk failed, as far as SQLite can tell.
    #[error("cannot {action} the store database {}: {detail}", visible_path(path))]
    #[diagnostic(help("{}", device_hint()))]
    Device {
        /// The database file.
        path: PathBuf,
        /// What was being done, as an infinitive.
        action: &'static str,
        /// SQLite's message.
        detail: String,
    },
    /// A file beside the database cannot be read or written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] FileError),
    /// Any other error of SQLite.
    #[error("cannot {action} the store database {}: {source}", visible_path(path))]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// What was being done, as an infinitive.
        action: &'static str,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// The database that was to be rebuilt is intact.
    #[error(
        "the store database {} is intact: there is nothing to recover",
        visible_path(path)
    )]
    #[diagnostic(help("to rebuild it anyway, first move it and the schema file beside it away"))]
    Whole {
        /// The database file.
        path: PathBuf,
    },
    /// A path that should be valid is not.
    #[error("the store item {path} is not valid")]
    #[diagnostic(help("build it, or fetch it, first"))]
    NotValid {
        /// The path, with the store directory.
        path: String,
    },
    /// A path to be registered refers to one that is neither valid nor registered with it.
    #[error("cannot register {path}: it refers to {reference}, which is not valid")]
    InvalidReference {
        /// The path to be registered.
        path: String,
        /// What it refers to.
        reference: String,
    },
    /// Paths to be registered refer to each other in a circle.
    #[error("cannot register {path}: it refers to {reference}, which refers back to it")]
    Cycle {
        /// One path of the circle.
        path: String,
        /// The next one.
        reference: String,
    },
}

/// A database with less room than this is not of use, in bytes.
const USEFUL_SIZE: u64 = 64 << 20;

/// What to do about an error of SQLite's that names no cause: it reports a file that may not grow as a failing disk.
fn device_hint() -> &'static str {
    let limit = limit_of(Resource::Fsize).and_then(|limit| limit.current);
    match limit.is_some_and(|limit| limit < USEFUL_SIZE) {
        true => of_machine(&Errno::FBIG.into()),
        false => of_machine(&Errno::IO.into()),
    }
}

impl DatabaseError {
    /// Whether the machine is at fault, and not the query or the data.
    pub fn is_environment(&self) -> bool {
        match self {
            Self::Missing { .. }
            | Self::Corrupt { .. }
            | Self::Locked { .. }
            | Self::NotWritable { .. }
            | Self::Full { .. }
            | Self::Device { .. }
            | Self::Schema { .. }
            | Self::SchemaFile { .. }
            | Self::NoSchemaFile { .. } => true,
            Self::File(error) => error.is_environment(),
            _ => false,
        }
    }
}
