//! Nix as the oracle: it knows schema version 7, which it upgrades to its own, so it can say what it reads in ours.
//!
//! Without `nix-store` on the machine these tests say so and pass.

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

/// Runs `nix-store` on the store, whose database it changes.
fn nix_store(store: &Directories, arguments: &[&str]) -> Option<Output> {
    let state = store.state.display();
    let url = format!(
        "local?store=/gnu/store&real={}&state={state}&log={state}/log",
        store.store.display()
    );
    let output = Command::new("nix-store")
        .args(["--store", &url, "--option", "build-users-group", ""])
        .args(arguments)
        .env("NIX_CONF_DIR", "/nonexistent")
        .env("HOME", &store.state)
        .output();
    match output {
        Ok(output) => Some(output),
        Err(_) => {
            println!("skipped: there is no nix-store here");
            None
        }
    }
}

#[test]
fn nix_reads_what_we_register_and_finds_every_hash_right() {
    let store = TestStore::new();
    let source = store.add_text("source", b"a source", &BTreeSet::new()).unwrap();
    let output = path('a');
    let [output_text, source_text] = [full(&output), full(&source)];
    let derivation = format!(
        r#"Derive([("out","{output_text}","","")],[],["{source_text}"],"s","/b",[],[("out","{output_text}")])"#
    );
    let references = BTreeSet::from([source.clone()]);
    let drv = store.add_text("a.drv", derivation.as_bytes(), &references).unwrap();
    let tree = nar::Tree::directory([
        ("script", nar::Tree::executable("#!/bin/sh\n")),
        ("sub", nar::Tree::directory([("link", nar::Tree::symlink("../script"))])),
    ]);
    let tree = store.add_tree("tree", &tree).unwrap();
    let built = store.place().join("built");
    fs::create_dir(&built).unwrap();
    fs::write(built.join("file"), format!("{source_text} and {output_text}")).unwrap();
    store
        .register_outputs(vec![StagedOutput {
            staged: built,
            path: output.clone(),
            candidates: BTreeSet::from([source.clone(), tree.clone(), output.clone()]),
            deriver: Some(drv.clone()),
        }])
        .unwrap();
    let output_info = store.path_info(&output).unwrap().unwrap();

    let TestStore { store, directory } = store;
    let directories = store.directories().clone();
    drop(store);
    let ask = |arguments: &[&str]| {
        let output = nix_store(&directories, arguments)?;
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let mut lines: Vec<String> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        lines.sort();
        Some(lines)
    };
    let Some(checked) = ask(&["--check-validity", &output_text, &source_text, &full(&tree)]) else {
        return;
    };
    assert!(checked.is_empty(), "{checked:?}");
    let sorted = |paths: &[&StorePath]| {
        let mut paths: Vec<String> = paths.iter().map(|path| full(path)).collect();
        paths.sort();
        paths
    };
    let query = |what: &str, path: &StorePath| ask(&["--query", what, &full(path)]).unwrap();
    assert_eq!(query("--references", &output), sorted(&[&output, &source]));
    assert_eq!(query("--referrers", &source), sorted(&[&output, &drv]));
    assert_eq!(query("--deriver", &output), sorted(&[&drv]));
    assert_eq!(query("--outputs", &drv), sorted(&[&output]));
    assert_eq!(query("--size", &output), [output_info.nar_size.to_string()]);
    assert_eq!(query("--requisites", &output), sorted(&[&output, &source]));
    // Reads every item and compares.
    let verified = nix_store(&directories, &["--verify", "--check-contents"]).unwrap();
    assert!(verified.status.success(), "{verified:?}");
    let file = directories.physical(&output).join("file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&file, "something else").unwrap();
    let verified = nix_store(&directories, &["--verify", "--check-contents"]).unwrap();
    assert!(!verified.status.success(), "the oracle sees through us");
    drop(directory);
}
