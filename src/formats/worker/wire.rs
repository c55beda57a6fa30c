// SPDX-License-Identifier: GPL-3.0-or-later
//! Numbers, strings and lists.

use std::io::{self, Read};

use crate::formats::store_path::{StoreDir, StorePath};

/// The longest string but for the content of a text, in bytes.
const STRING_MAX: usize = 64 << 10;

/// The longest content of a text, in bytes.
pub(super) const TEXT_MAX: usize = 512 << 20;

/// The most elements of a list.
const LIST_MAX: usize = 4 << 20;

/// The most bytes of all elements of a list.
const LIST_BYTES_MAX: usize = 256 << 20;

/// How much is allocated before that much was read.
const FIRST_ALLOCATION: usize = 64 << 10;

/// Why the other side's bytes cannot be read.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum WireError {
    /// The connection ended within a request.
    #[error("the client closed the connection in the middle of a request")]
    Truncated,
    /// The connection failed.
    #[error("cannot read from the client: {0}")]
    Io(io::Error),
    /// The first number is not the protocol's.
    #[error(
        "expected the client's magic number {:#x}, saw {seen:#x}: the client does not speak the protocol",
        super::CLIENT_MAGIC
    )]
    Magic {
        /// What was read.
        seen: u64,
    },
    /// Another major version.
    #[error("expected a client of protocol version {:#x} or another minor version of it, saw {seen:#x}", super::VERSION.0)]
    Version {
        /// The client's version.
        seen: u32,
    },
    /// A number that needs more than 32 bits.
    #[error("expected a number of 32 bits, saw {seen:#x}")]
    Wide {
        /// What was read.
        seen: u64,
    },
    /// A string or list that is too long.
    #[error("{what} of {length} {unit}: expected at most {limit}")]
    Length {
        /// What is too long.
        what: &'static str,
        /// How long it says it is.
        length: u64,
        /// Bytes or elements.
        unit: &'static str,
        /// The most that is read.
        limit: usize,
    },
    /// Padding that is not zero.
    #[error("expected zeros after a string, saw the byte {seen:#x}")]
    Padding {
        /// One of the bytes.
        seen: u8,
    },
    /// A string that is not UTF-8 where it has to be.
    #[error("expected {what} in UTF-8, saw `{seen}`")]
    Text {
        /// What the string is.
        what: &'static str,
        /// The string, escaped and shortened.
        seen: String,
    },
    /// A path outside the store.
    #[error("path `{seen}' is not in the store")]
    OutsideStore {
        /// The path.
        seen: String,
    },
    /// A value that has no meaning.
    #[error("expected {expected}, saw {seen}")]
    Value {
        /// What is allowed.
        expected: &'static str,
        /// What was read.
        seen: String,
    },
    /// An operation that does not exist.
    #[error("invalid operation {seen}")]
    Operation {
        /// Its number.
        seen: u64,
    },
}

/// Reads the protocol's values from `R`, which should be buffered.
#[derive(Debug)]
pub struct WireReader<R> {
    input: R,
}

impl<R: Read> WireReader<R> {
    /// Reads from `input`.
    pub fn new(input: R) -> Self {
        Self { input }
    }

    /// The input, for what is not of the protocol's own form, such as an archive.
    pub fn input(&mut self) -> &mut R {
        &mut self.input
    }

    /// A number of 64 bits, or `None` where the input is at its end.
    ///
    /// # Errors
    /// Where the input ends within it, or cannot be read.
    pub fn long_or_end(&mut self) -> Result<Option<u64>, WireError> {
        let mut bytes = [0; 8];
        let mut filled = 0;
        while filled < bytes.len() {
            match self.input.read(&mut bytes[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(WireError::Truncated),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(WireError::Io(error)),
            }
        }
        Ok(Some(u64::from_le_bytes(bytes)))
    }

    /// A number of 64 bits.
    ///
    /// # Errors
    /// As [`long_or_end`](Self::long_or_end), and at the end.
    pub fn long(&mut self) -> Result<u64, WireError> {
        self.long_or_end()?.ok_or(WireError::Truncated)
    }

    /// A number of 32 bits, sent as 64.
    ///
    /// # Errors
    /// Where it is larger.
    pub fn int(&mut self) -> Result<u32, WireError> {
        let seen = self.long()?;
        u32::try_from(seen).map_err(|_| WireError::Wide { seen })
    }

    /// A number of 32 bits that stands for false where it is 0.
    ///
    /// # Errors
    /// Where it is larger.
    pub fn boolean(&mut self) -> Result<bool, WireError> {
        Ok(self.int()? != 0)
    }

    /// A string of at most `limit` bytes.
    ///
    /// # Errors
    /// Where it is longer, or not padded with zeros.
    pub fn bytes(&mut self, what: &'static str, limit: usize) -> Result<Vec<u8>, WireError> {
        let length = self.long()?;
        let fits = usize::try_from(length).ok().filter(|fits| *fits <= limit);
        let length = fits.ok_or(WireError::Length {
            what,
            length,
            unit: "bytes",
            limit,
        })?;
        let mut bytes = Vec::with_capacity(length.min(FIRST_ALLOCATION));
        let taken = (&mut self.input)
            .take(length as u64)
            .read_to_end(&mut bytes);
        if taken.map_err(WireError::Io)? < length {
            return Err(WireError::Truncated);
        }
        let mut padding = [0; 8];
        let padding = &mut padding[..length.next_multiple_of(8) - length];
        self.input
            .read_exact(padding)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => WireError::Truncated,
                _ => WireError::Io(error),
            })?;
        match padding.iter().find(|byte| **byte != 0) {
            Some(seen) => Err(WireError::Padding { seen: *seen }),
            None => Ok(bytes),
        }
    }

    /// A string in UTF-8. `what` says what it is.
    ///
    /// # Errors
    /// Where it is longer than 64 KiB, or not UTF-8.
    pub fn string(&mut self, what: &'static str) -> Result<String, WireError> {
        let bytes = self.bytes(what, STRING_MAX)?;
        String::from_utf8(bytes).map_err(|error| WireError::Text {
            what,
            seen: shown(error.as_bytes()),
        })
    }

    /// A string that may hold any bytes, such as a file name.
    ///
    /// # Errors
    /// Where it is longer than 64 KiB.
    pub fn name(&mut self, what: &'static str) -> Result<Vec<u8>, WireError> {
        self.bytes(what, STRING_MAX)
    }

    /// A list, each of whose elements `element` reads and says the size of.
    ///
    /// # Errors
    /// Where it is too long, or an element cannot be read.
    pub fn list<T>(
        &mut self,
        what: &'static str,
        mut element: impl FnMut(&mut Self) -> Result<(T, usize), WireError>,
    ) -> Result<Vec<T>, WireError> {
        let length = self.long()?;
        let count = usize::try_from(length)
            .ok()
            .filter(|fits| *fits <= LIST_MAX);
        let count = count.ok_or(WireError::Length {
            what,
            length,
            unit: "elements",
            limit: LIST_MAX,
        })?;
        let mut elements = Vec::with_capacity(count.min(1 << 10));
        let mut bytes = 0;
        for _ in 0..count {
            let (read, size) = element(self)?;
            bytes += size;
            if bytes > LIST_BYTES_MAX {
                return Err(WireError::Length {
                    what,
                    length: bytes as u64,
                    unit: "bytes",
                    limit: LIST_BYTES_MAX,
                });
            }
            elements.push(read);
        }
        Ok(elements)
    }

    /// A path in the store directory.
    ///
    /// # Errors
    /// Where it is not directly below `store_dir`.
    pub fn path(&mut self, store_dir: &StoreDir) -> Result<AskedPath, WireError> {
        AskedPath::parse(store_dir, self.string("a path")?)
    }

    /// A list of paths in the store directory.
    ///
    /// # Errors
    /// Where one is not directly below `store_dir`.
    pub fn paths(&mut self, store_dir: &StoreDir) -> Result<Vec<AskedPath>, WireError> {
        self.list("a list of paths", |reader| {
            let path = reader.path(store_dir)?;
            let size = path.text().len();
            Ok((path, size))
        })
    }
}

/// `bytes` for a message: escaped, and not more than its first 100.
pub(super) fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(100)].escape_ascii().to_string()
}

/// A path directly below the store directory, as a client wrote it. Its name is not necessarily one that a store item
/// can have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AskedPath {
    text: String,
    path: Option<StorePath>,
}

impl AskedPath {
    /// Reads `text`.
    ///
    /// # Errors
    /// Where it is not directly below `store_dir`.
    pub fn parse(store_dir: &StoreDir, text: String) -> Result<Self, WireError> {
        let rest = text.strip_prefix(store_dir.as_str());
        let name = rest.and_then(|rest| rest.strip_prefix('/'));
        match name {
            Some(name) if !name.is_empty() && !name.contains('/') => Ok(Self {
                path: StorePath::from_base_name(name).ok(),
                text,
            }),
            _ => Err(WireError::OutsideStore {
                seen: shown(text.as_bytes()),
            }),
        }
    }

    /// The path as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The name below the store directory.
    pub fn name(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or_default()
    }

    /// The path, or `None` where its name is not that of a store item: then it is not valid.
    pub fn path(&self) -> Option<&StorePath> {
        self.path.as_ref()
    }
}
