// SPDX-License-Identifier: GPL-3.0-or-later
//! Making several items valid that need not wait for each other, but may refer to each other.
//!
//! ```text
//! items ──the next one──▶ a thread for each core: prepare ──one queue──▶ this thread: commit
//! ```
//!
//! Threads take the items in the order given and prepare one each. This thread makes valid what is prepared with all it
//! refers to, so that items become visible as they come, and little is lost when it ends early; but not one by one, for
//! each time the file system has to bring everything to the disk that was written before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::ExchangeError;
use super::install::commit;
use super::watch::{InstallationNews, InstallationWatch};
use crate::diagnostics::FileError;
use crate::formats::narinfo::NarInfo;
use crate::formats::store_path::StorePath;
use crate::store::{PathInfo, PathLocks, PreparedOutputs, Store};

/// How long what is prepared waits for more at least.
const PAUSE: Duration = Duration::from_secs(1);
/// It waits for so many times what the last time took, too: then a slow disk does not spend its time on this alone.
const PAUSES: u32 = 10;

/// One item of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchItem<'b> {
    /// What is said of it.
    pub info: &'b NarInfo,
    /// The number of the server that it comes from.
    pub server: usize,
    /// That server's URL.
    pub location: &'b str,
}

/// What is to be installed.
pub(super) struct InstallationBatch<'b, 's> {
    /// Where to.
    pub store: &'s Store,
    /// The locks of all items.
    pub locks: &'b PathLocks,
    /// The items, none of which is valid, in the order in which they are begun.
    pub items: Vec<BatchItem<'b>>,
    /// Reports, and stops it.
    pub watch: &'b InstallationWatch<'b>,
    /// Prepares an item.
    pub prepare: &'b (dyn Fn(&BatchItem<'b>) -> Result<PreparedOutputs<'s>, ExchangeError> + Sync),
}

type Prepared<'b, 's> = (BatchItem<'b>, Result<PreparedOutputs<'s>, ExchangeError>);

/// What a batch has made valid, and what its servers did not deliver: item, server and reason.
pub(super) type BatchResult = (Vec<PathInfo>, Vec<(StorePath, usize, ExchangeError)>);

/// Makes the items of `batch` valid, on as many threads as `rayon` has here. An item that its server does not deliver
/// holds up only those that refer to it. After an error of this machine only what was begun is finished, and after a
/// cancellation not even that. What is right by then becomes valid if all it refers to does; nothing is left of the
/// others.
///
/// # Errors
/// What went wrong on this machine, or that the run was stopped.
pub(super) fn install<'b>(batch: &InstallationBatch<'b, '_>) -> Result<BatchResult, ExchangeError> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let (sender, receiver) = channel::<Prepared<'b, '_>>();
    let mut waiting = WaitingItem {
        pending: batch.items.iter().map(|item| &item.info.path).collect(),
        ready: BTreeMap::new(),
        installed: Vec::new(),
    };
    let mut first_error = None;
    let mut undelivered = Vec::new();
    crate::threads::ready();
    let threads = rayon::current_num_threads().min(batch.items.len());
    std::thread::scope(|scope| {
        for number in 0..threads {
            let (sender, next, failed) = (sender.clone(), &next, &failed);
            let started = std::thread::Builder::new()
                .name("install".to_owned())
                .spawn_scoped(scope, move || work(batch, next, failed, &sender));
            // Fewer do as well.
            if let (0, Err(error)) = (number, started) {
                let error =
                    FileError::in_store("start a thread that installs to", "the store")(error);
                first_error = Some(error.into());
            }
        }
        drop(sender);
        let mut due = Instant::now() + PAUSE;
        loop {
            let result = match waiting.ready.is_empty() {
                true => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => receiver.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            match result {
                Ok((item, Ok(prepared))) => {
                    waiting.ready.insert(&item.info.path, (item, prepared));
                }
                Ok((item, Err(error))) if error.is_of_server() => {
                    undelivered.push((item.info.path.clone(), item.server, error));
                }
                Ok((_, Err(error))) => note(&mut first_error, error),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= due {
                let start = Instant::now();
                if let Err(error) = waiting.commit(batch) {
                    failed.store(true, Ordering::Relaxed);
                    note(&mut first_error, error);
                }
                due = Instant::now() + PAUSE.max(start.elapsed() * PAUSES);
            }
        }
    });
    if let Err(error) = waiting.commit(batch) {
        note(&mut first_error, error);
    }
    for path in waiting.ready.into_keys() {
        // The error is the thing to tell; leftovers are the next comer's to remove.
        let _ = batch.store.remove_staging_directory(batch.locks, path);
    }
    match first_error {
        Some(error) => Err(error),
        None if undelivered.is_empty() && !waiting.pending.is_empty() => {
            Err(ExchangeError::Interrupted)
        }
        None => Ok((waiting.installed, undelivered)),
    }
}

/// Prepares one item after the other, until there are no more or something went wrong.
fn work<'b, 's>(
    batch: &InstallationBatch<'b, 's>,
    next: &AtomicUsize,
    failed: &AtomicBool,
    results: &Sender<Prepared<'b, 's>>,
) {
    while let Some(&item) = batch.items.get(next.fetch_add(1, Ordering::Relaxed)) {
        if failed.load(Ordering::Relaxed) || batch.watch.cancellation.is_cancelled() {
            return;
        }
        let prepared = (batch.prepare)(&item);
        let is_fatal = |error: &ExchangeError| !error.is_of_server();
        failed.fetch_or(prepared.as_ref().is_err_and(is_fatal), Ordering::Relaxed);
        if results.send((item, prepared)).is_err() {
            return;
        }
    }
}

/// Keeps the first error, or the first that says that bytes are wrong.
pub(super) fn note(first: &mut Option<ExchangeError>, error: ExchangeError) {
    match first {
        Some(first) if first.is_mistrust() || !error.is_mistrust() => {}
        _ => *first = Some(error),
    }
}

/// What is not valid yet.
struct WaitingItem<'b, 's> {
    /// All of it.
    pending: BTreeSet<&'b StorePath>,
    /// What is prepared.
    ready: BTreeMap<&'b StorePath, (BatchItem<'b>, PreparedOutputs<'s>)>,
    installed: Vec<PathInfo>,
}

impl<'b, 's> WaitingItem<'b, 's> {
    /// Makes valid what is ready with all it refers to.
    fn commit(&mut self, batch: &InstallationBatch<'b, 's>) -> Result<(), ExchangeError> {
        let mut whole: BTreeSet<&'b StorePath> = self.ready.keys().copied().collect();
        loop {
            let lacks = |path: &StorePath| self.pending.contains(path) && !whole.contains(path);
            let lacking: Vec<&'b StorePath> = whole
                .iter()
                .copied()
                .filter(|path| self.ready[*path].0.info.references.iter().any(lacks))
                .collect();
            if lacking.is_empty() {
                break;
            }
            whole.retain(|path| !lacking.contains(path));
        }
        if whole.is_empty() {
            return Ok(());
        }
        let mut locations: BTreeMap<&StorePath, &str> = BTreeMap::new();
        let mut prepared: Vec<PreparedOutputs<'s>> = Vec::with_capacity(whole.len());
        for path in &whole {
            if let Some((item, one)) = self.ready.remove(*path) {
                locations.insert(*path, item.location);
                prepared.push(one);
            }
        }
        match commit(batch.store, batch.locks, prepared) {
            Ok(infos) => {
                for info in infos {
                    self.pending.remove(&info.path);
                    (batch.watch.news)(InstallationNews::Installed {
                        info: &info,
                        location: locations.get(&info.path).copied().unwrap_or_default(),
                    });
                    self.installed.push(info);
                }
                Ok(())
            }
            Err(error) => {
                for path in whole {
                    // The error is the thing to tell; leftovers are the next comer's to remove.
                    let _ = batch.store.remove_staging_directory(batch.locks, path);
                }
                Err(error)
            }
        }
    }
}
