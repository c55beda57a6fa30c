// SPDX-License-Identifier: GPL-3.0-or-later
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

/// A pool whose builds are never, or at once, taken for serial.
fn patient_pool(capacity: usize, patient: bool) -> (tempfile::TempDir, JobPool) {
    let directory = tempfile::tempdir().unwrap();
    let between_jobs = if patient {
        Duration::from_secs(3600)
    } else {
        Duration::ZERO
    };
    let capacity = NonZeroUsize::new(capacity).unwrap();
    let pool = JobPool::with(capacity, None, directory.path(), between_jobs, None).unwrap();
    (directory, pool)
}

#[test]
fn an_urgent_build_that_uses_its_tokens_comes_before_one_that_waits() {
    let (_directory, pool) = patient_pool(2, true);
    let mut urgent = FakeBuild::start_urgent(&pool, 9);
    urgent.take();
    pool.shared.lock().rebalance();
    let started = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _next = FakeBuild::start_urgent(&pool, 1);
            started.fetch_add(1, Ordering::SeqCst);
        });
        for _ in 0..5 {
            urgent.give_back();
            std::thread::sleep(INTERVAL * 2);
            urgent.take();
            std::thread::sleep(INTERVAL * 2);
        }
        assert_eq!(started.load(Ordering::SeqCst), 0);
        drop(urgent);
        eventually("the next build starts", || {
            started.load(Ordering::SeqCst) == 1
        });
    });
}

/// Has a build of urgency 1 wait for a token; it is counted in `started` once it has one.
fn wait_for_a_token<'s>(
    scope: &'s std::thread::Scope<'s, '_>,
    pool: &'s JobPool,
    started: &'s AtomicUsize,
) {
    scope.spawn(|| {
        let _next = FakeBuild::start_urgent(pool, 1);
        started.fetch_add(1, Ordering::SeqCst);
    });
    eventually("the next build waits", || {
        pool.shared.lock().waiting.len() == 1
    });
}

#[test]
fn what_becomes_free_is_offered_to_the_urgent_build_first() {
    let (_directory, pool) = patient_pool(2, true);
    let mut urgent = FakeBuild::start_urgent(&pool, 9);
    urgent.take();
    pool.shared.lock().rebalance();
    urgent.give_back();
    let equal = FakeBuild::start_urgent(&pool, 9);
    let started = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        wait_for_a_token(scope, &pool, &started);
        drop(equal);
        urgent.take();
        assert_eq!(started.load(Ordering::SeqCst), 0);
        drop(urgent);
    });
    assert_eq!(started.load(Ordering::SeqCst), 1);
}

#[test]
fn a_token_that_several_urgent_builds_leave_unread_starts_the_next() {
    let (_directory, pool) = patient_pool(3, false);
    let mut urgent: Vec<FakeBuild> = (8..10)
        .map(|urgency| FakeBuild::start_urgent(&pool, urgency))
        .collect();
    for build in &mut urgent {
        build.take();
        pool.shared.lock().rebalance();
        build.give_back();
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let next = FakeBuild::start_urgent(&pool, 1);
            sender.send(()).unwrap();
            drop(next);
        });
        let started = receiver.recv_timeout(Duration::from_secs(20));
        // Or it would wait for ever.
        pool.close();
        started.unwrap();
    });
}

/// A pool for two processors with a spare token, where a build of 12 outlasts those of 1, and not those of 2.
fn pool_with_spare() -> (tempfile::TempDir, JobPool) {
    let directory = tempfile::tempdir().unwrap();
    let [two, three] = [2, 3].map(|count| NonZeroUsize::new(count).unwrap());
    let spare = Spare {
        processors: two,
        outlasting: 10,
    };
    // Who leaves a token unread is taken for serial at once.
    let pool = JobPool::with(three, Some(spare), directory.path(), Duration::ZERO, None).unwrap();
    (directory, pool)
}

#[test]
fn a_spare_token_starts_no_build_beside_one_that_outlasts_it() {
    let (_directory, pool) = pool_with_spare();
    let long = FakeBuild::start_urgent(&pool, 12);
    let short = FakeBuild::start_urgent(&pool, 1);
    // Two jobs on two processors: the third token is the long build's, whether it reads it or not.
    eventually("the spare token is where it belongs", || {
        (long.unread(), short.unread()) == (1, 0)
    });
    let started = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        wait_for_a_token(scope, &pool, &started);
        std::thread::sleep(INTERVAL * 5);
        assert_eq!(started.load(Ordering::SeqCst), 0);
        drop(short);
        eventually("the next build starts", || {
            started.load(Ordering::SeqCst) == 1
        });
    });
    drop(long);
    // With no longer build beside them, builds have all tokens.
    let first = FakeBuild::start_urgent(&pool, 1);
    let second = FakeBuild::start_urgent(&pool, 1);
    eventually("one build is offered the spare token", || {
        first.unread() + second.unread() == 1
    });
}

#[test]
fn a_spare_token_is_not_kept_from_the_build_that_outlasts_others() {
    let (_directory, pool) = pool_with_spare();
    let mut long = FakeBuild::start_urgent(&pool, 12);
    let short = FakeBuild::start_urgent(&pool, 1);
    long.take();
    assert_eq!((long.unread(), short.unread()), (0, 0));
}

#[test]
fn a_spare_token_starts_a_build_beside_one_that_does_not_outlast_it() {
    let (_directory, pool) = pool_with_spare();
    let _long = FakeBuild::start_urgent(&pool, 12);
    let _first = FakeBuild::start_urgent(&pool, 2);
    let third = FakeBuild::start_urgent(&pool, 2);
    assert_eq!(third.unread(), 0);
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
fn a_build_that_dies_gives_back_the_tokens_it_had_read() {
    let (_directory, pool) = pool(3);
    let mut greedy = FakeBuild::start(&pool);
    greedy.take();
    greedy.take();
    drop(greedy);
    let next = FakeBuild::start(&pool);
    assert_eq!(next.unread(), 2);
}

#[test]
fn tokens_that_a_build_invents_reach_nobody() {
    let (_directory, pool) = pool(2);
    let mut hostile = FakeBuild::start(&pool);
    hostile.take();
    hostile.write.write_all(&[b'+'; 5000]).unwrap();
    // The invented ones are thrown away, the honest one among them is free again.
    let other = FakeBuild::start(&pool);
    eventually("the pipe is drained", || hostile.unread() == 0);
    assert_eq!(other.unread(), 0);
    drop(hostile);
    assert_eq!(other.unread(), 1);
    drop(other);
    assert_eq!(FakeBuild::start(&pool).unread(), 1);
}

#[test]
fn a_build_that_fills_its_pipe_does_not_block_the_pool() {
    let (_directory, pool) = pool(2);
    let mut hostile = FakeBuild::start(&pool);
    hostile.take();
    rustix::io::ioctl_fionbio(&hostile.write, true).unwrap();
    while hostile.write.write(&[b'x'; 4096]).is_ok() {}
    drop(hostile);
    assert_eq!(FakeBuild::start(&pool).unread(), 1);
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

#[test]
fn a_build_making_its_end_non_blocking_does_not_change_the_pools() {
    let (_directory, pool) = pool(2);
    let build = FakeBuild::start(&pool);
    let flags = |fd: &File| rustix::fs::fcntl_getfl(fd).unwrap();
    assert!(!flags(&build.read).contains(rustix::fs::OFlags::NONBLOCK));
    rustix::io::ioctl_fionbio(&build.read, true).unwrap();
    assert_eq!(build.unread(), 1);
    // Taking back from an empty pipe must still return at once.
    let state = pool.shared.lock();
    let slot = state.slots.values().next().unwrap();
    assert_eq!(slot.pipe.take(2), 1);
}

#[test]
fn nothing_that_a_build_did_to_its_pipe_reaches_the_next_build() {
    let (_directory, pool) = pool(3);
    let mut spoiler = FakeBuild::start(&pool);
    spoiler.take();
    spoiler.write.write_all(b"rubbish").unwrap();
    rustix::io::ioctl_fionbio(&spoiler.read, true).unwrap();
    rustix::io::ioctl_fionbio(&spoiler.write, true).unwrap();
    #[cfg(target_os = "linux")]
    {
        rustix::pipe::fcntl_setpipe_size(&spoiler.write, 4096).unwrap();
        let packets = rustix::fs::OFlags::DIRECT;
        let flags = rustix::fs::fcntl_getfl(&spoiler.write).unwrap();
        rustix::fs::fcntl_setfl(&spoiler.write, flags | packets).unwrap();
    }
    drop(spoiler);
    let mut next = FakeBuild::start(&pool);
    for end in [&next.read, &next.write] {
        let flags = rustix::fs::fcntl_getfl(end).unwrap();
        assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
        #[cfg(target_os = "linux")]
        {
            assert!(!flags.contains(rustix::fs::OFlags::DIRECT));
            assert!(rustix::pipe::fcntl_getpipe_size(end).unwrap() > 4096);
        }
    }
    assert_eq!(next.unread(), 2);
    next.take();
    next.take();
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

/// A pool that borrows from the same three tokens as others do that are made with the same `directory`.
fn borrowing(directory: &Path) -> JobPool {
    let three = NonZeroUsize::new(3).unwrap();
    let shared = SharedTokens::new(&directory.join("tokens"), three, 0).unwrap();
    JobPool::borrowing(three, None, directory, Arc::new(shared)).unwrap()
}

fn borrowed(directory: &Path) -> usize {
    SharedTokens::used(&directory.join("tokens")).unwrap()
}

#[test]
fn a_pool_borrows_what_its_builds_use_and_gives_it_back() {
    let directory = tempfile::tempdir().unwrap();
    let pool = borrowing(directory.path());
    assert_eq!(borrowed(directory.path()), 0);
    let mut build = FakeBuild::start(&pool);
    for _ in 0..2 {
        build.take();
    }
    eventually("all are borrowed", || borrowed(directory.path()) == 3);
    build.give_back();
    build.give_back();
    // One lies ready, as long as no other wants it.
    eventually("one is given back", || borrowed(directory.path()) == 2);
    drop(build);
    assert_eq!(borrowed(directory.path()), 0);
}

#[test]
fn a_build_of_another_pool_gets_the_token_of_a_job_that_ends() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (borrowing(directory.path()), borrowing(directory.path()));
    let mut many = FakeBuild::start(&one);
    many.take();
    many.take();
    let started = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let build = FakeBuild::start(&other);
            started.fetch_add(1, Ordering::SeqCst);
            build
        });
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(started.load(Ordering::SeqCst), 0);
        // As make does: back, and the next job's at once.
        let mut rounds = 0;
        while started.load(Ordering::SeqCst) == 0 {
            many.give_back();
            std::thread::sleep(Duration::from_micros(200));
            let mut byte = [0];
            let read = rustix::io::ioctl_fionread(&many.read).unwrap() > 0;
            if read {
                many.read.read_exact(&mut byte).unwrap();
            } else {
                break;
            }
            rounds += 1;
            assert!(rounds < 10_000, "it was never caught");
        }
        let build = waiting.join().unwrap();
        assert_eq!(borrowed(directory.path()), 3);
        drop(build);
    });
    drop(many);
    assert_eq!(borrowed(directory.path()), 0);
}

#[test]
fn a_closed_pool_that_borrows_keeps_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let pool = borrowing(directory.path());
    let build = FakeBuild::start(&pool);
    pool.close();
    assert!(pool.acquire(0, None).unwrap().is_none());
    drop(build);
    drop(pool);
    assert_eq!(borrowed(directory.path()), 0);
}
