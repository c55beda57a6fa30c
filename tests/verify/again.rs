//! Building again: the same bytes, or an account of the difference; and why something is built again.

use std::fs;

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
    let (out, _) = world.expect(0, &["verify", "--rebuild", "--json", "tool"]);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["outputs"][0]["result"], "reproducible");
    assert_eq!(document["rounds"], 1);
}

#[test]
fn what_a_build_lets_in_is_found_and_named() {
    let world = World::new();
    world.tool("host", "hostname $out/made\n");
    world.tool("user", "user $out/made\n");
    world.tool("jobs", "write $out/made ran make -j$NIX_BUILD_CORES\n");
    let packages = ["host", "user", "jobs"];
    world.expect(0, &[&["build"], &packages[..]].concat());
    // Without variation, nobody would know.
    world.expect(0, &[&["verify", "--rebuild"], &packages[..]].concat());
    let (out, err) = world.expect(
        3,
        &[&["verify", "--rebuild", "--vary"], &packages[..]].concat(),
    );
    for (package, cause) in [
        ("host", "the host name"),
        ("user", "the user's name or number"),
        ("jobs", "the number of processors or jobs"),
    ] {
        let start = out
            .find(&format!("differs in round 1: {package}:out"))
            .unwrap_or_else(|| panic!("{package}: {out}"));
        let rest = &out[start..];
        assert!(rest[1..].find(cause).is_some(), "{package}: {out}");
    }
    assert!(out.contains("made: "), "{out}");
    assert!(err.contains("3 outputs came out differently"), "{err}");
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
fn check_builds_first_and_then_again() {
    let world = World::new();
    let (out, _) = world.expect(0, &["build", "--check", "tool"]);
    assert!(
        out.contains("1 of 1 outputs the same in 1 round\n"),
        "{out}"
    );
    world.tool("other", "write $out/x x\n");
    let (_, err) = world.expect(1, &["verify", "--rebuild", "libc", "other"]);
    assert!(
        err.contains("is not valid: nothing has built it yet"),
        "{err}"
    );
}

#[test]
fn a_second_build_that_fails_is_no_difference() {
    let world = World::new();
    world.tool("once", "copy $probe$TZ/dev/null $out/x\n");
    world.expect(0, &["build", "once"]);
    world.expect(0, &["verify", "--rebuild", "once"]);
    let (out, err) = world.expect(1, &["verify", "--rebuild", "--vary", "once"]);
    assert!(out.contains("failed: once: round 1"), "{out}");
    assert!(err.contains("1 packages could not be built again"), "{err}");
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
fn a_package_is_built_again_while_garbage_is_collected() {
    let world = World::new();
    world.tool("slow", "sleep 1500\nwrite $out/x x\n");
    world.expect(0, &["build", "slow"]);
    let mut rebuild = world
        .command(&["verify", "--rebuild", "slow"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut collections = 0;
    let status = loop {
        world.expect(0, &["gc"]);
        collections += 1;
        if let Some(status) = rebuild.try_wait().unwrap() {
            break status;
        }
    };
    assert!(
        status.success() && collections > 1,
        "{status} {collections}"
    );
    world.expect(0, &["verify"]);
}

#[test]
fn explain_names_the_change_that_others_follow_from() {
    let world = World::new();
    let (out, _) = world.expect(0, &["explain", "tool"]);
    assert!(
        out.contains("for the first time as far as is known"),
        "{out}"
    );
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
        out.contains("its outputs are not in the store any more"),
        "{out}"
    );
}

#[test]
fn a_failed_build_without_a_terminal_gets_no_shell_but_its_directory_is_kept() {
    let world = World::new();
    world.tool("broken", "write $NIX_BUILD_TOP/trace x\nfail now\n");
    let temporary = world.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let output = world
        .command(&["build", "--shell-on-failure", "broken"])
        .env("TMPDIR", &temporary)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(
        err.contains("no shell for broken: standard input is no terminal"),
        "{err}"
    );
    let kept = temporary.join("guix-build-broken-1.0.drv-0");
    assert!(kept.join("trace").exists());
}
