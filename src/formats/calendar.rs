// SPDX-License-Identifier: GPL-3.0-or-later
//! Dates of the Gregorian calendar, in UTC.

/// A date and time of day in UTC, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DateTime {
    /// The year.
    pub year: u64,
    /// The month, from 1.
    pub month: u64,
    /// The day of the month, from 1.
    pub day: u64,
    /// The hour.
    pub hour: u64,
    /// The minute.
    pub minute: u64,
    /// The second.
    pub second: u64,
}

impl DateTime {
    /// The date and time `epoch` seconds after the start of 1970.
    pub fn from_epoch(epoch: u64) -> Self {
        let (days, seconds) = (epoch / 86400, epoch % 86400);
        // Days since 0000-03-01, in eras of 400 years: Howard Hinnant's algorithm `civil_from_days`.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = (shifted_month + 2) % 12 + 1;
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_dates() {
        for (epoch, expected) in [
            (0, (1970, 1, 1, 0, 0, 0)),
            (951_782_399, (2000, 2, 28, 23, 59, 59)),
            (951_782_400, (2000, 2, 29, 0, 0, 0)),
            (1_795_825_989, (2026, 11, 28, 0, 33, 9)),
            (4_102_444_800, (2100, 1, 1, 0, 0, 0)),
        ] {
            let date = DateTime::from_epoch(epoch);
            let DateTime {
                year,
                month,
                day,
                hour,
                minute,
                second,
            } = date;
            assert_eq!(
                (year, month, day, hour, minute, second),
                expected,
                "{epoch}"
            );
        }
    }
}
