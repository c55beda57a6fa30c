// SPDX-License-Identifier: GPL-3.0-or-later
//! Reading archives: one pass, no recursion, fixed buffers; a [`Visitor`] gets each node.

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::encode::{MAGIC, padding};
use super::{MAX_DEPTH, MAX_NAME, MAX_TARGET, NarError, NarProblem, name_problem, target_problem};

/// The size of the reader's only large buffer.
const BUFFER: usize = 128 * 1024;

/// The longest of the grammar's own words, `nix-archive-1`.
const MAX_WORD: u64 = 13;

/// Receives the nodes of a tree, depth first. `name` is `None` for the root only. The default is to ignore.
pub(crate) trait Visitor {
    /// A directory starts.
    fn directory(&mut self, _name: Option<&OsStr>) -> Result<(), NarError> {
        Ok(())
    }
    /// The directory that started last, and has not ended, ends.
    fn directory_end(&mut self) -> Result<(), NarError> {
        Ok(())
    }
    /// A regular file starts, of which `size` bytes of content are claimed to follow.
    fn file(
        &mut self,
        _name: Option<&OsStr>,
        _executable: bool,
        _size: u64,
    ) -> Result<(), NarError> {
        Ok(())
    }
    /// The next bytes of the file.
    fn contents(&mut self, _bytes: &[u8]) -> Result<(), NarError> {
        Ok(())
    }
    /// The file is complete.
    fn file_end(&mut self) -> Result<(), NarError> {
        Ok(())
    }
    /// A symbolic link.
    fn symlink(&mut self, _name: Option<&OsStr>, _target: &OsStr) -> Result<(), NarError> {
        Ok(())
    }
}

/// Reads one archive, which must be all there is in `source`.
pub(crate) fn read(source: &mut dyn Read, visitor: &mut dyn Visitor) -> Result<(), NarError> {
    let mut reader = NarParser {
        source,
        buffer: vec![0; BUFFER],
        start: 0,
        end: 0,
        offset: 0,
    };
    reader.word(MAGIC, "`nix-archive-1`")?;
    // The last name seen in each open directory.
    let mut open: Vec<Option<OsString>> = Vec::new();
    reader.node(None, 0, visitor, &mut open)?;
    while let Some(last) = open.last_mut() {
        let at = reader.offset;
        match reader.string("a word", MAX_WORD)?.as_slice() {
            b"entry" => {
                let name = reader.entry_name(last.as_deref())?;
                *last = Some(name.clone());
                let depth = open.len();
                reader.node(Some(&name), depth, visitor, &mut open)?;
            }
            b")" => {
                visitor.directory_end()?;
                open.pop();
                if !open.is_empty() {
                    reader.word(b")", "`)`")?;
                }
            }
            seen => return Err(unexpected(at, "`entry` or `)`", seen)),
        }
    }
    match reader.fill()? {
        0 => Ok(()),
        _ => Err(corrupt(reader.offset, NarProblem::Trailing)),
    }
}

struct NarParser<'a> {
    source: &'a mut dyn Read,
    buffer: Vec<u8>,
    /// The bytes that were read ahead are `buffer[start..end]`.
    start: usize,
    end: usize,
    /// The position of `buffer[start]` in the archive.
    offset: u64,
}

impl NarParser<'_> {
    /// Reads a node whose entry is already open. Of a directory only the start, which is pushed on `open`.
    fn node(
        &mut self,
        name: Option<&OsStr>,
        depth: usize,
        visitor: &mut dyn Visitor,
        open: &mut Vec<Option<OsString>>,
    ) -> Result<(), NarError> {
        self.word(b"(", "`(`")?;
        self.word(b"type", "`type`")?;
        let at = self.offset;
        match self.string("a word", MAX_WORD)?.as_slice() {
            b"directory" => {
                if depth == MAX_DEPTH {
                    return Err(corrupt(at, NarProblem::Depth));
                }
                visitor.directory(name)?;
                open.push(None);
                return Ok(());
            }
            b"regular" => self.file(name, visitor)?,
            b"symlink" => {
                self.word(b"target", "`target`")?;
                let at = self.offset;
                let target = self.string("a link target", MAX_TARGET)?;
                if let Some(reason) = target_problem(&target) {
                    return Err(wrong_entry(at, &target, reason));
                }
                visitor.symlink(name, OsStr::from_bytes(&target))?;
            }
            seen => return Err(unexpected(at, "`regular`, `directory` or `symlink`", seen)),
        }
        self.word(b")", "`)`")?;
        if depth > 0 {
            self.word(b")", "`)`")?;
        }
        Ok(())
    }

    fn file(&mut self, name: Option<&OsStr>, visitor: &mut dyn Visitor) -> Result<(), NarError> {
        let at = self.offset;
        let executable = match self.string("a word", MAX_WORD)?.as_slice() {
            b"executable" => {
                self.word(b"", "an empty string")?;
                self.word(b"contents", "`contents`")?;
                true
            }
            b"contents" => false,
            seen => return Err(unexpected(at, "`executable` or `contents`", seen)),
        };
        let size = self.length("a file", i64::MAX as u64)?;
        visitor.file(name, executable, size)?;
        let mut left = size;
        while left > 0 {
            let available = self.fill()? as u64;
            if available == 0 {
                return Err(corrupt(self.offset, NarProblem::Truncated));
            }
            // Not more than the buffer holds, so it fits.
            let taken = available.min(left) as usize;
            visitor.contents(&self.buffer[self.start..self.start + taken])?;
            self.advance(taken);
            left -= taken as u64;
        }
        self.skip_padding(size)?;
        visitor.file_end()
    }

    /// What follows `entry`, up to the node.
    fn entry_name(&mut self, previous: Option<&OsStr>) -> Result<OsString, NarError> {
        self.word(b"(", "`(`")?;
        self.word(b"name", "`name`")?;
        let at = self.offset;
        let name = self.string("a name", MAX_NAME)?;
        if let Some(reason) = name_problem(&name) {
            return Err(wrong_entry(at, &name, reason));
        }
        if let Some(previous) = previous.map(OsStr::as_bytes)
            && previous >= name.as_slice()
        {
            return Err(corrupt(
                at,
                NarProblem::Order {
                    name: name.escape_ascii().to_string(),
                    previous: previous.escape_ascii().to_string(),
                },
            ));
        }
        self.word(b"node", "`node`")?;
        Ok(OsString::from_vec(name))
    }

    /// One of the grammar's own words, and no other.
    fn word(&mut self, word: &[u8], expected: &'static str) -> Result<(), NarError> {
        let at = self.offset;
        let seen = self.string(expected, MAX_WORD)?;
        match seen == word {
            true => Ok(()),
            false => Err(unexpected(at, expected, &seen)),
        }
    }

    /// A string of at most `limit` bytes, which is small.
    fn string(&mut self, what: &'static str, limit: u64) -> Result<Vec<u8>, NarError> {
        let length = self.length(what, limit)?;
        let mut bytes = vec![0; length as usize];
        self.exactly(&mut bytes)?;
        self.skip_padding(length)?;
        Ok(bytes)
    }

    fn length(&mut self, what: &'static str, limit: u64) -> Result<u64, NarError> {
        let at = self.offset;
        let mut bytes = [0; 8];
        self.exactly(&mut bytes)?;
        let length = u64::from_le_bytes(bytes);
        if length > limit {
            let problem = NarProblem::Length {
                what,
                length,
                limit,
            };
            return Err(corrupt(at, problem));
        }
        Ok(length)
    }

    fn skip_padding(&mut self, length: u64) -> Result<(), NarError> {
        let at = self.offset;
        let mut zeros = [0; 7];
        let zeros = &mut zeros[..padding(length)];
        self.exactly(zeros)?;
        match zeros.iter().position(|byte| *byte != 0) {
            None => Ok(()),
            Some(index) => Err(corrupt(
                at + index as u64,
                NarProblem::Padding(zeros[index]),
            )),
        }
    }

    fn exactly(&mut self, mut target: &mut [u8]) -> Result<(), NarError> {
        while !target.is_empty() {
            let available = self.fill()?;
            if available == 0 {
                return Err(corrupt(self.offset, NarProblem::Truncated));
            }
            let taken = available.min(target.len());
            let (now, later) = target.split_at_mut(taken);
            now.copy_from_slice(&self.buffer[self.start..self.start + taken]);
            self.advance(taken);
            target = later;
        }
        Ok(())
    }

    /// Makes sure that there are bytes in the buffer, and returns how many: 0 at the end of the input.
    fn fill(&mut self) -> Result<usize, NarError> {
        while self.start == self.end {
            match self.source.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => (self.start, self.end) = (0, count.min(BUFFER)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let offset = self.offset;
                    return Err(NarError::Source { offset, error });
                }
            }
        }
        Ok(self.end - self.start)
    }

    fn advance(&mut self, count: usize) {
        self.start += count;
        self.offset += count as u64;
    }
}

fn corrupt(offset: u64, problem: NarProblem) -> NarError {
    NarError::Corrupt { offset, problem }
}

fn unexpected(offset: u64, expected: &'static str, seen: &[u8]) -> NarError {
    let seen = seen.escape_ascii().to_string();
    corrupt(offset, NarProblem::Unexpected { expected, seen })
}

fn wrong_entry(offset: u64, entry: &[u8], reason: &'static str) -> NarError {
    let entry = entry.escape_ascii().to_string();
    corrupt(offset, NarProblem::Entry { entry, reason })
}
