// SPDX-License-Identifier: GPL-3.0-or-later
//! How long to wait for locks, and who hears of the wait.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::formats::visible::visible_path;

/// A wait for a lock, as told to [`LockPolicy::report`].
#[derive(Debug, Clone, Copy)]
pub struct LockWait<'a> {
    /// The lock file.
    pub path: &'a Path,
    /// The process that holds the lock, where the system reports it; our own if it is another thread.
    pub holder: Option<u32>,
    /// How long the wait has lasted.
    pub waited: Duration,
}

impl fmt::Display for LockWait<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "waiting for the lock {}",
            visible_path(self.path)
        )?;
        match self.holder {
            Some(holder) => write!(formatter, ", held by pid {holder}"),
            None => Ok(()),
        }
    }
}

/// How long to wait for locks, and whom to tell.
#[derive(Clone)]
pub struct LockPolicy {
    /// Give up after this long; `None` waits for ever.
    pub timeout: Option<Duration>,
    /// Called once a wait has lasted 200 ms, and then every second; `Break` gives up.
    #[allow(clippy::type_complexity)]
    pub report: Arc<dyn Fn(&LockWait<'_>) -> ControlFlow<()> + Send + Sync>,
}

impl Default for LockPolicy {
    /// Two hours, which is longer than adding any item takes, and silence.
    fn default() -> Self {
        Self {
            timeout: Some(Duration::from_secs(2 * 60 * 60)),
            report: Arc::new(|_| ControlFlow::Continue(())),
        }
    }
}

impl fmt::Debug for LockPolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LockPolicy")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
