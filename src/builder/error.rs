// SPDX-License-Identifier: GPL-3.0-or-later
//! What can go wrong with a build, and which exit status follows from it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use miette::Diagnostic;

use super::graph::{BuildJob, GraphError};
use crate::diagnostics::{FileError, help_of, in_store};
use crate::events::cancellation::Cancellation;
use crate::formats::content_hash::ContentHash;
use crate::formats::count::{agreeing, counted};
use crate::formats::store_path::FixedOutputMethod;
use crate::formats::visible::visible_path;
use crate::sandbox::{ExitStatusKind, SandboxError};
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
    /// The failure of a builtin, which prints nothing.
    pub(super) fn without_log(job: BuildJob<'_>, cause: BuildFailureCause) -> BuildError {
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

/// What was wrong with a build that ran.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum BuildFailureCause {
    /// The builder said so, or was killed.
    #[error("the builder ended with {0}")]
    Status(ExitStatusKind),
    /// It failed before, and failures are recorded.
    #[error("cached failure: it failed before (--cache-failures)")]
    FailedBefore,
    /// It failed on another machine.
    #[error("it failed on another machine")]
    FailedElsewhere,
    /// It took too long on another machine.
    #[error("it took too long on another machine")]
    TimedOutElsewhere,
    /// It took too long.
    #[error("it took longer than {} (--timeout)", seconds(*.0))]
    TimedOut(Duration),
    /// It was silent for too long.
    #[error("it printed nothing for {} (--max-silent-time)", seconds(*.0))]
    Silent(Duration),
    /// It printed too much.
    #[error("it printed more than {0} bytes, the limit for one log")]
    #[diagnostic(help("check its log for repeated output, and reduce it"))]
    LogTooLong(u64),
    /// The disk is full.
    #[error(
        "the file system of {} is full: {}",
        visible_path(path), room(*free, *files)
    )]
    #[diagnostic(help("make room and try again"))]
    NoSpace {
        /// A directory on the full file system.
        path: PathBuf,
        /// The bytes that are left for an unprivileged user.
        free: u64,
        /// How many more files it can hold; `None` where it has no bound of its own.
        files: Option<u64>,
    },
    /// Another round gave other bytes.
    #[error(
        "it may not be deterministic: output {path} differs from the previous round (--rounds){}",
        kept_rounds(kept)
    )]
    #[diagnostic(help(
        "find out what differs, with --keep-failed, which keeps both; then have the build not depend on it"
    ))]
    RoundDiffers {
        /// The logical path of the output.
        path: String,
        /// Where it was kept, that of the previous round first; empty where that was not wanted.
        kept: Vec<PathBuf>,
    },
    /// An output is not there.
    #[error("the build succeeded but did not create output `{name}` ({path})")]
    #[diagnostic(help("check in the log where it installed its files, and correct the path"))]
    NoOutput {
        /// The output's name.
        name: String,
        /// The logical path where it should be.
        path: String,
    },
    /// Something is in the store that is none of its outputs.
    #[error(
        "it wrote to the store outside its outputs: {}",
        .0.join(", ")
    )]
    #[diagnostic(help("have it write to `$out` and its other outputs only"))]
    OutsideOutputs(Vec<String>),
    /// An output holds something that cannot be in the store, such as a socket.
    #[error("its output cannot become a store item: {0}")]
    #[diagnostic(help("{}", help_of(_0.as_ref())))]
    UnusableOutput(Box<StoreError>),
    /// An output refers to something it must not refer to.
    #[error("{0}")]
    Reference(Box<ForbiddenReference>),
    /// A fixed output that is known by the hash of a file's content is something else, or can be executed.
    #[error(
        "its output {path} is a {kind}: expected a regular file that cannot be executed, since its hash is flat \
         ({expected})"
    )]
    NotAFile {
        /// The logical path of the output.
        path: String,
        /// What it is.
        kind: &'static str,
        /// The hash in the derivation.
        expected: ContentHash,
    },
    /// A fixed output has other bytes.
    #[error("its output {path} has the wrong content: expected {expected}, found {found}")]
    #[diagnostic(help(
        "find out why it differs; change the expected hash only if the new content is intended"
    ))]
    HashDiffers {
        /// The logical path of the output.
        path: String,
        /// What the hash is taken of.
        method: FixedOutputMethod,
        /// The hash in the derivation.
        expected: ContentHash,
        /// The hash of what was made.
        found: ContentHash,
    },
}

/// A fixed output of another hash than its derivation has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongHash {
    /// The logical path of the output.
    pub path: String,
    /// What the hash is taken of.
    pub method: FixedOutputMethod,
    /// The hash in the derivation.
    pub expected: ContentHash,
    /// The hash of what was made.
    pub found: ContentHash,
}

/// A reference that `disallowedReferences` forbids or `allowedReferences` does not allow.
#[derive(Debug)]
pub struct ForbiddenReference {
    /// The output's name.
    pub output: String,
    /// The logical path it refers to.
    pub reference: String,
    /// Files in the output that hold the reference, relative to the output; only the first few.
    pub files: Vec<PathBuf>,
    /// Whether there are more.
    pub more: bool,
    /// The variable of the derivation that is violated.
    pub rule: &'static str,
}

impl fmt::Display for ForbiddenReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "its output `{}` refers to {}, which {} forbids",
            self.output, self.reference, self.rule
        )?;
        let files: Vec<String> = self
            .files
            .iter()
            .map(|file| match file.as_os_str().is_empty() {
                true => "the output itself".to_owned(),
                false => visible_path(file),
            })
            .collect();
        if !files.is_empty() {
            write!(formatter, "; it is in {}", files.join(", "))?;
        }
        if self.more {
            formatter.write_str(" and more files")?;
        }
        Ok(())
    }
}

fn room(free: u64, files: Option<u64>) -> String {
    let free = format!(
        "{} {} free",
        counted(free, "byte"),
        agreeing(free, "is", "are")
    );
    match files {
        Some(0) => format!("{free}, and it can hold no more files"),
        _ => free,
    }
}

fn kept_rounds(kept: &[PathBuf]) -> String {
    let kept: Vec<String> = kept.iter().map(visible_path).collect();
    match kept.is_empty() {
        true => String::new(),
        false => format!("; both are kept: {}", kept.join(" and ")),
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
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
