// SPDX-License-Identifier: GPL-3.0-or-later
//! Repair of what any program may have added to the store.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bootstrap::formats::store_path::StorePath;
use bootstrap::verify::whole;

use crate::site::Site;
use crate::stored::{added, expect};

/// Repairs an item, which must end with `status`. Gives what is said of it.
fn repair(site: &Site, status: i32, item: usize) -> String {
    let store_dir = &site.store.directories().store_dir;
    let drv = store_dir.display(&site.items[item].path);
    expect(site, status, &["build", "--repair", &drv]).1
}

fn build(site: &Site, item: usize) {
    let store_dir = &site.store.directories().store_dir;
    let drv = store_dir.display(&site.items[item].path);
    expect(site, 0, &["build", &drv]);
}

/// The paths of what is damaged in the store.
fn damaged(site: &Site) -> Vec<StorePath> {
    let report = whole::everything(&site.store, 2.try_into().unwrap(), &|| true).unwrap();
    report
        .damaged()
        .map(|checked| checked.info.path.clone())
        .collect()
}

fn change(file: &Path) {
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(file, "changed").unwrap();
}

fn output(site: &Site, item: usize) -> StorePath {
    let output = site.items[item].derivation.output_path("out");
    output.unwrap().clone()
}

/// Three items, each of which refers to the one before; the last is built.
fn chain(site: &mut Site) -> [usize; 3] {
    let low = site.add("low", &["write $out low"]);
    let middle = site.add_with("middle", &["write $out $low"], |site, derivation| {
        site.input(derivation, low);
        let path = site.logical(low, "out");
        derivation.environment.insert("low", path.as_str());
    });
    let top = site.add_with("top", &["write $out $middle"], |site, derivation| {
        site.input(derivation, middle);
        let path = site.logical(middle, "out");
        derivation.environment.insert("middle", path.as_str());
    });
    for item in [low, middle, top] {
        added(site, item);
    }
    build(site, top);
    [low, middle, top]
}

#[test]
fn an_output_is_repaired_with_all_that_it_refers_to() {
    let mut site = Site::new();
    let [low, middle, top] = chain(&mut site);
    let before = [low, middle, top].map(|item| fs::read(site.physical(item)).unwrap());
    change(&site.physical(low));
    fs::remove_file(site.physical(middle)).unwrap();
    change(&site.physical(top));
    assert_eq!(damaged(&site).len(), 3);
    repair(&site, 0, top);
    assert_eq!(damaged(&site), []);
    let after = [low, middle, top].map(|item| fs::read(site.physical(item)).unwrap());
    assert_eq!(before, after);
    // What was there is kept until the next collection.
    let kept = format!("{}-damaged", output(&site, low).base_name());
    let store = &site.store.directories().store;
    assert_eq!(fs::read(store.join(kept)).unwrap(), b"changed");
    // Once more: there is nothing to do.
    assert_eq!(repair(&site, 0, top), "");
}

#[test]
fn what_is_to_be_built_is_not_built_from_damaged_inputs() {
    let mut site = Site::new();
    let [low, middle, _] = chain(&mut site);
    // It refers to none of its inputs, so that only its derivation leads to them.
    let user = site.add_with("user", &["copy $middle $out"], |site, derivation| {
        site.input(derivation, middle);
        let path = site.logical(middle, "out");
        derivation.environment.insert("middle", path.as_str());
    });
    added(&site, user);
    change(&site.physical(middle));
    repair(&site, 0, user);
    let text = fs::read_to_string(site.physical(user)).unwrap();
    assert_eq!(text.trim_end(), site.logical(low, "out"));
    assert_eq!(damaged(&site), []);
}

#[test]
fn what_nothing_makes_is_reported_and_nothing_is_built_from_it() {
    let mut site = Site::new();
    let text = site
        .store
        .add_text("text", b"text", &BTreeSet::new())
        .unwrap();
    let shown = site.store.directories().store_dir.display(&text);
    let item = site.add_with("copied", &["copy $text $out"], |_, derivation| {
        derivation.input_sources.insert(text.clone());
        derivation.environment.insert("text", shown.as_str());
    });
    added(&site, item);
    build(&site, item);
    change(&site.store.directories().physical(&text));
    change(&site.physical(item));
    let err = repair(&site, 3, item);
    assert!(err.contains("could not be repaired: /gnu/store/"), "{err}");
    let text = format!("{shown}: neither a substitute nor a derivation provides it");
    assert!(err.contains(&text), "{err}");
    let reason = format!("{shown}, which it is built from, could not be repaired");
    assert!(err.contains(&reason), "{err}");
    assert_eq!(fs::read(site.physical(item)).unwrap(), b"changed");
}

#[test]
fn other_bytes_of_a_build_are_recorded_and_modes_put_right_without_one() {
    let mut site = Site::new();
    let item = site.add("random", &["copy /proc/sys/kernel/random/uuid $out"]);
    added(&site, item);
    build(&site, item);
    let path = output(&site, item);
    let before = site.store.path_info(&path).unwrap().unwrap();
    change(&site.physical(item));
    let err = repair(&site, 0, item);
    assert!(err.contains("corrected the recorded SHA-256"), "{err}");
    let after = site.store.path_info(&path).unwrap().unwrap();
    assert_ne!(before.nar_sha256, after.nar_sha256);
    assert_eq!(damaged(&site), []);
    let file = site.physical(item);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    repair(&site, 0, item);
    assert_eq!(site.store.path_info(&path).unwrap().unwrap(), after);
    assert_eq!(damaged(&site), []);
}
