// SPDX-License-Identifier: GPL-3.0-or-later
//! Each operation on the store.

use std::collections::BTreeSet;

use bootstrap::formats::content_hash::{ContentHash, HashAlgorithm};
use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::nar::Tree;
use bootstrap::formats::store_path::{
    FixedOutputMethod, StoreDir, fixed_output_path, source_path, text_path,
};

use crate::client::{Client, Daemon};

mod builds;
mod options;

fn store_dir() -> StoreDir {
    StoreDir::new("/gnu/store").unwrap()
}

/// A path that is not valid.
const ABSENT: &str = "/gnu/store/00000000000000000000000000000000-absent";

fn refusal(client: &mut Client, operation: u64, path: &str) -> String {
    let refused = client.ask_of(operation, path).unwrap_err();
    assert_eq!(refused.status, 1);
    refused.message
}

#[test]
fn texts_are_added_and_described() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let one = client.add_text("one", "content", &[]);
    let expected = text_path(&store_dir(), "one", b"content", &BTreeSet::new()).unwrap();
    assert_eq!(one, store_dir().display(&expected));
    let two = client.add_text("two", &format!("see {one}"), &[&one]);
    assert!(client.is_valid(&one) && client.is_valid(&two) && !client.is_valid(ABSENT));

    client.ask_of(5, &two).unwrap();
    assert_eq!(client.strings(), [one.as_str()]);
    client.ask_of(6, &one).unwrap();
    assert_eq!(client.strings(), [two.as_str()]);
    client.ask_of(6, ABSENT).unwrap();
    assert_eq!(client.strings(), Vec::<String>::new());

    let archive = Tree::file(b"content").to_nar().unwrap();
    client.ask_of(4, &one).unwrap();
    assert_eq!(client.string(), Sha256Digest::of(&archive).to_base16());
    client.ask_of(26, &two).unwrap();
    assert_eq!(client.string(), "");
    assert_eq!(client.string().len(), 64);
    assert_eq!(client.strings(), [one.as_str()]);
    assert!(client.long() > 1_000_000_000);
    assert!(client.long() > 100);
    client.ask_of(18, &two).unwrap();
    assert_eq!(client.string(), "");

    client.ask(23, |_| ()).unwrap();
    assert_eq!(client.strings().len(), 2);
    client
        .ask(31, |fields| fields.strings([ABSENT, &one]))
        .unwrap();
    assert_eq!(client.strings(), [one.as_str()]);
    client
        .ask_of(29, one["/gnu/store/".len()..].split('-').next().unwrap())
        .unwrap();
    assert_eq!(client.string(), one);
    client.ask_of(29, &"0".repeat(32)).unwrap();
    assert_eq!(client.string(), "");
    assert_eq!(refusal(&mut client, 29, "short"), "invalid hash part");
    for operation in [4, 5, 18, 22, 26, 28] {
        let message = refusal(&mut client, operation, ABSENT);
        assert_eq!(message, format!("path `{ABSENT}' is not valid"));
    }
    // The text refers to what is not there.
    let refused = client.ask(8, |fields| {
        fields.string("three");
        fields.string("content");
        fields.strings([ABSENT]);
    });
    assert!(refused.is_err());
    assert!(client.is_valid(&two));
}

#[test]
fn files_and_trees_are_added_by_their_hashes() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let executable = Tree::executable(b"#!/bin/sh\n");
    let archive = executable.to_nar().unwrap();
    let digest = Sha256Digest::of(&archive);
    let path = client.add("tool", true, "sha256", &archive).unwrap();
    let expected = source_path(&store_dir(), "tool", &digest, &BTreeSet::new()).unwrap();
    assert_eq!(path, store_dir().display(&expected));
    // Once more: nothing changes.
    assert_eq!(
        client.add("tool", true, "sha256", &archive),
        Ok(path.clone())
    );

    let flat = client.add("flat", false, "sha256", &archive).unwrap();
    let digest = Sha256Digest::of(b"#!/bin/sh\n");
    let expected =
        fixed_output_path(&store_dir(), "flat", FixedOutputMethod::Flat, digest).unwrap();
    assert_eq!(flat, store_dir().display(&expected));
    let sha1 = client.add("flat", false, "sha1", &archive).unwrap();
    let hash = ContentHash::of(HashAlgorithm::Sha1, b"#!/bin/sh\n");
    let expected = fixed_output_path(&store_dir(), "flat", FixedOutputMethod::Flat, hash).unwrap();
    assert_eq!(sha1, store_dir().display(&expected));
    let mode = |path: &str| {
        use std::os::unix::fs::PermissionsExt;
        let file = daemon.root().join(path.trim_start_matches('/'));
        file.symlink_metadata().unwrap().permissions().mode() & 0o7777
    };
    assert_eq!((mode(&path), mode(&flat)), (0o555, 0o444));

    let tree = Tree::directory([("a", Tree::file(b"1")), ("b", Tree::symlink("a"))]);
    let archive = tree.to_nar().unwrap();
    let refused = client.add("dir", false, "sha256", &archive).unwrap_err();
    assert!(
        refused.message.contains("regular file"),
        "{}",
        refused.message
    );
    assert!(client.add("dir", true, "nonsense", &archive).is_err());
    assert!(client.add(".dir", true, "sha256", &archive).is_err());
    let path = client.add("dir", true, "sha256", &archive).unwrap();
    assert!(client.is_valid(&path));
    // Nothing is left of what was refused.
    assert_eq!(daemon.items().len(), 4);
}

#[test]
fn roots_keep_and_the_collector_takes_the_rest() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let kept = client.add_text("kept", "1", &[]);
    let lost = client.add_text("lost", "2", &[]);
    // This client's additions are its temporary roots.
    let collect = |client: &mut Client, action: u64, paths: &[&str]| {
        let asked = client.ask(20, |fields| {
            fields.long(action);
            fields.strings(paths);
            fields.long(0);
            fields.long(u64::MAX);
            for _ in 0..3 {
                fields.long(0);
            }
        });
        asked.map(|()| {
            let paths = client.strings();
            let bytes = client.long();
            assert_eq!(client.long(), 0);
            (paths, bytes)
        })
    };
    let mut other = daemon.connect();
    assert_eq!(collect(&mut other, 0, &[]).unwrap().0.len(), 2);
    assert!(collect(&mut other, 3, &[&lost]).is_err());
    drop(client);
    daemon.wait_until("the first session ends", || daemon.sessions().len() < 2);

    let link = daemon.root().join("link");
    std::os::unix::fs::symlink(&kept, &link).unwrap();
    other.ask_of(12, link.to_str().unwrap()).unwrap();
    assert_eq!(other.long(), 1);
    other.ask(14, |_| ()).unwrap();
    assert_eq!(other.long(), 1);
    assert_eq!(other.string(), link.to_str().unwrap());
    assert_eq!(other.string(), kept);
    other.ask_of(12, "relative").unwrap_err();
    other.ask(13, |_| ()).unwrap();
    assert_eq!(other.long(), 1);

    assert_eq!(collect(&mut other, 0, &[]).unwrap().0, [kept.as_str()]);
    assert_eq!(collect(&mut other, 1, &[]).unwrap().0, [lost.as_str()]);
    assert!(other.is_valid(&lost));
    // A client may delete what it has just added.
    let own = other.add_text("own", "3", &[]);
    assert_eq!(collect(&mut other, 3, &[&own]).unwrap().0, [own]);
    let (gone, bytes) = collect(&mut other, 3, &[&lost]).unwrap();
    assert_eq!((gone, bytes > 0), (vec![lost.clone()], true));
    assert!(collect(&mut other, 3, &[&kept]).is_err());
    let refused = other.ask(20, |fields| {
        fields.long(3);
        fields.strings([&kept]);
        fields.long(1);
        for _ in 0..4 {
            fields.long(0);
        }
    });
    assert_eq!(
        refused.unwrap_err().message,
        "you are not allowed to ignore liveness"
    );
    other.ask_of(11, &lost).unwrap();
    assert_eq!(other.long(), 1);
    std::fs::remove_file(&link).unwrap();
    assert_eq!(collect(&mut other, 2, &[]).unwrap().0, [kept.as_str()]);
    // `guix offload` first makes an item under a name that no item has.
    let made = "/gnu/store/guix-beAgDS";
    other.ask_of(11, made).unwrap();
    assert_eq!(other.long(), 1);
    let files = std::fs::read_dir(daemon.root().join("var/guix/temproots")).unwrap();
    let roots = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    assert!(
        roots
            .collect::<String>()
            .split('\0')
            .any(|root| root == made)
    );
    assert!(!other.is_valid(&kept));
}

#[test]
fn an_export_is_imported_where_it_is_signed() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let path = client.add_text("text", "content", &[]);
    client
        .ask(16, |fields| {
            fields.string(&path);
            fields.long(0);
        })
        .unwrap();
    assert_eq!(client.long(), 1);
    let mut export = 1u64.to_le_bytes().to_vec();
    export.append(&mut client.written);
    export.extend(0u64.to_le_bytes());

    // Also where it is valid already.
    client.given = std::io::Cursor::new(export.clone());
    let refused = client.ask(27, |_| ()).unwrap_err();
    assert!(
        refused.message.contains("not signed"),
        "{}",
        refused.message
    );
    assert!(client.is_valid(&path));

    let other = Daemon::start();
    let mut client = other.connect();
    client.given = std::io::Cursor::new(export);
    let refused = client.ask(27, |_| ()).unwrap_err();
    assert!(
        refused.message.contains("not signed"),
        "{}",
        refused.message
    );
    assert!(!client.is_valid(&path));
}

#[test]
fn options_are_taken_and_wrong_ones_refused() {
    let daemon = Daemon::with(&["--no-substitutes"]);
    let mut client = daemon.connect();
    let set = |client: &mut Client, named: &[(&str, &str)]| {
        client.ask(19, |fields| {
            for number in [0, 0, 0, 0, 1, 0, 0, 1, 1] {
                fields.long(number);
            }
            fields.long(named.len() as u64);
            for (name, value) in named {
                fields.string(name);
                fields.string(value);
            }
        })
    };
    set(&mut client, &[("build-cores", "2"), ("locale", "C")]).unwrap();
    let refused = set(&mut client, &[("build-cores", "many")]).unwrap_err();
    assert!(
        refused.message.contains("build-cores"),
        "{}",
        refused.message
    );
    // Substitutes stay off.
    client.ask(81, |_| ()).unwrap();
    assert_eq!(client.strings(), Vec::<String>::new());
    client.ask(80, |_| ()).unwrap();
    assert!(client.strings().contains(&"download".to_owned()));
    for operation in [30, 32] {
        client
            .ask(operation, |fields| fields.strings([ABSENT]))
            .unwrap();
        assert_eq!(client.long(), 0);
    }
    for operation in [3, 21] {
        client.ask_of(operation, ABSENT).unwrap();
        assert_eq!(client.long(), 0);
    }
    let refused = client.ask_of(10, ABSENT).unwrap_err();
    assert_eq!(
        refused.message,
        format!("path `{ABSENT}' does not exist and cannot be created")
    );
    // As with guix-daemon, a path that no server has is not a failure here.
    let asked = client.ask(9, |fields| {
        fields.strings([ABSENT]);
        fields.long(0);
    });
    assert_eq!((asked, client.long()), (Ok(()), 1));
    assert!(!client.is_valid(ABSENT));
}

#[test]
fn equal_files_share_their_blocks() {
    use std::os::unix::fs::MetadataExt;
    let links = |daemon: &Daemon, path: &str| {
        let file = daemon.root().join(path.trim_start_matches('/'));
        file.symlink_metadata().unwrap().nlink()
    };
    // Smaller files are not shared.
    let content = "the same in both".repeat(512);
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let [one, two] = ["one", "two"].map(|name| client.add_text(name, &content, &[]));
    // Both, and the one in `.links`.
    assert_eq!((links(&daemon, &one), links(&daemon, &two)), (3, 3));

    let daemon = Daemon::with(&["--disable-deduplication"]);
    let mut client = daemon.connect();
    let [one, two] = ["one", "two"].map(|name| client.add_text(name, &content, &[]));
    assert_eq!((links(&daemon, &one), links(&daemon, &two)), (1, 1));
    client.ask(34, |_| ()).unwrap();
    assert_eq!(client.long(), 1);
    assert_eq!((links(&daemon, &one), links(&daemon, &two)), (3, 3));
    let log = String::from_utf8_lossy(&client.log).into_owned();
    assert!(
        log.contains("bytes freed by hard-linking 1 file\n"),
        "{log}"
    );
    assert_eq!(client.verify_store(1, 0), 0);
}

#[test]
fn the_store_is_verified_and_failures_are_forgotten() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let path = client.add_text("text", "content", &[]);
    let verify = |client: &mut Client, contents: u64| client.verify_store(contents, 0);
    assert_eq!((verify(&mut client, 0), verify(&mut client, 1)), (0, 0));
    let file = daemon.root().join(path.trim_start_matches('/'));
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "CONTENT").unwrap();
    assert_eq!((verify(&mut client, 0), verify(&mut client, 1)), (0, 1));
    let log = String::from_utf8_lossy(&client.log).into_owned();
    assert!(log.contains("was modified"), "{log}");
    let user = client.add_text("user", &path, &[&path]);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(verify(&mut client, 0), 1);
    let log = String::from_utf8_lossy(&client.log).into_owned();
    assert!(
        log.contains("disappeared, but it still has valid referrers!"),
        "{log}"
    );
    // As with guix-daemon, nothing stands for what is gone and not needed.
    std::fs::remove_file(daemon.root().join(user.trim_start_matches('/'))).unwrap();
    assert_eq!((verify(&mut client, 1), verify(&mut client, 1)), (0, 0));
    let log = String::from_utf8_lossy(&client.log).into_owned();
    assert!(
        log.contains("disappeared, removing from database..."),
        "{log}"
    );
    assert!(!client.is_valid(&path) && !client.is_valid(&user));

    client.ask(24, |_| ()).unwrap();
    assert_eq!(client.strings(), Vec::<String>::new());
    client.ask(25, |fields| fields.strings(["*"])).unwrap();
    assert_eq!(client.long(), 1);
    client.ask(25, |fields| fields.strings([ABSENT])).unwrap();
    assert_eq!(client.long(), 1);
    assert!(client.ask(25, |fields| fields.strings(["/x"])).is_err());
}
