// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads a tar block by block: headers, and the contents that follow each.
//!
//! A tar is a sequence of 512-byte blocks. A header says how many bytes of contents follow; these are padded to whole
//! blocks. Two blocks of zeros end the archive (POSIX, pax, "ustar Interchange Format"). The `tar` crate reads the
//! fields of a header. It cannot iterate over archives with sparse files that have extension blocks unless it also
//! keeps extended headers of any size in memory, so the iteration is here.

use std::io::{self, Read};

use ::tar::Header;

/// The size of a block.
pub(super) const BLOCK: usize = 512;

/// Why there is no next header.
#[derive(Debug)]
pub(super) enum HeaderError {
    /// The input cannot be read, or ends in the middle of an entry.
    Read(io::Error),
    /// The block is not a header. What was expected and seen.
    Damaged(&'static str),
}

impl From<io::Error> for HeaderError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// The headers of a tar. The contents of the current entry are read through [`Read`].
pub(super) struct Headers<R> {
    input: R,
    /// Bytes of the current entry's contents that were not read.
    left: u64,
    /// Bytes after the contents up to the next block.
    padding: u64,
}

impl<R: Read> Headers<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            left: 0,
            padding: 0,
        }
    }

    /// The next header; `None` at the end mark, or at the end of an archive without one. Skips what was not read of the
    /// current entry. The caller says with [`Headers::open`] how large the contents are.
    pub(super) fn next(&mut self) -> Result<Option<Header>, HeaderError> {
        self.skip(self.left)?;
        self.skip(self.padding)?;
        (self.left, self.padding) = (0, 0);
        let header = || HeaderError::Damaged("the archive ends in the middle of a header");
        let Some(block) = self.block(header)? else {
            return Ok(None);
        };
        if block == [0; BLOCK] {
            return match self.block(header)? {
                None => Ok(None),
                Some(second) if second == [0; BLOCK] => Ok(None),
                Some(_) => Err(HeaderError::Damaged(
                    "a block of zeros is not followed by a second one",
                )),
            };
        }
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(&block);
        // The checksum counts its own field as spaces.
        let field = 148..156;
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(index, byte)| match field.contains(&index) {
                true => u32::from(b' '),
                false => u32::from(*byte),
            })
            .sum();
        match header.cksum() {
            Ok(expected) if expected == sum => Ok(Some(header)),
            _ => Err(HeaderError::Damaged("the checksum of a header is wrong")),
        }
    }

    /// Begins the contents of the current entry, of `size` bytes.
    pub(super) fn open(&mut self, size: u64) {
        self.left = size;
        let part = size % BLOCK as u64;
        self.padding = if part == 0 { 0 } else { BLOCK as u64 - part };
    }

    /// A block that follows the header, before the contents.
    pub(super) fn extension(&mut self) -> Result<[u8; BLOCK], io::Error> {
        let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
        self.block(cut)?.ok_or_else(cut)
    }

    /// Bytes of the current entry's contents that were not read.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// The input, after the last header.
    pub(super) fn into_input(self) -> R {
        self.input
    }

    /// A whole block; `None` at the end of the input. A block that is cut off is the error `cut`.
    fn block<E: From<io::Error>>(&mut self, cut: impl Fn() -> E) -> Result<Option<[u8; BLOCK]>, E> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(cut()),
                count => filled += count,
            }
        }
        Ok(Some(block))
    }

    fn skip(&mut self, count: u64) -> io::Result<()> {
        let skipped = io::copy(&mut (&mut self.input).take(count), &mut io::sink())?;
        match skipped == count {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl<R: Read> Read for Headers<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let count = (&mut self.input).take(self.left).read(buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}
