// SPDX-License-Identifier: GPL-3.0-or-later
//! Exports: Nix imports ours, we import Nix's, and both believe what is signed.

use std::collections::BTreeSet;
use std::fs;

use bootstrap::exchange::ExchangeError;
use bootstrap::exchange::stream::{Trust, export, export_item};

use crate::place::Place;
use crate::{UNSIGNED, full, oracle, trusting};

#[test]
fn nix_imports_what_we_export() {
    let (place, library, program) = Place::with_items();
    let (secret, _) = place.key();
    let oracle = oracle::Oracle::new();
    let file = oracle.scratch("ours");
    fs::write(&file, place.export(&program, Some(&secret))).unwrap();
    let script = "exec nix-store --import < \"$0\"";
    oracle.run("sh", &["-c".as_ref(), script.as_ref(), file.as_os_str()]);
    let references = oracle.lines(
        "nix-store",
        &["--query".into(), "--references".into(), full(&program)],
    );
    assert_eq!(references, [full(&library)]);
    let hash = oracle.lines(
        "nix-store",
        &["--query".into(), "--hash".into(), full(&program)],
    );
    let ours = place.store.path_info(&program).unwrap().unwrap().nar_sha256;
    let ours = bootstrap::formats::base32::encode(&ours.0);
    assert_eq!(hash, [format!("sha256:{ours}")]);
}

#[test]
fn we_import_what_nix_exports_where_that_is_asked_for() {
    let (place, library, program) = Place::with_items();
    let oracle = oracle::Oracle::new();
    let file = oracle.scratch("ours");
    fs::write(&file, place.export(&program, None)).unwrap();
    let script = "nix-store --import < \"$0\" >/dev/null; exec nix-store --export \"$1\" \"$2\"";
    let (library_text, program_text) = (full(&library), full(&program));
    let arguments = [
        "-c",
        script,
        file.to_str().unwrap(),
        &library_text,
        &program_text,
    ];
    let theirs = oracle.run("sh", &arguments);

    let other = Place::new();
    let error = other.import(&theirs, trusting(&[])).unwrap_err();
    assert!(error.is_mistrust(), "{error}");
    assert!(other.is_tidy());
    let imported = other.import(&theirs, UNSIGNED).unwrap();
    assert_eq!(imported, [library.clone(), program.clone()]);
    let info = |place: &Place| {
        let info = place.store.path_info(&program).unwrap().unwrap();
        (info.nar_sha256, info.references)
    };
    assert_eq!(info(&other), info(&place));
    // Once more changes nothing.
    assert_eq!(other.import(&theirs, UNSIGNED).unwrap().len(), 2);
}

#[test]
fn an_import_believes_the_keys_it_is_given_and_no_others() {
    let (place, library, program) = Place::with_items();
    let (secret, public) = place.key();
    let bytes = place.export(&program, Some(&secret));
    let other = Place::new();
    let (_, stranger) = other.key();
    assert!(
        other
            .import(&bytes, trusting(&[stranger]))
            .unwrap_err()
            .is_mistrust()
    );
    assert_eq!(
        other
            .import(&bytes, trusting(std::slice::from_ref(&public)))
            .unwrap(),
        [library, program]
    );

    // A changed byte in a file.
    let other = Place::new();
    let mut changed = bytes.clone();
    let at = changed
        .windows(7)
        .position(|window| window == b"library")
        .unwrap();
    changed[at + 1] = b'o';
    // Also where what is not signed is taken, and whether the key is trusted or not.
    let trusted = [public];
    for (keys, unsigned) in [(&trusted[..], false), (&trusted, true), (&[], true)] {
        let error = other
            .import(&changed, Trust { keys, unsigned })
            .unwrap_err();
        assert!(matches!(error, ExchangeError::Altered { .. }), "{error}");
        assert!(error.is_mistrust());
        assert!(other.store.valid_paths().unwrap().is_empty());
        assert!(other.is_tidy());
    }
    // As it was signed, by a key that is not trusted, it is like one without a signature.
    other.import(&bytes, UNSIGNED).unwrap();
}

#[test]
fn a_text_keeps_references_that_it_does_not_hold() {
    let place = Place::new();
    let named = place
        .store
        .add_text("named", b"1", &BTreeSet::new())
        .unwrap();
    let references = BTreeSet::from([named.clone()]);
    let text = place.store.add_text("text", b"2", &references).unwrap();
    let bytes = place.export(&text, None);

    let other = Place::new();
    assert_eq!(
        other.import(&bytes, UNSIGNED).unwrap(),
        [named.clone(), text.clone()]
    );
    let info = other.store.path_info(&text).unwrap().unwrap();
    assert_eq!(info.references, references);

    // The path proves these references and no others.
    let plain = place
        .store
        .add_text("text", b"2", &BTreeSet::new())
        .unwrap();
    let mut info = place.store.path_info(&plain).unwrap().unwrap();
    info.references = references;
    let mut bytes = place.export(&named, None);
    bytes.truncate(bytes.len() - 8);
    bytes.extend(1u64.to_le_bytes());
    export_item(&place.store, &info, &|_| None, &mut bytes, "memory").unwrap();
    bytes.extend(0u64.to_le_bytes());
    let refused = Place::new().import(&bytes, UNSIGNED).unwrap_err();
    assert!(refused.to_string().contains("references to"), "{refused}");
}

#[test]
fn what_the_database_does_not_know_is_not_exported() {
    let (place, library, _) = Place::with_items();
    let file = place.store.directories().physical(&library).join(")");
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    fs::write(&file, "something else").unwrap();
    let items = [place.store.path_info(&library).unwrap().unwrap()];
    let error = export(&place.store, &items, None, &mut Vec::new(), "memory").unwrap_err();
    assert!(error.is_mistrust(), "{error}");
    assert!(error.to_string().contains("the NAR hash"), "{error}");
}
