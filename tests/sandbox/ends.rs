// SPDX-License-Identifier: GPL-3.0-or-later
//! When a build ends: by itself, killed, with its parent; and what must be there to start one.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use bootstrap::sandbox::{ExitStatusKind, ResourceLimits, Sandbox};

use crate::guest::{self, Guest, is_unlocked};

const LOCK: &str = "/tmp/guix-build-x.drv-0/lock";

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// This test binary again, to run only the ignored test `name`, which is a program for another test.
pub fn part(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        name,
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    command
}

#[test]
fn what_the_program_leaves_behind_is_dead_when_waiting_ends() {
    let mut guest = Guest::new();
    // The pipe is kept open and not read to its end: that, too, would wait for the daemon's.
    let (mut running, _reader) = guest.start(&[&format!("daemon {LOCK}")]).unwrap();
    assert!(running.wait().unwrap().status.is_success());
    assert!(is_unlocked(&guest.path("build/lock")));
}

#[test]
fn killing_ends_everything_in_the_sandbox() {
    let mut guest = Guest::new();
    let (mut running, reader) = guest
        .start(&[&format!("daemon {LOCK}"), "sleep 60000"])
        .unwrap();
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).unwrap();
    assert!(!is_unlocked(&guest.path("build/lock")));
    let kill = running.killer();
    std::thread::spawn(kill).join().unwrap();
    let finished = running.wait().unwrap();
    assert_eq!(finished.status, ExitStatusKind::Signaled(9));
    assert!(is_unlocked(&guest.path("build/lock")));
    // Once more, when there is nothing left to kill or wait for.
    running.kill();
    assert_eq!(running.wait().unwrap(), finished);
}

#[test]
fn killing_works_at_any_moment_of_setting_up() {
    for delay in 0..20 {
        let mut guest = Guest::new();
        let (mut running, _reader) = guest.start(&["sleep 60000"]).unwrap();
        std::thread::sleep(Duration::from_micros(delay * 400));
        running.kill();
        let status = running.wait().unwrap().status;
        assert_eq!(
            status,
            ExitStatusKind::Signaled(9),
            "after {delay} × 400 µs"
        );
    }
}

#[test]
fn dropping_a_running_build_kills_it() {
    let mut guest = Guest::new();
    let (running, reader) = guest
        .start(&[&format!("lock {LOCK}"), "sleep 60000"])
        .unwrap();
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    drop(running);
    // The output ends when the last process that could write to it is dead.
    assert_eq!(reader.read_line(&mut line).unwrap(), 0);
    assert!(is_unlocked(&guest.path("build/lock")));
}

#[test]
fn a_build_outlives_the_thread_that_started_it() {
    let mut guest = Guest::new();
    let (mut running, _reader) = std::thread::scope(|scope| {
        scope
            .spawn(|| guest.start(&["sleep 200", "exit 3"]))
            .join()
            .unwrap()
            .unwrap()
    });
    assert_eq!(running.wait().unwrap().status, ExitStatusKind::Exited(3));
}

#[test]
fn a_build_dies_with_a_parent_killed_without_mercy() {
    let (mut parent, lock, _) = waiting_parent();
    assert!(!is_unlocked(&lock));
    parent.kill().unwrap();
    parent.wait().unwrap();
    await_unlocked(&lock);
    fs::remove_dir_all(lock.parent().unwrap().parent().unwrap()).unwrap();
}

#[test]
fn a_build_dies_with_its_helper_killed_without_mercy() {
    let (mut parent, lock, mut lines) = waiting_parent();
    assert!(!is_unlocked(&lock));
    // The fork server has no children: helpers are its siblings.
    let mut children = children(parent.id()).into_iter();
    let helper = children.find(|child| !self::children(*child).is_empty());
    let helper = i32::try_from(helper.unwrap()).unwrap();
    let helper = rustix::process::Pid::from_raw(helper).unwrap();
    rustix::process::kill_process(helper, rustix::process::Signal::KILL).unwrap();
    let said = lines.find(|line| line.as_ref().unwrap().starts_with("ended"));
    let said = said.unwrap().unwrap();
    assert!(
        said.contains("helper") && said.contains("signal 9"),
        "{said}"
    );
    // The parent has removed the directory by then: there is only its own end to look at.
    assert!(parent.wait().unwrap().success());
}

/// The processes that the threads of `process` have made.
fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let lists = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("children")));
    let numbers = |list: String| -> Vec<u32> {
        let numbers = list.split_whitespace();
        numbers.map(|number| number.parse().unwrap()).collect()
    };
    lists.flat_map(|list| numbers(list.unwrap())).collect()
}

/// The fork servers of this process.
fn fork_servers() -> Vec<u32> {
    let mut servers = children(std::process::id());
    servers.retain(|child| {
        let command = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        command.ends_with(b"serve\0") && children(*child).is_empty()
    });
    servers
}

#[test]
fn builds_survive_their_fork_server_and_the_next_get_another() {
    let status = part("ends::part_that_loses_its_fork_server").status();
    assert!(status.unwrap().success());
}

#[test]
#[ignore = "a process whose fork server is killed"]
fn part_that_loses_its_fork_server() {
    let mut guest = Guest::new();
    let (mut running, _reader) = guest.start(&["sleep 500", "exit 3"]).unwrap();
    // The helper that has no children yet looks like the server.
    while fork_servers().len() != 1 {
        std::thread::sleep(Duration::from_millis(5));
    }
    for server in fork_servers() {
        let server = rustix::process::Pid::from_raw(server as i32).unwrap();
        rustix::process::kill_process(server, rustix::process::Signal::KILL).unwrap();
    }
    assert_eq!(running.wait().unwrap().status, ExitStatusKind::Exited(3));
    for status in [4, 5] {
        let exit = format!("exit {status}");
        let mut guest = Guest::new();
        let (mut running, _reader) = guest.start(&[&exit]).unwrap();
        let ended = running.wait().unwrap().status;
        assert_eq!(ended, ExitStatusKind::Exited(status));
    }
}

/// Another process, whose build holds a lock for ever; and what it prints from then on.
fn waiting_parent() -> (Child, PathBuf, Lines<BufReader<ChildStdout>>) {
    let mut parent = part("ends::part_that_waits_for_ever")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let lock = lines
        .by_ref()
        .map(Result::unwrap)
        .find(|line| line.ends_with("/lock"))
        .unwrap();
    (parent, lock.into(), lines)
}

fn await_unlocked(lock: &Path) {
    let start = Instant::now();
    while !is_unlocked(lock) {
        let waited = start.elapsed();
        assert!(waited < Duration::from_secs(20), "it is still alive");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
#[ignore = "the parent that another test kills"]
fn part_that_waits_for_ever() {
    let mut guest = Guest::new();
    let (mut running, reader) = guest
        .start(&[&format!("daemon {LOCK}"), "sleep 60000"])
        .unwrap();
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).unwrap();
    println!("\n{}", guest.path("build/lock").display());
    println!("ended: {}", running.wait().unwrap_err());
    await_unlocked(&guest.path("build/lock"));
}

#[test]
fn many_at_a_time_do_not_disturb_each_other() {
    std::thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                let status = Guest::new().try_run(&[&format!("exit {number}")]).unwrap();
                assert_eq!(status.finished.status, ExitStatusKind::Exited(number));
            });
        }
    });
}

/// guix-daemon and Nix kill all processes of their build users, wherever they are, and 30001 is often one of those.
#[test]
fn a_build_survives_when_another_program_kills_its_own_build_user() {
    // Another user's builds run as that user, whose processes only it and root may kill.
    if !is_root() {
        return;
    }
    // In a process namespace, so that no other program's builds die by it.
    let inner = part("ends::part_that_outlives_a_killed_build_user");
    let output = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("the build: exit status 3"), "{text}");
}

#[test]
#[ignore = "what another test runs in a process namespace of its own"]
fn part_that_outlives_a_killed_build_user() {
    let mut guest = Guest::new();
    let (mut running, reader) = guest
        .start(&[&format!("lock {LOCK}"), "sleep 300", "exit 3"])
        .unwrap();
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).unwrap();
    let killer = Command::new("setpriv")
        .args(["--reuid", "30001", "--clear-groups"])
        .args(["sh", "-c", "kill -9 -1"])
        .status();
    assert!(killer.is_ok());
    println!("\nthe build: {}", running.wait().unwrap().status);
}

/// A limit on processes is each build's own.
#[test]
fn a_build_that_makes_all_processes_it_may_takes_none_from_others() {
    let limits = ResourceLimits {
        processes: Some(64),
        ..ResourceLimits::default()
    };
    let mut bomb = Guest::new();
    bomb.limits = limits.clone();
    let (mut running, reader) = bomb.start(&["fork 1000", "sleep 60000"]).unwrap();
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).unwrap();
    let made = |line: &str| -> u32 {
        let number = line.strip_prefix("forks: ").unwrap();
        number.trim().parse().unwrap()
    };
    assert!((32..64).contains(&made(&line)), "{line}");
    for _ in 0..3 {
        let mut other = Guest::new();
        other.limits = limits.clone();
        assert_eq!(made(&other.ask(&["fork 32"])), 32);
    }
    // What ends the others does not end this one.
    running.kill();
    assert_eq!(running.wait().unwrap().status, ExitStatusKind::Signaled(9));
}

#[test]
fn mounts_do_not_spread_to_a_machine_whose_mounts_are_shared() {
    if !is_root() {
        return;
    }
    for part_name in [
        "ends::part_that_counts_mounts",
        "ends::part_that_counts_mounts_on_old_kernels",
    ] {
        let inner = part(part_name);
        let status = Command::new("unshare")
            .args(["--mount", "--propagation", "shared"])
            .arg(inner.get_program())
            .args(inner.get_args())
            .status()
            .unwrap();
        assert!(status.success(), "{part_name}");
    }
}

#[test]
#[ignore = "what another test runs in a mount namespace of its own"]
fn part_that_counts_mounts() {
    count_mounts(Guest::new());
}

#[test]
#[ignore = "what another test runs in a mount namespace of its own"]
fn part_that_counts_mounts_on_old_kernels() {
    let mut guest = Guest::new();
    guest.sandbox = guest.sandbox.clone().as_on_old_kernels();
    count_mounts(guest);
}

fn count_mounts(mut guest: Guest) {
    let mounts = || fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(
        fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .contains("shared:")
    );
    let before = mounts();
    let (mut running, reader) = guest
        .start(&[&format!("lock {LOCK}"), "sleep 60000"])
        .unwrap();
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).unwrap();
    assert_eq!(mounts(), before);
    running.kill();
    running.wait().unwrap();
}

#[test]
fn this_machine_is_fit_and_says_so() {
    guest::sandbox().check().unwrap();
    guest::sandbox().as_on_old_kernels().check().unwrap();
    guest::sandbox().clean_leftovers().unwrap();
}

#[test]
fn a_machine_without_user_namespaces_says_what_to_set() {
    // A user namespace in which no more of them are allowed: its setting is its own, not the machine's.
    let inner = part("ends::part_that_checks");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c"])
        .arg("echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\"")
        .arg("sh")
        .arg(inner.get_program())
        .args(inner.get_args())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("cannot create namespaces"), "{text}");
    assert!(text.contains("user.max_user_namespaces=15000"), "{text}");
}

#[test]
#[ignore = "what another test runs where it must fail"]
fn part_that_checks() {
    let error = guest::sandbox().check().unwrap_err();
    assert!(error.is_environment());
    println!(
        "\n{error}\nhint: {}",
        bootstrap::diagnostics::help_of(&error)
    );
}

#[test]
fn a_helper_that_cannot_be_run_is_named() {
    use bootstrap::sandbox::namespaces::Namespaces;
    let error = Namespaces::new("/nonexistent/bootstrap")
        .check()
        .unwrap_err();
    assert!(error.to_string().contains("/nonexistent/bootstrap"));
    // A program, but not ours: it ends without a word.
    let error = Namespaces::new("/bin/true").check().unwrap_err();
    assert!(error.to_string().contains("exit status 0"), "{error}");
}

#[test]
fn all_of_this_holds_without_privileges() {
    if !is_root() {
        return;
    }
    let (uid, gid) = (1000, 1000);
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let place = |name: &str, from: &Path| {
        let path = directory.path().join(name);
        fs::copy(from, &path).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    };
    let tests = place("tests", &std::env::current_exe().unwrap());
    let helper = place("bootstrap", &guest::helper());
    let probe = place("probe", guest::probe());
    let temporary = directory.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    chown(&temporary, Some(uid), Some(gid)).unwrap();
    let output = Command::new(tests)
        .env("SANDBOX_TEST_HELPER", helper)
        .env("SANDBOX_TEST_PROBE", probe)
        .env("TMPDIR", &temporary)
        .current_dir("/")
        .uid(uid)
        .gid(gid)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("sees::an_empty_root_holds"), "{text}");
}
