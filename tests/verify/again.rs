// SPDX-License-Identifier: GPL-3.0-or-later
//! Building again: the same bytes, or an account of the difference; and why something is built again.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::world::World;

#[path = "../small/mod.rs"]
mod small;
use small::on_small_disk;

#[test]
fn what_depends_on_nothing_is_reproducible_however_it_is_varied() {
    let world = World::new();
    world.tool("masked", "umask $out/umask\n");
    world.expect(0, &["build", "tool", "masked"]);
    let (out, _) = world.expect(
        0,
        &[
            "verify",
            "--rebuild",
            "--vary",
            "--rounds",
            "2",
            "tool",
            "masked",
        ],
    );
    assert!(out.contains("reproducible: tool:out /gnu/store/"), "{out}");
    assert!(out.contains("2 of 2 outputs the same in 2 rounds"), "{out}");
    assert!(out.contains("round 2: "), "{out}");
    // The umask that builds were given hides nothing from other users.
    let records = world.path("root/var/guix/bootstrap");
    for directory in [records.join("runs"), records] {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let mode = path.metadata().unwrap().permissions().mode() & 0o777;
            let is_record = path.extension().is_some_and(|end| end == "jsonl");
            assert!(!is_record || mode == 0o644, "{}: {mode:o}", path.display());
        }
    }
    let (out, _) = world.expect(0, &["verify", "--rebuild", "--json", "tool"]);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["outputs"][0]["result"], "reproducible");
    assert_eq!(document["rounds"], 1);
    let before = &document["outputs"][0]["rebuilt"];
    assert_eq!(before["rounds"], 2, "this one is not from before");
    // What was done before is reported by the next look.
    let (out, _) = world.expect(0, &["verify", "--json", "tool"]);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["rounds"], 0);
    let outputs = document["outputs"].as_array().unwrap();
    let of = |package: &str| {
        outputs
            .iter()
            .find(|output| output["package"] == package)
            .unwrap()
    };
    let rebuilt = &of("tool")["rebuilt"];
    assert_eq!(rebuilt["rounds"], 3);
    assert_eq!(rebuilt["same"], true);
    let varied = rebuilt["varied"].as_array().unwrap();
    assert!(varied.iter().any(|name| name == "umask"), "{varied:?}");
    assert!(!varied.iter().any(|name| name == "time"), "{varied:?}");
    assert_eq!(of("libc").get("rebuilt"), None);
    // The same by its path.
    let (path, _) = world.expect(0, &["path", "tool"]);
    let (by_path, _) = world.expect(0, &["verify", "--json", path.trim()]);
    let by_path: serde_json::Value = serde_json::from_str(&by_path).unwrap();
    assert_eq!(by_path["outputs"], document["outputs"]);
    let missing = path.replace("-tool", "-other");
    let (_, err) = world.expect(2, &["verify", missing.trim()]);
    assert!(err.contains(missing.trim()), "{err}");
}

#[test]
fn what_a_build_lets_in_is_found_and_named() {
    let world = World::new();
    world.tool("host", "hostname $out/made\n");
    world.tool("user", "user $out/made\n");
    world.tool("jobs", "write $out/made ran make -j$NIX_BUILD_CORES\n");
    world.tool("name", "copy /etc/passwd $out/made\n");
    world.tool("zone", "write $out/made the zone is $TZ\n");
    world.tool("named", "write $out/made in the language $LC_ALL\n");
    let packages = ["host", "user", "jobs", "name", "zone", "named"];
    world.expect(0, &[&["build"], &packages[..]].concat());
    // Without variation, that would stay unknown.
    world.expect(0, &[&["verify", "--rebuild"], &packages[..]].concat());
    let (out, err) = world.expect(
        3,
        &[&["verify", "--rebuild", "--vary"], &packages[..]].concat(),
    );
    for (package, cause) in [
        ("host", "the host name"),
        ("user", "the user's name or number"),
        ("jobs", "the number of processors or jobs"),
        ("name", "the user's name or number"),
        ("zone", "the time zone or locale"),
        ("named", "the time zone or locale"),
    ] {
        let start = out
            .find(&format!("differs in round 1: {package}:out"))
            .unwrap_or_else(|| panic!("{package}: {out}"));
        let account = &out[start..];
        let end = account[1..].find("differs in round").map(|end| end + 1);
        let account = &account[..end.unwrap_or(account.len())];
        assert!(account.contains(cause), "{package}: {account}");
        assert!(account.contains("made: "), "{package}: {account}");
    }
    assert!(err.contains("6 outputs came out differently"), "{err}");
    // Both are there.
    let place = world.place("host");
    let kept = format!("{}-check", place.display());
    assert_eq!(
        fs::read_to_string(place.join("made")).unwrap(),
        "localhost\n"
    );
    assert_eq!(
        fs::read_to_string(std::path::Path::new(&kept).join("made")).unwrap(),
        "elsewhere\n"
    );
    // The log shown is that of the first build.
    world.expect(0, &["log", "host"]);
}

#[test]
fn what_is_another_each_time_is_found_and_named_without_variation() {
    let world = World::new();
    world.tool("clock", "time $out/made\n");
    world.tool("path", "temporary $out/made\n");
    world.expect(0, &["build", "clock", "path"]);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    for (package, cause) in [
        ("clock", "a time stamp"),
        ("path", "a build path or temporary name"),
    ] {
        let (out, _) = world.expect(3, &["verify", "--rebuild", package]);
        assert!(
            out.contains("differs in round 1") && out.contains(cause),
            "{out}"
        );
    }
}

/// The names in a directory in which the files `names` were made in this order, as it lists them.
fn listing(directory: &std::path::Path, names: &[String]) -> Vec<String> {
    let directory = directory.join("listing");
    fs::create_dir(&directory).unwrap();
    for name in names {
        fs::write(directory.join(name), "x\n").unwrap();
    }
    let entries = fs::read_dir(&directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn the_order_of_directories_varies_with_the_file_system_or_the_document_says_that_it_does_not() {
    use std::os::unix::fs::MetadataExt;

    let world = World::new();
    let usual = world.path("tmp");
    fs::create_dir(&usual).unwrap();
    let names: Vec<String> = (0..24).map(|number| format!("n{number}")).collect();
    let files = names
        .iter()
        .map(|name| format!("write $NIX_BUILD_TOP/d/{name} x\n"));
    let phases = format!(
        "mkdir $NIX_BUILD_TOP/d\n{}list $out/made $NIX_BUILD_TOP/d\n",
        files.collect::<String>()
    );
    world.tool("order", &phases);
    let run = |status: i32, arguments: &[&str]| {
        let output = world.command(arguments).env("TMPDIR", &usual).output();
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(status), "{text}");
        text
    };
    let document = |status, directory: &std::path::Path| -> serde_json::Value {
        let directory = directory.to_str().unwrap();
        let arguments = [
            "verify",
            "--rebuild",
            "--vary",
            "--vary-directory",
            directory,
        ];
        let out = run(status, &[&arguments[..], &["--json", "order"]].concat());
        serde_json::from_str(&out).unwrap()
    };
    run(0, &["build", "order"]);
    // On the same file system nothing varies, and the report says so.
    let same = document(0, &usual);
    assert!(same["variations"][0].get("directory-order").is_none());
    let reason = same["not_varied"]["directory-order"].as_str().unwrap();
    assert!(reason.contains("is on the same file system as"), "{reason}");

    let Ok(other) = tempfile::tempdir_in("/dev/shm") else {
        return;
    };
    let device = |path: &std::path::Path| path.metadata().unwrap().dev();
    if device(other.path()) == device(&usual) {
        return;
    }
    let differ = listing(&usual, &names) != listing(other.path(), &names);
    let varied = document(if differ { 3 } else { 0 }, other.path());
    let order = varied["variations"][0]["directory-order"].as_str().unwrap();
    assert!(order.contains(other.path().to_str().unwrap()), "{order}");
    assert!(varied["not_varied"].get("directory-order").is_none());
    if differ {
        let detail = varied["outputs"][0]["detail"].as_str().unwrap();
        assert!(detail.contains("likely an order"), "{detail}");
    }
}

#[test]
fn each_round_is_told_and_recorded_and_a_difference_is_not_forgotten() {
    let world = World::new();
    world.tool("host", "hostname $out/made\n");
    world.expect(0, &["build", "host"]);
    let reported = || -> serde_json::Value {
        let (out, _) = world.expect(0, &["report", "--json"]);
        let report: serde_json::Value = serde_json::from_str(&out).unwrap();
        let items = report["items"].as_array().unwrap();
        items.iter().find(|item| item["label"] == "host").unwrap()["rebuilt"].clone()
    };
    assert_eq!(reported(), serde_json::Value::Null);
    world.expect(0, &["verify", "--rebuild", "host"]);
    assert_eq!(reported()["same"], true);

    let programs = world.path("programs");
    fs::create_dir(&programs).unwrap();
    fs::write(programs.join("diffoscope"), "").unwrap();
    let vary = ["verify", "--rebuild", "--vary", "--rounds", "2", "host"];
    let path = std::env::var_os("PATH").unwrap();
    let path = std::iter::once(programs).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(path).unwrap();
    let output = world.command(&vary).env("PATH", path).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{out}");
    let place = world.place("host").display().to_string();
    for (round, kept, made) in [
        (1, "-check", "elsewhere\n"),
        (2, "-check-2", "build-9.example.org\n"),
    ] {
        assert!(
            out.contains(&format!("differs in round {round}: host:out")),
            "{out}"
        );
        let kept = format!("{place}{kept}");
        assert!(
            out.contains(&format!("see more with `diffoscope {place} {kept}`")),
            "{out}"
        );
        assert_eq!(fs::read_to_string(format!("{kept}/made")).unwrap(), made);
    }
    assert!(out.contains("0 of 1 output the same in 2 rounds"), "{out}");
    let (out, _) = world.expect(3, &[&vary[..], &["--json"]].concat());
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["rounds"], 2);
    let begun = |round: usize| -> u64 {
        let time = document["variations"][round]["time"].as_str().unwrap();
        time.parse().unwrap()
    };
    assert!(begun(0) > 1_700_000_000 && begun(0) <= begun(1));

    // A plain second build is the same; what was seen stays so.
    world.expect(0, &["verify", "--rebuild", "host"]);
    let reported = reported();
    assert_eq!(reported["same"], false);
    assert_eq!(reported["rounds"], 6);
    let varied = reported["varied"].as_array().unwrap();
    assert!(varied.iter().any(|name| name == "host-name"), "{varied:?}");
    assert!(!varied.iter().any(|name| name == "time"), "{varied:?}");
}

#[test]
fn check_builds_first_and_then_again() {
    let world = World::new();
    let (out, _) = world.expect(0, &["build", "--check", "tool"]);
    assert!(out.contains("1 of 1 output the same in 1 round\n"), "{out}");
    world.tool("chance", "copy /proc/sys/kernel/random/uuid $out/made\n");
    let (out, _) = world.expect(3, &["build", "--check", "chance"]);
    assert!(out.contains("differs in round 1: chance:out"), "{out}");
    let made = |name: &str| fs::read(format!("{}{name}/made", world.place("chance").display()));
    assert_ne!(made("").unwrap(), made("-check").unwrap());
    world.tool("other", "write $out/x x\n");
    let (_, err) = world.expect(2, &["verify", "--rebuild", "libc", "other"]);
    assert!(err.contains("is not valid: it has not been built"), "{err}");
}

#[test]
fn a_second_build_that_fails_is_no_difference() {
    let world = World::new();
    world.tool("once", "copy $probe$TZ/dev/null $out/x\n");
    world.expect(0, &["build", "once"]);
    world.expect(0, &["verify", "--rebuild", "once"]);
    let (out, err) = world.expect(1, &["verify", "--rebuild", "--vary", "once"]);
    assert!(out.contains("failed: once: round 1"), "{out}");
    assert!(err.contains("1 package could not be built again"), "{err}");
}

#[test]
fn a_full_disk_is_the_machines_fault_and_changes_nothing() {
    let test = "again::a_full_disk_is_the_machines_fault_and_changes_nothing";
    on_small_disk(test, |place| {
        let world = World::new();
        let copy = "copy /proc/self/exe $NIX_BUILD_TOP/copy\nwrite $out/x x\n";
        world.tool("large", copy);
        world.expect(0, &["build", "large"]);
        // Where the second build has its directory, there is hardly any space.
        let filler = place.join("filler");
        assert!(fs::write(&filler, vec![0; 32 << 20]).is_err());
        let file = fs::File::options().write(true).open(filler).unwrap();
        file.set_len(file.metadata().unwrap().len() - (256 << 10))
            .unwrap();
        let output = world
            .command(&["verify", "--rebuild", "large"])
            .env("TMPDIR", place)
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(5), "{output:?}");
        assert!(out.contains("failed: large: round 1"), "{out}");
        world.expect(0, &["verify"]);
    });
}

#[test]
fn a_store_that_is_full_while_something_is_built_again_stays_as_it_was() {
    let test = "again::a_store_that_is_full_while_something_is_built_again_stays_as_it_was";
    on_small_disk(test, |place| {
        let world = World::at(place.join("world"));
        world.tool("greedy", "write $out/x x\nfill $out/zeros $TZ\n");
        world.expect(0, &["build", "greedy", "tool"]);
        let (before, _) = world.expect(0, &["verify", "--json"]);
        let (out, err) = world.expect(5, &["verify", "--rebuild", "--vary", "greedy"]);
        // Its log may be what has no room first.
        assert!(
            out.contains(": round 1: ") && out.contains("greedy"),
            "{out}"
        );
        assert!(out.to_lowercase().contains("no space left"), "{out}");
        assert!(err.contains("could not be built again"), "{err}");
        let (after, _) = world.expect(0, &["verify", "--json"]);
        assert_eq!(before, after);
        // There is room again.
        world.expect(0, &["verify", "--rebuild", "greedy", "tool"]);
    });
}

#[test]
fn a_package_is_built_again_while_garbage_is_collected() {
    let world = World::new();
    // What is needed last, nothing but the second build itself keeps.
    world.tool("slow", "sleep 5000\ncopy $input_bash/bin/bash $out/x\n");
    world.expect(0, &["build", "--add-root", "slow", "slow"]);
    bootstrap::store::remove::remove_tree(&world.path("root/var/guix/gcroots/bootstrap")).unwrap();
    let bash = world.place("bash");
    // A collector waits for the disk, and that for all that others write: as long as the build, now and then.
    for _ in 0..8 {
        world.expect(0, &["gc"]);
        assert!(!bash.exists());
        let (status, collections) = world.collect_beside(&["verify", "--rebuild", "slow"]);
        assert!(status.success(), "{status}");
        world.expect(0, &["verify"]);
        if collections > 1 {
            return;
        }
    }
    panic!("no collector has ended while a build was running");
}

#[test]
fn explain_names_the_change_that_others_follow_from() {
    let world = World::new();
    let (out, _) = world.expect(0, &["explain", "tool"]);
    assert!(out.contains("no earlier build is recorded here"), "{out}");
    world.expect(0, &["build", "tool"]);
    let (out, _) = world.expect(0, &["explain", "tool"]);
    assert!(out.contains("tool is built, and no other build"), "{out}");

    world.recipe("make", "[stage0]\n", "write $out make 1.1\n");
    let (out, _) = world.expect(0, &["explain", "tool"]);
    assert!(out.contains("tool would be built again"), "{out}");
    let reasons: Vec<&str> = out.lines().skip(2).map(str::trim_start).collect();
    assert_eq!(
        reasons,
        ["stage0/make: make-phases.sh has other contents"],
        "{out}"
    );
    let (_, err) = world.expect(0, &["build", "tool"]);
    assert!(
        err.contains("tool: built again because of stage0/make (make-phases.sh)"),
        "{err}"
    );
    // Nothing is to be done, and nothing is said.
    let (_, err) = world.expect(0, &["build", "tool"]);
    assert_eq!(err, "");
    let (out, _) = world.expect(0, &["explain", "--json", "tool"]);
    let explained: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(explained["built"], true);
    assert_eq!(explained["reasons"][0]["of"], "stage0/make");

    // What was only removed has not changed.
    bootstrap::store::remove::remove_tree(&world.path("root/var/guix/gcroots/bootstrap")).unwrap();
    world.expect(0, &["gc"]);
    let (out, _) = world.expect(0, &["explain", "tool"]);
    assert!(
        out.contains("and its outputs are no longer in the store"),
        "{out}"
    );
}

#[test]
fn explain_follows_no_link_in_the_store() {
    let world = World::new();
    world.expect(0, &["build", "tool"]);
    world.recipe("make", "[stage0]\n", "write $out make 1.1\n");
    let (out, _) = world.expect(0, &["explain", "tool"]);
    assert!(out.contains("make-phases.sh has other contents"), "{out}");
    let outside = world.path("outside");
    fs::create_dir(&outside).unwrap();
    let mut links = 0;
    for entry in fs::read_dir(world.path("root/gnu/store")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "drv") {
            links += 1;
            let moved = outside.join(path.file_name().unwrap());
            fs::rename(&path, &moved).unwrap();
            std::os::unix::fs::symlink(&moved, &path).unwrap();
        }
    }
    assert!(links > 0);
    let (out, _) = world.expect(0, &["explain", "tool"]);
    assert!(!out.contains("make-phases.sh"), "{out}");
}

#[test]
fn what_was_imported_is_built_again_with_the_sources_that_it_came_without() {
    let world = World::new();
    world.expect(0, &["build", "tool"]);
    let key = world.path("key").display().to_string();
    let (public, _) = world.expect(0, &["key", "test-1", &key]);
    let site = world.path("site");
    // A server has what its build needs.
    let site_name = site.to_str().unwrap();
    let publish = ["publish", site_name, "--key", &key];
    let needed = ["bash", "stage0/make", "libc"];
    world.expect(0, &[&publish[..], &needed].concat());
    let exported = world.path("tool.export").display().to_string();
    world.expect(0, &["export", "-o", &exported, "tool"]);

    let place = tempfile::tempdir().unwrap();
    let other = World::at(place.path().to_owned());
    for folder in ["recipes", "seeds", "stage0"] {
        copy(&world.path(folder), &other.path(folder));
    }
    copy(&world.path("root/var/cache"), &other.path("root/var/cache"));
    other.expect(0, &["import", "--unsigned", &exported]);
    // Neither its derivation nor the phases that it was built with are there.
    let entries = fs::read_dir(other.path("root/gnu/store")).unwrap();
    for entry in entries {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            !name.ends_with(".drv") && !name.ends_with("-tool-phases.sh"),
            "{name}"
        );
    }
    let url = format!("file://{}", site.display());
    let server = ["--substitute-urls", &url, "--trusted-keys", public.trim()];
    let (out, _) = other.expect(0, &[&["verify", "--rebuild", "tool"][..], &server].concat());
    assert!(out.contains("1 of 1 output the same"), "{out}");
    other.expect(0, &[&["build", "--check", "tool"][..], &server].concat());
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-R")
        .args([from, to])
        .status();
    assert!(copied.unwrap().success());
}
