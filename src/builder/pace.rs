// SPDX-License-Identifier: GPL-3.0-or-later
//! How long builds take here for each second that they were expected to take.
//!
//! Little work says little: what is expected of the first builds counts as much as what is seen of them.

/// What is seen counts as much as what was expected when it comes to this many seconds.
const PRIOR: f64 = 60.0;
/// No machine is taken to be slower or faster than by this: an emulated one takes ten to twenty times as long.
const PACES: (f64, f64) = (0.05, 20.0);

/// The time for each second expected, where builds took `taken` seconds and were expected to take `expected`.
pub fn pace(taken: f64, expected: f64) -> f64 {
    let pace = (taken + PRIOR) / (expected + PRIOR);
    pace.clamp(PACES.0, PACES.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_work_tells_the_pace_and_little_says_little() {
        assert_eq!(pace(0.0, 0.0), 1.0);
        assert_eq!(pace(120.0, 60.0), 1.5);
        assert!((pace(120_000.0, 60_000.0) - 2.0).abs() < 0.01);
        assert!((pace(120_000.0, 10_000.0) - 12.0).abs() < 0.1);
        assert!((pace(1.0, 0.1) - 1.0).abs() < 0.02);
    }

    #[test]
    fn recorded_nonsense_does_not_make_a_machine_a_hundred_times_slower() {
        assert_eq!(pace(1e9, 1.0), 20.0);
        assert_eq!(pace(0.0, 1e9), 0.05);
    }
}
