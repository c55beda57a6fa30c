// SPDX-License-Identifier: GPL-3.0-or-later
//! What the daemon sends.

use std::io::Read;

use super::wire::{WireError, WireReader};

/// The number that each message begins with.
const LOG: u64 = 0x6f6c_6d67;
const READ: u64 = 0x6461_7461;
const WRITE: u64 = 0x6461_7416;
const LAST: u64 = 0x616c_7473;
const ERROR: u64 = 0x6378_7470;

/// A message while an operation runs, or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'m> {
    /// Text for the user: the daemon's own, and what builds print.
    Log(&'m [u8]),
    /// The daemon wants up to so many bytes, which the client sends as one string.
    Read(u64),
    /// Bytes for where the client wants an export.
    Write(&'m [u8]),
    /// The operation succeeded. The fields of the reply follow.
    Last,
    /// The operation failed. The next request may follow.
    Error {
        /// What went wrong.
        message: &'m str,
        /// 1, or a build's: 100 where it failed, 101 where it took too long. Clients older than minor version 8 get
        /// none.
        status: Option<u32>,
    },
}

impl Message<'_> {
    /// The message's bytes, appended to `bytes`.
    pub fn write_to(&self, fields: &mut Fields) {
        match self {
            Self::Log(text) => {
                fields.long(LOG);
                fields.bytes(text);
            }
            Self::Read(count) => {
                fields.long(READ);
                fields.long(*count);
            }
            Self::Write(data) => {
                fields.long(WRITE);
                fields.bytes(data);
            }
            Self::Last => fields.long(LAST),
            Self::Error { message, status } => {
                fields.long(ERROR);
                fields.string(message);
                if let Some(status) = status {
                    fields.long(u64::from(*status));
                }
            }
        }
    }
}

/// Reads the messages of an operation that asks for no bytes and writes none. The text for the user is dropped. Gives
/// the daemon's message where the operation failed.
///
/// # Errors
/// Where the other side sends something else, or the connection ends.
pub fn read_outcome(reader: &mut WireReader<impl Read>) -> Result<Result<(), String>, WireError> {
    loop {
        match reader.long()? {
            LOG => drop(reader.name("a text")?),
            LAST => return Ok(Ok(())),
            // The status may follow.
            ERROR => return Ok(Err(reader.string("a message")?)),
            seen => {
                return Err(WireError::Value {
                    expected: "a text, the end or an error",
                    seen: format!("{seen:#x}"),
                });
            }
        }
    }
}

/// Values of the protocol in the order they were added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<u8>);

impl Fields {
    /// No values.
    pub fn new() -> Self {
        Self::default()
    }

    /// A reply that is one number.
    pub fn of_long(number: u64) -> Self {
        let mut fields = Self::new();
        fields.long(number);
        fields
    }

    /// A reply that is one string.
    pub fn of_string(text: impl AsRef<str>) -> Self {
        let mut fields = Self::new();
        fields.string(text);
        fields
    }

    /// A reply that is one list of strings.
    pub fn of_strings<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Self {
        let mut fields = Self::new();
        fields.strings(texts);
        fields
    }

    /// Adds a number.
    pub fn long(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    /// Adds a string.
    pub fn string(&mut self, text: impl AsRef<str>) {
        self.bytes(text.as_ref().as_bytes());
    }

    /// Adds a string of any bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.long(bytes.len() as u64);
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(8), 0);
    }

    /// Adds a list of strings.
    pub fn strings<S: AsRef<str>>(&mut self, texts: impl IntoIterator<Item = S>) {
        let place = self.0.len();
        self.long(0);
        let mut count: u64 = 0;
        for text in texts {
            self.string(text);
            count += 1;
        }
        self.0[place..place + 8].copy_from_slice(&count.to_le_bytes());
    }

    /// Adds all that `other` has.
    pub fn append(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }

    /// The bytes to send.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
