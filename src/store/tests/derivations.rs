// SPDX-License-Identifier: GPL-3.0-or-later
//! Derivations become valid only with the outputs that follow from their content.

use super::*;
use crate::formats::content_hash::HashAlgorithm;
use crate::formats::derivation::{Derivation, DerivationSet, Output, aterm, instantiate};
use crate::formats::nar::Tree;
use crate::formats::store_path::FixedOutputMethod;
use crate::store::add::Text;
use std::collections::BTreeMap;

/// The derivation `name` that uses `inputs` and `sources`, as its makers write it.
pub(super) fn instantiated(
    store: &Store,
    name: &str,
    inputs: &[&StorePath],
    sources: &[&StorePath],
    known: &mut DerivationSet,
) -> (StorePath, Derivation) {
    let out = BTreeSet::from(["out".to_owned()]);
    let inputs = inputs.iter().map(|path| ((*path).clone(), out.clone()));
    let plain = Derivation {
        outputs: BTreeMap::from([("out".to_owned(), Output::input_addressed())]),
        input_derivations: inputs.collect(),
        input_sources: sources.iter().map(|path| (*path).clone()).collect(),
        system: "x86_64-linux".to_owned(),
        builder: "/bin/sh".into(),
        ..Derivation::default()
    };
    instantiate(&store.directories().store_dir, name, plain, known).unwrap()
}

/// Adds `derivation` as a client may: under the path of its text.
pub(super) fn add_derivation(
    store: &Store,
    name: &str,
    derivation: &Derivation,
) -> Result<StorePath, StoreError> {
    let text = aterm::write(&store.directories().store_dir, derivation);
    store.add_text(&format!("{name}.drv"), &text, &derivation.references())
}

#[test]
fn a_derivation_with_the_output_path_of_another_does_not_become_valid() {
    let store = TestStore::new();
    let mut known = DerivationSet::new();
    let (input_path, input) = instantiated(&store, "input", &[], &[], &mut known);
    let (path, right) = instantiated(&store, "user", &[&input_path], &[], &mut known);
    // What its user uses comes first.
    let error = add_derivation(&store, "user", &right).unwrap_err();
    assert!(error.to_string().contains("is not valid"), "{error}");
    assert_eq!(add_derivation(&store, "input", &input).unwrap(), input_path);
    let victim = right.output_path("out").unwrap().clone();
    let text_of = |path: &StorePath| store.directories().store_dir.display(path);
    let mut wrong = right.clone();
    wrong.arguments = vec!["-c".into(), "echo evil".into()];
    let error = add_derivation(&store, "user", &wrong)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("has incorrect output") && error.contains(&text_of(&victim)),
        "{error}"
    );
    // Neither by a variable that says another path than the output.
    let mut wrong = right.clone();
    wrong.environment.insert("out", "/gnu/store/elsewhere");
    let error = add_derivation(&store, "user", &wrong)
        .unwrap_err()
        .to_string();
    assert!(error.contains("has incorrect output"), "{error}");
    // Nor by a fixed output of its own.
    let mut wrong = right.clone();
    let mut output = Output::fixed(FixedOutputMethod::Flat, Sha256Digest::of("evil"));
    output.path = Some(victim.clone());
    wrong.outputs.insert("out".to_owned(), output);
    let error = add_derivation(&store, "user", &wrong)
        .unwrap_err()
        .to_string();
    assert!(error.contains("has incorrect output"), "{error}");
    // Nor as a file that is called so.
    let archive = Tree::file(aterm::write(&store.directories().store_dir, &{
        let mut wrong = right.clone();
        wrong.arguments = vec!["-c".into(), "echo evil".into()];
        wrong
    }))
    .to_nar()
    .unwrap();
    for method in [FixedOutputMethod::Flat, FixedOutputMethod::Recursive] {
        let added = store.add_archive(
            "user.drv",
            method,
            HashAlgorithm::Sha256,
            &mut archive.as_slice(),
        );
        let error = added.unwrap_err().to_string();
        assert!(error.contains("has incorrect output"), "{error}");
    }
    assert!(!store.is_valid(&path).unwrap());
    assert_eq!(add_derivation(&store, "user", &right).unwrap(), path);
    // By a fresh process, which knows no hashes yet, through inputs of inputs.
    let store = store.again();
    let (next, derivation) = instantiated(&store, "next", &[&path], &[], &mut known);
    assert_eq!(add_derivation(&store, "next", &derivation).unwrap(), next);
}

#[test]
fn of_a_name_one_suffix_is_that_of_derivations() {
    let store = TestStore::new();
    let mut known = DerivationSet::new();
    let (path, derivation) = instantiated(&store, "made.drv", &[], &[], &mut known);
    assert_eq!(path.name(), "made.drv.drv");
    let added = add_derivation(&store, "made.drv", &derivation);
    assert_eq!(added.unwrap(), path);
    let (user, derivation) = instantiated(&store, "user", &[&path], &[], &mut known);
    let added = add_derivation(&store, "user", &derivation);
    assert_eq!(added.unwrap(), user);
}

#[test]
fn a_graph_of_derivations_becomes_valid_in_one_go_and_a_long_chain_too() {
    let store = TestStore::new();
    let mut known = DerivationSet::new();
    let mut graph: Vec<(String, Derivation)> = Vec::new();
    let mut last: Option<StorePath> = None;
    for number in 0..300 {
        let name = format!("link-{number}");
        let inputs: Vec<&StorePath> = last.iter().collect();
        let (path, derivation) = instantiated(&store, &name, &inputs, &[], &mut known);
        graph.push((format!("{name}.drv"), derivation));
        last = Some(path);
    }
    let store_dir = &store.directories().store_dir;
    let written: Vec<(Vec<u8>, BTreeSet<StorePath>)> = graph
        .iter()
        .map(|(_, derivation)| (aterm::write(store_dir, derivation), derivation.references()))
        .collect();
    let texts: Vec<Text<'_>> = graph
        .iter()
        .zip(&written)
        .map(|((name, _), (content, references))| Text {
            name,
            content,
            references,
        })
        .collect();
    let paths = store.add_texts(&texts).unwrap();
    assert_eq!(paths.last(), last.as_ref());
    let fresh = store.again();
    let (path, derivation) = instantiated(&fresh, "end", &[&last.unwrap()], &[], &mut known);
    assert_eq!(add_derivation(&fresh, "end", &derivation).unwrap(), path);
}
