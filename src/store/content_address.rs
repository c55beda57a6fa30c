// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether a store path follows from the content of its item.
//!
//! The paths of texts, of trees that were copied into the store and of fixed outputs do (see
//! [`store_path`](crate::formats::store_path)); those of other outputs follow from their derivation.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::nar;
use super::regular_file;
use crate::formats::content_hash::{ContentHash, HashAlgorithm};
use crate::formats::hash::Sha256Digest;
use crate::formats::store_path::{
    FixedOutputMethod, StoreDir, StorePath, fixed_output_path, source_path, text_path_of_digest,
};

/// Whether `path` follows from the tree at `place`, whose NAR has the digest `nar_sha256` and which refers to
/// `references`: as a text, as a source, or as a fixed output by one of `algorithms`.
///
/// Reads the content once for each way that is left to try.
///
/// # Errors
/// Where the tree cannot be read.
pub fn proves(
    store_dir: &StoreDir,
    path: &StorePath,
    place: &Path,
    nar_sha256: &Sha256Digest,
    references: &BTreeSet<StorePath>,
    algorithms: &[HashAlgorithm],
) -> io::Result<bool> {
    // Also the path of a recursive fixed output by SHA-256.
    if source_path(store_dir, path.name(), nar_sha256, references).as_ref() == Ok(path) {
        return Ok(true);
    }
    let is_file = place.symlink_metadata()?.is_file();
    if is_file {
        let digest = Sha256Digest::of_reader(&mut regular_file::open(place)?)?;
        let text = text_path_of_digest(store_dir, path.name(), &digest, references);
        if text.as_ref() == Ok(path) {
            return Ok(true);
        }
    }
    if !references.is_empty() {
        return Ok(false);
    }
    for algorithm in algorithms {
        for method in [FixedOutputMethod::Flat, FixedOutputMethod::Recursive] {
            let is_done =
                (method, *algorithm) == (FixedOutputMethod::Recursive, HashAlgorithm::Sha256);
            if is_done || (method == FixedOutputMethod::Flat && !is_file) {
                continue;
            }
            let hash = hash_of(place, method, *algorithm)?;
            let fixed = fixed_output_path(store_dir, path.name(), method, hash);
            if fixed.as_ref() == Ok(path) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The hash of the tree at `place` by `method`: of a file's content, or of the NAR.
///
/// # Errors
/// Where it cannot be read, or is not a regular file though a flat hash is wanted.
pub fn hash_of(
    place: &Path,
    method: FixedOutputMethod,
    algorithm: HashAlgorithm,
) -> io::Result<ContentHash> {
    match method {
        FixedOutputMethod::Flat => {
            ContentHash::of_reader(algorithm, &mut regular_file::open(place)?)
        }
        FixedOutputMethod::Recursive => {
            let mut hasher = algorithm.hasher();
            nar::dump(place, &mut hasher).map_err(io::Error::other)?;
            Ok(hasher.finish())
        }
    }
}
