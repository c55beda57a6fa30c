// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use crate::formats::derivation::{DerivationSet, Output, instantiate};

/// Derivations in the making, and all that were made.
#[derive(Default)]
struct Maker {
    known: DerivationSet,
}

fn store_dir() -> StoreDir {
    StoreDir::new("/gnu/store").unwrap()
}

impl Maker {
    fn make(&mut self, stage: &str, name: &str, inputs: &[&StorePath], flags: &str) -> StorePath {
        self.make_with(stage, name, inputs, flags, &[])
    }

    fn make_with(
        &mut self,
        stage: &str,
        name: &str,
        inputs: &[&StorePath],
        flags: &str,
        sources: &[&StorePath],
    ) -> StorePath {
        let mut derivation = Derivation {
            outputs: BTreeMap::from([("out".to_owned(), Output::input_addressed())]),
            system: "x86_64-linux".into(),
            builder: "/bin/sh".into(),
            ..Derivation::default()
        };
        let paths: Vec<String> = inputs
            .iter()
            .map(|input| {
                let output = self.known.get(input).unwrap().output_path("out").unwrap();
                store_dir().display(output)
            })
            .collect();
        for input in inputs {
            let outputs = BTreeSet::from(["out".to_owned()]);
            derivation
                .input_derivations
                .insert((*input).clone(), outputs);
        }
        derivation.input_sources = sources.iter().map(|&path| path.clone()).collect();
        for (name, value) in [
            ("stage", stage),
            ("pname", name),
            ("inputs", &paths.join(" ")),
            ("configureFlags", flags),
            ("disallowedReferences", &paths.join(" ")),
        ] {
            derivation.environment.insert(name, value);
        }
        if let Some(first) = paths.first() {
            derivation.builder = format!("{first}/bin/bash").into();
        }
        let (path, _) = instantiate(
            &store_dir(),
            &format!("{name}-1.0"),
            derivation,
            &mut self.known,
        )
        .unwrap();
        path
    }

    fn changes(&self, old: &StorePath, new: &StorePath) -> Vec<DerivationChange> {
        let read = |path: &StorePath| self.known.get(path).cloned();
        changes(
            &store_dir(),
            &read(old).unwrap(),
            &read(new).unwrap(),
            &read,
        )
    }
}

#[test]
fn equal_derivations_differ_in_nothing() {
    let mut maker = Maker::default();
    let sed = maker.make("final", "sed", &[], "");
    assert_eq!(maker.changes(&sed, &sed), []);
}

#[test]
fn a_changed_flag_is_the_only_change() {
    let mut maker = Maker::default();
    let old = maker.make("final", "sed", &[], "--a");
    let new = maker.make("final", "sed", &[], "--b");
    assert_eq!(
        maker.changes(&old, &new),
        [DerivationChange::Variable {
            name: "configureFlags".into(),
            old: Some("--a".into()),
            new: Some("--b".into()),
        }]
    );
}

#[test]
fn a_changed_input_is_one_change_wherever_its_path_is_named() {
    let mut maker = Maker::default();
    let bash = ["--a", "--b"].map(|flags| maker.make("stage0", "bash", &[], flags));
    // Another input of the same name, which stays.
    let other = maker.make("final", "bash", &[], "");
    let sed = bash
        .clone()
        .map(|bash| maker.make("final", "sed", &[&bash, &other], ""));
    assert_eq!(
        maker.changes(&sed[0], &sed[1]),
        [DerivationChange::Input {
            name: "stage0/bash".into(),
            old: bash[0].clone(),
            new: bash[1].clone(),
        }]
    );
}

#[test]
fn inputs_and_sources_that_came_or_went_or_changed_are_told() {
    let mut maker = Maker::default();
    let (make, tar) = (
        maker.make("stage0", "make", &[], ""),
        maker.make("stage0", "tar", &[], ""),
    );
    let source = |letter: &str, name: &str| {
        StorePath::from_base_name(&format!("{}-{name}", letter.repeat(32))).unwrap()
    };
    let (phases, changed) = (source("a", "phases"), source("b", "phases"));
    let patch = source("c", "fix.patch");
    let old = maker.make_with("final", "sed", &[&make], "", &[&phases]);
    let new = maker.make_with("final", "sed", &[&make, &tar], "", &[&changed, &patch]);
    let found = maker.changes(&old, &new);
    assert!(found.contains(&DerivationChange::InputSet {
        name: "stage0/tar".into(),
        added: true
    }));
    assert!(found.contains(&DerivationChange::Source {
        name: "phases".into()
    }));
    assert!(found.contains(&DerivationChange::SourceSet {
        name: "fix.patch".into(),
        added: true
    }));
}

#[test]
fn inputs_that_cannot_be_read_are_paired_by_name() {
    let mut maker = Maker::default();
    let bash = ["--a", "--b"].map(|flags| maker.make("stage0", "bash", &[], flags));
    let sed = bash.map(|bash| maker.make("final", "sed", &[&bash], ""));
    let known = sed
        .clone()
        .map(|path| maker.known.get(&path).unwrap().clone());
    let found = changes(&store_dir(), &known[0], &known[1], &|_| None);
    assert!(matches!(&found[0], DerivationChange::Input { name, .. } if name == "bash-1.0"));
}
