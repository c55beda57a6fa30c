//! How a command ends when it does not end well: the exit status, and the words.

use std::path::PathBuf;

use miette::Diagnostic;

use crate::builder::error::{BuildError, FailureKind};
use crate::diagnostics::on_file;
use crate::exchange::ExchangeError;
use crate::formats::keys::KeyError;
use crate::formats::nar::NarError;
use crate::formats::store_path::StorePathError;
use crate::road::plan::{FindError, PlanError};
use crate::road::recipe::{LoadError, RecipeErrors};
use crate::road::seed::{SeedError, SeedFailure};
use crate::show::progress::invocation::Invocation;
use crate::store::StoreError;
use crate::verify::attestation::AttestationError;
use crate::verify::lock::LockFileError;
use crate::verify::signature::SignatureError;

/// The exit statuses that scripts rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    /// A build failed, or what was asked for is not there.
    Failed = 1,
    /// Wrong usage, or a bad recipe or seed.
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
pub enum Failure {
    /// Recipes that are wrong.
    #[error(transparent)]
    Recipes(RecipeErrors),
    /// Recipes that are not there.
    #[error("{0}; give --recipes the folder `recipes` of the project, or leave it out")]
    NoRecipes(Box<LoadError>),
    /// No plan.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Plan(Box<PlanError>),
    /// A package that is not in the plan.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Find(FindError),
    /// An option or argument with a wrong value.
    #[error("{0}")]
    Usage(String),
    /// The store directory's name.
    #[error("--store-dir: {0}")]
    StoreDir(StorePathError),
    /// An output that is not valid.
    #[error("{path} is not valid: nothing has built it yet; run `bootstrap build {package}`")]
    NotBuilt {
        /// The package.
        package: String,
        /// The output's path.
        path: String,
    },
    /// No log of a build.
    #[error("there is no log of {package} at {}: it was not built here; run `bootstrap build {package}`", path.display())]
    NoLog {
        /// The package.
        package: String,
        /// Where it would be.
        path: PathBuf,
    },
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(Box<StoreError>),
    /// A run that could not begin.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Build(Box<BuildError>),
    /// A command in a sandbox that ended with a status of its own.
    #[error("the command ended with status {0}")]
    Command(u8),
    /// The seed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Seed(Box<SeedError>),
    /// Items for others, or from them.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Exchange(Box<ExchangeError>),
    /// A file, or standard output.
    #[error("cannot {action} {what}: {error}{}", on_file(error))]
    Io {
        /// What was being done, as an infinitive.
        action: &'static str,
        /// With what.
        what: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The lock.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Lock(Box<LockFileError>),
    /// A key.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Key(KeyError),
    /// A signature.
    #[error("{document}: {error}")]
    Signature {
        /// Whose it is.
        document: String,
        /// What is wrong with it.
        error: SignatureError,
    },
    /// A document to compare.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Attestation(AttestationError),
    /// Something that has been told already, in full.
    #[error("{message}")]
    Told {
        /// One line about it.
        message: String,
        /// The exit status.
        status: Status,
    },
}

impl Failure {
    /// The exit status that tells scripts of it.
    pub fn status(&self) -> u8 {
        match self {
            Self::Command(status) => *status,
            other => other.kind() as u8,
        }
    }

    fn kind(&self) -> Status {
        match self {
            Self::Recipes(_)
            | Self::NoRecipes(_)
            | Self::Plan(_)
            | Self::Find(_)
            | Self::Usage(_)
            | Self::StoreDir(_) => Status::Usage,
            Self::NotBuilt { .. } | Self::NoLog { .. } => Status::Failed,
            Self::Store(error) => match error.as_ref() {
                StoreError::Digest { .. } => Status::Hashes,
                error if error.is_environment() => Status::Environment,
                _ => Status::Failed,
            },
            Self::Exchange(error) => match error.as_ref() {
                ExchangeError::Url(_) => Status::Usage,
                ExchangeError::Server { .. } => Status::Fetch,
                ExchangeError::File(_)
                | ExchangeError::Nar(NarError::File { .. } | NarError::Sink(_)) => {
                    Status::Environment
                }
                error if error.is_mistrust() => Status::Hashes,
                _ => Status::Failed,
            },
            Self::Io { .. } => Status::Environment,
            Self::Lock(error) => match error.as_ref() {
                LockFileError::File(_) => Status::Environment,
                LockFileError::Missing(_) => Status::Usage,
                LockFileError::Line { .. } | LockFileError::Sum { .. } => Status::Hashes,
            },
            Self::Signature { error, .. } => match error {
                SignatureError::Wrong | SignatureError::Malformed(_) => Status::Hashes,
                _ => Status::Usage,
            },
            Self::Attestation(_) => Status::Usage,
            Self::Key(KeyError::Random) => Status::Environment,
            Self::Key(_) => Status::Usage,
            Self::Build(error) => error.kind().into(),
            Self::Command(_) => Status::Failed,
            Self::Seed(error) => match error.failure() {
                SeedFailure::Usage => Status::Usage,
                SeedFailure::HashDiffers => Status::Hashes,
                SeedFailure::NotFetched => Status::Fetch,
                SeedFailure::Unpack => Status::Failed,
                SeedFailure::Environment => Status::Environment,
            },
            Self::Told { status, .. } => *status,
        }
    }

    /// What people read on standard error; `invocation` is how commands are typed that it names.
    pub fn render(&self, color: bool, invocation: &Invocation) -> String {
        match self {
            Self::Recipes(errors) => errors.render(color),
            // The command has said what there was to say.
            Self::Command(_) => String::new(),
            other => {
                let mut text = format!("bootstrap: {other}");
                let hint = other.help().map(|hint| hint.to_string());
                if let Some(hint) = hint.filter(|hint| !hint.is_empty()) {
                    text.push_str(&format!("\nhint: {hint}"));
                }
                invocation.complete(&text)
            }
        }
    }

    /// A failure to write what was asked for.
    pub(super) fn writing(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        |error| Self::Io {
            action: "write",
            what,
            error,
        }
    }

    /// A failure to sign a document, or to check its signature.
    pub(super) fn signature(document: impl Into<String>) -> impl FnOnce(SignatureError) -> Self {
        let document = document.into();
        |error| Self::Signature { document, error }
    }

    /// A failure to read a file.
    pub(super) fn reading(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let what = path.display().to_string();
        |error| Self::Io {
            action: "read",
            what,
            error,
        }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Recipes(errors) => Self::Recipes(errors),
            other => Self::NoRecipes(Box::new(other)),
        }
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Recipes(errors) => Self::Recipes(errors),
            other => Self::Plan(Box::new(other)),
        }
    }
}

impl From<FindError> for Failure {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Unplanned(errors) => Self::Recipes(errors),
            other => Self::Find(other),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

impl From<SeedError> for Failure {
    fn from(error: SeedError) -> Self {
        Self::Seed(Box::new(error))
    }
}

impl From<LockFileError> for Failure {
    fn from(error: LockFileError) -> Self {
        Self::Lock(Box::new(error))
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl From<AttestationError> for Failure {
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
