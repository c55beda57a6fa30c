// SPDX-License-Identifier: GPL-3.0-or-later
//! The store on disks that are full or cannot be written.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use bootstrap::formats::content_hash::HashAlgorithm;
use bootstrap::formats::nar::Tree;
use bootstrap::formats::store_path::{FixedOutputMethod, StoreDir};
use bootstrap::store::directories::Directories;
use bootstrap::store::gc::{CollectOptions, collect};
use bootstrap::store::{Access, OpenOptions, Store, StoreError};
use miette::Diagnostic;

#[allow(dead_code, reason = "each test program uses a part")]
mod small;

fn directories(root: &Path) -> Directories {
    Directories::new(StoreDir::new("/gnu/store").unwrap(), Some(root))
}

/// Leaves no room on the file system of `disk`.
fn fill(disk: &Path) {
    for size in [1 << 20, 4096, 1] {
        let block = vec![0; size];
        let file = fs::File::options()
            .create(true)
            .append(true)
            .open(disk.join("much"));
        let mut file = file.unwrap();
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
    }
}

/// Whether `error` blames the machine and says what to do.
fn check(what: &str, error: &StoreError) {
    assert!(error.is_environment(), "{what}: {error:?}");
    let help = error.help().map(|help| help.to_string());
    assert!(help.is_some_and(|help| !help.is_empty()), "{what}: {error}");
}

#[test]
fn a_full_disk_is_the_machines_fault_wherever_it_is_met() {
    small::on_small_disk(
        "a_full_disk_is_the_machines_fault_wherever_it_is_met",
        |disk| {
            let store = Store::open(directories(&disk.join("root"))).unwrap();
            let none = BTreeSet::new();
            let path = store.add_text("text", b"before", &none).unwrap();
            fill(disk);
            let large = Tree::file(vec![1; 100_000]);
            let archive = large.to_nar().unwrap();
            check("tree", &store.add_tree("tree", &large).unwrap_err());
            let error = store.add_archive(
                "archive",
                FixedOutputMethod::Recursive,
                HashAlgorithm::Sha512,
                &mut archive.as_slice(),
            );
            check("archive", &error.unwrap_err());
            // The database alone: its log, and the index of that.
            let mut failed = false;
            for number in 0..10_000 {
                let name = bootstrap::formats::store_path::StorePath::from_base_name(&format!(
                    "{}-{number}",
                    "a".repeat(32)
                ));
                if let Err(error) = store.record_failure([&name.unwrap()]) {
                    check("database", &error);
                    failed = true;
                    break;
                }
            }
            assert!(failed, "the database had room");
            let other = disk.join("other");
            match Store::open(directories(&other)) {
                Ok(_) => panic!("a store was made without room"),
                Err(error) => check("open", &error),
            }
            // The reserve is for this.
            collect(&store, &CollectOptions::default()).unwrap();
            assert!(store.is_valid(&path).unwrap(), "it is a temporary root");
        },
    );
}

/// Runs the program, whose status must be 5. Gives its messages.
fn unfit(arguments: &[&str], paths: [&Path; 2]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_bootstrap"))
        .env("BOOTSTRAP_CONFIG", "")
        .args(["--color", "never", "--offline", "--root"])
        .arg(paths[0])
        .args(arguments)
        .arg(paths[1])
        .output()
        .unwrap();
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{arguments:?}: {messages}");
    messages
}

#[test]
fn commands_end_with_5_and_a_hint_on_a_full_disk() {
    small::on_small_disk("commands_end_with_5_and_a_hint_on_a_full_disk", |disk| {
        let root = disk.join("root");
        drop(Store::open(directories(&root)).unwrap());
        fill(disk);
        let full = unfit(&["key", "name"], [&root, &disk.join("key")]);
        assert!(full.contains("hint: make room"), "{full}");
        // The database has room, and the derivations of a run do not.
        let much = fs::File::options().write(true).open(disk.join("much"));
        let much = much.unwrap();
        much.set_len(much.metadata().unwrap().len() - 300_000)
            .unwrap();
        let full = unfit(&["build"], [&root, Path::new("stage0/make")]);
        assert!(
            full.contains("No space left") && full.contains("hint: "),
            "{full}"
        );
    });
}

#[test]
fn a_collector_starts_on_a_full_disk_and_readers_do_too() {
    small::on_small_disk(
        "a_collector_starts_on_a_full_disk_and_readers_do_too",
        |disk| {
            let root = disk.join("root");
            let store = Store::open(directories(&root)).unwrap();
            let path = store.add_text("text", b"dead", &BTreeSet::new()).unwrap();
            let item = store.directories().physical(&path);
            drop(store);
            fill(disk);
            let run = |arguments: &[&str]| {
                let output = Command::new(env!("CARGO_BIN_EXE_bootstrap"))
                    .env("BOOTSTRAP_CONFIG", "")
                    .args(["--color", "never", "--offline", "--root"])
                    .arg(&root)
                    .args(arguments)
                    .output()
                    .unwrap();
                let messages = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "{arguments:?}: {messages}");
            };
            run(&["list"]);
            run(&["verify"]);
            run(&["gc", "--dry-run"]);
            assert!(item.exists());
            run(&["gc"]);
            assert!(!item.exists());
        },
    );
}

#[test]
fn a_disk_with_as_many_files_as_it_can_hold_is_called_full() {
    small::on_small_disk(
        "a_disk_with_as_many_files_as_it_can_hold_is_called_full",
        |disk| {
            let root = disk.join("root");
            drop(Store::open(directories(&root)).unwrap());
            // There is no reserve to give back.
            let _ = fs::remove_file(root.join("var/guix/db/reserved"));
            let files = disk.join("files");
            fs::create_dir(&files).unwrap();
            let full = (0..).find(|number| fs::write(files.join(number.to_string()), "").is_err());
            assert!(full.is_some());
            let said = unfit(&["build"], [&root, Path::new("stage0/make")]);
            assert!(!said.contains("ermission denied"), "{said}");
            assert!(said.contains("hint: "), "{said}");
        },
    );
}

#[test]
fn a_disk_that_cannot_be_written_is_named_so_and_can_be_looked_at() {
    small::on_small_disk(
        "a_disk_that_cannot_be_written_is_named_so_and_can_be_looked_at",
        |disk| {
            let root = disk.join("root");
            let store = Store::open(directories(&root)).unwrap();
            let path = store.add_text("text", b"x", &BTreeSet::new()).unwrap();
            drop(store);
            let remounted = Command::new("mount")
                .args(["-o", "remount,ro"])
                .arg(disk)
                .status();
            assert!(remounted.unwrap().success());
            let error = Store::open(directories(&root)).unwrap_err();
            check("open", &error);
            let help = error.help().unwrap().to_string();
            assert!(help.contains("mount it for writing"), "{error}: {help}");
            assert!(!help.contains("run as the user"), "{help}");

            let options = OpenOptions {
                access: Access::ReadOnly,
                ..OpenOptions::default()
            };
            let store = Store::open_with(directories(&root), options).unwrap();
            assert!(store.is_valid(&path).unwrap());
            let options = CollectOptions {
                dry_run: true,
                ..CollectOptions::default()
            };
            assert_eq!(collect(&store, &options).unwrap().paths, [path]);
        },
    );
}

#[test]
fn what_is_mounted_in_an_item_outlives_it() {
    small::on_small_disk("what_is_mounted_in_an_item_outlives_it", |disk| {
        let root = disk.join("root");
        let directories = directories(&root);
        let item = format!("{}-item", "0".repeat(32));
        let item = directories.store.join(item);
        drop(Store::open(directories).unwrap());
        let mounted = item.join("directory/mounted");
        fs::create_dir_all(&mounted).unwrap();
        let machine = disk.join("machine");
        fs::create_dir(&machine).unwrap();
        fs::write(machine.join("file"), "precious").unwrap();
        let mount = Command::new("mount")
            .arg("--bind")
            .args([&machine, &mounted])
            .status();
        assert!(mount.unwrap().success());
        let collect = || {
            Command::new(env!("CARGO_BIN_EXE_bootstrap"))
                .env("BOOTSTRAP_CONFIG", "")
                .args(["--color", "never", "--root"])
                .arg(&root)
                .arg("gc")
                .output()
                .unwrap()
        };
        let refused = collect();
        let messages = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success(), "{messages}");
        assert!(
            messages.contains("cannot remove what is mounted at"),
            "{messages}"
        );
        assert!(messages.contains("directory/mounted"), "{messages}");
        assert!(
            messages.contains("unmount what is mounted there"),
            "{messages}"
        );
        assert_eq!(fs::read(machine.join("file")).unwrap(), b"precious");
        let trash = fs::read_dir(item.parent().unwrap().join("trash")).unwrap();
        let left = trash.flatten().next().unwrap().path();
        let unmount = Command::new("umount")
            .arg(left.join("directory/mounted"))
            .status();
        assert!(unmount.unwrap().success());
        assert!(collect().status.success());
        assert!(!left.exists());
        assert_eq!(fs::read(machine.join("file")).unwrap(), b"precious");
    });
}
