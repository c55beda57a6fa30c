// SPDX-License-Identifier: GPL-3.0-or-later
//! Installing items from substitute servers.
//!
//! First the narinfos of everything that is missing are asked for, level by level along the references, many at a time,
//! and their signatures checked. The servers are asked in the order of their ranks; a later one is asked for what those
//! before it lack or have without a trusted signature. Then items are installed in batches, references first: archives
//! are downloaded, decoded, unpacked and hashed on all cores, an item on each, the largest first. What is right becomes
//! valid. A core takes the window of a decoder (4 MiB of what is published here, 128 MiB at most) and a few buffers of
//! memory, whatever the items.
//!
//! An item that one server cannot deliver is taken from the next. The items of a batch do not wait for each other.
//!
//! An [`InstallationWatch`] reports on every item, and stops everything at any moment: then nothing is half valid, and
//! nothing is left of what was half unpacked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::ExchangeError;
use super::batch::{self, BatchItem, InstallationBatch};
pub use super::query::DescribedItems;
use super::query::at_once;
pub use super::server::Server;
pub use super::watch::{InstallationNews, InstallationWatch, SubstituteOffer};
use crate::events::cancellation::Cancellation;
use crate::formats::keys::PublicKey;
use crate::formats::narinfo::NarInfo;
use crate::formats::store_path::StorePath;
use crate::store::{LockError, PathInfo, Store, StoreError};

mod choice;
mod replace;

use choice::{Choice, Missing, note_referrers, references_first};

/// How many items are installed at a time: the lock of each is a descriptor.
const AT_ONCE: usize = 128;

/// What was installed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The items, references first.
    pub paths: Vec<StorePath>,
    /// The size of their archives, in bytes.
    pub nar_bytes: u64,
}

/// Several servers, and what they have said so far.
#[derive(Debug)]
pub struct Substituter {
    servers: Vec<Server>,
    /// The servers by rank.
    order: OnceLock<Vec<usize>>,
    keys: Vec<PublicKey>,
    /// What is not signed by any of the keys counts as missing.
    skips_untrusted: bool,
    answers: Mutex<BTreeMap<StorePath, Answers>>,
}

/// What the servers say of one item.
#[derive(Debug, Default)]
struct Answers {
    /// How many servers were asked, in the order of their ranks.
    asked: usize,
    /// What they offer, each with the server's number.
    infos: Vec<(usize, Arc<NarInfo>)>,
    /// The servers that did not deliver.
    failed: BTreeSet<usize>,
    /// Why one server is not believed.
    mistrust: Option<ExchangeError>,
    /// Why the answer of one server cannot be used.
    problem: Option<ExchangeError>,
}

impl Substituter {
    /// Takes from `servers` what one of `keys` has signed. Asks nothing yet. What none has signed is an error.
    pub fn new(servers: Vec<Server>, keys: Vec<PublicKey>) -> Self {
        Self {
            servers,
            order: OnceLock::new(),
            keys,
            skips_untrusted: false,
            answers: Mutex::default(),
        }
    }

    /// Whether what a server has without a trusted signature counts as something that it lacks, and as a problem of
    /// that server, as with guix-daemon. Otherwise it is an error where no other server has it signed.
    #[must_use]
    pub fn skip_untrusted(mut self, skips: bool) -> Self {
        self.skips_untrusted = skips;
        self
    }

    /// The first problem of each server that had one.
    pub fn problems(&self) -> Vec<(&str, String)> {
        let servers = self.servers.iter();
        servers
            .filter_map(|server| Some((server.url(), server.problem()?)))
            .collect()
    }

    /// The servers that are not asked any more, each with the reason.
    pub fn left(&self) -> Vec<(&str, String)> {
        let servers = self.servers.iter();
        servers
            .filter_map(|server| Some((server.url(), server.left()?)))
            .collect()
    }

    /// For each set of `wanted`: makes its paths and all they refer to valid, if the servers have all of it; `None`
    /// where they lack something. What several sets refer to is listed with the first.
    ///
    /// # Errors
    /// Where no server delivers what was offered, or delivers something that is not what was signed, and where the
    /// watch stops it. Nothing of that is valid then, nor what refers to it; other items may be.
    pub fn install(
        &self,
        store: &Store,
        wanted: &[BTreeSet<StorePath>],
        watch: &InstallationWatch<'_>,
    ) -> Result<Vec<Option<Installed>>, ExchangeError> {
        let installed = self.install_watched(store, wanted, watch);
        installed.map_err(|error| match error {
            // What stopping it looks like.
            ExchangeError::Server { .. }
            | ExchangeError::Store(StoreError::Lock(LockError::Cancelled { .. }))
                if watch.cancellation.is_cancelled() =>
            {
                ExchangeError::Interrupted
            }
            error => error,
        })
    }

    fn install_watched(
        &self,
        store: &Store,
        wanted: &[BTreeSet<StorePath>],
        watch: &InstallationWatch<'_>,
    ) -> Result<Vec<Option<Installed>>, ExchangeError> {
        let mut new: BTreeMap<StorePath, PathInfo> = BTreeMap::new();
        let mut order: Vec<StorePath> = Vec::new();
        let mut found: BTreeSet<StorePath> = BTreeSet::new();
        let mut first_error: Option<ExchangeError> = None;
        // The closures as they were before anything was installed.
        let mut closures: Option<Vec<Option<BTreeSet<StorePath>>>> = None;
        let mut problem = None;
        loop {
            // A reference that is valid has to stay so until what refers to it is.
            let keep = |paths: &BTreeSet<StorePath>| store.add_temporary_roots(paths);
            let missing = self.missing(store, wanted, &keep, &watch.cancellation)?;
            let sets: Vec<_> = wanted.iter().map(|set| missing.closure(set).ok()).collect();
            let lacks = sets.iter().any(Option::is_none);
            closures.get_or_insert_with(|| {
                let paths = |set: &BTreeMap<&StorePath, &Choice>| {
                    set.keys().map(|path| (*path).clone()).collect()
                };
                sets.iter().map(|set| set.as_ref().map(paths)).collect()
            });
            if lacks && let Some(error) = first_error.take() {
                // The server does not deliver what it offered.
                return Err(error);
            }
            if lacks {
                self.believe(&missing, wanted)?;
                problem = problem.or_else(|| self.problem(&missing, wanted));
            }
            let choices: BTreeMap<&StorePath, &Choice> =
                sets.into_iter().flatten().flatten().collect();
            if choices.is_empty() {
                break;
            }
            let ordered = references_first(&choices);
            let offers = ordered
                .iter()
                .filter(|choice| found.insert(choice.info.path.clone()));
            let offers: Vec<SubstituteOffer> = offers.map(|choice| self.offer(choice)).collect();
            if !offers.is_empty() {
                (watch.news)(InstallationNews::Found(&offers));
            }
            order.extend(offers.into_iter().map(|offer| offer.path));
            let mut has_failed = false;
            // What failed, and what refers to it, which has to wait until another server delivers that.
            let mut lacking: BTreeSet<StorePath> = BTreeSet::new();
            for batch in ordered.chunks(AT_ONCE) {
                note_referrers(batch, &mut lacking);
                let mut whole = batch.to_vec();
                whole.retain(|choice| !lacking.contains(&choice.info.path));
                let (installed, failed) = self.install_batch(store, &whole, watch)?;
                lacking.extend(failed.iter().map(|(path, ..)| path.clone()));
                note_referrers(batch, &mut lacking);
                new.extend(installed.into_iter().map(|info| (info.path.clone(), info)));
                for (path, server, error) in failed {
                    has_failed = true;
                    (watch.news)(InstallationNews::Failed {
                        path: &path,
                        location: self.servers[server].url(),
                        problem: &self.servers[server].in_short(&error),
                    });
                    self.answers()
                        .entry(path)
                        .or_default()
                        .failed
                        .insert(server);
                    batch::note(&mut first_error, error);
                }
            }
            if !has_failed {
                break;
            }
        }
        if let Some(error) = problem {
            return Err(error);
        }
        let mut tell = |closure: BTreeSet<StorePath>| {
            let mut installed = Installed::default();
            for path in &order {
                if closure.contains(path)
                    && let Some(info) = new.remove(path)
                {
                    installed.nar_bytes += info.nar_size;
                    installed.paths.push(info.path);
                }
            }
            installed
        };
        Ok(closures
            .unwrap_or_default()
            .into_iter()
            .map(|closure| closure.map(&mut tell))
            .collect())
    }

    /// For each set of `wanted`: what [`install`](Self::install) would make valid, references first; `None` where the
    /// servers lack something. What several sets refer to is listed with each. Asks for narinfos alone, and changes
    /// nothing.
    ///
    /// # Errors
    /// Where something is missing that a server has without a trusted signature, and that is not skipped.
    pub fn offers(
        &self,
        store: &Store,
        wanted: &[BTreeSet<StorePath>],
        cancellation: &Cancellation,
    ) -> Result<Vec<Option<Vec<SubstituteOffer>>>, ExchangeError> {
        // A store that is only read takes no roots.
        let missing = self.missing(store, wanted, &|_| Ok(()), cancellation)?;
        self.believe(&missing, wanted)?;
        Ok(wanted
            .iter()
            .map(|set| {
                let closure = missing.closure(set).ok()?;
                let choices = references_first(&closure);
                Some(
                    choices
                        .into_iter()
                        .map(|choice| self.offer(choice))
                        .collect(),
                )
            })
            .collect())
    }

    fn offer(&self, choice: &Choice) -> SubstituteOffer {
        SubstituteOffer::of(&choice.info, self.servers[choice.server].url())
    }

    /// Fails where a set of `wanted` lacks something that a server has and no trusted key has signed.
    fn believe(
        &self,
        missing: &Missing,
        wanted: &[BTreeSet<StorePath>],
    ) -> Result<(), ExchangeError> {
        let mut answers = self.answers();
        for set in wanted {
            let Err(path) = missing.closure(set) else {
                continue;
            };
            let mistrust = answers
                .get_mut(path)
                .and_then(|answers| answers.mistrust.take());
            if let Some(error) = mistrust {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Why an answer about something that is lacking cannot be used, where there is such an answer.
    fn problem(&self, missing: &Missing, wanted: &[BTreeSet<StorePath>]) -> Option<ExchangeError> {
        let mut answers = self.answers();
        wanted.iter().find_map(|set| {
            let path = missing.closure(set).err()?;
            answers.get_mut(path)?.problem.take()
        })
    }

    /// Makes those of `batch`, each after those it refers to, valid that are not. Also returns what failed.
    fn install_batch(
        &self,
        store: &Store,
        batch: &[&Choice],
        watch: &InstallationWatch<'_>,
    ) -> Result<batch::BatchResult, ExchangeError> {
        let paths = batch.iter().map(|choice| &choice.info.path);
        let mut locks = store.lock(paths.clone())?;
        // Another process may have been faster while we waited. Others must not wait for what is there until all of the
        // batch is.
        let valid = store.valid_among(paths)?;
        locks.release(&valid);
        for path in &valid {
            (watch.news)(InstallationNews::Reused(path));
        }
        let items = batch
            .iter()
            .filter(|choice| !valid.contains(&choice.info.path));
        let mut items: Vec<BatchItem<'_>> = items
            .map(|choice| BatchItem {
                info: &choice.info,
                server: choice.server,
                location: self.servers[choice.server].url(),
            })
            .collect();
        items.sort_by_key(|item| std::cmp::Reverse(item.info.nar_size));
        batch::install(&InstallationBatch {
            store,
            locks: &locks,
            items,
            watch,
            prepare: &|item| self.servers[item.server].prepare(store, &locks, item.info, watch),
        })
    }

    /// What is missing of the closure of `wanted`, and where to take it from. `keep` is called with all paths before
    /// they are looked up: what is made a temporary root after that may be gone already.
    fn missing(
        &self,
        store: &Store,
        wanted: &[BTreeSet<StorePath>],
        keep: &dyn Fn(&BTreeSet<StorePath>) -> Result<(), StoreError>,
        cancellation: &Cancellation,
    ) -> Result<Missing, ExchangeError> {
        let mut missing = Missing::default();
        let mut level: BTreeSet<StorePath> = wanted.iter().flatten().cloned().collect();
        while !level.is_empty() {
            keep(&level)?;
            let valid = store.valid_among(level.iter())?;
            level.retain(|path| !valid.contains(path));
            self.ask(store, &level, cancellation)?;
            let mut next = BTreeSet::new();
            for path in level {
                let choice = self.choice(&path);
                let references = choice.iter().flat_map(|choice| &choice.info.references);
                next.extend(references.cloned());
                missing.0.insert(path, choice);
            }
            next.retain(|path| !missing.0.contains_key(path));
            level = next;
        }
        Ok(missing)
    }

    /// The first server that offers `path` and has not failed to deliver it.
    fn choice(&self, path: &StorePath) -> Option<Choice> {
        let answers = self.answers();
        let of_path = answers.get(path)?;
        let mut infos = of_path.infos.iter().filter(|(server, _)| {
            !of_path.failed.contains(server) && self.servers[*server].left().is_none()
        });
        infos.next().map(|(server, info)| Choice {
            server: *server,
            info: Arc::clone(info),
        })
    }

    /// Asks for those of `paths` that no server has offered yet, one server after the other.
    fn ask(
        &self,
        store: &Store,
        paths: &BTreeSet<StorePath>,
        cancellation: &Cancellation,
    ) -> Result<(), ExchangeError> {
        let store_dir = &store.directories().store_dir;
        let order = self.order.get_or_init(|| {
            at_once(&self.servers, |server| {
                server.introduce(store_dir, cancellation)
            });
            let mut order: Vec<usize> = (0..self.servers.len()).collect();
            order.sort_by_key(|server| self.servers[*server].priority());
            order
        });
        for (position, number) in order.iter().enumerate() {
            let server = &self.servers[*number];
            let open: Vec<&StorePath> = {
                let asked = |path: &StorePath| {
                    let answers = self.answers();
                    answers.get(path).map_or(0, |answers| answers.asked)
                };
                let open = paths.iter().filter(|path| asked(path) <= position);
                open.filter(|path| self.choice(path).is_none()).collect()
            };
            let said = match server.left() {
                Some(_) => Vec::new(),
                None => at_once(&open, |path| {
                    server.narinfo(store_dir, path, &self.keys, cancellation)
                }),
            };
            let mut answers = self.answers();
            for path in &open {
                answers.entry((*path).clone()).or_default().asked = position + 1;
            }
            for (path, said) in open.iter().zip(said) {
                let of_path = answers.entry((*path).clone()).or_default();
                match said {
                    Ok(Some(info)) => of_path.infos.push((*number, Arc::new(info))),
                    Ok(None) => {}
                    Err(ExchangeError::Interrupted) => return Err(ExchangeError::Interrupted),
                    Err(error) if error.is_mistrust() && self.skips_untrusted => {
                        server.note(&error)
                    }
                    Err(error) if error.is_mistrust() => {
                        of_path.mistrust.get_or_insert(error);
                    }
                    Err(error) => {
                        of_path.problem.get_or_insert(error);
                    }
                }
            }
        }
        Ok(())
    }

    fn answers(&self) -> MutexGuard<'_, BTreeMap<StorePath, Answers>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
