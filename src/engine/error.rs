//! Why the engine could not do what a front end asked for.

use crate::builder::error::BuildError;
use crate::builder::graph::GraphError;
use crate::formats::keys::KeyError;
use crate::formats::store_path::StorePathError;
use crate::sandbox::SandboxError;
use crate::store::StoreError;

/// Why the engine could not do what a front end asked for.
///
/// A build that fails is not such an error: it is in the report of its run.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum EngineError {
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(Box<StoreError>),
    /// A run that could not begin.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Build(Box<BuildError>),
    /// A key.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Key(#[from] KeyError),
    /// A store path.
    #[error(transparent)]
    StorePath(#[from] StorePathError),
    /// A derivation that is not in the store.
    #[error("the derivation {path} is not valid: it is not in the store")]
    NoDerivation {
        /// The derivation's path.
        path: String,
    },
    /// A derivation whose file is not a derivation.
    #[error("cannot read the derivation {path}: {problem}")]
    Derivation {
        /// The derivation's path.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An output that a derivation does not have.
    #[error("{derivation} has no output `{output}`; it has {known}")]
    NoOutput {
        /// The derivation's path or label.
        derivation: String,
        /// The output that was asked for.
        output: String,
        /// The outputs that it has.
        known: String,
    },
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

impl From<BuildError> for EngineError {
    fn from(error: BuildError) -> Self {
        Self::Build(Box::new(error))
    }
}

impl From<GraphError> for EngineError {
    fn from(error: GraphError) -> Self {
        Self::Build(Box::new(error.into()))
    }
}

impl From<SandboxError> for EngineError {
    fn from(source: SandboxError) -> Self {
        Self::Build(Box::new(BuildError::Sandbox {
            label: "the sandbox".to_owned(),
            source: Box::new(source),
        }))
    }
}
