// SPDX-License-Identifier: GPL-3.0-or-later
//! Files that hold keys: reading them, and making new ones. What is in them is described in
//! [`keys`](crate::formats::keys).

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::formats::keys::{KeyError, PublicKey, SecretKey};
use crate::formats::visible::visible_path;
use crate::limited_file;

/// A file's name without its last extension.
fn stem(path: &Path) -> String {
    path.file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default()
}

impl SecretKey {
    /// Reads the key in the file `path`, in either form.
    ///
    /// # Errors
    /// Where the file cannot be read or holds no key.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let bytes =
            limited_file::read(path, limited_file::SMALL).map_err(KeyError::io("read", path))?;
        Self::from_bytes(&bytes, &stem(path)).ok_or_else(|| KeyError::Secret {
            what: visible_path(path),
        })
    }

    /// Makes a new key called `name`: the secret key in the new file `path`, which only its owner can read, the public
    /// one in `path` with `.pub` after it.
    ///
    /// # Errors
    /// Where a file is there already or cannot be written.
    pub fn generate(name: &str, path: &Path) -> Result<PublicKey, KeyError> {
        let key = Self::random(name)?;
        let public = key.public();
        let mut public_path = path.as_os_str().to_owned();
        public_path.push(".pub");
        write_new(path, &format!("{}\n", key.to_secret_text()), 0o600)?;
        let written = write_new(Path::new(&public_path), &format!("{public}\n"), 0o644);
        if written.is_err() {
            // Half a key would be in the way of the next try.
            let _ = std::fs::remove_file(path);
        }
        written.map(|()| public)
    }
}

/// Writes `text` to the new file `path`, which is not left there where that fails.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), KeyError> {
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    let mut file = file.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
        _ => KeyError::io("create", path)(error),
    })?;
    file.write_all(text.as_bytes()).map_err(|error| {
        let _ = std::fs::remove_file(path);
        KeyError::io("write", path)(error)
    })
}

impl PublicKey {
    /// Reads keys with white space between them, from an option called `what`. A word that begins with `/`, `./` or
    /// `../` is the name of a file that holds a key in either form, or Guix's access control list with any number of
    /// them.
    ///
    /// # Errors
    /// Names the first word that is not a key.
    pub fn parse_all(what: &str, text: &str) -> Result<Vec<Self>, KeyError> {
        let mut keys = Vec::new();
        for word in text.split_whitespace() {
            let is_path = ["/", "./", "../"]
                .iter()
                .any(|start| word.starts_with(start));
            match is_path {
                true => keys.extend(Self::read(Path::new(word))?),
                false => keys.push(Self::parse(word).ok_or_else(|| KeyError::Public {
                    what: format!("{what}: `{word}`"),
                })?),
            }
        }
        Ok(keys)
    }

    /// Reads the public keys in the file `path`, of which there is at least one.
    ///
    /// # Errors
    /// Where the file cannot be read or holds none.
    pub fn read(path: &Path) -> Result<Vec<Self>, KeyError> {
        let bytes =
            limited_file::read(path, limited_file::SMALL).map_err(KeyError::io("read", path))?;
        Self::all_from_bytes(&bytes, &stem(path), visible_path(path).to_string())
    }
}
