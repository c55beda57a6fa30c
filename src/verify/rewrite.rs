// SPDX-License-Identifier: GPL-3.0-or-later
//! Store hashes as placeholders: two outputs that differ only in the paths of what they refer to are then equal.
//!
//! The same program built from two seeds, or by two compilers, goes to two store paths, and holds its own path and
//! those of its inputs. Their hash parts all have 32 characters, so one is put in place of the other without moving
//! anything. Both sides are rewritten to placeholders made from names, such as `sed:out`: what stays different is a
//! real difference.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{Read, Write};

use crate::formats::base32;
use crate::formats::hash::Sha256Digest;
use crate::formats::store_path::{HASH_PART_LEN, StorePath};

type HashPart = [u8; HASH_PART_LEN];

/// The largest compressed content that is decompressed and searched, in bytes.
const DECOMPRESSED: u64 = 64 << 20;

/// Where a gzip member has its flags, and those that it can have here (RFC 1952, FLG).
const FLAGS: usize = 3;
const TEXT: u8 = 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;

/// Which hash parts stand for what.
#[derive(Debug, Clone, Default)]
pub struct Rewriting {
    parts: HashMap<HashPart, HashPart>,
    ends: Vec<PathEnd>,
}

/// What a path ends in.
#[derive(Debug, Clone)]
struct PathEnd {
    /// `-NAME`.
    name: Vec<u8>,
    part: HashPart,
    placeholder: HashPart,
}

/// The placeholder for what is called `name`: 32 characters of base 32 that no store path has but by chance.
fn placeholder(name: &str) -> HashPart {
    let digest = Sha256Digest::of(format!("placeholder:{name}"));
    let text = base32::encode(&digest.0[..20]);
    let mut part = [b'0'; HASH_PART_LEN];
    for (byte, character) in part.iter_mut().zip(text.bytes()) {
        *byte = character;
    }
    part
}

impl Rewriting {
    /// Nothing is rewritten.
    pub fn none() -> Self {
        Self::default()
    }

    /// Has `path` be known as `name`. A path has one name, the first.
    pub fn add(&mut self, path: &StorePath, name: &str) {
        if let Ok(part) = HashPart::try_from(path.hash_part().as_bytes())
            && let Entry::Vacant(entry) = self.parts.entry(part)
        {
            let placeholder = *entry.insert(placeholder(name));
            self.ends.push(PathEnd {
                name: format!("-{}", path.name()).into_bytes(),
                part,
                placeholder,
            });
            // The longest first: `gcc-12.2.0-lib` begins as `gcc-12.2.0` does.
            self.ends.sort_by_key(|end| Reverse(end.name.len()));
        }
    }

    /// `bytes` with placeholders in what they hold compressed by gzip, compressed again, always the same way; `None`
    /// where they are no such file, or nothing in it is rewritten.
    ///
    /// How it was compressed is then no difference any more, but for the header, which stays. A file of several
    /// members, and one with a header that cannot be written again as it is (RFC 1952: a check sum of its own, or flags
    /// that mean nothing), is no such file.
    pub fn apply_to_gzip(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.parts.is_empty() || !bytes.starts_with(b"\x1f\x8b\x08") {
            return None;
        }
        let flags = *bytes.get(FLAGS)?;
        if flags & !(TEXT | NAME | COMMENT | EXTRA) != 0 {
            return None;
        }
        let mut decoder = flate2::bufread::GzDecoder::new(bytes);
        let mut content = Vec::new();
        (&mut decoder)
            .take(DECOMPRESSED)
            .read_to_end(&mut content)
            .ok()?;
        if content.len() as u64 == DECOMPRESSED {
            return None;
        }
        let before = content.clone();
        self.apply(&mut content);
        if content == before {
            return None;
        }
        let header = decoder.header()?.clone();
        if !decoder.into_inner().is_empty() {
            // Something follows, which would not be looked at.
            return None;
        }
        // What the header says stays, and so stays a difference.
        let mut builder = flate2::GzBuilder::new()
            .mtime(header.mtime())
            .operating_system(header.operating_system());
        if let Some(name) = header.filename() {
            builder = builder.filename(name);
        }
        if let Some(comment) = header.comment() {
            builder = builder.comment(comment);
        }
        if let Some(extra) = header.extra() {
            builder = builder.extra(extra);
        }
        let mut encoder = builder.write(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&content).ok()?;
        let mut rewritten = encoder.finish().ok()?;
        *rewritten.get_mut(FLAGS)? |= flags & TEXT;
        // How hard the compressor tried, by its own account (XFL).
        *rewritten.get_mut(8)? = *bytes.get(8)?;
        Some(rewritten)
    }

    /// `bytes`, which have been through [`apply`](Self::apply), with the ends of placeholders for the ends of hash
    /// parts, in front of the rest of a path.
    ///
    /// GCC puts a long text on the stack in pieces of 16 or 32 bytes, and the last piece reaches back so that it is as
    /// long as the others: a program can hold `/gnu/store/HASH-hello-2.10/` and elsewhere `H-hello-2.10/lib`, with the
    /// last character of the hash. A text that only looks like that is changed as well, so what is to be the same may
    /// be so before or after.
    pub fn with_ends(&self, bytes: &[u8]) -> Vec<u8> {
        let mut rewritten = bytes.to_vec();
        for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'-') {
            let (before, rest) = bytes.split_at(at);
            let found = self.ends.iter().find_map(|end| {
                let common = before.iter().rev().zip(end.part.iter().rev());
                let common = common.take_while(|(one, other)| one == other).count();
                (common > 0 && rest.starts_with(&end.name)).then_some((end, common))
            });
            if let Some((end, common)) = found {
                let tail = &end.placeholder[HASH_PART_LEN - common..];
                rewritten[at - common..at].copy_from_slice(tail);
            }
        }
        rewritten
    }

    /// Puts placeholders into `bytes`.
    pub fn apply(&self, bytes: &mut [u8]) {
        if self.parts.is_empty() {
            return;
        }
        let is_digit: [bool; 256] =
            std::array::from_fn(|byte| base32::is_digit(char::from(byte as u8)));
        let mut start = 0;
        // From the right: where a byte is not a digit, no window that holds it can match.
        while let Some(window) = bytes.get_mut(start..start + HASH_PART_LEN) {
            if let Some(stop) = window
                .iter()
                .rposition(|byte| !is_digit[usize::from(*byte)])
            {
                start += stop + 1;
                continue;
            }
            let replacement = HashPart::try_from(&*window)
                .ok()
                .and_then(|part| self.parts.get(&part));
            match replacement {
                Some(replacement) => {
                    window.copy_from_slice(replacement);
                    start += HASH_PART_LEN;
                }
                None => start += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(letter: char) -> StorePath {
        StorePath::from_base_name(&format!("{}-x", letter.to_string().repeat(32))).unwrap()
    }

    fn applied(rewriting: &Rewriting, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        rewriting.apply(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn two_paths_of_one_name_become_the_same() {
        let (mut one, mut other) = (Rewriting::none(), Rewriting::none());
        one.add(&path('a'), "sed:out");
        other.add(&path('b'), "sed:out");
        let text = |letter: &str| format!("<{}-x/bin {}>", letter.repeat(32), letter.repeat(40));
        let (first, second) = (applied(&one, &text("a")), applied(&other, &text("b")));
        assert_eq!(
            first[..40],
            second[..40],
            "the path itself is replaced by the same"
        );
        assert_ne!(first, text("a"));
        assert_eq!(first.len(), text("a").len());
    }

    #[test]
    fn the_end_of_a_hash_in_front_of_a_name_is_rewritten_where_that_is_asked_for() {
        let ends = |letter: char, text: &str| {
            let mut rewriting = Rewriting::none();
            rewriting.add(&path(letter), "sed:out");
            let text = text.replace('?', &letter.to_string());
            assert_eq!(applied(&rewriting, &text), text);
            let rewritten = rewriting.with_ends(text.as_bytes());
            assert_eq!(rewritten.len(), text.len());
            (rewritten, text)
        };
        for same in ["?-x/lib", "pieces\0???-x", ".?-x?-x"] {
            let ((first, text), (second, _)) = (ends('a', same), ends('b', same));
            assert_eq!(first, second);
            assert_ne!(first, text.as_bytes());
        }
        for other in ["?-y/lib", "?/x", "-x", "?", "", "c-x/lib"] {
            let (rewritten, text) = ends('a', other);
            assert_eq!(rewritten, text.as_bytes());
        }
    }

    #[test]
    fn what_is_compressed_is_rewritten_too() {
        let compressed = |text: &str, time: u32, name: &str| {
            let mut encoder = flate2::GzBuilder::new()
                .mtime(time)
                .filename(name)
                .write(Vec::new(), flate2::Compression::best());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        let rewritten = |letter: char, time: u32, name: &str| {
            let mut rewriting = Rewriting::none();
            rewriting.add(&path(letter), "file:out");
            let text = format!("see /gnu/store/{}-x/share", letter.to_string().repeat(32));
            rewriting
                .apply_to_gzip(&compressed(&text, time, name))
                .unwrap()
        };
        assert_eq!(rewritten('a', 0, "x"), rewritten('b', 0, "x"));
        assert_ne!(rewritten('a', 0, "x"), rewritten('b', 1, "x"));
        assert_ne!(rewritten('a', 0, "x"), rewritten('b', 0, "y"));
        let mut rewriting = Rewriting::none();
        rewriting.add(&path('a'), "file:out");
        assert_eq!(
            rewriting.apply_to_gzip(&compressed("nothing", 0, "x")),
            None
        );
        assert_eq!(rewriting.apply_to_gzip(b"\x1f\x8b\x08 but damaged"), None);
        assert_eq!(rewriting.apply_to_gzip(b"text"), None);
    }

    #[test]
    fn what_a_header_says_stays_and_several_members_are_left_alone() {
        let mut rewriting = Rewriting::none();
        rewriting.add(&path('a'), "file:out");
        let compressed = |text: &str| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        let plain = compressed(&"a".repeat(32));
        let expected = rewriting.apply_to_gzip(&plain).unwrap();
        let flagged = |flag: u8| {
            let mut flagged = plain.clone();
            flagged[FLAGS] |= flag;
            rewriting.apply_to_gzip(&flagged)
        };
        let text = flagged(TEXT).unwrap();
        assert_eq!(text[FLAGS], expected[FLAGS] | TEXT);
        assert_eq!(text[FLAGS + 1..], expected[FLAGS + 1..]);
        // A check sum of the header, and a flag without a meaning.
        for flag in [1 << 1, 1 << 7] {
            assert_eq!(flagged(flag), None);
        }
        for more in [plain.clone(), compressed("b"), b"\0".to_vec()] {
            let several = [plain.clone(), more].concat();
            assert_eq!(rewriting.apply_to_gzip(&several), None);
        }
    }

    #[test]
    fn other_paths_stay_and_short_texts_do_no_harm() {
        let mut rewriting = Rewriting::none();
        rewriting.add(&path('a'), "sed:out");
        let other = format!("/gnu/store/{}-y", "c".repeat(32));
        assert_eq!(applied(&rewriting, &other), other);
        for text in ["", "a", &"a".repeat(31)] {
            assert_eq!(applied(&rewriting, text), text);
        }
        let shifted = format!("d{}", "a".repeat(32));
        assert!(applied(&rewriting, &shifted).starts_with('d'));
        assert_ne!(applied(&rewriting, &shifted), shifted);
    }
}
