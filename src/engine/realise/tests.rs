// SPDX-License-Identifier: GPL-3.0-or-later
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::symlink;

use super::*;
use crate::engine::SessionOptions;
use crate::fetch::cache::Cache;
use crate::formats::derivation::{Derivation, DerivationSet, Output, aterm, instantiate};
use crate::formats::hash::Sha256Digest;
use crate::formats::store_path::{FixedOutputMethod, StoreDir};
use crate::formats::system::System;
use crate::store::directories::Directories;

/// A session in a directory of its own, without network.
struct TestSession {
    _directory: tempfile::TempDir,
    session: Session,
    events: EventSender,
    cancellation: Cancellation,
}

impl TestSession {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store_dir = StoreDir::new("/gnu/store").unwrap();
        let mut options = SessionOptions::new(System::X86_64Linux, store_dir.clone());
        options.directories = Directories::new(store_dir, Some(directory.path()));
        options.offline = true;
        Self {
            _directory: directory,
            session: Session::new(options),
            events: EventSender::ignored(),
            cancellation: Cancellation::new(),
        }
    }

    fn store(&self) -> Store {
        let store = self.session.open_store(&self.events, &self.cancellation);
        store.unwrap()
    }

    fn realise(&self, store: &Store, wanted: &[WantedDerivation]) -> Result<Realised, EngineError> {
        let (events, cancellation) = (&self.events, &self.cancellation);
        self.session
            .realise(store, wanted, RealiseMode::Build, events, cancellation)
    }

    /// Puts `bytes` into the cache of downloads.
    fn cache(&self, bytes: &str) {
        let cache = Cache::new(&self.session.directories().cache);
        let file = self.session.directories().state.join("bytes");
        std::fs::write(&file, bytes).unwrap();
        cache.import(&file, Sha256Digest::of(bytes)).unwrap();
    }

    /// Adds `derivation`, of inputs that are `known`.
    fn add(
        &self,
        store: &Store,
        known: &mut DerivationSet,
        name: &str,
        derivation: Derivation,
    ) -> (StorePath, Derivation) {
        let store_dir = &self.session.directories().store_dir;
        let (path, derivation) = instantiate(store_dir, name, derivation, known).unwrap();
        let text = aterm::write(store_dir, &derivation);
        let added = store.add_text(&format!("{name}.drv"), &text, &derivation.references());
        assert_eq!(added.unwrap(), path);
        (path, derivation)
    }

    /// Adds the derivation of a download of `bytes`, which are in the cache.
    fn download(&self, store: &Store, bytes: &str) -> (StorePath, Derivation) {
        self.cache(bytes);
        self.add(store, &mut DerivationSet::default(), "x", download(bytes))
    }
}

/// A download of `bytes`.
fn download(bytes: &str) -> Derivation {
    Derivation {
        outputs: BTreeMap::from([(
            "out".to_owned(),
            Output::fixed(FixedOutputMethod::Flat, Sha256Digest::of(bytes)),
        )]),
        system: "builtin".to_owned(),
        builder: "builtin:download".into(),
        environment: [("url", "https://example.org/x")].into(),
        ..Derivation::default()
    }
}

#[test]
fn a_derivation_that_is_only_in_the_store_is_realised_once() {
    let place = TestSession::new();
    let store = place.store();
    let (path, derivation) = place.download(&store, "hello\n");
    let output = derivation.output_path("out").unwrap();
    let wanted = [WantedDerivation::all(path)];
    let realised = place.realise(&store, &wanted).unwrap();
    assert!(realised.report.errors.is_empty(), "{:?}", realised.report);
    assert_eq!(realised.report.summary.made.len(), 1);
    assert!(store.is_valid(output).unwrap());
    let again = place.realise(&store, &wanted).unwrap();
    assert_eq!(again.report.summary.made.len(), 0);
}

/// What is built is needed by another that is wanted in the same call and is not built.
#[test]
fn a_built_derivation_and_one_that_needs_it_are_realised_together() {
    let place = TestSession::new();
    let store = place.store();
    let mut known = DerivationSet::default();
    let mut chain: Vec<StorePath> = Vec::new();
    for name in ["source", "built", "third"] {
        let out = || BTreeSet::from(["out".to_owned()]);
        let derivation = Derivation {
            input_derivations: chain
                .last()
                .map(|last| (last.clone(), out()))
                .into_iter()
                .collect(),
            ..download(name)
        };
        place.cache(name);
        chain.push(place.add(&store, &mut known, name, derivation).0);
    }
    let wanted = |number: usize| WantedDerivation::all(chain[number].clone());
    place.realise(&store, &[wanted(0), wanted(1)]).unwrap();
    let both = [wanted(1), wanted(2)];
    let realised = place.realise(&store, &both).unwrap();
    assert!(realised.report.errors.is_empty(), "{:?}", realised.report);
    assert_eq!(realised.report.summary.made.len(), 1);
}

#[test]
fn outputs_and_derivations_that_do_not_exist_are_errors() {
    let place = TestSession::new();
    let store = place.store();
    let (path, _) = place.download(&store, "hello\n");
    let wanted = WantedDerivation {
        outputs: BTreeSet::from(["lib".to_owned()]),
        ..WantedDerivation::all(path)
    };
    let error = place.realise(&store, &[wanted]).unwrap_err().to_string();
    assert!(
        error.ends_with("-x.drv has no output `lib`; it has out"),
        "{error}"
    );
    let name = format!("{}-gone.drv", "0".repeat(32));
    let gone = WantedDerivation::all(StorePath::from_base_name(&name).unwrap());
    let error = place.realise(&store, &[gone]).unwrap_err().to_string();
    assert!(error.contains("is not valid"), "{error}");
}

#[test]
fn a_derivation_is_not_read_through_a_link_and_must_be_one() {
    let place = TestSession::new();
    let store = place.store();
    let secret = place.session.directories().state.join("secret");
    std::fs::write(&secret, "not for all").unwrap();
    let (path, _) = place.download(&store, "hello\n");
    let file = place.session.directories().physical(&path);
    let refusal = |expected: &str| {
        let error = place.realise(&store, &[WantedDerivation::all(path.clone())]);
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with("cannot read the derivation /gnu/store/"),
            "{error}"
        );
        assert!(
            error.contains(expected) && !error.contains("not for"),
            "{error}"
        );
    };
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "Derive(").unwrap();
    refusal("end of the file");
    std::fs::remove_file(&file).unwrap();
    symlink(&secret, &file).unwrap();
    refusal("symbolic link");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    refusal("not a regular file");
}
