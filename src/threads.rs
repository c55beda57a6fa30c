// SPDX-License-Identifier: GPL-3.0-or-later
//! Threads where the system may refuse them: a control group or a limit (`pids.max`, `ulimit -u`) leaves few.
//!
//! `std::thread::spawn` and `Scope::spawn` panic there, and so does rayon where its pool is first used. So this program
//! uses `std::thread::Builder`, whose error is handled, and calls [`ready`] before rayon.

use std::sync::OnceLock;

/// Makes rayon's threads, once in a process: one for each core. Where the system refuses them there are fewer; without
/// any, what follows runs on the calling thread.
pub fn ready() {
    static READY: OnceLock<()> = OnceLock::new();
    READY.get_or_init(|| {
        // It can be made once only, also where that fails: so it is tried before whether there are threads for it.
        let all = std::thread::available_parallelism().map_or(1, |count| count.get());
        let mut count = all;
        while count > 0 && !can_start(count) {
            count /= 2;
        }
        let pool = match rayon::ThreadPoolBuilder::new() {
            pool if count == all => pool,
            pool if count == 0 => pool.num_threads(1).use_current_thread(),
            pool => pool.num_threads(count),
        };
        // It fails where there is a pool already, which is as good.
        let _ = pool.build_global();
    });
}

/// Whether `count` threads can be started: they are, for a moment.
fn can_start(count: usize) -> bool {
    std::thread::scope(|scope| {
        let start = |_| std::thread::Builder::new().spawn_scoped(scope, std::thread::park);
        let started: Vec<_> = (0..count).map(start).collect();
        let threads = started.iter().flatten();
        threads.for_each(|thread| thread.thread().unpark());
        started.iter().all(Result::is_ok)
    })
}

/// Threads to work on, or none but the calling one and those of [`ready`].
#[derive(Debug)]
pub struct Pool(Option<rayon::ThreadPool>);

impl Pool {
    /// Runs `work`, whose parallel iterators use the pool's threads.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.0 {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}

/// A pool of `count` threads; of fewer, down to the calling thread alone, where the system refuses some.
/// Where [`ready`] has made as many there is no second pool.
pub fn pool(count: usize) -> Pool {
    ready();
    if count == rayon::current_num_threads() {
        return Pool(None);
    }
    let mut fewer = count.max(1);
    loop {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(fewer).build();
        match pool {
            Ok(pool) => return Pool(Some(pool)),
            Err(_) if fewer > 1 => fewer /= 2,
            Err(_) => return Pool(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_has_as_many_threads_as_asked_for() {
        ready();
        ready();
        assert!(rayon::current_num_threads() >= 1);
        assert_eq!(pool(3).install(rayon::current_num_threads), 3);
        assert_eq!(pool(0).install(rayon::current_num_threads), 1);
        assert!(pool(rayon::current_num_threads()).0.is_none());
    }
}
