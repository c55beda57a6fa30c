// SPDX-License-Identifier: GPL-3.0-or-later
//! Pools of several processes that share their tokens.

use super::*;

/// A pool that borrows from the same three tokens as others do that are made with the same `directory`.
fn borrowing(directory: &Path) -> JobPool {
    let three = NonZeroUsize::new(3).unwrap();
    let shared = SharedTokens::new(&directory.join("tokens"), three, 0).unwrap();
    JobPool::borrowing(three, directory, Arc::new(shared)).unwrap()
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
fn as_many_builds_start_beside_a_longer_one_as_there_are_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let pool = borrowing(directory.path());
    // A session with `-c1 -M3`: each build has one job.
    let _long = FakeBuild::start_with(&pool, u64::MAX, Some(1));
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _short = [(); 2].map(|()| FakeBuild::start_with(&pool, 0, Some(1)));
            sender.send(borrowed(directory.path())).unwrap();
        });
        let started = receiver.recv_timeout(Duration::from_secs(20));
        // Or it would wait for ever.
        pool.close();
        assert_eq!(started, Ok(3));
    });
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
