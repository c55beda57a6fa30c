// SPDX-License-Identifier: GPL-3.0-or-later
//! The database of valid paths: SQLite, with the schema of Guix's daemon.
//!
//! A store path is *valid* exactly if it has a row in `ValidPaths`. Anything else in the store directory is work in
//! progress or a leftover. The tables, as Guix's schema version 7 has them (`nix/libstore/schema.sql` in Guix):
//!
//! | table | a row says |
//! |---|---|
//! | `ValidPaths(id, path, hash, registrationTime, deriver, narSize)` | `path` is valid; `hash` is `sha256:` and the NAR's digest in base 16, the time is in seconds since the Epoch, `narSize` in bytes |
//! | `Refs(referrer, reference)` | the path `referrer` holds the hash part of the path `reference` |
//! | `DerivationOutputs(drv, id, path)` | the derivation `drv` has an output called `id`, which is or will be `path` |
//! | `FailedPaths(path, time)` | the build of `path` failed; written with `--cache-failures` only |
//!
//! [`schema`] says which other versions can be used. Paths are logical, `/gnu/store/…`, wherever the files are. The
//! journal is a write-ahead log, as in Guix: readers never wait, and a process killed at any moment leaves all of a
//! transaction or nothing.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::ffi::Error as SqliteFailure;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use super::directories::{free_space, has_no_inodes, is_read_only};
use super::error::DatabaseError;
use super::schema;
use crate::formats::store_path::{StoreDir, StorePath};

/// How transactions are committed. One that is lost in a power cut costs a rebuild; a sync for each would cost every
/// build.
pub(super) const USUALLY: &str = "PRAGMA synchronous = NORMAL";

/// How a transaction is committed that must be on the disk before what comes next.
pub(super) const SYNCHRONOUS: &str = "PRAGMA synchronous = FULL";

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
    /// Opens the database in `directory`, which exists. With `create`, the caller holds `big-lock` exclusively.
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
            let readonly = SqliteFailure::new(rusqlite::ffi::SQLITE_READONLY);
            return Err(fail("open", rusqlite::Error::SqliteFailure(readonly, None)));
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
            schema::create(&connection).map_err(|error| fail("set up", error))?;
        } else {
            // Nix drops the table of failed builds.
            schema::complete(&connection).map_err(|error| fail("set up", error))?;
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
                .and_then(|connection| schema::create(&connection).map(|()| connection))
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

    /// Returns once everything that was committed is on the disk, and in the database file alone: that can then be
    /// moved without its log.
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
    // Up to 64 MiB of pages and a log of up to 32 MiB, where there is as much to do: the collector goes through the
    // whole database in no order.
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
        // Reading through a write-ahead log takes files beside the database, which we may not create, or for which the
        // disk has no room. They are there while another process writes. Without them the database is as good as
        // immutable.
        Err(error)
            if matches!(
                error.sqlite_error_code(),
                Some(
                    ErrorCode::CannotOpen
                        | ErrorCode::ReadOnly
                        | ErrorCode::SystemIoFailure
                        | ErrorCode::DiskFull
                )
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

/// The row of the valid path `path`.
pub(super) fn path_id(connection: &Connection, path: &str) -> Result<Option<i64>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT id FROM ValidPaths WHERE path = ?1")?
        .query_row([path], |row| row.get(0))
        .optional()
}

/// The first column of a query's rows.
pub(super) fn texts(
    connection: &Connection,
    query: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<String>, rusqlite::Error> {
    connection
        .prepare_cached(query)?
        .query_map(parameters, |row| row.get(0))?
        .collect()
}

/// With less free space than this many bytes, an error of SQLite's input and output means a full disk: it does not say
/// which.
const FULL: u64 = 1 << 20;

/// The error that SQLite's `error` stands for, which came of trying to `action` the database `path`.
fn classify(path: &Path, action: &'static str, error: rusqlite::Error) -> DatabaseError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => DatabaseError::Locked { path },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => DatabaseError::Corrupt {
            path,
            detail: error.to_string(),
        },
        Some(ErrorCode::DiskFull) => DatabaseError::Full { path },
        // SQLite also reports a full disk as these, for instance where the index of its log cannot grow.
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) if is_full(&path) => {
            DatabaseError::Full { path }
        }
        Some(ErrorCode::SystemIoFailure) => DatabaseError::Device {
            path,
            action,
            detail: error.to_string(),
        },
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            let kind = match is_read_only(&path) {
                true => io::ErrorKind::ReadOnlyFilesystem,
                false => io::ErrorKind::PermissionDenied,
            };
            DatabaseError::NotWritable {
                path,
                source: kind.into(),
            }
        }
        // Statements are ours; what does not compile does not fit the tables.
        Some(ErrorCode::Unknown) => DatabaseError::Corrupt {
            path,
            detail: error.to_string(),
        },
        _ => match error {
            // A column that does not hold what the schema says.
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

/// Whether the file system that the database `path` is on has no space left, or holds as many files as it can.
fn is_full(path: &Path) -> bool {
    path.parent().is_some_and(|directory| {
        free_space(directory).is_ok_and(|free| free < FULL) || has_no_inodes(directory)
    })
}
