// SPDX-License-Identifier: GPL-3.0-or-later
//! The hash by which a file is known before it is fetched.

use std::fmt;
use std::io;
use std::path::Path;

use crate::formats::content_hash::ContentHash;
use crate::formats::hash::Sha256Digest;
use crate::formats::nar::write_file;
use crate::limited_file;

/// What the hash of a file is taken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// Its bytes.
    Bytes,
    /// The NAR of a file with these bytes.
    Nar,
    /// The NAR of a program with these bytes: what Guix's `executable` downloads have.
    ProgramNar,
}

/// The hash that a fetched file must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileHash {
    /// The hash.
    pub hash: ContentHash,
    /// What it is taken of.
    pub form: Form,
}

impl FileHash {
    /// The hash of the file at `path`, of the same kind as this one.
    ///
    /// # Errors
    /// Those of reading the file.
    pub fn of_file(&self, path: &Path) -> io::Result<Self> {
        let mut file = limited_file::open_regular(path)?;
        let algorithm = self.hash.algorithm();
        let hash = match self.form {
            Form::Bytes => ContentHash::of_reader(algorithm, &mut file)?,
            Form::Nar | Form::ProgramNar => {
                let size = file.metadata()?.len();
                let mut hasher = algorithm.hasher();
                write_file(&mut hasher, self.form == Form::ProgramNar, size, &mut file)?;
                hasher.finish()
            }
        };
        Ok(Self { hash, ..*self })
    }

    /// The digest, where this is the SHA-256 of the file's bytes.
    pub fn sha256(&self) -> Option<Sha256Digest> {
        self.hash.sha256().filter(|_| self.form == Form::Bytes)
    }

    /// The name of the file in a cache: the SHA-256 where it is one, and no other hash's name otherwise.
    pub fn file_name(&self) -> String {
        match self.sha256() {
            Some(digest) => digest.to_base16(),
            None => {
                let (algorithm, digits) = (self.hash.algorithm(), self.hash.to_base16());
                let suffix = match self.form {
                    Form::Bytes => "",
                    Form::Nar => ".nar",
                    Form::ProgramNar => ".program.nar",
                };
                format!("{algorithm}-{digits}{suffix}")
            }
        }
    }
}

impl From<ContentHash> for FileHash {
    fn from(hash: ContentHash) -> Self {
        Self {
            hash,
            form: Form::Bytes,
        }
    }
}

impl From<Sha256Digest> for FileHash {
    fn from(digest: Sha256Digest) -> Self {
        ContentHash::from(digest).into()
    }
}

impl From<&Sha256Digest> for FileHash {
    fn from(digest: &Sha256Digest) -> Self {
        (*digest).into()
    }
}

/// As messages show it: `SHA-256 DIGITS`, or with another algorithm's name.
impl fmt::Display for FileHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hash.sha256() {
            Some(digest) => write!(formatter, "SHA-256 {digest}")?,
            None => write!(
                formatter,
                "{} {}",
                self.hash.algorithm(),
                self.hash.to_base16()
            )?,
        }
        match self.form {
            Form::Bytes => Ok(()),
            Form::Nar | Form::ProgramNar => formatter.write_str(" of its NAR"),
        }
    }
}
