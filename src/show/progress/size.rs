// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads and writes sizes, durations and counts as text for users.

use std::time::Duration;

pub use crate::formats::count::counted;

/// The text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error(
    "`{0}` is not a size: expected a number of bytes, or one with K, M, G or T (powers of 1024)"
)]
pub struct InvalidSize(String);

const UNITS: [char; 4] = ['K', 'M', 'G', 'T'];

/// Reads `10G`: bytes, or with a unit that is a power of 1024; `iB` and `B` may follow the unit.
pub fn parse(text: &str) -> Result<u64, InvalidSize> {
    let invalid = || InvalidSize(text.to_owned());
    let upper = text.trim().to_ascii_uppercase();
    let plain = upper.strip_suffix('B').unwrap_or(&upper);
    let plain = plain.strip_suffix('I').unwrap_or(plain);
    let unit = UNITS.iter().position(|unit| plain.ends_with(*unit));
    let (digits, power) = match unit {
        Some(index) => (&plain[..plain.len() - 1], index as u32 + 1),
        None => (plain, 0),
    };
    let number: u64 = digits.parse().map_err(|_| invalid())?;
    number.checked_mul(1024_u64.pow(power)).ok_or_else(invalid)
}

/// `bytes` with at most three digits before the point and the unit that allows it.
pub fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = None;
    for next in UNITS {
        if value < 999.5 {
            break;
        }
        value /= 1024.0;
        unit = Some(next);
    }
    match unit {
        None => format!("{bytes} B"),
        Some(unit) if value < 9.95 => format!("{value:.1} {unit}iB"),
        Some(unit) => format!("{value:.0} {unit}iB"),
    }
}

/// `duration` in hours, minutes and seconds; below a minute with a tenth.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let seconds = seconds.round() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes} min {seconds:02} s"),
        _ => format!("{hours} h {minutes:02} min {seconds:02} s"),
    }
}

/// `duration` for an estimate: without seconds from ten minutes on.
pub fn rounded(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, 1..10) => format!("{minutes} min {:02} s", seconds % 60),
        (0, _) => format!("{minutes} min"),
        _ => format!("{hours} h {minutes:02} min"),
    }
}

/// The duration of `seconds`; zero if `seconds` is negative or not a number.
pub fn seconds(seconds: f64) -> String {
    duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(parse("10"), Ok(10));
        assert_eq!(parse("2k"), Ok(2048));
        assert_eq!(parse("1GiB"), Ok(1 << 30));
        assert_eq!(parse("3 M"), Err(InvalidSize("3 M".to_owned())));
        for wrong in ["", "G", "-1", "1.5G", "99999999999999T", "1X"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_and_times_are_short() {
        let sizes = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10 << 20, "10 MiB"),
            (u64::MAX, "16777216 TiB"),
        ];
        for (size, text) in sizes {
            assert_eq!(bytes(size), text);
        }
        assert_eq!(seconds(0.04), "0.0 s");
        assert_eq!(seconds(59.96), "1 min 00 s");
        assert_eq!(seconds(3725.0), "1 h 02 min 05 s");
        assert_eq!(seconds(-1.0), "0.0 s");
        for (time, text) in [
            (59.4, "59 s"),
            (61.0, "1 min 01 s"),
            (3599.0, "59 min"),
            (3725.0, "1 h 02 min"),
        ] {
            assert_eq!(rounded(Duration::from_secs_f64(time)), text);
        }
        assert_eq!(counted(1_usize, "item"), "1 item");
        assert_eq!(counted(0_usize, "item"), "0 items");
    }
}
