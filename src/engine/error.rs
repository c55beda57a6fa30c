// SPDX-License-Identifier: GPL-3.0-or-later
//! Why the engine could not do what a front end asked for.

use crate::builder::error::BuildError;
use crate::builder::graph::GraphError;
use crate::builder::scheduler::RunReport;
use crate::diagnostics::FileError;
use crate::exchange::ExchangeError;
use crate::formats::hash::Sha256Digest;
use crate::formats::keys::KeyError;
use crate::formats::nar::NarError;
use crate::formats::store_path::StorePathError;
use crate::road::plan::{FindError, PlanError};
use crate::road::recipe::{AddressError, LoadError, RecipeErrors};
use crate::road::seed::SeedError;
use crate::sandbox::SandboxError;
use crate::store::StoreError;
use crate::verify::lock_file::LockFileError;

/// Why the engine could not do what a front end asked for.
///
/// A build that fails is such an error only where something else needs its output; otherwise it is in the report of its
/// run.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum EngineError {
    /// Recipes that are wrong.
    #[error(transparent)]
    Recipes(RecipeErrors),
    /// Recipes that are missing.
    #[error(transparent)]
    #[diagnostic(transparent)]
    NoRecipes(Box<LoadError>),
    /// No plan.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Plan(Box<PlanError>),
    /// A package that is not in the plan.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Find(FindError),
    /// Something in the plan that is not a package.
    #[error("{0} is not a package")]
    #[diagnostic(help(
        "`bootstrap list` shows all packages, `bootstrap graph --json` what they are made from"
    ))]
    NotAPackage(String),
    /// A name that no package can have.
    #[error(transparent)]
    Name(#[from] AddressError),
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
    /// An output that is not valid.
    #[error("{path} is not valid: it has not been built")]
    #[diagnostic(help("run `bootstrap build {package}`"))]
    NotBuilt {
        /// The package.
        package: String,
        /// The output's path.
        path: String,
    },
    /// An item that is not valid, and that no package of the plan makes.
    #[error("{path} is not valid: it is not in the store")]
    #[diagnostic(help(
        "check the path; `bootstrap build FILE.drv` builds what its derivation makes"
    ))]
    NotInStore {
        /// The item's path.
        path: String,
    },
    /// Damaged items that could not be repaired, each with the reason.
    #[error("could not be repaired: {}", .0.join("; "))]
    #[diagnostic(help(
        "restore it from a copy, or delete it with all that refers to it (`bootstrap gc`)"
    ))]
    NotRepaired(Vec<String>),
    /// A derivation that is not in the store.
    #[error("the derivation {path} is not valid: it is not in the store")]
    #[diagnostic(help("add it first: with a Guix client, or with `bootstrap import`"))]
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
    /// A run whose outputs something else needs, and that did not make all of them.
    #[error("not everything could be built")]
    Run(Box<RunReport>),
    /// A front end that does not run what it was given.
    #[error("internal error: the run was not started (this is a bug; see CONTRIBUTING.md)")]
    NotFollowed,
    /// The seed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Seed(Box<SeedError>),
    /// A seed for another system than the session's.
    #[error("the seed {seed} is for {system}, not for {wanted}")]
    #[diagnostic(help("leave out --system, or choose another seed with --seed"))]
    SeedSystem {
        /// The seed.
        seed: String,
        /// Its system.
        system: String,
        /// The session's system.
        wanted: String,
    },
    /// A seed whose description names no system that is known.
    #[error("the seed {seed}: {problem}")]
    UnknownSystem {
        /// The seed.
        seed: String,
        /// What is wrong.
        problem: String,
    },
    /// Two ways at once to choose a seed.
    #[error("--seed host and --seed-file are two different seeds")]
    #[diagnostic(help("leave out one"))]
    TwoSeeds,
    /// A package of another stage where only final packages make sense.
    #[error("{0} is not a final package: only those are built with the final tools again")]
    NotFinal(String),
    /// One seed where two are compared.
    #[error("--diverse compares two seeds, and {0} is one")]
    #[diagnostic(help("`bootstrap seed list` shows all"))]
    SameSeed(String),
    /// Two names of one seed where two are compared.
    #[error(
        "--diverse compares two seeds, and {} and {} are two names of the one with the SHA-256 {sha256}",
        seeds[0],
        seeds[1]
    )]
    SeedAlias {
        /// The names.
        seeds: [String; 2],
        /// The seed's digest.
        sha256: Sha256Digest,
    },
    /// A seed that is not made from a distribution's packages.
    #[error("the seed {0} is one archive with a hash of its own: there is nothing to update")]
    #[diagnostic(help("a new release is a new file seeds/NAME.toml"))]
    NoDistribution(String),
    /// Something that needs the network, in a session without.
    #[error("{0} needs the network, and --offline forbids it")]
    #[diagnostic(help("leave out --offline"))]
    Offline(&'static str),
    /// Substitute servers without a key to check them with.
    #[error(
        "--substitute-urls without --trusted-keys: nothing that a server offers can be trusted"
    )]
    #[diagnostic(help("give --trusted-keys the public key that the server's owner has published"))]
    NoTrustedKeys,
    /// Items for others, or from them.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Exchange(Box<ExchangeError>),
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
    /// The lock.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Lock(Box<LockFileError>),
    /// A file.
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] FileError),
}

/// `From` for errors that are large, and kept in a box.
macro_rules! boxed {
    ($($error:ty => $variant:ident),* $(,)?) => {
        $(impl From<$error> for EngineError {
            fn from(error: $error) -> Self {
                Self::$variant(Box::new(error))
            }
        })*
    };
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Nar(NarError::Stopped) => BuildError::Interrupted.into(),
            other => Self::Store(Box::new(other)),
        }
    }
}

boxed! {
    BuildError => Build,
    SeedError => Seed,
    LockFileError => Lock,
}

impl From<LoadError> for EngineError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Recipes(errors) => Self::Recipes(errors),
            other => Self::NoRecipes(Box::new(other)),
        }
    }
}

impl From<PlanError> for EngineError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Recipes(errors) => Self::Recipes(errors),
            other => Self::Plan(Box::new(other)),
        }
    }
}

impl From<FindError> for EngineError {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Unplanned(errors) => Self::Recipes(errors),
            other => Self::Find(other),
        }
    }
}

impl From<ExchangeError> for EngineError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Store(error) => Self::from(error),
            other => Self::Exchange(Box::new(other)),
        }
    }
}

impl From<GraphError> for EngineError {
    fn from(error: GraphError) -> Self {
        BuildError::from(error).into()
    }
}

impl From<SandboxError> for EngineError {
    fn from(source: SandboxError) -> Self {
        let label = "the sandbox".to_owned();
        let source = Box::new(source);
        BuildError::Sandbox { label, source }.into()
    }
}
