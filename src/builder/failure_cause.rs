// SPDX-License-Identifier: GPL-3.0-or-later
//! What was wrong with a build that ran.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::diagnostics::help_of;
use crate::formats::content_hash::ContentHash;
use crate::formats::count::{agreeing, counted};
use crate::formats::store_path::FixedOutputMethod;
use crate::formats::visible::visible_path;
use crate::sandbox::ExitStatusKind;
use crate::store::StoreError;

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
    /// Built again to check it, it gave other bytes.
    #[error("it may not be deterministic: output {path} differs")]
    #[diagnostic(help(
        "find out what differs, with --keep-failed, which keeps what was built again; then have the build not depend \
         on it"
    ))]
    CheckDiffers {
        /// The logical path of the output.
        path: String,
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
