// SPDX-License-Identifier: GPL-3.0-or-later
//! What a build may use up, and what is known of it afterwards.

use std::time::Duration;

use bootstrap::sandbox::{ExitStatusKind, ResourceLimits};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::guest::Guest;

#[test]
fn limits_are_the_program_s_and_cannot_be_raised() {
    let mut guest = Guest::new();
    guest.limits = ResourceLimits {
        memory: Some(64 << 20),
        processes: Some(16),
        file_size: Some(2 << 20),
        open_files: Some(100),
        temporary: Some(1 << 20),
        processors: Some(1),
        first_processor: 0,
    };
    let output = guest.ask(&["limits", "allocate 32", "allocate 128", "fork 40"]);
    let mut lines: Vec<_> = output.lines().collect();
    let forks = lines.pop().unwrap();
    assert_eq!(
        lines.join("\n"),
        "memory: 67108864 67108864\n\
         processes: 16 16\n\
         file-size: 2097152 2097152\n\
         open-files: 100 100\n\
         core: 0 0\n\
         allocate: ok\n\
         allocate: ENOMEM"
    );
    let forks: u32 = forks.strip_prefix("forks: ").unwrap().parse().unwrap();
    assert!(forks < 16, "{forks}");
}

#[test]
fn open_files_do_not_depend_on_the_callers_limit() {
    let before = getrlimit(Resource::Nofile);
    for current in [before.maximum, Some(600)] {
        let most = before.maximum;
        let callers = Rlimit {
            current,
            maximum: most,
        };
        setrlimit(Resource::Nofile, callers).unwrap();
        let output = Guest::new().ask(&["limits"]);
        let most = most.unwrap_or(u64::MAX);
        let expected = format!("open-files: {} {most}\n", most.min(1024));
        assert!(output.contains(&expected), "{output}");
    }
    setrlimit(Resource::Nofile, before).unwrap();
}

#[test]
fn a_program_runs_on_as_many_processors_as_it_may() {
    let all = rustix::thread::sched_getaffinity(None).unwrap().count() as usize;
    // Of one nothing can be taken away: then this says no more than that it can be asked for.
    for (limit, expected) in [(None, all), (Some(1), 1), (Some(all), all), (Some(0), 1)] {
        for first in [0, 1, all, usize::MAX] {
            let mut guest = Guest::new();
            guest.limits.processors = limit;
            guest.limits.first_processor = first;
            assert_eq!(
                guest.ask(&["processors"]),
                format!("processors: {expected}\n"),
                "{limit:?} from {first}"
            );
        }
    }
}

#[test]
fn a_limit_above_the_caller_s_own_is_the_caller_s_own() {
    let mut guest = Guest::new();
    guest.limits.open_files = Some(u64::MAX - 1);
    guest.ask(&["limits"]);
}

#[test]
fn a_full_file_system_is_the_program_s_to_see_and_nobody_else_s() {
    let mut guest = Guest::new();
    guest.limits.temporary = Some(2 << 20);
    assert_eq!(
        guest.ask(&["fill /tmp/file", "write /tmp/guix-build-x.drv-0/file"]),
        "2 MiB fill: ENOSPC\n/tmp/guix-build-x.drv-0/file: ok\n"
    );
}

#[test]
fn a_file_that_grows_too_large_ends_the_program() {
    let mut guest = Guest::new();
    guest.limits.file_size = Some(1 << 20);
    let answer = guest.try_run(&["fill large"]).unwrap();
    // SIGXFSZ
    assert_eq!(answer.finished.status, ExitStatusKind::Signaled(25));
}

#[test]
fn exit_status_and_signal_are_told_apart() {
    for (command, status) in [
        ("exit 0", ExitStatusKind::Exited(0)),
        ("exit 7", ExitStatusKind::Exited(7)),
        ("raise 15", ExitStatusKind::Signaled(15)),
        ("raise 9", ExitStatusKind::Signaled(9)),
    ] {
        let answer = Guest::new().try_run(&[command]).unwrap();
        assert_eq!(answer.finished.status, status, "{command}");
    }
}

#[test]
fn time_and_memory_used_are_counted() {
    let answer = Guest::new()
        .try_run(&["spin 60", "touch-memory 48"])
        .unwrap();
    let finished = answer.finished;
    assert!(finished.user_time >= Duration::from_millis(60));
    assert!(finished.user_time < Duration::from_secs(60));
    assert!(finished.max_rss >= 48 << 20, "{}", finished.max_rss);
    assert!(finished.max_rss < 96 << 20, "{}", finished.max_rss);
}
