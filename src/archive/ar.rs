// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads `ar` archives, the outer layer of a `.deb`.
//!
//! The format: the magic `!<arch>\n`, then members. A member is a header of 60 bytes (name 16, time 12, owner 6, group
//! 6, mode 8, size in decimal 10, then `` `\n ``), its bytes, and a newline where their number is odd. Only the common
//! subset is read: names of at most 16 bytes, which is all that `.deb` files use (deb(5)).

use std::io::{self, Read};

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER: usize = 60;

/// Why bytes are not an `ar` archive.
#[derive(Debug, thiserror::Error)]
pub enum ArError {
    /// The input cannot be read, or ends too early.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// The first eight bytes are something else.
    #[error("expected an ar archive, which starts with `!<arch>`")]
    Magic,
    /// A header without its end mark, or with a damaged size.
    #[error("the header of member {number} at byte {offset} is damaged")]
    Header {
        /// Counted from 1.
        number: u32,
        /// Where the header starts.
        offset: u64,
    },
}

/// The name and size of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name, without padding and without the slash that some archivers end it with.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Reads one member after the other. The current member's bytes are read through [`Read`].
pub struct ArReader<R> {
    input: R,
    number: u32,
    offset: u64,
    remaining: u64,
    padding: u64,
}

impl<R: Read> ArReader<R> {
    /// Checks the magic.
    pub fn new(mut input: R) -> Result<Self, ArError> {
        let mut magic = [0; MAGIC.len()];
        match input.read_exact(&mut magic) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(ArError::Magic);
            }
            other => other?,
        }
        if &magic != MAGIC {
            return Err(ArError::Magic);
        }
        Ok(Self {
            input,
            number: 0,
            offset: MAGIC.len() as u64,
            remaining: 0,
            padding: 0,
        })
    }

    /// Goes to the next member; `None` after the last. What was not read of the current one is skipped.
    pub fn next_member(&mut self) -> Result<Option<Member>, ArError> {
        let skip = self.remaining + self.padding;
        let skipped = io::copy(&mut (&mut self.input).take(skip), &mut io::sink())?;
        // The padding of the very last member is often missing.
        if skipped < self.remaining {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.remaining = 0;
        self.padding = 0;

        let mut header = [0; HEADER];
        let mut filled = 0;
        while filled < HEADER {
            match self.input.read(&mut header[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                count => filled += count,
            }
        }
        self.number += 1;
        let damaged = || ArError::Header {
            number: self.number,
            offset: self.offset,
        };
        if &header[58..60] != b"`\n" {
            return Err(damaged());
        }
        let text = |range: std::ops::Range<usize>| {
            std::str::from_utf8(&header[range])
                .map(|text| text.trim_end_matches(' ').to_owned())
                .map_err(|_| damaged())
        };
        let name = text(0..16)?;
        let size: u64 = text(48..58)?.parse().map_err(|_| damaged())?;
        self.remaining = size;
        self.padding = size % 2;
        self.offset += HEADER as u64 + size + self.padding;
        let name = name.strip_suffix('/').unwrap_or(&name).to_owned();
        Ok(Some(Member { name, size }))
    }
}

impl<R: Read> Read for ArReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.remaining == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let count = (&mut self.input).take(self.remaining).read(buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.remaining -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::ar;
    use super::*;

    #[test]
    fn members_are_read_in_order_and_may_be_skipped() {
        let bytes = ar(&[("odd", b"abc"), ("skipped/", b"1234567"), ("last", b"end")]);
        let mut reader = ArReader::new(&bytes[..]).unwrap();
        assert_eq!(reader.next_member().unwrap().unwrap().name, "odd");
        let mut contents = String::new();
        reader.read_to_string(&mut contents).unwrap();
        assert_eq!(contents, "abc");
        assert_eq!(
            reader.next_member().unwrap(),
            Some(Member {
                name: "skipped".to_owned(),
                size: 7
            })
        );
        assert_eq!(reader.next_member().unwrap().unwrap().name, "last");
        contents.clear();
        reader.read_to_string(&mut contents).unwrap();
        assert_eq!(contents, "end");
        assert_eq!(reader.next_member().unwrap(), None);
    }

    #[test]
    fn damaged_archives_are_errors() {
        assert!(matches!(
            ArReader::new(&b"PK\x03\x04 not ar"[..]),
            Err(ArError::Magic)
        ));
        assert!(matches!(ArReader::new(&b"!<ar"[..]), Err(ArError::Magic)));

        let good = ar(&[("a", b"hello")]);
        let mut wrong_size = good.clone();
        wrong_size[8 + 48..8 + 58].copy_from_slice(b"-5        ");
        let mut reader = ArReader::new(&wrong_size[..]).unwrap();
        assert!(matches!(
            reader.next_member(),
            Err(ArError::Header {
                number: 1,
                offset: 8
            })
        ));

        let mut huge = good.clone();
        huge[8 + 48..8 + 58].copy_from_slice(b"9999999999");
        let mut reader = ArReader::new(&huge[..]).unwrap();
        reader.next_member().unwrap();
        assert!(io::copy(&mut reader, &mut io::sink()).is_err());

        for cut in 9..good.len() - 1 {
            let mut reader = ArReader::new(&good[..cut]).unwrap();
            let result = reader
                .next_member()
                .and_then(|_| Ok(io::copy(&mut reader, &mut io::sink())?));
            assert!(result.is_err(), "cut at {cut}");
        }
    }
}
