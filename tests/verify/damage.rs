//! Damage: found, told, and put right.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::world::World;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn built() -> World {
    let world = World::new();
    world.expect(0, &["build", "tool"]);
    world
}

/// Flips a bit of the tool and hides it.
fn flip(world: &World) {
    let file = world.place("tool").join("tool");
    set_mode(&file, 0o644);
    let mut bytes = fs::read(&file).unwrap();
    bytes[3] ^= 1;
    fs::write(&file, bytes).unwrap();
    set_mode(&file, 0o444);
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
    fs::File::open(&file).unwrap().set_modified(time).unwrap();
}

#[test]
fn a_store_as_it_was_registered_is_intact() {
    let world = built();
    let (out, err) = world.expect(0, &["verify"]);
    assert!(out.contains(" intact") && !out.contains("altered"), "{out}");
    assert_eq!(err, "");
    let (out, _) = world.expect(0, &["verify", "tool"]);
    assert!(out.starts_with("2 items, "), "the tool and libc: {out}");
}

#[test]
fn a_flipped_bit_is_found_and_put_right() {
    let world = built();
    let good = fs::read(world.place("tool").join("tool")).unwrap();
    flip(&world);
    let (out, err) = world.expect(3, &["verify"]);
    assert!(out.contains("altered: /gnu/store/"), "{out}");
    assert!(out.contains(" build --repair tool`"), "{out}");
    assert!(err.contains("1 of "), "{err}");
    let (_, err) = world.expect(0, &["build", "--repair", "tool"]);
    assert!(err.contains("put right; the damaged copy is "), "{err}");
    assert_eq!(fs::read(world.place("tool").join("tool")).unwrap(), good);
    let (out, _) = world.expect(0, &["verify"]);
    assert!(out.contains("-tool-1.0-damaged"), "the copy is kept: {out}");
    // It is nobody's any more.
    world.expect(0, &["gc"]);
    let (out, _) = world.expect(0, &["verify"]);
    assert!(!out.contains("damaged"), "{out}");
}

#[test]
fn what_is_missing_or_touched_is_put_back_and_nothing_else() {
    let world = built();
    let libc = world.place("libc");
    bootstrap::store::remove::remove_tree(&libc).unwrap();
    set_mode(&world.place("tool").join("tool"), 0o644);
    let (out, _) = world.expect(3, &["verify"]);
    assert!(
        out.contains("missing: ") && out.contains("touched: "),
        "{out}"
    );
    assert!(out.contains("tool: expected mode 0444, saw 0644"), "{out}");
    let (_, err) = world.expect(0, &["build", "--repair", "tool"]);
    assert!(err.contains("put back"), "{err}");
    let (out, _) = world.expect(0, &["verify"]);
    assert!(!out.contains("damaged"), "{out}");
    let (_, err) = world.expect(0, &["build", "--repair", "tool"]);
    assert!(err.contains("nothing of it is damaged"), "{err}");
}

#[test]
fn a_damaged_seed_and_a_damaged_derivation_are_put_right_too() {
    let world = built();
    let (out, _) = world.expect(0, &["show", "--json", "tool"]);
    let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
    let derivation = shown["derivation"].as_str().unwrap();
    let file = world.path(&format!("root{derivation}"));
    set_mode(&file, 0o644);
    fs::write(&file, "Derive(").unwrap();
    let (out, _) = world.expect(3, &["verify"]);
    assert!(out.contains("-tool-1.0.drv"), "{out}");
    world.expect(0, &["build", "--repair", "tool"]);
    world.expect(0, &["verify"]);

    let (out, _) = world.expect(0, &["graph", "--json"]);
    assert!(out.contains("seed/one"), "{out}");
    let store = world.path("root/gnu/store");
    let seed = fs::read_dir(&store)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.join("share/name").exists())
        .unwrap();
    set_mode(&seed.join("share"), 0o755);
    fs::write(seed.join("share/planted"), "x").unwrap();
    let (out, _) = world.expect(3, &["verify"]);
    assert!(out.contains("--repair seed/one"), "{out}");
    let (_, err) = world.expect(0, &["build", "--repair", "seed/one"]);
    assert!(err.contains("put right"), "{err}");
    world.expect(0, &["verify"]);
}

#[test]
fn the_document_says_what_was_seen_and_is_signed() {
    let world = built();
    flip(&world);
    let (out, _) = world.expect(3, &["verify", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["good"], false);
    assert_eq!(document["seeds"][0]["name"], "one");
    let outputs = document["outputs"].as_array().unwrap();
    let tool = outputs
        .iter()
        .find(|output| output["package"] == "tool")
        .unwrap();
    assert_eq!(tool["result"], "altered");
    world.expect(0, &["build", "--repair", "tool"]);

    world.file(
        "key.pem",
        "-----BEGIN PRIVATE KEY-----\n\
         MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
         -----END PRIVATE KEY-----\n",
    );
    let (signed, _) = world.expect(0, &["verify", "--sign", "key.pem"]);
    let (plain, _) = world.expect(0, &["verify", "--json"]);
    world.file("a.json", &signed);
    world.file("b.json", &plain);
    let (out, _) = world.expect(0, &["verify", "--compare", "a.json", "b.json"]);
    assert!(
        out.contains("a.json: signed by the Ed25519 key 19bf44"),
        "{out}"
    );
    assert!(out.contains("b.json: not signed"), "{out}");
    assert!(out.contains(" outputs the same, 0 differ"), "{out}");
    world.file("a.json", &signed.replacen("\"intact\"", "\"altered\"", 1));
    let (_, err) = world.expect(3, &["verify", "--compare", "a.json", "b.json"]);
    assert!(err.contains("changed after it was signed"), "{err}");
    let (_, err) = world.expect(2, &["verify", "--sign", "recipes/tool/recipe.toml"]);
    assert!(err.contains("openssl genpkey"), "{err}");
}

#[test]
fn a_deleted_database_is_made_anew() {
    let world = built();
    let (before, _) = world.expect(0, &["verify", "--json"]);
    let database = world.path("root/var/guix/db");
    for name in ["db.sqlite", "db.sqlite-wal", "db.sqlite-shm"] {
        let _ = fs::remove_file(database.join(name));
    }
    let (_, err) = world.expect(1, &["verify"]);
    assert!(err.contains(" verify --recover`"), "{err}");
    let (out, _) = world.expect(0, &["verify", "--recover"]);
    assert!(out.contains(" items proven by their contents"), "{out}");
    let (after, _) = world.expect(0, &["verify", "--json"]);
    assert_eq!(before, after);
    let (_, err) = world.expect(1, &["verify", "--recover"]);
    assert!(err.contains("is whole"), "{err}");
    let (_, err) = world.expect(0, &["build", "tool"]);
    assert_eq!(err, "", "nothing is to be done");
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
    assert!(out.contains("bytes as an archive, and it has"), "{out}");
    assert!(out.contains(" build --repair tool`"), "{out}");
    assert!(err.contains("1 of "), "{err}");
    let (out, _) = world.expect(3, &["verify", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    let outputs = document["outputs"].as_array().unwrap();
    let tool = outputs.iter().find(|output| output["package"] == "tool");
    assert_eq!(tool.unwrap()["result"], "misrecorded");
    let (_, err) = world.expect(0, &["build", "--repair", "tool"]);
    assert!(err.contains("its record put right"), "{err}");
    let (out, _) = world.expect(0, &["verify"]);
    assert!(!out.contains("damaged"), "{out}");
}

#[test]
fn what_nobody_registered_is_told_from_what_no_store_has() {
    let world = built();
    let left = format!("{}-left-1.0", "0".repeat(32));
    let store = world.path("root/gnu/store");
    fs::create_dir(store.join(&left)).unwrap();
    fs::write(store.join("notes.txt"), "x").unwrap();
    let (out, _) = world.expect(0, &["verify"]);
    assert!(
        out.contains(&format!("unregistered: /gnu/store/{left}\n")),
        "{out}"
    );
    let extra = format!("extra: {}\n", store.join("notes.txt").display());
    assert!(out.contains(&extra), "{out}");
    let (out, _) = world.expect(0, &["verify", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        document["unregistered"],
        serde_json::json!([format!("/gnu/store/{left}")])
    );
    assert_eq!(
        document["extra"],
        serde_json::json!(["/gnu/store/notes.txt"])
    );
    world.expect(0, &["gc"]);
    let (out, _) = world.expect(0, &["verify"]);
    assert!(!out.contains("unregistered: "), "{out}");
    assert!(out.contains("extra: "), "nobody's to remove: {out}");
}

#[test]
fn an_output_in_place_that_was_not_registered_is_built_again() {
    let world = built();
    let place = world.place("tool");
    // As a power cut between the two leaves it.
    let forgotten = world
        .database()
        .execute("DELETE FROM ValidPaths WHERE path LIKE '%-tool-1.0'", [])
        .unwrap();
    assert_eq!(forgotten, 1);
    // Not whole, perhaps.
    set_mode(&place, 0o755);
    fs::remove_file(place.join("tool")).unwrap();
    let (out, _) = world.expect(0, &["verify"]);
    assert!(out.contains("unregistered: /gnu/store/"), "{out}");
    world.expect(0, &["build", "tool"]);
    assert!(place.join("tool").exists());
    let (out, _) = world.expect(0, &["verify"]);
    assert!(!out.contains("unregistered"), "{out}");
}

#[test]
fn a_repair_that_a_power_cut_ended_is_made_by_the_next() {
    let world = built();
    let place = world.place("tool");
    let aside = |place: &Path| {
        let name = format!("{}-damaged", place.file_name().unwrap().to_str().unwrap());
        place.with_file_name(name)
    };
    // The damaged item is aside, and nothing in its place yet.
    flip(&world);
    fs::rename(&place, aside(&place)).unwrap();
    let (out, _) = world.expect(3, &["verify"]);
    assert!(out.contains("missing: /gnu/store/"), "{out}");
    assert!(out.contains("-tool-1.0-damaged"), "{out}");
    let (_, err) = world.expect(0, &["build", "--repair", "tool"]);
    assert!(err.contains("put back"), "{err}");
    let (out, _) = world.expect(0, &["verify"]);
    assert!(out.contains("-tool-1.0-damaged"), "{out}");
    // The new item is in its place, and the database still has the hash of another.
    world.expect(0, &["gc"]);
    let changed = world
        .database()
        .execute(
            "UPDATE ValidPaths SET hash = 'sha256:' || hex(zeroblob(32)) WHERE path LIKE '%-tool-1.0'",
            [],
        )
        .unwrap();
    assert_eq!(changed, 1);
    let (out, _) = world.expect(3, &["verify"]);
    assert!(out.contains("altered: /gnu/store/"), "{out}");
    world.expect(0, &["build", "--repair", "tool"]);
    let (out, _) = world.expect(0, &["verify", "tool"]);
    assert!(
        out.starts_with("2 items, ") && out.contains("2 intact"),
        "{out}"
    );
}

/// How many runs are killed: `BOOTSTRAP_TEST_KILLS`, or a few.
fn kills() -> u32 {
    let number = std::env::var("BOOTSTRAP_TEST_KILLS").ok();
    number.and_then(|number| number.parse().ok()).unwrap_or(12)
}

/// What the moments follow from: `BOOTSTRAP_TEST_SEED`, or another number each time.
fn seed() -> u32 {
    let number = std::env::var("BOOTSTRAP_TEST_SEED").ok();
    let number = number.and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().subsec_nanos()
    })
}

#[test]
fn runs_killed_at_any_moment_leave_store_and_database_in_agreement() {
    let world = World::new();
    // Another derivation each time, with all that comes after it.
    let edit = |number: u32| {
        world.recipe("make", "[stage0]\n", &format!("write $out make {number}\n"));
    };
    let (kills, mut random) = (kills(), seed());
    println!("the moments follow from BOOTSTRAP_TEST_SEED={random}");
    world.expect(0, &["build", "tool"]);
    edit(kills);
    let start = std::time::Instant::now();
    world.expect(0, &["build", "tool"]);
    let whole = u64::try_from(start.elapsed().as_millis()).unwrap();
    let mut hits = 0;
    for number in 0..kills {
        edit(number);
        let mut run = world
            .command(&["build", "tool"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        std::thread::sleep(std::time::Duration::from_millis(
            u64::from(random >> 16) % whole,
        ));
        hits += u32::from(run.try_wait().unwrap().is_none());
        run.kill().unwrap();
        run.wait().unwrap();
        world.expect(0, &["verify"]);
    }
    // A run that had ended before it was killed proves nothing.
    assert!(hits * 3 >= kills, "{hits} of {kills} hit a run");
    world.expect(0, &["build", "tool"]);
    let make = fs::read_to_string(world.place("stage0/make")).unwrap();
    assert_eq!(make, format!("make {}\n", kills - 1));
    assert!(world.place("tool").join("tool").exists());
    world.expect(0, &["gc"]);
    let (out, _) = world.expect(0, &["verify"]);
    assert!(!out.contains("unregistered"), "{out}");
}
