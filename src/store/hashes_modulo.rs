// SPDX-License-Identifier: GPL-3.0-or-later
//! What is remembered of valid derivations: their hashes modulo inputs, which their users' output paths follow from.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::formats::hash::Sha256Digest;
use crate::formats::store_path::StorePath;

/// The hashes modulo inputs of derivations by path, which says what is in them.
#[derive(Debug, Default)]
pub(super) struct HashesModulo(Mutex<HashMap<StorePath, Sha256Digest>>);

impl HashesModulo {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<StorePath, Sha256Digest>> {
        // Between any two operations it is consistent, also where another thread panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
