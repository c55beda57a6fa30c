// SPDX-License-Identifier: GPL-3.0-or-later
//! Asking a substitute server about store items, without installing anything.

use rayon::prelude::*;

use super::ExchangeError;
use super::server::Server;
use crate::events::cancellation::Cancellation;
use crate::formats::keys::PublicKey;
use crate::formats::narinfo::NarInfo;
use crate::formats::store_path::StorePath;
use crate::store::Store;
use crate::threads;

impl Server {
    /// The narinfos of those of `paths` that the server has, each with a good signature by one of `keys`, in the same
    /// order. Several are asked for at a time. Valid paths are asked for as well.
    ///
    /// # Errors
    /// Where the server cannot be reached, or has an item that is not signed.
    pub fn describe(
        &self,
        store: &Store,
        paths: &[StorePath],
        keys: &[PublicKey],
        cancellation: &Cancellation,
    ) -> Result<Vec<NarInfo>, ExchangeError> {
        let store_dir = &store.directories().store_dir;
        threads::ready();
        let found = paths
            .par_iter()
            .map(|path| self.narinfo(store_dir, path, keys, cancellation))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(found.into_iter().flatten().collect())
    }
}
