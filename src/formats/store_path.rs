// SPDX-License-Identifier: GPL-3.0-or-later
//! Store paths: `STORE-DIR/HASH-NAME`, and how Guix computes the hash.
//!
//! The hash part is 160 bits: the SHA-256 of a *fingerprint*, folded to 20 bytes, in Nix's base 32. The fingerprint is
//! `TYPE:sha256:DIGEST:STORE-DIR:NAME` with the digest in base 16. The types:
//!
//! | what | type | digest of |
//! |---|---|---|
//! | a text, `.drv` files included | `text`, then `:REFERENCE` for each reference, sorted | the content |
//! | a tree copied into the store, and a recursive fixed output by SHA-256 | `source`, references likewise | the NAR |
//! | any other fixed output | `output:out` | `fixed:out:[r:]ALGORITHM:CONTENT-HASH:` |
//! | an output of any other derivation | `output:OUTPUT` | the derivation modulo its inputs |
//!
//! The rules are those of `store-path`, `output-path` and `fixed-output-path` in Guix's `(guix store)` and of the
//! daemon's `store-api.cc`.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::base32::{self, Base32Error};
use crate::formats::content_hash::ContentHash;
use crate::formats::hash::Sha256Digest;
use crate::formats::visible::visible;

/// The number of characters of the hash part of a store path.
pub const HASH_PART_LEN: usize = 32;

/// The longest name (without the hash part) in bytes: with the hash part and a suffix such as `.lock` the whole
/// still fits the 255 bytes that file systems give a file name.
pub const NAME_MAX: usize = 211;

/// Something that is not a store path, or cannot be made one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum StorePathError {
    /// A store directory that is relative, has a trailing slash, empty, `.` or `..` components, or a character that
    /// fingerprints cannot hold.
    #[error(
        "`{}` cannot be a store directory: expected an absolute path such as /gnu/store, without a trailing slash, \
         `.`, `..`, `:` or control characters",
        visible(.0)
    )]
    StoreDir(String),
    /// A path that is not directly in the store directory.
    #[error(
        "`{}` is not a store path: expected {store_dir}/HASH-NAME",
        visible(path)
    )]
    NotInStore {
        /// The path as it was given.
        path: String,
        /// The store directory it should have been in.
        store_dir: String,
    },
    /// A path without the suffix `.drv` where a derivation's path belongs.
    #[error("`{}` is not a derivation: expected a path that ends in .drv", visible(.0))]
    NotADerivation(String),
    /// A base name that is not `HASH-NAME`.
    #[error(
        "`{}` is not the name of a store item: expected 32 characters of base 32, a dash and a name",
        visible(.0)
    )]
    BaseName(String),
    /// A hash part outside Nix's base 32.
    #[error("`{}` is not the name of a store item: {error}", visible(base_name))]
    HashPart {
        /// The base name as it was given.
        base_name: String,
        /// What is wrong with its first 32 characters.
        error: Base32Error,
    },
    /// An empty name.
    #[error(
        "a store item needs a name: expected one or more of `A-Z a-z 0-9 + - . _ ? =`, saw none"
    )]
    EmptyName,
    /// A name of more than [`NAME_MAX`] bytes.
    #[error(
        "the store item name `{}` is too long: expected at most 211 bytes, saw {}",
        visible(name),
        name.len()
    )]
    LongName {
        /// The name.
        name: String,
    },
    /// A name with a leading dot.
    #[error("the store item name `{}` starts with a dot, which Guix refuses", visible(.0))]
    #[diagnostic(help("rename it"))]
    LeadingDot(String),
    /// A name with a character that is not allowed.
    #[error(
        "the store item name `{}` holds `{}`: expected only `A-Z a-z 0-9 + - . _ ? =`",
        visible(name),
        character.escape_default()
    )]
    Character {
        /// The name.
        name: String,
        /// The first character that is not allowed.
        character: char,
    },
}

/// The logical store directory, such as `/gnu/store`: absolute, without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreDir(Arc<str>);

/// The name of a store item, `HASH-NAME`, without the store directory it lives in.
///
/// A value exists only once its digest and its name have been checked. The order is that of the base names, and so that
/// of the full paths: the order in which Guix writes references and inputs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePath {
    base_name: Arc<str>,
}

/// What the hash of a fixed output is taken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FixedOutputMethod {
    /// The bytes of a single regular file that is not executable.
    Flat,
    /// The NAR of any tree.
    Recursive,
}

impl FixedOutputMethod {
    /// What a derivation writes before the name of the hash algorithm: nothing, or `r:`.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Flat => "",
            Self::Recursive => "r:",
        }
    }
}

impl StoreDir {
    /// Checks `path`, which must be absolute and normal: it takes part in the hash of every store path, so that two
    /// spellings of one directory would be two stores.
    pub fn new(path: &str) -> Result<Self, StorePathError> {
        let invalid = || StorePathError::StoreDir(path.to_owned());
        let components = path.strip_prefix('/').ok_or_else(invalid)?;
        let normal = components
            .split('/')
            .all(|component| !matches!(component, "" | "." | ".."));
        let clean = !path
            .chars()
            .any(|character| character == ':' || character.is_control());
        if normal && clean {
            Ok(Self(path.into()))
        } else {
            Err(invalid())
        }
    }

    /// The directory as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads `STORE-DIR/HASH-NAME`. A path below a store item, or in another store, is an error.
    pub fn parse(&self, path: &str) -> Result<StorePath, StorePathError> {
        let base_name = path
            .strip_prefix(self.as_str())
            .and_then(|rest| rest.strip_prefix('/'))
            .filter(|base_name| !base_name.is_empty() && !base_name.contains('/'))
            .ok_or_else(|| StorePathError::NotInStore {
                path: path.to_owned(),
                store_dir: self.as_str().to_owned(),
            })?;
        StorePath::from_base_name(base_name)
    }

    /// `STORE-DIR/HASH-NAME`.
    pub fn display(&self, path: &StorePath) -> String {
        format!("{}/{}", self.0, path.base_name)
    }
}

impl StorePath {
    /// Reads `HASH-NAME` and checks both parts.
    pub fn from_base_name(base_name: &str) -> Result<Self, StorePathError> {
        let malformed = || StorePathError::BaseName(base_name.to_owned());
        let (hash_part, rest) = base_name
            .split_at_checked(HASH_PART_LEN)
            .ok_or_else(malformed)?;
        let name = rest.strip_prefix('-').ok_or_else(malformed)?;
        base32::decode(hash_part).map_err(|error| StorePathError::HashPart {
            base_name: base_name.to_owned(),
            error,
        })?;
        check_name(name)?;
        Ok(Self {
            base_name: base_name.into(),
        })
    }

    /// `HASH-NAME`.
    pub fn base_name(&self) -> &str {
        &self.base_name
    }

    /// The 32 characters before the name, by which references are recognised.
    pub fn hash_part(&self) -> &str {
        &self.base_name[..HASH_PART_LEN]
    }

    /// What follows the hash and the dash, such as `hello-2.10`.
    pub fn name(&self) -> &str {
        &self.base_name[HASH_PART_LEN + 1..]
    }

    /// Whether the name ends in `.drv`.
    pub fn is_derivation(&self) -> bool {
        self.name().ends_with(".drv")
    }
}

/// Checks the name of a store item: 1 to [`NAME_MAX`] bytes of `A-Z a-z 0-9 + - . _ ? =`, no leading dot.
pub fn check_name(name: &str) -> Result<(), StorePathError> {
    let allowed = |character: char| {
        character.is_ascii_alphanumeric() || matches!(character, '+' | '-' | '.' | '_' | '?' | '=')
    };
    if name.is_empty() {
        return Err(StorePathError::EmptyName);
    }
    if let Some(character) = name.chars().find(|character| !allowed(*character)) {
        return Err(StorePathError::Character {
            name: name.to_owned(),
            character,
        });
    }
    if name.starts_with('.') {
        return Err(StorePathError::LeadingDot(name.to_owned()));
    }
    if name.len() > NAME_MAX {
        return Err(StorePathError::LongName {
            name: name.to_owned(),
        });
    }
    Ok(())
}

/// The path of a text with the given content and references. Derivations are stored so.
pub fn text_path(
    store_dir: &StoreDir,
    name: &str,
    content: &[u8],
    references: &BTreeSet<StorePath>,
) -> Result<StorePath, StorePathError> {
    text_path_of_digest(store_dir, name, &Sha256Digest::of(content), references)
}

/// The path of a text whose content has the SHA-256 `digest`; see [`text_path`].
pub fn text_path_of_digest(
    store_dir: &StoreDir,
    name: &str,
    digest: &Sha256Digest,
    references: &BTreeSet<StorePath>,
) -> Result<StorePath, StorePathError> {
    let kind = with_references("text", store_dir, references);
    make(store_dir, &kind, digest, name)
}

/// The path of a tree that is copied into the store, from the SHA-256 of its NAR.
pub fn source_path(
    store_dir: &StoreDir,
    name: &str,
    nar_sha256: &Sha256Digest,
    references: &BTreeSet<StorePath>,
) -> Result<StorePath, StorePathError> {
    let kind = with_references("source", store_dir, references);
    make(store_dir, &kind, nar_sha256, name)
}

/// The path of a fixed output whose content (or NAR, see [`FixedOutputMethod`]) has the hash `hash`.
///
/// A recursive one by SHA-256 has the path of the same tree copied into the store, wherever the bytes came from.
pub fn fixed_output_path(
    store_dir: &StoreDir,
    name: &str,
    method: FixedOutputMethod,
    hash: impl Into<ContentHash>,
) -> Result<StorePath, StorePathError> {
    let hash = hash.into();
    if let (FixedOutputMethod::Recursive, Some(digest)) = (method, hash.sha256()) {
        return source_path(store_dir, name, &digest, &BTreeSet::new());
    }
    let inner = Sha256Digest::of(format!("fixed:out:{}{hash}:", method.prefix()));
    make(store_dir, "output:out", &inner, name)
}

/// The path of the output `output_name` of an ordinary derivation called `derivation_name` (without `.drv`), from its
/// [hash modulo inputs](crate::formats::derivation).
pub fn output_path(
    store_dir: &StoreDir,
    output_name: &str,
    derivation_name: &str,
    hash_modulo: &Sha256Digest,
) -> Result<StorePath, StorePathError> {
    check_name(output_name)?;
    let name = match output_name {
        "out" => derivation_name.to_owned(),
        _ => format!("{derivation_name}-{output_name}"),
    };
    make(
        store_dir,
        &format!("output:{output_name}"),
        hash_modulo,
        &name,
    )
}

fn with_references(kind: &str, store_dir: &StoreDir, references: &BTreeSet<StorePath>) -> String {
    references.iter().fold(kind.to_owned(), |kind, reference| {
        kind + ":" + &store_dir.display(reference)
    })
}

fn make(
    store_dir: &StoreDir,
    kind: &str,
    digest: &Sha256Digest,
    name: &str,
) -> Result<StorePath, StorePathError> {
    check_name(name)?;
    let fingerprint = format!("{kind}:sha256:{digest}:{store_dir}:{name}");
    let folded = fold(&Sha256Digest::of(fingerprint));
    Ok(StorePath {
        base_name: format!("{}-{name}", base32::encode(&folded)).into(),
    })
}

/// Folds 32 bytes to 20: byte `i` of the digest is xor-ed into byte `i mod 20`.
fn fold(digest: &Sha256Digest) -> [u8; 20] {
    let mut folded = [0; 20];
    for (index, byte) in digest.0.iter().enumerate() {
        folded[index % 20] ^= byte;
    }
    folded
}

/// The base name, as [`StorePath::base_name`].
impl AsRef<str> for StorePath {
    fn as_ref(&self) -> &str {
        &self.base_name
    }
}

/// The base name, as [`StorePath::base_name`].
impl AsRef<[u8]> for StorePath {
    fn as_ref(&self) -> &[u8] {
        self.base_name.as_bytes()
    }
}

impl fmt::Display for StoreDir {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
