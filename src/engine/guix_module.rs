// SPDX-License-Identifier: GPL-3.0-or-later
//! The module with which Guix builds on the inputs: what `exchange::guile` needs of a plan.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::planned::{add_item, graph};
use super::{EngineError, Planned, Session};
use crate::atomic_file;
use crate::builder::run::add_with_inputs;
use crate::diagnostics::FileError;
use crate::exchange::guile::{GuileInput, GuilePackage, module, platform_module};
use crate::formats::count::counted;
use crate::formats::store_path::StorePath;
use crate::formats::visible::visible_path;
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

impl GuixModule {
    /// Writes the module that defines the system, where Guix does not, beside the file `place` of the other. Gives the
    /// file that was written.
    ///
    /// # Errors
    /// Where it cannot be written, or a directory on the way is a link of another user's.
    fn write_platform(&self, place: &Path) -> Result<Option<PathBuf>, FileError> {
        let Some((name, text)) = &self.platform else {
            return Ok(None);
        };
        let mut directory = place.to_owned();
        directory.pop();
        for part in Path::new(name).parent().into_iter().flatten() {
            directory.push(part);
            atomic_file::create_directory(&directory)?;
        }
        let platform = place.with_file_name(name);
        atomic_file::replace(&platform, text.as_bytes())?;
        Ok(Some(platform))
    }
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

    /// Does what `module` needs beside the file `place` that it was written to, of which a device or a pipe has none:
    /// the module that defines the system, and the derivations in the store. Gives what to say about it.
    ///
    /// # Errors
    /// Where the other module cannot be written.
    pub fn place_module(
        &self,
        planned: &Planned,
        module: &GuixModule,
        place: Option<&Path>,
    ) -> Result<Vec<String>, FileError> {
        let mut notes = Vec::new();
        match place {
            Some(place) => notes.extend(module.write_platform(place)?.map(|platform| {
                let platform = visible_path(&platform);
                format!(
                    "wrote {platform}, by which Guix knows {}",
                    self.options().system
                )
            })),
            None if module.platform.is_some() => notes.push(format!(
                "the module by which Guix knows {} was not written, since it has to be beside a file: name one, not a device or a pipe",
                self.options().system
            )),
            None => {}
        }
        match self.add_module_derivations(planned, module) {
            Ok(0) => {}
            Ok(added) => notes.push(format!(
                "added {added} of the {} that the module names to the store, where Guix reads them",
                counted(module.derivations.len(), "derivation")
            )),
            Err(error) => notes.push(format!(
                "not all derivations that the module names are in the store, where Guix reads them, and they were not \
                 added: {error}"
            )),
        }
        Ok(notes)
    }

    /// Makes the derivations that `module` names valid, with all that they are built from but outputs. Gives the number
    /// of those that were not valid; the store is opened for changes only where there are some.
    ///
    /// # Errors
    /// Where the store cannot be read, or not be written.
    fn add_module_derivations(
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
