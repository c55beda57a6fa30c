// SPDX-License-Identifier: GPL-3.0-or-later
//! A run of a plan: what is missing of some targets is made, and roots keep it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::builtins;
use super::error::EngineError;
use super::explain::built_again;
use super::notice::Notice;
use super::planned::{PlanTarget, Planned, add_item, derivations, graph};
use super::session::Session;
use super::substitutes::{Substitutes, Taking, substituter};
use super::watcher::{Watcher, watched};
use crate::builder::error::BuildError;
use crate::builder::rebuild::{Again, Inspect, rebuild};
use crate::builder::run::{RunRequest, interrupted, missing, realise_todo};
use crate::builder::scheduler::RunReport;
use crate::builder::settings::{BuildSettings, Tools};
use crate::builder::variation::Variation;
use crate::events::cancellation::Cancellation;
use crate::events::{EventSender, Kind};
use crate::fetch::Downloader;
use crate::formats::store_path::StorePath;
use crate::road::plan::{self, Plan};
use crate::road::seed::release;
use crate::store::Store;

/// The name of the roots that building everything leaves; building PKG leaves `build/PKG`.
pub const ALL_ROOTS: &str = "all";

/// What is wanted of a plan, as indices of its nodes.
pub type Targets<'t> = &'t dyn Fn(&Plan) -> Result<Vec<usize>, EngineError>;

/// A run that is over, and what it worked with.
pub struct FinishedRun<'s> {
    /// The session that it belongs to.
    pub session: &'s Session,
    /// The store, open for changes.
    pub store: Store,
    /// The plan.
    pub planned: Planned,
    /// The nodes that were wanted.
    pub targets: Vec<usize>,
    /// What was made, and what went wrong.
    pub report: RunReport,
    downloader: Arc<Downloader>,
}

impl<'s> FinishedRun<'s> {
    /// Plans, and makes what is missing of the targets. What could not be made is in the report.
    ///
    /// # Errors
    /// Where the run could not begin.
    pub fn start(
        session: &'s Session,
        targets: Targets<'_>,
        watcher: &dyn Watcher,
    ) -> Result<Self, EngineError> {
        Self::start_extended(session, targets, &|_| Ok(()), watcher)
    }

    /// Like [`start`](Self::start), with a plan that `extend` has added to.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn start_extended(
        session: &'s Session,
        targets: Targets<'_>,
        extend: &dyn Fn(&mut Plan) -> Result<(), EngineError>,
        watcher: &dyn Watcher,
    ) -> Result<Self, EngineError> {
        watched(watcher, |events| {
            Self::begin(session, targets, extend, events, watcher)
        })
    }

    fn begin(
        session: &'s Session,
        targets: Targets<'_>,
        extend: &dyn Fn(&mut Plan) -> Result<(), EngineError>,
        events: &EventSender,
        watcher: &dyn Watcher,
    ) -> Result<Self, EngineError> {
        events.preparing("reading recipes and seed");
        let mut planned = session.plan()?;
        // Not before: until a front end is asked for it, signals end the process at once, also while a seed is packed.
        let cancellation = watcher.cancellation();
        extend(&mut planned.plan)?;
        let wanted = targets(&planned.plan)?;
        events.preparing("opening the store");
        let store = session.open_store(events, cancellation)?;
        let downloader = downloader(session, &planned);
        events.preparing("looking up what is missing");
        let report = make(
            session,
            &planned,
            &wanted,
            &store,
            &downloader,
            events,
            cancellation,
        )?;
        Ok(Self {
            session,
            store,
            targets: wanted,
            planned,
            report,
            downloader,
        })
    }

    /// Whether every target is valid now.
    pub fn is_complete(&self) -> bool {
        first_error(&self.report).is_none() && !self.report.summary.interrupted
    }

    /// This run.
    ///
    /// # Errors
    /// Where something could not be made.
    pub fn succeeded(self) -> Result<Self, EngineError> {
        match self.is_complete() {
            true => Ok(self),
            false => Err(EngineError::Run(Box::new(self.report))),
        }
    }

    /// Makes the nodes `wanted` of the plan again, all of whose inputs are valid, and has `inspect` look at each.
    ///
    /// # Errors
    /// Where the builds could not begin.
    pub fn rebuild(
        &self,
        wanted: &[usize],
        variation: &Variation,
        inspect: Inspect<'_>,
        watcher: &dyn Watcher,
    ) -> Result<RunReport, EngineError> {
        let plan = &self.planned.plan;
        let graph = graph(plan, &self.session.directories().store_dir);
        let again = Again {
            graph: &graph,
            wanted: derivations(plan, wanted),
            variation: variation.clone(),
            impure: self.planned.impurity(),
            add_source: &|store, path| add_item(store, plan, path),
            log_apart: true,
        };
        let sandbox = self.session.sandbox()?;
        let fetching = self
            .session
            .fetching(self.downloader.clone(), sandbox.as_ref());
        let tools = Tools {
            store: &self.store,
            sandbox: sandbox.as_ref(),
            builtins: &builtins::all(&fetching),
            alternative: None,
            hook: None,
        };
        let settings = BuildSettings {
            // One that cannot be built again says nothing of the others.
            keep_going: true,
            ..self.session.build_settings()
        };
        watched(watcher, |events| {
            let cancellation = watcher.cancellation();
            let report = rebuild(&again, tools, &settings, inspect, events, cancellation);
            Ok(report?)
        })
    }

    /// Makes the packages among `nodes` the newest generation of roots called `name`: the targets, and the stages
    /// before them, which a changed recipe would need again. Sources and seeds can go.
    ///
    /// # Errors
    /// Where the roots cannot be made.
    pub fn add_roots(
        &self,
        name: &str,
        nodes: impl IntoIterator<Item = usize>,
    ) -> Result<(), EngineError> {
        let plan = &self.planned.plan;
        let nodes = nodes.into_iter().map(|index| &plan.nodes()[index]);
        let outputs: Vec<(String, &StorePath)> = nodes
            .filter(|node| node.stage.is_some())
            .flat_map(|node| {
                let label = &node.label;
                node.output_paths()
                    .map(move |(output, path)| (format!("{label}/{output}"), path))
            })
            .collect();
        // A stage before may be gone while what was built from it is still valid.
        let valid = self
            .store
            .valid_among(outputs.iter().map(|(_, path)| *path))?;
        let roots: BTreeMap<String, StorePath> = outputs
            .into_iter()
            .filter(|(_, path)| valid.contains(*path))
            .map(|(label, path)| (label, path.clone()))
            .collect();
        self.store.add_generation(name, &roots)?;
        Ok(())
    }

    /// Makes links to the outputs that are meant by `target`, which are roots: `link` to the one that it names. Where
    /// it names none, `link` to `out` and `link-NAME` to others.
    ///
    /// # Errors
    /// Where a link cannot be made.
    pub fn add_links(&self, link: &Path, target: &PlanTarget) -> Result<(), EngineError> {
        let outputs = target.outputs(&self.planned.plan).into_iter();
        let outputs = outputs.map(|(name, path)| match target.output {
            Some(_) => ("out", path),
            None => (name, path),
        });
        add_links(&self.store, link, outputs)
    }
}

/// Makes links to `outputs`, which are roots: `link` to `out`, `link-NAME` to others.
pub(super) fn add_links<'o>(
    store: &Store,
    link: &Path,
    outputs: impl Iterator<Item = (&'o str, &'o StorePath)>,
) -> Result<(), EngineError> {
    for (output, path) in outputs {
        let mut name = link.as_os_str().to_owned();
        if output != "out" {
            name.push("-");
            name.push(output);
        }
        store.add_indirect_root(Path::new(&name), path)?;
    }
    Ok(())
}

/// What fetches the sources and the seed of `planned`.
pub(super) fn downloader(session: &Session, planned: &Planned) -> Arc<Downloader> {
    let distribution = planned.seeds.seed.distribution.as_ref();
    session.downloader(distribution.map(|distribution| distribution.apt_settings()))
}

/// Makes the nodes `wanted` of the plan.
fn make(
    session: &Session,
    planned: &Planned,
    wanted: &[usize],
    store: &Store,
    downloader: &Arc<Downloader>,
    events: &EventSender,
    cancellation: &Cancellation,
) -> Result<RunReport, EngineError> {
    let plan = &planned.plan;
    let add_source = |store: &Store, path: &StorePath| add_item(store, plan, path);
    let graph = graph(plan, &session.directories().store_dir);
    let request = RunRequest {
        graph: &graph,
        wanted: derivations(plan, wanted)
            .into_iter()
            .map(Into::into)
            .collect(),
        impure: planned.impurity(),
        add_source: &add_source,
    };
    let substituter = substituter(session)?;
    let taking = Taking {
        downloads: false,
        fallback: session.options().build.fallback,
    };
    let substitutes = substituter.as_ref().map(|substituter| {
        Substitutes::new(substituter, store, &graph, events, cancellation, taking)
    });
    let alternative = substitutes.as_ref().map(|substitutes| substitutes as _);
    let settings = session.build_settings();
    let todo = match missing(&request, store, alternative, cancellation) {
        Err(BuildError::Interrupted) => return Ok(interrupted(&request, &settings, events)),
        todo => todo?,
    };
    let nodes = plan.nodes();
    if wanted
        .iter()
        .any(|index| nodes[*index].kind != plan::NodeKind::Download)
    {
        release::check_host(&planned.seeds.seed)?;
    }
    let builds = todo.tasks.iter().filter(|task| task.kind() == Kind::Build);
    let builds: Vec<String> = builds.map(|task| task.job.label.to_owned()).collect();
    if !builds.is_empty() {
        session.notify(Notice::BuiltAgain(built_again(session, planned, &builds)));
    }
    events.preparing("writing derivations and checking the sandbox");
    let sandbox = session.sandbox()?;
    let fetching = session.fetching(downloader.clone(), sandbox.as_ref());
    let tools = Tools {
        store,
        sandbox: sandbox.as_ref(),
        builtins: &builtins::all(&fetching),
        alternative,
        hook: None,
    };
    Ok(realise_todo(
        &request,
        &todo,
        tools,
        &settings,
        events,
        cancellation,
    )?)
}

/// The first thing that went wrong in a run, other than that it was interrupted.
pub fn first_error(report: &RunReport) -> Option<&BuildError> {
    let mut errors = report.errors.iter();
    errors.find(|error| !matches!(error, BuildError::Interrupted))
}
