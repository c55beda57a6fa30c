// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use crate::formats::nar::Tree;
use crate::store::gc::{CollectOptions, collect};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

/// The size of [`text`].
const SIZE: u64 = 8192;

/// A file's content that is just large enough to be shared.
fn text(start: &str) -> Vec<u8> {
    let mut text = start.as_bytes().to_vec();
    text.resize(SIZE as usize, b'.');
    text
}

fn tree() -> Tree {
    Tree::directory([
        (
            "deep",
            Tree::directory([("file", Tree::file(text("the same")))]),
        ),
        ("link", Tree::symlink("deep/file")),
        ("program", Tree::executable(text("the same"))),
        ("small", Tree::file(&text("small")[1..])),
        ("unique", Tree::file(text("unlike any other"))),
    ])
}

fn inode(store: &TestStore, path: &StorePath, name: &str) -> u64 {
    let item = store.directories().physical(path);
    let place = match name {
        "" => item,
        name => item.join(name),
    };
    place.symlink_metadata().unwrap().ino()
}

#[test]
fn equal_files_become_one_and_nothing_else_changes() {
    let store = TestStore::new();
    let a = store.add_tree("a", &tree()).unwrap();
    let b = store.add_tree("b", &tree()).unwrap();
    let same = Tree::file(text("the same"));
    let flat = store.add_tree("flat", &same).unwrap();
    let saved = store.optimise(&|| true).unwrap();
    // Of `b` all three, of the flat one itself.
    assert_eq!(saved.files, 4);
    assert_eq!(saved.bytes, 4 * SIZE);
    for name in ["deep/file", "program", "unique"] {
        assert_eq!(inode(&store, &a, name), inode(&store, &b, name), "{name}");
    }
    for name in ["link", "small"] {
        assert_ne!(inode(&store, &a, name), inode(&store, &b, name), "{name}");
    }
    assert_eq!(inode(&store, &flat, ""), inode(&store, &a, "deep/file"));
    assert_ne!(inode(&store, &a, "program"), inode(&store, &a, "deep/file"));
    for path in [&a, &b, &flat] {
        let place = store.directories().physical(path);
        assert_eq!(canonical::deviations(&place).unwrap(), []);
        let scanned = scan::hash_and_scan(&place, &BTreeSet::new()).unwrap();
        let info = store.path_info(path).unwrap().unwrap();
        assert_eq!(scanned.nar_sha256, info.nar_sha256);
    }
    // guix-daemon's names: the hash of the file's NAR in base 32.
    let hash = Sha256Digest::of(same.to_nar().unwrap());
    let link = store.place().join(".links");
    let link = link.join(crate::formats::base32::encode(&hash.0));
    assert_eq!(link.metadata().unwrap().ino(), inode(&store, &flat, ""));
    // Once more there is nothing to do.
    assert_eq!(store.optimise(&|| true).unwrap(), Default::default());
    assert_eq!(store.strays().unwrap(), Default::default());
}

#[test]
fn what_was_shared_goes_with_the_last_item_that_shares_it() {
    let store = TestStore::new();
    let large = Tree::file(vec![b'x'; 100_000]);
    let a = store.add_tree("a", &large).unwrap();
    let b = store.add_tree("b", &large).unwrap();
    store.optimise(&|| true).unwrap();
    store.add_root("a", &a).unwrap();
    let TestStore { store, directory } = store;
    drop(store);
    let store = Store::open(directories(directory.path())).unwrap();
    let freed = collect(&store, &CollectOptions::default()).unwrap();
    assert_eq!(freed.paths, std::slice::from_ref(&b));
    assert!(freed.bytes < 100_000, "{}", freed.bytes);
    let links = store.directories().store.join(".links");
    assert_eq!(fs::read_dir(&links).unwrap().count(), 1);
    let link = store.root_link_of("a");
    fs::remove_file(link).unwrap();
    let freed = collect(&store, &CollectOptions::default()).unwrap();
    assert!(freed.bytes >= 100_000, "{}", freed.bytes);
    assert_eq!(fs::read_dir(&links).unwrap().count(), 0);
}

#[test]
fn new_items_are_shared_where_that_is_wanted() {
    let store = TestStore::new();
    let options = OpenOptions {
        deduplicate: true,
        ..OpenOptions::default()
    };
    let sharing = Store::open_with(directories(store.directory.path()), options).unwrap();
    let a = sharing.add_tree("a", &tree()).unwrap();
    let b = sharing.add_tree("b", &tree()).unwrap();
    assert_eq!(inode(&store, &a, "unique"), inode(&store, &b, "unique"));
    assert_ne!(inode(&store, &a, "small"), inode(&store, &b, "small"));
    // One file, whose digest is known before.
    let one = sharing
        .add_tree("one", &Tree::file(text("the same")))
        .unwrap();
    assert_eq!(inode(&store, &a, "deep/file"), inode(&store, &one, ""));
    let place = store.directories().physical(&b);
    assert_eq!(canonical::deviations(&place).unwrap(), []);
}

#[test]
fn metadata_of_shared_files_can_be_put_right() {
    let store = TestStore::new();
    let a = store.add_tree("a", &tree()).unwrap();
    store.add_tree("b", &tree()).unwrap();
    store.optimise(&|| true).unwrap();
    let place = store.directories().physical(&a);
    fs::set_permissions(place.join("unique"), fs::Permissions::from_mode(0o644)).unwrap();
    let locks = store.lock([&a]).unwrap();
    store.restore_metadata(&locks, &a).unwrap();
    assert_eq!(canonical::deviations(&place).unwrap(), []);
}

#[test]
fn suspicious_files_and_damaged_links_are_not_shared() {
    let store = TestStore::new();
    let content = Tree::file(text("content"));
    let a = store.add_tree("a", &content).unwrap();
    let b = store.add_tree("b", &content).unwrap();
    let writable = store.directories().physical(&a);
    fs::set_permissions(&writable, fs::Permissions::from_mode(0o644)).unwrap();
    // A link whose file was changed, and one that leads out of the store.
    let hash = Sha256Digest::of(content.to_nar().unwrap());
    let links = store.place().join(".links");
    fs::create_dir(&links).unwrap();
    let outside = store.directory.path().join("outside");
    fs::write(&outside, text("content")).unwrap();
    let link = links.join(crate::formats::base32::encode(&hash.0));
    symlink(&outside, &link).unwrap();
    store.optimise(&|| true).unwrap();
    assert_ne!(inode(&store, &a, ""), inode(&store, &b, ""));
    assert_eq!(
        link.symlink_metadata().unwrap().ino(),
        inode(&store, &b, "")
    );
    assert_eq!(outside.metadata().unwrap().nlink(), 1);
}

#[test]
fn links_of_small_files_go_and_what_they_shared_stays() {
    let store = TestStore::new();
    let small = Tree::file("small");
    let path = store.add_tree("a", &small).unwrap();
    store.add_root("a", &path).unwrap();
    let TestStore { store, directory } = store;
    let links = store.directories().store.join(".links");
    fs::create_dir(&links).unwrap();
    // What an older guix-daemon has left.
    fs::hard_link(store.directories().physical(&path), links.join("0")).unwrap();
    drop(store);
    let store = Store::open(directories(directory.path())).unwrap();
    let freed = collect(&store, &CollectOptions::default()).unwrap();
    assert_eq!((freed.paths.len(), freed.bytes), (0, 0));
    assert_eq!(fs::read_dir(&links).unwrap().count(), 0);
    let item = store.directories().physical(&path);
    assert_eq!(fs::read(item).unwrap(), b"small");
}
