// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads an archive that is followed by something else, and ends where it ends.
//!
//! The readers of [`nar`](crate::store::nar) want an archive to be all there is. This one follows the archive's strings
//! just closely enough to know its last one: it counts parentheses, and passes over names, targets and contents, which
//! may hold anything. Whether the archive is right is for its reader to find out.

use std::io::{self, BufRead, Read};

/// A longer word of the grammar is none: the archive is corrupt, and its end cannot be known.
const WORD_MAX: u64 = 16;

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NarReaderState {
    /// A length, of which so many bytes were read.
    Length(usize),
    /// So many bytes of a string and its padding; the number of bytes of a word that are kept.
    Bytes(u64),
    /// Nothing.
    End,
}

/// The bytes of one archive.
#[derive(Debug)]
pub struct NarReader<R> {
    input: R,
    follower: Follower,
}

impl<R: BufRead> NarReader<R> {
    /// Reads the archive that starts where `input` is.
    pub fn new(input: R) -> Self {
        Self {
            input,
            follower: Follower::default(),
        }
    }

    /// Whether the archive was read to its end.
    pub fn is_over(&self) -> bool {
        self.follower.state == NarReaderState::End
    }
}

impl<R: BufRead> Read for NarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.is_over() {
            return Ok(0);
        }
        let bytes = self.input.fill_buf()?;
        let room = buffer.len().min(bytes.len());
        let count = self.follower.follow(&bytes[..room])?;
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.input.consume(count);
        Ok(count)
    }
}

/// How far an archive was followed.
#[derive(Debug)]
struct Follower {
    state: NarReaderState,
    length: [u8; 8],
    /// The string that is being read, where it is a word of the grammar, and its length.
    word: Option<(Vec<u8>, usize)>,
    /// Whether the next string may be anything.
    opaque: bool,
    depth: usize,
}

impl Default for Follower {
    fn default() -> Self {
        Self {
            state: NarReaderState::Length(0),
            length: [0; 8],
            word: None,
            opaque: false,
            depth: 0,
        }
    }
}

impl Follower {
    /// How many of `bytes`, which come next, are the archive's: all but at its end, and where something follows that is
    /// not an archive. That is an error where it comes first.
    fn follow(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut place = 0;
        while place < bytes.len() {
            let rest = &bytes[place..];
            match self.state {
                NarReaderState::End => break,
                NarReaderState::Length(have) => {
                    let count = rest.len().min(8 - have);
                    self.length[have..have + count].copy_from_slice(&rest[..count]);
                    if have + count < 8 {
                        self.state = NarReaderState::Length(have + count);
                    } else if let Err(error) = self.begin() {
                        // What was good before is given first.
                        return if place > 0 { Ok(place) } else { Err(error) };
                    }
                    place += count;
                }
                NarReaderState::Bytes(left) => {
                    let count =
                        usize::try_from(left).map_or(rest.len(), |left| rest.len().min(left));
                    if let Some((word, _)) = &mut self.word {
                        word.extend_from_slice(&rest[..count]);
                    }
                    self.state = NarReaderState::Bytes(left - count as u64);
                    if left == count as u64 {
                        self.end_of_string();
                    }
                    place += count;
                }
            }
        }
        Ok(place)
    }

    /// A length is complete.
    fn begin(&mut self) -> io::Result<()> {
        let length = u64::from_le_bytes(self.length);
        let corrupt = || {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "a string of the archive is too long",
            )
        };
        let padded = length.checked_next_multiple_of(8).ok_or_else(corrupt)?;
        self.word = None;
        if self.opaque {
            self.opaque = false;
        } else if length > WORD_MAX {
            return Err(corrupt());
        } else {
            self.word = Some((Vec::with_capacity(padded as usize), length as usize));
        }
        self.state = NarReaderState::Bytes(padded);
        if padded == 0 {
            self.end_of_string();
        }
        Ok(())
    }

    fn end_of_string(&mut self) {
        self.state = NarReaderState::Length(0);
        let Some((bytes, length)) = self.word.take() else {
            return;
        };
        match &bytes[..length] {
            b"(" => self.depth += 1,
            b")" => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.state = NarReaderState::End;
                }
            }
            b"name" | b"target" | b"contents" => self.opaque = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::nar::Tree;

    #[test]
    fn it_ends_with_the_archive_whatever_follows() {
        // Contents that look like the grammar.
        for content in [&b")"[..], b"", b"(((", b"contents", &[b'x'; 1000]] {
            let archive = Tree::file(content).to_nar().unwrap();
            let mut bytes = archive.clone();
            bytes.extend_from_slice(b"EXIN and more");
            let mut input = bytes.as_slice();
            let mut read = Vec::new();
            let mut reader = NarReader::new(&mut input);
            reader.read_to_end(&mut read).unwrap();
            assert!(reader.is_over());
            assert_eq!(read, archive);
            assert_eq!(input, b"EXIN and more");
        }
    }

    #[test]
    fn what_is_cut_short_or_no_archive_does_not_end_well() {
        let archive = Tree::file(b"content").to_nar().unwrap();
        let mut reader = NarReader::new(&archive[..archive.len() - 8]);
        reader.read_to_end(&mut Vec::new()).unwrap();
        assert!(!reader.is_over());
        let mut reader = NarReader::new(&[0xff; 64][..]);
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
    }

    #[test]
    fn its_end_is_found_however_the_bytes_come() {
        let archive = Tree::file(b"content").to_nar().unwrap();
        let mut bytes = archive.clone();
        bytes.extend_from_slice(b"more");
        for capacity in [1, 3, 8, 100] {
            let input = io::BufReader::with_capacity(capacity, bytes.as_slice());
            let mut reader = NarReader::new(input);
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            assert_eq!(read, archive, "{capacity}");
        }
    }
}
