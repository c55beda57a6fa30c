// SPDX-License-Identifier: GPL-3.0-or-later
//! Measures how busy the processor is, for time lines.
//!
//! The kernel counts busy and idle time of all processors since the machine started. Two readings give the share in
//! between. It includes other programs: their load explains slow builds.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
mod counters;

/// The kernel's counters for all processors together, in ticks of any length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    total: u64,
}

/// The machine's memory in bytes, if the system reports it.
pub fn memory() -> Option<u64> {
    counters::memory()
}

/// Measures processor use between two calls.
#[derive(Debug)]
pub struct Processor {
    cores: f64,
    last: Option<Ticks>,
}

impl Default for Processor {
    fn default() -> Self {
        Self::new()
    }
}

impl Processor {
    /// Starts measuring.
    pub fn new() -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64),
            last: counters::ticks(),
        }
    }

    /// The mean number of busy cores since the last call; `None` if the system does not report it, or no time has
    /// passed.
    pub fn busy(&mut self) -> Option<f64> {
        let now = counters::ticks()?;
        let last = self.last.replace(now)?;
        share(last, now).map(|share| (share * self.cores * 1e3).round() / 1e3)
    }
}

/// The busy share of the time between two readings.
fn share(last: Ticks, now: Ticks) -> Option<f64> {
    let total = now
        .total
        .checked_sub(last.total)
        .filter(|total| *total > 0)?;
    // Counters of single processors may decrease a little (proc_stat(5)).
    let busy = now.busy.saturating_sub(last.busy).min(total);
    Some(busy as f64 / total as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_between_two_readings() {
        let ticks = |busy, total| Ticks { busy, total };
        assert_eq!(share(ticks(10, 100), ticks(60, 200)), Some(0.5));
        assert_eq!(share(ticks(10, 100), ticks(9, 200)), Some(0.0));
        assert_eq!(share(ticks(10, 100), ticks(10, 100)), None);
        assert_eq!(share(ticks(10, 100), ticks(10, 90)), None);
    }

    #[test]
    fn this_machine_reports_its_use() {
        let mut processor = Processor::new();
        let start = std::time::Instant::now();
        while start.elapsed() < std::time::Duration::from_millis(60) {
            std::hint::spin_loop();
        }
        let busy = processor.busy().unwrap();
        assert!(busy > 0.0 && busy <= processor.cores, "{busy}");
    }
}
