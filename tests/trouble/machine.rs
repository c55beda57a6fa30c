// SPDX-License-Identifier: GPL-3.0-or-later
//! A machine where not everything is allowed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use seccompiler::{SeccompAction, SeccompFilter};

use crate::result;
use crate::world::World;

/// A user without privileges, where root runs the tests.
const OTHER_USER: u32 = 1000;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives `path` and all in it to [`OTHER_USER`].
fn give(path: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    chown(path, Some(OTHER_USER), Some(OTHER_USER)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

/// The command `template`, run by a user without privileges.
fn as_other_user(program: &PathBuf, template: &Command, temporary: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(template.get_args())
        .env_remove("BOOTSTRAP_ROOT")
        // Other users may not be able to read the caller's own file.
        .env("BOOTSTRAP_CONFIG", "")
        .env("TMPDIR", temporary)
        .current_dir("/");
    if rustix::process::geteuid().is_root() {
        command.uid(OTHER_USER).gid(OTHER_USER);
    }
    command
}

#[test]
fn without_privileges_the_systems_store_is_out_of_reach_and_a_root_of_ones_own_is_not() {
    let world = World::new();
    let top = world.path("");
    set_mode(&top, 0o755);
    let program = world.path("bootstrap");
    fs::copy(env!("CARGO_BIN_EXE_bootstrap"), &program).unwrap();
    set_mode(&program, 0o755);
    let temporary = world.path("tmp");
    fs::create_dir(&temporary).unwrap();
    give(&temporary);
    give(&world.path("root"));

    // The machine's directories, which belong to another user, and no --root.
    let system = world.path("system");
    fs::create_dir(&system).unwrap();
    set_mode(&system, 0o555);
    let mut template = Command::new("bootstrap");
    for (option, name) in [
        ("--recipes", "recipes"),
        ("--seeds", "seeds"),
        ("--store-dir", "system/store"),
        ("--state-dir", "system/state"),
        ("--log-dir", "system/log"),
        ("--cache-dir", "root/var/cache/bootstrap"),
    ] {
        template.arg(option).arg(world.path(name));
    }
    template.args(["--offline", "--seed", "one", "build", "tool"]);
    let output = as_other_user(&program, &template, &temporary).output();
    let (status, out, err) = result(&output.unwrap());
    assert_eq!(status, Some(5), "{out}\n{err}");
    assert!(err.contains(&system.display().to_string()), "{err}");
    assert!(err.contains("Permission denied"), "{err}");
    assert!(err.contains("--root"), "{err}");
    assert_eq!(fs::read_dir(&system).unwrap().count(), 0);

    let template = world.command(&["build", "tool"]);
    let output = as_other_user(&program, &template, &temporary).output();
    let (status, out, err) = result(&output.unwrap());
    assert_eq!(status, Some(0), "{out}\n{err}");
    let place = world.path(&format!("root{}", out.trim_end()));
    assert!(place.join("tool").exists(), "{out}");
    let template = world.command(&["verify"]);
    let output = as_other_user(&program, &template, &temporary).output();
    assert_eq!(result(&output.unwrap()).0, Some(0));
}

/// Makes `command` run where the system makes no more processes or threads, as with `pids.max` or `ulimit -u`.
fn without_threads(command: &mut Command) {
    let rules = [
        libc::SYS_clone,
        libc::SYS_clone3,
        libc::SYS_fork,
        libc::SYS_vfork,
    ];
    let filter = SeccompFilter::new(
        rules.map(|call| (call, vec![])).into(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EAGAIN as u32),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let filter: seccompiler::BpfProgram = filter.unwrap().try_into().unwrap();
    // SAFETY: the closure makes system calls only.
    unsafe {
        command.pre_exec(move || seccompiler::apply_filter(&filter).map_err(std::io::Error::other))
    };
}

#[test]
fn a_place_for_temporary_files_that_is_none_is_named_with_tmpdir() {
    let world = World::new();
    let place = world.path("file");
    fs::write(&place, "").unwrap();
    let mut command = world.command(&["build", "tool"]);
    let (status, out, err) = result(&command.env("TMPDIR", &place).output().unwrap());
    assert_eq!(status, Some(5), "{out}\n{err}");
    assert!(err.contains(&place.display().to_string()), "{out}\n{err}");
    assert!(err.contains("hint: set TMPDIR"), "{out}\n{err}");
}

#[test]
fn without_another_thread_commands_work_alone_or_say_what_they_lack() {
    let world = World::new();
    world.tool(
        "big",
        "sparse $out/zeros 4000000\nsparse $out/more 4000000\n",
    );
    world.expect(0, &["build", "big"]);
    let there = |name: &str| world.path(name).display().to_string();
    let (report, export, published) = (there("report.html"), there("export.nar"), there("served"));
    for (status, arguments) in [
        (0, &["list"][..]),
        (0, &["show", "big"]),
        (0, &["log", "big"]),
        (0, &["roots"]),
        (0, &["gc", "--dry-run"]),
        (0, &["report", "-o", &report]),
        (0, &["build", "big", "--dry-run"]),
        (0, &["verify", "big"]),
        (0, &["export", "big", "-o", &export]),
        (5, &["publish", &published, "big"]),
        (5, &["build", "big", "--check"]),
        (0, &["gc"]),
        (5, &["daemon", "--listen", &there("socket")]),
    ] {
        let mut command = world.command(arguments);
        without_threads(&mut command);
        let (found, out, err) = result(&command.output().unwrap());
        let text = format!("{arguments:?}: {found:?}\n{out}\n{err}");
        assert!(!text.contains("panicked"), "{text}");
        assert!(!text.contains("internal error"), "{text}");
        assert_eq!(found, Some(status), "{text}");
        if status == 5 {
            assert!(err.contains("hint: "), "{text}");
        }
    }
}
