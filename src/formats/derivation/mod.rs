// SPDX-License-Identifier: GPL-3.0-or-later
//! Derivations: what is to be built, from what, by which program, and where the results go.
//!
//! [`aterm`] reads and writes the `.drv` format. [`instantiate()`] computes the path of each output and of the `.drv`
//! file itself; [`difference`] finds what makes one derivation another. This module does not know how a derivation is
//! built.

pub mod aterm;
pub mod difference;
mod environment;
pub mod instantiate;

pub use environment::Environment;
pub use instantiate::{
    DerivationSet, InstantiateError, derivation_path, expected_outputs, hash_modulo_inputs,
    instantiate,
};

use std::collections::{BTreeMap, BTreeSet};

use bstr::{BString, ByteSlice};

use crate::formats::content_hash::{ContentHash, HashAlgorithm};
use crate::formats::store_path::{FixedOutputMethod, StorePath};

/// One build step. The maps are ordered as the `.drv` format wants them.
///
/// Builder, arguments and environment are byte strings, as in guix-daemon: they need not be UTF-8.
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
    pub builder: BString,
    /// Its arguments, without the program's own name.
    pub arguments: Vec<BString>,
    /// Its environment. Each output's name is a variable that holds the output's path.
    pub environment: Environment,
}

/// An output of a derivation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// Where it goes; `None` until [`instantiate()`] has computed it.
    pub path: Option<StorePath>,
    /// The hash it must have, where that is known beforehand (downloads).
    pub fixed: Option<FixedOutput>,
    /// The method and algorithm of a hash that is not given. Guix writes these where a derivation has `#:hash-algo` and
    /// no `#:hash`; the path of such an output follows from the inputs.
    pub unhashed: Option<(FixedOutputMethod, HashAlgorithm)>,
}

/// The hash of an output that is known before it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedOutput {
    /// What the hash is taken of.
    pub method: FixedOutputMethod,
    /// The hash.
    pub hash: ContentHash,
}

impl Output {
    /// An output whose path follows from the derivation's inputs.
    pub fn input_addressed() -> Self {
        Self::default()
    }

    /// An output whose path follows from its content's hash.
    pub fn fixed(method: FixedOutputMethod, hash: impl Into<ContentHash>) -> Self {
        let hash = hash.into();
        Self {
            fixed: Some(FixedOutput { method, hash }),
            ..Self::default()
        }
    }
}

impl FixedOutput {
    /// The algorithm as a derivation writes it, such as `sha256` or `r:sha1`.
    pub fn algorithm(&self) -> String {
        format!("{}{}", self.method.prefix(), self.hash.algorithm())
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

    /// The name of the daemon's own builder, such as `download`, where the builder is one: `builtin:NAME`.
    pub fn builtin(&self) -> Option<&str> {
        self.builder.to_str().ok()?.strip_prefix("builtin:")
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
