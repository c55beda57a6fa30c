use crate::{World, bootstrap};

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
        "shell",
        "gc",
        "roots",
        "seed",
        "completions",
    ];
    for command in commands {
        let output = bootstrap().args([command, "--help"]).output().unwrap();
        assert!(output.status.success(), "{command}");
        assert!(output.stderr.is_empty(), "{command}");
    }
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
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = bootstrap().args(["completions", shell]).output().unwrap();
        assert!(output.status.success());
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(
            script.contains("graph") && script.contains("keep-going"),
            "{shell}"
        );
    }
}

#[test]
fn unknown_packages_and_seeds_are_wrong_usage_too() {
    let world = World::with_recipes();
    for command in ["build", "fetch", "show", "path", "log", "graph"] {
        let (_, err) = world.expect(2, &[command, "toll"]);
        assert_eq!(
            err,
            "bootstrap: unknown package `toll`, did you mean `tool`?; `bootstrap list` shows all\n",
            "{command}"
        );
    }
    let (_, err) = world.expect(2, &["seed", "show", "large"]);
    assert_eq!(
        err,
        "bootstrap: no seed is called `large`; there are: small-freebsd, small-linux\n"
    );
    let (_, err) = world.expect(2, &["list", "--system", "x86_64-freebsd"]);
    assert!(
        err.contains("the seed small-linux is for x86_64-linux, not for x86_64-freebsd"),
        "{err}"
    );
}

#[test]
fn a_place_that_cannot_hold_a_store_is_an_unfit_environment() {
    let world = World::with_recipes();
    world.file("root", "not a directory");
    let (_, err) = world.expect(5, &["fetch", "tool"]);
    assert!(err.contains("WORLD/root"), "{err}");
}

#[test]
fn what_cannot_be_fetched_ends_with_4_and_says_where_it_was_tried() {
    let world = World::with_recipes();
    let (out, err) = world.expect(4, &["--offline", "--keep-going", "fetch", "tool"]);
    assert!(err.contains("source/tool-1.0.tar.gz: failed"), "{err}");
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
    assert_eq!(events.first().unwrap()["event"], "run-started");
    let last = events.last().unwrap();
    assert_eq!(last["event"], "run-finished");
    assert!(!last["summary"]["failed"].as_array().unwrap().is_empty());
}
