// SPDX-License-Identifier: GPL-3.0-or-later
//! Adding texts and files to the store.

use std::collections::BTreeSet;
use std::io;
use std::str::FromStr;

use super::ClientSession;
use super::fault::Fault;
use crate::exchange::nar_reader::NarReader;
use crate::formats::content_hash::HashAlgorithm;
use crate::formats::nar::NarError;
use crate::formats::store_path::FixedOutputMethod;
use crate::formats::worker::{AskedPath, Fields};
use crate::store::StoreError;

impl ClientSession {
    /// Adds a text, such as a derivation.
    pub(super) fn add_text(
        &self,
        name: &str,
        content: &[u8],
        references: &[AskedPath],
    ) -> Result<Fields, Fault> {
        let references = references.iter().map(|path| self.required(path).cloned());
        let references = references.collect::<Result<BTreeSet<_>, _>>()?;
        let path = self.store.add_text(name, content, &references)?;
        Ok(Fields::of_string(self.shown(&path)))
    }

    /// Adds the tree or file of the archive that follows in the connection.
    ///
    /// The archive goes to the disk as it arrives. Where it is malformed the connection ends, since nothing says where
    /// the next request begins. Where anything else fails the rest of the archive is read and thrown away.
    pub(super) fn add_to_store(
        &mut self,
        name: &str,
        recursive: bool,
        algorithm: &str,
    ) -> Result<Fields, Fault> {
        let method = match recursive {
            true => FixedOutputMethod::Recursive,
            false => FixedOutputMethod::Flat,
        };
        let mut archive = NarReader::new(self.reader.input());
        let added = HashAlgorithm::from_str(algorithm)
            .map_err(Fault::refused)
            .and_then(|algorithm| {
                let added = self
                    .store
                    .add_archive(name, method, algorithm, &mut archive);
                added.map_err(|error| match error {
                    StoreError::Nar(error @ NarError::Corrupt { .. }) => Fault::ended(error),
                    error => error.into(),
                })
            });
        if !archive.is_over() && !matches!(added, Err(Fault::Ended { .. })) {
            match io::copy(&mut archive, &mut io::sink()) {
                Ok(_) if archive.is_over() => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(Fault::ended(error));
                }
                _ => return Err(Fault::Gone),
            }
        }
        Ok(Fields::of_string(self.shown(&added?)))
    }
}
