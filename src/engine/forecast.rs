// SPDX-License-Identifier: GPL-3.0-or-later
//! What a run would download, build and reuse, without doing any of it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::derivations::StoredDerivations;
use super::error::EngineError;
use super::notice::Notice;
use super::planned::{Planned, derivations, graph};
use super::run::downloader;
use super::session::Session;
use super::substitutes::{Substitutes, Taking, substituter};
use super::wanted::WantedDerivation;
use crate::builder::alternative::Alternative;
use crate::builder::graph::{BuildGraph, BuildTask, Todo, WantedJob, WantedOutputs, Way};
use crate::builder::scheduler;
use crate::events::cancellation::Cancellation;
use crate::events::{Event, EventSender, Kind};
use crate::formats::store_path::StorePath;

/// What making some targets would mean.
#[derive(Debug)]
pub struct Forecast {
    /// What servers would be asked for instead of building it.
    pub substitutes: Vec<OfferedItem>,
    /// What would be downloaded, or taken from the cache.
    pub downloads: Vec<PlannedDownload>,
    /// What would be built.
    pub builds: Vec<PlannedBuild>,
    /// Labels of packages that are valid already.
    pub reused: Vec<String>,
    /// The plan of the run, as its event would tell; what estimates are made from.
    pub planned: Event,
    /// Why others cannot make the same; `None` where they can.
    pub impure: Option<String>,
}

/// What a server would give for an item.
#[derive(Debug)]
pub struct OfferedItem {
    /// The label of the item.
    pub item: String,
    /// The server's URL.
    pub from: String,
    /// The number of store items, with what the item refers to.
    pub store_items: usize,
    /// What would be downloaded, in bytes; `None` where the server does not say.
    pub download_size: Option<u64>,
    /// What it takes in the store, in bytes.
    pub size: u64,
}

/// A file that would be fetched.
#[derive(Debug)]
pub struct PlannedDownload {
    /// The label of the item.
    pub item: String,
    /// Its size in bytes, where that is known.
    pub size: Option<u64>,
    /// Whether it is in the cache: nothing would cross the network.
    pub cached: bool,
}

/// An item that would be built.
#[derive(Debug)]
pub struct PlannedBuild {
    /// The label of the item.
    pub item: String,
    /// How it is made.
    pub kind: Kind,
    /// What it took when it was last made here.
    pub took: Option<Duration>,
    /// What it takes by its recipe on two cores.
    pub typical: Option<Duration>,
}

impl Session {
    /// What making the nodes `wanted` of a plan and the `derivations` of the store would mean.
    ///
    /// # Errors
    /// Where the store or a server cannot be asked, or a derivation is not valid.
    pub fn forecast(
        &self,
        planned: Option<(&Planned, &[usize])>,
        derivations: &[WantedDerivation],
    ) -> Result<Forecast, EngineError> {
        let store = self.store_to_read()?;
        let paths = derivations.iter().map(|wanted| &wanted.derivation);
        let stored = StoredDerivations::load(&store, paths, true)?;
        let downloader = match planned {
            Some((planned, _)) => downloader(self, planned),
            None => self.downloader(None),
        };
        let store_dir = &self.directories().store_dir;
        let of_plan = planned.map(|(planned, _)| graph(&planned.plan, store_dir));
        let of_store = stored.graph(store_dir);
        let of_plan = of_plan.iter().flat_map(BuildGraph::jobs);
        let graph: BuildGraph<'_> = of_plan.chain(of_store.jobs()).collect();
        let durations = self.history().durations();
        let estimate = |label: &str| durations.get(label).copied();
        let mut reused = Vec::new();
        let mut wanted_paths = Vec::new();
        if let Some((planned, nodes)) = planned {
            let all = self::derivations(&planned.plan, nodes);
            wanted_paths.extend(all.into_iter().map(WantedOutputs::from));
        }
        for wanted in derivations {
            let outputs = self.outputs(&stored, wanted)?;
            let paths = || outputs.iter().filter_map(|(_, path)| *path);
            match store.valid_among(paths())?.len() == outputs.len() {
                true => reused.push(wanted.derivation.base_name().to_owned()),
                false => wanted_paths.push(wanted.outputs()),
            }
        }
        let substituter = substituter(self)?;
        let (events, cancellation) = (EventSender::ignored(), Cancellation::new());
        let substitutes = substituter.as_ref().map(|substituter| {
            let taking = Taking::default();
            Substitutes::new(substituter, &store, &graph, &events, &cancellation, taking)
        });
        let todo = match &substitutes {
            Some(substitutes) => {
                let offers = |jobs: &[WantedJob<'_>]| substitutes.offers(jobs);
                graph.missing_or_offered_now(wanted_paths, &store, offers, estimate)?
            }
            None => graph.missing_now(wanted_paths, &store, estimate)?,
        };
        let offered = match &substitutes {
            Some(substitutes) => offered(substitutes, &todo)?,
            None => Vec::new(),
        };
        if let Some(substituter) = &substituter {
            let left = substituter.left();
            for (url, problem) in substituter.problems() {
                self.notify(Notice::ServerProblem {
                    problem: format!("{url}: {problem}"),
                    is_left: left.iter().any(|(left, _)| *left == url),
                });
            }
        }
        let (downloads, builds): (Vec<&BuildTask<'_>>, Vec<&BuildTask<'_>>) = todo
            .tasks
            .iter()
            .filter(|task| task.way == Way::Builder)
            .partition(|task| task.job.kind == Kind::Download);
        let missing: BTreeSet<&str> = todo.tasks.iter().map(|task| task.job.label).collect();
        let nodes = planned.iter().flat_map(|(planned, wanted)| {
            let plan = &planned.plan;
            let closure = plan.closure(wanted.iter().copied()).into_iter();
            closure.map(|index| &plan.nodes()[index])
        });
        let packages: Vec<_> = nodes
            .filter(|node| node.stage.is_some() && !missing.contains(node.label.as_str()))
            .collect();
        let outputs = packages.iter().flat_map(|node| node.output_paths());
        let valid = store.valid_among(outputs.map(|(_, path)| path))?;
        let built = packages
            .iter()
            .filter(|node| node.output_paths().all(|(_, path)| valid.contains(path)));
        reused.extend(built.map(|node| node.label.clone()));
        let settings = self.build_settings();
        Ok(Forecast {
            substitutes: offered,
            downloads: downloads
                .iter()
                .map(|task| {
                    let fixed = task.job.derivation.fixed_output();
                    let sha256 = fixed.and_then(|fixed| fixed.hash.sha256());
                    PlannedDownload {
                        item: task.job.label.to_owned(),
                        size: task.job.size,
                        cached: sha256.is_some_and(|sha256| downloader.cache().holds(sha256)),
                    }
                })
                .collect(),
            builds: builds
                .iter()
                .map(|task| PlannedBuild {
                    item: task.job.label.to_owned(),
                    kind: task.job.kind,
                    took: estimate(task.job.label),
                    typical: task.job.typical,
                })
                .collect(),
            reused,
            planned: scheduler::planned(&todo, settings.parallelism(), settings.cores),
            impure: planned.and_then(|(planned, _)| planned.impurity()),
        })
    }
}

/// What the servers would give for the tasks of `todo` that are theirs. What several items refer to counts with the
/// first.
fn offered(
    substitutes: &Substitutes<'_>,
    todo: &Todo<'_>,
) -> Result<Vec<OfferedItem>, EngineError> {
    let tasks = todo.tasks.iter().filter(|task| task.way != Way::Builder);
    let jobs: Vec<WantedJob<'_>> = tasks
        .map(|task| WantedJob {
            job: task.job,
            outputs: task.outputs.clone(),
        })
        .collect();
    let mut there: BTreeSet<StorePath> = BTreeSet::new();
    let mut items = Vec::new();
    for (job, offers) in jobs.iter().zip(substitutes.offers_of(&jobs)?) {
        let mut offers = offers.unwrap_or_default();
        let Some(from) = offers.last().map(|offer| offer.location.clone()) else {
            continue;
        };
        offers.retain(|offer| there.insert(offer.path.clone()));
        items.push(OfferedItem {
            item: job.job.label.to_owned(),
            from,
            store_items: offers.len(),
            download_size: offers.iter().map(|offer| offer.download_size).sum(),
            size: offers.iter().map(|offer| offer.nar_size).sum(),
        });
    }
    Ok(items)
}
