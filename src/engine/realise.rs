// SPDX-License-Identifier: GPL-3.0-or-later
//! Realising derivations that are in the store, from whatever client: no recipe, seed or plan is needed.

use super::builtins;
use super::derivations::StoredDerivations;
use super::error::EngineError;
use super::session::Session;
use super::substitutes::{Substitutes, Taking, substituter};
use super::wanted::WantedDerivation;
use crate::builder::error::{BuildFailureCause, FailedBuild};
use crate::builder::graph::WantedOutputs;
use crate::builder::hook::BuildHook;
use crate::builder::rebuild::{Again, Inspect, RebuiltDerivation, rebuild};
use crate::builder::run::{RunRequest, missing, realise, realise_todo};
use crate::builder::scheduler::RunReport;
use crate::builder::settings::Tools;
use crate::builder::variation::Variation;
use crate::events::EventSender;
use crate::events::cancellation::Cancellation;
use crate::formats::store_path::StorePath;
use crate::store::Store;
use crate::verify::rebuild::{Comparer, RebuildOutcome};

/// What to do about outputs that are valid already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RealiseMode {
    /// Nothing.
    #[default]
    Build,
    /// Build each wanted derivation once more and compare. All its outputs must be valid.
    Check {
        /// Whether what differs is kept beside the output.
        keeps: bool,
        /// Whether a derivation with an output that differs has failed.
        fails: bool,
    },
}

/// The result of [`Session::realise`].
#[derive(Debug)]
pub struct Realised {
    /// The run: what was made, and what went wrong.
    pub report: RunReport,
    /// With [`RealiseMode::Check`]: each output that was built again, and how it differs.
    pub outcomes: Vec<RebuildOutcome>,
}

/// A run over derivations of the store.
struct Derivations<'r> {
    store: &'r Store,
    all: &'r StoredDerivations,
    wanted: Vec<WantedOutputs<'r>>,
    /// Whether they are built again to compare.
    checks: bool,
    events: &'r EventSender,
    cancellation: &'r Cancellation,
}

impl Session {
    /// Makes outputs of derivations valid, by substitution or by building, together with what they are built from.
    ///
    /// `store` comes from [`Session::open_store`]. Events of the run are sent to `events`, which must be read meanwhile
    /// or be dropped by the reader. A cancelled run ends soon, with a report that says so.
    ///
    /// # Errors
    /// Where the run could not begin: a derivation is not valid or cannot be read, the store cannot be asked, the
    /// sandbox cannot be set up. A build that fails is in the report.
    pub fn realise(
        &self,
        store: &Store,
        wanted: &[WantedDerivation],
        mode: RealiseMode,
        events: &EventSender,
        cancellation: &Cancellation,
    ) -> Result<Realised, EngineError> {
        let paths = wanted.iter().map(|wanted| &wanted.derivation);
        let derivations = StoredDerivations::load(store, paths, mode == RealiseMode::Build)?;
        let checks = mode != RealiseMode::Build;
        let mut open: Vec<WantedOutputs<'_>> = Vec::new();
        for wanted in wanted {
            let outputs = self.outputs(&derivations, wanted)?;
            let paths = || outputs.iter().filter_map(|(_, path)| *path);
            store.add_temporary_roots(paths())?;
            if checks || store.valid_among(paths())?.len() < outputs.len() {
                open.push(wanted.outputs());
            }
        }
        let run = Derivations {
            store,
            all: &derivations,
            wanted: open,
            checks,
            events,
            cancellation,
        };
        match mode {
            RealiseMode::Build => Ok(Realised {
                report: self.run_derivations(&run, None)?,
                outcomes: Vec::new(),
            }),
            RealiseMode::Check { keeps, fails } => {
                let settings = self.build_settings();
                let variation = Variation::default();
                let comparer = Comparer::new(store, &settings, &variation, keeps);
                let inspect = |rebuilt: &RebuiltDerivation<'_>| {
                    let differing = comparer.inspect(rebuilt)?;
                    match differing.filter(|_| fails) {
                        Some(path) => Err(FailedBuild::without_log(
                            rebuilt.job,
                            BuildFailureCause::CheckDiffers {
                                path: self.directories().store_dir.display(&path),
                            },
                        )),
                        None => Ok(()),
                    }
                };
                let report = self.run_derivations(&run, Some(&inspect))?;
                Ok(Realised {
                    report,
                    outcomes: comparer.into_outcomes(),
                })
            }
        }
    }

    /// Builds the derivation at `path`, whose outputs are valid, once more and has `inspect` look at them. What it is
    /// built from is made valid first.
    ///
    /// # Errors
    /// As for [`realise`](Self::realise).
    pub(super) fn build_again(
        &self,
        store: &Store,
        path: &StorePath,
        inspect: Inspect<'_>,
        events: &EventSender,
        cancellation: &Cancellation,
    ) -> Result<RunReport, EngineError> {
        let run = Derivations {
            store,
            all: &StoredDerivations::load(store, [path], false)?,
            wanted: vec![path.into()],
            checks: false,
            events,
            cancellation,
        };
        self.run_derivations(&run, Some(inspect))
    }

    /// Makes the outputs of the wanted derivations valid; with `inspect`, builds them again once their inputs are.
    fn run_derivations(
        &self,
        run: &Derivations<'_>,
        inspect: Option<Inspect<'_>>,
    ) -> Result<RunReport, EngineError> {
        let Derivations {
            store, all, events, ..
        } = *run;
        // A failure may end the run; others of this session go on.
        let (cancellation, _link) = run.cancellation.child();
        let cancellation = &cancellation;
        let graph = all.graph(&self.directories().store_dir);
        let sandbox = self.sandbox()?;
        let fetching = self.fetching(self.downloader(None), sandbox.as_ref());
        let builtins = builtins::all(&fetching);
        let substituter = substituter(self)?;
        let taking = Taking {
            downloads: true,
            fallback: self.options().build.fallback,
        };
        let substitutes = substituter.as_ref().map(|substituter| {
            Substitutes::new(substituter, store, &graph, events, cancellation, taking)
        });
        let settings = self.build_settings();
        let hook = self.options().build.hook.clone().map(|hook| {
            let build_limits = settings.build_limits;
            let (timeout, silence) = (build_limits.timeout, build_limits.max_silent_time);
            BuildHook::new(hook, &settings.system, timeout, silence)
        });
        let tools = Tools {
            store,
            sandbox: sandbox.as_ref(),
            builtins: &builtins,
            alternative: substitutes.as_ref().map(|substitutes| substitutes as _),
            hook: hook.as_ref(),
        };
        let request = |wanted| RunRequest {
            graph: &graph,
            wanted,
            impure: None,
            // Whatever a valid derivation refers to is valid.
            add_source: &|_, _| Ok(()),
        };
        let Some(inspect) = inspect else {
            let request = request(run.wanted.clone());
            return Ok(realise(&request, tools, &settings, events, cancellation)?);
        };
        // An output that came from a server is here without what it was built from.
        let wanted = || run.wanted.iter().map(|wanted| wanted.path);
        let inputs = all.inputs(wanted());
        let request = request(inputs);
        let todo = missing(&request, store, tools.alternative, cancellation)?;
        if !todo.tasks.is_empty() {
            let tools = tools.clone();
            let report = realise_todo(&request, &todo, tools, &settings, events, cancellation)?;
            if !report.errors.is_empty() || report.summary.interrupted {
                return Ok(report);
            }
        }
        let again = Again {
            graph: &graph,
            wanted: wanted().collect(),
            variation: Variation::default(),
            impure: None,
            // They are in the store with the derivations.
            add_source: &|_, _| Ok(()),
            log_apart: false,
        };
        // A check of a download sees whether it can still be had. A repair takes what it finds.
        let without_cache = self.fetching(self.downloader_without_cache(), sandbox.as_ref());
        let without_cache = builtins::all(&without_cache);
        // As with guix-daemon, it is this machine that builds again.
        let tools = Tools {
            builtins: if run.checks {
                &without_cache
            } else {
                &builtins
            },
            alternative: None,
            hook: None,
            ..tools
        };
        Ok(rebuild(
            &again,
            tools,
            &settings,
            inspect,
            events,
            cancellation,
        )?)
    }
}

#[cfg(test)]
#[path = "realise/tests.rs"]
mod tests;
