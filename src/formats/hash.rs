// SPDX-License-Identifier: GPL-3.0-or-later
//! SHA-256 digests and their three spellings: base 16, Nix's base 32, and base 64.

use crate::formats::visible::visible;
use std::fmt;
use std::io::{self, Read};

/// A SHA-256 digest (32 bytes). `Display` gives lower-case base 16.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Digest(pub [u8; 32]);

/// A text that is not the base 16 form of a SHA-256 digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("`{}` is not a SHA-256 in base 16: expected 64 hexadecimal digits", visible(.0))]
pub struct InvalidDigest(pub String);

impl Sha256Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        use sha2::Digest;
        Self(sha2::Sha256::digest(bytes.as_ref()).into())
    }

    /// The digest of what is left to read of `input`, of which little is in memory at a time.
    ///
    /// # Errors
    /// Those of `input`, but for interruptions.
    pub fn of_reader(input: &mut impl Read) -> io::Result<Self> {
        use sha2::Digest;
        let mut hasher = sha2::Sha256::new();
        let mut buffer = vec![0; 1 << 17];
        loop {
            match input.read(&mut buffer) {
                Ok(0) => return Ok(Self(hasher.finalize().into())),
                Ok(count) => hasher.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads 64 hexadecimal digits, of either case.
    pub fn from_base16(text: &str) -> Result<Self, InvalidDigest> {
        let bytes = bytes_of_base16(text.as_bytes()).and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(Self)
            .ok_or_else(|| InvalidDigest(text.to_owned()))
    }

    /// The digest in lower-case base 16, 64 characters.
    pub fn to_base16(&self) -> String {
        base16(&self.0)
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_base16())
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Sha256Digest({self})")
    }
}

/// The bytes that `text` is in base 16, of either case; `None` where it is none.
pub fn bytes_of_base16(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: &u8| Some(char::from(*byte).to_digit(16)? as u8);
    let digits = text.iter().map(digit).collect::<Option<Vec<u8>>>()?;
    let pairs = digits.chunks_exact(2);
    let is_whole = pairs.remainder().is_empty();
    is_whole.then(|| pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// `bytes` in lower-case base 16.
pub fn base16(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |number: u8| char::from(DIGITS[usize::from(number & 15)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .collect()
}
