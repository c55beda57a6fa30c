// SPDX-License-Identifier: GPL-3.0-or-later
//! Turns a tar into [`UnpackStep`]s. Every entry is checked here before the writer gets it.

use std::cell::Cell;
use std::io::{self, Read};

use ::tar::{EntryType, Header};

use crate::formats::visible::visible;

use super::ArchiveLimits;
use super::entry_path::{BadPath, EntryPath};
use super::error::{ArchiveError, Limit};
use super::headers::{HeaderError, Headers};
use super::pax::Extensions;
use super::sparse::{PARTS, SparseError, SparseMap, Stretch};
use super::steps::{CHUNK, Outlet, Stopped, UnpackStep};

/// The largest extended header. Names end at 4 KiB on every system; attributes, which are ignored, may be longer.
const HEADER_BYTES: u64 = 1 << 20;

/// What is left of the [`ArchiveLimits`] of a tree.
#[derive(Debug)]
pub(super) struct UnpackBudget {
    limits: ArchiveLimits,
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

impl UnpackBudget {
    pub(super) fn new(limits: ArchiveLimits) -> Self {
        Self {
            limits,
            entries: 0,
            bytes: 0,
        }
    }
}

/// Passes decoded bytes on and counts them against the budget.
struct Counted<'a, R> {
    input: R,
    left: &'a Cell<u64>,
    exceeded: &'a Cell<bool>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        match self.left.get().checked_sub(count as u64) {
            Some(left) => {
                self.left.set(left);
                Ok(count)
            }
            None => {
                self.exceeded.set(true);
                Err(io::Error::other("too many bytes"))
            }
        }
    }
}

struct Decoding<'a> {
    label: &'a str,
    limits: ArchiveLimits,
    left: &'a Cell<u64>,
    exceeded: &'a Cell<bool>,
    outlet: &'a Outlet,
}

/// Sends the entries of the tar in `input` (decoded already) to the writer, and reads `input` to its end, so that the
/// decoder has checked all of it.
pub(super) fn decode(
    label: &str,
    input: impl Read,
    budget: &mut UnpackBudget,
    outlet: &Outlet,
) -> Result<(), Stopped> {
    let left = Cell::new(budget.limits.bytes.saturating_sub(budget.bytes));
    let exceeded = Cell::new(false);
    let decoding = Decoding {
        label,
        limits: budget.limits,
        left: &left,
        exceeded: &exceeded,
        outlet,
    };
    let mut headers = Headers::new(Counted {
        input,
        left: &left,
        exceeded: &exceeded,
    });
    let result = decoding.entries(&mut headers, &mut budget.entries);
    let result = result.and_then(|()| {
        // Bytes after the end mark: padding, and the decoder's checksums.
        io::copy(&mut headers.into_input(), &mut io::sink())
            .map(drop)
            .map_err(|error| decoding.read_error("its end", error).into())
    });
    budget.bytes = budget.limits.bytes.saturating_sub(left.get());
    result
}

impl Decoding<'_> {
    fn entries<R: Read>(&self, headers: &mut Headers<R>, count: &mut u64) -> Result<(), Stopped> {
        let mut name = String::from("its start");
        let mut extensions = Extensions::default();
        loop {
            let header = headers.next().map_err(|error| match error {
                HeaderError::Read(error) => self.read_error(&name, error),
                HeaderError::Damaged(reason) if *count == 0 => {
                    self.malformed(format!("it is not a tar archive: {reason}"))
                }
                HeaderError::Damaged(reason) => self.malformed(format!("after `{name}`: {reason}")),
            })?;
            let Some(header) = header else {
                return Ok(());
            };
            *count += 1;
            if *count > self.limits.entries {
                return Err(self
                    .limit(&name, Limit::Entries, self.limits.entries)
                    .into());
            }
            // The archive's label, without contents: GNU tar leaves its size empty.
            if header.entry_type().as_byte() == b'V' {
                continue;
            }
            let size = header.entry_size().map_err(|_| {
                self.malformed(format!("after `{name}`: the size of an entry is damaged"))
            })?;
            if size > self.left.get() {
                let entry = self.spell(&header.path_bytes());
                return Err(self.limit(&entry, Limit::Bytes, self.limits.bytes).into());
            }
            let kind = header.entry_type();
            // The map of an old sparse file goes on between its header and its contents.
            let old_sparse = match kind.is_gnu_sparse() {
                true => {
                    let map = SparseMap::of_gnu_header(&header, size, headers);
                    let entry = self.spell(&header.path_bytes());
                    Some(map.map_err(|error| self.sparse_error(&entry, error))?)
                }
                false => None,
            };
            headers.open(size);
            match kind {
                EntryType::GNULongName => {
                    extensions.path = Some(self.long_name(headers, size)?);
                }
                EntryType::GNULongLink => {
                    extensions.link = Some(self.long_name(headers, size)?);
                }
                EntryType::XHeader => {
                    let data = self.header_data(headers, size)?;
                    self.pax(&data, &mut extensions)?;
                }
                EntryType::XGlobalHeader => {
                    // A comment, such as the commit that git-archive packed. Defaults for names make no sense.
                    let data = self.header_data(headers, size)?;
                    let mut global = Extensions::default();
                    self.pax(&data, &mut global)?;
                    if global.names_or_sizes {
                        return Err(self
                            .malformed("a global pax header sets names or sizes".to_owned())
                            .into());
                    }
                }
                _ => {
                    let extensions = std::mem::take(&mut extensions);
                    name = self.entry(headers, &header, old_sparse, extensions)?;
                }
            }
        }
    }

    /// Sends one real entry. Returns its name, for the errors of what follows.
    fn entry<R: Read>(
        &self,
        contents: &mut Headers<R>,
        header: &Header,
        old_sparse: Option<SparseMap>,
        mut extensions: Extensions,
    ) -> Result<String, Stopped> {
        let size = contents.left();
        let raw_name = extensions
            .sparse
            .take_name()
            .or(extensions.path)
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let name = self.spell(&raw_name);
        // Readers that trust one of two different sizes see different archives: neither is trusted.
        if extensions.size.is_some_and(|pax| pax != size) {
            return Err(self
                .malformed(format!("`{name}` has two different sizes"))
                .into());
        }
        let path = self.path(&name, &raw_name)?;
        let link = extensions
            .link
            .or_else(|| header.link_name_bytes().map(|link| link.into_owned()))
            .unwrap_or_default();
        let sparse_error = |error| self.sparse_error(&name, error);
        let map = extensions.sparse.map(contents).map_err(sparse_error)?;
        let map = match (map, old_sparse) {
            (Some(_), Some(_)) => {
                let error = SparseError::Damaged("a sparse file has two maps");
                return Err(self.sparse_error(&name, error).into());
            }
            (map, old) => map.or(old),
        };
        let refuse = |what: &str| Stopped::from(self.unsafe_entry(&name, what.to_owned()));
        let kind = header.entry_type();
        if let Some(map) = map {
            return match kind {
                EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => self
                    .sparse_file(contents, header, &name, path, &map)
                    .map(|()| name),
                _ => Err(refuse("is sparse and is not a file")),
            };
        }
        match kind {
            // Before ustar, a directory was a file whose name ends in a slash.
            EntryType::Regular if raw_name.ends_with(b"/") => {
                self.outlet.send(UnpackStep::Directory(path))?;
            }
            EntryType::Regular | EntryType::Continuous => {
                self.file(contents, header, &name, path)?;
            }
            EntryType::Directory => self.outlet.send(UnpackStep::Directory(path))?,
            EntryType::Symlink => {
                if link.is_empty() || link.contains(&0) {
                    return Err(refuse("is a symbolic link without a usable target"));
                }
                let step = UnpackStep::Symlink { path, target: link };
                self.outlet.send(step)?;
            }
            EntryType::Link => {
                let target = EntryPath::parse(&link).map_err(|bad| {
                    let link = self.spell(&link);
                    self.unsafe_entry(
                        &name,
                        format!("is a hard link to `{link}`, which {}", bad.reason()),
                    )
                })?;
                self.outlet.send(UnpackStep::HardLink { path, target })?;
            }
            EntryType::Char | EntryType::Block => return Err(refuse("is a device node")),
            EntryType::Fifo => return Err(refuse("is a named pipe")),
            other => {
                let kind = visible([other.as_byte()]);
                return Err(refuse(&format!(
                    "has the type `{kind}`: expected a file, directory, symbolic or hard link"
                )));
            }
        }
        Ok(name)
    }

    fn file<R: Read>(
        &self,
        contents: &mut Headers<R>,
        header: &Header,
        name: &str,
        path: EntryPath,
    ) -> Result<(), Stopped> {
        let executable = self.is_executable(name, header)?;
        let size = contents.left();
        if size <= CHUNK as u64 {
            let contents = self.chunk(contents, name, size)?;
            let step = UnpackStep::File {
                path,
                executable,
                contents,
            };
            return self.outlet.send(step);
        }
        self.outlet
            .send(UnpackStep::LargeFile { path, executable })?;
        self.data(contents, name, size)
    }

    /// Sends a file of which the archive holds the parts of `map`.
    fn sparse_file<R: Read>(
        &self,
        contents: &mut Headers<R>,
        header: &Header,
        name: &str,
        path: EntryPath,
        map: &SparseMap,
    ) -> Result<(), Stopped> {
        let executable = self.is_executable(name, header)?;
        // Holes count as well: whatever reads the file reads them.
        let holes = map.size - contents.left();
        let left = self.left.get().checked_sub(holes);
        if left.is_none_or(|left| left < contents.left()) {
            return Err(self.limit(name, Limit::Bytes, self.limits.bytes).into());
        }
        self.left.set(left.unwrap_or_default());
        self.outlet
            .send(UnpackStep::LargeFile { path, executable })?;
        for stretch in map.stretches() {
            match stretch {
                Stretch::Hole(size) => self.outlet.send(UnpackStep::Hole(size))?,
                Stretch::Data(size) => self.data(contents, name, size)?,
            }
        }
        Ok(())
    }

    fn is_executable(&self, name: &str, header: &Header) -> Result<bool, ArchiveError> {
        let mode = header
            .mode()
            .map_err(|_| self.malformed(format!("the mode of `{name}` is damaged")))?;
        Ok(mode & 0o100 != 0)
    }

    /// Sends the next `size` bytes of the contents of the file that was begun.
    fn data<R: Read>(
        &self,
        contents: &mut Headers<R>,
        name: &str,
        size: u64,
    ) -> Result<(), Stopped> {
        let mut left = size;
        while left > 0 {
            let count = left.min(CHUNK as u64);
            self.outlet
                .send(UnpackStep::Chunk(self.chunk(contents, name, count)?))?;
            left -= count;
        }
        Ok(())
    }

    /// The next `size` bytes of the contents, at most [`CHUNK`].
    fn chunk<R: Read>(
        &self,
        contents: &mut Headers<R>,
        name: &str,
        size: u64,
    ) -> Result<Vec<u8>, ArchiveError> {
        // At most CHUNK, so it fits.
        let mut chunk = self.outlet.buffer(size as usize);
        contents
            .read_exact(&mut chunk)
            .map_err(|error| self.read_error(name, error))?;
        Ok(chunk)
    }

    /// The bytes of an extended header.
    fn header_data<R: Read>(
        &self,
        contents: &mut Headers<R>,
        size: u64,
    ) -> Result<Vec<u8>, ArchiveError> {
        if size > HEADER_BYTES {
            return Err(self.limit("an extended header", Limit::Header, HEADER_BYTES));
        }
        let mut data = Vec::new();
        contents
            .take(HEADER_BYTES)
            .read_to_end(&mut data)
            .map_err(|error| self.read_error("an extended header", error))?;
        if data.len() as u64 != size {
            let error = io::ErrorKind::UnexpectedEof.into();
            return Err(self.read_error("an extended header", error));
        }
        Ok(data)
    }

    /// The name in a GNU `L` or `K` header, which ends with a NUL byte.
    fn long_name<R: Read>(
        &self,
        contents: &mut Headers<R>,
        size: u64,
    ) -> Result<Vec<u8>, ArchiveError> {
        let mut name = self.header_data(contents, size)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }

    fn pax(&self, data: &[u8], extensions: &mut Extensions) -> Result<(), ArchiveError> {
        extensions
            .add(data)
            .ok_or_else(|| self.malformed("a pax extended header is damaged".to_owned()))
    }

    fn sparse_error(&self, entry: &str, error: SparseError) -> ArchiveError {
        match error {
            SparseError::Damaged(reason) => self.malformed(format!("`{entry}`: {reason}")),
            SparseError::TooManyParts => self.limit(entry, Limit::Parts, PARTS as u64),
            SparseError::Read(error) => self.read_error(entry, error),
        }
    }

    fn path(&self, name: &str, raw: &[u8]) -> Result<EntryPath, ArchiveError> {
        EntryPath::parse(raw).map_err(|bad| match bad {
            BadPath::Limit(limit, allowed) => self.limit(name, limit, allowed),
            other => self.unsafe_entry(name, other.reason()),
        })
    }

    /// A name for an error message.
    fn spell(&self, name: &[u8]) -> String {
        visible(name)
    }

    fn malformed(&self, reason: String) -> ArchiveError {
        ArchiveError::Malformed {
            archive: self.label.to_owned(),
            reason,
        }
    }

    fn unsafe_entry(&self, entry: &str, reason: String) -> ArchiveError {
        ArchiveError::Unsafe {
            archive: self.label.to_owned(),
            entry: entry.to_owned(),
            reason,
        }
    }

    fn limit(&self, entry: &str, limit: Limit, allowed: u64) -> ArchiveError {
        ArchiveError::Limit {
            archive: self.label.to_owned(),
            entry: entry.to_owned(),
            limit,
            allowed,
        }
    }

    /// An error while reading at or after `entry`: the limit, where that is what stopped it.
    fn read_error(&self, entry: &str, error: io::Error) -> ArchiveError {
        if self.exceeded.get() {
            return self.limit(entry, Limit::Bytes, self.limits.bytes);
        }
        ArchiveError::Read {
            archive: self.label.to_owned(),
            error,
        }
    }
}
