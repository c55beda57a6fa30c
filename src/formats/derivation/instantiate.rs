// SPDX-License-Identifier: GPL-3.0-or-later
//! From a derivation without output paths to one with them, and to the path of its `.drv` file.
//!
//! An output's path is computed from the derivation's *hash modulo inputs*: the SHA-256 of its ATerm, with
//!
//! - each input derivation's path replaced by that derivation's own hash modulo, in base 16 (two inputs with one hash
//!   become one);
//! - its own outputs' paths empty, in the outputs and in the environment: they are not known yet.
//!
//! The hash modulo of a fixed-output derivation is that of `fixed:out:ALGORITHM:HASH:PATH` instead: how the bytes are
//! fetched must not change what is built from them. When a derivation with known output paths is itself an input, its
//! hash is taken with those paths in place. This is `hashDerivationModulo` of the daemon, and `derivation` of Guix's
//! `(guix derivations)`.
//!
//! [`DerivationSet`] keeps the hash modulo of what was instantiated, so that a graph costs one pass, in the order
//! inputs before users.

use std::collections::{BTreeMap, BTreeSet};

use super::{Derivation, Output, aterm};
use crate::formats::hash::Sha256Digest;
use crate::formats::store_path::{
    StoreDir, StorePath, StorePathError, check_name, fixed_output_path, output_path, text_path,
};

/// A derivation that cannot be instantiated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum InstantiateError {
    /// The derivation's or an output's name does not do.
    #[error("derivation `{name}`: {error}")]
    Name {
        /// The derivation's name.
        name: String,
        /// What is wrong with it, or with the name made of it and an output's name.
        error: StorePathError,
    },
    /// There is nothing to build.
    #[error("derivation `{0}` has no outputs: expected at least `out`")]
    NoOutputs(String),
    /// `drv` as the name of an output: its path would pass for a derivation's.
    #[error(
        "derivation `{0}` has an output called `drv`, whose path would pass for a derivation's"
    )]
    #[diagnostic(help("choose another name"))]
    OutputCalledDrv(String),
    /// A hash on an output of a derivation with several outputs, or on one that is not called `out`.
    #[error("derivation `{0}`: a fixed output must be the only output and be called `out`")]
    Fixed(String),
    /// An input derivation that was not instantiated before.
    #[error("derivation `{name}` uses {input}, which was not instantiated before it")]
    UnknownInput {
        /// The derivation's name.
        name: String,
        /// The input's base name.
        input: String,
    },
    /// An output that the input derivation does not have.
    #[error(
        "derivation `{name}` uses the output `{output}` of {input}, which has only {available}"
    )]
    UnknownOutput {
        /// The derivation's name.
        name: String,
        /// The input's base name.
        input: String,
        /// The output that is asked for.
        output: String,
        /// The outputs it has.
        available: String,
    },
    /// A derivation that was read has other paths than those that follow from its content.
    #[error("{path} is a wrong path: computing it again gives {computed}")]
    Mismatch {
        /// The path that was given.
        path: String,
        /// The path that follows from the content.
        computed: String,
    },
}

/// The derivations that are known, with their hashes modulo inputs.
#[derive(Debug, Clone, Default)]
pub struct DerivationSet {
    known: BTreeMap<StorePath, (Derivation, Sha256Digest)>,
}

impl DerivationSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The derivation stored at `path`.
    pub fn get(&self, path: &StorePath) -> Option<&Derivation> {
        self.known.get(path).map(|(derivation, _)| derivation)
    }

    /// The hash modulo inputs by which users of the derivation at `path` know it.
    pub fn hash_modulo(&self, path: &StorePath) -> Option<Sha256Digest> {
        self.known.get(path).map(|(_, hash)| *hash)
    }

    /// All derivations, by path.
    pub fn iter(&self) -> impl Iterator<Item = (&StorePath, &Derivation)> {
        self.known
            .iter()
            .map(|(path, (derivation, _))| (path, derivation))
    }

    /// Adds a derivation that was read from the store, after its inputs, and checks that its path and its outputs'
    /// paths are those that follow from its content.
    pub fn add(
        &mut self,
        store_dir: &StoreDir,
        path: &StorePath,
        derivation: &Derivation,
    ) -> Result<(), InstantiateError> {
        let mismatch = |computed: &StorePath| InstantiateError::Mismatch {
            path: store_dir.display(path),
            computed: store_dir.display(computed),
        };
        let Some(name) = path.name().strip_suffix(".drv") else {
            return Err(InstantiateError::Name {
                name: path.name().to_owned(),
                error: StorePathError::NotADerivation(store_dir.display(path)),
            });
        };
        let (computed_path, computed) = compute(store_dir, name, derivation.clone(), self)?;
        if computed_path != *path || computed != *derivation {
            return Err(mismatch(&computed_path));
        }
        self.insert(store_dir, name, computed_path, computed)
    }

    fn insert(
        &mut self,
        store_dir: &StoreDir,
        name: &str,
        path: StorePath,
        derivation: Derivation,
    ) -> Result<(), InstantiateError> {
        if !self.known.contains_key(&path) {
            let hash_of = |path: &StorePath| self.hash_modulo(path);
            let hash = hash_modulo_inputs(store_dir, name, &derivation, &hash_of)?;
            self.known.insert(path, (derivation, hash));
        }
        Ok(())
    }
}

/// Fills in the output paths of `derivation` (whatever they were), sets the environment variable named after each
/// output to its path, and returns the path of the `.drv` file with the whole, which is also added to `known`.
///
/// `name` is without `.drv`. All input derivations must be in `known`.
pub fn instantiate(
    store_dir: &StoreDir,
    name: &str,
    derivation: Derivation,
    known: &mut DerivationSet,
) -> Result<(StorePath, Derivation), InstantiateError> {
    let (path, derivation) = compute(store_dir, name, derivation, known)?;
    known.insert(store_dir, name, path.clone(), derivation.clone())?;
    Ok((path, derivation))
}

/// The path of the `.drv` file that holds `derivation`, whose output paths are known. `name` is without `.drv`.
pub fn derivation_path(
    store_dir: &StoreDir,
    name: &str,
    derivation: &Derivation,
) -> Result<StorePath, StorePathError> {
    let content = aterm::write(store_dir, derivation);
    let references = derivation.references();
    text_path(store_dir, &format!("{name}.drv"), &content, &references)
}

fn compute(
    store_dir: &StoreDir,
    name: &str,
    mut derivation: Derivation,
    known: &DerivationSet,
) -> Result<(StorePath, Derivation), InstantiateError> {
    let wrong_name = |error| InstantiateError::Name {
        name: name.to_owned(),
        error,
    };
    // Before anything else, so that a message about the name does not speak of `NAME.drv` or `NAME-lib`.
    check_name(name).map_err(wrong_name)?;
    check_outputs(name, &derivation)?;
    check_inputs(name, &derivation, known)?;
    let hash_of = |path: &StorePath| known.hash_modulo(path);
    for (output, path) in expected_outputs(store_dir, name, &derivation, &hash_of)? {
        let text = store_dir.display(&path);
        derivation.environment.insert(output.as_str(), text);
        if let Some(output) = derivation.outputs.get_mut(&output) {
            output.path = Some(path);
        }
    }
    let path = derivation_path(store_dir, name, &derivation).map_err(wrong_name)?;
    Ok((path, derivation))
}

/// The output paths that follow from the content of `derivation`, whatever those are that it names. `name` is without
/// `.drv`, and `hash_of` knows the hash modulo inputs of each input derivation.
///
/// # Errors
/// Where `hash_of` does not know one, or `name` with an output's does not do.
pub fn expected_outputs(
    store_dir: &StoreDir,
    name: &str,
    derivation: &Derivation,
    hash_of: &dyn Fn(&StorePath) -> Option<Sha256Digest>,
) -> Result<BTreeMap<String, StorePath>, InstantiateError> {
    let wrong_name = |error| InstantiateError::Name {
        name: name.to_owned(),
        error,
    };
    check_name(name).map_err(wrong_name)?;
    if let Some(fixed) = derivation.fixed_output() {
        let path = fixed_output_path(store_dir, name, fixed.method, fixed.hash);
        return Ok(BTreeMap::from([(
            "out".to_owned(),
            path.map_err(wrong_name)?,
        )]));
    }
    let mut masked = derivation.clone();
    // Users may leave the variables out; the hash is taken with them present and empty.
    for output in derivation.outputs.keys() {
        masked.environment.insert(output.as_str(), "");
    }
    let hash = hash_with(store_dir, name, &masked, hash_of, true)?;
    let outputs = derivation.outputs.keys();
    outputs
        .map(|output| {
            let path = output_path(store_dir, output, name, &hash).map_err(wrong_name)?;
            Ok((output.clone(), path))
        })
        .collect()
}

/// The hash modulo inputs by which users of `derivation`, whose output paths are known, know it. The arguments and
/// errors are those of [`expected_outputs`].
pub fn hash_modulo_inputs(
    store_dir: &StoreDir,
    name: &str,
    derivation: &Derivation,
    hash_of: &dyn Fn(&StorePath) -> Option<Sha256Digest>,
) -> Result<Sha256Digest, InstantiateError> {
    hash_with(store_dir, name, derivation, hash_of, false)
}

fn check_outputs(name: &str, derivation: &Derivation) -> Result<(), InstantiateError> {
    let outputs = &derivation.outputs;
    if outputs.is_empty() {
        return Err(InstantiateError::NoOutputs(name.to_owned()));
    }
    if outputs.contains_key("drv") {
        return Err(InstantiateError::OutputCalledDrv(name.to_owned()));
    }
    let is_fixed = |output: &Output| output.fixed.is_some();
    if outputs.values().any(is_fixed) && derivation.fixed_output().is_none() {
        return Err(InstantiateError::Fixed(name.to_owned()));
    }
    Ok(())
}

/// Checks that each input derivation is known and has the outputs that are used.
fn check_inputs(
    name: &str,
    derivation: &Derivation,
    known: &DerivationSet,
) -> Result<(), InstantiateError> {
    for (path, used) in &derivation.input_derivations {
        let Some(input) = known.get(path) else {
            return Err(InstantiateError::UnknownInput {
                name: name.to_owned(),
                input: path.base_name().to_owned(),
            });
        };
        if let Some(output) = used
            .iter()
            .find(|output| !input.outputs.contains_key(*output))
        {
            let available: Vec<_> = input.outputs.keys().map(String::as_str).collect();
            return Err(InstantiateError::UnknownOutput {
                name: name.to_owned(),
                input: path.base_name().to_owned(),
                output: output.clone(),
                available: available.join(", "),
            });
        }
    }
    Ok(())
}

fn hash_with(
    store_dir: &StoreDir,
    name: &str,
    derivation: &Derivation,
    hash_of: &dyn Fn(&StorePath) -> Option<Sha256Digest>,
    mask_outputs: bool,
) -> Result<Sha256Digest, InstantiateError> {
    if let Some(fixed) = derivation.fixed_output() {
        let path = derivation.output_path("out");
        let path = path.map(|path| store_dir.display(path)).unwrap_or_default();
        let (prefix, hash) = (fixed.method.prefix(), fixed.hash);
        return Ok(Sha256Digest::of(format!("fixed:out:{prefix}{hash}:{path}")));
    }
    let mut inputs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, outputs) in &derivation.input_derivations {
        let hash = hash_of(path).ok_or_else(|| InstantiateError::UnknownInput {
            name: name.to_owned(),
            input: path.base_name().to_owned(),
        })?;
        let merged = inputs.entry(hash.to_base16()).or_default();
        merged.extend(outputs.iter().cloned());
    }
    let text = aterm::write_with(store_dir, derivation, &inputs, mask_outputs);
    Ok(Sha256Digest::of(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::store_path::FixedOutputMethod::{self, Flat, Recursive};

    fn store_dir() -> StoreDir {
        StoreDir::new("/gnu/store").unwrap()
    }

    fn plain(name: &str) -> Derivation {
        Derivation {
            outputs: BTreeMap::from([("out".into(), Output::input_addressed())]),
            system: "x86_64-linux".into(),
            builder: "b".into(),
            environment: [("name", name)].into(),
            ..Derivation::default()
        }
    }

    fn download(method: FixedOutputMethod, url: &str) -> Derivation {
        let mut derivation = plain("x");
        let output = Output::fixed(method, Sha256Digest::of("hello\n"));
        derivation.outputs.insert("out".into(), output);
        derivation.environment.insert("url", url);
        derivation
    }

    fn using(inputs: &[&StorePath]) -> Derivation {
        let out = BTreeSet::from(["out".to_owned()]);
        let inputs = inputs.iter().map(|path| ((*path).clone(), out.clone()));
        Derivation {
            input_derivations: inputs.collect(),
            ..plain("user")
        }
    }

    #[test]
    fn a_fixed_output_does_not_depend_on_where_it_comes_from() {
        let mut known = DerivationSet::new();
        for method in [Flat, Recursive] {
            let one =
                instantiate(&store_dir(), "x", download(method, "http://1"), &mut known).unwrap();
            let two =
                instantiate(&store_dir(), "x", download(method, "http://2"), &mut known).unwrap();
            assert_ne!(one.0, two.0);
            assert_eq!(one.1.output_path("out"), two.1.output_path("out"));
            assert_eq!(known.hash_modulo(&one.0), known.hash_modulo(&two.0));

            let users = [&one.0, &two.0].map(|input| {
                instantiate(&store_dir(), "user", using(&[input]), &mut known).unwrap()
            });
            assert_ne!(users[0].0, users[1].0);
            assert_eq!(users[0].1.output_path("out"), users[1].1.output_path("out"));
        }
    }

    #[test]
    fn output_paths_are_in_the_environment_and_replace_what_was_there() {
        let mut derivation = plain("a");
        let mut known = DerivationSet::new();
        let first = instantiate(&store_dir(), "a", derivation.clone(), &mut known).unwrap();
        let path = first.1.output_path("out").unwrap();
        assert_eq!(first.1.environment["out"], store_dir().display(path));
        derivation.environment.insert("out", "wrong");
        assert_eq!(
            instantiate(&store_dir(), "a", derivation, &mut known).unwrap(),
            first
        );
        // Already instantiated: instantiating again changes nothing.
        assert_eq!(
            instantiate(&store_dir(), "a", first.1.clone(), &mut known).unwrap(),
            first
        );
    }

    #[test]
    fn a_derivation_from_the_store_is_added_only_if_its_paths_are_right() {
        let mut known = DerivationSet::new();
        let (path, derivation) = instantiate(&store_dir(), "a", plain("a"), &mut known).unwrap();
        let mut fresh = DerivationSet::new();
        fresh.add(&store_dir(), &path, &derivation).unwrap();
        assert_eq!(fresh.hash_modulo(&path), known.hash_modulo(&path));

        let mut changed = derivation.clone();
        changed.builder = "c".into();
        let error = fresh.add(&store_dir(), &path, &changed).unwrap_err();
        assert!(
            matches!(error, InstantiateError::Mismatch { .. }),
            "{error}"
        );
        let output = derivation.output_path("out").unwrap();
        assert!(fresh.add(&store_dir(), output, &derivation).is_err());
    }

    #[test]
    fn unknown_inputs_and_outputs_are_named() {
        let mut known = DerivationSet::new();
        let (path, _) = instantiate(&store_dir(), "a", plain("a"), &mut known).unwrap();
        let error = instantiate(
            &store_dir(),
            "u",
            using(&[&path]),
            &mut DerivationSet::new(),
        );
        assert!(
            matches!(error, Err(InstantiateError::UnknownInput { input, .. }) if input == path.base_name())
        );
        let mut user = using(&[]);
        user.input_derivations
            .insert(path, BTreeSet::from(["doc".into()]));
        let error = instantiate(&store_dir(), "u", user, &mut known).unwrap_err();
        assert!(error.to_string().ends_with("which has only out"), "{error}");
    }

    #[test]
    fn outputs_that_cannot_be_are_refused() {
        let refuse = |name: &str, derivation: Derivation| {
            instantiate(&store_dir(), name, derivation, &mut DerivationSet::new()).unwrap_err()
        };
        let with_output = |name: &str, mut derivation: Derivation| {
            derivation
                .outputs
                .insert(name.into(), Output::input_addressed());
            derivation
        };
        let nothing = Derivation::default();
        assert!(matches!(
            refuse("a", nothing),
            InstantiateError::NoOutputs(_)
        ));
        let drv = with_output("drv", plain("a"));
        assert!(matches!(
            refuse("a", drv),
            InstantiateError::OutputCalledDrv(_)
        ));
        let two = with_output("lib", download(Flat, ""));
        assert!(matches!(refuse("a", two), InstantiateError::Fixed(_)));
        let slash = with_output("l/b", plain("a"));
        assert!(matches!(refuse("a", slash), InstantiateError::Name { .. }));
        assert!(matches!(
            refuse("a b", plain("a")),
            InstantiateError::Name { .. }
        ));
        assert!(matches!(
            refuse(&"a".repeat(208), plain("a")),
            InstantiateError::Name { .. }
        ));
    }
}
