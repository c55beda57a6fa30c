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
    assert!(out.contains("bootstrap build --repair tool"), "{out}");
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
    assert!(err.contains("bootstrap verify --recover"), "{err}");
    let (out, _) = world.expect(0, &["verify", "--recover"]);
    assert!(out.contains(" items proven by their contents"), "{out}");
    let (after, _) = world.expect(0, &["verify", "--json"]);
    assert_eq!(before, after);
    let (_, err) = world.expect(1, &["verify", "--recover"]);
    assert!(err.contains("is whole"), "{err}");
    let (_, err) = world.expect(0, &["build", "tool"]);
    assert_eq!(err, "", "nothing is to be done");
}

/// How many runs are killed: `BOOTSTRAP_TEST_KILLS`, or a few.
fn kills() -> u32 {
    let number = std::env::var("BOOTSTRAP_TEST_KILLS").ok();
    number.and_then(|number| number.parse().ok()).unwrap_or(12)
}

#[test]
fn runs_killed_at_any_moment_leave_store_and_database_in_agreement() {
    let world = built();
    let mut random = 0x2545_f491_u32;
    for number in 0..kills() {
        // Another derivation each time, with all that comes after it.
        world.recipe("make", "[stage0]\n", &format!("write $out make {number}\n"));
        let mut run = world
            .command(&["build", "tool"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        std::thread::sleep(std::time::Duration::from_millis(
            u64::from(random >> 16) % 400,
        ));
        run.kill().unwrap();
        run.wait().unwrap();
        world.expect(0, &["verify"]);
    }
    world.expect(0, &["build", "tool"]);
    world.expect(0, &["gc"]);
    let (out, _) = world.expect(0, &["verify"]);
    assert!(!out.contains("unregistered"), "{out}");
}
