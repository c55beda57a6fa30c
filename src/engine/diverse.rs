// SPDX-License-Identifier: GPL-3.0-or-later
//! Packages built in two ways: with stage0's and with the final tools, or from two seeds.
//!
//! The outputs go to different store paths. They are compared with placeholders for store hashes: a difference that is
//! left is a trace of the tools.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::error::EngineError;
use super::options::SessionOptions;
use super::pairs::{PairOutput, PairReport, Ways, compare_pairs};
use super::planned::nodes;
use super::run::FinishedRun;
use super::session::Session;
use super::watcher::Watcher;
use crate::road::plan::fixpoint::PREFIX;
use crate::road::plan::{Node, Plan};
use crate::road::recipe::Stage;
use crate::verify::rewrite::Rewriting;

impl Session {
    /// Builds final packages with the final tools instead of stage0's, all of them or those called `packages`, and
    /// compares.
    ///
    /// # Errors
    /// Where one of `packages` is not a final package, or a build fails.
    pub fn fixpoint(
        &self,
        packages: &[String],
        watcher: &dyn Watcher,
    ) -> Result<PairReport, EngineError> {
        let wanted = |plan: &Plan| -> Result<Vec<usize>, EngineError> {
            let all = plan.nodes();
            let is_final = |index: &usize| all[*index].stage == Some(Stage::Final);
            let named = match packages {
                [] => return Ok((0..all.len()).filter(is_final).collect()),
                packages => nodes(plan, packages)?,
            };
            match named.iter().find(|index| !is_final(index)) {
                Some(other) => Err(EngineError::NotFinal(all[*other].label.clone())),
                None => Ok(named),
            }
        };
        let again = |plan: &Plan, index: usize| {
            let label = format!("{PREFIX}{}", plan.nodes()[index].label);
            plan.find(&label).ok()
        };
        let targets = |plan: &Plan| {
            let wanted = wanted(plan)?.into_iter();
            Ok(wanted
                .flat_map(|index| std::iter::once(index).chain(again(plan, index)))
                .collect())
        };
        let extend = |plan: &mut Plan| {
            plan.add_fixpoint(&self.directories().store_dir)?;
            Ok(())
        };
        let run = FinishedRun::start_extended(self, &targets, &extend, watcher)?.succeeded()?;
        let plan = &run.planned.plan;
        let mut roots = BTreeMap::new();
        let mut found = [Vec::new(), Vec::new()];
        for index in wanted(plan)? {
            let node = &plan.nodes()[index];
            // Only its own paths are others the second time: both builds refer to the same final packages.
            let mut first = Rewriting::none();
            for (output, path) in node.output_paths() {
                first.add(path, &format!("{}:{output}", node.label));
            }
            found[0].extend(made(node, &node.label, &Rc::new(first)));
            let Some(again) = again(plan, index) else {
                continue;
            };
            let again = &plan.nodes()[again];
            let mut second = Rewriting::none();
            for (output, path) in again.output_paths() {
                second.add(path, &format!("{}:{output}", node.label));
                roots.insert(format!("{}/{output}", node.label), path.clone());
            }
            for (output, path) in node.output_paths() {
                // The first build was a tool of the second, whose outputs must not name it.
                second.add(path, &format!("first {}:{output}", node.label));
            }
            found[1].extend(made(again, &node.label, &Rc::new(second)));
        }
        run.store.add_generation("fixpoint", &roots)?;
        let ways = Ways {
            check: "fixpoint",
            first: "built with stage0's tools".to_owned(),
            second: "built with the final tools".to_owned(),
        };
        compare_pairs(self, &[&run], ways, found, watcher.cancellation())
    }

    /// Builds `packages`, or everything, from two seeds, and compares.
    ///
    /// # Errors
    /// Where both names stand for one seed, or a build fails.
    pub fn diverse(
        &self,
        seeds: [&str; 2],
        packages: &[String],
        watcher: &dyn Watcher,
    ) -> Result<PairReport, EngineError> {
        if seeds[0] == seeds[1] {
            return Err(EngineError::SameSeed(seeds[0].to_owned()));
        }
        let targets = |plan: &Plan| match packages {
            [] => Ok(plan.everything()?),
            packages => nodes(plan, packages),
        };
        let sessions = seeds.map(|seed| self.with_seed(seed));
        let mut digests = Vec::new();
        for session in &sessions {
            digests.push(session.plan()?.seeds.seed.digest());
        }
        if digests[0] == digests[1] {
            return Err(EngineError::SeedAlias {
                seeds: seeds.map(ToOwned::to_owned),
                sha256: digests[0],
            });
        }
        // Two runs, each with its own plan; what the first has made keeps the second from making sources again.
        let first = FinishedRun::start(&sessions[0], &targets, watcher)?.succeeded()?;
        let second = FinishedRun::start(&sessions[1], &targets, watcher)?.succeeded()?;
        let mut found = [Vec::new(), Vec::new()];
        for ((run, seed), found) in [&first, &second].into_iter().zip(seeds).zip(&mut found) {
            let plan = &run.planned.plan;
            let [of_stage0, of_others] =
                [true, false].map(|stage0| Rc::new(rewriting(plan, stage0)));
            for index in targets(plan)? {
                let node = &plan.nodes()[index];
                let rewriting = match node.stage {
                    Some(Stage::Stage0) => &of_stage0,
                    _ => &of_others,
                };
                found.extend(made(node, &node.label, rewriting));
            }
            run.add_roots(&format!("diverse/{seed}"), plan.closure(targets(plan)?))?;
        }
        let ways = Ways {
            check: "diverse",
            first: format!("from the seed {}", seeds[0]),
            second: format!("from the seed {}", seeds[1]),
        };
        compare_pairs(
            self,
            &[&first, &second],
            ways,
            found,
            watcher.cancellation(),
        )
    }

    /// The same session with another seed.
    fn with_seed(&self, seed: &str) -> Session {
        let mut options: SessionOptions = self.options().clone();
        options.seed.name = Some(seed.to_owned());
        self.with_options(options)
    }
}

/// The placeholders for paths in the outputs of stage0, or in those of later stages.
///
/// A seed's path has no placeholder, and after stage0 neither has one of stage0: no output may hold such a path, and
/// where it is hidden from the search for references, in a compressed file for instance, it is a trace that has to
/// differ.
fn rewriting(plan: &Plan, stage0: bool) -> Rewriting {
    let mut rewriting = Rewriting::none();
    for node in plan.nodes() {
        let is_of_stage0 = node.stage == Some(Stage::Stage0);
        if node.label.starts_with("seed/") || (is_of_stage0 && !stage0) {
            continue;
        }
        for (output, path) in node.output_paths() {
            rewriting.add(path, &format!("{}:{output}", node.label));
        }
    }
    rewriting
}

/// The outputs of `node`, to be compared under the name `label`.
fn made(node: &Node, label: &str, rewriting: &Rc<Rewriting>) -> Vec<PairOutput> {
    let outputs = node.output_paths();
    outputs
        .map(|(output, path)| PairOutput {
            label: label.to_owned(),
            output: output.to_owned(),
            path: path.clone(),
            rewriting: Rc::clone(rewriting),
        })
        .collect()
}
