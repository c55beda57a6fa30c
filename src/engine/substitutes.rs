// SPDX-License-Identifier: GPL-3.0-or-later
//! Substitute servers as another way to make items, and what they would give.
//!
//! [`Substitutes`] is the scheduler's [`Alternative`] for a run. It knows what items are called, and reports what the
//! [`Substituter`] does as events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::error::EngineError;
use super::session::Session;
use crate::builder::alternative::{Alternative, Delivery};
use crate::builder::error::{BuildError, FailureKind};
use crate::builder::graph::{BuildGraph, BuildJob, Offered, WantedJob};
use crate::builder::settings::Fallback;
use crate::events::cancellation::Cancellation;
use crate::events::{Event, EventSender, Kind, Made, OutputMade};
use crate::exchange::ExchangeError;
use crate::exchange::substitute::{
    InstallationNews, InstallationWatch, Installed, Server, SubstituteOffer, Substituter,
};
use crate::formats::store_path::{StoreDir, StorePath};
use crate::store::Store;

/// The servers that the options of `session` name, and whose keys are trusted; `None` where none is to be asked.
/// Without network, those are folders.
///
/// # Errors
/// Where a URL or key is wrong, or no key is trusted.
pub(super) fn substituter(session: &Session) -> Result<Option<Substituter>, EngineError> {
    let options = session.options();
    let urls = options.substitute_urls.iter();
    let urls: Vec<&String> = urls
        .filter(|url| !options.offline || !Server::needs_network(url))
        .collect();
    if urls.is_empty() {
        return Ok(None);
    }
    let keys = options.trusted_keys.read()?;
    if keys.is_empty() {
        return Err(EngineError::NoTrustedKeys);
    }
    let servers = urls.into_iter().map(|url| Server::new(url));
    let servers = servers.collect::<Result<_, ExchangeError>>()?;
    let substituter = Substituter::new(servers, keys);
    Ok(Some(
        substituter.skip_untrusted(options.build.skips_untrusted),
    ))
}

/// Makes store items valid through `substituter`, each as far as servers have all that it refers to, and reports that
/// to `events`.
///
/// # Errors
/// Where a server gave other bytes than were signed, or the store cannot be written to.
pub fn install_substitutes(
    substituter: &Substituter,
    store: &Store,
    paths: &BTreeSet<StorePath>,
    events: &EventSender,
    cancellation: &Cancellation,
) -> Result<(), ExchangeError> {
    let taking = Taking::default();
    let graph = BuildGraph::default();
    let substitutes = Substitutes::new(substituter, store, &graph, events, cancellation, taking);
    let sets: Vec<BTreeSet<StorePath>> = paths
        .iter()
        .map(|path| BTreeSet::from([path.clone()]))
        .collect();
    let installed = substitutes.install(&sets);
    substitutes.pause();
    installed.map(drop)
}

/// Takes items of one graph from substitute servers.
pub struct Substitutes<'s> {
    substituter: &'s Substituter,
    store: &'s Store,
    names: ItemNames<'s>,
    events: EventSender,
    cancellation: Cancellation,
    taking: Taking,
    so_far: Mutex<SoFar>,
}

/// What is taken from servers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Taking {
    /// Whether sources are, and what else is downloaded. Those of recipes have servers of their own.
    pub downloads: bool,
    /// What becomes of what they do not deliver.
    pub fallback: Fallback,
}

/// What has happened since the scheduler began to ask.
#[derive(Default)]
struct SoFar {
    /// What each server offers that has not been reported, by URL.
    unreported: BTreeMap<String, Vec<SubstituteOffer>>,
    /// What was reported, and is not to be counted twice.
    reported: BTreeSet<StorePath>,
    /// When work on each item began that is not finished.
    begun: BTreeMap<StorePath, Instant>,
    /// What came of each server since its last report, by URL.
    taken: BTreeMap<String, Taken>,
    /// The problems of servers that were reported.
    problems: BTreeSet<(String, String)>,
}

#[derive(Default)]
struct Taken {
    installed: usize,
    nar_size: u64,
    problem: Option<String>,
}

impl<'s> Substitutes<'s> {
    /// Takes items of `graph` through `substituter` into `store`, and reports to `events`.
    pub fn new(
        substituter: &'s Substituter,
        store: &'s Store,
        graph: &BuildGraph<'s>,
        events: &EventSender,
        cancellation: &Cancellation,
        taking: Taking,
    ) -> Self {
        Self {
            taking,
            substituter,
            store,
            names: ItemNames::of(graph, &store.directories().store_dir),
            events: events.clone(),
            cancellation: cancellation.clone(),
            so_far: Mutex::default(),
        }
    }

    /// What the servers would give for each of `jobs`, references first; `None` where they do not have all of it.
    /// Derivations that say `allowSubstitutes=0` are not asked for.
    ///
    /// # Errors
    /// Where a server has something that no trusted key has signed, and no other server has it.
    pub fn offers_of(
        &self,
        jobs: &[WantedJob<'_>],
    ) -> Result<Vec<Option<Vec<SubstituteOffer>>>, ExchangeError> {
        let is_asked = |wanted: &WantedJob<'_>| {
            let takes = self.taking.downloads || wanted.job.kind != Kind::Download;
            takes && allows(wanted.job)
        };
        let asked = jobs.iter().filter(|job| is_asked(job));
        let sets: Vec<BTreeSet<StorePath>> = asked.map(|job| job.outputs.clone()).collect();
        let offers = self
            .substituter
            .offers(self.store, &sets, &self.cancellation)?;
        let mut offers = offers.into_iter();
        Ok(jobs
            .iter()
            .map(|job| match is_asked(job) {
                true => offers.next().flatten(),
                false => None,
            })
            .collect())
    }

    /// Makes each of `sets` valid as far as servers have all of it, and reports that.
    fn install(
        &self,
        sets: &[BTreeSet<StorePath>],
    ) -> Result<Vec<Option<Installed>>, ExchangeError> {
        let watch = InstallationWatch {
            cancellation: self.cancellation.clone(),
            news: &|news: InstallationNews<'_>| self.report(news),
        };
        self.substituter.install(self.store, sets, &watch)
    }

    fn so_far(&self) -> MutexGuard<'_, SoFar> {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports what was offered and not reported yet.
    fn report_offers(&self) {
        let unreported = {
            let mut so_far = self.so_far();
            let unreported = std::mem::take(&mut so_far.unreported);
            for location in unreported.keys() {
                so_far.taken.entry(location.clone()).or_default();
            }
            unreported
        };
        for (location, offers) in unreported {
            let sizes = offers.iter().map(|offer| offer.download_size);
            self.events.emit(Event::SubstitutesFound {
                substitutes: offers.len(),
                size: sizes.sum(),
                location,
            });
        }
    }

    fn report(&self, news: InstallationNews<'_>) {
        // A reader of events may be slow: not with the lock held.
        if let Some(event) = self.event(news) {
            self.events.emit(event);
        }
    }

    fn event(&self, news: InstallationNews<'_>) -> Option<Event> {
        let mut so_far = self.so_far();
        Some(match news {
            InstallationNews::Found(offers) => {
                // An item of a server that the offers did not name, after another server failed.
                for offer in offers {
                    if so_far.reported.insert(offer.path.clone()) {
                        let unreported = so_far.unreported.entry(offer.location.clone());
                        unreported.or_default().push(offer.clone());
                    }
                }
                drop(so_far);
                self.report_offers();
                return None;
            }
            InstallationNews::Begun { path, .. } => {
                so_far.begun.insert(path.clone(), Instant::now());
                Event::Started {
                    item: self.names.item(path),
                    kind: Kind::Substitute,
                    derivation: self.names.derivation(path),
                    log: None,
                }
            }
            InstallationNews::Received {
                path,
                location,
                bytes,
                total,
            } => Event::DownloadProgress {
                item: self.names.item(path),
                received: bytes,
                total,
                location: location.to_owned(),
            },
            InstallationNews::Installed { info, location } => {
                let taken = so_far.taken.entry(location.to_owned()).or_default();
                taken.installed += 1;
                taken.nar_size += info.nar_size;
                let begun = so_far.begun.remove(&info.path);
                let made = Made {
                    outputs: vec![self.names.made(&info.path, info.nar_size)],
                    seconds: begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64()),
                    ..Made::default()
                };
                Event::Finished {
                    item: self.names.item(&info.path),
                    kind: Kind::Substitute,
                    made,
                }
            }
            InstallationNews::Failed {
                path,
                location,
                problem,
            } => {
                so_far.begun.remove(path);
                let taken = so_far.taken.entry(location.to_owned()).or_default();
                taken.problem.get_or_insert_with(|| problem.to_owned());
                Event::SubstituteFailed {
                    item: self.names.item(path),
                    location: location.to_owned(),
                    problem: problem.to_owned(),
                }
            }
            InstallationNews::Reused(path) => Event::Reused {
                item: self.names.item(path),
            },
        })
    }
}

impl Alternative for Substitutes<'_> {
    fn offers(&self, jobs: &[WantedJob<'_>]) -> Result<Vec<Option<Offered>>, BuildError> {
        let offers = self
            .offers_of(jobs)
            .map_err(|error| failure("substitutes", error))?;
        let mut so_far = self.so_far();
        Ok(offers
            .into_iter()
            .map(|offers| {
                let mut offered = Offered::default();
                for offer in offers? {
                    offered.brings.insert(offer.path.clone());
                    if so_far.reported.insert(offer.path.clone()) {
                        let unreported = so_far.unreported.entry(offer.location.clone());
                        unreported.or_default().push(offer);
                    }
                }
                Some(offered)
            })
            .collect())
    }

    fn make(
        &self,
        job: BuildJob<'_>,
        outputs: &BTreeSet<StorePath>,
    ) -> Result<Delivery, BuildError> {
        self.report_offers();
        let is_failure = |error: &ExchangeError| {
            let goes_on = self.taking.fallback == Fallback::Always || !error.is_mistrust();
            error.is_of_server() && goes_on
        };
        match self.install(std::slice::from_ref(outputs)) {
            Ok(installed) if installed.iter().all(Option::is_some) => Ok(Delivery::Delivered),
            Ok(_) => Ok(Delivery::Failed),
            Err(error) if is_failure(&error) => Ok(Delivery::Failed),
            Err(error) => Err(failure(job.label, error)),
        }
    }

    fn pause(&self) {
        let (mut ended, problems) = {
            let mut so_far = self.so_far();
            let mut problems = self.substituter.problems();
            problems.retain(|problem| {
                let (location, problem) = problem;
                so_far
                    .problems
                    .insert(((*location).to_owned(), problem.clone()))
            });
            (std::mem::take(&mut so_far.taken), problems)
        };
        for (location, problem) in problems {
            ended.entry(location.to_owned()).or_default().problem = Some(problem);
        }
        for (location, taken) in ended {
            self.events.emit(Event::SubstitutesEnded {
                location,
                installed: taken.installed,
                nar_size: taken.nar_size,
                problem: taken.problem,
            });
        }
    }
}

/// Whether the derivation lets its outputs be taken from others, as guix-daemon reads it.
fn allows(job: BuildJob<'_>) -> bool {
    let allows = job.derivation.environment.get("allowSubstitutes");
    allows.is_none_or(|allows| *allows == "1")
}

/// The failure of the item called `label`.
fn failure(label: &str, error: ExchangeError) -> BuildError {
    match error {
        ExchangeError::Interrupted => BuildError::Interrupted,
        ExchangeError::Store(error) => BuildError::store(label)(error),
        error => BuildError::Maker {
            label: label.to_owned(),
            wrong_hash: None,
            kind: match error.is_mistrust() {
                true => FailureKind::HashDiffers,
                false => FailureKind::Environment,
            },
            error: Box::new(error),
        },
    }
}

/// What store items are called.
struct ItemNames<'p> {
    store_dir: &'p StoreDir,
    outputs: BTreeMap<&'p StorePath, Name<'p>>,
}

struct Name<'p> {
    label: &'p str,
    output: &'p str,
    derivation: &'p StorePath,
}

impl<'p> ItemNames<'p> {
    fn of(graph: &BuildGraph<'p>, store_dir: &'p StoreDir) -> Self {
        let outputs = graph.jobs().flat_map(|job| {
            let outputs = job.derivation.outputs.iter();
            outputs.filter_map(move |(output, of_it)| {
                let name = Name {
                    label: job.label,
                    output,
                    derivation: job.path,
                };
                Some((of_it.path.as_ref()?, name))
            })
        });
        Self {
            store_dir,
            outputs: outputs.collect(),
        }
    }

    /// The label of the item that has `path` as an output, with the output's name where it is not `out`. A store item
    /// that is not an output, such as a patch, is called as in the store.
    fn item(&self, path: &StorePath) -> String {
        match self.outputs.get(path) {
            Some(name) if name.output == "out" => name.label.to_owned(),
            Some(name) => format!("{}:{}", name.label, name.output),
            None => path.base_name().to_owned(),
        }
    }

    /// The base name of the derivation that makes `path`; empty where none does.
    fn derivation(&self, path: &StorePath) -> String {
        let name = self.outputs.get(path);
        name.map_or_else(String::new, |name| name.derivation.base_name().to_owned())
    }

    fn made(&self, path: &StorePath, nar_size: u64) -> OutputMade {
        let name = self.outputs.get(path);
        OutputMade {
            name: name.map_or("out", |name| name.output).to_owned(),
            path: self.store_dir.display(path),
            nar_size,
        }
    }
}
