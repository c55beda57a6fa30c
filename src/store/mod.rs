// SPDX-License-Identifier: GPL-3.0-or-later
//! The store: paths, NARs, references, the database of valid paths, roots and garbage collection.
//!
//! Formats are Guix's (and so Nix's) to the byte, with the store directory a value.
//!
//! [`Store`] is the handle through which everything under the store directory is read and written. A store item is
//! *valid*, which means complete, unchangeable and recorded in the database, or it does not exist for any program. What
//! lies in the store directory without a record is work in progress, if its lock is held, or a leftover of a process
//! that was killed, and is moved out of the way when its name is needed.
//!
//! The order of steps is always: temporary root, lock, check again whether the path is valid, write, rename, record. A
//! process killed between any two of them leaves nothing that passes for valid.
//!
//! What is global to the process, the table of its locks (`file_lock`) and its files of temporary roots
//! (`temporary_roots`), is keyed by file and shared by all handles: several handles and threads may use one store, or
//! several stores.

pub mod add;
pub mod canonical;
pub mod content_address;
mod database;
mod derivation_outputs;
pub mod directories;
pub mod error;
mod failures;
pub(crate) mod file_flags;
mod file_lock;
pub mod gc;
mod hash_thread;
mod hashes_modulo;
mod lock_policy;
mod mount;
pub mod names;
pub mod nar;
pub mod open;
pub mod optimise;
mod path_locks;
mod path_queries;
mod queries;
mod reachability;
pub mod recover;
pub mod registration;
pub mod regular_file;
pub mod remove;
pub mod repair;
pub mod roots;
mod running;
pub mod scan;
pub mod schema;
mod temporary_roots;
#[cfg(test)]
mod tests;
mod times;
mod trash;
mod unregistered;
mod updates;
mod vanished;

pub use crate::formats::path_info::PathInfo;
pub use database::Access;
pub use error::{CanonicalError, DatabaseError, LockError, StoreError};
pub use lock_policy::{LockPolicy, LockWait};
pub use open::{OpenOptions, Store};
pub use path_locks::PathLocks;
pub use registration::{PreparedOutputs, StagedOutput};
