// SPDX-License-Identifier: GPL-3.0-or-later
//! The worker protocol, which Guix's clients and guix-daemon speak: version 0x164, that of Guix 1.5.
//!
//! Numbers are 64 bits, little-endian. A string is its length, its bytes, and zeros up to a multiple of eight. A list
//! is a count and its elements. The client sends a [`WorkerRequest`]: the number of an operation and its arguments. The
//! daemon answers with any number of [messages](Message), of which the last one says whether the operation succeeded,
//! and then with the fields of the reply.
//!
//! These modules read and write bytes. The reader takes hostile input: it accepts what a client may send and nothing
//! else, and allocates no more than a fixed amount beyond what it has read.

mod message;
mod options;
mod request;
#[cfg(test)]
mod tests;
mod wire;

pub use message::{Fields, Message, read_outcome};
pub use options::ClientOptions;
pub use request::{CollectAction, RequestedMode, WorkerRequest};
pub use wire::{AskedPath, WireError, WireReader};

use std::io::Read;

/// What a client begins with.
pub const CLIENT_MAGIC: u64 = 0x6e69_7863;

/// What the daemon answers it with.
pub const DAEMON_MAGIC: u64 = 0x6478_696f;

/// The version of the protocol that the daemon speaks.
pub const VERSION: Version = Version(0x164);

/// A version of the protocol, as the other side sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32);

impl Version {
    /// The part that has to be equal on both sides.
    pub fn major(self) -> u32 {
        self.0 & 0xff00
    }

    /// The part that says which fields there are.
    pub fn minor(self) -> u32 {
        self.0 & 0xff
    }
}

/// What a client says before its first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting {
    /// The client's version.
    pub version: Version,
    /// The processor that the client wants its work done on. Obsolete.
    pub processor: Option<u32>,
    /// Whether space is to be reserved for the collector.
    pub reserve_space: bool,
}

/// Reads the first number of a client.
///
/// # Errors
/// Where that is not [`CLIENT_MAGIC`].
pub fn read_magic(reader: &mut WireReader<impl Read>) -> Result<(), WireError> {
    match reader.long()? {
        CLIENT_MAGIC => Ok(()),
        seen => Err(WireError::Magic { seen }),
    }
}

/// Reads the rest of a client's greeting, which follows after the daemon's magic number and version.
///
/// # Errors
/// Where it is malformed, or the major version is another.
pub fn read_greeting(reader: &mut WireReader<impl Read>) -> Result<Greeting, WireError> {
    let version = Version(reader.int()?);
    if version.major() != VERSION.major() {
        return Err(WireError::Version { seen: version.0 });
    }
    let minor = version.minor();
    let processor = match minor >= 14 && reader.boolean()? {
        true => Some(reader.int()?),
        false => None,
    };
    let reserve_space = minor < 11 || reader.boolean()?;
    Ok(Greeting {
        version,
        processor,
        reserve_space,
    })
}
