// SPDX-License-Identifier: GPL-3.0-or-later
//! Which build gets a token next, and which gives one back. The state of the pool alone decides; the manager's thread
//! calls this with the lock held.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{TokenSlot, TokenState};

impl TokenState {
    /// Whether looking again later could move a token: some are out, and another build could want them.
    pub(super) fn tokens_can_move(&self) -> bool {
        let out = self.free > 0 || self.slots.values().any(|slot| slot.given > 0);
        let waiting = self.waiting.values().any(|waiter| !waiter.granted);
        out && (self.slots.len() > 1 || (waiting && !self.slots.is_empty()))
    }

    /// Whether tokens are better offered to the running build `slot` than given to one of `urgency` that waits to
    /// start.
    fn comes_before(&self, slot: &TokenSlot, urgency: u64) -> bool {
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
        let used = |(id, slot): (&u64, &TokenSlot)| 1 + slot.given.saturating_sub(unread(id));
        let granted = self.waiting.values().filter(|waiter| waiter.granted);
        let jobs = self.slots.iter().map(used).sum::<usize>() + granted.count();
        jobs >= spare.processors.get() && self.slots.values().any(|slot| slot.urgency > outlasted)
    }

    /// Forgets what builds made of earlier offers.
    pub(super) fn offer_anew(&mut self) {
        for slot in self.slots.values_mut() {
            slot.refuses_since = None;
        }
    }

    /// The least number that no running build has.
    pub(super) fn free_place(&self) -> usize {
        let taken: Vec<usize> = self.slots.values().map(|slot| slot.place).collect();
        (0..)
            .find(|place| !taken.contains(place))
            .unwrap_or_default()
    }

    /// Takes a waiter out; a token that it was granted meanwhile is free again.
    pub(super) fn withdraw(&mut self, id: u64) {
        if self
            .waiting
            .remove(&id)
            .is_some_and(|waiter| waiter.granted)
        {
            self.free += 1;
        }
    }

    /// One look at all pipes, as the module's comment describes. True where a waiter was granted a token.
    pub(super) fn rebalance(&mut self) -> bool {
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
    pub(super) fn take_back_from(&mut self, donor: u64, unread: &mut BTreeMap<u64, usize>) -> bool {
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
        let room =
            |slot: &TokenSlot| slot.may_have_more() && !self.is_full_for(slot.urgency, unread);
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
