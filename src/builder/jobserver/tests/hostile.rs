// SPDX-License-Identifier: GPL-3.0-or-later
//! Builds that die with tokens, invent some or change their pipe.

use super::*;

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
