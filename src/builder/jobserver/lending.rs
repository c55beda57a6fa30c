// SPDX-License-Identifier: GPL-3.0-or-later
//! Borrows the tokens of a pool from one that several processes share.
//!
//! The pool keeps no token that it does not use. It asks for one when a build waits to start, and for one more for each
//! running build that has read all it was given. What becomes free goes back first, also where a build of this pool
//! waits: whose turn it is is for the shared pool to say.
//!
//! Where others lack tokens that builds here use for their jobs, the pool must catch them when a job ends: make takes
//! the token that it has put back for its next job a moment later. So the manager waits on the pipes themselves.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{INTERVAL, TokenState};
use crate::builder::shared_tokens::{SharedTokens, Trade, Wants};

/// Where a pool borrows its tokens.
#[derive(Debug)]
pub(super) struct Lender {
    shared: Arc<SharedTokens>,
    /// The most tokens that are borrowed.
    most: usize,
    held: usize,
    /// When the shared pool was last traded with; `None` where that is due.
    traded: Option<Instant>,
    pause: Duration,
    /// How many tokens others lack that this pool should give back.
    lacking: usize,
    error: Option<io::Error>,
}

impl Lender {
    pub(super) fn new(shared: Arc<SharedTokens>, most: usize) -> Self {
        Self {
            shared,
            most,
            held: 0,
            traded: None,
            pause: Duration::ZERO,
            lacking: 0,
            error: None,
        }
    }

    /// Why tokens could not be borrowed, where they could not.
    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    /// Gives `surplus` tokens back and asks for one. Whether there is one.
    ///
    /// # Errors
    /// Then the pool holds what it held before.
    fn trade(&mut self, surplus: usize, wants: Wants) -> io::Result<bool> {
        let left = self.held.saturating_sub(surplus);
        let wants = match left < self.most {
            true => wants,
            false => Wants::Nothing,
        };
        self.traded = Some(Instant::now());
        match self.shared.trade(surplus, wants) {
            Ok(Trade {
                granted,
                lacking,
                pause,
            }) => {
                self.held = left + usize::from(granted);
                (self.lacking, self.pause) = (lacking, pause);
                // What kept an earlier trade from being made is over.
                self.error = None;
                Ok(granted)
            }
            Err(error) => {
                self.pause = INTERVAL;
                Err(error)
            }
        }
    }

    fn is_due(&self) -> bool {
        self.traded
            .is_none_or(|traded| traded.elapsed() >= self.pause)
    }
}

impl TokenState {
    /// Has the next look at the pipes look at the shared pool, too.
    pub(super) fn trade_now(&mut self) {
        if let Some(lender) = &mut self.lender {
            lender.traded = None;
        }
    }

    /// Whether other processes wait for tokens that this pool uses.
    pub(super) fn is_in_debt(&self) -> bool {
        self.lender
            .as_ref()
            .is_some_and(|lender| lender.lacking > 0)
    }

    /// How long the manager sleeps before it looks again; `None`: until a build starts or ends.
    pub(super) fn next_trade(&self) -> Option<Duration> {
        match &self.lender {
            Some(lender) => {
                let is_idle = self.slots.is_empty() && self.waiting.is_empty() && lender.held == 0;
                let pause = match self.waiting.values().any(|waiter| !waiter.granted) {
                    true => lender.pause,
                    false => lender.pause.max(INTERVAL),
                };
                (!is_idle).then_some(pause.max(Duration::from_millis(1)))
            }
            None => self.tokens_can_move().then_some(INTERVAL),
        }
    }

    /// The pipes in which tokens that others lack may appear.
    pub(super) fn pipes_to_watch(&self) -> Option<Vec<Arc<OwnedFd>>> {
        if !self.is_in_debt() {
            return None;
        }
        let used = self.slots.values().filter(|slot| slot.given > 0);
        let pipes: Vec<_> = used.map(|slot| slot.pipe.reading_end()).collect();
        (!pipes.is_empty()).then_some(pipes)
    }

    /// Gives back what is not used, and borrows what is wanted, if it is time to look.
    pub(super) fn trade(&mut self, unread: &mut BTreeMap<u64, usize>) {
        let Some(mut lender) = self.lender.take() else {
            return;
        };
        let owes = lender.lacking > 0 && unread.values().any(|count| *count > 0);
        if owes || lender.is_due() {
            // One lies ready for each build; more are not used.
            for id in self.slots.keys().copied().collect::<Vec<_>>() {
                while unread.get(&id).is_some_and(|count| *count > 1) {
                    if !self.take_back_from(id, unread) {
                        break;
                    }
                }
            }
            let lacks = |id: &u64| unread.get(id).is_none_or(|count| *count == 0);
            let wants = if self.closed {
                Wants::Nothing
            } else if self.waiting.values().any(|waiter| !waiter.granted) {
                Wants::Start
            } else if self
                .slots
                .iter()
                .any(|(id, slot)| lacks(id) && slot.may_have_more())
            {
                Wants::Jobs
            } else {
                Wants::Nothing
            };
            let mut granted = self.give_back(&mut lender, self.free, wants);
            // Further builds that wait start at once, while there are tokens.
            let waiting = self.waiting.values().filter(|waiter| !waiter.granted);
            for _ in 1..waiting.count().max(1) {
                if !granted || wants != Wants::Start {
                    break;
                }
                self.free += 1;
                granted = self.give_back(&mut lender, 0, wants);
            }
            self.free += usize::from(granted);
            let owed = lender.lacking;
            let mut taken = 0;
            let donors: Vec<u64> = unread.keys().copied().collect();
            for donor in donors {
                while taken < owed && self.take_back_from(donor, unread) {
                    taken += 1;
                }
            }
            if taken > 0 {
                let granted = self.give_back(&mut lender, taken, wants);
                self.free += usize::from(granted);
            }
        }
        self.lender = Some(lender);
    }

    /// Gives `count` of the free tokens back and asks for one. Whether there is one, which is not counted yet. Where
    /// that fails, they stay free.
    fn give_back(&mut self, lender: &mut Lender, count: usize, wants: Wants) -> bool {
        match lender.trade(count, wants) {
            Ok(granted) => {
                self.free = self.free.saturating_sub(count);
                granted
            }
            Err(error) => {
                lender.error = Some(error);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::path::Path;

    use super::*;
    use crate::builder::jobserver::JobPool;

    fn borrowing(directory: &Path) -> JobPool {
        let three = NonZeroUsize::new(3).unwrap();
        let shared = SharedTokens::new(&directory.join("tokens"), three, 0).unwrap();
        JobPool::borrowing(three, directory, Arc::new(shared)).unwrap()
    }

    /// One look of `pool`, in which others lack `lacking` tokens. Whether it then has as many as it has borrowed.
    fn is_balanced_after(pool: &JobPool, lacking: usize) -> bool {
        let mut state = pool.shared.lock();
        if let Some(lender) = &mut state.lender {
            lender.lacking = lacking;
        }
        state.trade_now();
        state.rebalance();
        let used: usize = state.slots.values().map(|slot| 1 + slot.given).sum();
        let held = state.lender.as_ref().map(|lender| lender.held);
        held == Some(state.free + used)
    }

    #[test]
    fn a_trade_that_fails_neither_makes_nor_loses_tokens() {
        let directory = tempfile::tempdir().unwrap();
        let tokens = directory.path().join("tokens");
        let away = directory.path().join("away");
        let pool = borrowing(directory.path());
        let build = pool.acquire(0, None).unwrap().unwrap();
        // One token lies ready for a further job: it is taken back for those who lack one.
        assert!(is_balanced_after(&pool, 0));
        std::fs::rename(&tokens, &away).unwrap();
        assert!(is_balanced_after(&pool, 1));
        std::fs::rename(&away, &tokens).unwrap();
        assert!(is_balanced_after(&pool, 1));
        std::fs::rename(&tokens, &away).unwrap();
        assert!(is_balanced_after(&pool, 0));
        std::fs::rename(&away, &tokens).unwrap();
        drop(build);
        assert!(is_balanced_after(&pool, 0));
        assert_eq!(SharedTokens::used(&tokens).unwrap(), 0);
        // And the next builds have all of them.
        let builds: Vec<_> = (0..3).map(|_| pool.acquire(0, None).unwrap()).collect();
        assert_eq!(SharedTokens::used(&tokens).unwrap(), 3);
        drop(builds);
        assert_eq!(SharedTokens::used(&tokens).unwrap(), 0);
    }
}
