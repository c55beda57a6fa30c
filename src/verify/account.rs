// SPDX-License-Identifier: GPL-3.0-or-later
//! Where two files differ, in terms of what they are: sections of programs, members of archives, lines of texts.
//!
//! Formats: ELF (System V ABI), `ar` archives in their GNU and BSD forms, gzip (RFC 1952). A file that looks like one
//! of them and cannot be read as such is a row of bytes like any other.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use object::read::archive::ArchiveFile;
use object::{Object, ObjectSection};
use serde::Serialize;

use super::cause::{self, Circumstances, DifferenceCause};
use crate::formats::count::counted;

/// How many places of a file are reported.
pub const PLACES: usize = 20;

/// How deep archives in archives are looked into.
const DEPTH: usize = 4;

/// The most that is taken out of a compressed file, in bytes.
const DECOMPRESSED: u64 = 1 << 30;

/// How much of each side is shown, in bytes.
const EXCERPT: usize = 48;

/// A place where two files differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DifferencePlace {
    /// Where: `section .text`, `member a.o: section .comment`, `line 3`, `bytes from 16`.
    pub place: String,
    /// How many bytes differ there; where the sizes do, the difference counts.
    pub bytes: u64,
    /// What the first has there, printable.
    pub first: String,
    /// What the second has there, printable.
    pub second: String,
    /// Why, as far as that is known.
    pub cause: Option<DifferenceCause>,
}

/// The places where `first` and `second` differ, [`PLACES`] at most; there is one unless they are equal.
pub fn places(
    first: &[u8],
    second: &[u8],
    circumstances: [&Circumstances; 2],
) -> Vec<DifferencePlace> {
    let mut account = Account {
        circumstances,
        places: Vec::new(),
    };
    account.any("", first, second, 0);
    account.places.truncate(PLACES);
    account.places
}

/// How many bytes differ.
pub fn differing_bytes(first: &[u8], second: &[u8]) -> u64 {
    let pairs = first.iter().zip(second);
    let differing = pairs.filter(|(one, other)| one != other).count();
    (differing + first.len().abs_diff(second.len())) as u64
}

/// The first byte that differs; the length of the shorter where that is all of it.
pub fn first_difference(first: &[u8], second: &[u8]) -> Option<usize> {
    let common = first.len().min(second.len());
    let position = first
        .iter()
        .zip(second)
        .position(|(one, other)| one != other);
    position.or_else(|| (first.len() != second.len()).then_some(common))
}

struct Account<'c> {
    circumstances: [&'c Circumstances; 2],
    places: Vec<DifferencePlace>,
}

/// A name within a place.
fn within(outer: &str, inner: &str) -> String {
    match outer {
        "" => inner.to_owned(),
        outer => format!("{outer}: {inner}"),
    }
}

impl Account<'_> {
    fn any(&mut self, place: &str, first: &[u8], second: &[u8], depth: usize) {
        if first == second || self.places.len() >= PLACES {
            return;
        }
        let known = depth < DEPTH
            && (self.elf(place, first, second)
                || self.archive(place, first, second, depth)
                || self.gzip(place, first, second, depth));
        if !known && !self.text(place, first, second) {
            self.bytes(place, first, second);
        }
    }

    /// Sections by name. False where these are not two programs, or nothing in their sections differs.
    fn elf(&mut self, place: &str, first: &[u8], second: &[u8]) -> bool {
        let magic = b"\x7fELF";
        if !first.starts_with(magic) || !second.starts_with(magic) {
            return false;
        }
        let (Some(one), Some(other)) = (sections(first), sections(second)) else {
            return false;
        };
        let before = self.places.len();
        let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
        for name in names {
            let inside = within(place, &format!("section {name}"));
            match (one.get(name), other.get(name)) {
                (Some(one), Some(other)) if one == other => {}
                (Some(one), Some(other)) => self.section(&inside, name, one, other),
                (one, _) => {
                    let (size, side) = match (one, other.get(name)) {
                        (Some(data), _) => (data.len(), "first"),
                        (None, data) => (data.map_or(0, |data| data.len()), "second"),
                    };
                    self.places.push(DifferencePlace {
                        place: inside,
                        bytes: size as u64,
                        first: format!("only in the {side}"),
                        second: String::new(),
                        cause: None,
                    });
                }
            }
        }
        if self.places.len() == before {
            // Headers, or what lies between the sections.
            self.bytes(&within(place, "outside the sections"), first, second);
        }
        true
    }

    fn section(&mut self, place: &str, name: &str, first: &[u8], second: &[u8]) {
        self.bytes(place, first, second);
        if let Some(last) = self.places.last_mut()
            && name.starts_with(".note.gnu.build-id")
        {
            last.cause = Some(DifferenceCause::BuildId);
        }
    }

    /// Members by name and number.
    fn archive(&mut self, place: &str, first: &[u8], second: &[u8], depth: usize) -> bool {
        let (Some(one), Some(other)) = (Members::of(first), Members::of(second)) else {
            return false;
        };
        let before = self.places.len();
        if one.order != other.order {
            let mut sorted = [one.order.clone(), other.order.clone()];
            sorted.iter_mut().for_each(|order| order.sort());
            let same = sorted[0] == sorted[1];
            self.places.push(DifferencePlace {
                place: within(place, "the members"),
                bytes: 0,
                first: excerpt_of_names(&one.order),
                second: excerpt_of_names(&other.order),
                cause: same.then_some(DifferenceCause::Order),
            });
        }
        for (name, (header, data)) in &one.members {
            let Some((other_header, other_data)) = other.members.get(name) else {
                continue;
            };
            let inside = within(place, &format!("member {}", name.0));
            if header != other_header {
                let times = header.split(' ').next() != other_header.split(' ').next();
                self.places.push(DifferencePlace {
                    place: within(&inside, "header (time, owner, mode)"),
                    bytes: differing_bytes(header.as_bytes(), other_header.as_bytes()),
                    first: header.clone(),
                    second: other_header.clone(),
                    cause: times.then_some(DifferenceCause::TimeStamp),
                });
            }
            self.any(&inside, data, other_data, depth + 1);
        }
        if self.places.len() == before {
            self.bytes(&within(place, "outside the members"), first, second);
        }
        true
    }

    /// The header, then what is compressed.
    fn gzip(&mut self, place: &str, first: &[u8], second: &[u8], depth: usize) -> bool {
        let magic = b"\x1f\x8b\x08";
        if !first.starts_with(magic) || !second.starts_with(magic) {
            return false;
        }
        let unpacked = |bytes: &[u8]| {
            let mut content = Vec::new();
            let decoder = flate2::read::MultiGzDecoder::new(bytes);
            decoder.take(DECOMPRESSED).read_to_end(&mut content).ok()?;
            Some(content)
        };
        let (Some(one), Some(other)) = (unpacked(first), unpacked(second)) else {
            return false;
        };
        let time = |bytes: &[u8]| {
            let bytes = bytes.get(4..8)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let times = [time(first).unwrap_or(0), time(second).unwrap_or(0)];
        if times[0] != times[1] {
            self.places.push(DifferencePlace {
                place: within(place, "time in the gzip header"),
                bytes: differing_bytes(&times[0].to_le_bytes(), &times[1].to_le_bytes()),
                first: times[0].to_string(),
                second: times[1].to_string(),
                cause: Some(DifferenceCause::TimeStamp),
            });
        }
        if one != other {
            self.any(&within(place, "decompressed"), &one, &other, depth + 1);
        } else if times[0] == times[1] {
            self.bytes(&within(place, "compression"), first, second);
        }
        true
    }

    /// Lines, or their order.
    fn text(&mut self, place: &str, first: &[u8], second: &[u8]) -> bool {
        let is_text = |bytes: &[u8]| !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok();
        if !is_text(first) || !is_text(second) {
            return false;
        }
        if cause::is_permutation(first, second) {
            self.push(
                within(place, "the order of the lines"),
                first,
                second,
                Some(DifferenceCause::Order),
            );
            return true;
        }
        let lines = |bytes: &[u8]| -> Vec<Vec<u8>> {
            bytes
                .split(|byte| *byte == b'\n')
                .map(<[u8]>::to_vec)
                .collect()
        };
        let (one, other) = (lines(first), lines(second));
        if one.len() != other.len() {
            // From there on, line numbers mean nothing.
            let number = one.iter().zip(&other).position(|(one, other)| one != other);
            let number = number.unwrap_or(one.len().min(other.len()));
            let empty = Vec::new();
            let line = |lines: &[Vec<u8>]| lines.get(number).unwrap_or(&empty).clone();
            let name = format!(
                "from line {} on ({} and {})",
                number + 1,
                one.len(),
                counted(other.len(), "line")
            );
            self.push(within(place, &name), &line(&one), &line(&other), None);
            return true;
        }
        for (number, (one, other)) in one.iter().zip(&other).enumerate() {
            if one != other && self.places.len() < PLACES {
                self.push(
                    within(place, &format!("line {}", number + 1)),
                    one,
                    other,
                    None,
                );
            }
        }
        true
    }

    fn bytes(&mut self, place: &str, first: &[u8], second: &[u8]) {
        let offset = first_difference(first, second).unwrap_or(0);
        let order = cause::is_permutation(first, second).then_some(DifferenceCause::Order);
        let name = match (place, first.len() == second.len()) {
            ("", true) => format!("bytes from {offset}"),
            ("", false) => format!(
                "bytes from {offset} (of {} and {})",
                first.len(),
                second.len()
            ),
            (place, true) => format!("{place} from byte {offset}"),
            (place, false) => format!(
                "{place} from byte {offset} (of {} and {})",
                first.len(),
                second.len()
            ),
        };
        self.push(name, first, second, order);
    }

    fn push(&mut self, place: String, first: &[u8], second: &[u8], cause: Option<DifferenceCause>) {
        let offset = first_difference(first, second).unwrap_or(0);
        let cause = cause.or_else(|| cause::guess(first, second, offset, self.circumstances));
        self.places.push(DifferencePlace {
            place,
            bytes: differing_bytes(first, second),
            first: excerpt(first, offset),
            second: excerpt(second, offset),
            cause,
        });
    }
}

/// What is at `offset`, with a little before it, printable.
fn excerpt(bytes: &[u8], offset: usize) -> String {
    let start = offset.saturating_sub(EXCERPT / 3).min(bytes.len());
    let end = (start + EXCERPT).min(bytes.len());
    let text = bytes[start..end].escape_ascii().to_string();
    let (before, after) = (
        if start > 0 { "…" } else { "" },
        if end < bytes.len() { "…" } else { "" },
    );
    format!("{before}{text}{after}")
}

fn excerpt_of_names(names: &[(String, usize)]) -> String {
    let names: Vec<&str> = names
        .iter()
        .take(8)
        .map(|(name, _)| name.as_str())
        .collect();
    names.join(" ")
}

/// The contents of sections by name; a second one of a name has its number with it.
fn sections(bytes: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    let file = object::File::parse(bytes).ok()?;
    let mut sections = BTreeMap::new();
    for section in file.sections() {
        let name = String::from_utf8_lossy(section.name_bytes().ok()?).into_owned();
        let data = section.data().ok()?.to_vec();
        let mut unique = name.clone();
        let mut number = 1;
        while sections.contains_key(&unique) {
            number += 1;
            unique = format!("{name} ({number})");
        }
        sections.insert(unique, data);
    }
    Some(sections)
}

/// The members of an archive.
struct Members {
    /// Names, each with its number among those of the same name.
    order: Vec<(String, usize)>,
    /// Header and contents.
    members: BTreeMap<(String, usize), (String, Vec<u8>)>,
}

impl Members {
    fn of(bytes: &[u8]) -> Option<Self> {
        if !bytes.starts_with(b"!<arch>\n") {
            return None;
        }
        let archive = ArchiveFile::parse(bytes).ok()?;
        let mut found = Self {
            order: Vec::new(),
            members: BTreeMap::new(),
        };
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for member in archive.members() {
            let member = member.ok()?;
            let name = String::from_utf8_lossy(member.name()).into_owned();
            let number = seen.entry(name.clone()).or_default();
            *number += 1;
            let key = (name, *number);
            let value =
                |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
            let header = format!(
                "{} {} {} {}",
                value(member.date()),
                value(member.uid()),
                value(member.gid()),
                member
                    .mode()
                    .map_or("-".to_owned(), |mode| format!("{mode:o}"))
            );
            let data = member.data(bytes).ok()?.to_vec();
            found.order.push(key.clone());
            found.members.insert(key, (header, data));
        }
        Some(found)
    }
}

#[cfg(test)]
#[path = "account/tests.rs"]
mod tests;
