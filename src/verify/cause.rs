// SPDX-License-Identifier: GPL-3.0-or-later
//! Why two builds of one thing may differ, guessed from the bytes that do.
//!
//! A guess is made only where the bytes say it: a time of day in both, the host names of both builds, a path into a
//! build directory. It is a pointer for the reader, not a finding.

use serde::Serialize;

/// What a build may have let into its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DifferenceCause {
    /// The time of the build.
    TimeStamp,
    /// The directory it happened in, or a temporary file's name.
    BuildPath,
    /// The order in which a directory lists its entries, or in which parallel jobs end.
    Order,
    /// The user's name or number.
    User,
    /// The machine's name.
    HostName,
    /// How many processors it had, or jobs it ran.
    CoreCount,
    /// The time zone or locale.
    Locale,
    /// The linker's hash of everything else: a consequence of another difference.
    BuildId,
}

impl DifferenceCause {
    /// The text that is shown.
    pub fn describe(self) -> &'static str {
        match self {
            Self::TimeStamp => "a time stamp",
            Self::BuildPath => "a build path or temporary name",
            Self::Order => "an order (of directory entries, or of parallel jobs)",
            Self::User => "the user's name or number",
            Self::HostName => "the host name",
            Self::CoreCount => "the number of processors or jobs",
            Self::Locale => "the time zone or locale",
            Self::BuildId => "the linker's build ID, which follows from other differences",
        }
    }
}

/// What a build had around it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// When it ended, roughly, in seconds since the Epoch; 0 where that is unknown.
    pub time: u64,
    /// The host name it saw.
    pub host_name: String,
    /// The name of its user.
    pub user: String,
    /// The number of its user.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    /// The cores it was given.
    pub cores: usize,
    /// `TZ` and the locale, where they were set.
    pub locale: Vec<String>,
}

/// How many bytes around a difference are examined.
const AROUND: usize = 64;

/// How long before its outputs were registered a build may have noted the time, in seconds.
const BUILD_TIME: u64 = 2 * 24 * 3600;

/// The likely cause of the difference between `first` and `second` that begins at `offset` in both.
pub fn guess(
    first: &[u8],
    second: &[u8],
    offset: usize,
    circumstances: [&Circumstances; 2],
) -> Option<DifferenceCause> {
    let around = |bytes: &[u8]| {
        let end = bytes.len().min(offset + AROUND);
        bytes[offset.saturating_sub(AROUND).min(end)..end].to_vec()
    };
    let windows = [around(first), around(second)];
    let [one, other] = circumstances;
    let named = |one: &str, other: &str| {
        one != other
            && !one.is_empty()
            && contains(&windows[0], one.as_bytes())
            && contains(&windows[1], other.as_bytes())
    };
    if named(&one.host_name, &other.host_name) {
        return Some(DifferenceCause::HostName);
    }
    let numbers = |of: fn(&Circumstances) -> u32| [one, other].map(|side| of(side).to_string());
    let of_user = [
        [one.user.clone(), other.user.clone()],
        numbers(|side| side.uid),
        numbers(|side| side.gid),
    ];
    if of_user.iter().any(|[one, other]| named(one, other)) {
        return Some(DifferenceCause::User);
    }
    if windows
        .iter()
        .all(|window| contains(window, b"/guix-build-") || contains(window, b"/tmp/"))
    {
        return Some(DifferenceCause::BuildPath);
    }
    let new_locale = other
        .locale
        .iter()
        .any(|value| !one.locale.contains(value) && contains(&windows[1], value.as_bytes()));
    if new_locale {
        return Some(DifferenceCause::Locale);
    }
    let numbers = [number_at(first, offset), number_at(second, offset)];
    if one.cores != other.cores && numbers == [Some(one.cores as u64), Some(other.cores as u64)] {
        return Some(DifferenceCause::CoreCount);
    }
    if windows.iter().all(|window| shows_time(window)) {
        return Some(DifferenceCause::TimeStamp);
    }
    let is_of = |number: Option<u64>, circumstances: &Circumstances| {
        number.is_some_and(|number| is_build_time(number, circumstances))
    };
    if is_of(numbers[0], one) && is_of(numbers[1], other) {
        return Some(DifferenceCause::TimeStamp);
    }
    binary_time(first, second, offset, circumstances).then_some(DifferenceCause::TimeStamp)
}

/// Whether the same pieces come in another order.
pub fn is_permutation(first: &[u8], second: &[u8]) -> bool {
    if first.len() != second.len() {
        return false;
    }
    let lines = |bytes: &[u8]| {
        let mut lines: Vec<Vec<u8>> = bytes
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        lines.sort_unstable();
        lines
    };
    let is_text = |bytes: &[u8]| !bytes.contains(&0) && bytes.contains(&b'\n');
    if is_text(first) && is_text(second) {
        return lines(first) == lines(second);
    }
    let count = |bytes: &[u8]| {
        let mut counts = [0u64; 256];
        bytes
            .iter()
            .for_each(|byte| counts[usize::from(*byte)] += 1);
        counts
    };
    // A few bytes are easily the same by chance.
    let differing = first.iter().zip(second).filter(|(one, other)| one != other);
    differing.count() > 16 && count(first) == count(second)
}

pub(super) fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && bytes.windows(needle.len()).any(|window| window == needle)
}

/// The decimal number that the byte at `offset` belongs to.
fn number_at(bytes: &[u8], offset: usize) -> Option<u64> {
    let is_digit = |at: &usize| bytes.get(*at).is_some_and(u8::is_ascii_digit);
    if !is_digit(&offset) {
        return None;
    }
    let start = (0..=offset).rev().take_while(is_digit).last()?;
    let end = (offset..bytes.len()).take_while(is_digit).last()? + 1;
    std::str::from_utf8(&bytes[start..end]).ok()?.parse().ok()
}

fn is_build_time(number: u64, circumstances: &Circumstances) -> bool {
    circumstances.time > 0
        && (circumstances.time.saturating_sub(BUILD_TIME)..=circumstances.time + 60)
            .contains(&number)
}

/// Whether a time of day (`12:34:56`) or a date (`2023-01-31`, `Jan 31 2023`) is written there.
fn shows_time(window: &[u8]) -> bool {
    let matches = |pattern: &[u8]| {
        window.windows(pattern.len()).any(|bytes| {
            bytes
                .iter()
                .zip(pattern)
                .all(|(byte, wanted)| match wanted {
                    b'9' => byte.is_ascii_digit(),
                    b'_' => byte.is_ascii_digit() || *byte == b' ',
                    wanted => byte == wanted,
                })
        })
    };
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    matches(b"99:99:99")
        || matches(b"2099-99-99")
        || MONTHS
            .iter()
            .any(|month| matches(format!("{month} _9 2099").as_bytes()))
}

/// Whether the bytes at `offset` are part of a 32-bit number that is each build's time.
fn binary_time(
    first: &[u8],
    second: &[u8],
    offset: usize,
    [one, other]: [&Circumstances; 2],
) -> bool {
    (offset.saturating_sub(3)..=offset).any(|start| {
        let at = |bytes: &[u8]| {
            let bytes = bytes.get(start..start + 4)?;
            <[u8; 4]>::try_from(bytes).ok()
        };
        let (Some(mine), Some(theirs)) = (at(first), at(second)) else {
            return false;
        };
        let reads: [fn([u8; 4]) -> u32; 2] = [u32::from_le_bytes, u32::from_be_bytes];
        reads.iter().any(|read| {
            is_build_time(read(mine).into(), one) && is_build_time(read(theirs).into(), other)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circumstances() -> [Circumstances; 2] {
        let first = Circumstances {
            time: 1_700_000_000,
            host_name: "localhost".into(),
            user: "guixbuilder".into(),
            uid: 30001,
            gid: 30000,
            cores: 2,
            locale: Vec::new(),
        };
        let second = Circumstances {
            time: 1_700_100_000,
            host_name: "elsewhere".into(),
            user: "somebody".into(),
            uid: 30002,
            gid: 30003,
            cores: 3,
            locale: vec!["UTC-9".into()],
        };
        [first, second]
    }

    fn of(first: &[u8], second: &[u8]) -> Option<DifferenceCause> {
        let offset = first
            .iter()
            .zip(second)
            .position(|(one, other)| one != other);
        let [one, other] = circumstances();
        guess(first, second, offset.unwrap(), [&one, &other])
    }

    #[test]
    fn causes_are_told_by_what_is_there() {
        let cases: [(&str, &str, Option<DifferenceCause>); 12] = [
            (
                "built 10:00:01",
                "built 10:00:02",
                Some(DifferenceCause::TimeStamp),
            ),
            (
                "on Jan  1 2023.",
                "on Jan  2 2023.",
                Some(DifferenceCause::TimeStamp),
            ),
            ("2023-01-01", "2023-01-02", Some(DifferenceCause::TimeStamp)),
            (
                "t=1699999999;",
                "t=1700099999;",
                Some(DifferenceCause::TimeStamp),
            ),
            (
                "at localhost.",
                "at elsewhere.",
                Some(DifferenceCause::HostName),
            ),
            ("by guixbuilder", "by somebody", Some(DifferenceCause::User)),
            ("uid 30001", "uid 30002", Some(DifferenceCause::User)),
            ("gid 30000", "gid 30003", Some(DifferenceCause::User)),
            ("make -j2", "make -j3", Some(DifferenceCause::CoreCount)),
            (
                "/tmp/ccAb12.o",
                "/tmp/ccXy34.o",
                Some(DifferenceCause::BuildPath),
            ),
            ("zone none.", "zone UTC-9", Some(DifferenceCause::Locale)),
            ("apples", "oranges", None),
        ];
        for (first, second, cause) in cases {
            assert_eq!(of(first.as_bytes(), second.as_bytes()), cause, "{first}");
        }
    }

    #[test]
    fn a_time_may_be_a_binary_number() {
        let with = |time: u32| [&[1, 2, 3][..], &time.to_le_bytes(), &[0; 8]].concat();
        assert_eq!(
            of(&with(1_699_999_990), &with(1_700_099_990)),
            Some(DifferenceCause::TimeStamp)
        );
        assert_eq!(of(&with(5), &with(6)), None);
    }

    #[test]
    fn the_same_lines_or_bytes_in_another_order_are_a_permutation() {
        assert!(is_permutation(b"a\nb\nc\n", b"c\na\nb\n"));
        assert!(!is_permutation(b"a\nb\n", b"a\nc\n"));
        assert!(!is_permutation(b"a", b"ab"));
        assert!(!is_permutation(b"\0ab", b"\0ba"));
        let bytes: Vec<u8> = (0..=255).collect();
        let reversed: Vec<u8> = (0..=255).rev().collect();
        assert!(is_permutation(&bytes, &reversed));
    }
}
