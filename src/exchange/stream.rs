// SPDX-License-Identifier: GPL-3.0-or-later
//! Store items one after the other in one stream, as `nix-store --export` and `guix archive --export` write them.
//!
//! ```text
//! stream = { 1 NAR MAGIC PATH COUNT { REFERENCE } DERIVER ( 0 | 1 SIGNATURE ) } 0
//! ```
//!
//! Numbers are little-endian with 64 bits, the magic number is that of the letters `NIXE`; strings are as in the
//! archive: a length, the bytes, zeros up to a multiple of eight. Items come after those they refer to. The signature
//! is Guix's (see [`guix`]), of the SHA-256 of everything from the archive to the deriver, both with it; Nix passes
//! over it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::ExchangeError;
use super::install::{Expected, commit, prepare};
use super::nar_reader::NarReader;
use crate::diagnostics::FileError;
use crate::formats::hash::Sha256Digest;
use crate::formats::keys::guix::{self, Mistrust};
use crate::formats::keys::sexp::Sexp;
use crate::formats::keys::{PublicKey, SecretKey};
use crate::formats::nar::NarError;
use crate::formats::narinfo::{NarInfoError, shown};
use crate::formats::store_path::StorePath;
use crate::store::nar;
use crate::store::{PathInfo, Store};

const MAGIC: u64 = 0x4558_494e;
/// The longest path or signature.
const STRING_MAX: u64 = 64 << 10;
/// The most references of one item.
const REFERENCES_MAX: u64 = 1 << 20;

/// Which items an import takes.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'k> {
    /// Those that are signed with one of these keys.
    pub keys: &'k [PublicKey],
    /// Also those without a signature, or with one that is good, but of a key that is not trusted. What was altered
    /// after it was signed is never taken.
    pub unsigned: bool,
}

/// `paths`, each after those it refers to, with what the database knows of it. All must be valid.
///
/// # Errors
/// Where the store cannot be asked, or one is not valid.
pub fn in_order(
    store: &Store,
    paths: &BTreeSet<StorePath>,
) -> Result<Vec<PathInfo>, ExchangeError> {
    let mut open: Vec<PathInfo> = Vec::new();
    for path in paths {
        let info = store
            .path_info(path)?
            .ok_or_else(|| ExchangeError::Missing {
                path: "the export".to_owned(),
                missing: store.directories().store_dir.display(path),
                location: "the store".to_owned(),
            })?;
        open.push(info);
    }
    let mut done: BTreeSet<StorePath> = BTreeSet::new();
    let mut order = Vec::with_capacity(open.len());
    while !open.is_empty() {
        let before = open.len();
        for info in std::mem::take(&mut open) {
            let waits = info.references.iter().any(|reference| {
                *reference != info.path && paths.contains(reference) && !done.contains(reference)
            });
            if waits {
                open.push(info);
            } else {
                done.insert(info.path.clone());
                order.push(info);
            }
        }
        if open.len() == before {
            // Outputs of one build may refer to each other: they go as they are.
            order.append(&mut open);
        }
    }
    Ok(order)
}

/// Writes `items` to `sink`, signed with `key`.
///
/// # Errors
/// Where an item cannot be read or is not what the database says, or the sink cannot be written; `location` names it.
pub fn export(
    store: &Store,
    items: &[PathInfo],
    key: Option<&SecretKey>,
    sink: &mut dyn Write,
    location: &str,
) -> Result<(), ExchangeError> {
    for info in items {
        sink.write_all(&1u64.to_le_bytes())
            .map_err(FileError::named_by_user("write", location))?;
        let sign = |digest: &Sha256Digest| key.map(|key| guix::sign(key, digest));
        export_item(store, info, &sign, sink, location)?;
    }
    sink.write_all(&0u64.to_le_bytes())
        .and_then(|()| sink.flush())
        .map_err(FileError::named_by_user("write", location))?;
    Ok(())
}

/// Writes one item to `sink`, with the signature that `sign` gives of its digest, if any: what is between the numbers
/// of an export.
///
/// # Errors
/// As [`export`].
pub fn export_item(
    store: &Store,
    info: &PathInfo,
    sign: &dyn Fn(&Sha256Digest) -> Option<Sexp>,
    sink: &mut dyn Write,
    location: &str,
) -> Result<(), ExchangeError> {
    let store_dir = &store.directories().store_dir;
    let mut hashing = HashingStream::new(&mut *sink);
    nar::dump(&store.directories().physical(&info.path), &mut hashing).map_err(
        |error| match error {
            NarError::Sink(error) => {
                ExchangeError::from(FileError::named_by_user("write", location)(error))
            }
            error => error.into(),
        },
    )?;
    let seen = hashing.digest();
    if seen != info.nar_sha256 {
        return Err(ExchangeError::Damaged {
            path: store_dir.display(&info.path),
            what: "the NAR hash",
            expected: shown(&info.nar_sha256),
            seen: shown(&seen),
        });
    }
    let mut text = MAGIC.to_le_bytes().to_vec();
    string(&mut text, &store_dir.display(&info.path));
    text.extend((info.references.len() as u64).to_le_bytes());
    for reference in &info.references {
        string(&mut text, &store_dir.display(reference));
    }
    let deriver = info
        .deriver
        .as_ref()
        .map(|deriver| store_dir.display(deriver));
    string(&mut text, &deriver.unwrap_or_default());
    hashing
        .write_all(&text)
        .map_err(FileError::named_by_user("write", location))?;
    let signature = sign(&hashing.digest());
    let mut text = u64::from(signature.is_some()).to_le_bytes().to_vec();
    if let Some(signature) = signature {
        string(&mut text, &signature.to_string());
    }
    sink.write_all(&text)
        .map_err(FileError::named_by_user("write", location))?;
    Ok(())
}

fn string(text: &mut Vec<u8>, value: &str) {
    text.extend((value.len() as u64).to_le_bytes());
    text.extend(value.as_bytes());
    text.resize(text.len().next_multiple_of(8), 0);
}

/// Hashes what passes through.
struct HashingStream<S> {
    inner: S,
    hash: Sha256,
}

impl<S> HashingStream<S> {
    fn new(inner: S) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
        }
    }

    /// The digest of what has passed so far.
    fn digest(&self) -> Sha256Digest {
        Sha256Digest(self.hash.clone().finalize().into())
    }
}

impl<S: Write> Write for HashingStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<S: BufRead> BufRead for HashingStream<S> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        // What is consumed was there when the buffer was last looked at: this reads nothing.
        if count > 0
            && let Ok(bytes) = self.inner.fill_buf()
        {
            self.hash.update(&bytes[..count.min(bytes.len())]);
        }
        self.inner.consume(count);
    }
}

impl<S: Read> Read for HashingStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

/// Makes the items of `source` valid that are not yet, one after the other, and gives the paths of all. `scratch` is a
/// directory with room for the largest archive.
///
/// # Errors
/// Where the stream is none, an item is not trusted or not what it should be. What came before it stays valid.
pub fn import(
    store: &Store,
    source: &mut dyn Read,
    trust: Trust<'_>,
    scratch: &Path,
    location: &str,
) -> Result<Vec<StorePath>, ExchangeError> {
    let mut reader = StreamReader {
        input: HashingStream::new(BufReader::with_capacity(1 << 17, source)),
        location,
    };
    let mut imported = Vec::new();
    loop {
        match reader.number()? {
            0 => return Ok(imported),
            1 => imported.push(reader.item(store, trust, scratch)?),
            other => {
                return Err(reader.wrong(format!(
                    "expected 1 before an item or 0 at the end, saw {other}"
                )));
            }
        }
    }
}

struct StreamReader<'s> {
    /// Hashes from the start of an item.
    input: HashingStream<BufReader<&'s mut dyn Read>>,
    location: &'s str,
}

impl StreamReader<'_> {
    fn wrong(&self, problem: impl Into<String>) -> ExchangeError {
        ExchangeError::Stream {
            location: self.location.to_owned(),
            problem: problem.into(),
        }
    }

    fn bytes(&mut self, buffer: &mut [u8]) -> Result<(), ExchangeError> {
        let read = self.input.read_exact(buffer);
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.wrong("it ends too early"),
            _ => FileError::named_by_user("read", self.location)(error).into(),
        })
    }

    fn number(&mut self) -> Result<u64, ExchangeError> {
        let mut bytes = [0; 8];
        self.bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn string(&mut self) -> Result<String, ExchangeError> {
        let bytes = self.byte_string()?;
        String::from_utf8(bytes).map_err(|_| self.wrong("a string that is not UTF-8"))
    }

    fn byte_string(&mut self) -> Result<Vec<u8>, ExchangeError> {
        let length = self.number()?;
        if length > STRING_MAX {
            return Err(self.wrong(format!(
                "a string of {length} bytes: expected at most {STRING_MAX}"
            )));
        }
        let mut bytes = vec![0; length.next_multiple_of(8) as usize];
        self.bytes(&mut bytes)?;
        if bytes[length as usize..].iter().any(|byte| *byte != 0) {
            return Err(self.wrong("padding that is not zero"));
        }
        bytes.truncate(length as usize);
        Ok(bytes)
    }

    fn path(&mut self, store: &Store) -> Result<StorePath, ExchangeError> {
        let text = self.string()?;
        let parsed = store.directories().store_dir.parse(&text);
        parsed.map_err(|error| self.wrong(error.to_string()))
    }

    /// One item. Its name comes after its archive, so that has to wait in a file.
    fn item(
        &mut self,
        store: &Store,
        trust: Trust<'_>,
        scratch: &Path,
    ) -> Result<StorePath, ExchangeError> {
        let mut file = unnamed(scratch)?;
        self.input.hash = Sha256::new();
        let mut archive = NarReader::new(&mut self.input);
        let copied = io::copy(&mut archive, &mut file);
        let over = archive.is_over();
        copied.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => self.wrong(error.to_string()),
            _ => FileError::named_by_user("copy an archive to", scratch)(error).into(),
        })?;
        if !over {
            return Err(self.wrong("it ends within an archive"));
        }
        if self.number()? != MAGIC {
            return Err(self.wrong("an archive is not followed by `NIXE`"));
        }
        let path = self.path(store)?;
        let count = self.number()?;
        if count > REFERENCES_MAX {
            return Err(self.wrong(format!("{count} references of one item")));
        }
        let mut references = BTreeSet::new();
        for _ in 0..count {
            references.insert(self.path(store)?);
        }
        let deriver = match self.string()? {
            text if text.is_empty() => None,
            text => {
                let parsed = store.directories().store_dir.parse(&text);
                Some(parsed.map_err(|error| self.wrong(error.to_string()))?)
            }
        };
        let digest = self.input.digest();
        let signature = match self.number()? {
            0 => None,
            // Not always UTF-8: libgcrypt writes some numbers as bytes, which an exporter may copy as they are.
            1 => Some(self.byte_string()?),
            other => {
                return Err(self.wrong(format!("expected 0 or 1 before a signature, saw {other}")));
            }
        };
        let store_dir = &store.directories().store_dir;
        // As in guix-daemon, also of an item that is valid: what the signature says does not depend on the store.
        match standing(signature.as_deref(), &digest, trust.keys) {
            Standing::Trusted => {}
            Standing::Unknown(_) if trust.unsigned => {}
            // As with guix-daemon, who signed comes before what was signed.
            Standing::Unknown(seen) | Standing::AlteredUnknown(seen) if !trust.unsigned => {
                return Err(NarInfoError::Untrusted {
                    path: store_dir.display(&path),
                    location: self.location.to_owned(),
                    seen,
                }
                .into());
            }
            Standing::Altered | Standing::AlteredUnknown(_) | Standing::Unknown(_) => {
                return Err(ExchangeError::Altered {
                    path: store_dir.display(&path),
                    location: self.location.to_owned(),
                });
            }
        }
        let locks = store.lock([&path])?;
        if store.is_valid(&path)? {
            return Ok(path);
        }
        let valid = store.valid_among(references.iter())?;
        let missing = |reference: &&StorePath| **reference != path && !valid.contains(*reference);
        if let Some(missing) = references.iter().find(missing) {
            return Err(ExchangeError::Missing {
                path: store_dir.display(&path),
                missing: store_dir.display(missing),
                location: self.location.to_owned(),
            });
        }
        let expected = Expected {
            path: path.clone(),
            nar_sha256: None,
            references,
            deriver,
        };
        file.seek(SeekFrom::Start(0))
            .map_err(FileError::named_by_user("read", scratch))?;
        let prepared = prepare(store, &locks, &expected, &mut file, self.location);
        let prepared = prepared.map_err(|error| match error {
            ExchangeError::Nar(NarError::Source { error, .. }) => {
                FileError::named_by_user("read", scratch)(error).into()
            }
            error => error,
        })?;
        commit(store, &locks, vec![prepared])?;
        Ok(path)
    }
}

/// What is seen in the place of a signature of an item that has none.
pub const UNSIGNED: &str = "it is not signed";

/// What a signature is worth.
enum Standing {
    /// It is good, and its key is trusted.
    Trusted,
    /// There is none, it cannot be read, or it is good and its key is not trusted; says which.
    Unknown(String),
    /// It is a signature of something else.
    Altered,
    /// It is a signature of something else, by a key that is not trusted; says which.
    AlteredUnknown(String),
}

/// What the signature `text` of `digest` is worth to those who trust `keys`.
fn standing(text: Option<&[u8]>, digest: &Sha256Digest, keys: &[PublicKey]) -> Standing {
    let Some(text) = text else {
        return Standing::Unknown(UNSIGNED.to_owned());
    };
    match guix::check(text, digest, keys) {
        Ok(()) => Standing::Trusted,
        Err(Mistrust::Differs(_) | Mistrust::Forged(_)) => Standing::Altered,
        Err(Mistrust::Stranger(key)) => {
            let bytes = STANDARD.decode(&key).ok();
            let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
            let own = bytes.map(|bytes| PublicKey::new(&key, bytes));
            match own.map(|own| guix::check(text, digest, &[own])) {
                Some(Ok(())) => Standing::Unknown(Mistrust::Stranger(key).to_string()),
                _ => Standing::AlteredUnknown(Mistrust::Stranger(key).to_string()),
            }
        }
        Err(mistrust @ (Mistrust::Malformed | Mistrust::Rsa)) => {
            Standing::Unknown(mistrust.to_string())
        }
    }
}

/// A file in `directory` that no other process finds and that is gone with this process.
fn unnamed(directory: &Path) -> Result<File, ExchangeError> {
    std::fs::create_dir_all(directory).map_err(FileError::named_by_user("create", directory))?;
    let file = tempfile::tempfile_in(directory);
    Ok(file.map_err(FileError::named_by_user(
        "create a temporary file in",
        directory,
    ))?)
}
