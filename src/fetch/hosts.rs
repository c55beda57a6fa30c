// SPDX-License-Identifier: GPL-3.0-or-later
//! Remembers which servers did not answer, so that sixty downloads do not each wait for the same time-out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Servers that could not be reached lately, with the reason.
#[derive(Debug)]
pub struct DeadHosts {
    /// How long a server counts as dead: shorter than a long build, longer than a round of downloads.
    period: Duration,
    hosts: Mutex<HashMap<String, (Instant, String)>>,
}

impl DeadHosts {
    /// All hosts are alive.
    pub fn new(period: Duration) -> Self {
        Self {
            period,
            hosts: Mutex::default(),
        }
    }

    /// Why `host` (with its port) was given up; `None` if it was not, or if that is long ago.
    pub fn reason(&self, host: &str) -> Option<String> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, reason) = hosts.get(host)?;
        (since.elapsed() < self.period).then(|| reason.clone())
    }

    /// Gives `host` up for a while.
    pub fn give_up(&self, host: &str, reason: &str) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.insert(host.to_owned(), (Instant::now(), reason.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_dead_for_a_while() {
        let hosts = DeadHosts::new(Duration::from_secs(600));
        assert_eq!(hosts.reason("a:443"), None);
        hosts.give_up("a:443", "no such host");
        assert_eq!(hosts.reason("a:443").as_deref(), Some("no such host"));
        assert_eq!(hosts.reason("b:443"), None);
        let hosts = DeadHosts::new(Duration::ZERO);
        hosts.give_up("a:443", "no such host");
        assert_eq!(hosts.reason("a:443"), None);
    }
}
