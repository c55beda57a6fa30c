// SPDX-License-Identifier: GPL-3.0-or-later
//! A run of derivations that are in the store, for a front end that follows it and leaves roots.

use std::collections::BTreeMap;
use std::path::Path;

use super::derivations::StoredDerivations;
use super::error::EngineError;
use super::realise::{RealiseMode, Realised};
use super::run::add_links;
use super::session::Session;
use super::wanted::WantedDerivation;
use super::watcher::{Watcher, watched};
use crate::formats::store_path::StorePath;
use crate::store::Store;

/// A run that realised derivations of the store. It is over.
#[derive(Debug)]
pub struct StoredRun {
    /// The store, open for changes.
    pub store: Store,
    /// The outputs that were wanted.
    pub outputs: Vec<WantedOutput>,
    /// What was made, and what went wrong.
    pub realised: Realised,
}

/// An output of a derivation of the store.
#[derive(Debug, Clone)]
pub struct WantedOutput {
    /// The derivation.
    pub derivation: StorePath,
    /// The name of the output.
    pub name: String,
    /// Where it is.
    pub path: StorePath,
}

impl StoredRun {
    /// Makes the outputs of `wanted` valid, or builds them again. What could not be made is in the report.
    ///
    /// # Errors
    /// As for [`Session::realise`].
    pub fn start(
        session: &Session,
        wanted: &[WantedDerivation],
        mode: RealiseMode,
        watcher: &dyn Watcher,
    ) -> Result<Self, EngineError> {
        let cancellation = watcher.cancellation();
        watched(watcher, |events| {
            events.preparing("opening the store");
            let store = session.open_store(events, cancellation)?;
            events.preparing("reading derivations and looking up what is missing");
            let derivations = wanted.iter().map(|wanted| &wanted.derivation);
            let loaded = StoredDerivations::load_alone(&store, derivations)?;
            let mut outputs = Vec::new();
            for wanted in wanted {
                for (name, path) in session.outputs(&loaded, wanted)? {
                    let Some(path) = path else { continue };
                    outputs.push(WantedOutput {
                        derivation: wanted.derivation.clone(),
                        name: name.to_owned(),
                        path: path.clone(),
                    });
                }
            }
            let realised = session.realise(&store, wanted, mode, events, cancellation)?;
            Ok(Self {
                store,
                outputs,
                realised,
            })
        })
    }

    /// Makes the outputs of each derivation the newest generation of roots called `build/NAME.drv`.
    ///
    /// # Errors
    /// Where the roots cannot be made.
    pub fn add_roots(&self) -> Result<(), EngineError> {
        let mut generations: BTreeMap<&StorePath, BTreeMap<String, StorePath>> = BTreeMap::new();
        for output in &self.outputs {
            let label = format!("{}/{}", output.derivation.name(), output.name);
            let roots = generations.entry(&output.derivation).or_default();
            roots.insert(label, output.path.clone());
        }
        for (derivation, roots) in generations {
            let name = format!("build/{}", derivation.name());
            self.store.add_generation(&name, &roots)?;
        }
        Ok(())
    }

    /// Makes links to the outputs, which are roots: `link` to `out`, `link-NAME` to others.
    ///
    /// # Errors
    /// Where a link cannot be made.
    pub fn add_links(&self, link: &Path) -> Result<(), EngineError> {
        let outputs = self.outputs.iter();
        let outputs = outputs.map(|output| (output.name.as_str(), &output.path));
        add_links(&self.store, link, outputs)
    }
}
