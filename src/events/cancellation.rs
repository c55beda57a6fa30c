// SPDX-License-Identifier: GPL-3.0-or-later
//! Stopping a run from outside: one flag, and the actions that make everything notice it.
//!
//! A flag alone would have to be polled by threads that sleep in `wait`, `flock` or a download. So code that
//! starts something long registers how to stop it, for as long as it lasts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type OnCancel = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct CancellationState {
    cancelled: AtomicBool,
    next: AtomicU64,
    actions: Mutex<BTreeMap<u64, OnCancel>>,
}

/// A handle that stops a run. Clones share the same state; a signal-handling *thread* may call
/// [`Cancellation::cancel`] (it takes a lock, so a bare signal handler may not).
#[derive(Clone, Default)]
pub struct Cancellation(Arc<CancellationState>);

impl Cancellation {
    /// A handle that is not used yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the run: sets the flag, then runs every registered action in this thread. Later calls do the
    /// same again, which is harmless: every action only makes something stop.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        // Outside the lock: an action may end the very thing that is about to remove its registration.
        let actions: Vec<OnCancel> = self.actions().values().cloned().collect();
        for action in actions {
            action();
        }
    }

    /// A handle of its own that is cancelled with this one, as long as the registration is kept.
    pub fn child(&self) -> (Self, ActionRegistration) {
        let child = Self::new();
        let cancelled = child.clone();
        (child, self.on_cancel(move || cancelled.cancel()))
    }

    /// Whether the run is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// Has `action` run upon cancellation until the returned registration is dropped; at once where the run
    /// is cancelled already, so there is no moment at which a cancellation can slip through.
    pub fn on_cancel(&self, action: impl Fn() + Send + Sync + 'static) -> ActionRegistration {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let action: OnCancel = Arc::new(action);
        self.actions().insert(id, Arc::clone(&action));
        if self.is_cancelled() {
            action();
        }
        ActionRegistration {
            cancellation: self.clone(),
            id,
        }
    }

    fn actions(&self) -> MutexGuard<'_, BTreeMap<u64, OnCancel>> {
        self.0
            .actions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cancellation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Cancellation")
            .field(&self.is_cancelled())
            .finish()
    }
}

/// Keeps an action registered with a [`Cancellation`] until it is dropped.
#[derive(Debug)]
#[must_use = "the action is forgotten when this is dropped"]
pub struct ActionRegistration {
    cancellation: Cancellation,
    id: u64,
}

impl Drop for ActionRegistration {
    fn drop(&mut self) {
        self.cancellation.actions().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn actions_run_on_cancellation_and_not_after_their_registration_ends() {
        let cancellation = Cancellation::new();
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        let kept = cancellation.on_cancel(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        let counter = Arc::clone(&count);
        drop(cancellation.on_cancel(move || {
            counter.fetch_add(100, Ordering::SeqCst);
        }));
        cancellation.cancel();
        assert_eq!(count.load(Ordering::SeqCst), 1);
        drop(kept);
        cancellation.cancel();
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn an_action_registered_too_late_runs_at_once() {
        let cancellation = Cancellation::new();
        cancellation.cancel();
        let ran = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ran);
        let _registration = cancellation.on_cancel(move || flag.store(true, Ordering::SeqCst));
        assert!(ran.load(Ordering::SeqCst));
    }
}
