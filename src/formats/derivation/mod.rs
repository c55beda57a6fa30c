//! Derivations: what is to be built, from what, by which program, and where the results go.
//!
//! [`aterm`] reads and writes the `.drv` format. [`instantiate()`] computes the path of each output and of the `.drv` file
//! itself; [`difference`] tells what makes one derivation another. How a derivation is built is no concern of this module.

pub mod aterm;
pub mod difference;
pub mod instantiate;

pub use instantiate::{DerivationSet, InstantiateError, derivation_path, instantiate};

use std::collections::{BTreeMap, BTreeSet};

use crate::formats::hash::Sha256Digest;
use crate::formats::store_path::{FixedOutputMethod, StorePath};

/// One build step. The maps are ordered as the `.drv` format wants them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Derivation {
    /// The outputs by name; `out` is the usual one.
    pub outputs: BTreeMap<String, Output>,
    /// The derivations that are built before this one, each with the names of the outputs that are used.
    pub input_derivations: BTreeMap<StorePath, BTreeSet<String>>,
    /// The store items that are used as they are.
    pub input_sources: BTreeSet<StorePath>,
    /// The system to build on, such as `x86_64-linux`.
    pub system: String,
    /// The program to run, or `builtin:NAME`.
    pub builder: String,
    /// Its arguments, without the program's own name.
    pub arguments: Vec<String>,
    /// Its environment. Each output's name is a variable that holds the output's path.
    pub environment: BTreeMap<String, String>,
}

/// An output of a derivation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// Where it goes; `None` until [`instantiate()`] has computed it.
    pub path: Option<StorePath>,
    /// The hash it must have, where that is known beforehand (downloads).
    pub fixed: Option<FixedOutput>,
}

/// The hash of an output that is known before it is made. SHA-256 is the only algorithm here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedOutput {
    /// What the hash is taken of.
    pub method: FixedOutputMethod,
    /// The hash.
    pub hash: Sha256Digest,
}

impl Output {
    /// An output whose path follows from the derivation's inputs.
    pub fn input_addressed() -> Self {
        Self::default()
    }

    /// An output whose path follows from its content's hash.
    pub fn fixed(method: FixedOutputMethod, hash: Sha256Digest) -> Self {
        Self {
            path: None,
            fixed: Some(FixedOutput { method, hash }),
        }
    }
}

impl Derivation {
    /// The hash and method of a fixed-output derivation, `None` for any other.
    pub fn fixed_output(&self) -> Option<FixedOutput> {
        match self.outputs.first_key_value() {
            Some((name, output)) if name == "out" && self.outputs.len() == 1 => output.fixed,
            _ => None,
        }
    }

    /// The store path of the output `name`, where there is such an output and its path is known.
    pub fn output_path(&self, name: &str) -> Option<&StorePath> {
        self.outputs.get(name)?.path.as_ref()
    }

    /// The store items that the `.drv` file refers to: input derivations and input sources.
    pub fn references(&self) -> BTreeSet<StorePath> {
        let derivations = self.input_derivations.keys();
        derivations.chain(&self.input_sources).cloned().collect()
    }
}
