// SPDX-License-Identifier: GPL-3.0-or-later
//! Others: a lock, another seed, other tools.

use std::fs;

use crate::world::World;

#[test]
fn a_lock_is_written_compared_and_kept_up() {
    let world = World::new();
    world.tool("host", "hostname $out/made\n");
    let (_, err) = world.expect(2, &["verify", "--lock"]);
    assert!(err.contains("the lock bootstrap.lock is missing"), "{err}");
    world.expect(0, &["build", "tool", "host"]);
    let (_, err) = world.expect(0, &["lock"]);
    assert!(err.contains("outputs of the seed one"), "{err}");
    let (out, _) = world.expect(0, &["verify", "--lock"]);
    assert!(
        out.contains("bootstrap.lock: ") && out.contains(" the same"),
        "{out}"
    );
    let (out, _) = world.expect(0, &["verify", "--lock", "--json", "tool"]);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["checks"], serde_json::json!(["store", "lock"]));
    assert_eq!(document["lock"]["same"], 1);
    let (path, _) = world.expect(0, &["path", "tool"]);
    let (out, _) = world.expect(0, &["verify", "--lock", "--json", path.trim_end()]);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["lock"]["same"], 1);
    let before = fs::read_to_string(world.path("bootstrap.lock")).unwrap();
    world.expect(0, &["lock"]);
    let after = fs::read_to_string(world.path("bootstrap.lock")).unwrap();
    assert_eq!(before, after);

    // Another recipe is not a difference.
    world.tool("tool", "write $out/tool another\n");
    world.expect(0, &["build", "tool"]);
    let (out, _) = world.expect(0, &["verify", "--lock"]);
    assert!(
        out.contains("other derivation than in the lock: tool:out"),
        "{out}"
    );

    // Other bytes of the same derivation are.
    let hash = before
        .lines()
        .skip_while(|line| !line.contains("derivation host "))
        .nth(1)
        .and_then(|line| line.split(' ').rev().nth(1))
        .unwrap();
    let body = before.replace(hash, &"0".repeat(64));
    let body = &body[..body.rfind("sum ").unwrap()];
    let sum = bootstrap::formats::hash::Sha256Digest::of(body);
    world.file("other.lock", &format!("{body}sum {sum}\n"));
    let (out, _) = world.expect(3, &["verify", "--lock=other.lock", "host"]);
    assert!(out.contains("differs from the lock: host:out"), "{out}");
    let (out, _) = world.expect(3, &["verify", "--lock=other.lock", "--json", "host"]);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["lock"]["different"], 1);
    assert_eq!(document["good"], false);
    assert_eq!(document["checks"], serde_json::json!(["store", "lock"]));

    // A damaged lock is not a lock.
    world.file("other.lock", &before.replacen('a', "b", 1));
    let (_, err) = world.expect(3, &["verify", "--lock=other.lock"]);
    assert!(err.contains("was changed since it was written"), "{err}");
    // It may hold the records of other seeds, so it is not overwritten; what to do works.
    let (_, err) = world.expect(3, &["lock", "other.lock"]);
    assert!(
        err.contains("hint: ") && err.contains("move it away"),
        "{err}"
    );
    std::fs::rename(world.path("other.lock"), world.path("old.lock")).unwrap();
    world.expect(0, &["lock", "other.lock"]);
    world.expect(0, &["verify", "--lock=other.lock", "host"]);
}

#[test]
fn names_with_line_breaks_and_escapes_are_shown_on_one_line() {
    let world = World::new();
    world.expect(0, &["build", "tool"]);
    let hostile = "a\u{1b}[2J\nfailed";
    let tool = world.place("tool");
    let store = tool.parent().unwrap();
    std::fs::write(store.join(hostile), "").unwrap();
    let roots = world.path("root/var/guix/gcroots");
    let logical = std::path::Path::new("/gnu/store").join(tool.file_name().unwrap());
    std::os::unix::fs::symlink(logical, roots.join(hostile)).unwrap();
    world.file(&format!("{hostile}/x"), "");
    let lock = format!("{hostile}/lock");
    let derivation = format!("/gnu/store/{hostile}.drv");
    let cases: [(i32, &[&str]); 9] = [
        (0, &["verify"]),
        (0, &["gc", "--dry-run"]),
        (0, &["roots"]),
        (0, &["lock", &lock]),
        (0, &["report", "-o", &lock]),
        (2, &["seed", "show", hostile]),
        (2, &["build", &derivation]),
        (2, &["path", hostile]),
        (2, &["import", &derivation]),
    ];
    for (status, arguments) in cases {
        let (out, err) = world.expect(status, arguments);
        let text = out + &err;
        assert!(text.contains("\\nfailed"), "{arguments:?}: {text}");
        assert!(!text.contains('\u{1b}'), "{arguments:?}: {text:?}");
        assert!(!text.contains("\nfailed"), "{arguments:?}: {text}");
    }
}

#[test]
fn a_lock_of_another_seed_says_nothing() {
    let world = World::new();
    world.expect(0, &["build", "stage0/make"]);
    world.expect(0, &["lock"]);
    world.expect(0, &["--seed", "two", "build", "stage0/make"]);
    let (out, err) = world.expect(3, &["--seed", "two", "verify", "--lock"]);
    assert!(
        out.contains("nothing is recorded for the seed two"),
        "{out}"
    );
    assert!(
        err.contains("nothing was compared with bootstrap.lock"),
        "{err}"
    );
    // Nor does the document: what was not compared was not checked.
    let (out, _) = world.expect(3, &["--seed", "two", "verify", "--lock", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["checks"], serde_json::json!(["store"]));
    assert_eq!(document["lock"]["same"], 0);
    world.expect(0, &["--seed", "two", "lock"]);
    for seed in ["one", "two"] {
        let (out, _) = world.expect(0, &["--seed", seed, "verify", "--lock", "stage0/make"]);
        assert!(out.contains("1 the same"), "{out}");
    }
}

#[test]
fn two_seeds_that_leave_no_trace_end_in_the_same_outputs() {
    let world = World::new();
    let (out, _) = world.expect(0, &["verify", "--diverse", "one", "two", "tool", "libc"]);
    assert!(out.contains("the same: tool:out"), "{out}");
    assert!(
        out.contains("3 of 3 outputs the same, but for store hashes"),
        "{out}"
    );
    // What was built is kept.
    let (out, _) = world.expect(0, &["roots"]);
    assert!(out.contains("diverse/two"), "{out}");
    let (_, err) = world.expect(2, &["verify", "--diverse", "one", "one"]);
    assert!(err.contains("compares two seeds"), "{err}");
    // Another name makes no other seed.
    let one = fs::read_to_string(world.path("seeds/one.toml")).unwrap();
    let again = one.replacen("name = \"one\"", "name = \"again\"", 1);
    world.file("seeds/again.toml", &again);
    let (_, err) = world.expect(2, &["verify", "--diverse", "one", "again"]);
    assert!(err.contains("are two names of the one"), "{err}");
}

#[test]
fn outputs_that_are_not_what_was_registered_are_not_called_the_same() {
    let world = World::new();
    let arguments = ["verify", "--diverse", "one", "two", "tool", "libc"];
    world.expect(0, &arguments);
    let file = world.place("tool").join("tool");
    let mode = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(&file, mode).unwrap();
    };
    let content = fs::read(&file).unwrap();
    mode(0o644);
    fs::write(&file, "something else\n").unwrap();
    let (out, err) = world.expect(3, &arguments);
    assert!(out.contains("not compared: tool:out\n"), "{out}");
    assert!(out.contains(", from the seed one: altered: "), "{out}");
    assert!(out.contains("2 of 3 outputs the same"), "{out}");
    assert!(
        err.contains("1 output is not as it was registered"),
        "{err}"
    );
    let (out, _) = world.expect(3, &[&arguments[..], &["--json"]].concat());
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["good"], false);
    let outputs = document["outputs"].as_array().unwrap();
    let tool = outputs.iter().find(|output| output["package"] == "tool");
    assert_eq!(tool.unwrap()["result"], "altered");
    // The fixpoint is no other.
    let (out, _) = world.expect(3, &["verify", "--fixpoint", "tool"]);
    assert!(out.contains("not compared: tool:out\n"), "{out}");
    // Right contents with a wrong mode are not as they should be either.
    fs::write(&file, content).unwrap();
    let (out, _) = world.expect(3, &arguments);
    assert!(out.contains(", from the seed one: touched: "), "{out}");
}

#[test]
fn a_path_of_the_seed_or_of_stage0_is_a_trace_though_it_is_compressed() {
    let world = World::new();
    world.recipe(
        "libc",
        "[libc]\noutputs = [\"out\", \"static\"]\n",
        "gzip $out in $seed\nwrite $static x\n",
    );
    world.tool("late", "gzip $out/late.gz made by $input_make\n");
    world.tool("tool", "gzip $out/tool.gz a tool in $out for $input_libc\n");
    let (out, err) = world.expect(
        3,
        &["verify", "--diverse", "one", "two", "tool", "late", "libc"],
    );
    assert!(out.contains("the same: tool:out"), "{out}");
    assert!(out.contains("the same: libc:static"), "{out}");
    assert!(out.contains("differs: libc:out"), "{out}");
    assert!(out.contains("differs: late:out"), "{out}");
    assert!(err.contains("2 outputs differ"), "{err}");
}

#[test]
fn the_document_about_two_seeds_holds_both_seeds_and_both_outputs() {
    let world = World::new();
    let arguments = [
        "verify",
        "--diverse",
        "one",
        "two",
        "--json",
        "tool",
        "libc",
    ];
    let (out, _) = world.expect(0, &arguments);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    let names: Vec<&str> = document["seeds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|seed| seed["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["one", "two"]);
    assert_ne!(
        document["seeds"][0]["sha256"],
        document["seeds"][1]["sha256"]
    );
    let plans = document["plans"].as_array().unwrap();
    assert_eq!(plans.len(), 2);
    assert_ne!(plans[0]["sha256"], plans[1]["sha256"]);
    for output in document["outputs"].as_array().unwrap() {
        assert_eq!(output["result"], "equivalent");
        assert_eq!(output["made"], "from the seed one");
        let second = &output["second"];
        assert_eq!(second["made"], "from the seed two", "{output}");
        assert_ne!(second["path"], output["path"], "{output}");
        assert!(second["size"].as_u64().unwrap() > 0, "{output}");
        let path = second["path"].as_str().unwrap();
        let recorded: String = world
            .database()
            .query_row(
                "SELECT hash FROM ValidPaths WHERE path = ?1",
                [path],
                |row| row.get(0),
            )
            .unwrap();
        let sha256 = second["sha256"].as_str().unwrap();
        assert_eq!(recorded, format!("sha256:{sha256}"));
    }
    world.file("a.json", &out);
    let (compared, _) = world.expect(0, &["verify", "--compare", "a.json", "a.json"]);
    assert!(compared.contains("6 outputs the same"), "{compared}");
    // The other way round it is the same.
    let turned = [
        "verify",
        "--diverse",
        "two",
        "one",
        "--json",
        "tool",
        "libc",
    ];
    let (turned, _) = world.expect(0, &turned);
    world.file("turned.json", &turned);
    let (compared, _) = world.expect(0, &["verify", "--compare", "a.json", "turned.json"]);
    assert!(
        compared.contains("6 outputs the same, 0 differ, 0 cannot"),
        "{compared}"
    );
    // And one seed alone has half of it.
    let (alone, _) = world.expect(0, &["--seed", "two", "verify", "--json", "tool"]);
    world.file("alone.json", &alone);
    let (compared, _) = world.expect(0, &["verify", "--compare", "a.json", "alone.json"]);
    assert!(
        compared.contains("2 outputs the same, 0 differ"),
        "{compared}"
    );
    let second = document["outputs"][0]["second"]["sha256"].as_str().unwrap();
    world.file("b.json", &out.replace(second, &"0".repeat(64)));
    world.expect(3, &["verify", "--compare", "a.json", "b.json"]);
}

#[test]
fn documents_that_say_nothing_of_each_other_do_not_agree() {
    let world = World::new();
    world.expect(0, &["build", "tool"]);
    let (first, _) = world.expect(0, &["verify", "--json", "tool"]);
    world.file("a.json", &first);
    world.expect(0, &["--seed", "two", "build", "tool"]);
    let (second, _) = world.expect(0, &["--seed", "two", "verify", "--json", "tool"]);
    world.file("b.json", &second);
    let (out, err) = world.expect(3, &["verify", "--compare", "a.json", "b.json"]);
    assert!(out.contains("other origin: seed one"), "{out}");
    assert!(out.contains("other derivation: tool:out"), "{out}");
    assert!(err.contains("have no output in common"), "{err}");
    world.file(
        "b.json",
        &first.replacen("\"good\": true", "\"good\": false", 1),
    );
    let (out, _) = world.expect(3, &["verify", "--compare", "a.json", "b.json"]);
    assert!(out.contains("damage: the second reports problems"), "{out}");
}

#[test]
fn a_trace_of_the_seed_is_shown() {
    let world = World::new();
    world.recipe(
        "libc",
        "[libc]\noutputs = [\"out\", \"static\"]\n",
        "copy /share/name $out\nwrite $static x\n",
    );
    let (out, err) = world.expect(3, &["verify", "--diverse", "one", "two", "tool", "libc"]);
    assert!(out.contains("the same: tool:out"), "{out}");
    assert!(out.contains("differs: libc:out"), "{out}");
    assert!(out.contains("first") && out.contains("second"), "{out}");
    assert!(err.contains("1 output differs"), "{err}");
}

#[test]
fn the_fixpoint_is_reached_where_tools_leave_no_trace() {
    let world = World::new();
    let (out, _) = world.expect(0, &["verify", "--fixpoint", "tool"]);
    assert!(out.contains("the same: tool:out"), "{out}");
    // What refers to another final package refers to the same one both times.
    world.tool("script", "write $out/script #!$input_bash/bin/bash\n");
    let (out, _) = world.expect(0, &["verify", "--fixpoint", "bash", "script"]);
    assert!(out.contains("2 of 2 outputs the same"), "{out}");
    let (_, err) = world.expect(2, &["verify", "--fixpoint", "stage0/make"]);
    assert!(err.contains("stage0/make is not a final package"), "{err}");
}

#[test]
fn a_trace_of_the_tools_keeps_the_fixpoint_from_being_reached() {
    let world = World::new();
    world.recipe(
        "bash",
        "[stage0]\n\n[final]\nreplace-inputs = [\"libc\", \"stage0/make\", \"stage0/bash\"]\n",
        // The shell that it is built with, and one line more.
        "mkdir $out\nmkdir $out/bin\ncopy /proc/self/exe $out/bin/bash\nwrite $out/bin/bash trace\n",
    );
    let (out, err) = world.expect(3, &["verify", "--fixpoint", "bash", "tool"]);
    assert!(out.contains("the same: tool:out"), "{out}");
    assert!(out.contains("differs: bash:out"), "{out}");
    assert!(
        out.contains("first, built with stage0's tools: /gnu/store/")
            && out.contains("second, built with the final tools: /gnu/store/"),
        "{out}"
    );
    assert!(out.contains("  bin/bash: "), "{out}");
    assert!(err.contains("1 output differs"), "{err}");
    let (out, _) = world.expect(3, &["verify", "--fixpoint", "--json", "bash"]);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["good"], false);
    let bash = &document["outputs"][0];
    assert_eq!(bash["result"], "differs");
    assert_eq!(bash["second"]["made"], "built with the final tools");
    assert_ne!(bash["second"]["sha256"], bash["sha256"]);
}

#[test]
fn collecting_garbage_can_take_derivations_too() {
    let world = World::new();
    world.expect(0, &["build", "tool"]);
    let derivations = || {
        let store = fs::read_dir(world.path("root/gnu/store")).unwrap();
        store
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_str().unwrap().ends_with(".drv")
            })
            .count()
    };
    let all = derivations();
    world.expect(0, &["gc", "--dry-run", "--keep-derivations=no"]);
    assert_eq!(derivations(), all);
    world.expect(0, &["gc"]);
    assert!(derivations() > 0);
    world.expect(0, &["gc", "--keep-derivations=no"]);
    assert_eq!(derivations(), 0);
    world.expect(0, &["verify", "tool"]);
    let (_, err) = world.expect(2, &["gc", "--keep-derivations=perhaps"]);
    assert!(err.contains("expected `yes` or `no`"), "{err}");
}
