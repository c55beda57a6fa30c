// SPDX-License-Identifier: GPL-3.0-or-later
//! Linux: the first line of `/proc/stat` (proc_stat(5)): user, nice, system, idle, iowait, irq, softirq, steal.

use super::Ticks;

pub(super) fn ticks() -> Option<Ticks> {
    parse(&std::fs::read_to_string("/proc/stat").ok()?)
}

/// `MemTotal` of `/proc/meminfo`, which is in KiB.
pub(super) fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

fn parse(text: &str) -> Option<Ticks> {
    let fields = text.lines().next()?.strip_prefix("cpu ")?;
    // The fields after these, time of guests, are part of `user`.
    let numbers: Vec<u64> = fields
        .split_ascii_whitespace()
        .take(8)
        .map(|field| field.parse().ok())
        .collect::<Option<_>>()?;
    let total: u64 = numbers.iter().sum();
    let idle = numbers.get(3)? + numbers.get(4).unwrap_or(&0);
    Some(Ticks {
        busy: total - idle,
        total,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_disks_is_idle_and_guests_count_once() {
        let text = "cpu  10 20 30 400 50 6 7 8 9 10\ncpu0 1 2 3 4\n";
        assert_eq!(
            parse(text),
            Some(Ticks {
                busy: 81,
                total: 531
            })
        );
        assert_eq!(parse("cpu  1 x 3 4\n"), None);
        assert_eq!(parse("cpu  1\n"), None);
        assert_eq!(parse(""), None);
    }
}
