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
//! tokens by them. It is for the other processors while that one is serial, and there will be more such stretches until
//! it ends; what is hurried through at the first of them is missing at the last.
//!
//! A build may have a limit of its own: one that is kept on some of the processors leaves the others free.
//!
//! Step 4 makes one token that two builds might want wander between them: the build that really waits for it reads
//! it within microseconds. Only then, with tokens out and more than one taker, does the manager look again
//! every 10 ms; otherwise it sleeps until a build starts or ends.
//!
//! A pool may be one session's part of a pool that several processes share (`lending`). Then its tokens are borrowed as
//! they are wanted, and given back as soon as they are not.

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
    shared: Arc<Shared>,
    manager: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    capacity: usize,
    /// Where the FIFOs are made (and unlinked at once).
    directory: PathBuf,
    state: Mutex<State>,
    /// Wakes builds that wait to start.
    granted: Condvar,
    /// Wakes the manager.
    changed: Condvar,
}

/// `free + granted to waiters + Σ (1 + given)` is the pool's capacity, always; where tokens are borrowed, it is the
/// number of those.
#[derive(Debug, Default)]
struct State {
    free: usize,
    /// Where tokens are borrowed; `None` where the pool has its own.
    lender: Option<Lender>,
    /// `None`: no token is.
    spare: Option<Spare>,
    /// Numbers builds, and tokens as they are handed out.
    next: u64,
    waiting: BTreeMap<u64, Waiter>,
    slots: BTreeMap<u64, Slot>,
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
struct Slot {
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

impl Slot {
    fn may_have_more(&self) -> bool {
        1 + self.given < self.most
    }
}

/// One running build's share of a pool: its own token and its pipe. Dropping it gives all of them back, for which every
/// process that has the pipe must be dead.
#[derive(Debug)]
pub struct JobSlot {
    shared: Arc<Shared>,
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

    /// A pool like one of [`new`](Self::new), whose tokens, at most `capacity`, are borrowed from `shared`.
    ///
    /// # Errors
    /// Where its thread cannot be started.
    pub fn borrowing(
        capacity: NonZeroUsize,
        spare: Option<Spare>,
        directory: &Path,
        shared: Arc<SharedTokens>,
    ) -> io::Result<Self> {
        Self::with(capacity, spare, directory, BETWEEN_JOBS, Some(shared))
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
        let shared = Arc::new(Shared {
            capacity: capacity.get(),
            directory: directory.to_owned(),
            state: Mutex::new(State {
                free,
                lender: lender.map(|shared| Lender::new(shared, capacity.get())),
                spare,
                between_jobs,
                ..State::default()
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
        let slot = Slot {
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

    /// Turns away everybody who waits or will wait for a token: the run is being stopped.
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

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
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
            } else if let Some(pause) = state.next_look() {
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

impl State {
    /// Whether looking again later could move a token: some are out, and another build could want them.
    fn tokens_can_move(&self) -> bool {
        let out = self.free > 0 || self.slots.values().any(|slot| slot.given > 0);
        let waiting = self.waiting.values().any(|waiter| !waiter.granted);
        out && (self.slots.len() > 1 || (waiting && !self.slots.is_empty()))
    }

    /// Whether tokens are better offered to the running build `slot` than given to one of `urgency` that waits to
    /// start.
    fn comes_before(&self, slot: &Slot, urgency: u64) -> bool {
        let refuses = |since: Instant| since.elapsed() >= self.between_jobs;
        slot.parallel && slot.urgency > urgency && !slot.refuses_since.is_some_and(refuses)
    }

    /// Whether only spare tokens are left, and a running build will go on when one of `urgency` has long ended. That
    /// one need not have had several jobs yet: to begin with, most are configured.
    fn is_full_for(&self, urgency: u64, unread: &BTreeMap<u64, usize>) -> bool {
        let Some(spare) = self.spare else {
            return false;
        };
        let outlasted = urgency.saturating_add(spare.outlasting);
        let unread = |id: &u64| unread.get(id).copied().unwrap_or(0);
        let used = |(id, slot): (&u64, &Slot)| 1 + slot.given.saturating_sub(unread(id));
        let granted = self.waiting.values().filter(|waiter| waiter.granted);
        let jobs = self.slots.iter().map(used).sum::<usize>() + granted.count();
        jobs >= spare.processors.get() && self.slots.values().any(|slot| slot.urgency > outlasted)
    }

    /// Forgets what builds made of earlier offers.
    fn offer_anew(&mut self) {
        for slot in self.slots.values_mut() {
            slot.refuses_since = None;
        }
    }

    /// The least number that no running build has.
    fn free_place(&self) -> usize {
        let taken: Vec<usize> = self.slots.values().map(|slot| slot.place).collect();
        (0..)
            .find(|place| !taken.contains(place))
            .unwrap_or_default()
    }

    /// Takes a waiter out; a token that it was granted meanwhile is free again.
    fn withdraw(&mut self, id: u64) {
        if self
            .waiting
            .remove(&id)
            .is_some_and(|waiter| waiter.granted)
        {
            self.free += 1;
        }
    }

    /// One look at all pipes, as the module's comment describes. True where a waiter was granted a token.
    fn rebalance(&mut self) -> bool {
        let mut unread: BTreeMap<u64, usize> = BTreeMap::new();
        for (id, slot) in &mut self.slots {
            let mut count = slot.pipe.unread();
            if count > slot.given {
                slot.pipe.take(count - slot.given);
                count = count.min(slot.given);
            }
            if count < slot.given {
                slot.parallel = true;
                slot.refuses_since = None;
            } else if count > 0 {
                slot.refuses_since.get_or_insert_with(Instant::now);
            }
            unread.insert(*id, count);
        }
        self.trade(&mut unread);
        let granted = self.grant(&mut unread);
        self.hand_out(&mut unread);
        self.pass_on(&mut unread);
        granted
    }

    /// Step 2: tokens for builds that wait to start.
    fn grant(&mut self, unread: &mut BTreeMap<u64, usize>) -> bool {
        let mut any = false;
        while let Some((next, urgency)) = self
            .waiting
            .iter()
            .filter(|(_, waiter)| !waiter.granted)
            .max_by_key(|(id, waiter)| (waiter.urgency, std::cmp::Reverse(**id)))
            .map(|(id, waiter)| (*id, waiter.urgency))
        {
            if self.free > 0 && self.give_to_one_before(urgency, unread) {
                continue;
            }
            if self.is_full_for(urgency, unread) {
                break;
            }
            if self.free == 0 && (self.is_in_debt() || !self.take_back_one(urgency, unread)) {
                break;
            }
            self.free -= 1;
            if let Some(waiter) = self.waiting.get_mut(&next) {
                waiter.granted = true;
            }
            any = true;
        }
        any
    }

    /// Gives a free token to a running build that comes before one of `urgency` and has read all it was given; false
    /// where there is none.
    fn give_to_one_before(&mut self, urgency: u64, unread: &mut BTreeMap<u64, usize>) -> bool {
        let reading = |id: &u64| unread.get(id).is_none_or(|count| *count == 0);
        let before = self
            .slots
            .iter()
            .filter(|(id, slot)| self.comes_before(slot, urgency) && reading(id))
            .max_by_key(|(_, slot)| slot.urgency)
            .map(|(id, _)| *id);
        before.is_some_and(|id| self.give(id, unread))
    }

    /// Takes an unread token back for a build of `urgency`, from the least urgent build that has one and does not come
    /// before it.
    fn take_back_one(&mut self, urgency: u64, unread: &mut BTreeMap<u64, usize>) -> bool {
        let donors = self.slots.iter();
        let mut donors: Vec<u64> = donors
            .filter(|(_, slot)| !self.comes_before(slot, urgency))
            .map(|(id, _)| *id)
            .collect();
        donors.sort_by_key(|id| self.slots.get(id).map(|slot| slot.urgency));
        donors
            .into_iter()
            .any(|donor| self.take_back_from(donor, unread))
    }

    /// Takes an unread token back from one build; false where it has none (it may have read it just now).
    fn take_back_from(&mut self, donor: u64, unread: &mut BTreeMap<u64, usize>) -> bool {
        let (Some(slot), Some(count)) = (self.slots.get_mut(&donor), unread.get_mut(&donor)) else {
            return false;
        };
        if *count == 0 {
            return false;
        }
        if slot.pipe.take(1) == 0 {
            *count = 0;
            return false;
        }
        *count -= 1;
        slot.given -= 1;
        self.free += 1;
        true
    }

    /// Gives a free token to one build; false where it may have no more, or its pipe takes none.
    fn give(&mut self, taker: u64, unread: &mut BTreeMap<u64, usize>) -> bool {
        let (Some(slot), Some(count)) = (self.slots.get_mut(&taker), unread.get_mut(&taker)) else {
            return false;
        };
        if self.free == 0 || !slot.may_have_more() || !slot.pipe.put() {
            return false;
        }
        self.free -= 1;
        self.next += 1;
        slot.last_given = self.next;
        slot.given += 1;
        *count += 1;
        true
    }

    /// Step 3: free tokens to the pipes with the fewest unread ones.
    fn hand_out(&mut self, unread: &mut BTreeMap<u64, usize>) {
        let mut refused = Vec::new();
        while self.free > 0 {
            let next = self
                .slots
                .iter()
                .filter(|(id, _)| !refused.contains(*id))
                .filter(|(_, slot)| !self.is_full_for(slot.urgency, unread))
                .min_by_key(|(id, slot)| {
                    let count = unread.get(*id).copied().unwrap_or(0);
                    (count, std::cmp::Reverse(slot.urgency), **id)
                })
                .map(|(id, _)| *id);
            let Some(next) = next else { break };
            if !self.give(next, unread) {
                refused.push(next);
            }
        }
    }

    /// Step 4: from pipes with unread tokens to empty ones, in turn. What moved in this round is not moved
    /// again.
    fn pass_on(&mut self, unread: &mut BTreeMap<u64, usize>) {
        let room = |slot: &Slot| slot.may_have_more() && !self.is_full_for(slot.urgency, unread);
        let may = |id: &u64| self.slots.get(id).is_some_and(room);
        let mut hungry: Vec<u64> = unread
            .iter()
            .filter(|(id, count)| **count == 0 && may(id))
            .map(|(id, _)| *id)
            .collect();
        hungry.sort_by_key(|id| self.slots.get(id).map(|slot| slot.last_given));
        let mut donors: Vec<u64> = unread
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(id, _)| *id)
            .collect();
        donors.sort_by_key(|id| std::cmp::Reverse(unread.get(id).copied()));
        for taker in hungry {
            let found = donors
                .iter()
                .any(|donor| self.take_back_from(*donor, unread));
            if !found {
                return;
            }
            self.give(taker, unread);
        }
    }
}

#[cfg(test)]
#[path = "jobserver/tests.rs"]
mod tests;
