// SPDX-License-Identifier: GPL-3.0-or-later
//! Which build gets a token that becomes free.

use super::*;

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
