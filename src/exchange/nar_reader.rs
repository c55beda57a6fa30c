// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads an archive that is followed by something else, and ends where it ends.
//!
//! The readers of [`nar`](crate::store::nar) want an archive to be all there is. This one follows the archive's strings
//! just closely enough to know its last one: it counts parentheses, and passes over names, targets and contents, which
//! may hold anything. Whether the archive is right is for its reader to find out.

use std::io::{self, Read};

/// A longer word of the grammar is none: the archive is corrupt, and its end cannot be known.
const WORD_MAX: u64 = 16;

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
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
    state: State,
    length: [u8; 8],
    /// The string that is being read, where it is a word of the grammar.
    word: Option<(Vec<u8>, usize)>,
    /// Whether the next string may be anything.
    opaque: bool,
    depth: usize,
}

impl<R: Read> NarReader<R> {
    /// Reads the archive that starts where `input` is. `input` should be buffered.
    pub fn new(input: R) -> Self {
        Self {
            input,
            state: State::Length(0),
            length: [0; 8],
            word: None,
            opaque: false,
            depth: 0,
        }
    }

    /// Whether the archive was read to its end.
    pub fn is_over(&self) -> bool {
        self.state == State::End
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
        self.state = State::Bytes(padded);
        if padded == 0 {
            self.end_of_string();
        }
        Ok(())
    }

    fn end_of_string(&mut self) {
        self.state = State::Length(0);
        let Some((bytes, length)) = self.word.take() else {
            return;
        };
        match &bytes[..length] {
            b"(" => self.depth += 1,
            b")" => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.state = State::End;
                }
            }
            b"name" | b"target" | b"contents" => self.opaque = true,
            _ => {}
        }
    }
}

impl<R: Read> Read for NarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        match self.state {
            State::End => Ok(0),
            State::Length(have) => {
                let room = buffer.len().min(8 - have);
                let count = self.input.read(&mut buffer[..room])?;
                self.length[have..have + count].copy_from_slice(&buffer[..count]);
                self.state = State::Length(have + count);
                if have + count == 8 {
                    self.begin()?;
                }
                Ok(count)
            }
            State::Bytes(left) => {
                let room =
                    usize::try_from(left).map_or(buffer.len(), |left| buffer.len().min(left));
                let count = self.input.read(&mut buffer[..room])?;
                if let Some((word, _)) = &mut self.word {
                    word.extend_from_slice(&buffer[..count]);
                }
                self.state = State::Bytes(left - count as u64);
                if left == count as u64 {
                    self.end_of_string();
                }
                Ok(count)
            }
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
}
