// SPDX-License-Identifier: GPL-3.0-or-later
//! Derivations for other systems, and attributes that guix-daemon obeys.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;

use bootstrap::formats::derivation::{Output, aterm};
use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::nar::Tree;
use bootstrap::formats::store_path::FixedOutputMethod;

use crate::site::{Site, toy};

#[test]
fn a_32_bit_system_is_built_for_with_its_personality() {
    let mut site = Site::new();
    for (system, machine) in [
        ("x86_64-linux", "x86_64"),
        ("i686-linux", "i686"),
        // As guix-daemon, which tries what has the same kernel: there may be an emulator.
        ("aarch64-linux", "x86_64"),
    ] {
        let item = site.add_with(system, &["machine $out"], |_, derivation| {
            derivation.system = system.to_owned();
        });
        site.build(item);
        assert_eq!(fs::read_to_string(site.physical(item)).unwrap(), machine);
    }
}

#[test]
fn what_this_machine_cannot_run_is_refused_by_name() {
    let mut site = Site::new();
    let foreign = Tree::executable(b"\x7fELF of another processor");
    let foreign = site.store.add_tree("foreign", &foreign).unwrap();
    site.store
        .add_tree("toy", &Tree::executable(toy()))
        .unwrap();
    for system in ["aarch64-linux", "x86_64-freebsd", "i586-gnu", "nonsense"] {
        let item = site.add_with(system, &["write $out"], |site, derivation| {
            derivation.system = system.to_owned();
            derivation.input_sources = BTreeSet::from([foreign.clone()]);
            derivation.builder = site.store.directories().store_dir.display(&foreign).into();
        });
        let error = site.fail(item).to_string();
        let expected = format!("it is for {system}, and this machine is x86_64-linux");
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn only_fixed_outputs_have_the_network() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connect = format!(
        "connect 127.0.0.1 {}",
        listener.local_addr().unwrap().port()
    );
    let commands = [connect.as_str(), "write $out bytes"];
    let mut site = Site::new();
    for (label, method, hash) in [
        ("flat", FixedOutputMethod::Flat, Sha256Digest::of("bytes")),
        (
            "tree",
            FixedOutputMethod::Recursive,
            Tree::file(b"bytes").nar_sha256().unwrap(),
        ),
    ] {
        let item = site.add_with(label, &commands, |_, derivation| {
            let output = Output::fixed(method, hash);
            derivation.outputs.insert("out".to_owned(), output);
        });
        site.build(item);
    }
    let other = site.add("other", &commands);
    let error = site.fail(other).to_string();
    assert!(error.contains("exit status 1"), "{error}");
}

#[test]
fn the_graph_of_a_derivation_lists_what_it_makes() {
    let mut site = Site::new();
    let library = site.add("library", &["write $out"]);
    site.build(library);
    let drv = site.items[library].path.clone();
    let list = |site: &mut Site, label: &str, drv: &bootstrap::formats::store_path::StorePath| {
        site.add_with(
            label,
            &["copy $NIX_BUILD_TOP/graph $out"],
            |site, derivation| {
                derivation.input_sources.insert(drv.clone());
                let drv = site.store.directories().store_dir.display(drv);
                let pair = format!("graph {drv}");
                derivation.environment.insert("exportReferencesGraph", pair);
            },
        )
    };
    let item = list(&mut site, "list", &drv);
    site.build(item);
    let found = fs::read_to_string(site.physical(item)).unwrap();
    let out = site.logical(library, "out");
    assert!(found.contains(&format!("{out}\n\n0\n")), "{found}");
    assert!(found.contains("-library.drv\n\n1\n"), "{found}");

    // What it makes must be there.
    let absent = site.add("absent", &["write $out"]);
    let text = aterm::write(
        &site.store.directories().store_dir,
        &site.items[absent].derivation,
    );
    let references = site.items[absent].derivation.references();
    let drv = site.store.add_text("absent.drv", &text, &references);
    let item = list(&mut site, "list-absent", &drv.unwrap());
    let error = site.fail(item).to_string();
    assert!(
        error.contains("-absent`, which a derivation in it makes, is not valid"),
        "{error}"
    );
}
