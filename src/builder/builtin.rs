// SPDX-License-Identifier: GPL-3.0-or-later
//! Builders that are part of this program: derivations whose builder is `builtin:NAME`.
//!
//! The builder knows none of them by name. [`Builtins`] lists those that a run has. A builtin makes its outputs in a
//! staging directory; the builder locks, checks, hashes and registers them as it does for any other build.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use bstr::ByteSlice;
use miette::Diagnostic;

use super::error::{BuildError, FailureKind};
use super::graph::BuildJob;
use crate::events::cancellation::Cancellation;
use crate::events::{EventSender, Kind};
use crate::formats::content_hash::ContentHash;
use crate::store::directories::Directories;

/// What the names of all builtins begin with.
const PREFIX: &str = "builtin:";

/// Whether `builder` is the name of a builtin, one of this program's or not.
pub fn is_builtin(builder: &[u8]) -> bool {
    builder.starts_with(PREFIX.as_bytes())
}

/// A builder that is part of this program.
pub trait Builtin: Send + Sync {
    /// How it is listed in events and records. A [`Kind::Download`] runs beside builds and takes no job token.
    fn kind(&self) -> Kind;

    /// Makes all outputs of the derivation. Returns soon after a cancellation.
    ///
    /// # Errors
    /// Why there are no outputs. Whatever was made by then is removed.
    fn make(&self, order: &BuiltinOrder<'_>) -> Result<BuiltinReport, BuiltinError>;
}

/// One derivation that a builtin is to build.
#[derive(Debug)]
pub struct BuiltinOrder<'o> {
    /// The derivation.
    pub job: BuildJob<'o>,
    /// Where to make each output, by name. Nothing is there yet.
    pub outputs: BTreeMap<&'o str, PathBuf>,
    /// Where the inputs are on this machine.
    pub directories: &'o Directories,
    /// Where to report progress.
    pub events: &'o EventSender,
    /// Stops the run.
    pub cancellation: &'o Cancellation,
}

/// How a builtin made its outputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BuiltinReport {
    /// Whether everything was in a cache already.
    pub cached: bool,
}

/// Why a builtin made nothing.
#[derive(Debug)]
pub enum BuiltinError {
    /// The run was stopped.
    Interrupted,
    /// The derivation is wrong: what about it.
    Derivation(String),
    /// A bug in this program: what was seen of it.
    Bug(String),
    /// What it fetched is not what the derivation's hash is of.
    WrongHash {
        /// The hash of what it fetched.
        found: ContentHash,
        /// The error.
        error: Box<dyn Diagnostic + Send + Sync>,
    },
    /// Anything else.
    Failed {
        /// What kind of failure it is.
        kind: FailureKind,
        /// The error.
        error: Box<dyn Diagnostic + Send + Sync>,
    },
}

impl BuiltinError {
    /// A failure of some kind; for `map_err`.
    pub fn failed(kind: FailureKind, error: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self::Failed {
            kind,
            error: Box::new(error),
        }
    }
}

/// The builtins of a run, by the name of their builder.
#[derive(Default)]
pub struct Builtins<'b>(BTreeMap<String, &'b dyn Builtin>);

impl fmt::Debug for Builtins<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

impl<'b> Builtins<'b> {
    /// No builtins.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same builtins and `builtin`, which replaces one of the same name. `builder` is the builder's whole name,
    /// `builtin:download` for one.
    #[must_use]
    pub fn with(mut self, builder: &str, builtin: &'b dyn Builtin) -> Self {
        self.0.insert(builder.to_owned(), builtin);
        self
    }

    /// The builtin that builds `job`; `None` where a program does.
    ///
    /// # Errors
    /// A name of a builtin that this program does not have.
    pub(super) fn of(&self, job: BuildJob<'_>) -> Result<Option<&'b dyn Builtin>, BuildError> {
        let builder = &job.derivation.builder;
        match self.0.get(&*builder.to_str_lossy()) {
            Some(builtin) => Ok(Some(*builtin)),
            None if is_builtin(builder) => Err(BuildError::Derivation {
                label: job.label.to_owned(),
                problem: format!("there is no builder `{builder}` here"),
            }),
            None => Ok(None),
        }
    }
}
