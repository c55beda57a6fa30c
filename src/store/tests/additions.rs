// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use crate::formats::nar::Tree;
use crate::formats::store_path::text_path;
use crate::store::add::Text;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

#[test]
fn texts_are_files_that_cannot_be_written() {
    let store = TestStore::new();
    let path = store
        .add_text("text", b"content", &BTreeSet::new())
        .unwrap();
    let place = store.directories().physical(&path);
    assert_eq!(fs::read_to_string(&place).unwrap(), "content");
    let found = fs::metadata(&place).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o444);
    assert_eq!(found.mtime(), 1);
    assert_eq!(store.names(), BTreeSet::from([path.base_name().to_owned()]));
    // `nix-store --dump` of such a file has 120 bytes.
    assert_eq!(store.path_info(&path).unwrap().unwrap().nar_size, 120);
}

#[test]
fn texts_may_refer_to_each_other() {
    let store = TestStore::new();
    let first = store.add_text("first", b"1", &BTreeSet::new()).unwrap();
    let references = BTreeSet::from([first.clone()]);
    let second = text_path(&store.directories().store_dir, "second", b"2", &references).unwrap();
    let further = BTreeSet::from([second.clone()]);
    let paths = store
        .add_texts(&[
            Text {
                name: "third",
                content: b"3",
                references: &further,
            },
            Text {
                name: "second",
                content: b"2",
                references: &references,
            },
        ])
        .unwrap();
    assert_eq!(paths[1], second);
    assert_eq!(store.closure([&paths[0]]).unwrap().len(), 3);
}

#[test]
fn a_text_that_refers_to_nothing_valid_leaves_nothing() {
    let store = TestStore::new();
    let references = BTreeSet::from([path('x')]);
    assert!(store.add_text("text", b"x", &references).is_err());
    assert!(store.valid_paths().unwrap().is_empty());
    let none = BTreeSet::new();
    let text = |name, references| Text {
        name,
        content: b"x",
        references,
    };
    let texts = [text("fine", &none), text("broken", &references)];
    assert!(store.add_texts(&texts).is_err());
    assert!(store.valid_paths().unwrap().is_empty());
    assert_eq!(store.names(), BTreeSet::new());
}

#[test]
fn trees_are_written_as_they_are() {
    let store = TestStore::new();
    let tree = Tree::directory([
        ("script", Tree::executable("#!/bin/sh\n")),
        ("data", Tree::file("data")),
        ("link", Tree::symlink("data")),
    ]);
    let path = store.add_tree("tree", &tree).unwrap();
    let place = store.directories().physical(&path);
    let mode = |name: &str| fs::metadata(place.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        (mode("script"), mode("data"), mode("")),
        (0o555, 0o444, 0o555)
    );
    assert_eq!(
        fs::read_link(place.join("link")).unwrap(),
        Path::new("data")
    );
    assert_eq!(store.add_tree("tree", &tree).unwrap(), path);
}

#[test]
fn adding_gets_leftovers_out_of_the_way() {
    let store = TestStore::new();
    let path = store
        .add_text("text", b"content", &BTreeSet::new())
        .unwrap();
    // As if killed after the renaming, and another time while writing.
    store.store.database.invalidate([&path]).unwrap();
    let staging = store.place().join(format!("{}.chroot", path.base_name()));
    fs::create_dir_all(staging.join("deep")).unwrap();
    assert_eq!(
        store
            .add_text("text", b"content", &BTreeSet::new())
            .unwrap(),
        path
    );
    assert!(!staging.exists());
    assert!(store.is_valid(&path).unwrap());
}

#[test]
fn threads_with_stores_of_their_own_add_the_same() {
    let directory = TestDirectory::new();
    let references = BTreeSet::new();
    let paths: BTreeSet<StorePath> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let store = Store::open(directories(directory.path())).unwrap();
                    (0..20)
                        .map(|number| {
                            store
                                .add_text("text", format!("{number}").as_bytes(), &references)
                                .unwrap()
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    let store = Store::open(directories(directory.path())).unwrap();
    assert_eq!(store.valid_paths().unwrap(), paths);
    assert_eq!(paths.len(), 20);
}

#[test]
fn more_texts_than_descriptors_are_added_in_any_order() {
    let store = TestStore::new();
    let store_dir = &store.directories().store_dir;
    // Each refers to the one before it, and they are given last first.
    let mut names: Vec<(String, BTreeSet<StorePath>)> = Vec::new();
    let mut references = BTreeSet::new();
    for number in 0..300 {
        let name = format!("text-{number}");
        let path = text_path(store_dir, &name, b"x", &references).unwrap();
        names.push((
            name,
            std::mem::replace(&mut references, BTreeSet::from([path])),
        ));
    }
    let texts: Vec<Text<'_>> = names
        .iter()
        .rev()
        .map(|(name, references)| Text {
            name,
            content: b"x",
            references,
        })
        .collect();
    let paths = store.add_texts(&texts).unwrap();
    assert_eq!(store.closure([&paths[0]]).unwrap().len(), 300);
}

/// A reader that fails after `left` bytes.
struct Broken<'a>(&'a [u8]);

impl std::io::Read for Broken<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.is_empty() {
            true => Err(std::io::Error::other("the client is gone")),
            false => self.0.read(buffer),
        }
    }
}

#[test]
fn an_archive_becomes_the_fixed_output_of_its_content() {
    use crate::formats::content_hash::{ContentHash, HashAlgorithm};
    use crate::formats::store_path::{FixedOutputMethod, fixed_output_path};
    let store = TestStore::new();
    let store_dir = &store.directories().store_dir;
    let tree = Tree::directory([
        ("program", Tree::executable("#!")),
        ("link", Tree::symlink("program")),
    ]);
    let archive = tree.to_nar().unwrap();
    for algorithm in HashAlgorithm::ALL {
        let method = FixedOutputMethod::Recursive;
        let path = store
            .add_archive("tree", method, algorithm, &mut archive.as_slice())
            .unwrap();
        let hash = ContentHash::of(algorithm, &archive);
        let expected = fixed_output_path(store_dir, "tree", method, hash).unwrap();
        assert_eq!(path, expected, "{algorithm}");
        let info = store.path_info(&path).unwrap().unwrap();
        assert_eq!(info.nar_sha256, Sha256Digest::of(&archive));
        assert_eq!(info.nar_size, archive.len() as u64);
    }
    // Flat, of a file, which is not a program in the store: its path says nothing of that.
    for node in [Tree::file("x"), Tree::executable("x")] {
        let archive = node.to_nar().unwrap();
        let method = FixedOutputMethod::Flat;
        let path = store
            .add_archive(
                "flat",
                method,
                HashAlgorithm::Sha512,
                &mut archive.as_slice(),
            )
            .unwrap();
        let hash = ContentHash::of(HashAlgorithm::Sha512, "x");
        let expected = fixed_output_path(store_dir, "flat", method, hash).unwrap();
        assert_eq!(path, expected);
        let place = store.directories().physical(&path);
        assert_eq!(canonical::deviations(&place).unwrap(), []);
        let archive = Tree::file("x").to_nar().unwrap();
        let info = store.path_info(&path).unwrap().unwrap();
        assert_eq!(info.nar_sha256, Sha256Digest::of(&archive));
    }
    // What was valid is the same path again, and nothing but items is left.
    let valid = store.valid_paths().unwrap();
    assert_eq!(store.names().len(), valid.len());
    assert_eq!(valid.len(), HashAlgorithm::ALL.len() + 1);
}

#[test]
fn an_archive_that_cannot_be_added_leaves_nothing() {
    use crate::formats::content_hash::HashAlgorithm;
    use crate::formats::store_path::FixedOutputMethod::{Flat, Recursive};
    let store = TestStore::new();
    let archive = Tree::directory([("a", Tree::file("x"))]).to_nar().unwrap();
    let add = |method, name: &str, archive: &mut dyn std::io::Read| {
        store
            .add_archive(name, method, HashAlgorithm::Sha256, archive)
            .unwrap_err()
    };
    let error = add(Flat, "tree", &mut archive.as_slice());
    assert!(matches!(error, StoreError::NotAFile { .. }), "{error}");
    let error = add(Recursive, "cut", &mut &archive[..archive.len() - 8]);
    assert!(matches!(error, StoreError::Nar(_)), "{error}");
    let error = add(Recursive, "broken", &mut Broken(&archive[..40]));
    assert!(error.to_string().contains("the client is gone"), "{error}");
    let error = add(Recursive, "../name", &mut archive.as_slice());
    assert!(matches!(error, StoreError::Path(_)), "{error}");
    assert!(store.names().is_empty());
    assert!(store.valid_paths().unwrap().is_empty());
}
