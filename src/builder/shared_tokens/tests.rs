// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;

struct TestPool(tempfile::TempDir);

impl TestPool {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A process's part. Locks are of open files, so parts in one process are as good as those of several.
    fn part(&self, size: usize, reserve: usize) -> SharedTokens {
        let size = NonZeroUsize::new(size).unwrap();
        SharedTokens::new(&self.0.path().join("tokens"), size, reserve).unwrap()
    }

    fn shares(&self) -> usize {
        let entries = std::fs::read_dir(self.0.path().join("tokens")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.to_str().unwrap().starts_with(SHARE))
            .count()
    }
}

/// A process that is not this one.
const OTHER: ShareOwner = ShareOwner {
    process: 1,
    number: 0,
};

fn start(part: &SharedTokens) -> bool {
    part.trade(0, Wants::Start).unwrap().granted
}

#[test]
fn there_are_never_more_tokens_out_than_the_pool_has() {
    let pool = TestPool::new();
    let (one, other) = (pool.part(3, 0), pool.part(3, 0));
    assert!(start(&one) && start(&one) && start(&other));
    assert!(!start(&one) && !start(&other));
    assert_eq!(
        SharedTokens::used(&pool.0.path().join("tokens")).unwrap(),
        3
    );
    one.trade(1, Wants::Nothing).unwrap();
    assert!(start(&other));
    assert!(!start(&other));
}

#[test]
fn the_process_with_fewest_comes_first_then_the_one_that_waits_longest() {
    let pool = TestPool::new();
    let parts: Vec<_> = (0..3).map(|_| pool.part(3, 0)).collect();
    assert!(start(&parts[0]) && start(&parts[0]) && start(&parts[1]));
    // The first two wait for one more each, then the third for its first.
    for part in &parts {
        assert!(!start(part));
    }
    let trade = parts[0].trade(1, Wants::Start).unwrap();
    assert_eq!((trade.granted, trade.lacking), (false, 0));
    assert!(!start(&parts[1]));
    assert!(start(&parts[2]));
    // All hold one now. Of the two that have waited, the first got its last token before the other did.
    parts[2].trade(1, Wants::Nothing).unwrap();
    let granted: Vec<bool> = [1, 0].map(|number: usize| start(&parts[number])).to_vec();
    assert_eq!(granted, [false, true]);
}

#[test]
fn a_process_that_holds_more_sees_that_another_lacks() {
    let pool = TestPool::new();
    let (many, few) = (pool.part(3, 0), pool.part(3, 0));
    assert!(start(&many) && start(&many) && start(&many));
    assert!(!start(&few));
    assert_eq!(many.trade(0, Wants::Jobs).unwrap().lacking, 1);
    many.trade(1, Wants::Jobs).unwrap();
    assert!(start(&few));
    // Two and one: a second build of the other would only turn it round.
    assert!(!start(&few));
    assert_eq!(many.trade(0, Wants::Jobs).unwrap().lacking, 1);
    few.trade(0, Wants::Jobs).unwrap();
    assert_eq!(many.trade(0, Wants::Jobs).unwrap().lacking, 0);
}

#[test]
fn the_reserve_is_for_builds_that_start() {
    let pool = TestPool::new();
    let (one, other) = (pool.part(3, 1), pool.part(3, 1));
    assert!(start(&one));
    assert!(one.trade(0, Wants::Jobs).unwrap().granted);
    assert!(!one.trade(0, Wants::Jobs).unwrap().granted);
    assert!(start(&other));
}

#[test]
fn what_a_dead_process_held_is_free_and_its_file_removed() {
    let pool = TestPool::new();
    let part = pool.part(2, 0);
    // As a killed process leaves it: no lock.
    let holder = Share {
        held: 2,
        ..Share::default()
    };
    let waiting = |wants, since| Share {
        held: 0,
        wants,
        since,
    };
    let left = [
        // Of an earlier version.
        "share-9-9".to_owned(),
        holder.to_name(OTHER),
        waiting(Wants::Start, 1).to_name(OTHER),
        waiting(Wants::Start, 2).to_name(OTHER),
        waiting(Wants::Jobs, 3).to_name(OTHER),
    ];
    let left = left.map(|name| pool.0.path().join("tokens").join(name));
    for file in &left {
        std::fs::write(file, "").unwrap();
    }
    assert!(start(&part) && start(&part));
    assert!(left.iter().all(|file| !file.exists()));
    assert_eq!(pool.shares(), 1);
    drop(part);
    assert_eq!(pool.shares(), 0);
}

#[test]
fn a_share_reads_as_it_was_written_and_nothing_else_is_one() {
    let share = Share {
        held: 7,
        wants: Wants::Start,
        since: u64::MAX,
    };
    assert_eq!(Share::of_name(&share.to_name(OTHER)), Some(share));
    for bad in [
        "",
        "turnstile",
        "share-1-0",
        "share-1-0-1",
        "share-1-0-1-9-0",
        "share-1-0-x-0-0",
        "share-1-0-1-0",
        "other-1-0-1-0-0",
    ] {
        assert_eq!(Share::of_name(bad), None, "{bad}");
    }
}
