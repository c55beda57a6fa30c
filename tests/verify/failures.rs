// SPDX-License-Identifier: GPL-3.0-or-later
//! Builds that fail, and what is left to look into.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::pseudo_terminal::terminal;
use super::world::World;

/// A world with a package that leaves a trace and fails, and a place for build directories.
fn broken() -> (World, PathBuf) {
    let world = World::new();
    world.tool("broken", "write $NIX_BUILD_TOP/trace x\nfail now\n");
    let temporary = world.path("tmp");
    fs::create_dir(&temporary).unwrap();
    (world, temporary)
}

#[test]
fn a_failed_build_without_a_terminal_gets_no_shell_but_its_directory_is_kept() {
    let (world, temporary) = broken();
    let output = world
        .command(&["build", "--shell-on-failure", "broken"])
        .env("TMPDIR", &temporary)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(
        err.contains("no shell for broken: standard input is not a terminal"),
        "{err}"
    );
    let kept = temporary.join("guix-build-broken-1.0.drv-0/build");
    assert!(kept.join("trace").exists());
}

#[test]
fn a_failed_build_at_a_terminal_gets_a_shell_in_its_sandbox_that_sees_its_directory() {
    let (world, temporary) = broken();
    let (mut ours, theirs) = terminal(80);
    // The test's shell knows but a few commands.
    ours.write_all(b"copy $NIX_BUILD_TOP/trace $NIX_BUILD_TOP/seen\n")
        .unwrap();
    let mut command = world.command(&["build", "--shell-on-failure", "broken"]);
    command.env("TMPDIR", &temporary).stdin(theirs);
    let ended = AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        // The end of input counts only once the shell's own terminal reads it, so it is typed until the shell is gone.
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) && ours.write_all(b"\x04").is_ok() {
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let output = command.output();
        ended.store(true, Ordering::Relaxed);
        output.unwrap()
    });
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "the build has failed: {err}");
    assert!(err.contains("broken failed; this is its sandbox"), "{err}");
    let kept = temporary.join("guix-build-broken-1.0.drv-0/build");
    assert_eq!(fs::read(kept.join("seen")).unwrap(), b"x\n", "{err}");
}
