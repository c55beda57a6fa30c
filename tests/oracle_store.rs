// SPDX-License-Identifier: GPL-3.0-or-later
//! The store, compared with Nix, which upgrades Guix's schema to its own and then reads a database of ours. We read and
//! write what Nix made of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;

use bootstrap::formats::content_hash::HashAlgorithm;
use bootstrap::formats::derivation::{Derivation, DerivationSet, Output, aterm, instantiate};
use bootstrap::formats::nar::Tree;
use bootstrap::formats::store_path::{FixedOutputMethod, StoreDir, StorePath};
use bootstrap::store::directories::Directories;
use bootstrap::store::gc::{CollectOptions, collect};
use bootstrap::store::{Access, OpenOptions, StagedOutput, Store};

mod oracle;

fn full(path: &StorePath) -> String {
    format!("/gnu/store/{}", path.base_name())
}

fn sorted(paths: &[&StorePath]) -> Vec<String> {
    let mut paths: Vec<String> = paths.iter().map(|path| full(path)).collect();
    paths.sort();
    paths
}

#[test]
fn nix_reads_what_we_register_and_finds_every_hash_right() {
    let oracle = oracle::Oracle::new();
    let store_dir = StoreDir::new("/gnu/store").unwrap();
    let directories = Directories::new(store_dir, Some(&oracle.scratch("root")));
    let store = Store::open(directories.clone()).unwrap();

    let source = store
        .add_text("source", b"a source", &BTreeSet::new())
        .unwrap();
    let tree = Tree::directory([
        ("script", Tree::executable("#!/bin/sh\n")),
        (
            "sub",
            Tree::directory([("link", Tree::symlink("../script"))]),
        ),
    ]);
    let tree = store.add_tree("tree", &tree).unwrap();
    let plain = Derivation {
        outputs: BTreeMap::from([("out".to_owned(), Output::input_addressed())]),
        input_sources: BTreeSet::from([source.clone()]),
        system: "s".to_owned(),
        builder: "/b".into(),
        ..Derivation::default()
    };
    let store_dir = &directories.store_dir;
    let (_, derivation) = instantiate(store_dir, "a", plain, &mut DerivationSet::new()).unwrap();
    let output = derivation.output_path("out").unwrap().clone();
    let derivation = aterm::write(store_dir, &derivation);
    let [output_text, source_text] = [&output, &source].map(full);
    let references = BTreeSet::from([source.clone()]);
    let drv = store.add_text("a.drv", &derivation, &references).unwrap();
    let staged = directories.store.join("built");
    fs::create_dir(&staged).unwrap();
    let content = format!("{source_text} and {output_text}");
    fs::write(staged.join("file"), content).unwrap();
    let candidates = BTreeSet::from([source.clone(), tree.clone(), output.clone()]);
    let built = StagedOutput {
        staged,
        path: output.clone(),
        candidates,
        deriver: Some(drv.clone()),
    };
    let locks = store.lock([&output]).unwrap();
    let infos = store
        .prepare_outputs(&locks, vec![built], &|| true)
        .unwrap()
        .commit()
        .unwrap();
    drop((locks, store));

    let state = directories.state.display();
    let url = format!(
        "local?store=/gnu/store&real={}&state={state}&log={state}/log",
        directories.store.display()
    );
    let ask = |arguments: &[&str]| {
        let arguments = [&["--store", url.as_str()], arguments].concat();
        oracle.try_run("nix-store", &arguments)
    };
    let query = |what: &str, path: &StorePath| {
        let (success, output, errors) = ask(&["--query", what, &full(path)]);
        assert!(success, "{errors}");
        let output = String::from_utf8(output).unwrap();
        let mut lines: Vec<String> = output.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    for path in [&source, &tree, &drv, &output] {
        let (success, _, errors) = ask(&["--check-validity", &full(path)]);
        assert!(success, "{errors}");
    }
    assert_eq!(query("--references", &output), sorted(&[&output, &source]));
    assert_eq!(query("--referrers", &source), sorted(&[&output, &drv]));
    assert_eq!(query("--requisites", &drv), sorted(&[&drv, &source]));
    assert_eq!(query("--deriver", &output), sorted(&[&drv]));
    assert_eq!(query("--outputs", &drv), sorted(&[&output]));
    assert_eq!(query("--size", &output), [infos[0].nar_size.to_string()]);

    // Reads every item and compares.
    let (success, _, errors) = ask(&["--verify", "--check-contents"]);
    assert!(success, "{errors}");
    let file = directories.physical(&output).join("file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&file, "something else").unwrap();
    let (success, ..) = ask(&["--verify", "--check-contents"]);
    assert!(!success, "Nix should notice a changed item");
}

#[test]
fn a_database_that_nix_has_upgraded_is_read_and_written() {
    let oracle = oracle::Oracle::new();
    let store_dir = StoreDir::new("/gnu/store").unwrap();
    let directories = Directories::new(store_dir, Some(&oracle.scratch("upgraded")));
    let store = Store::open(directories.clone()).unwrap();
    let add = |store: &Store, text: &str, references: &BTreeSet<StorePath>| {
        store.add_text("text", text.as_bytes(), references).unwrap()
    };
    let none = BTreeSet::new();
    let kept = add(&store, "kept", &none);
    let dropped = add(&store, "dropped", &none);
    drop(store);

    let state = directories.state.display();
    let url = format!(
        "local?store=/gnu/store&real={}&state={state}&log={state}/log",
        directories.store.display()
    );
    let nix = |arguments: &[&str]| {
        let arguments = [&["--store", url.as_str()], arguments].concat();
        let (success, output, errors) = oracle.try_run("nix-store", &arguments);
        assert!(success, "{errors}");
        String::from_utf8(output).unwrap()
    };
    nix(&["--query", "--hash", &full(&kept)]);
    let schema = || fs::read_to_string(directories.state.join("db/schema")).unwrap();
    assert_eq!(schema(), "10", "expected an upgrade by Nix 2.8");

    // To read, even where nothing may be written: its table of failed builds is gone.
    let read_only = OpenOptions {
        access: Access::ReadOnly,
        ..OpenOptions::default()
    };
    let reader = Store::open_with(directories.clone(), read_only).unwrap();
    assert!(reader.path_info(&kept).unwrap().is_some());
    assert!(reader.failed_paths().unwrap().is_empty());
    assert!(!reader.has_failed(&kept).unwrap());
    drop(reader);

    // To write: an item more, one less, a failure.
    let store = Store::open(directories.clone()).unwrap();
    let added = add(&store, "added", &BTreeSet::from([kept.clone()]));
    store.record_failure([&dropped]).unwrap();
    assert!(store.has_failed(&dropped).unwrap());
    store.add_root("added", &added).unwrap();
    drop(store);
    let store = Store::open(directories.clone()).unwrap();
    let freed = collect(&store, &CollectOptions::default()).unwrap();
    assert_eq!(freed.paths, std::slice::from_ref(&dropped));
    store.check_database().unwrap();
    drop(store);
    assert_eq!(schema(), "10", "it stays Nix's");

    nix(&["--verify", "--check-contents"]);
    let references = nix(&["--query", "--references", &full(&added)]);
    assert_eq!(references.trim(), full(&kept));
    let (valid, ..) = oracle.try_run(
        "nix-store",
        &["--store", &url, "--check-validity", &full(&dropped)],
    );
    assert!(!valid);

    // The way back to guix-daemon, as docs/sharing.md has it.
    fs::write(directories.state.join("db/schema"), "7").unwrap();
    let store = Store::open(directories.clone()).unwrap();
    assert_eq!(store.valid_paths().unwrap(), BTreeSet::from([kept, added]));
}

#[test]
fn archives_become_the_paths_that_nix_gives_them() {
    let oracle = oracle::Oracle::new();
    let store_dir = StoreDir::new("/gnu/store").unwrap();
    let directories = Directories::new(store_dir, Some(&oracle.scratch("fixed")));
    let store = Store::open(directories).unwrap();
    let file = oracle.scratch("file");
    fs::write(&file, "content").unwrap();
    let archive = Tree::file("content").to_nar().unwrap();
    for algorithm in [
        HashAlgorithm::Md5,
        HashAlgorithm::Sha1,
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha512,
    ] {
        for method in [FixedOutputMethod::Flat, FixedOutputMethod::Recursive] {
            let ours = store
                .add_archive("file", method, algorithm, &mut archive.as_slice())
                .unwrap();
            let name = algorithm.name();
            let file = file.to_str().unwrap();
            let recursive = ["--recursive"].into_iter();
            let recursive = recursive.filter(|_| method == FixedOutputMethod::Recursive);
            let arguments: Vec<&str> = ["--add-fixed"]
                .into_iter()
                .chain(recursive)
                .chain([name, file])
                .collect();
            let (success, theirs, errors) = oracle.try_run("nix-store", &arguments);
            assert!(success, "{errors}");
            let theirs = String::from_utf8(theirs).unwrap();
            assert_eq!(full(&ours), theirs.trim(), "{name} {method:?}");
        }
    }
}
