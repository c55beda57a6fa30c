// SPDX-License-Identifier: GPL-3.0-or-later
//! The module with which Guix builds on the inputs: what `exchange::guile` needs of a plan.

use std::collections::BTreeSet;

use super::planned::{add_item, graph};
use super::{EngineError, Planned, Session};
use crate::builder::run::add_with_inputs;
use crate::exchange::guile::{GuileInput, GuilePackage, module, platform_module};
use crate::formats::store_path::StorePath;
use crate::road::plan::road;
use crate::road::recipe::Address;
use crate::store::Store;

/// A module for Guix.
#[derive(Debug)]
pub struct GuixModule {
    /// Its text, in Scheme.
    pub text: String,
    /// The module that defines the system, where Guix does not: its file, seen from that of the other, and its text.
    pub platform: Option<(&'static str, String)>,
    /// The derivations that it names; Guix reads them in the store.
    pub derivations: BTreeSet<StorePath>,
}

impl Session {
    /// The module `(NAME)`, with the implicit inputs of `planned`, and Guile where there is a recipe of it.
    ///
    /// # Errors
    /// An implicit input that the plan does not have.
    pub fn guix_module(&self, planned: &Planned, name: &str) -> Result<GuixModule, EngineError> {
        let inputs = road::final_inputs();
        let mut packages: Vec<GuilePackage> = Vec::new();
        let mut derivations = BTreeSet::new();
        let addresses = inputs.iter().map(|input| input.address.clone());
        // What runs Guix's builders; recipes of one's own may lack it.
        let guile = Address::after_stage0("guile");
        let has_guile = planned.plan.find(&guile.to_string()).is_ok();
        for address in addresses.chain(has_guile.then_some(guile)) {
            if packages.iter().any(|package| package.name == address.name) {
                continue;
            }
            let node = &planned.plan.nodes()[planned.plan.find(&address.to_string())?];
            let recipe = node.recipe.as_deref();
            let recipe = recipe.and_then(|name| planned.recipes.get(name));
            derivations.insert(node.derivation_path.clone());
            packages.push(GuilePackage {
                name: address.name,
                version: recipe.map_or_else(String::new, |recipe| recipe.version.clone()),
                synopsis: recipe.map_or_else(String::new, |recipe| recipe.synopsis.clone()),
                home_page: recipe.map_or_else(String::new, |recipe| recipe.home_page.clone()),
                license: recipe.map_or_else(String::new, |recipe| recipe.license.clone()),
                outputs: node.outputs.clone(),
                derivation: self.directories().store_dir.display(&node.derivation_path),
            });
        }
        let inputs = inputs.into_iter().map(|input| GuileInput {
            label: input.to_string(),
            package: input.address.name,
            output: input.output,
        });
        let name = format!("({name})");
        let text = module(
            &name,
            self.options().system,
            &packages,
            &inputs.collect::<Vec<_>>(),
        );
        Ok(GuixModule {
            text,
            platform: platform_module(&name, self.options().system),
            derivations,
        })
    }

    /// Makes the derivations that `module` names valid, with all that they are built from but outputs. Gives the number
    /// of those that were not valid; the store is opened for changes only where there are some.
    ///
    /// # Errors
    /// Where the store cannot be read, or not be written.
    pub fn add_module_derivations(
        &self,
        planned: &Planned,
        module: &GuixModule,
    ) -> Result<usize, EngineError> {
        let store = self.store_to_read()?;
        let valid = store.valid_among(&module.derivations)?;
        let missing = module.derivations.len() - valid.len();
        if missing > 0 {
            let plan = &planned.plan;
            let add_source = |store: &Store, path: &StorePath| add_item(store, plan, path);
            let graph = graph(plan, &self.directories().store_dir);
            let nodes = plan.nodes().iter().map(|node| &node.derivation_path);
            let wanted = nodes.filter(|path| module.derivations.contains(path));
            add_with_inputs(&graph, &add_source, wanted, &self.store_to_write()?)?;
        }
        Ok(missing)
    }
}
