// SPDX-License-Identifier: GPL-3.0-or-later
//! The boundaries behind the daemon: the inputs, the execution of a build, and the module for Guix.

use std::collections::{BTreeMap, BTreeSet};

use bootstrap::formats::derivation::{Derivation, DerivationSet, Output, aterm, instantiate};
use bootstrap::formats::store_path::StorePath;
use bootstrap::store::StagedOutput;

use super::{Fake, derivation_answer, error_answer, session, store_dir};
use crate::client::{Daemon, SYSTEM, tool};

#[test]
fn inputs_builds_and_the_module_are_the_last_boundaries() {
    let daemon = Daemon::start();
    let fake = Fake::new(&daemon);
    fake.stops(
        &daemon,
        "inputs",
        "not in the store: tar, gzip, bzip2, file, diffutils and 16 more",
    );
    let module = make_inputs_valid(&daemon);
    fake.stops(&daemon, "inputs", "the derivations of bash, binutils, ");
    let exported = tool()
        .arg("--root")
        .arg(daemon.root())
        .args(["--system", SYSTEM, "export", "--guix"])
        .arg(fake.directory.path().join("bootstrap-inputs.scm"))
        .output()
        .unwrap();
    assert!(
        exported.status.success(),
        "{}",
        String::from_utf8_lossy(&exported.stderr)
    );

    let name = format!("{}-built", "a".repeat(32));
    let built = daemon.root().join("gnu/store").join(&name);
    let built_answer = |text: &str| {
        format!(
            "echo \"{text}\" >'{}'; echo '(bootstrap-doctor (output \"/gnu/store/{name}\"))'",
            built.display()
        )
    };
    fake.with("execution", error_answer("build of bash failed"))
        .stops(&daemon, "execution", "was not built: build of bash failed");
    fake.with("execution", built_answer("other")).stops(
        &daemon,
        "execution",
        "made `other` instead of",
    );
    std::fs::remove_file(&built).unwrap();
    fake.with(
        "execution",
        format!("echo '(bootstrap-doctor (output \"/gnu/store/{name}\"))'"),
    )
    .stops(&daemon, "execution", "a file that cannot be read");

    // Builder and token are the last arguments.
    let fake = fake.with("execution", built_answer("$6"));
    fake.with(
        "module",
        error_answer("no code for module (gnu packages commencement)"),
    )
    .stops(
        &daemon,
        "module",
        "no code for module (gnu packages commencement)",
    );
    let mut client = daemon.connect();
    let mut known = DerivationSet::new();
    for node in session(&daemon).plan().unwrap().plan.nodes() {
        let added = known.add(&store_dir(), &node.derivation_path, &node.derivation);
        added.unwrap();
    }
    let mut hello = |name: &str, inputs: &BTreeSet<StorePath>| {
        let derivation = Derivation {
            outputs: BTreeMap::from([("out".to_owned(), Output::input_addressed())]),
            input_derivations: inputs
                .iter()
                .map(|input| (input.clone(), ["out".to_owned()].into()))
                .collect(),
            system: SYSTEM.to_owned(),
            builder: "/nonexistent/builder".into(),
            ..Derivation::default()
        };
        let (_, derivation) = instantiate(&store_dir(), name, derivation, &mut known).unwrap();
        let text = String::from_utf8(aterm::write(&store_dir(), &derivation)).unwrap();
        let references: Vec<String> = inputs
            .iter()
            .map(|path| store_dir().display(path))
            .collect();
        let references: Vec<&str> = references.iter().map(String::as_str).collect();
        client.add_text(&format!("{name}.drv"), &text, &references)
    };
    let unused = hello("hello", &module.iter().skip(2).cloned().collect());
    fake.with("module", derivation_answer(&unused)).stops(
        &daemon,
        "module",
        "`hello` is lowered without ",
    );
    let foreign = hello("gcc-mes-boot-0", &BTreeSet::new());
    let foreign = StorePath::from_base_name(foreign.rsplit('/').next().unwrap()).unwrap();
    let foreign = hello("hello", &module.iter().cloned().chain([foreign]).collect());
    fake.with("module", derivation_answer(&foreign)).stops(
        &daemon,
        "module",
        "needs items of Guix's own bootstrap: ",
    );
    let good = hello("hello", &module);
    let findings = fake.with("module", derivation_answer(&good)).walk(&daemon);
    let good = findings.iter().filter(|one| one["state"] == "good");
    let good: Vec<&str> = good.map(|one| one["what"].as_str().unwrap()).collect();
    assert_eq!(good, bootstrap::engine::BOUNDARIES);
}

/// Makes the outputs of the inputs and of guile valid, with any content, and gives their derivations.
fn make_inputs_valid(daemon: &Daemon) -> BTreeSet<StorePath> {
    let session = session(daemon);
    let planned = session.plan().unwrap();
    let module = session.guix_module(&planned, "m").unwrap();
    let store = session.store_to_write().unwrap();
    let nodes = planned.plan.nodes().iter();
    for node in nodes.filter(|node| module.derivations.contains(&node.derivation_path)) {
        for output in node.derivation.outputs.values() {
            let path = output.path.clone().unwrap();
            let staged = store.directories().store.join("staged");
            std::fs::write(&staged, path.base_name()).unwrap();
            let output = StagedOutput {
                staged,
                path: path.clone(),
                candidates: BTreeSet::new(),
                deriver: None,
            };
            let locks = store.lock([&path]).unwrap();
            store
                .prepare_outputs(&locks, vec![output], &|| true)
                .unwrap()
                .commit()
                .unwrap();
        }
    }
    module.derivations
}
