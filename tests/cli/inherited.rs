// SPDX-License-Identifier: GPL-3.0-or-later
//! What a parent leaves to the program: ignored and blocked signals, masks, limits, closed streams, odd environments.

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use super::World;

/// A server that accepts and never answers, and a world whose sources are there.
fn hanging() -> (World, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let world = World::with_recipes();
    let address = format!("http://{}", listener.local_addr().unwrap());
    world.replace("https://127.0.0.1:9", &address);
    (world, listener)
}

/// Runs `bootstrap ARGUMENTS` as `exec "$@"` of a shell that did `before`.
fn after(world: &World, before: &str, arguments: &[&str]) -> std::process::Command {
    let inner = world.command("small-linux");
    let mut command = std::process::Command::new("sh");
    command
        .arg("-c")
        .arg(format!("{before}\nexec \"$@\""))
        .arg("sh");
    command.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.args(arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn signal(child: &Child, name: &str) {
    let number = child.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-s", name, &number])
        .status();
    assert!(sent.unwrap().success());
}

/// Waits until the child ends, and fails where that takes longer than five minutes: other work may use the processors.
fn ended(mut child: Child) -> Output {
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(
            start.elapsed() < Duration::from_secs(300),
            "it does not end"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}

#[test]
fn a_signal_that_the_parent_ignored_stays_ignored_and_others_interrupt() {
    crate::signals::unignore();
    for name in ["HUP", "INT", "QUIT"] {
        for (before, is_ignored) in [(format!("trap '' {name}"), true), (String::new(), false)] {
            let (world, listener) = hanging();
            let mut child = after(&world, &before, &["fetch", "tool"]).spawn().unwrap();
            let connection = listener.accept().unwrap();
            signal(&child, name);
            if is_ignored {
                std::thread::sleep(Duration::from_millis(500));
                assert!(child.try_wait().unwrap().is_none(), "{name}");
                signal(&child, "TERM");
            }
            let output = ended(child);
            drop(connection);
            let err = String::from_utf8(output.stderr).unwrap();
            assert!(
                err.contains("interrupted; the same command goes on"),
                "{name}: {err}"
            );
            assert_eq!(output.status.code(), Some(1), "{name}: {err}");
        }
    }
}

#[test]
fn a_blocked_signal_is_delivered_all_the_same() {
    // Only env(1) of GNU blocks signals; where it cannot, there is no way to from a shell.
    let can = std::process::Command::new("env")
        .args(["--block-signal=TERM", "true"])
        .output();
    if !can.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this env(1) cannot block signals");
        return;
    }
    let (world, listener) = hanging();
    let before = "set -- env --block-signal=TERM --block-signal=INT \"$@\"";
    let child = after(&world, before, &["fetch", "tool"]).spawn().unwrap();
    let _connection = listener.accept().unwrap();
    signal(&child, "TERM");
    assert_eq!(ended(child).status.code(), Some(1));
}

#[test]
fn masks_that_take_the_owners_bits_away_do_not_break_what_is_made() {
    for mask in ["0177", "0277", "0777"] {
        let world = World::with_recipes();
        let list = after(&world, &format!("umask {mask}"), &["fetch", "tool"]);
        let output = ended({ list }.spawn().unwrap());
        let err = String::from_utf8(output.stderr).unwrap();
        // The server is not there, and that is all that is wrong.
        assert_eq!(output.status.code(), Some(4), "{mask}: {err}");
        let roots = world.path("root/var/guix/gcroots");
        assert!(std::fs::read_dir(roots).is_ok(), "{mask}");
    }
}

#[test]
fn closed_streams_and_low_limits_are_no_panic_and_no_silent_death() {
    for before in [
        "exec 0<&-",
        "exec 1>&-",
        "exec 2>&-",
        "exec 0<&- 1>&- 2>&-",
        "ulimit -n 20",
        "ulimit -f 1",
        "ulimit -d 20000",
        "ulimit -v 100000",
        "export RUST_MIN_STACK=1",
        "export RUST_MIN_STACK=99999999999999",
    ] {
        for arguments in [&["list"][..], &["fetch", "tool"]] {
            let world = World::with_recipes();
            let output = ended(after(&world, before, arguments).spawn().unwrap());
            let err = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(
                output.status.signal(),
                None,
                "{before} {arguments:?}: {err}"
            );
            let expected = if arguments[0] == "list" {
                // Where the memory is too little for anything, that is said.
                [
                    0,
                    if before.contains("ulimit -d") || before.contains("ulimit -v") {
                        5
                    } else {
                        0
                    },
                ]
            } else {
                [4, 5]
            };
            let status = output.status.code().unwrap();
            assert!(
                expected.contains(&status),
                "{before} {arguments:?}: {status} {err}"
            );
            // Where root may raise the limit, nothing fails for it.
            if status == 5 && before.contains("ulimit -f") {
                assert!(
                    err.contains("raise the limit on the size of files"),
                    "{err}"
                );
            }
            assert!(
                !err.contains("panicked") && !err.contains("internal error"),
                "{err}"
            );
        }
    }
}

#[test]
fn a_small_stack_and_little_processor_time_are_raised_or_named() {
    let world = World::with_recipes();
    let run = |before: &str, arguments: &[&str]| {
        let output = ended(after(&world, before, arguments).spawn().unwrap());
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), err)
    };
    // The stack grew beyond it, and the program was killed.
    assert_eq!(run("ulimit -S -s 64", &["list"]).0, Some(0));
    // Only the system's root may raise what is not soft.
    let (status, err) = run("ulimit -s 64", &["list"]);
    let named = err.contains("hint: raise that limit");
    assert_eq!(status, Some(if named { 5 } else { 0 }), "{err}");
    for (before, limit) in [
        ("ulimit -t 60", "processor time (`ulimit -t`) is 60"),
        (
            "ulimit -v 4000000",
            "address space (`ulimit -v`) is 4096000000",
        ),
    ] {
        let (status, err) = run(before, &["fetch", "--offline", "tool"]);
        assert_eq!(status, Some(4), "{err}");
        let is_root = rustix::process::geteuid().is_root();
        assert!(is_root || err.contains(limit), "{err}");
        let soft = before.replace("ulimit", "ulimit -S");
        let (_, err) = run(&soft, &["fetch", "--offline", "tool"]);
        assert!(!err.contains("ulimit"), "{err}");
    }
}

#[test]
fn settings_in_the_environment_that_are_empty_are_not_set() {
    let world = World::with_recipes();
    for name in [
        "BOOTSTRAP_ROOT",
        "BOOTSTRAP_CORES",
        "BOOTSTRAP_KEEP_FAILED",
        "TMPDIR",
        "HOME",
    ] {
        let mut command = super::plain_bootstrap();
        command.env(name, "");
        command.args(["--recipes", world.path("recipes").to_str().unwrap()]);
        command.args(["--seeds", world.path("seeds").to_str().unwrap()]);
        let output = command
            .args(["--seed", "small-linux", "list"])
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{name}: {err}");
    }
}

#[test]
fn an_environment_that_is_not_text_is_named_and_no_panic() {
    use std::os::unix::ffi::OsStrExt;
    let odd = std::ffi::OsStr::from_bytes(b"\xff");
    for (name, status) in [
        ("BOOTSTRAP_SEED", 2),
        ("TERM", 0),
        ("LANG", 0),
        ("NO_COLOR", 0),
    ] {
        let world = World::with_recipes();
        let mut command = super::plain_bootstrap();
        command.args(["--root", world.path("root").to_str().unwrap()]);
        command.args(["--recipes", world.path("recipes").to_str().unwrap()]);
        command.args(["--seeds", world.path("seeds").to_str().unwrap()]);
        if name != "BOOTSTRAP_SEED" {
            command.args(["--seed", "small-linux"]);
        }
        let output = command.env(name, odd).arg("list").output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{name}: {err}");
    }
}
