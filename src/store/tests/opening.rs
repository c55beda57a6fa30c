// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use crate::store::gc::{CollectOptions, Watch, collect, delete};
use crate::store::open::{RESERVED, fill};
use std::os::unix::fs::{PermissionsExt, symlink};

#[test]
fn a_new_store_has_what_the_daemon_expects() {
    let store = TestStore::new();
    let state = &store.store.directories().state;
    assert_eq!(fs::read_to_string(state.join("db/schema")).unwrap(), "7");
    for name in ["gcroots", "gcroots/profiles", "temproots", "profiles"] {
        assert!(state.join(name).is_dir(), "{name}");
    }
    assert_eq!(store.query::<String>("PRAGMA journal_mode"), "wal");
    assert!(store.names().is_empty());
}

#[test]
fn however_a_collection_ends_the_reserved_space_is_taken_again() {
    let store = TestStore::new();
    let reserved = store.directories().state.join("db/reserved");
    let a = store.item('a', &[]);
    store.add_root("a", &a).unwrap();
    let size = || fs::metadata(&reserved).map(|found| found.len()).ok();
    let before = size();
    assert!(before.is_some());
    let wanted = BTreeSet::from([a]);
    delete(&store, &wanted, &CollectOptions::default(), &Watch::NONE).unwrap_err();
    assert_eq!(size(), before);
    collect(&store, &CollectOptions::default()).unwrap();
    assert_eq!(size(), before);
    // As a collector that was killed leaves it.
    fs::remove_file(&reserved).unwrap();
    drop(store.again());
    assert_eq!(size(), before);
}

/// Guix's `schema.sql`, as facts: what SQLite itself says of each table, index, foreign key and trigger.
#[test]
fn the_schema_is_version_7_to_the_letter() {
    let store = TestStore::new();
    let columns = |table: &str| {
        store.query::<String>(&format!(
            "SELECT group_concat(name || ' ' || lower(type) || ' ' || \"notnull\" || ' ' || pk, ', ') \
             FROM pragma_table_info('{table}')"
        ))
    };
    assert_eq!(
        columns("ValidPaths"),
        "id integer 1 1, path text 1 0, hash text 1 0, registrationTime integer 1 0, deriver text 0 0, narSize integer 0 0"
    );
    assert_eq!(
        columns("Refs"),
        "referrer integer 1 1, reference integer 1 2"
    );
    assert_eq!(
        columns("DerivationOutputs"),
        "drv integer 1 1, id text 1 2, path text 1 0"
    );
    assert_eq!(columns("FailedPaths"), "path text 1 1, time integer 1 0");
    let foreign = |table: &str| {
        store.query::<String>(&format!(
            "SELECT group_concat(\"from\" || '>' || \"table\" || '.' || \"to\" || ' ' || lower(on_delete), ', ') \
             FROM (SELECT * FROM pragma_foreign_key_list('{table}') ORDER BY \"from\" DESC)"
        ))
    };
    assert_eq!(
        foreign("Refs"),
        "referrer>ValidPaths.id cascade, reference>ValidPaths.id restrict"
    );
    assert_eq!(foreign("DerivationOutputs"), "drv>ValidPaths.id cascade");
    assert_eq!(
        store.query::<String>(
            "SELECT group_concat(type || ' ' || name || ' ' || tbl_name, ', ') FROM \
             (SELECT * FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name)"
        ),
        "index IndexDerivationOutputs DerivationOutputs, index IndexReference Refs, index IndexReferrer Refs, \
         table DerivationOutputs DerivationOutputs, table FailedPaths FailedPaths, table Refs Refs, \
         table ValidPaths ValidPaths, trigger DeleteSelfRefs ValidPaths"
    );
    assert_eq!(
        store.query::<i64>("SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'"),
        1,
        "numbers of deleted paths are not given out again"
    );
}

#[test]
fn an_opened_store_is_as_it_was_left() {
    let store = TestStore::new();
    let a = store.item('a', &[]);
    let reopened = store.again();
    assert!(reopened.is_valid(&a).unwrap());
    drop(reopened);
    let TestStore { store, directory } = store;
    drop(store);
    let store = Store::open(directories(directory.path())).unwrap();
    assert!(store.is_valid(&a).unwrap());
    store.check_database().unwrap();
}

#[test]
fn a_creation_that_was_cut_short_is_finished() {
    let store = TestStore::new();
    let TestStore { store, directory } = store;
    let schema = store.directories().state.join("db/schema");
    drop(store);
    fs::remove_file(&schema).unwrap();
    Store::open(directories(directory.path())).unwrap();
    assert_eq!(fs::read_to_string(&schema).unwrap(), "7");
}

#[test]
fn threads_can_create_one_store_together() {
    let directory = TestDirectory::new();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| Store::open(directories(directory.path())).unwrap());
        }
    });
}

fn open_error(prepare: impl FnOnce(&Path)) -> StoreError {
    let TestStore { store, directory } = TestStore::new();
    let database = store.directories().state.join("db");
    drop(store);
    prepare(&database);
    match Store::open_with(directories(directory.path()), hurried()) {
        Ok(store) => match store.valid_paths() {
            Ok(_) => panic!("the store could be opened and read"),
            Err(error) => error,
        },
        Err(error) => error,
    }
}

#[test]
fn schemas_that_nobody_here_knows_are_refused() {
    for (version, hint) in [("6", "start guix-daemon"), ("11", "a newer version")] {
        let error = open_error(|database| fs::write(database.join("schema"), version).unwrap());
        assert!(
            matches!(
                error,
                StoreError::Database(DatabaseError::Schema { found, .. }) if found.to_string() == version
            ),
            "{error}"
        );
        assert!(error.is_environment());
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        assert!(help.contains(hint), "{help}");
    }
}

#[test]
fn a_schema_file_without_a_number_is_an_error_that_quotes_it() {
    let error = open_error(|database| fs::write(database.join("schema"), "seven").unwrap());
    assert!(error.to_string().contains("holds `seven`"), "{error}");
}

#[test]
fn a_schema_file_without_end_is_an_error() {
    for (size, expected) in [(None, "a regular file"), (Some(10 << 30), "too large")] {
        let error = open_error(|database| {
            let schema = database.join("schema");
            fs::remove_file(&schema).unwrap();
            match size {
                Some(size) => fs::File::create(&schema).unwrap().set_len(size).unwrap(),
                None => symlink("/dev/zero", &schema).unwrap(),
            }
        });
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_missing_database_is_no_empty_store() {
    let error = open_error(|database| fs::remove_file(database.join("db.sqlite")).unwrap());
    assert!(
        matches!(error, StoreError::Database(DatabaseError::Missing { .. })),
        "{error}"
    );
}

#[test]
fn damaged_databases_are_called_so() {
    let damages: [fn(&Path); 3] = [
        |file| {
            fs::write(
                file,
                "this is not a database, though it is long enough to be one".repeat(100),
            )
            .unwrap()
        },
        |file| fs::write(file, "").unwrap(),
        |file| {
            let mut bytes = fs::read(file).unwrap();
            bytes.iter_mut().skip(100).for_each(|byte| *byte ^= 0x55);
            fs::write(file, bytes).unwrap();
        },
    ];
    for damage in damages {
        let error = open_error(|database| damage(&database.join("db.sqlite")));
        assert!(
            matches!(error, StoreError::Database(DatabaseError::Corrupt { .. })),
            "{error:?}"
        );
    }
}

#[test]
fn nonsense_in_a_row_is_damage() {
    let store = TestStore::new();
    let a = store.item('a', &[]);
    let file = store.store.directories().state.join("db/db.sqlite");
    let other = rusqlite::Connection::open(file).unwrap();
    for change in [
        "UPDATE ValidPaths SET hash = 'md5:0'",
        "UPDATE ValidPaths SET hash = x'00'",
        "UPDATE ValidPaths SET deriver = '/elsewhere/x'",
    ] {
        other.execute(change, []).unwrap();
        let error = store.path_info(&a).unwrap_err();
        assert!(
            matches!(error, StoreError::Database(DatabaseError::Corrupt { .. })),
            "{change}: {error:?}"
        );
    }
}

#[test]
fn a_locked_database_is_waited_for_and_then_an_error() {
    let store = TestStore::new();
    let store = store.again();
    let file = store.directories().state.join("db/db.sqlite");
    let other = rusqlite::Connection::open(file).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = store.register(&[info(&path('a'), &[], None)]).unwrap_err();
    assert!(
        matches!(error, StoreError::Database(DatabaseError::Locked { .. })),
        "{error:?}"
    );
    assert!(error.is_environment());
    other.execute_batch("COMMIT").unwrap();
    store.register(&[info(&path('a'), &[], None)]).unwrap();
}

#[test]
fn readers_do_not_wait_for_writers() {
    let store = TestStore::new();
    let a = store.item('a', &[]);
    let other =
        rusqlite::Connection::open(store.store.directories().state.join("db/db.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(store.again().is_valid(&a).unwrap());
}

#[test]
fn a_store_directory_that_is_a_link_is_refused() {
    let directory = TestDirectory::new();
    fs::create_dir_all(directory.path().join("gnu")).unwrap();
    fs::create_dir(directory.path().join("real")).unwrap();
    symlink("../real", directory.path().join("gnu/store")).unwrap();
    let error = Store::open(directories(directory.path())).unwrap_err();
    assert!(matches!(error, StoreError::Symlink { .. }), "{error:?}");
}

#[test]
fn a_place_that_cannot_be_made_is_named() {
    let directory = TestDirectory::new();
    fs::write(directory.path().join("gnu"), "").unwrap();
    let error = Store::open(directories(directory.path())).unwrap_err();
    assert!(error.is_environment());
    assert!(error.to_string().contains("gnu/store"), "{error}");
}

#[test]
fn a_relocated_store_has_ordinary_permissions() {
    let store = TestStore::new();
    let mode = fs::metadata(store.place()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[test]
fn a_store_in_its_logical_place_has_the_daemons_permissions() {
    let directory = TestDirectory::new();
    let place = directory.path().canonicalize().unwrap().join("store");
    let store_dir = StoreDir::new(place.to_str().unwrap()).unwrap();
    let mut directories = Directories::new(store_dir, None);
    directories.state = directory.path().join("state");
    Store::open(directories.clone()).unwrap();
    let mode = || fs::metadata(&place).unwrap().permissions().mode() & 0o7777;
    let expected = match rustix::process::geteuid().is_root() {
        true => 0o1775,
        false => 0o755,
    };
    assert_eq!(mode(), expected);
    // One that is there is left as it is.
    fs::set_permissions(&place, fs::Permissions::from_mode(0o750)).unwrap();
    Store::open(directories.clone()).unwrap();
    assert_eq!(mode(), 0o750);
    // There, nothing above it may be a link.
    let link = directory.path().join("link");
    symlink(".", &link).unwrap();
    let store_dir = StoreDir::new(link.join("store").to_str().unwrap()).unwrap();
    directories.store = link.join("store");
    directories.store_dir = store_dir;
    let error = Store::open(directories).unwrap_err();
    assert!(matches!(error, StoreError::Symlink { .. }), "{error:?}");
}

#[test]
fn threads_can_share_a_store() {
    fn shareable<T: Send + Sync>() {}
    shareable::<Store>();
}

#[test]
fn looking_needs_no_store_and_leaves_no_trace() {
    let directory = TestDirectory::new();
    let options = OpenOptions {
        access: Access::ReadOnly,
        ..OpenOptions::default()
    };
    let store = Store::open_with(directories(directory.path()), options.clone()).unwrap();
    assert!(!store.is_valid(&path('a')).unwrap());
    assert!(matches!(
        store.add_temporary_roots([&path('a')]),
        Err(StoreError::ReadOnly { .. })
    ));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);

    let store = TestStore::new();
    let a = store.item('a', &[]);
    let looking = Store::open_with(directories(store.directory.path()), options).unwrap();
    assert!(looking.is_valid(&a).unwrap());
}

/// For root there is no file that cannot be written; this says something only when run by another user.
#[test]
fn without_permission_one_can_look_and_is_told_why_not_more() {
    if rustix::process::geteuid().is_root() {
        return;
    }
    let TestStore { store, directory } = TestStore::new();
    store.add_text("text", b"x", &BTreeSet::new()).unwrap();
    let database = store.directories().state.join("db");
    let paths = store.valid_paths().unwrap();
    let mode = |mode| {
        for name in ["db.sqlite", "big-lock", ""] {
            fs::set_permissions(database.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    let options = OpenOptions {
        access: Access::ReadOnly,
        ..OpenOptions::default()
    };
    let open = || Store::open_with(directories(directory.path()), options.clone());
    mode(0o555);
    assert_eq!(
        open().unwrap().valid_paths().unwrap(),
        paths,
        "beside a writer"
    );
    mode(0o755);
    drop(store);
    mode(0o555);
    assert_eq!(open().unwrap().valid_paths().unwrap(), paths, "alone");
    let error = Store::open_with(directories(directory.path()), hurried()).unwrap_err();
    assert!(error.is_environment(), "{error:?}");
    assert!(error.to_string().contains("--root"), "{error}");
    mode(0o755);
    fs::set_permissions(
        database.join("db.sqlite"),
        fs::Permissions::from_mode(0o444),
    )
    .unwrap();
    let error = Store::open_with(directories(directory.path()), hurried()).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Database(DatabaseError::NotWritable { .. })
        ),
        "{error:?}"
    );
}

/// The no-op run of the whole program has 50 ms, of which the store may take a tenth. The bound here is far
/// above what it takes, so that a busy machine does not fail it, and far below what a mistake would cost.
#[test]
fn opening_and_a_hundred_questions_are_quick() {
    let TestStore { store, directory } = TestStore::new();
    drop(store);
    let paths: Vec<StorePath> = (0..100)
        .map(|number| StorePath::from_base_name(&format!("{}-{number}", "a".repeat(32))).unwrap())
        .collect();
    let start = std::time::Instant::now();
    let store = Store::open(directories(directory.path())).unwrap();
    store.valid_among(&paths).unwrap();
    drop(store);
    let took = start.elapsed();
    assert!(took < Duration::from_millis(250), "{took:?}");
    println!("open, 100 questions, close: {took:?}");
}

/// Mounts the store of `directories` on itself, read-only, for this thread alone.
#[cfg(target_os = "linux")]
fn mount_read_only(directories: &Directories) -> rustix::io::Result<()> {
    use rustix::mount::{
        MountFlags, MountPropagationFlags, mount_bind, mount_change, mount_remount,
    };
    use rustix::thread::{UnshareFlags, unshare_unsafe};
    // SAFETY: descriptors stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    mount_bind(&directories.store, &directories.store)?;
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID;
    mount_remount(&directories.store, flags, "")
}

#[test]
#[cfg(target_os = "linux")]
fn roots_store_that_is_mounted_read_only_is_written_to_all_the_same() {
    let root = tempfile::tempdir().unwrap();
    let store_dir = StoreDir::new("/gnu/store").unwrap();
    let directories = Directories::new(store_dir, Some(root.path()));
    fs::create_dir_all(&directories.store).unwrap();
    if let Err(error) = mount_read_only(&directories) {
        println!("skipped: only root of a machine can mount: {error}");
        return;
    }
    assert!(fs::write(directories.store.join("file"), "").is_err());
    let store = Store::open(directories).unwrap();
    let path = store.add_text("text", b"text", &BTreeSet::new()).unwrap();
    assert_eq!(
        fs::read(store.directories().physical(&path)).unwrap(),
        b"text"
    );
    let flags = rustix::fs::statvfs(&store.directories().store)
        .unwrap()
        .f_flag;
    assert!(flags.contains(rustix::fs::StatVfsMountFlags::NOSUID));
    // Also for threads that this one starts.
    let adding = std::thread::Builder::new().spawn(move || {
        let none = BTreeSet::new();
        store.add_text("other", b"text", &none).unwrap();
    });
    adding.unwrap().join().unwrap();
}

#[test]
fn the_reserved_space_is_taken_where_the_file_system_promises_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("reserved");
    fill(fs::File::create(&path).unwrap()).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, RESERVED);
    // Such bytes have no short description.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &bytes).unwrap();
    assert!(encoder.finish().unwrap().len() as u64 > RESERVED / 100 * 99);
}
