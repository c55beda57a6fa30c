// SPDX-License-Identifier: GPL-3.0-or-later
//! Help, wrong usage, and the exit status of each kind of failure.

use std::collections::BTreeSet;
use std::path::Path;

use bootstrap::formats::hash::Sha256Digest;

use crate::{HASH, World, bootstrap};

#[test]
fn help_names_every_command_and_every_exit_status() {
    let output = bootstrap().arg("-h").output().unwrap();
    assert!(output.status.success());
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}

#[test]
fn every_command_has_help_of_its_own() {
    let commands = [
        "all",
        "build",
        "explain",
        "fetch",
        "verify",
        "lock",
        "list",
        "show",
        "path",
        "log",
        "graph",
        "report",
        "shell",
        "export",
        "import",
        "publish",
        "key",
        "daemon",
        "top",
        "doctor",
        "config",
        "man",
        "gc",
        "roots",
        "seed",
        "completions",
    ];
    for command in commands {
        let output = bootstrap().args([command, "--help"]).output().unwrap();
        assert!(output.status.success(), "{command}");
        assert!(output.stderr.is_empty(), "{command}");
        let help = String::from_utf8(output.stdout).unwrap();
        let (_, examples) = help.split_once("\nExamples:\n").expect(command);
        let calls = examples.matches("bootstrap ").count();
        assert!(calls >= 2 && examples.contains(command), "{help}");
    }
    // None is forgotten here.
    let output = bootstrap().arg("-h").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let (_, rest) = help.split_once("Commands:\n").unwrap();
    let (list, _) = rest.split_once("\n\n").unwrap();
    let listed = list.lines().filter_map(|line| {
        let name = line.strip_prefix("  ")?;
        let name = name.split(' ').next()?;
        (!name.is_empty()).then_some(name)
    });
    assert_eq!(listed.collect::<BTreeSet<_>>(), BTreeSet::from(commands));
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_right() {
    let cases: [(&[&str], &str); 9] = [
        (&[], "Usage: bootstrap"),
        (&["bulid"], "'build'"),
        (&["build"], "<PKG>"),
        (&["list", "-j", "0"], "0 is not in 1.."),
        (
            &["list", "--system", "x86_64-hurd"],
            "expected one of x86_64-freebsd, x86_64-linux",
        ),
        (&["list", "-q", "-v"], "cannot be used with"),
        (&["gc", "--max-freed", "much"], "is not a size"),
        (&["list", "--progress", "loud"], "auto, plain, json"),
        (&["list", "--store-dir", "gnu/store"], "--store-dir"),
    ];
    for (arguments, message) in cases {
        let output = bootstrap().args(arguments).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(message), "{arguments:?}: {text}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn unknown_packages_and_seeds_are_wrong_usage_too() {
    let world = World::with_recipes();
    for command in ["build", "fetch", "show", "path", "log", "graph"] {
        let (_, err) = world.expect(2, &[command, "toll"]);
        let list = world.command_line("list");
        assert_eq!(
            err,
            format!(
                "bootstrap: unknown package `toll`, did you mean `tool`?\nhint: {list} shows all packages\n"
            ),
            "{command}"
        );
    }
    let (_, err) = world.expect(2, &["seed", "show", "large"]);
    assert_eq!(
        err,
        "bootstrap: unknown seed `large`\nhint: known seeds: small-freebsd, small-linux\n"
    );
    let (_, err) = world.expect(2, &["list", "--system", "x86_64-freebsd"]);
    assert!(
        err.contains("the seed small-linux is for x86_64-linux, not for x86_64-freebsd"),
        "{err}"
    );
    std::fs::remove_dir_all(world.path("seeds")).unwrap();
    std::fs::create_dir(world.path("seeds")).unwrap();
    let (_, err) = world.expect(2, &["seed", "show", "large"]);
    assert!(err.contains("\nhint: the directory has none"), "{err}");
}

#[test]
fn a_command_in_a_message_does_what_it_says_as_it_stands() {
    let world = World::with_recipes();
    let program = Path::new(env!("CARGO_BIN_EXE_bootstrap"));
    let path = std::env::var("PATH").unwrap();
    for (arguments, next, said) in [
        (["show", "toll"], "list", "tool"),
        (["path", "libc"], "build libc", ": failed"),
    ] {
        let output = world.run(&arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        let mut quoted = message.split('`').skip(1).step_by(2);
        let command = quoted.find(|text| text.ends_with(next)).unwrap();
        let output = std::process::Command::new("/bin/sh")
            .args(["-c", &format!("{command} --offline 2>&1")])
            .env(
                "PATH",
                format!("{}:{path}", program.parent().unwrap().display()),
            )
            .env("BOOTSTRAP_CONFIG", "")
            .output()
            .unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert!(out.contains(said), "{command}\n{out}");
    }
}

#[test]
fn a_file_that_cannot_be_used_says_what_to_do() {
    let world = World::with_recipes();
    for (arguments, advice) in [
        (["report", "-o", "/nowhere/x"], "hint: check the name"),
        (
            ["report", "-o", "/dev/null/x"],
            "hint: a part of the path is a file, not a directory",
        ),
        (
            ["--seed-file=/nowhere/x", "list", "--json"],
            "hint: check the name",
        ),
    ] {
        let (_, err) = world.expect(2, &arguments);
        assert!(err.contains(advice), "{err}");
    }
    // The world has seeds of its own.
    let output = bootstrap()
        .args(["--seeds=/nowhere/x", "seed", "list"])
        .output();
    assert_eq!(output.unwrap().status.code(), Some(2));
}

#[test]
fn a_root_that_is_a_file_is_wrong_usage_of_every_command() {
    let world = World::with_recipes();
    world.file("root", "not a directory");
    for command in [&["fetch", "tool"][..], &["list"], &["roots"], &["gc", "-n"]] {
        let (_, err) = world.expect(2, command);
        assert!(
            err.contains("cannot use as --root WORLD/root: not a directory"),
            "{err}"
        );
    }
}

#[test]
fn a_place_that_cannot_hold_a_store_is_an_unfit_environment() {
    let world = World::with_recipes();
    world.file("root/gnu", "not a directory");
    let (_, err) = world.expect(5, &["gc"]);
    assert!(err.contains("WORLD/root/gnu/store"), "{err}");
}

#[test]
fn a_store_that_is_not_there_yet_has_no_garbage() {
    let world = World::with_recipes();
    let (out, _) = world.expect(0, &["gc", "-n"]);
    assert_eq!(out, "would free 0 B in 0 items; 0 stay\n");
    assert!(!world.path("root/gnu").exists());
}

#[test]
fn files_with_other_bytes_than_promised_end_with_3() {
    let world = World::with_recipes();
    // The seed's archive is in the cache as it should be, and the source with other bytes.
    let [base, source] = ["base", "source"].map(|bytes| Sha256Digest::of(bytes).to_base16());
    for (file, hash) in [
        ("seeds/small-linux.toml", &base),
        ("recipes/make/recipe.toml", &source),
    ] {
        let text = std::fs::read_to_string(world.path(file)).unwrap();
        world.file(file, &text.replace(HASH, hash));
    }
    let cached = |hash: &str| format!("root/var/cache/bootstrap/files/{hash}");
    world.file(&cached(&base), "base");
    let cached = cached(&source);
    world.file(&cached, "damaged");
    let (out, err) = world.expect(3, &["--offline", "fetch", "stage0/make"]);
    assert_eq!(out, "");
    assert!(err.contains("from the cache has the wrong bytes"), "{err}");
    assert!(err.contains(&source), "{err}");
    // It is renamed, for users to look at, and not used.
    assert!(err.contains("rejected"), "{err}");
    assert!(!world.path(&cached).exists());
}

#[test]
fn a_seed_file_with_other_bytes_is_another_seed_and_never_the_pinned_one() {
    let world = World::with_recipes();
    let seed = "seeds/small-linux.toml";
    let text = std::fs::read_to_string(world.path(seed)).unwrap();
    world.file(
        seed,
        &text.replace(HASH, &Sha256Digest::of("base").to_base16()),
    );
    let shown = |options: &[&str]| {
        let arguments = [options, &["show", "--json", "stage0/make"]].concat();
        world.expect(0, &arguments).0
    };
    let pinned = shown(&[]);
    for (bytes, is_pinned) in [("base", true), ("some other archive", false)] {
        world.file("base.txz", bytes);
        let file = world.path("base.txz");
        let given = shown(&["--seed-file", file.to_str().unwrap()]);
        assert_eq!(given == pinned, is_pinned, "{bytes}: {given}");
    }
}

#[test]
fn what_cannot_be_fetched_ends_with_4_and_says_where_it_was_tried() {
    let world = World::with_recipes();
    let (out, err) = world.expect(4, &["--offline", "--keep-going", "fetch", "tool"]);
    // Whichever comes first is explained.
    assert_eq!(err.matches(": failed: ").count(), 1, "{err}");
    let summary = err.lines().find(|line| line.starts_with("failed for"));
    assert!(
        summary.is_some_and(|line| line.contains(" source/tool-1.0.tar.gz")),
        "{err}"
    );
    assert!(
        err.contains("small-linux") || err.contains("base.txz"),
        "{err}"
    );
    assert_eq!(out, "");
}

#[test]
fn progress_as_json_is_one_event_a_line_with_the_summary_last() {
    let world = World::with_recipes();
    let (out, _) = world.expect(4, &["--offline", "--progress", "json", "fetch", "tool"]);
    let events: Vec<serde_json::Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // Something at once: the steps of the preparation.
    assert_eq!(events[0]["event"], "preparing");
    assert_eq!(events[0]["step"], "reading recipes and seed");
    let steps = events
        .iter()
        .take_while(|event| event["event"] == "preparing");
    let begun = &events[steps.count()];
    assert_eq!(begun["event"], "run-started");
    // The run counts from the start of the preparation.
    let preparation = begun["time"].as_f64().unwrap() - events[0]["time"].as_f64().unwrap();
    let seconds = events.last().unwrap()["summary"]["seconds"]
        .as_f64()
        .unwrap();
    assert!(seconds >= preparation, "{seconds} {preparation}");
    let last = events.last().unwrap();
    assert_eq!(last["event"], "run-finished");
    assert!(!last["summary"]["failed"].as_array().unwrap().is_empty());
}

#[test]
fn the_version_at_length_is_for_reports_of_problems() {
    let at_length = |arguments: &[&str]| {
        let output = bootstrap().args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let text = at_length(&["--version", "--verbose"]);
    assert_eq!(at_length(&["-vV"]), text);
    for part in [
        "bootstrap 0",
        "compiled for: ",
        "compiled by: rustc ",
        "systems: x86_64-freebsd",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn what_the_caller_gave_does_not_reach_the_terminal_as_it_is() {
    let bad = "\u{1b}]0;x\u{7}\u{202e}\nfailed: x";
    let option = format!("--cores={bad}");
    for (arguments, variable) in [
        (vec!["--cores", bad, "list"], None),
        (vec![&option, "list"], None),
        (vec![bad], None),
        (vec!["list"], Some(bad)),
        (vec!["key", bad, "/nowhere"], None),
    ] {
        let mut command = bootstrap();
        command.args(&arguments);
        if let Some(value) = variable {
            command.env("BOOTSTRAP_CORES", value);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let err = String::from_utf8(output.stderr).unwrap();
        let is_shown = |text: &str| err.contains(text);
        assert!(!is_shown("\u{1b}") && !is_shown("\u{202e}"), "{err:?}");
        assert!(
            !err.lines().any(|line| line.starts_with("failed: x")),
            "{err:?}"
        );
        assert!(
            is_shown("]0;x") && is_shown("\\u{202e}\\nfailed: x"),
            "{err:?}"
        );
    }
}
