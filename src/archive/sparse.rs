// SPDX-License-Identifier: GPL-3.0-or-later
//! Maps of sparse files: which parts of a file an archive holds. The rest is holes, which read as zeros.
//!
//! Four formats are in use (GNU tar manual, "Storing Sparse Files"): old GNU (`S` in the header, which also holds the
//! map), and pax with the keys `GNU.sparse.*` in the versions 0.0, 0.1 (map in the extended header) and 1.0 (map before
//! the contents; bsdtar writes this one).

use std::io::{self, Read};

use ::tar::{GnuExtSparseHeader, GnuSparseHeader};

use super::headers::{BLOCK, Headers};

/// The most parts of one file. A map of more would not fit into the largest extended header.
pub(super) const PARTS: usize = 1 << 16;

/// What pax records say about a sparse file.
#[derive(Debug, Default)]
pub(super) struct SparseRecords {
    name: Option<Vec<u8>>,
    size: Option<u64>,
    version: (Option<u64>, Option<u64>),
    /// Offsets and sizes of parts, in turn.
    numbers: Vec<u64>,
    is_sparse: bool,
}

/// A sparse file: its size, and the parts that the archive holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SparseMap {
    /// The size of the file, holes included.
    pub(super) size: u64,
    /// Offset and size of each part: ascending, none overlaps the next or ends after the file.
    parts: Vec<(u64, u64)>,
}

/// A stretch of a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stretch {
    /// So many zeros.
    Hole(u64),
    /// So many bytes of the archive.
    Data(u64),
}

/// Why a map cannot be used.
#[derive(Debug)]
pub(super) enum SparseError {
    /// The map contradicts itself, or the header.
    Damaged(&'static str),
    /// The map has more than [`PARTS`] parts.
    TooManyParts,
    /// The input cannot be read.
    Read(io::Error),
}

impl From<io::Error> for SparseError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl SparseRecords {
    /// Takes the record `key`, which starts with `GNU.sparse.`. False where the value is damaged.
    pub(super) fn record(&mut self, key: &[u8], value: &[u8]) -> bool {
        self.is_sparse = true;
        let number = |slot: &mut Option<u64>| {
            *slot = decimal(value);
            slot.is_some()
        };
        match key {
            b"GNU.sparse.name" => self.name = Some(value.to_owned()),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => return number(&mut self.size),
            b"GNU.sparse.major" => return number(&mut self.version.0),
            b"GNU.sparse.minor" => return number(&mut self.version.1),
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                let is_offset = key == b"GNU.sparse.offset";
                // Each offset is followed by its size.
                if is_offset != self.numbers.len().is_multiple_of(2) {
                    return false;
                }
                match decimal(value) {
                    Some(number) => self.numbers.push(number),
                    None => return false,
                }
            }
            b"GNU.sparse.map" => {
                self.numbers.clear();
                for text in value.split(|byte| *byte == b',') {
                    match decimal(text) {
                        Some(number) => self.numbers.push(number),
                        // A file that is one hole has an empty map.
                        None if value.is_empty() => {}
                        None => return false,
                    }
                }
            }
            // The number of parts, which the map says as well.
            _ => {}
        }
        true
    }

    /// The file's name, where the records give it another than the header does.
    pub(super) fn take_name(&mut self) -> Option<Vec<u8>> {
        self.name.take()
    }

    /// The map, where the records say that the entry is sparse; reads it from the contents where it is there.
    pub(super) fn map<R: Read>(
        self,
        contents: &mut Headers<R>,
    ) -> Result<Option<SparseMap>, SparseError> {
        if !self.is_sparse {
            return Ok(None);
        }
        let Some(size) = self.size else {
            return Err(SparseError::Damaged("a sparse file has no size"));
        };
        let numbers = match self.version {
            (None, None) | (Some(0), _) => self.numbers,
            (Some(1), Some(0)) => map_before_contents(contents)?,
            _ => return Err(SparseError::Damaged("unknown version of sparse files")),
        };
        SparseMap::new(size, numbers, contents.left()).map(Some)
    }
}

impl SparseMap {
    /// The map of an entry with the type `S`; reads the blocks that continue it. `stored` is the size in the header.
    pub(super) fn of_gnu_header<R: Read>(
        header: &::tar::Header,
        stored: u64,
        input: &mut Headers<R>,
    ) -> Result<Self, SparseError> {
        let damaged = |_| SparseError::Damaged("a number in a sparse header is damaged");
        let Some(header) = header.as_gnu() else {
            return Err(SparseError::Damaged("a sparse entry has no GNU header"));
        };
        let size = header.real_size().map_err(damaged)?;
        let mut numbers = Vec::new();
        let mut take = |parts: &[GnuSparseHeader]| {
            for part in parts.iter().filter(|part| !part.is_empty()) {
                if numbers.len() / 2 == PARTS {
                    return Err(SparseError::TooManyParts);
                }
                numbers.push(part.offset().map_err(damaged)?);
                numbers.push(part.length().map_err(damaged)?);
            }
            Ok(())
        };
        take(&header.sparse)?;
        let mut is_extended = header.is_extended();
        while is_extended {
            let mut extension = GnuExtSparseHeader::new();
            extension
                .as_mut_bytes()
                .copy_from_slice(&input.extension()?);
            take(&extension.sparse)?;
            is_extended = extension.is_extended();
        }
        Self::new(size, numbers, stored)
    }

    /// Checks the map. `stored` is how many bytes the archive holds.
    fn new(size: u64, numbers: Vec<u64>, stored: u64) -> Result<Self, SparseError> {
        if numbers.len() / 2 > PARTS {
            return Err(SparseError::TooManyParts);
        }
        if !numbers.len().is_multiple_of(2) {
            return Err(SparseError::Damaged("a part of a sparse file has no size"));
        }
        let mut parts = Vec::with_capacity(numbers.len() / 2);
        let (mut end, mut total) = (0_u64, 0_u64);
        for pair in numbers.chunks_exact(2) {
            let [offset, length] = pair else { continue };
            let after = offset
                .checked_add(*length)
                .filter(|after| *offset >= end && *after <= size);
            let Some(after) = after else {
                return Err(SparseError::Damaged(
                    "parts of a sparse file overlap or are outside of it",
                ));
            };
            // Neither sum can overflow: each is at most `size`.
            (end, total) = (after, total + length);
            parts.push((*offset, *length));
        }
        if total != stored {
            return Err(SparseError::Damaged(
                "the parts of a sparse file are not as large as its contents",
            ));
        }
        Ok(Self { size, parts })
    }

    /// The file from its start to its end.
    pub(super) fn stretches(&self) -> impl Iterator<Item = Stretch> + '_ {
        let ends = self.parts.iter().map(|(offset, length)| offset + length);
        let starts = std::iter::once(0).chain(ends);
        let parts = self.parts.iter().copied().chain([(self.size, 0)]);
        parts
            .zip(starts)
            .flat_map(|((offset, length), before)| {
                [Stretch::Hole(offset - before), Stretch::Data(length)]
            })
            .filter(|stretch| !matches!(stretch, Stretch::Hole(0) | Stretch::Data(0)))
    }
}

/// Reads the map of version 1.0: the number of parts, then offset and size of each, a line each, padded to whole
/// blocks.
fn map_before_contents<R: Read>(contents: &mut Headers<R>) -> Result<Vec<u64>, SparseError> {
    let mut block = [0; BLOCK];
    let mut position = BLOCK;
    let mut line = || -> Result<u64, SparseError> {
        let mut digits = Vec::new();
        loop {
            if position == BLOCK {
                if contents.left() < BLOCK as u64 {
                    return Err(SparseError::Damaged("the map of a sparse file is cut off"));
                }
                contents.read_exact(&mut block)?;
                position = 0;
            }
            let byte = block[position];
            position += 1;
            if byte == b'\n' {
                let number = decimal(&digits);
                return number.ok_or(SparseError::Damaged("the map of a sparse file is damaged"));
            }
            digits.push(byte);
            if digits.len() > 20 {
                return Err(SparseError::Damaged("the map of a sparse file is damaged"));
            }
        }
    };
    let count = line()?;
    if count > PARTS as u64 {
        return Err(SparseError::TooManyParts);
    }
    (0..count * 2).map(|_| line()).collect()
}

/// A decimal number, without a sign.
fn decimal(text: &[u8]) -> Option<u64> {
    if !text.first()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_becomes_stretches() {
        let stretches = |size, numbers: &[u64], stored| {
            let map = SparseMap::new(size, numbers.to_vec(), stored).unwrap();
            map.stretches().collect::<Vec<_>>()
        };
        use Stretch::{Data, Hole};
        assert_eq!(
            stretches(100, &[10, 5, 15, 5, 50, 0, 90, 10], 20),
            [Hole(10), Data(5), Data(5), Hole(30), Hole(40), Data(10)]
        );
        assert_eq!(stretches(7, &[7, 0], 0), [Hole(7)]);
        assert_eq!(stretches(7, &[], 0), [Hole(7)]);
        assert_eq!(stretches(0, &[], 0), []);
        assert_eq!(stretches(5, &[0, 5], 5), [Data(5)]);
    }

    #[test]
    fn maps_that_contradict_themselves_are_refused() {
        let most = u64::MAX;
        for (size, numbers, stored) in [
            (10, vec![0, 5, 4, 1], 6),
            (10, vec![5, 1, 0, 1], 2),
            (10, vec![0, 11], 11),
            (10, vec![11, 0], 0),
            (most, vec![most, 1], 1),
            (most, vec![1, most], most),
            (10, vec![0, 5], 4),
            (10, vec![0, 5], 6),
            (10, vec![0], 0),
        ] {
            let map = SparseMap::new(size, numbers.clone(), stored);
            assert!(matches!(map, Err(SparseError::Damaged(_))), "{numbers:?}");
        }
        let many = vec![0; 2 * (PARTS + 1)];
        let map = SparseMap::new(10, many, 0);
        assert!(matches!(map, Err(SparseError::TooManyParts)));
    }
}
