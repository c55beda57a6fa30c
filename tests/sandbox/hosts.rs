// SPDX-License-Identifier: GPL-3.0-or-later
//! Machines that do not allow everything, brought about for real: whether builds run there, and whether `check` knows
//! it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use bootstrap::diagnostics::help_of;
use bootstrap::sandbox::Sandbox;
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use crate::ends::part;
use crate::guest::{self, Guest};

/// Prints whether this machine is fit, and how a build ends.
#[test]
#[ignore = "what other tests run where something is not allowed"]
fn part_that_checks_and_builds() {
    match guest::sandbox().check() {
        Ok(()) => println!("\ncheck: fit"),
        Err(error) => println!("\ncheck: {error}\nhint: {}", help_of(&error)),
    }
    match Guest::new().try_run(&[
        "ids",
        "write /tmp/guix-build-x.drv-0/file",
        "write /gnu/store/output",
    ]) {
        Ok(answer) => println!("build: {}\n{}", answer.finished.status, answer.output),
        Err(error) => println!("build: {error}\nhint: {}", help_of(&error)),
    }
}

/// What [`part_that_checks_and_builds`] says as the last words of `command`.
fn said(mut command: Command) -> String {
    let inner = part("hosts::part_that_checks_and_builds");
    command.arg(inner.get_program()).args(inner.get_args());
    let output = command.output().unwrap();
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn assert_builds(said: &str) {
    assert!(said.contains("\ncheck: fit\n"), "{said}");
    assert!(said.contains("build: exit status 0\n"), "{said}");
    assert!(
        said.contains("/file: ok\n") && said.contains("/output: ok\n"),
        "{said}"
    );
}

/// That both fail for one reason, and give the hint.
fn assert_refused(said: &str, reason: &str, advice: &str) {
    let lines: Vec<&str> = said.lines().collect();
    for start in ["check: ", "build: "] {
        let at = lines.iter().position(|line| line.starts_with(start));
        let at = at.unwrap_or_else(|| panic!("{start}: {said}"));
        assert!(lines[at].contains(reason), "{said}");
        assert!(lines[at + 1].contains(advice), "{said}");
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn root_without_the_right_to_mount_builds_as_other_users_do() {
    // Other users have no such right at all, and all tests run as one of them, too.
    if !is_root() {
        return;
    }
    let mut container = Command::new("setpriv");
    container.args(["--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]);
    assert_builds(&said(container));
    // What Docker leaves to root.
    let mut container = Command::new("setpriv");
    let left = "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,\
                +sys_chroot,+mknod,+audit_write,+setfcap";
    container.args(["--bounding-set", left, "--inh-caps", "-all"]);
    assert_builds(&said(container));
}

#[test]
fn root_without_any_capability_is_told_what_it_lacks() {
    if !is_root() {
        return;
    }
    let mut container = Command::new("setpriv");
    container.args(["--bounding-set", "-all", "--inh-caps", "-all"]);
    assert_refused(&said(container), "cannot map the build user", "CAP_SETFCAP");
}

/// A rule for a call whose argument `number` has one of the bits `mask`.
fn with_bits(number: u8, mask: u64) -> SeccompRule {
    let compare = SeccompCmpOp::MaskedEq(mask);
    let condition = SeccompCondition::new(number, SeccompCmpArgLen::Dword, compare, mask);
    SeccompRule::new(vec![condition.unwrap()]).unwrap()
}

/// A command whose process has a filter that refuses `calls` with `EPERM`; calls without rules are refused always.
fn filtered(program: &str, calls: &[(i64, Vec<SeccompRule>)]) -> Command {
    filtered_with(libc::EPERM, program, calls)
}

/// As [`filtered`], with another error than `EPERM`.
fn filtered_with(error: i32, program: &str, calls: &[(i64, Vec<SeccompRule>)]) -> Command {
    let rules: BTreeMap<_, _> = calls.iter().cloned().collect();
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(error as u32),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let filter: seccompiler::BpfProgram = filter.unwrap().try_into().unwrap();
    let mut command = Command::new(program);
    // SAFETY: the closure makes system calls only.
    unsafe {
        command.pre_exec(move || seccompiler::apply_filter(&filter).map_err(std::io::Error::other))
    };
    command
}

/// `personality(ADDR_NO_RANDOMIZE)`, which Docker's and podman's own filters refuse; asking with `0xffffffff` they
/// allow.
fn fixed_addresses() -> (i64, Vec<SeccompRule>) {
    let bits = |operator, value| {
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, operator, value).unwrap()
    };
    let rule = SeccompRule::new(vec![
        bits(SeccompCmpOp::MaskedEq(0x0004_0000), 0x0004_0000),
        bits(SeccompCmpOp::Ne, 0xffff_ffff),
    ]);
    (libc::SYS_personality, vec![rule.unwrap()])
}

#[test]
fn addresses_that_may_not_be_fixed_do_not_stop_a_build() {
    for error in [libc::EPERM, libc::ENOSYS, libc::EINVAL] {
        assert_builds(&said(filtered_with(error, "env", &[fixed_addresses()])));
    }
    // The command warns, once, and says how to allow it; doctor names it.
    let output = filtered(guest::helper().to_str().unwrap(), &[fixed_addresses()])
        .args(["--color", "never", "--offline", "doctor"])
        .output()
        .unwrap();
    let (found, warned) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(found.contains("builds can be isolated"), "{found}");
    assert!(
        found.contains("doubtful  kernel: fixed addresses"),
        "{found}"
    );
    assert_eq!(warned.matches("ADDR_NO_RANDOMIZE").count(), 1, "{warned}");
}

#[test]
fn limits_that_may_not_be_asked_for_are_no_panic() {
    let refused = [(libc::SYS_prlimit64, vec![]), (libc::SYS_getrlimit, vec![])];
    let output = filtered(guest::helper().to_str().unwrap(), &refused)
        .args(["--color", "never", "--offline", "doctor"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{said}");
    assert!([Some(0), Some(5)].contains(&output.status.code()), "{said}");
}

#[test]
fn threads_and_builds_do_without_clone3() {
    let refused = [(libc::SYS_clone3, vec![])];
    let output = filtered(guest::helper().to_str().unwrap(), &refused)
        .args(["--color", "never", "--offline", "doctor"])
        .output()
        .unwrap();
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(
        found.contains("builds can be isolated"),
        "{found} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    // A thread of the command: the one that waits for a signal.
    let output = filtered(guest::helper().to_str().unwrap(), &refused)
        .args(["--version"])
        .output()
        .unwrap();
    assert!(output.status.success());
}

#[test]
fn filters_of_containers_that_forbid_namespaces_or_mounts_are_named() {
    let namespaces = [
        (
            libc::SYS_clone,
            vec![with_bits(0, libc::CLONE_NEWUSER as u64)],
        ),
        (libc::SYS_unshare, vec![]),
    ];
    assert_refused(
        &said(filtered("env", &namespaces)),
        "cannot create namespaces",
        "seccomp=unconfined",
    );
    // What AppArmor's restriction of user namespaces amounts to: they can be made, and give no rights.
    let mounts = [
        libc::SYS_mount,
        libc::SYS_fsopen,
        libc::SYS_open_tree,
        libc::SYS_move_mount,
        libc::SYS_umount2,
    ]
    .map(|call| (call, vec![]));
    assert_refused(&said(filtered("env", &mounts)), "cannot ", "forbids mounts");
    // Docker's own filter for root with CAP_SYS_ADMIN: mounts, but no pivot_root.
    assert_refused(
        &said(filtered("env", &[(libc::SYS_pivot_root, vec![])])),
        "cannot enter the sandbox's root",
        "seccomp=unconfined",
    );
}

#[test]
fn no_process_left_to_be_made_is_an_error_and_no_panic() {
    let processes = [
        (libc::SYS_clone, vec![]),
        (libc::SYS_fork, vec![]),
        (libc::SYS_vfork, vec![]),
    ];
    let mut command = filtered("env", &processes);
    command.env("RUST_TEST_THREADS", "1");
    let output = filtered(
        guest::helper().to_str().unwrap(),
        &[(libc::SYS_clone, vec![]), (libc::SYS_clone3, vec![])],
    )
    .args(["--color", "never", "--offline", "doctor"])
    .output()
    .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        !text.contains("panicked") && !text.contains("internal error"),
        "{text}"
    );
    assert_eq!(output.status.code(), Some(5), "{text}");
}

#[test]
fn a_build_directory_without_programs_is_refused_before_anything_runs() {
    let part = part("hosts::part_without_programs");
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let output = command
        .args(["--mount", "sh", "-ec"])
        .arg("mkdir -p \"$0\" && mount -t tmpfs -o noexec none \"$0\" && TMPDIR=$0 exec \"$@\"")
        .arg(tempfile::tempdir().unwrap().path().join("noexec"))
        .arg(part.get_program())
        .args(part.get_args())
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        text.contains("mounted noexec") && text.contains("hint: set TMPDIR"),
        "{text}"
    );
    assert!(
        text.contains("BAD       programs on the build directory's disk"),
        "{text}"
    );
}

#[test]
#[ignore = "what another test runs with a TMPDIR on a file system without programs"]
fn part_without_programs() {
    let error = Guest::new().start(&[]).err().unwrap();
    println!("\n{error}\nhint: {}", help_of(&error));
    let output = Command::new(guest::helper())
        .args(["--color", "never", "--offline", "doctor"])
        .output()
        .unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_build_is_killed_before_the_run_when_memory_runs_out() {
    let own: i32 = fs::read_to_string("/proc/self/oom_score_adj")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let expected = (own + 300).min(1000);
    assert_eq!(
        Guest::new().ask(&["cat /proc/self/oom_score_adj"]),
        format!("{expected}\n")
    );
}
