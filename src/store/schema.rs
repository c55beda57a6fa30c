// SPDX-License-Identifier: GPL-3.0-or-later
//! The schema of the store database: its tables, and the file that holds its version.
//!
//! guix-daemon's schema has version 7. Nix upgrades such a database to 8, 9 or 10 as soon as any of its commands opens
//! it: it adds columns that may be empty (`ultimate`, `sigs`, `ca`) and drops the table of failed builds. guix-daemon
//! refuses the result. What this program reads and writes is the same in all four, so it takes them all, and leaves the
//! version as it is.

use std::io;
use std::path::Path;

use rusqlite::Connection;

use super::error::DatabaseError;
use crate::diagnostics::FileError;
use crate::limited_file;

/// The version that new databases get, guix-daemon's.
pub const SCHEMA_VERSION: u32 = 7;

/// The newest version that can be used. Nix has had it since 2.3, and still has in 2.31.
const NEWEST: u32 = 10;

/// The tables of schema version 7.
const TABLES: &str = "
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
";

/// The table of failed builds.
const FAILED_PATHS: &str = "
CREATE TABLE IF NOT EXISTS FailedPaths (
    path TEXT PRIMARY KEY NOT NULL,
    time INTEGER NOT NULL
);
";

/// Makes the tables in one transaction.
pub(super) fn create(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {TABLES} {FAILED_PATHS} COMMIT;"))
}

/// Makes the table that Nix drops, where it is missing.
pub(super) fn complete(connection: &Connection) -> Result<(), rusqlite::Error> {
    match connection.table_exists(None, "FailedPaths")? {
        true => Ok(()),
        false => connection.execute_batch(FAILED_PATHS),
    }
}

/// The schema version of the database in `directory`, if there is one.
///
/// # Errors
/// Where this program cannot use that version.
pub(super) fn version(directory: &Path) -> Result<Option<u32>, DatabaseError> {
    let path = directory.join("schema");
    let text = match limited_file::read_regular(&path, limited_file::SMALL) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FileError::in_store("read", path)(error).into()),
    };
    let text = String::from_utf8_lossy(&text);
    match text.trim_end().parse() {
        Ok(found @ SCHEMA_VERSION..=NEWEST) => Ok(Some(found)),
        Ok(found) => Err(DatabaseError::Schema { path, found }),
        Err(_) => Err(DatabaseError::SchemaFile {
            path,
            found: text
                .chars()
                .take(40)
                .flat_map(char::escape_default)
                .collect(),
        }),
    }
}

/// Records the version of a new database. Done last, so that a database whose creation was cut short is created again.
pub(super) fn write_version(directory: &Path) -> Result<(), DatabaseError> {
    let path = directory.join("schema");
    let write = || {
        let mut new = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(directory)?;
        io::Write::write_all(&mut new, SCHEMA_VERSION.to_string().as_bytes())?;
        new.persist(&path)?;
        Ok(())
    };
    write().map_err(|error: io::Error| FileError::in_store("write", &path)(error).into())
}
