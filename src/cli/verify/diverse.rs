//! `verify --fixpoint` and `verify --diverse`: other tools, other seeds, the same outputs.
//!
//! Both build the same packages in two ways, which go to different store paths, and compare what came out once the store
//! hashes are placeholders: a difference that is left is a trace of the tools.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::pairs::{self, Made, Ways};
use crate::cli::arguments::Global;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::run::{self, Run};
use crate::formats::keys::SecretKey;
use crate::road::plan::fixpoint::PREFIX;
use crate::road::plan::{Node, Plan};
use crate::road::recipe::Stage;
use crate::verify::rewrite::Rewriting;

/// `bootstrap verify --fixpoint [PKG…]`.
pub fn fixpoint(
    context: &Context,
    packages: &[String],
    key: Option<&SecretKey>,
) -> Result<(), Failure> {
    let wanted = |plan: &Plan| -> Result<Vec<usize>, Failure> {
        let nodes = plan.nodes();
        let is_final = |index: &usize| nodes[*index].stage == Some(Stage::Final);
        let named = match packages {
            [] => return Ok((0..nodes.len()).filter(is_final).collect()),
            packages => run::named(plan, packages)?,
        };
        match named.iter().find(|index| !is_final(index)) {
            Some(other) => Err(Failure::Usage(format!(
                "{} is no final package: only those are built with the final tools again",
                nodes[*other].label
            ))),
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
    let run = Run::start_extended(context, &targets, &|plan| {
        plan.add_fixpoint(&context.directories.store_dir)?;
        Ok(())
    })?;
    run.succeeded()?;
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
            // The first build was a tool of the second, which has no business to name it.
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
    pairs::report(context, &[&run], &ways, found, key)
}

/// `bootstrap verify --diverse SEED_A SEED_B [PKG…]`.
pub fn diverse(
    context: &Context,
    seeds: [&str; 2],
    packages: &[String],
    key: Option<&SecretKey>,
) -> Result<(), Failure> {
    if seeds[0] == seeds[1] {
        return Err(Failure::Usage(format!(
            "--diverse compares two seeds, and {} is one; `bootstrap seed list` shows all",
            seeds[0]
        )));
    }
    let targets = |plan: &Plan| match packages {
        [] => Ok(plan.everything()?),
        packages => run::named(plan, packages),
    };
    let contexts = [with_seed(context, seeds[0])?, with_seed(context, seeds[1])?];
    let mut digests = Vec::new();
    for context in &contexts {
        digests.push(context.plan()?.seeds.seed.digest());
    }
    if digests[0] == digests[1] {
        return Err(Failure::Usage(format!(
            "--diverse compares two seeds, and {} and {} are two names of the one with the SHA-256 {}",
            seeds[0], seeds[1], digests[0]
        )));
    }
    // Two runs, each with its own plan; what the first has made keeps the second from making sources again.
    let first = Run::start(&contexts[0], &targets)?;
    first.succeeded()?;
    let second = Run::start(&contexts[1], &targets)?;
    second.succeeded()?;
    let mut found = [Vec::new(), Vec::new()];
    for ((run, seed), found) in [&first, &second].into_iter().zip(seeds).zip(&mut found) {
        let plan = &run.planned.plan;
        let [of_stage0, of_others] = [true, false].map(|stage0| Rc::new(rewriting(plan, stage0)));
        for index in targets(plan)? {
            let node = &plan.nodes()[index];
            let rewriting = match node.stage {
                Some(Stage::Stage0) => &of_stage0,
                _ => &of_others,
            };
            found.extend(made(node, &node.label, rewriting));
        }
        run.add_roots(
            &format!("diverse/{seed}"),
            plan,
            plan.closure(targets(plan)?),
        )?;
    }
    let ways = Ways {
        check: "diverse",
        first: format!("from the seed {}", seeds[0]),
        second: format!("from the seed {}", seeds[1]),
    };
    pairs::report(context, &[&first, &second], &ways, found, key)
}

/// What stands for what in the outputs of stage0, or in those of what comes after it.
///
/// A seed's path has no placeholder, and after stage0 neither has one of stage0: no output may hold such a path, and where
/// it is hidden from the search for references, in a compressed file for instance, it is a trace that has to differ.
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
fn made(node: &Node, label: &str, rewriting: &Rc<Rewriting>) -> Vec<Made> {
    let outputs = node.output_paths();
    outputs
        .map(|(output, path)| Made {
            label: label.to_owned(),
            output: output.to_owned(),
            path: path.clone(),
            rewriting: Rc::clone(rewriting),
        })
        .collect()
}

/// The same circumstances with another seed.
fn with_seed(context: &Context, seed: &str) -> Result<Context, Failure> {
    Context::new(Global {
        seed: Some(seed.to_owned()),
        ..context.options.clone()
    })
}
