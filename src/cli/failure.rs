// SPDX-License-Identifier: GPL-3.0-or-later
//! Exit statuses, and the words of a command that fails.

use std::io;
use std::path::Path;

use crate::builder::error::{BuildError, FailureKind};
use crate::builder::scheduler::RunReport;
use crate::daemon::listener::ListenerError;
use crate::daemon::socket::SocketError;
use crate::diagnostics::{FileError, help_of, on_file, with_hint};
use crate::engine::{EngineError, first_error};
use crate::exchange::ExchangeError;
use crate::formats::keys::KeyError;
use crate::formats::nar::NarError;
use crate::formats::store_path::StorePathError;
use crate::road::plan::{FindError, PlanError};
use crate::road::recipe::{AddressError, LoadError};
use crate::road::seed::{SeedError, SeedFailure};
use crate::show::progress::invocation::Invocation;
use crate::store::StoreError;
use crate::verify::attestation::AttestationError;
use crate::verify::lock_file::LockFileError;
use crate::verify::signature::SignatureError;

/// The exit statuses that scripts rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    /// A build failed.
    Failed = 1,
    /// Wrong usage, or a bad recipe or seed. Something that was named and does not exist is wrong usage.
    Usage = 2,
    /// Hashes differ: of a download, the store, a lock or a second build.
    Hashes = 3,
    /// A source could not be fetched.
    Fetch = 4,
    /// The environment is unfit: no privileges, no space, a lock held too long.
    Environment = 5,
}

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum CommandFailure {
    /// The engine could not do it.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Engine(Box<EngineError>),
    /// The store directory's name.
    #[error("--store-dir: {0}")]
    StoreDir(StorePathError),
    /// A command in a sandbox that ended with a status of its own.
    #[error("the command ended with status {0}")]
    Command(u8),
    /// A file, or standard output.
    #[error("cannot {action} {what}: {error}")]
    #[diagnostic(help("{}", on_file(error)))]
    Io {
        /// What was being done, as an infinitive.
        action: &'static str,
        /// With what.
        what: String,
        /// The error of the system.
        error: io::Error,
    },
    /// A signature.
    #[error("{document}: {error}")]
    #[diagnostic(help("{}", help_of(error)))]
    Signature {
        /// The document.
        document: String,
        /// What is wrong with its signature.
        error: SignatureError,
    },
    /// A document to compare.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Attestation(AttestationError),
    /// A socket that the daemon cannot listen on.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Socket(#[from] SocketError),
    /// A daemon that cannot go on.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Listener(#[from] ListenerError),
    /// What a command found, or wrong usage of it.
    #[error("{message}")]
    #[diagnostic(help("{hint}"))]
    Found {
        /// What is wrong.
        message: String,
        /// What to do about it; empty where there is nothing to say.
        hint: String,
        /// The exit status.
        status: Status,
    },
}

impl CommandFailure {
    /// A failure with the exit status `status`.
    pub(super) fn new(status: Status, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Found {
            message: message.into(),
            hint: hint.into(),
            status,
        }
    }

    /// An option or argument that is wrong.
    pub(super) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Status::Usage, message, hint)
    }

    /// The exit status.
    pub fn status(&self) -> u8 {
        match self {
            Self::Command(status) => *status,
            other => other.kind() as u8,
        }
    }

    fn kind(&self) -> Status {
        match self {
            Self::Engine(error) => of_engine(error),
            Self::StoreDir(_) | Self::Attestation(_) => Status::Usage,
            Self::Io { error, .. } => of_io(error),
            Self::Signature { error, .. } => match error {
                SignatureError::Wrong | SignatureError::Malformed(_) => Status::Hashes,
                _ => Status::Usage,
            },
            Self::Socket(_) | Self::Listener(_) => Status::Environment,
            Self::Command(_) => Status::Failed,
            Self::Found { status, .. } => *status,
        }
    }

    /// What standard error gets; `invocation` is how commands are typed that it names.
    pub fn render(&self, color: bool, invocation: &Invocation) -> String {
        match self {
            // The command has said what there was to say.
            Self::Command(_) => return String::new(),
            Self::Engine(error) => {
                if let EngineError::Recipes(errors) = error.as_ref() {
                    return errors.render(color);
                }
            }
            _ => {}
        }
        let text = format!("bootstrap: {}", with_hint(self));
        // Nothing of it is a colour of ours.
        invocation.visible(&text)
    }

    /// A failure to write what was asked for.
    pub(super) fn writing(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |error| Self::Io {
            action: "write",
            what,
            error,
        }
    }

    /// A failure to read a file.
    pub(super) fn reading(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let what = crate::formats::visible::visible_path(path);
        |error| Self::Io {
            action: "read",
            what,
            error,
        }
    }

    /// A failure to sign a document, or to check its signature.
    pub(super) fn signature(document: impl Into<String>) -> impl FnOnce(SignatureError) -> Self {
        let document = document.into();
        |error| Self::Signature { document, error }
    }
}

/// The exit status for an error of the engine.
fn of_engine(error: &EngineError) -> Status {
    match error {
        EngineError::Recipes(_)
        | EngineError::NoRecipes(_)
        | EngineError::Plan(_)
        | EngineError::Find(_)
        | EngineError::NotAPackage(_)
        | EngineError::Name(_)
        | EngineError::NoOutput { .. }
        | EngineError::NotBuilt { .. }
        | EngineError::NotInStore { .. }
        | EngineError::NoDerivation { .. }
        | EngineError::SeedSystem { .. }
        | EngineError::UnknownSystem { .. }
        | EngineError::TwoSeeds
        | EngineError::NotFinal(_)
        | EngineError::SameSeed(_)
        | EngineError::SeedAlias { .. }
        | EngineError::NoDistribution(_)
        | EngineError::Offline(_)
        | EngineError::NoTrustedKeys
        | EngineError::StorePath(_) => Status::Usage,
        EngineError::Derivation { .. } | EngineError::NotFollowed => Status::Failed,
        EngineError::NotRepaired(_) => Status::Hashes,
        EngineError::Run(report) => of_report(report),
        EngineError::Seed(error) => match (error.as_ref(), error.failure()) {
            (SeedError::File(error), _) => of_io(error.io_error()),
            (_, SeedFailure::Usage) => Status::Usage,
            (_, SeedFailure::HashDiffers) => Status::Hashes,
            (_, SeedFailure::NotFetched) => Status::Fetch,
            (_, SeedFailure::Unpack) => Status::Failed,
            (_, SeedFailure::Environment) => Status::Environment,
        },
        EngineError::Exchange(error) => match error.as_ref() {
            ExchangeError::Url(_)
            | ExchangeError::Stream { .. }
            | ExchangeError::Missing { .. } => Status::Usage,
            ExchangeError::Server { .. } => Status::Fetch,
            ExchangeError::File(error) => of_io(error.io_error()),
            ExchangeError::Nar(NarError::File { .. } | NarError::Sink(_)) => Status::Environment,
            error if error.is_mistrust() => Status::Hashes,
            _ => Status::Failed,
        },
        EngineError::Store(error) => match error.as_ref() {
            error if error.is_environment() => Status::Environment,
            _ => Status::Failed,
        },
        EngineError::Build(error) => error.kind().into(),
        EngineError::Key(KeyError::Random) => Status::Environment,
        EngineError::Key(KeyError::File(error)) => of_io(error.io_error()),
        EngineError::Key(_) => Status::Usage,
        EngineError::Lock(error) => match error.as_ref() {
            LockFileError::File(error) => of_io(error.io_error()),
            LockFileError::Missing(_) => Status::Usage,
            LockFileError::Line { .. } | LockFileError::Sum { .. } => Status::Hashes,
        },
        EngineError::File(error) => of_io(error.io_error()),
    }
}

/// The exit status for a run: that of its first error.
pub(super) fn of_report(report: &RunReport) -> Status {
    first_error(report).map_or(Status::Failed, |error| error.kind().into())
}

/// The exit status for a system call that failed on a file that the user named. A wrong name is wrong usage; anything
/// else is the machine's.
fn of_io(error: &io::Error) -> Status {
    match error.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::InvalidFilename => Status::Usage,
        // Of what is read, the limit is this program's own.
        io::ErrorKind::FileTooLarge if error.raw_os_error().is_none() => Status::Usage,
        _ => Status::Environment,
    }
}

/// What became of a run that did not make everything, in one line.
pub(super) fn of_run(report: &RunReport) -> Option<CommandFailure> {
    let summary = &report.summary;
    let count = summary.failed.len();
    let message = match first_error(report) {
        Some(_) => {
            let untried = summary.skipped.len() + summary.not_started.len();
            let all = summary.made.len() + count + untried;
            match untried {
                0 => format!("{count} of {all} failed"),
                1 => format!("{count} of {all} failed, and 1 was not tried"),
                _ => format!("{count} of {all} failed, and {untried} were not tried"),
            }
        }
        None if summary.interrupted => {
            "interrupted; the same command goes on where this one stopped".to_owned()
        }
        None => return None,
    };
    Some(CommandFailure::new(of_report(report), message, ""))
}

impl From<EngineError> for CommandFailure {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Run(report) => match of_run(&report) {
                Some(failure) => failure,
                None => Self::Engine(Box::new(EngineError::Run(report))),
            },
            other => Self::Engine(Box::new(other)),
        }
    }
}

/// `From` for what the engine's errors are made of.
macro_rules! by_way_of_the_engine {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for CommandFailure {
            fn from(error: $error) -> Self {
                EngineError::from(error).into()
            }
        })*
    };
}

by_way_of_the_engine! {
    AddressError, BuildError, ExchangeError, FileError, FindError, KeyError, LoadError, LockFileError, PlanError, SeedError,
    StoreError,
}

impl From<AttestationError> for CommandFailure {
    fn from(error: AttestationError) -> Self {
        Self::Attestation(error)
    }
}

impl From<FailureKind> for Status {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Build => Self::Failed,
            FailureKind::HashDiffers => Self::Hashes,
            FailureKind::NotFetched => Self::Fetch,
            FailureKind::Environment => Self::Environment,
        }
    }
}
