// SPDX-License-Identifier: GPL-3.0-or-later
//! Adding texts and files to the store.

use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::str::FromStr;

use super::Session;
use super::fault::Fault;
use crate::exchange::nar_reader::NarReader;
use crate::formats::content_hash::{ContentHash, ContentHasher, HashAlgorithm};
use crate::formats::nar::NarError;
use crate::formats::store_path::{
    FixedOutputMethod, StorePath, check_name, fixed_output_path, text_path,
};
use crate::formats::worker::{AskedPath, Fields};
use crate::store::{StagedOutput, nar};

impl Session {
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
    /// The archive goes to the disk as it arrives, into a directory of the store that belongs to no item yet: which
    /// item it is follows from its hash. Where the archive is malformed the connection ends, since nothing says where
    /// it would. Where anything else fails the rest is read and thrown away.
    pub(super) fn add_to_store(
        &mut self,
        name: &str,
        recursive: bool,
        algorithm: &str,
    ) -> Result<Fields, Fault> {
        let store_dir = self.directories.store_dir.clone();
        let algorithm = HashAlgorithm::from_str(algorithm).map_err(Fault::refused);
        let check = check_name(name).map_err(Fault::refused).and(algorithm);
        let place = text_path(&store_dir, "adding", &unique(), &BTreeSet::new());
        let place = place.map_err(Fault::refused)?;
        // The archive is read whatever is wrong, or what follows it could not be.
        let locks = self.store.lock([&place])?;
        let staging = check.and_then(|algorithm| {
            let directory = self.store.staging_directory(&locks, &place)?;
            Ok((directory.join("item"), algorithm))
        });
        let mut archive = NarReader::new(self.reader.input());
        let mut hashing = Hashing {
            inner: &mut archive,
            hasher: staging
                .as_ref()
                .map_or(HashAlgorithm::Sha256, |(_, algorithm)| *algorithm)
                .hasher(),
        };
        let restored = match &staging {
            Ok((item, _)) => nar::restore(&mut hashing, item),
            Err(_) => Ok(()),
        };
        let hash = hashing.hasher.finish();
        if let Err(NarError::Corrupt { .. }) = &restored {
            let problem = restored.err().map(|error| error.to_string());
            let _ = self.store.remove_staging_directory(&locks, &place);
            return Err(Fault::ended(problem.unwrap_or_default()));
        }
        if !archive.is_over() {
            let drained = io::copy(&mut archive, &mut io::sink());
            if drained.is_err() || !archive.is_over() {
                let _ = self.store.remove_staging_directory(&locks, &place);
                return Err(match drained {
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => Fault::ended(error),
                    _ => Fault::Gone,
                });
            }
        }
        let added = staging.and_then(|(item, _)| {
            restored.map_err(Fault::refused)?;
            self.register(&item, name, recursive, hash)
        });
        let removed = self.store.remove_staging_directory(&locks, &place);
        let path = added?;
        removed?;
        Ok(Fields::of_string(self.shown(&path)))
    }

    /// Makes the tree at `item`, whose archive has the hash `hash`, a store item.
    fn register(
        &self,
        item: &Path,
        name: &str,
        recursive: bool,
        hash: ContentHash,
    ) -> Result<StorePath, Fault> {
        let store_dir = &self.directories.store_dir;
        let failed = |error: io::Error| {
            Fault::refused(format!("cannot read back {}: {error}", item.display()))
        };
        let (method, hash) = match recursive {
            true => (FixedOutputMethod::Recursive, hash),
            false => {
                if !item.symlink_metadata().map_err(failed)?.is_file() {
                    return Err(Fault::refused("regular file expected"));
                }
                // A file that is known by its contents alone cannot be executed.
                std::fs::set_permissions(item, Permissions::from_mode(0o644)).map_err(failed)?;
                let mut file = File::open(item).map_err(failed)?;
                let hash = ContentHash::of_reader(hash.algorithm(), &mut file);
                (FixedOutputMethod::Flat, hash.map_err(failed)?)
            }
        };
        let path = fixed_output_path(store_dir, name, method, hash).map_err(Fault::refused)?;
        let locks = self.store.lock([&path])?;
        let staged = StagedOutput {
            staged: item.to_owned(),
            path: path.clone(),
            candidates: BTreeSet::new(),
            deriver: None,
        };
        self.store.prepare_outputs(&locks, vec![staged])?.commit()?;
        Ok(path)
    }
}

/// Bytes that no other addition has.
fn unique() -> Vec<u8> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{} {number}", std::process::id()).into_bytes()
}

/// Hashes what is read through it.
struct Hashing<R> {
    inner: R,
    hasher: ContentHasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
