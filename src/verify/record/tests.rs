// SPDX-License-Identifier: GPL-3.0-or-later
use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use super::*;
use crate::formats::derivation::{DerivationSet, Output, instantiate};
use crate::formats::nar::Tree;
use crate::formats::store_path::StoreDir;
use crate::store::StagedOutput;
use crate::verify::testing::{VerifyTestStore, path};
use crate::verify::whole::{self, Condition};

/// A store with an item that was built from a derivation, for which there was an input.
struct Built {
    store: VerifyTestStore,
    item: StorePath,
    derivation: StorePath,
    input: StorePath,
    /// Another derivation, of something else.
    other: StorePath,
}

fn derivation(store: &VerifyTestStore, name: &str, input: &StorePath) -> (StorePath, Derivation) {
    let store_dir = StoreDir::new("/gnu/store").unwrap();
    let plain = Derivation {
        outputs: [("out".to_owned(), Output::input_addressed())].into(),
        input_sources: BTreeSet::from([input.clone()]),
        system: "x86_64-linux".into(),
        builder: "/bin/sh".into(),
        ..Derivation::default()
    };
    let (path, derivation) =
        instantiate(&store_dir, name, plain, &mut DerivationSet::new()).unwrap();
    let text = aterm::write(&store_dir, &derivation);
    let added = store
        .store
        .add_text(path.name(), &text, &derivation.references());
    assert_eq!(added.unwrap(), path);
    (path, derivation)
}

impl Built {
    fn new() -> Self {
        let store = VerifyTestStore::new();
        let input = path('b', "input");
        store.item(&input, &Tree::file("x"));
        let (derivation, content) = self::derivation(&store, "tool", &input);
        let (other, _) = self::derivation(&store, "other", &input);
        let item = content.output_path("out").unwrap().clone();
        let staged = store.root.join("gnu/store/staged.new");
        let text = format!("{} {}", item.base_name(), input.base_name());
        crate::store::nar::restore_tree(&Tree::file(text), &staged).unwrap();
        store
            .store
            .register_outputs(vec![StagedOutput {
                staged,
                path: item.clone(),
                candidates: BTreeSet::from([item.clone(), input.clone()]),
                deriver: Some(derivation.clone()),
            }])
            .unwrap();
        Self {
            store,
            item,
            derivation,
            input,
            other,
        }
    }

    fn execute(&self, statement: &str) {
        let file = self.store.root.join("var/guix/db/db.sqlite");
        let connection = rusqlite::Connection::open(file).unwrap();
        let id = |path: &StorePath| {
            let path = format!("/gnu/store/{}", path.base_name());
            format!("(SELECT id FROM ValidPaths WHERE path = '{path}')")
        };
        let statement = statement
            .replace("ITEM", &id(&self.item))
            .replace("DERIVATION", &id(&self.derivation))
            .replace("INPUT", &id(&self.input))
            .replace("OTHER", &id(&self.other));
        assert_eq!(connection.execute(&statement, []).unwrap(), 1);
    }

    fn wrong(&self) -> Vec<(StorePath, WrongRecord)> {
        let report = whole::everything(&self.store.reader(), NonZeroUsize::MIN, &|| true).unwrap();
        let wrong = report.damaged().map(|checked| match &checked.condition {
            Condition::Misrecorded(wrong) => (checked.info.path.clone(), (**wrong).clone()),
            condition => panic!("{condition:?}"),
        });
        wrong.collect()
    }

    /// After `statement`, verification names `path` with `problem`; once what it says is registered, nothing.
    fn is_found(&self, statement: &str, path: &StorePath, problem: &str) {
        assert_eq!(self.wrong(), []);
        self.execute(statement);
        let wrong = self.wrong();
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert_eq!(&wrong[0].0, path);
        let WrongRecord { problems, right } = &wrong[0].1;
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(problem), "{problems:?}");
        self.store
            .store
            .register(std::slice::from_ref(right))
            .unwrap();
        assert_eq!(self.wrong(), []);
    }
}

#[test]
fn a_size_that_is_not_the_archive_s_is_found() {
    let built = Built::new();
    built.is_found(
        "UPDATE ValidPaths SET narSize = narSize | 4096 WHERE id = ITEM",
        &built.item,
        "bytes as an archive",
    );
}

#[test]
fn a_size_below_zero_is_nonsense() {
    let built = Built::new();
    built.execute("UPDATE ValidPaths SET narSize = -narSize WHERE id = ITEM");
    let error = whole::everything(&built.store.reader(), NonZeroUsize::MIN, &|| true).unwrap_err();
    assert!(
        error.to_string().contains("-tool has the size -"),
        "{error}"
    );
}

#[test]
fn a_size_that_nobody_recorded_is_no_damage() {
    let built = Built::new();
    built.execute("UPDATE ValidPaths SET narSize = NULL WHERE id = ITEM");
    assert_eq!(built.wrong(), []);
}

#[test]
fn a_reference_that_became_another_is_found_on_both_sides() {
    let built = Built::new();
    built.execute("UPDATE Refs SET reference = OTHER WHERE referrer = ITEM AND reference = INPUT");
    let wrong = built.wrong();
    assert_eq!(wrong[0].1.problems.len(), 2, "{wrong:?}");
    assert_eq!(
        wrong[0].1.right.references,
        BTreeSet::from([built.item.clone(), built.input.clone()])
    );
}

#[test]
fn a_reference_too_many_is_found() {
    let built = Built::new();
    built.is_found(
        "INSERT INTO Refs (referrer, reference) VALUES (ITEM, OTHER)",
        &built.item,
        "-other.drv, which does not occur in it",
    );
}

#[test]
fn a_reference_to_an_input_that_is_not_recorded_is_found() {
    let built = Built::new();
    built.is_found(
        "DELETE FROM Refs WHERE referrer = ITEM AND reference = INPUT",
        &built.item,
        "-input, which the database does not list",
    );
    built.is_found(
        "DELETE FROM Refs WHERE referrer = ITEM AND reference = ITEM",
        &built.item,
        "-tool, which the database does not list",
    );
}

#[test]
fn a_derivation_s_references_are_what_it_says() {
    let built = Built::new();
    built.is_found(
        "DELETE FROM Refs WHERE referrer = DERIVATION AND reference = INPUT",
        &built.derivation,
        "-input, which the database does not list",
    );
}

#[test]
fn a_deriver_that_builds_something_else_is_found() {
    let built = Built::new();
    let other = format!("/gnu/store/{}", built.other.base_name());
    built.is_found(
        &format!("UPDATE ValidPaths SET deriver = '{other}' WHERE id = ITEM"),
        &built.item,
        "-tool.drv is what builds it",
    );
}

#[test]
fn a_deriver_that_is_one_character_off_is_found_and_one_that_was_collected_is_not() {
    let built = Built::new();
    let name = built.derivation.base_name();
    let digit = if name.starts_with('0') { '1' } else { '0' };
    let deriver = format!("/gnu/store/{digit}{}", &name[1..]);
    built.is_found(
        &format!("UPDATE ValidPaths SET deriver = '{deriver}' WHERE id = ITEM"),
        &built.item,
        "-tool.drv is what builds it",
    );
    let deriver = format!("/gnu/store/{}-tool.drv", "0".repeat(32));
    built.execute(&format!(
        "UPDATE ValidPaths SET deriver = '{deriver}' WHERE id = ITEM"
    ));
    assert_eq!(built.wrong(), []);
}

#[test]
fn outputs_of_a_derivation_that_are_not_its_own_are_found() {
    let built = Built::new();
    built.is_found(
        "UPDATE DerivationOutputs SET path = replace(path, '-tool', '-toom') WHERE drv = DERIVATION",
        &built.derivation,
        "-toom, and it is /gnu/store/",
    );
    built.is_found(
        "INSERT INTO DerivationOutputs (drv, id, path) SELECT drv, 'lib', path FROM DerivationOutputs \
         WHERE drv = DERIVATION",
        &built.derivation,
        "its output lib",
    );
    built.is_found(
        "DELETE FROM DerivationOutputs WHERE drv = DERIVATION",
        &built.derivation,
        "output out is nowhere",
    );
    built.is_found(
        "INSERT INTO DerivationOutputs (drv, id, path) SELECT INPUT, id, path FROM DerivationOutputs \
         WHERE drv = OTHER",
        &built.input,
        "and it is nowhere",
    );
}
