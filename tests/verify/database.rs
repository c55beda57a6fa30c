// SPDX-License-Identifier: GPL-3.0-or-later
//! A database that is gone, damaged, or wrong.

use std::fs;
use std::path::Path;

use bootstrap::formats::store_path::StoreDir;
use bootstrap::store::directories::Directories;
use bootstrap::store::{Access, OpenOptions, Store, StoreError};
use bootstrap::verify::whole;

use super::world::World;

fn built() -> World {
    let world = World::new();
    world.expect(0, &["build", "tool"]);
    world
}

/// Removes what SQLite has, but not the file that says that there was something.
fn delete(world: &World) {
    for name in ["db.sqlite", "db.sqlite-wal", "db.sqlite-shm"] {
        let _ = fs::remove_file(world.path("root/var/guix/db").join(name));
    }
}

#[test]
fn a_deleted_database_is_made_anew() {
    let world = built();
    let (before, _) = world.expect(0, &["verify", "--json"]);
    delete(&world);
    let (_, err) = world.expect(5, &["verify"]);
    assert!(err.contains(" verify --recover`"), "{err}");
    let (out, _) = world.expect(0, &["verify", "--recover"]);
    assert!(out.contains(" items proven by their contents"), "{out}");
    let (after, _) = world.expect(0, &["verify", "--json"]);
    assert_eq!(before, after);
    let (_, err) = world.expect(1, &["verify", "--recover"]);
    assert!(err.contains("is intact"), "{err}");
    let (_, err) = world.expect(0, &["build", "tool"]);
    assert_eq!(err, "", "nothing is to be done");
}

#[test]
fn a_store_whose_database_went_with_its_directory_is_not_taken_for_an_empty_one() {
    let world = built();
    let (before, _) = world.expect(0, &["verify", "--json"]);
    let tool = world.place("tool");
    bootstrap::store::remove::remove_tree(&world.path("root/var/guix/db")).unwrap();
    let commands: [&[&str]; 4] = [&["verify"], &["gc"], &["roots"], &["build", "tool"]];
    for command in commands {
        let (_, err) = world.expect(5, command);
        assert!(
            err.contains(" shows that there was one"),
            "{command:?}: {err}"
        );
        assert!(err.contains(" verify --recover`"), "{command:?}: {err}");
    }
    assert!(tool.exists());
    world.expect(0, &["verify", "--recover"]);
    let (after, _) = world.expect(0, &["verify", "--json"]);
    assert_eq!(before, after);
}

#[test]
fn what_is_gone_with_the_database_is_told() {
    let world = built();
    let tool = world.place("tool");
    bootstrap::store::remove::remove_tree(&tool).unwrap();
    delete(&world);
    let (out, _) = world.expect(0, &["verify", "--recover"]);
    let name = tool.file_name().unwrap().to_str().unwrap();
    assert!(
        out.contains(&format!("lost: /gnu/store/{name}: it is gone, and ")),
        "{out}"
    );
    // Where no root shows it, it is unknown whether it ever was there.
    bootstrap::store::remove::remove_tree(&world.path("root/var/guix/gcroots/bootstrap")).unwrap();
    delete(&world);
    let (out, _) = world.expect(0, &["verify", "--recover", "--json"]);
    let recovered: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(recovered["lost"], serde_json::json!({}));
    world.expect(0, &["build", "tool"]);
    assert!(tool.exists());
}

#[test]
fn what_the_database_says_wrongly_is_found_and_put_right() {
    let world = built();
    let changed = world
        .database()
        .execute(
            "UPDATE ValidPaths SET narSize = narSize + 64 WHERE path LIKE '%-tool-1.0'",
            [],
        )
        .unwrap();
    assert_eq!(changed, 1);
    let (out, err) = world.expect(3, &["verify"]);
    assert!(out.contains("misrecorded: /gnu/store/"), "{out}");
    assert!(
        out.contains("bytes as an archive (the database says so), saw"),
        "{out}"
    );
    assert!(out.contains(" build --repair tool`"), "{out}");
    assert!(err.contains("1 of "), "{err}");
    let (out, _) = world.expect(3, &["verify", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    let outputs = document["outputs"].as_array().unwrap();
    let tool = outputs.iter().find(|output| output["package"] == "tool");
    assert_eq!(tool.unwrap()["result"], "misrecorded");
    let (_, err) = world.expect(0, &["build", "--repair", "tool"]);
    assert!(err.contains("its record repaired"), "{err}");
    let (out, _) = world.expect(0, &["verify"]);
    assert!(!out.contains("damaged"), "{out}");
}

/// How many bits are flipped: `BOOTSTRAP_TEST_FLIPS`, or some.
fn flips() -> usize {
    let number = std::env::var("BOOTSTRAP_TEST_FLIPS").ok();
    number.and_then(|number| number.parse().ok()).unwrap_or(150)
}

/// What the database says that can be checked: all but when an item was registered. Sizes are by themselves.
fn facts(file: &Path) -> (Vec<String>, Vec<Option<i64>>) {
    let database = rusqlite::Connection::open(file).unwrap();
    let facts = |query: &str| -> Vec<String> {
        let mut query = database.prepare(query).unwrap();
        let rows = query.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    let mut all = facts(
        // Digits of either case are the same hash.
        "SELECT path || ' ' || lower(hash) || ' ' || coalesce(deriver, '') FROM ValidPaths ORDER BY path",
    );
    all.extend(facts(
        "SELECT one.path || ' to ' || other.path FROM Refs JOIN ValidPaths one ON one.id = referrer \
         JOIN ValidPaths other ON other.id = reference ORDER BY 1",
    ));
    all.extend(facts(
        "SELECT one.path || ' ' || outputs.id || ' ' || outputs.path FROM DerivationOutputs outputs \
         JOIN ValidPaths one ON one.id = drv ORDER BY 1",
    ));
    let mut sizes = database
        .prepare("SELECT nullif(narSize, 0) FROM ValidPaths ORDER BY path")
        .unwrap();
    let sizes = sizes.query_map([], |row| row.get(0)).unwrap();
    (all, sizes.collect::<Result<_, _>>().unwrap())
}

/// Whether `verify` would find nothing wrong.
fn is_intact(world: &World) -> Result<bool, StoreError> {
    let store_dir = StoreDir::new("/gnu/store").unwrap();
    let directories = Directories::new(store_dir, Some(&world.path("root")));
    let options = OpenOptions {
        access: Access::ReadOnly,
        ..OpenOptions::default()
    };
    let store = Store::open_with(directories, options)?;
    let report = whole::everything(&store, std::num::NonZeroUsize::MIN, &|| true)?;
    Ok(report.damaged().next().is_none())
}

#[test]
fn a_bit_flipped_in_the_database_file_is_found_or_changes_nothing_that_can_be_checked() {
    let world = built();
    let file = world.path("root/var/guix/db/db.sqlite");
    let database = world.database();
    database
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    drop(database);
    let whole = fs::read(&file).unwrap();
    let write = |bytes: &[u8]| {
        delete(&world);
        fs::write(&file, bytes).unwrap();
    };
    let before = facts(&file);
    assert!(is_intact(&world).unwrap());
    // What was never written to holds nothing.
    let used: Vec<usize> = (0..whole.len())
        .filter(|place| whole[*place] != 0)
        .collect();
    let step = (used.len() / flips()).max(1);
    let mut found = 0;
    for (number, place) in used.into_iter().step_by(step).enumerate() {
        let mut flipped = whole.clone();
        flipped[place] ^= 1 << (number % 8);
        write(&flipped);
        if !is_intact(&world).unwrap_or(false) {
            found += 1;
            continue;
        }
        let after = facts(&file);
        assert_eq!(after.0, before.0, "byte {place}, bit {}", number % 8);
        for (before, after) in before.1.iter().zip(after.1) {
            // Guix's daemon has not always recorded sizes: none is not a wrong one.
            assert!(after.is_none() || after == *before, "byte {place}");
        }
    }
    assert!(found > 0);
    // The command is no other: the first page begins with what every database begins with.
    let mut flipped = whole.clone();
    flipped[0] ^= 1;
    write(&flipped);
    let (_, err) = world.expect(5, &["verify"]);
    assert!(err.contains(" verify --recover`"), "{err}");
    write(&whole);
    world.expect(0, &["verify"]);
}

#[test]
fn a_schema_file_that_is_gone_is_not_a_database_that_is_gone() {
    let world = World::new();
    world.expect(0, &["build", "tool"]);
    let schema = world.path("root/var/guix/db/schema");
    fs::remove_file(&schema).unwrap();
    for command in ["verify", "gc"] {
        let (_, err) = world.expect(5, &[command]);
        assert!(
            err.contains("db/schema is missing, which says the version of"),
            "{err}"
        );
    }
    fs::write(&schema, "7").unwrap();
    world.expect(0, &["verify"]);
}
