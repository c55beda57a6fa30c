// SPDX-License-Identifier: GPL-3.0-or-later
//! Damage: found, reported and repaired.

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

/// Flips a bit of a file in the store and hides it.
fn flip_in(file: &Path) {
    set_mode(file, 0o644);
    let mut bytes = fs::read(file).unwrap();
    bytes[3] ^= 1;
    fs::write(file, bytes).unwrap();
    set_mode(file, 0o444);
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
    fs::File::open(file).unwrap().set_modified(time).unwrap();
}

/// Flips a bit of the tool and hides it.
fn flip(world: &World) {
    flip_in(&world.place("tool").join("tool"));
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
    assert!(err.contains("repaired; the damaged copy is "), "{err}");
    assert_eq!(fs::read(world.place("tool").join("tool")).unwrap(), good);
    let (out, _) = world.expect(0, &["verify"]);
    assert!(out.contains("-tool-1.0-damaged"), "the copy is kept: {out}");
    // No process uses it any more.
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
    assert!(err.contains("no damage found"), "{err}");
}

#[test]
fn a_removed_file_and_a_touched_one_are_told_apart_and_put_right() {
    let world = built();
    let item = world.place("tool");
    let file = item.join("tool");
    let touched = fs::File::open(&file).unwrap();
    touched.set_modified(std::time::SystemTime::now()).unwrap();
    let (out, _) = world.expect(3, &["verify"]);
    assert!(out.contains("touched: /gnu/store/"), "{out}");
    assert!(!out.contains("altered"), "{out}");
    let (_, err) = world.expect(0, &["build", "--repair", "tool"]);
    assert!(err.contains("times, modes and owners repaired"), "{err}");
    world.expect(0, &["verify"]);

    set_mode(&item, 0o755);
    fs::remove_file(&file).unwrap();
    set_mode(&item, 0o555);
    let (out, _) = world.expect(3, &["verify"]);
    assert!(out.contains("altered: /gnu/store/"), "{out}");
    world.expect(0, &["build", "--repair", "tool"]);
    world.expect(0, &["verify"]);
    assert!(file.exists());
}

#[test]
fn what_a_damaged_item_is_built_with_is_put_right_before_it() {
    let world = World::new();
    // It does not refer to what it is made of.
    world.tool("copied", "copy $input_libc $out/libc\n");
    world.expect(0, &["build", "copied"]);
    let copied = world.place("copied").join("libc");
    for file in [&world.place("libc"), &copied] {
        flip_in(file);
    }
    world.expect(0, &["build", "--repair", "copied"]);
    assert_eq!(fs::read_to_string(copied).unwrap(), "libc\n");
    world.expect(0, &["verify"]);
}

#[test]
fn a_second_build_that_differs_is_kept_beside_and_changes_no_record() {
    let world = World::new();
    world.tool("path", "temporary $out/made\n");
    world.recipe(
        "user",
        "[final]\nreplace-inputs = [\"bash\", \"libc\", \"path\", \"stage0/make\"]\n",
        "mkdir $out\ncopy $input_path/made $out/made\n",
    );
    world.expect(0, &["build", "user"]);
    let recorded = || -> Vec<String> {
        let database = world.database();
        let mut query = database
            .prepare("SELECT hash FROM ValidPaths ORDER BY path")
            .unwrap();
        let rows = query.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    let before = recorded();
    let (item, user) = (world.place("path"), world.place("user"));
    flip_in(&item.join("made"));
    flip_in(&user.join("made"));
    let (_, err) = world.expect(3, &["build", "--repair", "user"]);
    assert!(
        err.contains("The item is unchanged, the new output is "),
        "{err}"
    );
    assert!(err.contains("user: not built again, since path, "), "{err}");
    assert!(
        err.contains("2 packages could not be repaired: path, user"),
        "{err}"
    );
    let kept = |item: &Path| format!("{}-check", item.display());
    assert!(Path::new(&kept(&item)).exists() && !Path::new(&kept(&user)).exists());
    // One that is gone altogether is no other case.
    bootstrap::store::remove::remove_tree(&item).unwrap();
    let (_, err) = world.expect(3, &["build", "--repair", "path"]);
    assert!(
        err.contains("1 package could not be repaired: path"),
        "{err}"
    );
    let (out, _) = world.expect(3, &["verify"]);
    assert!(
        out.contains("missing: ") && out.contains("altered: "),
        "{out}"
    );
    assert_eq!(recorded(), before);
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
    assert!(err.contains("repaired"), "{err}");
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
    let key = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
    let wanted = |status, second: &str, key: &str| {
        let arguments = ["verify", "--compare", "a.json", second, "--signed-by", key];
        world.expect(status, &arguments).1
    };
    wanted(0, "a.json", key);
    let err = wanted(3, "b.json", key);
    assert!(err.contains("b.json is not signed"), "{err}");
    let err = wanted(3, "a.json", &"0".repeat(64));
    assert!(
        err.contains("a.json is signed by the Ed25519 key 19bf44"),
        "{err}"
    );
    wanted(2, "a.json", "recipes/tool/recipe.toml");
    let (_, err) = world.expect(2, &["verify", "--signed-by", key]);
    assert!(err.contains("--compare"), "{err}");
    // A reader of the first of two members would see what was not signed.
    world.file("c.json", &signed.replacen('{', "{\n  \"good\": true,", 1));
    let (_, err) = world.expect(2, &["verify", "--compare", "c.json", "a.json"]);
    assert!(err.contains("the member `good` occurs twice"), "{err}");
    world.file("a.json", &signed.replacen("\"intact\"", "\"altered\"", 1));
    let (_, err) = world.expect(3, &["verify", "--compare", "a.json", "b.json"]);
    assert!(err.contains("changed after it was signed"), "{err}");
    let (_, err) = world.expect(2, &["verify", "--sign", "recipes/tool/recipe.toml"]);
    assert!(err.contains("openssl genpkey"), "{err}");
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
