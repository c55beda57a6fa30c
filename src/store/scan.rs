// SPDX-License-Identifier: GPL-3.0-or-later
//! Which store items a tree refers to, found in the same pass that hashes its archive.
//!
//! An item is referred to where its hash part, 32 characters of base 32, occurs anywhere in the archive: in a file, a
//! file's name or a link's target. The scanner slides a window of 32 bytes over the archive and checks it *from the
//! right to the left*: where a byte is not a base 32 digit, no window that holds it can match, and the window moves to
//! just behind it. In binary data that is nearly always the last byte, so that one byte in 32 is looked at; in text the
//! words are short, and it is one in a few. What is known to be digits is not checked again: no byte is looked at
//! twice. Only 32 digits in a row are looked up.
//!
//! Chunks of the archive are scanned on the threads that read them, in no particular order; where two chunks
//! meet, the consumer scans the 31 bytes on either side.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest, Sha256};

use super::nar::stream;
use crate::formats::base32;
use crate::formats::hash::Sha256Digest;
use crate::formats::nar::NarError;
use crate::formats::store_path::{HASH_PART_LEN, StorePath};

/// What a pass over a tree finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// The SHA-256 of the tree's archive.
    pub nar_sha256: Sha256Digest,
    /// The size of the archive in bytes.
    pub nar_size: u64,
    /// The candidates that occur in it.
    pub references: BTreeSet<StorePath>,
}

/// Reads the tree at `path` once: hashes its archive and looks for the hash part of each candidate.
///
/// Runs at the speed of SHA-256 on one thread, with a few more threads that read and scan ahead; memory is bounded by a
/// few MiB whatever the tree. A socket, device or FIFO in the tree is an error that names it.
pub fn hash_and_scan(path: &Path, candidates: &BTreeSet<StorePath>) -> Result<Scanned, NarError> {
    hash_and_scan_while(path, candidates, &|| true)
}

/// As [`hash_and_scan`], as long as `goes_on` says so: it is asked before each chunk. A sparse file of terabytes, which
/// takes no room, takes hours.
///
/// # Errors
/// [`NarError::Stopped`] where it said no.
pub fn hash_and_scan_while(
    path: &Path,
    candidates: &BTreeSet<StorePath>,
    goes_on: &dyn Fn() -> bool,
) -> Result<Scanned, NarError> {
    let scanner = Scanner::new(candidates);
    let mut tally = Tally::default();
    stream::stream(path, &|chunk| scanner.scan(chunk), |chunk| {
        if !goes_on() {
            return Err(NarError::Stopped);
        }
        tally.pass(chunk, &scanner);
        Ok(())
    })?;
    Ok(tally.scanned(&scanner, candidates))
}

/// An archive that is hashed and searched for candidates while it is read: what [`hash_and_scan`] would find in
/// the tree that is in it.
pub struct Scanning<'c, S> {
    source: S,
    candidates: &'c BTreeSet<StorePath>,
    scanner: Scanner,
    tally: Tally,
}

impl<'c, S> Scanning<'c, S> {
    /// The archive in `source`, from its start.
    pub fn new(source: S, candidates: &'c BTreeSet<StorePath>) -> Self {
        Self {
            source,
            candidates,
            scanner: Scanner::new(candidates),
            tally: Tally::default(),
        }
    }

    /// What was found in all that was read.
    pub fn scanned(self) -> Scanned {
        self.tally.scanned(&self.scanner, self.candidates)
    }
}

impl<S: Read> Read for Scanning<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        let chunk = &buffer[..count];
        self.scanner.scan(chunk);
        self.tally.pass(chunk, &self.scanner);
        Ok(count)
    }
}

/// What takes the chunks of an archive in their order: the hash, the size, and the borders between them.
#[derive(Default)]
struct Tally {
    hash: Sha256,
    nar_size: u64,
    border: Border,
}

impl Tally {
    fn pass(&mut self, chunk: &[u8], scanner: &Scanner) {
        self.hash.update(chunk);
        self.nar_size += chunk.len() as u64;
        self.border.pass(chunk, scanner);
    }

    fn scanned(self, scanner: &Scanner, candidates: &BTreeSet<StorePath>) -> Scanned {
        Scanned {
            nar_sha256: Sha256Digest(self.hash.finalize().into()),
            nar_size: self.nar_size,
            references: scanner.found(candidates),
        }
    }
}

type HashPartWindow = [u8; HASH_PART_LEN];

struct Scanner {
    /// For each byte, whether it is a digit of base 32.
    is_digit: [bool; 256],
    /// A bit for each first two bytes of a candidate: most strings that only look like a hash part end here.
    starts: Box<[u64; 1024]>,
    /// Each candidate's hash part, and whether it was seen.
    candidates: HashMap<HashPartWindow, AtomicBool>,
}

impl Scanner {
    fn new(candidates: &BTreeSet<StorePath>) -> Self {
        let mut starts = Box::new([0; 1024]);
        let mut parts = HashMap::new();
        for path in candidates {
            // A hash part has this length by construction.
            if let Ok(part) = HashPartWindow::try_from(path.hash_part().as_bytes()) {
                let start = Self::start_of(&part);
                starts[start / 64] |= 1 << (start % 64);
                parts.insert(part, AtomicBool::new(false));
            }
        }
        Self {
            is_digit: std::array::from_fn(|byte| base32::is_digit(char::from(byte as u8))),
            starts,
            candidates: parts,
        }
    }

    fn start_of(window: &HashPartWindow) -> usize {
        usize::from(u16::from_le_bytes([window[0], window[1]]))
    }

    fn scan(&self, bytes: &[u8]) {
        if self.candidates.is_empty() {
            return;
        }
        let mut rest = bytes;
        // The first so many bytes of the window are known to be digits.
        let mut known = 0;
        while let Some(window) = rest.first_chunk::<HASH_PART_LEN>() {
            let unknown = &window[known..];
            let stop = unknown
                .iter()
                .rposition(|byte| !self.is_digit[usize::from(*byte)]);
            match stop {
                Some(stop) => {
                    let next = known + stop + 1;
                    known = HASH_PART_LEN - next;
                    rest = &rest[next..];
                }
                None => {
                    self.look_up(window);
                    known = HASH_PART_LEN - 1;
                    rest = &rest[1..];
                }
            }
        }
    }

    fn look_up(&self, window: &HashPartWindow) {
        let start = Self::start_of(window);
        if self.starts[start / 64] & (1 << (start % 64)) != 0
            && let Some(seen) = self.candidates.get(window)
        {
            seen.store(true, Ordering::Relaxed);
        }
    }

    fn found(&self, candidates: &BTreeSet<StorePath>) -> BTreeSet<StorePath> {
        let was_seen = |path: &&StorePath| {
            let seen = self.candidates.get(path.hash_part().as_bytes());
            seen.is_some_and(|seen| seen.load(Ordering::Relaxed))
        };
        candidates.iter().filter(was_seen).cloned().collect()
    }
}

/// The bytes around the place where two chunks meet.
#[derive(Default)]
struct Border {
    /// The last bytes so far, at most 31.
    tail: Vec<u8>,
}

impl Border {
    /// Takes the next chunk and scans what spans the border before it.
    fn pass(&mut self, chunk: &[u8], scanner: &Scanner) {
        const OVERLAP: usize = HASH_PART_LEN - 1;
        let head = &chunk[..chunk.len().min(OVERLAP)];
        self.tail.extend_from_slice(head);
        scanner.scan(&self.tail);
        // Of a short chunk all is in the tail already.
        if chunk.len() > OVERLAP {
            self.tail.clear();
            self.tail.extend_from_slice(&chunk[chunk.len() - OVERLAP..]);
        } else {
            let surplus = self.tail.len().saturating_sub(OVERLAP);
            self.tail.drain(..surplus);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::nar::Tree;
    use crate::formats::store_path::{FixedOutputMethod, StoreDir, fixed_output_path};
    use proptest::prelude::*;

    fn item(number: usize) -> StorePath {
        let store_dir = StoreDir::new("/gnu/store").unwrap();
        let digest = Sha256Digest::of(number.to_le_bytes());
        fixed_output_path(&store_dir, "item", FixedOutputMethod::Flat, digest).unwrap()
    }

    /// The candidates that occur in `bytes`.
    fn references_in(bytes: &[u8], candidates: &BTreeSet<StorePath>) -> BTreeSet<StorePath> {
        let scanner = Scanner::new(candidates);
        scanner.scan(bytes);
        scanner.found(candidates)
    }

    fn scan_tree(tree: &Tree, candidates: &BTreeSet<StorePath>) -> Scanned {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("tree");
        crate::store::nar::restore_tree(tree, &path).unwrap();
        let scanned = hash_and_scan(&path, candidates).unwrap();
        let archive = tree.to_nar().unwrap();
        assert_eq!(scanned.nar_sha256, Sha256Digest::of(&archive));
        assert_eq!(scanned.nar_size, archive.len() as u64);
        // Reading the archive in pieces of any size gives the same.
        for piece in [1, 31, 40, stream::CHUNK] {
            let mut passing = Scanning::new(archive.as_slice(), candidates);
            let mut buffer = vec![0; piece];
            while passing.read(&mut buffer).unwrap() > 0 {}
            assert_eq!(passing.scanned(), scanned, "{piece}");
        }
        scanned
    }

    #[test]
    fn contents_names_and_link_targets_are_scanned() {
        let items = [0, 1, 2, 3].map(item);
        let tree = Tree::directory([
            (
                "file".to_owned(),
                Tree::file(format!("x{}", items[0].base_name())),
            ),
            (format!("z-{}", items[1].hash_part()), Tree::file("")),
            (
                "link".to_owned(),
                Tree::symlink(format!("/gnu/store/{}/bin", items[2].base_name())),
            ),
        ]);
        let scanned = scan_tree(&tree, &items.clone().into());
        assert_eq!(scanned.references, items[..3].iter().cloned().collect());
    }

    #[test]
    fn references_across_chunks_are_found_at_every_position() {
        let wanted = item(0);
        let candidates = BTreeSet::from([wanted.clone(), item(1)]);
        // The file's content starts at byte 96 + 8 of the archive.
        for position in stream::CHUNK - 150..stream::CHUNK - 60 {
            let mut contents = vec![b'e'; stream::CHUNK + 100];
            contents[position..position + HASH_PART_LEN]
                .copy_from_slice(wanted.hash_part().as_bytes());
            let scanned = scan_tree(&Tree::file(contents), &candidates);
            assert_eq!(
                scanned.references,
                BTreeSet::from([wanted.clone()]),
                "{position}"
            );
        }
    }

    #[test]
    fn borders_between_tiny_chunks_are_seen_through() {
        let wanted = item(0);
        let candidates = BTreeSet::from([wanted.clone()]);
        let text = format!("abc{}xyz", wanted.hash_part());
        for size in 1..text.len() {
            let scanner = Scanner::new(&candidates);
            let mut border = Border::default();
            for chunk in text.as_bytes().chunks(size) {
                scanner.scan(chunk);
                border.pass(chunk, &scanner);
            }
            assert_eq!(scanner.found(&candidates), candidates, "{size}");
        }
    }

    #[test]
    fn without_candidates_nothing_is_found() {
        assert_eq!(
            scan_tree(&Tree::file("x"), &BTreeSet::new()).references,
            BTreeSet::new()
        );
    }

    proptest! {
        #[test]
        fn the_window_finds_what_a_plain_search_finds(
            pieces in proptest::collection::vec(
                prop_oneof![
                    (0usize..6).prop_map(|number| item(number).hash_part().to_owned()),
                    // Almost a hash part: cut, or with a wrong letter.
                    (0usize..6, 0usize..32).prop_map(|(number, end)| item(number).hash_part()[..end].to_owned()),
                    (0usize..6, 0usize..32).prop_map(|(number, at)| {
                        let mut part = item(number).hash_part().to_owned();
                        part.replace_range(at..=at, "e");
                        part
                    }),
                    "[0-9a-z /]{0,70}",
                ],
                0..12,
            ),
        ) {
            let candidates: BTreeSet<_> = (0..8).map(item).collect();
            let text = pieces.concat();
            let expected = candidates.iter().filter(|path| text.contains(path.hash_part()));
            let expected: BTreeSet<_> = expected.cloned().collect();
            prop_assert_eq!(references_in(text.as_bytes(), &candidates), expected);
        }
    }
}
