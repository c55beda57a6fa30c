// SPDX-License-Identifier: GPL-3.0-or-later
//! Hashes of a named algorithm: what a fixed output is checked against.
//!
//! Everywhere else SHA-256 is the only algorithm, and [`Sha256Digest`] its type.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::digest::DynDigest;

use crate::formats::base32;
use crate::formats::hash::{Sha256Digest, base16, bytes_of_base16};

/// The most bytes that a hash has: those of SHA-512.
const LONGEST: usize = 64;

/// An algorithm that guix-daemon (`parseHashType` in its `hash.cc`) or Nix takes for a fixed output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashAlgorithm {
    /// MD5.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-256, which Guix uses for nearly everything.
    Sha256,
    /// SHA-384; guix-daemon 1.5 lacks it.
    Sha384,
    /// SHA-512.
    Sha512,
    /// SHA3-256.
    Sha3_256,
    /// SHA3-512.
    Sha3_512,
    /// BLAKE2s with 256 bits.
    Blake2s256,
}

/// A name that is not one of [`HashAlgorithm::ALL`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error(
    "unknown hash algorithm `{}`: expected one of {}",
    .0.escape_default(),
    HashAlgorithm::ALL.map(HashAlgorithm::name).join(", ")
)]
pub struct UnknownAlgorithm(pub String);

impl HashAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 8] = [
        Self::Md5,
        Self::Sha1,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
        Self::Sha3_256,
        Self::Sha3_512,
        Self::Blake2s256,
    ];

    /// The name in derivations, such as `sha256`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Sha3_256 => "sha3-256",
            Self::Sha3_512 => "sha3-512",
            Self::Blake2s256 => "blake2s-256",
        }
    }

    /// The size of a hash in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 | Self::Sha3_256 | Self::Blake2s256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 | Self::Sha3_512 => 64,
        }
    }

    /// A hasher that has not read anything.
    pub fn hasher(self) -> ContentHasher {
        let state: Box<dyn DynDigest + Send> = match self {
            Self::Md5 => Box::<md5::Md5>::default(),
            Self::Sha1 => Box::<sha1::Sha1>::default(),
            Self::Sha256 => Box::<sha2::Sha256>::default(),
            Self::Sha384 => Box::<sha2::Sha384>::default(),
            Self::Sha512 => Box::<sha2::Sha512>::default(),
            Self::Sha3_256 => Box::<sha3::Sha3_256>::default(),
            Self::Sha3_512 => Box::<sha3::Sha3_512>::default(),
            Self::Blake2s256 => Box::<blake2::Blake2s256>::default(),
        };
        ContentHasher {
            algorithm: self,
            state,
        }
    }
}

impl fmt::Display for HashAlgorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for HashAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|algorithm| algorithm.name() == text)
            .ok_or_else(|| UnknownAlgorithm(text.to_owned()))
    }
}

/// Computes a [`ContentHash`]: write the bytes, then [`finish`](Self::finish).
pub struct ContentHasher {
    algorithm: HashAlgorithm,
    state: Box<dyn DynDigest + Send>,
}

impl ContentHasher {
    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }

    /// The hash of all bytes that were added.
    pub fn finish(self) -> ContentHash {
        ContentHash::new(self.algorithm, &self.state.finalize())
    }
}

impl io::Write for ContentHasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A hash and its algorithm. `Display` gives `ALGORITHM:BASE16`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash {
    algorithm: HashAlgorithm,
    /// Zero beyond the algorithm's size.
    bytes: [u8; LONGEST],
}

/// A text that is not a hash of the algorithm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum InvalidHash {
    /// Digits that are not base 16 of the algorithm's size.
    #[error(
        "invalid {} hash `{}`: expected {} hexadecimal digits",
        algorithm.name().to_uppercase(),
        text.escape_default(),
        algorithm.size() * 2
    )]
    Base16 {
        /// The algorithm.
        algorithm: HashAlgorithm,
        /// The text.
        text: String,
    },
    /// A text without the name of an algorithm, or in none of the spellings.
    #[error(
        "`{}` is not a hash: expected ALGORITHM:DIGITS in base 16 or Nix's base 32, or ALGORITHM-BASE64",
        .0.escape_default()
    )]
    Spelling(String),
    /// A text with another algorithm's name.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Algorithm(#[from] UnknownAlgorithm),
}

impl ContentHash {
    fn new(algorithm: HashAlgorithm, hash: &[u8]) -> Self {
        let mut bytes = [0; LONGEST];
        bytes[..hash.len()].copy_from_slice(hash);
        Self { algorithm, bytes }
    }

    /// The hash of `bytes`.
    pub fn of(algorithm: HashAlgorithm, bytes: impl AsRef<[u8]>) -> Self {
        let mut hasher = algorithm.hasher();
        hasher.update(bytes.as_ref());
        hasher.finish()
    }

    /// The hash of the bytes left to read of `input`.
    ///
    /// # Errors
    /// Those of `input`, except interruptions.
    pub fn of_reader(algorithm: HashAlgorithm, input: &mut impl Read) -> io::Result<Self> {
        let mut hasher = algorithm.hasher();
        io::copy(input, &mut hasher)?;
        Ok(hasher.finish())
    }

    /// The algorithm.
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// The hash itself; its length is the algorithm's size.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.size()]
    }

    /// The hash in lower-case base 16.
    pub fn to_base16(&self) -> String {
        base16(self.bytes())
    }

    /// The digest, where the algorithm is SHA-256.
    pub fn sha256(&self) -> Option<Sha256Digest> {
        match self.algorithm {
            HashAlgorithm::Sha256 => self.bytes().try_into().ok().map(Sha256Digest),
            _ => None,
        }
    }

    /// Reads hexadecimal digits of either case.
    ///
    /// # Errors
    /// Other characters, and another number of them than the algorithm has.
    pub fn from_base16(algorithm: HashAlgorithm, text: &str) -> Result<Self, InvalidHash> {
        bytes_of_base16(text.as_bytes())
            .filter(|bytes| bytes.len() == algorithm.size())
            .map(|bytes| Self::new(algorithm, &bytes))
            .ok_or_else(|| InvalidHash::Base16 {
                algorithm,
                text: text.to_owned(),
            })
    }
}

/// Reads every spelling that Nix and Guix write: `ALGORITHM:DIGITS` in base 16, Nix's base 32 or base 64, which the
/// number of digits tells apart, and `ALGORITHM-BASE64` (SRI).
impl FromStr for ContentHash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidHash::Spelling(text.to_owned());
        let split = HashAlgorithm::ALL.into_iter().find_map(|algorithm| {
            let rest = text.strip_prefix(algorithm.name())?;
            Some((algorithm, rest.strip_prefix('-')?, true))
        });
        let (algorithm, digits, sri) = match split {
            Some(split) => split,
            None => {
                let (name, digits) = text.split_once(':').ok_or_else(invalid)?;
                (name.parse()?, digits, false)
            }
        };
        let size = algorithm.size();
        let bytes = match digits.len() {
            length if !sri && length == size * 2 => bytes_of_base16(digits.as_bytes()),
            length if !sri && length == base32::encoded_len(size) => base32::decode(digits).ok(),
            _ => STANDARD.decode(digits).ok(),
        };
        bytes
            .filter(|bytes| bytes.len() == size)
            .map(|bytes| Self::new(algorithm, &bytes))
            .ok_or_else(invalid)
    }
}

impl From<Sha256Digest> for ContentHash {
    fn from(digest: Sha256Digest) -> Self {
        Self::new(HashAlgorithm::Sha256, &digest.0)
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.algorithm, self.to_base16())
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ContentHash({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The expected values are those of coreutils and of `openssl dgst`.
    #[test]
    fn each_algorithm_gives_what_other_programs_compute() {
        for (algorithm, expected) in [
            (HashAlgorithm::Md5, "b1946ac92492d2347c6235b4d2611184"),
            (
                HashAlgorithm::Sha1,
                "f572d396fae9206628714fb2ce00f72e94f2258f",
            ),
            (
                HashAlgorithm::Sha256,
                "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
            ),
            (
                HashAlgorithm::Sha384,
                "1d0f284efe3edea4b9ca3bd514fa134b17eae361ccc7a1eefeff801b9bd6604e\
                 01f21f6bf249ef030599f0c218f2ba8c",
            ),
            (
                HashAlgorithm::Sha512,
                "e7c22b994c59d9cf2b48e549b1e24666636045930d3da7c1acb299d1c3b7f931\
                 f94aae41edda2c2b207a36e10f8bcb8d45223e54878f5b316e7ce3b6bc019629",
            ),
            (
                HashAlgorithm::Sha3_256,
                "b314e28493eae9dab57ac4f0c6d887bddbbeb810e900d818395ace558e96516d",
            ),
            (
                HashAlgorithm::Sha3_512,
                "ac766ba623301e0ad63c48cb2fc469d10145f65c9f1f28fe761c78c386ed295a\
                 1fda1b05e280354e620757d8a83e05a45f66438dd734278668c1c27ac6f27150",
            ),
            (
                HashAlgorithm::Blake2s256,
                "3969b3926654065966b6f8d9a65789b0f76d56e1e2ab67dd94faa770959187ca",
            ),
        ] {
            let hash = ContentHash::of(algorithm, "hello\n");
            assert_eq!(hash.to_base16(), expected, "{algorithm}");
            assert_eq!(hash.bytes().len(), algorithm.size());
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
            let read = ContentHash::of_reader(algorithm, &mut &b"hello\n"[..]).unwrap();
            assert_eq!(read, hash);
        }
    }

    #[test]
    fn every_spelling_of_a_hash_is_read() {
        let hash = ContentHash::of(HashAlgorithm::Sha256, "abc");
        for text in [
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s",
            "sha256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
            "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
        ] {
            assert_eq!(text.parse(), Ok(hash), "{text}");
        }
        for text in [
            "",
            "sha256",
            "sha256:",
            "sha256-",
            "sha256:ba7816",
            "sha256-ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ] {
            let error = text.parse::<ContentHash>().unwrap_err();
            assert!(matches!(error, InvalidHash::Spelling(_)), "{text}: {error}");
        }
        let error = "crc32:00".parse::<ContentHash>().unwrap_err().to_string();
        assert!(
            error.starts_with("unknown hash algorithm `crc32`"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn every_hash_is_read_back_in_each_base(bytes: Vec<u8>, index in 0..HashAlgorithm::ALL.len()) {
            let hash = ContentHash::of(HashAlgorithm::ALL[index], bytes);
            prop_assert_eq!(hash.to_string().parse(), Ok(hash));
            let name = hash.algorithm().name();
            let sri = format!("{name}-{}", STANDARD.encode(hash.bytes()));
            prop_assert_eq!(sri.parse(), Ok(hash));
            let base32 = format!("{name}:{}", base32::encode(hash.bytes()));
            prop_assert_eq!(base32.parse(), Ok(hash));
        }
    }
}
