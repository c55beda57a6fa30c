// SPDX-License-Identifier: GPL-3.0-or-later
//! What can go wrong with a build, and which exit status follows from it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;

pub use super::failure_cause::{BuildFailureCause, ForbiddenReference, WrongHash};
use super::graph::{BuildJob, GraphError};
use crate::diagnostics::{FileError, help_of, in_store};
use crate::events::cancellation::Cancellation;
use crate::formats::visible::visible_path;
use crate::sandbox::SandboxError;
use crate::store::{LockError, StoreError};

/// Whose fault a failure is. The command's exit status follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// A build failed: 1.
    Build,
    /// Bytes are not those that were promised: 3.
    HashDiffers,
    /// A source could not be fetched: 4.
    NotFetched,
    /// The machine is unfit: no privileges, no space, a lock held too long: 5.
    Environment,
}

/// Why an item was not made.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum BuildError {
    /// A build ran, and failed or left something that cannot become a store item.
    #[error("{0}")]
    #[diagnostic(help("{}", help_of(&_0.cause)))]
    Failed(Box<FailedBuild>),
    /// A builtin, or another way to make an item, made nothing.
    #[error("{label}: {error}")]
    #[diagnostic(help("{}", help_of(error.as_ref())))]
    Maker {
        /// The item.
        label: String,
        /// What kind of failure it is.
        kind: FailureKind,
        /// The hashes, where they are what is wrong and are known.
        wrong_hash: Option<Box<WrongHash>>,
        /// What went wrong.
        error: Box<dyn Diagnostic + Send + Sync>,
    },
    /// An operation of the store failed.
    #[error("{label}: {source}")]
    #[diagnostic(help("{}", help_of(source.as_ref())))]
    Store {
        /// The item.
        label: String,
        /// What went wrong.
        source: Box<StoreError>,
    },
    /// See [`SandboxError`].
    #[error("{label}: {source}")]
    #[diagnostic(help("{}", help_of(source.as_ref())))]
    Sandbox {
        /// The item.
        label: String,
        /// What went wrong.
        source: Box<SandboxError>,
    },
    /// See [`GraphError`].
    #[error(transparent)]
    #[diagnostic(transparent)]
    Graph(#[from] GraphError),
    /// A derivation says something that cannot be done.
    #[error("the derivation of {label} is unusable: {problem}")]
    Derivation {
        /// The item.
        label: String,
        /// What is wrong with it.
        problem: String,
    },
    /// It is not to be built on this machine, and no other one makes it.
    #[error("{label}: no build hook takes it, and nothing is built here (--max-jobs=0)")]
    #[diagnostic(help("allow builds here (--max-jobs=1), or set up machines for `guix offload'"))]
    NotHere {
        /// The item.
        label: String,
    },
    /// A server has offered substitutes and not delivered them, and nothing is built instead.
    #[error("some substitutes for the outputs of {label} failed")]
    #[diagnostic(help(
        "this is usually the network; try again, or build it from source with `--fallback'"
    ))]
    NotDelivered {
        /// The item.
        label: String,
    },
    /// A file or directory that a build needs cannot be used.
    #[error("cannot {action} {}: {source}", visible_path(path))]
    #[diagnostic(help("{}", in_store(source)))]
    Io {
        /// What was being done, as an infinitive.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory for temporary files cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Temporary(FileError),
    /// The system gave us no thread.
    #[error("cannot start another thread: {0}")]
    #[diagnostic(help("use fewer jobs (-j) or raise the limit on processes"))]
    Thread(io::Error),
    /// A bug.
    #[error(
        "internal error while building {label}: {message} (this is a bug; see CONTRIBUTING.md)"
    )]
    Panicked {
        /// The item.
        label: String,
        /// The panic's message.
        message: String,
    },
    /// The run was stopped.
    #[error("interrupted")]
    Interrupted,
}

/// A build that ran and failed.
#[derive(Debug)]
pub struct FailedBuild {
    /// The item.
    pub label: String,
    /// What was wrong.
    pub cause: BuildFailureCause,
    /// The phase it was in, where it had entered one.
    pub phase: Option<String>,
    /// The last lines that the phase printed, then an excerpt of the log file that explains them, where there is one.
    pub last_lines: Vec<String>,
    /// The line of its output that most looks like the cause: a guess.
    pub likely_cause: Option<String>,
    /// Its log; `None` for what a builtin made.
    pub log: Option<PathBuf>,
    /// Its build directory, where that was kept.
    pub kept: Option<PathBuf>,
}

impl FailedBuild {
    /// A failure that no log explains.
    pub(crate) fn without_log(job: BuildJob<'_>, cause: BuildFailureCause) -> BuildError {
        BuildError::Failed(Box::new(Self {
            label: job.label.to_owned(),
            cause,
            phase: None,
            last_lines: Vec::new(),
            likely_cause: None,
            log: None,
            kept: None,
        }))
    }
}

impl fmt::Display for FailedBuild {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the build of {} failed", self.label)?;
        if let Some(phase) = &self.phase {
            write!(formatter, " in phase `{phase}'")?;
        }
        write!(formatter, ": {}", self.cause)
    }
}

impl BuildError {
    /// The item it is about, where it is about one.
    pub fn label(&self) -> Option<&str> {
        match self {
            Self::Failed(failed) => Some(&failed.label),
            Self::Maker { label, .. }
            | Self::Store { label, .. }
            | Self::Sandbox { label, .. }
            | Self::Derivation { label, .. }
            | Self::NotHere { label }
            | Self::NotDelivered { label }
            | Self::Panicked { label, .. } => Some(label),
            _ => None,
        }
    }

    /// The hashes of a fixed output that came out with another one.
    pub fn wrong_hash(&self) -> Option<WrongHash> {
        match self {
            Self::Maker { wrong_hash, .. } => wrong_hash.as_deref().cloned(),
            Self::Failed(failed) => match &failed.cause {
                BuildFailureCause::HashDiffers {
                    path,
                    method,
                    expected,
                    found,
                } => Some(WrongHash {
                    path: path.clone(),
                    method: *method,
                    expected: *expected,
                    found: *found,
                }),
                _ => None,
            },
            _ => None,
        }
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Failed(failed) => match &failed.cause {
                BuildFailureCause::HashDiffers { .. } => FailureKind::HashDiffers,
                BuildFailureCause::NoSpace { .. } => FailureKind::Environment,
                BuildFailureCause::UnusableOutput(error) if error.is_environment() => {
                    FailureKind::Environment
                }
                _ => FailureKind::Build,
            },
            Self::Maker { kind, .. } => *kind,
            Self::Store { source, .. } => match source.as_ref() {
                source if source.is_environment() => FailureKind::Environment,
                _ => FailureKind::Build,
            },
            Self::Sandbox { source, .. } if source.is_environment() => FailureKind::Environment,
            Self::Graph(GraphError::Store(source)) if source.is_environment() => {
                FailureKind::Environment
            }
            Self::NotDelivered { .. } => FailureKind::NotFetched,
            Self::Io { .. } | Self::Temporary(_) | Self::Thread(_) => FailureKind::Environment,
            Self::Sandbox { .. }
            | Self::Graph(_)
            | Self::Derivation { .. }
            | Self::NotHere { .. }
            | Self::Panicked { .. }
            | Self::Interrupted => FailureKind::Build,
        }
    }

    /// Whether the same build would fail again, as far as guix-daemon's record of failures is concerned: not for want
    /// of time or space, and not because something beside the build failed.
    pub(super) fn is_permanent(&self) -> bool {
        match self {
            Self::Failed(failed) => !matches!(
                failed.cause,
                BuildFailureCause::TimedOut(_)
                    | BuildFailureCause::TimedOutElsewhere
                    | BuildFailureCause::Silent(_)
                    | BuildFailureCause::LogTooLong(_)
                    | BuildFailureCause::NoSpace { .. }
                    | BuildFailureCause::FailedBefore
            ),
            Self::Sandbox { source, .. } => !source.is_environment(),
            _ => false,
        }
    }

    /// What this is in a run that `cancellation` has stopped: what a stop has ended has not failed.
    pub(super) fn unless_stopped(self, cancellation: &Cancellation) -> Self {
        let waits =
            |source: &StoreError| matches!(source, StoreError::Lock(LockError::Cancelled { .. }));
        let is_stop = match &self {
            Self::Store { source, .. } => waits(source),
            Self::Graph(GraphError::Store(source)) => waits(source),
            _ => false,
        };
        match is_stop && cancellation.is_cancelled() {
            true => Self::Interrupted,
            false => self,
        }
    }

    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        Some(help_of(self)).filter(|hint| !hint.is_empty())
    }

    /// The last lines of the build's output, where there was one.
    pub fn last_lines(&self) -> &[String] {
        match self {
            Self::Failed(failed) => &failed.last_lines,
            _ => &[],
        }
    }

    /// The line of the build's output that most looks like the cause, where there is one: a guess.
    pub fn likely_cause(&self) -> Option<&str> {
        match self {
            Self::Failed(failed) => failed.likely_cause.as_deref(),
            _ => None,
        }
    }

    /// The build's log, where there is one.
    pub fn log(&self) -> Option<&Path> {
        match self {
            Self::Failed(failed) => failed.log.as_deref(),
            _ => None,
        }
    }

    /// The build directory, where it was kept.
    pub fn kept(&self) -> Option<&Path> {
        match self {
            Self::Failed(failed) => failed.kept.as_deref(),
            _ => None,
        }
    }

    /// Makes an I/O error into one of these; for `map_err`.
    pub(super) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// Makes an error of the store one of these; for `map_err`.
    pub(crate) fn store(label: &str) -> impl Fn(StoreError) -> Self + '_ {
        move |source| Self::Store {
            label: label.to_owned(),
            source: Box::new(source),
        }
    }
}
