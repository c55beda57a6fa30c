// SPDX-License-Identifier: GPL-3.0-or-later
//! Realising derivations that are in the store, from whatever client: no recipe, seed or plan is needed.

use std::collections::BTreeSet;

use super::builtins::{self, download::Download};
use super::derivations::StoredDerivations;
use super::error::EngineError;
use super::session::Session;
use super::substitutes::{Substitutes, substituter};
use crate::builder::rebuild::{Again, Rebuilt, rebuild};
use crate::builder::run::{Request, realise};
use crate::builder::scheduler::Report;
use crate::builder::settings::Tools;
use crate::builder::variation::Variation;
use crate::events::EventSender;
use crate::events::cancellation::Cancellation;
use crate::formats::store_path::StorePath;
use crate::store::Store;
use crate::verify::rebuild::{Comparer, Outcome};

/// A derivation whose outputs a front end wants valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The path of its `.drv` file.
    pub derivation: StorePath,
    /// The names of the outputs; empty is all of them. The builder makes all outputs of a derivation at once, but where
    /// those named are valid already nothing is built.
    pub outputs: BTreeSet<String>,
}

impl Wanted {
    /// All outputs of `derivation`.
    pub fn all(derivation: StorePath) -> Self {
        Self {
            derivation,
            outputs: BTreeSet::new(),
        }
    }
}

/// What to do about outputs that are valid already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nothing.
    #[default]
    Build,
    /// Build each wanted derivation once more and compare. All its outputs must be valid.
    Check,
}

/// The result of [`Session::realise`].
#[derive(Debug)]
pub struct Realised {
    /// The run: what was made, and what went wrong.
    pub report: Report,
    /// With [`Mode::Check`]: each output that was built again, and how it differs.
    pub outcomes: Vec<Outcome>,
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
        wanted: &[Wanted],
        mode: Mode,
        events: &EventSender,
        cancellation: &Cancellation,
    ) -> Result<Realised, EngineError> {
        let paths = wanted.iter().map(|wanted| &wanted.derivation);
        let derivations = StoredDerivations::load(store, paths)?;
        let graph = derivations.graph(&self.directories().store_dir);
        let mut open: Vec<&StorePath> = Vec::new();
        for wanted in wanted {
            if mode == Mode::Check || !self.are_valid(store, &derivations, wanted)? {
                open.push(&wanted.derivation);
            }
        }
        let sandbox = self.sandbox()?;
        let download = Download {
            fetcher: self.downloader(None),
        };
        let builtins = builtins::all(&download);
        let substituter = match mode {
            Mode::Build => substituter(self)?,
            Mode::Check => None,
        };
        let substitutes = substituter
            .as_ref()
            .map(|substituter| Substitutes::new(substituter, store, &graph, events, cancellation));
        let tools = Tools {
            store,
            sandbox: sandbox.as_ref(),
            builtins: &builtins,
            alternative: substitutes.as_ref().map(|substitutes| substitutes as _),
        };
        let settings = self.build_settings();
        match mode {
            Mode::Build => {
                let request = Request {
                    graph: &graph,
                    wanted: open,
                    impure: None,
                    // Whatever a valid derivation refers to is valid.
                    add_source: &|_, _| Ok(()),
                };
                Ok(Realised {
                    report: realise(&request, tools, &settings, events, cancellation)?,
                    outcomes: Vec::new(),
                })
            }
            Mode::Check => {
                let variation = Variation::default();
                let comparer = Comparer::new(store, &settings, &variation);
                let again = Again {
                    graph: &graph,
                    wanted: open,
                    variation: variation.clone(),
                    impure: None,
                };
                let inspect = |rebuilt: &Rebuilt<'_>| comparer.inspect(rebuilt);
                let report = rebuild(&again, tools, &settings, &inspect, events, cancellation)?;
                Ok(Realised {
                    report,
                    outcomes: comparer.into_outcomes(),
                })
            }
        }
    }

    /// Whether the outputs that are `wanted` are valid; with none named, whether all are. What is valid is kept from
    /// the collector.
    fn are_valid(
        &self,
        store: &Store,
        derivations: &StoredDerivations,
        wanted: &Wanted,
    ) -> Result<bool, EngineError> {
        let shown = || self.shown(&wanted.derivation);
        let derivation = derivations
            .get(&wanted.derivation)
            .ok_or_else(|| EngineError::NoDerivation { path: shown() })?;
        let known = &derivation.outputs;
        if let Some(output) = wanted
            .outputs
            .iter()
            .find(|name| !known.contains_key(*name))
        {
            return Err(EngineError::NoOutput {
                derivation: shown(),
                output: output.clone(),
                known: known.keys().cloned().collect::<Vec<_>>().join(", "),
            });
        }
        let asked = known
            .keys()
            .filter(|name| wanted.outputs.is_empty() || wanted.outputs.contains(*name));
        let paths: Option<Vec<&StorePath>> =
            asked.map(|name| derivation.output_path(name)).collect();
        let Some(paths) = paths else {
            return Ok(false);
        };
        store.add_temporary_roots(paths.iter().copied())?;
        Ok(store.valid_among(paths.iter().copied())?.len() == paths.len())
    }
}

#[cfg(test)]
#[path = "realise/tests.rs"]
mod tests;
