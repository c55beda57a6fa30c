//! The database of valid paths: SQLite, with the schema of Guix's daemon.
//!
//! A store path is *valid* exactly if it has a row in `ValidPaths`; whatever else lies in the store directory is work
//! in progress or a leftover. The tables, as Guix's schema version 7 has them (`nix/libstore/schema.sql` in Guix):
//!
//! | table | a row says |
//! |---|---|
//! | `ValidPaths(id, path, hash, registrationTime, deriver, narSize)` | `path` is valid; `hash` is `sha256:` and the NAR's digest in base 16, the time is in seconds since the Epoch, `narSize` in bytes |
//! | `Refs(referrer, reference)` | the path `referrer` holds the hash part of the path `reference` |
//! | `DerivationOutputs(drv, id, path)` | the derivation `drv` has an output called `id`, which is or will be `path` |
//! | `FailedPaths(path, time)` | builds of `path` failed; only the daemon writes it, when told to |
//!
//! Paths are logical, `/gnu/store/…`, wherever the files are. The journal is a write-ahead log, as in Guix: readers
//! never wait, and a process killed at any moment leaves either all of a transaction or nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use super::queries::texts;
use crate::formats::store_path::{StoreDir, StorePath};

/// The schema version that we and Guix's daemon speak.
pub const SCHEMA_VERSION: u32 = 7;

/// The tables of schema version 7.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS ValidPaths (
    id               INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    path             TEXT UNIQUE NOT NULL,
    hash             TEXT NOT NULL,
    registrationTime INTEGER NOT NULL,
    deriver          TEXT,
    narSize          INTEGER
);
CREATE TABLE IF NOT EXISTS Refs (
    referrer  INTEGER NOT NULL,
    reference INTEGER NOT NULL,
    PRIMARY KEY (referrer, reference),
    FOREIGN KEY (referrer) REFERENCES ValidPaths(id) ON DELETE CASCADE,
    FOREIGN KEY (reference) REFERENCES ValidPaths(id) ON DELETE RESTRICT
);
CREATE INDEX IF NOT EXISTS IndexReferrer ON Refs(referrer);
CREATE INDEX IF NOT EXISTS IndexReference ON Refs(reference);
-- A path that refers to itself could not be deleted otherwise: its row restricts its own deletion.
CREATE TRIGGER IF NOT EXISTS DeleteSelfRefs BEFORE DELETE ON ValidPaths
BEGIN
    DELETE FROM Refs WHERE referrer = old.id AND reference = old.id;
END;
CREATE TABLE IF NOT EXISTS DerivationOutputs (
    drv  INTEGER NOT NULL,
    id   TEXT NOT NULL,
    path TEXT NOT NULL,
    PRIMARY KEY (drv, id),
    FOREIGN KEY (drv) REFERENCES ValidPaths(id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS IndexDerivationOutputs ON DerivationOutputs(path);
CREATE TABLE IF NOT EXISTS FailedPaths (
    path TEXT PRIMARY KEY NOT NULL,
    time INTEGER NOT NULL
);
";

/// How transactions are committed. One that is lost in a power cut costs a rebuild; a sync for each would cost every build.
pub(super) const USUALLY: &str = "PRAGMA synchronous = NORMAL";

/// How a transaction is committed that must be on the disk before what comes next.
pub(super) const SYNCHRONOUS: &str = "PRAGMA synchronous = FULL";

/// Something wrong with the database or what it was asked.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum DatabaseError {
    /// The schema is newer, or older, than what we know.
    #[error(
        "the store database {} has schema version {found}, but this program knows version {SCHEMA_VERSION} only: {}",
        path.display(),
        if *found > SCHEMA_VERSION { "use a newer version of it" } else { "let guix-daemon upgrade the database first" }
    )]
    Schema {
        /// The file that holds the version.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
    /// The schema file holds no number.
    #[error(
        "{} should hold the schema version, {SCHEMA_VERSION}, but holds `{found}`: if the database beside it is Guix's, \
         write {SCHEMA_VERSION} into it",
        path.display()
    )]
    SchemaFile {
        /// The file.
        path: PathBuf,
        /// The start of what it holds.
        found: String,
    },
    /// The database file is gone while something else of the store is there.
    #[error(
        "the store database {} is missing, though {} says there was one: restore it from a copy, or make it anew from the \
         store with `bootstrap verify --recover`",
        path.display(), evidence.display()
    )]
    Missing {
        /// The database file.
        path: PathBuf,
        /// What says so: the schema file, or an item in the store directory.
        evidence: PathBuf,
    },
    /// Not a database, or one with broken pages or nonsense in it.
    #[error(
        "the store database {} is damaged ({detail}): restore it from a copy, or make it anew from the store with \
         `bootstrap verify --recover`",
        path.display()
    )]
    Corrupt {
        /// The database file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// Another process held it locked for too long.
    #[error(
        "the store database {} stayed locked by another process: wait for that process to end and try again",
        path.display()
    )]
    Locked {
        /// The database file.
        path: PathBuf,
    },
    /// No permission to write it.
    #[error(
        "the store database {} cannot be written ({detail}): run as the user that owns the store, root as a rule, or \
         choose another place with --root",
        path.display()
    )]
    NotWritable {
        /// The database file.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// The disk is full.
    #[error(
        "no space left for the store database {}: make room, with `bootstrap gc` for instance, and try again",
        path.display()
    )]
    Full {
        /// The database file.
        path: PathBuf,
    },
    /// A file beside the database cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done, as an infinitive.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// Anything else that SQLite says.
    #[error("cannot {action} the store database {}: {source}", path.display())]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// What was being done, as an infinitive.
        action: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A database to be made anew that needs not be.
    #[error(
        "the store database {} is whole: to make it anew all the same, move it and the schema file beside it away first",
        path.display()
    )]
    Whole {
        /// The database file.
        path: PathBuf,
    },
    /// A path that should be valid is not.
    #[error("the store item {path} is not valid: build it, or fetch it, first")]
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

/// Whether a store may be changed through a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Everything; directories and database are created where they are missing.
    #[default]
    ReadWrite,
    /// Looking only: no privileges are needed, nothing is created, and a store that does not exist is empty.
    ReadOnly,
}

/// A connection to the database, shared by threads.
#[derive(Debug)]
pub(super) struct Database {
    connection: Mutex<Connection>,
    pub(super) store_dir: StoreDir,
    path: PathBuf,
}

impl Database {
    /// Opens the database in `directory`, which exists. Whoever asks for `create` holds `big-lock` exclusively.
    pub(super) fn open(
        directory: &Path,
        store_dir: StoreDir,
        create: bool,
        busy: Duration,
    ) -> Result<Self, DatabaseError> {
        let path = directory.join("db.sqlite");
        let fail = |action, error| classify(&path, action, error);
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if create {
            flags |= OpenFlags::SQLITE_OPEN_CREATE;
        } else if !path.exists() {
            let evidence = directory.join("schema");
            return Err(DatabaseError::Missing { path, evidence });
        }
        let connection =
            Connection::open_with_flags(&path, flags).map_err(|error| fail("open", error))?;
        configure(&connection, busy).map_err(|error| fail("open", error))?;
        if connection
            .is_readonly(rusqlite::MAIN_DB)
            .map_err(|error| fail("open", error))?
        {
            return Err(DatabaseError::NotWritable {
                path,
                detail: "permission denied".to_owned(),
            });
        }
        let journal: String = connection
            .query_row("PRAGMA main.journal_mode", [], |row| row.get(0))
            .map_err(|error| fail("read", error))?;
        if !journal.eq_ignore_ascii_case("wal") {
            connection
                .query_row("PRAGMA main.journal_mode = wal", [], |_| Ok(()))
                .map_err(|error| fail("set up", error))?;
        }
        connection
            .execute_batch(USUALLY)
            .map_err(|error| fail("set up", error))?;
        if create {
            let schema = format!("BEGIN IMMEDIATE; {SCHEMA} COMMIT;");
            connection
                .execute_batch(&schema)
                .map_err(|error| fail("set up", error))?;
        }
        Ok(Self {
            connection: Mutex::new(connection),
            store_dir,
            path,
        })
    }

    /// Opens the database in `directory` for reading; where there is none, an empty one in memory takes its place.
    pub(super) fn open_read_only(
        directory: &Path,
        store_dir: StoreDir,
        busy: Duration,
    ) -> Result<Self, DatabaseError> {
        let path = directory.join("db.sqlite");
        let connection = if path.exists() {
            read_only_connection(&path, busy)
        } else {
            Connection::open_in_memory()
                .and_then(|connection| connection.execute_batch(SCHEMA).map(|()| connection))
        }
        .map_err(|error| classify(&path, "open", error))?;
        Ok(Self {
            connection: Mutex::new(connection),
            store_dir,
            path,
        })
    }

    pub(super) fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic in another thread rolled its transaction back.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fail(
        &self,
        action: &'static str,
    ) -> impl Fn(rusqlite::Error) -> DatabaseError + '_ {
        move |error| classify(&self.path, action, error)
    }

    pub(super) fn corrupt(&self, detail: String) -> DatabaseError {
        DatabaseError::Corrupt {
            path: self.path.clone(),
            detail,
        }
    }

    pub(super) fn parse_path(&self, text: &str) -> Result<StorePath, DatabaseError> {
        self.store_dir
            .parse(text)
            .map_err(|error| self.corrupt(error.to_string()))
    }

    pub(super) fn parse_paths(
        &self,
        texts: Vec<String>,
    ) -> Result<BTreeSet<StorePath>, DatabaseError> {
        texts.iter().map(|text| self.parse_path(text)).collect()
    }

    /// Returns once everything that was committed is on the disk, and in the database file alone: that can then be moved
    /// without its log.
    pub(super) fn settle(&self) -> Result<(), DatabaseError> {
        let busy: i64 = self
            .connection()
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .map_err(self.fail("write"))?;
        match busy {
            0 => Ok(()),
            _ => Err(DatabaseError::Locked {
                path: self.path.clone(),
            }),
        }
    }

    /// Checks the database's pages and foreign keys; takes time in proportion to its size.
    pub(super) fn check_integrity(&self) -> Result<(), DatabaseError> {
        let connection = self.connection();
        let found =
            texts(&connection, "PRAGMA integrity_check(1)", []).map_err(self.fail("check"))?;
        if found != ["ok"] {
            return Err(self.corrupt(found.join("; ")));
        }
        let broken: Option<String> = connection
            .query_row("PRAGMA foreign_key_check", [], |row| row.get(0))
            .optional()
            .map_err(self.fail("check"))?;
        match broken {
            Some(table) => Err(self.corrupt(format!("a row of {table} refers to no valid path"))),
            None => Ok(()),
        }
    }
}

fn configure(connection: &Connection, busy: Duration) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(busy)?;
    connection.set_prepared_statement_cache_capacity(32);
    // Up to 64 MiB of pages and a log of up to 32 MiB, where there is as much to do: the collector goes through the whole
    // database in no order.
    connection.execute_batch(
        "PRAGMA foreign_keys = ON; PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 8000",
    )
}

fn read_only_connection(path: &Path, busy: Duration) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = |uri: &Path, flags| -> Result<Connection, rusqlite::Error> {
        let connection = Connection::open_with_flags(uri, flags)?;
        configure(&connection, busy)?;
        connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
        Ok(connection)
    };
    match open(path, flags) {
        // Reading through a write-ahead log takes files beside the database, which we may not create. They are there
        // while anybody writes. Without them the database is as good as immutable.
        Err(error)
            if matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly)
            ) && log_is_empty(path) =>
        {
            let mut uri = String::from("file:");
            for byte in path.as_os_str().as_encoded_bytes() {
                match byte {
                    b'/' | b'.' | b'-' | b'_' => uri.push(*byte as char),
                    byte if byte.is_ascii_alphanumeric() => uri.push(*byte as char),
                    byte => uri.push_str(&format!("%{byte:02x}")),
                }
            }
            uri.push_str("?immutable=1");
            open(Path::new(&uri), flags | OpenFlags::SQLITE_OPEN_URI)
        }
        result => result,
    }
}

/// Whether the write-ahead log of the database `path` holds nothing that the database does not.
fn log_is_empty(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).map_or(true, |found| found.len() == 0)
}

/// Says in our words what SQLite means.
fn classify(path: &Path, action: &'static str, error: rusqlite::Error) -> DatabaseError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => DatabaseError::Locked { path },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => DatabaseError::Corrupt {
            path,
            detail: error.to_string(),
        },
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            DatabaseError::NotWritable {
                path,
                detail: error.to_string(),
            }
        }
        Some(ErrorCode::DiskFull) => DatabaseError::Full { path },
        // Statements are ours; what does not compile does not fit the tables.
        Some(ErrorCode::Unknown) => DatabaseError::Corrupt {
            path,
            detail: error.to_string(),
        },
        _ => match error {
            // A column that holds what the schema does not say.
            rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..) => DatabaseError::Corrupt {
                path,
                detail: error.to_string(),
            },
            source => DatabaseError::Sqlite {
                path,
                action,
                source,
            },
        },
    }
}
