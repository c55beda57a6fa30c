// SPDX-License-Identifier: GPL-3.0-or-later
//! One pool of job tokens for all running builds.
//!
//! A pool has as many tokens as jobs may run at a time. Each running build holds one for as long as it runs
//! (GNU make calls it the implicit one), and has a GNU make jobserver pipe of its own for more. A manager
//! moves the remaining tokens to where they are wanted, so that a build in its parallel phase uses the cores
//! that others, busy with `configure`, leave idle; and there are never more tokens out than the pool has.
//!
//! Why a pipe each and not one for all: a build that is killed, or a program that forgets to write its token
//! back, would lose tokens of a shared pipe for good, and a hostile build could add some. Here the pool knows
//! how many tokens each build got. When the build ends, that many are free again, whatever it did; what it
//! writes beyond that is thrown away and reaches no one else.
//!
//! The algorithm. For each pipe the pool knows `given`; the pipe tells `unread` (`FIONREAD`); the difference
//! is in use. A build whose pipe is empty may want a token, a build that leaves one unread does not, at the
//! moment. So, in this order:
//!
//! 1. bytes beyond `given` are discarded;
//! 2. builds that wait to start get free tokens, and where there are none, unread ones are taken back for them. A more
//!    urgent build that runs and has used tokens comes before them: what becomes free is offered to it first, and what
//!    it leaves unread is taken back from it only after a while, when it is not just between two jobs. So a build that
//!    is urgent and long has all cores but in its serial stretches, and these are what others start in;
//! 3. free tokens go to the pipes with the fewest unread ones, the most urgent build first;
//! 4. an unread token moves from a pipe that has one to a pipe that has none.
//!
//! A pool may have a few more tokens than the machine has processors, for jobs that sleep ([`Spare`]). A build of much
//! greater urgency than another, which will outlast it, has these for itself: the other neither starts nor gets more
//! tokens by them. It should use the processors that the urgent build leaves idle in its serial stretches. More
//! of these will come until that ends, and work that is finished too early is missing then.
//!
//! A build may have a limit of its own: one that is kept on some of the processors leaves the others free.
//!
//! Step 4 makes one token that two builds might want wander between them: the build that really waits for it reads
//! it within microseconds. Only then, with tokens out and more than one taker, does the manager look again
//! every 10 ms; otherwise it sleeps until a build starts or ends.
//!
//! A pool may be one session's part of a pool that several processes share (`lending`). Then its tokens are borrowed as
//! they are wanted, and given back as soon as they are not.

mod balance;
mod lending;
mod pipe;

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lending::Lender;
use pipe::TokenPipe;

use super::shared_tokens::SharedTokens;

/// The file descriptors at which a build finds its jobserver: reading end, writing end.
pub const BUILD_DESCRIPTORS: (i32, i32) = (3, 4);

/// A build that has used tokens is taken for serial when it left one unread for so long.
const BETWEEN_JOBS: Duration = Duration::from_millis(200);

/// How often the manager looks at the pipes while tokens can move between builds.
const INTERVAL: Duration = Duration::from_millis(10);

/// Which of a pool's tokens are spare.
#[derive(Debug, Clone, Copy)]
pub struct Spare {
    /// How many jobs the machine runs at a time: tokens beyond these are.
    pub processors: NonZeroUsize,
    /// A running build outlasts one whose urgency is less than its own by more than this.
    pub outlasting: u64,
}

/// A pool of job tokens. Dropping it ends its manager.
#[derive(Debug)]
pub struct JobPool {
    shared: Arc<SharedPool>,
    manager: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct SharedPool {
    capacity: usize,
    /// Where the FIFOs are made (and unlinked at once).
    directory: PathBuf,
    state: Mutex<TokenState>,
    /// Wakes builds that wait to start.
    granted: Condvar,
    /// Wakes the manager.
    changed: Condvar,
}

/// `free + granted to waiters + Σ (1 + given)` is the pool's capacity, always; where tokens are borrowed, it is the
/// number of those.
#[derive(Debug, Default)]
struct TokenState {
    free: usize,
    /// Where tokens are borrowed; `None` where the pool has its own.
    lender: Option<Lender>,
    /// `None`: no token is.
    spare: Option<Spare>,
    /// Numbers builds, and tokens as they are handed out.
    next: u64,
    waiting: BTreeMap<u64, Waiter>,
    slots: BTreeMap<u64, TokenSlot>,
    closed: bool,
    /// [`BETWEEN_JOBS`], but for tests.
    between_jobs: Duration,
}

#[derive(Debug)]
struct Waiter {
    urgency: u64,
    granted: bool,
}

#[derive(Debug)]
struct TokenSlot {
    urgency: u64,
    place: usize,
    /// How many tokens the build may have, its own among them.
    most: usize,
    pipe: TokenPipe,
    /// Tokens put into the pipe and not taken out again by the pool.
    given: usize,
    /// When the pipe last got a token, in tokens handed out by the pool: whose turn it is.
    last_given: u64,
    /// Whether the build has read a token, ever: it is one that runs several jobs.
    parallel: bool,
    /// Since when it has read none of those it was offered; `None` where it used one at the last look, or was offered
    /// none since one became free.
    refuses_since: Option<Instant>,
}

impl TokenSlot {
    fn may_have_more(&self) -> bool {
        1 + self.given < self.most
    }
}

/// One running build's share of a pool: its own token and its pipe. Dropping it gives all of them back, for which every
/// process that has the pipe must be dead.
#[derive(Debug)]
pub struct JobSlot {
    shared: Arc<SharedPool>,
    id: u64,
    place: usize,
    most: usize,
    ends: Option<(OwnedFd, OwnedFd)>,
}

impl JobPool {
    /// A pool of `capacity` tokens, some of which may be `spare`. It makes its pipes in `directory` (a private
    /// directory on a file system that has FIFOs).
    pub fn new(capacity: NonZeroUsize, spare: Option<Spare>, directory: &Path) -> io::Result<Self> {
        Self::with(capacity, spare, directory, BETWEEN_JOBS, None)
    }

    /// A pool like one of [`new`](Self::new), whose tokens, at most `capacity`, are borrowed from `shared`. None of
    /// them is spare: `capacity` is what one session may use of the machine, and the shared pool has its own rule for
    /// the tokens that the machine has no processors for.
    ///
    /// # Errors
    /// Where its thread cannot be started.
    pub fn borrowing(
        capacity: NonZeroUsize,
        directory: &Path,
        shared: Arc<SharedTokens>,
    ) -> io::Result<Self> {
        Self::with(capacity, None, directory, BETWEEN_JOBS, Some(shared))
    }

    fn with(
        capacity: NonZeroUsize,
        spare: Option<Spare>,
        directory: &Path,
        between_jobs: Duration,
        lender: Option<Arc<SharedTokens>>,
    ) -> io::Result<Self> {
        let free = match lender {
            Some(_) => 0,
            None => capacity.get(),
        };
        let shared = Arc::new(SharedPool {
            capacity: capacity.get(),
            directory: directory.to_owned(),
            state: Mutex::new(TokenState {
                free,
                lender: lender.map(|shared| Lender::new(shared, capacity.get())),
                spare,
                between_jobs,
                ..TokenState::default()
            }),
            granted: Condvar::new(),
            changed: Condvar::new(),
        });
        let manager = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("job tokens".into())
                .spawn(move || shared.manage())?
        };
        Ok(Self {
            shared,
            manager: Some(manager),
        })
    }

    /// Waits for a token for a build to start with. Of several waiting builds the one with the greatest
    /// `urgency` comes first, then the one that waits longest. It never has more tokens than `most`, nor learns of
    /// more. `None` once the pool is closed.
    ///
    /// # Errors
    /// Where the build's pipe cannot be made.
    pub fn acquire(&self, urgency: u64, most: Option<NonZeroUsize>) -> io::Result<Option<JobSlot>> {
        // Made before waiting, so that a failure holds no token.
        // A build may have changed the pipe that it had for good (its size, packet mode): the next one gets another.
        let pipe = TokenPipe::create(&self.shared.directory)?;
        let ends = pipe.ends()?;
        let mut state = self.shared.lock();
        if !state.tokens_can_move() {
            // No look for a while: what a pipe held then says nothing about now.
            state.offer_anew();
        }
        let id = state.next;
        state.next += 1;
        let waiter = Waiter {
            urgency,
            granted: false,
        };
        state.waiting.insert(id, waiter);
        state.trade_now();
        state.rebalance();
        self.shared.granted.notify_all();
        self.shared.changed.notify_one();
        loop {
            if state.closed {
                state.withdraw(id);
                return Ok(None);
            }
            if let Some(error) = state.lender.as_mut().and_then(Lender::take_error) {
                state.withdraw(id);
                return Err(error);
            }
            if state.waiting.get(&id).is_some_and(|waiter| waiter.granted) {
                break;
            }
            state = self
                .shared
                .granted
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting.remove(&id);
        let capacity = self.shared.capacity;
        let most = most.map_or(capacity, |most| capacity.min(most.get()));
        let place = state.free_place();
        let slot = TokenSlot {
            urgency,
            place,
            most,
            pipe,
            given: 0,
            last_given: 0,
            parallel: false,
            refuses_since: None,
        };
        state.slots.insert(id, slot);
        state.rebalance();
        self.shared.changed.notify_one();
        Ok(Some(JobSlot {
            shared: Arc::clone(&self.shared),
            id,
            place,
            most,
            ends: Some(ends),
        }))
    }

    /// Turns away all that wait or will wait for a token: the run is being stopped.
    pub fn close(&self) {
        self.closer()();
    }

    /// [`JobPool::close`] as a value, for a [`Cancellation`](crate::events::cancellation::Cancellation).
    pub fn closer(&self) -> impl Fn() + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || {
            shared.lock().closed = true;
            shared.granted.notify_all();
        }
    }
}

impl Drop for JobPool {
    fn drop(&mut self) {
        self.close();
        // The lock is held while notifying, or the manager could miss it between its look and its sleep.
        {
            let _state = self.shared.lock();
            self.shared.changed.notify_all();
        }
        if let Some(manager) = self.manager.take() {
            let _ = manager.join();
        }
        // A build that waited may have been granted a token that it did not take.
        let mut state = self.shared.lock();
        state.trade_now();
        state.rebalance();
    }
}

impl JobSlot {
    /// The build's ends of its pipe, reading and writing, to be passed on as [`BUILD_DESCRIPTORS`]; to be
    /// had once.
    pub fn take_descriptors(&mut self) -> Option<(OwnedFd, OwnedFd)> {
        self.ends.take()
    }

    /// A number that no other running build has, and the least of those: less than the pool's capacity.
    pub fn place(&self) -> usize {
        self.place
    }

    /// What `MAKEFLAGS` must be for GNU make (and gcc, ninja, cargo) to find the pipe.
    pub fn make_flags(&self) -> String {
        let (read, write) = BUILD_DESCRIPTORS;
        format!(" -j{} --jobserver-auth={read},{write}", self.most)
    }
}

impl Drop for JobSlot {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if let Some(slot) = state.slots.remove(&self.id) {
            state.free += 1 + slot.given;
            state.offer_anew();
        }
        state.trade_now();
        state.rebalance();
        self.shared.granted.notify_all();
        self.shared.changed.notify_one();
    }
}

impl SharedPool {
    fn lock(&self) -> MutexGuard<'_, TokenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The manager's thread.
    fn manage(&self) {
        let mut state = self.lock();
        while !state.closed {
            state = if let Some(pipes) = state.pipes_to_watch() {
                // Without the lock, and not for long: builds come and go.
                drop(state);
                pipe::wait_for_any(&pipes, INTERVAL);
                self.lock()
            } else if let Some(pause) = state.next_trade() {
                self.changed
                    .wait_timeout(state, pause)
                    .map(|(state, _)| state)
                    .unwrap_or_else(|poisoned| poisoned.into_inner().0)
            } else {
                self.changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner)
            };
            if state.rebalance() {
                self.granted.notify_all();
            }
        }
    }
}

#[cfg(test)]
mod tests;
