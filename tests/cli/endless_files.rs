// SPDX-License-Identifier: GPL-3.0-or-later
//! Files that users name and that do not end, or are not files.

use crate::{World, bootstrap};

#[test]
fn files_without_end_that_a_user_names_are_errors() {
    let world = World::with_recipes();
    let served = world.path("served");
    let commands = [
        (
            "verify",
            vec!["verify", "--compare", "/dev/zero", "/dev/zero"],
        ),
        ("lock", vec!["verify", "--lock=/dev/zero"]),
        (
            "secret",
            vec!["publish", served.to_str().unwrap(), "--key", "/dev/zero"],
        ),
        (
            "public",
            vec!["import", "/dev/null", "--trusted-keys", "/dev/zero"],
        ),
        ("config", vec!["list"]),
    ];
    for (case, arguments) in commands {
        let mut command = bootstrap();
        if case == "config" {
            command.env("BOOTSTRAP_CONFIG", "/dev/zero");
        }
        let output = command
            .arg("--root")
            .arg(world.path("root"))
            .arg("--recipes")
            .arg(world.path("recipes"))
            .arg("--seeds")
            .arg(world.path("seeds"))
            .args(["--seed", "small-linux"])
            .args(&arguments)
            .timeout(std::time::Duration::from_secs(60))
            .output()
            .unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{case}: {err}");
        assert!(
            err.contains("cannot read /dev/zero: it is too large: expected at most "),
            "{case}: {err}"
        );
        assert!(
            err.contains("hint: check that this is the right file"),
            "{case}: {err}"
        );
    }
}

#[test]
fn a_seed_that_is_a_fifo_or_a_link_is_an_error() {
    let world = World::with_recipes();
    let seeds = world.path("more");
    std::fs::create_dir(&seeds).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(seeds.join("one.toml"))
        .status();
    assert!(made.unwrap().success());
    let fails_with = |message: &str| {
        let output = bootstrap()
            .arg("--seeds")
            .arg(&seeds)
            .args(["seed", "list"])
            .timeout(std::time::Duration::from_secs(60))
            .output()
            .unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{err}");
        assert!(err.contains(message), "{err}");
        err
    };
    fails_with("one.toml: expected a regular file");
    // A mistake is shown with its line, which could be one of a file that only root reads.
    std::fs::remove_file(seeds.join("one.toml")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", seeds.join("one.toml")).unwrap();
    let err = fails_with("one.toml: it is a symbolic link: expected a regular file");
    assert!(!err.contains("root:"), "{err}");
}
