// SPDX-License-Identifier: GPL-3.0-or-later
mod borrowing;
mod hostile;
mod urgency;

use super::*;
use std::fs::File;
use std::io::{Read, Write};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

fn pool(capacity: usize) -> (tempfile::TempDir, JobPool) {
    let directory = tempfile::tempdir().unwrap();
    let capacity = NonZeroUsize::new(capacity).unwrap();
    let pool = JobPool::new(capacity, None, directory.path()).unwrap();
    (directory, pool)
}

/// A build that holds the files of its ends.
struct FakeBuild {
    slot: JobSlot,
    read: File,
    write: File,
}

impl FakeBuild {
    fn start(pool: &JobPool) -> Self {
        Self::start_urgent(pool, 0)
    }

    fn start_urgent(pool: &JobPool, urgency: u64) -> Self {
        Self::start_with(pool, urgency, None)
    }

    fn start_with(pool: &JobPool, urgency: u64, most: Option<usize>) -> Self {
        let most = most.and_then(NonZeroUsize::new);
        let mut slot = pool.acquire(urgency, most).unwrap().unwrap();
        let (read, write) = slot.take_descriptors().unwrap();
        Self {
            slot,
            read: read.into(),
            write: write.into(),
        }
    }

    /// Blocks until a token comes.
    fn take(&mut self) {
        let mut byte = [0];
        self.read.read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"+");
    }

    fn give_back(&mut self) {
        self.write.write_all(b"+").unwrap();
    }

    fn unread(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.read).unwrap()
    }
}

/// Waits for `condition`; these tests know no other way to see that another thread acted.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_build_alone_is_offered_every_other_token() {
    let (_directory, pool) = pool(4);
    let build = FakeBuild::start(&pool);
    assert_eq!(build.unread(), 3);
    assert_eq!(build.slot.make_flags(), " -j4 --jobserver-auth=3,4");
}

#[test]
fn a_build_with_a_limit_gets_and_is_told_of_no_more() {
    let (_directory, pool) = pool(6);
    let mut first = FakeBuild::start_with(&pool, 9, Some(3));
    assert_eq!(first.unread(), 2);
    assert_eq!(first.slot.make_flags(), " -j3 --jobserver-auth=3,4");
    first.take();
    first.take();
    pool.shared.lock().rebalance();
    assert_eq!(first.unread(), 0);
    // However many it uses, there is room for the next.
    let mut second = FakeBuild::start_with(&pool, 1, Some(3));
    second.take();
    second.take();
    pool.shared.lock().rebalance();
    assert_eq!((first.unread(), second.unread()), (0, 0));
    drop(second);
    let third = FakeBuild::start_with(&pool, 0, Some(20));
    assert_eq!(third.slot.make_flags(), " -j6 --jobserver-auth=3,4");
}

#[test]
fn the_fifo_leaves_no_name_behind() {
    let (directory, pool) = pool(2);
    let _build = FakeBuild::start(&pool);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_token_left_unread_starts_the_next_build() {
    let (_directory, pool) = pool(2);
    let first = FakeBuild::start(&pool);
    assert_eq!(first.unread(), 1);
    let second = FakeBuild::start(&pool);
    assert_eq!(first.unread(), 0);
    assert_eq!(second.unread(), 0);
}

#[test]
fn a_token_in_use_is_waited_for() {
    let (_directory, pool) = pool(2);
    let mut first = FakeBuild::start(&pool);
    first.take();
    let started = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _second = FakeBuild::start(&pool);
            started.fetch_add(1, Ordering::SeqCst);
        });
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(started.load(Ordering::SeqCst), 0);
        first.give_back();
        eventually("the second build starts", || {
            started.load(Ordering::SeqCst) == 1
        });
    });
}

#[test]
fn the_least_free_place_is_a_build_s() {
    let (_directory, pool) = pool(3);
    let first = FakeBuild::start(&pool);
    let second = FakeBuild::start(&pool);
    assert_eq!((first.slot.place(), second.slot.place()), (0, 1));
    drop(first);
    let third = FakeBuild::start(&pool);
    let fourth = FakeBuild::start(&pool);
    assert_eq!((third.slot.place(), fourth.slot.place()), (0, 2));
}

#[test]
fn an_unread_token_moves_to_a_build_that_wants_it_and_back() {
    let (_directory, pool) = pool(3);
    let mut one = FakeBuild::start(&pool);
    let mut two = FakeBuild::start(&pool);
    // One token for both: each can have it while the other leaves it alone.
    for _ in 0..3 {
        one.take();
        one.give_back();
        two.take();
        two.give_back();
    }
}

#[test]
fn one_token_visits_all_of_three_idle_builds() {
    let (_directory, pool) = pool(4);
    let mut builds: Vec<FakeBuild> = (0..3).map(|n| FakeBuild::start_urgent(&pool, n)).collect();
    for build in &mut builds {
        build.take();
        build.give_back();
    }
}

#[test]
fn the_most_urgent_of_the_waiting_builds_starts_first() {
    let (_directory, pool) = pool(1);
    let first = FakeBuild::start(&pool);
    let order = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for urgency in [1, 3, 2] {
            let (pool, order) = (&pool, &order);
            scope.spawn(move || {
                let _build = FakeBuild::start_urgent(pool, urgency);
                order.lock().unwrap().push(urgency);
            });
        }
        eventually("all wait", || pool.shared.lock().waiting.len() == 3);
        drop(first);
    });
    assert_eq!(*order.lock().unwrap(), [3, 2, 1]);
}

#[test]
fn a_closed_pool_turns_waiting_builds_away() {
    let (_directory, pool) = pool(1);
    let first = FakeBuild::start(&pool);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pool.acquire(0, None).unwrap().is_none());
        eventually("the build waits", || pool.shared.lock().waiting.len() == 1);
        pool.close();
        assert!(waiting.join().unwrap());
    });
    drop(first);
    assert_eq!(pool.shared.lock().free, 1);
}

/// Runs GNU make with the descriptors of a slot where it expects them.
fn real_make(slot: &mut JobSlot, directory: &Path, makefile: &str) {
    let (read, write) = slot.take_descriptors().unwrap();
    let path = directory.join("Makefile");
    std::fs::write(&path, makefile).unwrap();
    // A shell puts them in place: 3 and 4 of this process belong to whatever the test runner opened.
    let output = Command::new("sh")
        .arg("-c")
        .arg("exec 3<&0 4>&1 </dev/null >&2; exec make -f \"$1\"")
        .args(["sh"])
        .arg(&path)
        .stdin(read)
        .stdout(write)
        .stderr(std::process::Stdio::piped())
        .env("MAKEFLAGS", slot.make_flags())
        .current_dir(directory)
        .spawn()
        .and_then(|child| child.wait_with_output())
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(!text.contains("jobserver"), "{text}");
}

/// The greatest number of jobs that ran at once, from the `+` and `-` that each appends when it starts and ends.
fn greatest_overlap(log: &str) -> usize {
    let (mut running, mut greatest) = (0usize, 0);
    for line in log.lines() {
        match line {
            "+" => running += 1,
            _ => running -= 1,
        }
        greatest = greatest.max(running);
    }
    greatest
}

#[test]
fn real_makes_share_the_tokens_and_never_run_more_jobs_than_there_are() {
    if Command::new("make")
        .arg("--version")
        .output()
        .is_ok_and(|output| !String::from_utf8_lossy(&output.stdout).contains("GNU Make"))
    {
        return;
    }
    let (_directory, pool) = pool(4);
    let work = tempfile::tempdir().unwrap();
    let log = work.path().join("log");
    let targets: Vec<String> = (0..10).map(|n| format!("t{n}")).collect();
    let makefile = format!(
        "all: {all}\n{all}:\n\t@echo + >> {log}; sleep 0.05; echo - >> {log}\n",
        all = targets.join(" "),
        log = log.display()
    );
    std::thread::scope(|scope| {
        for name in ["a", "b"] {
            let (pool, makefile) = (&pool, &makefile);
            let directory = work.path().join(name);
            std::fs::create_dir(&directory).unwrap();
            scope.spawn(move || {
                let mut slot = pool.acquire(0, None).unwrap().unwrap();
                real_make(&mut slot, &directory, makefile);
            });
        }
    });
    let log = std::fs::read_to_string(&log).unwrap();
    assert_eq!(log.matches('+').count(), 20);
    let greatest = greatest_overlap(&log);
    assert!(greatest <= 4, "{greatest} jobs at once with 4 tokens");
    assert!(greatest >= 3, "only {greatest} jobs at once with 4 tokens");
    assert_eq!(pool.shared.lock().free, 4);
}
