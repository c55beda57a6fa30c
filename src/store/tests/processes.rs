// SPDX-License-Identifier: GPL-3.0-or-later
//! The store with several processes at work, and with processes killed at any moment.

use super::*;
use crate::formats::nar::Tree;
use crate::store::gc::{CollectOptions, collect};
use crate::store::lock_policy::LockPolicy;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// What the other process does; named after what it is asked to do in `BOOTSTRAP_TEST_STORE_ACTION`.
///
/// Not a test of its own: the tests below run it by its name.
#[test]
fn other_process() {
    let Ok(action) = std::env::var("BOOTSTRAP_TEST_STORE_ACTION") else {
        return;
    };
    let root = std::env::var_os("BOOTSTRAP_TEST_STORE_ROOT").unwrap();
    let store = Store::open(directories(Path::new(&root))).unwrap();
    let references = BTreeSet::new();
    println!("\nready");
    match action.as_str() {
        "keep" => {
            store.add_temporary_roots([&path('a')]).unwrap();
            let _locks = store.lock([&path('h')]).unwrap();
            println!("done");
            std::thread::sleep(Duration::from_secs(60));
        }
        "more" => {
            store.add_temporary_roots([&path('a')]).unwrap();
            println!("done");
            while !Path::new(&root).join("go").exists() {
                std::thread::sleep(Duration::from_millis(1));
            }
            store.add_temporary_roots([&path('b')]).unwrap();
            fs::write(Path::new(&root).join("added"), "").unwrap();
        }
        "add" => {
            for number in 0..50 {
                store
                    .add_text("text", format!("{number}").as_bytes(), &references)
                    .unwrap();
            }
        }
        // Writes many files, so that there is something to be killed in.
        "churn" => {
            for number in 0_u64.. {
                let entries = (0..20).map(|entry| (entry.to_string(), Tree::file(vec![1; 2000])));
                let tree = Tree::directory(
                    entries.chain([("number".to_owned(), Tree::file(number.to_string()))]),
                );
                store.add_tree("tree", &tree).unwrap();
                if number % 10 == 9 {
                    println!("{number}");
                    store.add_root("keep", &path('z')).unwrap();
                }
            }
        }
        action => panic!("{action}"),
    }
}

fn start(store: &TestStore, action: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::tests::processes::other_process",
            "--nocapture",
        ])
        .env("BOOTSTRAP_TEST_STORE_ACTION", action)
        .env("BOOTSTRAP_TEST_STORE_ROOT", store.directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn wait_for(child: &mut Child, line: &str) {
    let output = BufReader::new(child.stdout.take().unwrap());
    assert!(output.lines().any(|found| found.unwrap() == line));
}

#[test]
fn another_process_keeps_its_roots_and_locks_until_it_dies() {
    let store = TestStore::new();
    let a = store.item('a', &[]);
    fs::create_dir(store.place().join(path('h').base_name())).unwrap();
    let mut child = start(&store, "keep");
    wait_for(&mut child, "done");
    let freed = collect(&store, &CollectOptions::default()).unwrap();
    assert!(
        freed.paths.is_empty() && freed.leftovers.is_empty(),
        "{freed:?}"
    );
    let error = store.again().lock([&path('h')]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("process {}", child.id())),
        "{error}"
    );
    assert!(store.try_lock([&path('h')]).unwrap().is_none());

    child.kill().unwrap();
    child.wait().unwrap();
    // Our own attempts made it a temporary root of this process.
    let TestStore { store, directory } = store;
    drop(store);
    let store = Store::open(directories(directory.path())).unwrap();
    let freed = collect(&store, &CollectOptions::default()).unwrap();
    assert_eq!(freed.paths, [a]);
    assert_eq!(freed.leftovers.len(), 2, "{freed:?}");
    assert_eq!(fs::read_dir(&store.directories().store).unwrap().count(), 0);
}

#[test]
fn no_process_adds_roots_while_a_collector_goes_by_those_it_has_read() {
    let store = TestStore::new();
    let place = store.directory.path().to_owned();
    let mut child = start(&store, "more");
    wait_for(&mut child, "done");
    let own = store.temporary_roots.freeze();
    let store_dir = &store.directories().store_dir;
    let all = store
        .temporary_roots
        .read_all(&own, true, store_dir, &LockPolicy::default())
        .unwrap();
    assert!(all.roots.contains(&path('a')));
    fs::write(place.join("go"), "").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(!place.join("added").exists());
    drop(all);
    drop(own);
    // Its output has no reader any more, so that its status says nothing.
    child.wait().unwrap();
    assert!(place.join("added").exists());
}

#[test]
fn processes_add_the_same_side_by_side() {
    let store = TestStore::new();
    let children: Vec<Child> = (0..3).map(|_| start(&store, "add")).collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    assert_eq!(store.valid_paths().unwrap().len(), 50);
    assert_eq!(store.names().len(), 50, "{:?}", store.names());
}

#[test]
fn a_process_killed_at_any_moment_leaves_whole_items_only() {
    let store = TestStore::new();
    for round in 0..15_u64 {
        let mut child = start(&store, "churn");
        wait_for(&mut child, "ready");
        std::thread::sleep(Duration::from_micros(round * 1700));
        child.kill().unwrap();
        child.wait().unwrap();
        for path in store.valid_paths().unwrap() {
            let place = store.directories().physical(&path);
            let found = scan::hash_and_scan(&place, &BTreeSet::new()).unwrap();
            let info = store.path_info(&path).unwrap().unwrap();
            assert_eq!(found.nar_sha256, info.nar_sha256, "{path:?}");
        }
        store.check_database().unwrap();
    }
    collect(&store, &CollectOptions::default()).unwrap();
    assert!(store.names().is_empty(), "{:?}", store.names());
}

#[test]
fn two_handles_of_one_process_keep_its_threads_apart_and_share_its_roots() {
    let store = TestStore::new();
    let other = store.again();
    let a = store.item('a', &[]);
    let locks = store.lock([&path('h')]).unwrap();
    std::thread::scope(|scope| {
        let tried = scope.spawn(|| other.try_lock([&path('h')]).unwrap().is_some());
        assert!(!tried.join().unwrap());
    });
    // A handle that is dropped takes neither the locks nor the roots of the other with it.
    other.add_temporary_roots([&a]).unwrap();
    drop(other);
    let third = store.again();
    std::thread::scope(|scope| {
        let tried = scope.spawn(|| third.try_lock([&path('h')]).unwrap().is_some());
        assert!(!tried.join().unwrap());
    });
    assert!(
        collect(&third, &CollectOptions::default())
            .unwrap()
            .paths
            .is_empty()
    );
    drop(locks);
    assert!(third.try_lock([&path('h')]).unwrap().is_some());
}
