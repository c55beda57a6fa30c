//! Turns a tar into [`Step`]s: every entry is checked here before the writer hears of it.
//!
//! The `tar` crate finds and verifies the headers. The headers that only describe the next entry (GNU's `L` and `K`, pax's
//! `x` and `g`) are read here, because the crate would read them to memory whatever their size.

use std::cell::Cell;
use std::io::{self, Read};

use ::tar::{Archive, Entry, EntryType};

use super::Limits;
use super::entry_path::{BadPath, EntryPath};
use super::error::{ArchiveError, Limit};
use super::steps::{CHUNK, Outlet, Step, Stopped};

/// The largest extended header. Names end at 4 KiB on every system; attributes that nobody reads may be longer.
const HEADER_BYTES: u64 = 1 << 20;

/// What is left of the [`Limits`] of a tree.
#[derive(Debug)]
pub(super) struct Budget {
    limits: Limits,
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
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

/// What extended headers say of the next entry.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

struct Decoding<'a> {
    label: &'a str,
    limits: Limits,
    left: &'a Cell<u64>,
    exceeded: &'a Cell<bool>,
    outlet: &'a Outlet,
}

/// Sends the entries of the tar in `input` (decoded already) to the writer, and reads `input` to its end, so that the
/// decoder has checked all of it.
pub(super) fn decode(
    label: &str,
    input: impl Read,
    budget: &mut Budget,
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
    let mut archive = Archive::new(Counted {
        input,
        left: &left,
        exceeded: &exceeded,
    });
    let result = decoding.entries(&mut archive, &mut budget.entries);
    let result = result.and_then(|()| {
        // Bytes after the end mark: padding, and the decoder's check sums.
        io::copy(&mut archive.into_inner(), &mut io::sink())
            .map(drop)
            .map_err(|error| decoding.read_error("its end", error).into())
    });
    budget.bytes = budget.limits.bytes.saturating_sub(left.get());
    result
}

impl Decoding<'_> {
    fn entries<R: Read>(&self, archive: &mut Archive<R>, count: &mut u64) -> Result<(), Stopped> {
        let mut name = String::from("its start");
        let mut extensions = Extensions::default();
        let entries = archive
            .entries()
            .map_err(|error| self.read_error(&name, error))?;
        for entry in entries.raw(true) {
            let mut entry = entry.map_err(|error| match error.kind() {
                // The crate's own complaints; the decoders have other kinds.
                io::ErrorKind::Other if !self.exceeded.get() => {
                    self.malformed(format!("after `{name}`: {error}"))
                }
                _ => self.read_error(&name, error),
            })?;
            *count += 1;
            if *count > self.limits.entries {
                return Err(self
                    .limit(&name, Limit::Entries, self.limits.entries)
                    .into());
            }
            let header_size = entry
                .header()
                .entry_size()
                .map_err(|error| self.malformed(format!("after `{name}`: {error}")))?;
            if header_size > self.left.get() {
                let entry = self.spell(&entry.header().path_bytes());
                return Err(self.limit(&entry, Limit::Bytes, self.limits.bytes).into());
            }
            match entry.header().entry_type() {
                EntryType::GNULongName => {
                    extensions.path = Some(self.long_name(&mut entry, header_size)?);
                }
                EntryType::GNULongLink => {
                    extensions.link = Some(self.long_name(&mut entry, header_size)?);
                }
                EntryType::XHeader => {
                    let data = self.header_data(&mut entry, header_size)?;
                    self.pax(&data, &mut extensions)?;
                }
                EntryType::XGlobalHeader => {
                    // A comment, such as the commit that git-archive packed. Defaults for names make no sense.
                    let data = self.header_data(&mut entry, header_size)?;
                    let mut global = Extensions::default();
                    self.pax(&data, &mut global)?;
                    if global.path.is_some() || global.link.is_some() || global.size.is_some() {
                        return Err(self
                            .malformed("a global pax header sets names or sizes".to_owned())
                            .into());
                    }
                }
                kind => {
                    let extensions = std::mem::take(&mut extensions);
                    name = self.entry(&mut entry, kind, header_size, extensions)?;
                }
            }
        }
        Ok(())
    }

    /// Sends one real entry. Returns its name, for the errors of what follows.
    fn entry<R: Read>(
        &self,
        entry: &mut Entry<'_, R>,
        kind: EntryType,
        size: u64,
        extensions: Extensions,
    ) -> Result<String, Stopped> {
        let raw_name = extensions
            .path
            .unwrap_or_else(|| entry.header().path_bytes().into_owned());
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
            .or_else(|| {
                entry
                    .header()
                    .link_name_bytes()
                    .map(|link| link.into_owned())
            })
            .unwrap_or_default();
        let refuse = |what: &str| Stopped::from(self.unsafe_entry(&name, what.to_owned()));
        match kind {
            // Before ustar, a directory was a file whose name ends in a slash.
            EntryType::Regular if raw_name.ends_with(b"/") => {
                self.outlet.send(Step::Directory(path))?;
            }
            EntryType::Regular | EntryType::Continuous => {
                self.file(entry, &name, path, size)?;
            }
            EntryType::Directory => self.outlet.send(Step::Directory(path))?,
            EntryType::Symlink => {
                if link.is_empty() || link.contains(&0) {
                    return Err(refuse("is a symbolic link without a usable target"));
                }
                let step = Step::Symlink { path, target: link };
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
                self.outlet.send(Step::HardLink { path, target })?;
            }
            EntryType::Char | EntryType::Block => return Err(refuse("is a device node")),
            EntryType::Fifo => return Err(refuse("is a named pipe")),
            other => {
                let kind = char::from(other.as_byte());
                return Err(refuse(&format!(
                    "has the type `{kind}`, which is none of file, directory, symbolic and hard link"
                )));
            }
        }
        Ok(name)
    }

    fn file<R: Read>(
        &self,
        entry: &mut Entry<'_, R>,
        name: &str,
        path: EntryPath,
        size: u64,
    ) -> Result<(), Stopped> {
        let mode = entry
            .header()
            .mode()
            .map_err(|error| self.malformed(format!("`{name}`: {error}")))?;
        let executable = mode & 0o100 != 0;
        let mut left = size;
        let mut next = |left: &mut u64| -> Result<Vec<u8>, Stopped> {
            let count = (*left).min(CHUNK as u64);
            // At most CHUNK, so it fits.
            let mut contents = self.outlet.buffer(count as usize);
            entry
                .read_exact(&mut contents)
                .map_err(|error| self.read_error(name, error))?;
            *left -= count;
            Ok(contents)
        };
        if size <= CHUNK as u64 {
            let contents = next(&mut left)?;
            let step = Step::File {
                path,
                executable,
                contents,
            };
            return self.outlet.send(step);
        }
        self.outlet.send(Step::LargeFile { path, executable })?;
        while left > 0 {
            self.outlet.send(Step::Chunk(next(&mut left)?))?;
        }
        Ok(())
    }

    /// The bytes of an extended header.
    fn header_data<R: Read>(
        &self,
        entry: &mut Entry<'_, R>,
        size: u64,
    ) -> Result<Vec<u8>, ArchiveError> {
        if size > HEADER_BYTES {
            return Err(self.limit("an extended header", Limit::Header, HEADER_BYTES));
        }
        let mut data = Vec::new();
        entry
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
        entry: &mut Entry<'_, R>,
        size: u64,
    ) -> Result<Vec<u8>, ArchiveError> {
        let mut name = self.header_data(entry, size)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }

    /// Reads pax records: `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record (POSIX, pax, "pax Extended Header").
    fn pax(&self, mut data: &[u8], extensions: &mut Extensions) -> Result<(), ArchiveError> {
        let malformed = || self.malformed("a pax extended header is damaged".to_owned());
        while !data.is_empty() {
            let space = data
                .iter()
                .position(|byte| *byte == b' ')
                .ok_or_else(malformed)?;
            let length: usize = std::str::from_utf8(&data[..space])
                .ok()
                .and_then(|digits| digits.parse().ok())
                .ok_or_else(malformed)?;
            let record = data.get(space + 1..length).ok_or_else(malformed)?;
            let record = record.strip_suffix(b"\n").ok_or_else(malformed)?;
            let equals = record
                .iter()
                .position(|byte| *byte == b'=')
                .ok_or_else(malformed)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => extensions.path = Some(value.to_owned()),
                b"linkpath" => extensions.link = Some(value.to_owned()),
                b"size" => {
                    let size = std::str::from_utf8(value)
                        .ok()
                        .and_then(|text| text.parse().ok());
                    extensions.size = Some(size.ok_or_else(malformed)?);
                }
                key if key.starts_with(b"GNU.sparse.") => {
                    return Err(self.malformed("sparse files are not supported".to_owned()));
                }
                // Times, owners, flags, attributes: nothing that is kept.
                _ => {}
            }
            data = &data[length..];
        }
        Ok(())
    }

    fn path(&self, name: &str, raw: &[u8]) -> Result<EntryPath, ArchiveError> {
        EntryPath::parse(raw).map_err(|bad| match bad {
            BadPath::Limit(limit, allowed) => self.limit(name, limit, allowed),
            other => self.unsafe_entry(name, other.reason()),
        })
    }

    /// A name for an error message.
    fn spell(&self, name: &[u8]) -> String {
        /// The longest part of a hostile name that is worth printing.
        const SHOWN: usize = 300;
        let shown = &name[..name.len().min(SHOWN)];
        let text = String::from_utf8_lossy(shown).escape_debug().to_string();
        if shown.len() < name.len() {
            text + "..."
        } else {
            text
        }
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
