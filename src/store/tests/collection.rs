// SPDX-License-Identifier: GPL-3.0-or-later
use super::derivations::{add_derivation, instantiated};
use super::*;
use crate::formats::derivation::DerivationSet;
use crate::store::gc::{
    CollectOptions, Freed, Liveness, Watch, collect, collect_watched, delete, liveness,
};
use std::cell::RefCell;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

fn run(store: &TestStore) -> Freed {
    collect(store, &CollectOptions::default()).unwrap()
}

/// Whether exactly `paths` are valid, and exactly they are in the store directory.
fn assert_left(store: &TestStore, paths: &[&StorePath]) {
    let expected: BTreeSet<StorePath> = paths.iter().map(|path| (*path).clone()).collect();
    assert_eq!(store.valid_paths().unwrap(), expected);
    let names: BTreeSet<String> = expected
        .iter()
        .map(|path| path.base_name().to_owned())
        .collect();
    assert_eq!(store.names(), names);
    store.check_database().unwrap();
}

#[test]
fn roots_keep_what_they_refer_to_and_nothing_else() {
    let store = TestStore::new();
    let a = store.item('a', &[]);
    let b = store.item('b', &[&a]);
    let c = store.item('c', &[&b]);
    let d = store.item('d', &[&a]);
    store.add_root("b", &b).unwrap();
    let freed = run(&store);
    assert_eq!(freed.live, 2);
    assert_eq!(freed.paths.len(), 2);
    assert!(freed.paths.contains(&c) && freed.paths.contains(&d));
    assert!(freed.bytes >= 20_000, "{}", freed.bytes);
    assert_left(&store, &[&a, &b]);
    assert!(run(&store).paths.is_empty());
}

#[test]
fn referrers_go_before_what_they_refer_to() {
    let store = TestStore::new();
    let a = store.item('a', &[]);
    let b = store.item('b', &[&a]);
    let c = store.item('c', &[&b, &a]);
    assert_eq!(run(&store).paths, [c, b, a]);
    assert_left(&store, &[]);
}

#[test]
fn items_that_refer_to_themselves_can_go() {
    let store = TestStore::new();
    let itself = path('a');
    store.item('a', &[&itself]);
    assert_eq!(run(&store).paths, [itself]);
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let store = TestStore::new();
    let a = store.item('a', &[]);
    fs::write(store.place().join(path('b').base_name()), "leftover").unwrap();
    let options = CollectOptions {
        dry_run: true,
        ..CollectOptions::default()
    };
    let before = store.names();
    let freed = collect(&store, &options).unwrap();
    assert_eq!(freed.paths, std::slice::from_ref(&a));
    assert_eq!(freed.leftovers, [path('b').base_name()]);
    assert!(freed.bytes >= 10_000);
    assert_eq!(store.names(), before);
    assert!(store.is_valid(&a).unwrap());
}

#[test]
fn enough_is_enough() {
    let store = TestStore::new();
    let a = store.item('a', &[]);
    let b = store.item('b', &[&a]);
    let c = store.item('c', &[&b]);
    let options = CollectOptions {
        max_freed: Some(15_000),
        ..CollectOptions::default()
    };
    let freed = collect(&store, &options).unwrap();
    assert_eq!((freed.paths, freed.live), (vec![c, b], 1));
    assert_left(&store, &[&a]);
}

#[test]
fn a_collection_that_is_stopped_is_finished_by_the_next() {
    let store = TestStore::new();
    let a = store.item('a', &[]);
    let taken = RefCell::new(Vec::new());
    // Other threads ask, too.
    let goes_on = AtomicBool::new(true);
    let watch = Watch {
        goes_on: &|| goes_on.load(Ordering::Relaxed),
        taken: &|paths| {
            taken.borrow_mut().extend_from_slice(paths);
            goes_on.store(false, Ordering::Relaxed);
        },
    };
    let freed = collect_watched(&store, &CollectOptions::default(), &watch).unwrap();
    assert_eq!((&freed.paths, freed.bytes), (&vec![a.clone()], 0));
    assert_eq!(*taken.borrow(), [a]);
    // Its files are on the disk still.
    assert!(run(&store).bytes >= 10_000);
    let b = store.item('b', &[]);
    let freed = collect_watched(&store, &CollectOptions::default(), &watch).unwrap();
    assert_eq!(freed.paths, []);
    assert_left(&store, &[&b]);
}

#[test]
fn items_that_vanished_become_invalid_unless_they_are_needed() {
    let store = TestStore::new();
    let a = store.item('a', &[]);
    let b = store.item('b', &[&a]);
    let c = store.item('c', &[&b]);
    let d = store.item('d', &[]);
    let f = store.item('f', &[&d]);
    let gone = |path: &StorePath| {
        fs::remove_dir_all(store.directories().physical(path)).unwrap();
    };
    for path in [&a, &c, &d, &f] {
        gone(path);
    }
    // That it is missing is seen again: `b` is not.
    let vanished = [&a, &b, &c, &d].map(Clone::clone).into();
    let forgotten = store.forget_vanished(&vanished).unwrap();
    assert_eq!(forgotten, [&c].map(Clone::clone).into());
    let vanished = [&a, &d, &f, &path('g')].map(Clone::clone).into();
    let forgotten = store.forget_vanished(&vanished).unwrap();
    assert_eq!(forgotten, [&d, &f].map(Clone::clone).into());
    assert_eq!(store.valid_paths().unwrap(), [a, b].into());
}

#[test]
fn nothing_wanted_is_nothing_deleted() {
    let store = TestStore::new();
    store.item('a', &[]);
    fs::write(store.place().join(path('b').base_name()), "leftover").unwrap();
    let before = store.names();
    let options = CollectOptions {
        max_freed: Some(0),
        ..CollectOptions::default()
    };
    assert_eq!(collect(&store, &options).unwrap().live, 1);
    assert_eq!(store.names(), before);
}

#[test]
fn named_paths_are_deleted_with_what_refers_to_them_and_nothing_else() {
    let store = TestStore::new();
    let a = store.item('a', &[]);
    let b = store.item('b', &[&a]);
    let c = store.item('c', &[&b]);
    let d = store.item('d', &[&a]);
    fs::write(store.place().join(path('f').base_name()), "leftover").unwrap();
    let wanted = BTreeSet::from([b.clone(), path('f'), path('g')]);
    let freed = delete(&store, &wanted, &CollectOptions::default(), &Watch::NONE).unwrap();
    assert_eq!((freed.paths, freed.live), (vec![c, b], 2));
    assert_eq!(freed.leftovers, [path('f').base_name()]);
    assert!(freed.bytes >= 20_000, "{}", freed.bytes);
    assert_left(&store, &[&a, &d]);
}

#[test]
fn what_a_root_keeps_is_not_deleted_by_name_either() {
    let store = TestStore::new();
    let a = store.item('a', &[]);
    let b = store.item('b', &[&a]);
    let c = store.item('c', &[]);
    store.add_root("b", &b).unwrap();
    let other = store.again();
    other.add_temporary_roots([&path('f')]).unwrap();
    fs::write(store.place().join(path('f').base_name()), "being made").unwrap();
    let before = store.names();
    // `a` is kept by what refers to it; `c` would go, but all or nothing does.
    for kept in [&a, &b, &path('f')] {
        let wanted = BTreeSet::from([c.clone(), kept.clone()]);
        let error = delete(&store, &wanted, &CollectOptions::default(), &Watch::NONE).unwrap_err();
        assert!(
            matches!(&error, StoreError::StillAlive { path } if *path == full(kept)),
            "{error}"
        );
        assert_eq!(store.names(), before);
        assert!(store.is_valid(&c).unwrap());
    }
}

#[test]
fn liveness_is_what_a_collection_would_make_of_it() {
    let store = TestStore::new();
    let a = store.item('a', &[]);
    let b = store.item('b', &[&a]);
    let c = store.item('c', &[&a]);
    fs::write(store.place().join(path('f').base_name()), "leftover").unwrap();
    store.add_root("b", &b).unwrap();
    let before = store.names();
    let found = liveness(&store, &CollectOptions::default()).unwrap();
    let expected = Liveness {
        live: BTreeSet::from([a, b]),
        dead: BTreeSet::from([c, path('f')]),
    };
    assert_eq!(found, expected);
    assert_eq!(store.names(), before);
}

#[test]
fn a_dry_run_needs_no_right_to_write() {
    let store = TestStore::new();
    let a = store.item('a', &[]);
    let b = store.item('b', &[]);
    store.add_temporary_roots([&b]).unwrap();
    let options = OpenOptions {
        access: Access::ReadOnly,
        ..hurried()
    };
    let reader = Store::open_with(directories(store.directory.path()), options).unwrap();
    let before: Vec<_> = everything_in(store.directory.path());
    let options = CollectOptions {
        dry_run: true,
        ..CollectOptions::default()
    };
    let freed = collect(&reader, &options).unwrap();
    assert_eq!((freed.paths, freed.live), (vec![a], 1));
    assert_eq!(everything_in(store.directory.path()), before);
    let error = collect(&reader, &CollectOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
}

/// Every file below `directory`, but for those that SQLite keeps beside its database.
fn everything_in(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.symlink_metadata().unwrap().is_dir() {
                pending.push(path.clone());
            }
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn derivations_and_outputs_are_kept_as_asked() {
    let store = TestStore::new();
    let source = store.add_text("source", b"x", &BTreeSet::new()).unwrap();
    let (drv, derivation) = instantiated(&store, "a", &[], &[&source], &mut DerivationSet::new());
    assert_eq!(add_derivation(&store, "a", &derivation).unwrap(), drv);
    let output = derivation.output_path("out").unwrap().clone();
    store.item_at(output.clone(), &[], Some(&drv));
    let TestStore { store, directory } = store;
    drop(store); // And with it this process' temporary roots.
    let store = Store::open(directories(directory.path())).unwrap();
    let store = TestStore { store, directory };

    let dry = |keep_derivations, keep_outputs| {
        let options = CollectOptions {
            dry_run: true,
            keep_derivations,
            keep_outputs,
            ..CollectOptions::default()
        };
        collect(&store, &options).unwrap().live
    };
    store.add_root("kept", &output).unwrap();
    assert_eq!((dry(false, false), dry(true, false)), (1, 3));
    store.add_root("kept", &drv).unwrap();
    assert_eq!((dry(true, false), dry(true, true)), (2, 3));
}

#[test]
fn temporary_roots_are_kept_while_their_process_lives() {
    let store = TestStore::new();
    let a = store.item('a', &[]);
    let b = store.item('b', &[&a]);
    let other = store.again();
    other.add_temporary_roots([&b]).unwrap();
    assert!(run(&store).paths.is_empty());
    let TestStore { store, directory } = store;
    drop((store, other));
    let store = Store::open(directories(directory.path())).unwrap();
    let store = TestStore { store, directory };
    assert_eq!(run(&store).paths, [b, a]);
}

#[test]
fn leftovers_go_and_work_in_progress_stays() {
    let store = TestStore::new();
    let a = store.item('a', &[]);
    store.add_root("a", &a).unwrap();
    let make = |name: String| fs::create_dir_all(store.place().join(name).join("sub")).unwrap();
    make(path('b').base_name().to_owned());
    make(format!("{}.chroot", path('c').base_name()));
    fs::write(
        store
            .place()
            .join(format!("{}.lock", path('d').base_name())),
        "",
    )
    .unwrap();
    fs::write(
        store.place().join(format!("{}-Cargo.lock", "f".repeat(32))),
        "half a file",
    )
    .unwrap();
    make(format!("{}-dir.lock", "g".repeat(32)));
    make("trash/1-1-old".to_owned());
    make("lost+found".to_owned());
    // Locked, and so at work; the lock makes it a temporary root as well.
    let locks = store.lock([&path('h')]).unwrap();
    make(format!("{}.chroot", path('h').base_name()));
    make(path('h').base_name().to_owned());
    let freed = run(&store);
    assert_eq!(freed.leftovers.len(), 5, "{:?}", freed.leftovers);
    assert_eq!(freed.unknown, ["lost+found"]);
    let h = path('h');
    let expected = [
        a.base_name().to_owned(),
        "lost+found".to_owned(),
        h.base_name().to_owned(),
        format!("{}.chroot", h.base_name()),
        format!("{}.lock", h.base_name()),
    ];
    assert_eq!(store.names(), BTreeSet::from(expected));
    drop(locks);
}

#[test]
fn a_lock_alone_protects_too() {
    let store = TestStore::new();
    let h = path('h');
    fs::create_dir(store.place().join(format!("{}.chroot", h.base_name()))).unwrap();
    let locks = PathLocks::acquire(store.place(), [&h], &LockPolicy::default()).unwrap();
    assert!(run(&store).leftovers.is_empty());
    let options = CollectOptions {
        dry_run: true,
        ..CollectOptions::default()
    };
    assert!(collect(&store, &options).unwrap().leftovers.is_empty());
    drop(locks);
    assert_eq!(collect(&store, &options).unwrap().leftovers.len(), 1);
    assert_eq!(run(&store).leftovers.len(), 1);
}

#[test]
fn an_item_that_is_named_like_a_lock_is_not_used_as_one() {
    use std::os::unix::fs::PermissionsExt;
    let store = TestStore::new();
    let a = store.item('a', &[]);
    store.add_root("a", &a).unwrap();
    let shared = store.directories().physical(&a).join("file");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o444)).unwrap();
    // Both are left without a database; deduplication has made them links of another item's file.
    let names = ["Cargo", "flake"].map(|name| format!("{}-{name}.lock", "b".repeat(32)));
    let places = names.clone().map(|name| store.place().join(name));
    for place in &places {
        fs::hard_link(&shared, place).unwrap();
    }
    let wanted = StorePath::from_base_name(&names[0]).unwrap();
    let options = CollectOptions::default();
    let freed = delete(&store, &[wanted].into(), &options, &Watch::NONE).unwrap();
    assert_eq!(freed.leftovers, names[..1]);
    let dry_run = CollectOptions {
        dry_run: true,
        ..CollectOptions::default()
    };
    assert_eq!(collect(&store, &dry_run).unwrap().leftovers, names[1..]);
    assert_eq!(run(&store).leftovers, names[1..]);
    assert_left(&store, &[&a]);
    assert_eq!(fs::read(&shared).unwrap(), [b'a'; 10_000]);
}

#[test]
fn links_out_of_the_store_are_not_followed() {
    let store = TestStore::new();
    let outside = store.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "").unwrap();
    symlink(&outside, store.place().join(path('a').base_name())).unwrap();
    let b = store.item('b', &[]);
    symlink(&outside, store.directories().physical(&b).join("link")).unwrap();
    let freed = run(&store);
    assert_eq!((freed.paths.len(), freed.leftovers.len()), (1, 1));
    assert!(outside.join("precious").exists());
    assert_left(&store, &[]);
}

#[test]
fn shared_files_of_the_daemon_go_when_nobody_shares_them() {
    let store = TestStore::new();
    let links = store.place().join(".links");
    fs::create_dir(&links).unwrap();
    // Links of smaller files go in any case.
    fs::write(links.join("unshared"), [b'x'; 8192]).unwrap();
    fs::write(links.join("shared"), [b'y'; 8192]).unwrap();
    let a = store.item('a', &[]);
    store.add_root("a", &a).unwrap();
    fs::hard_link(
        links.join("shared"),
        store.directories().physical(&a).join("y"),
    )
    .unwrap();
    run(&store);
    assert!(links.join("shared").exists() && !links.join("unshared").exists());
}

#[test]
fn additions_beside_a_collector_are_never_lost() {
    let store = TestStore::new();
    let other = store.again();
    std::thread::scope(|scope| {
        let adder = scope.spawn(|| {
            let mut options = OpenOptions::default();
            options.lock_policy.timeout = Some(Duration::from_secs(60));
            let adder = Store::open_with(directories(store.directory.path()), options).unwrap();
            for number in 0..40 {
                let text = format!("{number}");
                let path = adder
                    .add_text("text", text.as_bytes(), &BTreeSet::new())
                    .unwrap();
                assert!(adder.is_valid(&path).unwrap());
                assert_eq!(
                    fs::read_to_string(adder.directories().physical(&path)).unwrap(),
                    text
                );
            }
        });
        while !adder.is_finished() {
            collect(&other, &CollectOptions::default()).unwrap();
        }
    });
    assert_eq!(store.valid_paths().unwrap().len(), 40);
}

/// 100,000 paths in seconds: here some of them, without their files, which is the collector's own part.
#[test]
fn many_paths_are_collected_quickly() {
    let store = TestStore::new();
    let paths: Vec<StorePath> = (0..4_000)
        .map(|number| StorePath::from_base_name(&format!("{}-{number}", "a".repeat(32))).unwrap())
        .collect();
    let infos: Vec<PathInfo> = paths
        .iter()
        .enumerate()
        .map(|(number, path)| {
            let references: Vec<&StorePath> =
                paths[number.saturating_sub(5)..number].iter().collect();
            info(path, &references, None)
        })
        .collect();
    store.register(&infos).unwrap();
    store.add_root("half", &paths[2000]).unwrap();
    let start = std::time::Instant::now();
    let freed = run(&store);
    assert_eq!((freed.live, freed.paths.len()), (2001, 1999));
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn that_an_item_is_gone_is_on_the_disk_before_its_files_go() {
    let store = TestStore::new();
    store.item('a', &[]);
    // Another connection's trigger sees how the collector's commits. (1 is NORMAL, 2 is FULL.)
    let file = store.store.directories().state.join("db/db.sqlite");
    let watch = "CREATE TABLE Seen (synchronous INTEGER); \
                 CREATE TRIGGER Watch BEFORE DELETE ON ValidPaths BEGIN \
                 INSERT INTO Seen SELECT synchronous FROM pragma_synchronous; END;";
    rusqlite::Connection::open(file)
        .unwrap()
        .execute_batch(watch)
        .unwrap();
    collect(&store, &CollectOptions::default()).unwrap();
    assert_eq!(store.query::<i64>("SELECT min(synchronous) FROM Seen"), 2);
    // And what comes after is as fast as ever.
    let usual: i64 = store
        .store
        .database
        .connection()
        .query_row("PRAGMA synchronous", [], |row| row.get(0))
        .unwrap();
    assert_eq!(usual, 1);
}
