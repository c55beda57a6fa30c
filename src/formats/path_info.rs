// SPDX-License-Identifier: GPL-3.0-or-later
//! What a store database knows of a valid path.

use std::collections::BTreeSet;

use crate::formats::hash::Sha256Digest;
use crate::formats::store_path::StorePath;

/// What the database knows of a valid path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathInfo {
    /// The path.
    pub path: StorePath,
    /// The SHA-256 of its NAR.
    pub nar_sha256: Sha256Digest,
    /// The size of its NAR in bytes; 0 where the daemon did not record it.
    pub nar_size: u64,
    /// The paths it refers to, itself included where it does.
    pub references: BTreeSet<StorePath>,
    /// The derivation it was built from.
    pub deriver: Option<StorePath>,
    /// When it was registered, in seconds since the Epoch; 0 in a path to be registered stands for now.
    pub registration_time: u64,
}
