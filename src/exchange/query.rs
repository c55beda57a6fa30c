// SPDX-License-Identifier: GPL-3.0-or-later
//! Asking a substitute server about store items, without installing anything.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::ExchangeError;
use super::server::Server;
use crate::events::cancellation::Cancellation;
use crate::formats::keys::PublicKey;
use crate::formats::narinfo::NarInfo;
use crate::formats::store_path::StorePath;
use crate::store::Store;

/// How many narinfos are asked for at a time.
const QUERIES: usize = 16;

/// What a server says of some items.
#[derive(Debug, Default)]
pub struct DescribedItems {
    /// The narinfos that are signed as they should be.
    pub infos: Vec<NarInfo>,
    /// The first problem with the server or with another narinfo.
    pub problem: Option<ExchangeError>,
}

impl Server {
    /// The narinfos of those of `paths` that the server has, each with a good signature by one of `keys`, in the same
    /// order. Several are asked for at a time. Valid paths are asked for as well. One that cannot be read or is not
    /// signed is left out, and hides no other.
    pub fn describe(
        &self,
        store: &Store,
        paths: &[StorePath],
        keys: &[PublicKey],
        cancellation: &Cancellation,
    ) -> DescribedItems {
        let store_dir = &store.directories().store_dir;
        let mut description = DescribedItems::default();
        for said in at_once(paths, |path| {
            self.narinfo(store_dir, path, keys, cancellation)
        }) {
            match said {
                Ok(info) => description.infos.extend(info),
                Err(error) => {
                    description.problem.get_or_insert(error);
                }
            }
        }
        description
    }
}

/// Does `work` for all of `items`, [`QUERIES`] at a time: requests wait for the network, not for a processor. The
/// results are in the order of the items.
pub(super) fn at_once<I: Sync, R: Send>(items: &[I], work: impl Fn(&I) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, R)>> = Mutex::default();
    let run = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else {
                return;
            };
            let result = work(item);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.push((number, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..items.len().min(QUERIES) {
            // Fewer threads do as well.
            let _ = std::thread::Builder::new()
                .name("narinfo".to_owned())
                .spawn_scoped(scope, run);
        }
        run();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}
