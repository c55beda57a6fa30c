//! What a run would download, build and reuse, without doing any of it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::error::EngineError;
use super::planned::{Planned, derivations, graph};
use super::run::downloader;
use super::session::Session;
use super::substitutes;
use crate::builder::graph::Task;
use crate::builder::history::History;
use crate::builder::scheduler;
use crate::events::{Event, Kind};

/// What making some targets would mean.
#[derive(Debug)]
pub struct Forecast {
    /// What servers would be asked for instead of building it.
    pub substitutes: Vec<OfferedItem>,
    /// What would be downloaded, or taken from the cache.
    pub downloads: Vec<Download>,
    /// What would be built.
    pub builds: Vec<Build>,
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
pub struct Download {
    /// The label of the item.
    pub item: String,
    /// Its size in bytes, where that is known.
    pub size: Option<u64>,
    /// Whether it is in the cache: nothing would cross the network.
    pub cached: bool,
}

/// An item that would be built.
#[derive(Debug)]
pub struct Build {
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
    /// What making the nodes `wanted` of the plan would mean.
    ///
    /// # Errors
    /// Where the store or a server cannot be asked.
    pub fn forecast(&self, planned: &Planned, wanted: &[usize]) -> Result<Forecast, EngineError> {
        let plan = &planned.plan;
        let store = self.store_to_read()?;
        let downloader = downloader(self, planned);
        let graph = graph(plan, &self.directories().store_dir);
        let durations = History::new(&self.directories().state).durations();
        let estimate = |label: &str| durations.get(label).copied();
        let mut todo = graph.missing_now(derivations(plan, wanted), &store, estimate)?;
        let offered = substitutes::forecast(self, plan, wanted, &todo, &store)?;
        if !offered.is_empty() {
            let there = offered.iter().flat_map(|offered| offered.outputs.clone());
            let wanted = derivations(plan, wanted);
            todo = graph.missing_with_items(wanted, &store, &there.collect(), estimate)?;
        }
        let (downloads, builds): (Vec<&Task<'_>>, Vec<&Task<'_>>) = todo
            .tasks
            .iter()
            .partition(|task| task.job.kind == Kind::Download);
        let missing: BTreeSet<&str> = todo.tasks.iter().map(|task| task.job.label).collect();
        let closure = plan.closure(wanted.iter().copied());
        let packages = closure.iter().map(|index| &plan.nodes()[*index]);
        let packages: Vec<_> = packages
            .filter(|node| node.stage.is_some() && !missing.contains(node.label.as_str()))
            .collect();
        let outputs = packages.iter().flat_map(|node| node.output_paths());
        let valid = store.valid_among(outputs.map(|(_, path)| path))?;
        let reused = packages
            .iter()
            .filter(|node| node.output_paths().all(|(_, path)| valid.contains(path)));
        let settings = self.build_settings();
        Ok(Forecast {
            substitutes: offered
                .into_iter()
                .map(|offered| OfferedItem {
                    item: offered.item.to_owned(),
                    from: offered.url,
                    store_items: offered.paths,
                    download_size: offered.download_size,
                    size: offered.nar_size,
                })
                .collect(),
            downloads: downloads
                .iter()
                .map(|task| {
                    let fixed = task.job.derivation.fixed_output();
                    let sha256 = fixed.and_then(|fixed| fixed.hash.sha256());
                    Download {
                        item: task.job.label.to_owned(),
                        size: task.job.size,
                        cached: sha256.is_some_and(|sha256| downloader.cache().holds(sha256)),
                    }
                })
                .collect(),
            builds: builds
                .iter()
                .map(|task| Build {
                    item: task.job.label.to_owned(),
                    kind: task.job.kind,
                    took: estimate(task.job.label),
                    typical: task.job.typical,
                })
                .collect(),
            reused: reused.map(|node| node.label.clone()).collect(),
            planned: scheduler::planned(&todo, settings.parallelism(), settings.cores),
            impure: planned.impurity(),
        })
    }
}
