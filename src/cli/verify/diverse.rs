//! `verify --fixpoint` and `verify --diverse`: other tools, other seeds, the same outputs.
//!
//! Both build the same packages in two ways, which go to different store paths, and compare what came out once the store
//! hashes are placeholders: a difference that is left is a trace of the tools.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::document;
use crate::cli::arguments::Global;
use crate::cli::context::{Context, print};
use crate::cli::failure::{Failure, Status};
use crate::cli::run::{self, Run};
use crate::keys::SecretKey;
use crate::plan::Plan;
use crate::recipe::Stage;
use crate::store::path::StorePath;
use crate::store::{PathInfo, Store};
use crate::verify::attestation::{AttestedOutput, SecondOutput, Seen};
use crate::verify::cause::Circumstances;
use crate::verify::compare::{self, FileDifference, Side};
use crate::verify::rewrite::Rewriting;

/// Two outputs that should be the same.
struct Pair {
    label: String,
    output: String,
    first: PathInfo,
    second: PathInfo,
    rewritings: Rc<[Rewriting; 2]>,
}

/// How the two ways are told apart.
struct Ways<'w> {
    check: &'w str,
    first: String,
    second: String,
}

/// `bootstrap verify --fixpoint [PKG…]`.
pub fn fixpoint(
    context: &Context,
    packages: &[String],
    key: Option<&SecretKey>,
) -> Result<(), Failure> {
    let pairs = |plan: &Plan| -> Result<Vec<(usize, usize)>, Failure> {
        let wanted = match packages {
            [] => (0..plan.nodes().len()).collect(),
            packages => run::named(plan, packages)?,
        };
        let nodes = plan.nodes();
        if let Some(other) = wanted
            .iter()
            .find(|index| !packages.is_empty() && nodes[**index].stage != Some(Stage::Final))
        {
            return Err(Failure::Usage(format!(
                "{} is no final package: only those are built with the final tools again",
                nodes[*other].label
            )));
        }
        let pairs = wanted.into_iter().filter_map(|index| {
            let label = format!("{}{}", crate::plan::fixpoint::PREFIX, nodes[index].label);
            Some((index, nodes.iter().position(|node| node.label == label)?))
        });
        Ok(pairs.collect())
    };
    let targets = |plan: &Plan| {
        let pairs = pairs(plan)?.into_iter();
        Ok(pairs.flat_map(|(first, second)| [first, second]).collect())
    };
    let run = Run::start_extended(context, &targets, &|plan| {
        plan.add_fixpoint(&context.directories.store_dir)?;
        Ok(())
    })?;
    run.succeeded()?;
    let nodes = run.planned.plan.nodes();
    let mut found = Vec::new();
    let mut roots = BTreeMap::new();
    for (index, again) in pairs(&run.planned.plan)? {
        let (node, again) = (&nodes[index], &nodes[again]);
        let outputs: Vec<(&str, &StorePath, &StorePath)> = node
            .output_paths()
            .filter_map(|(output, path)| {
                Some((output, path, again.derivation.output_path(output)?))
            })
            .collect();
        // Only its own paths are others the second time: both builds refer to the same final packages.
        let (mut first, mut second) = (Rewriting::none(), Rewriting::none());
        for (output, path, other) in &outputs {
            let name = format!("{}:{output}", node.label);
            first.add(path, &name);
            second.add(other, &name);
            // The first build was a tool of the second, which has no business to name it.
            second.add(path, &format!("first {name}"));
        }
        let rewritings = Rc::new([first, second]);
        for (output, path, other) in outputs {
            roots.insert(format!("{}/{output}", node.label), other.clone());
            let paths = [path, other];
            found.push(pair(
                context,
                &run.store,
                &node.label,
                output,
                paths,
                &rewritings,
            )?);
        }
    }
    run.store.add_generation("fixpoint", &roots)?;
    let ways = Ways {
        check: "fixpoint",
        first: "built with stage0's tools".to_owned(),
        second: "built with the final tools".to_owned(),
    };
    report(context, &[&run], &ways, found, key)
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
    // Two runs, each with its own plan; what the first has made keeps the second from making sources again.
    let runs = [
        Run::start(&contexts[0], &targets)?,
        Run::start(&contexts[1], &targets)?,
    ];
    let mut rewritings = [Rewriting::none(), Rewriting::none()];
    for ((run, seed), rewriting) in runs.iter().zip(seeds).zip(&mut rewritings) {
        run.succeeded()?;
        let plan = &run.planned.plan;
        for node in plan.nodes() {
            for (output, path) in node.output_paths() {
                let name = match node.label.strip_prefix("seed/") {
                    Some(_) => "seed".to_owned(),
                    None => format!("{}:{output}", node.label),
                };
                rewriting.add(path, &name);
            }
        }
        run.add_roots(
            &format!("diverse/{seed}"),
            plan,
            plan.closure(targets(plan)?),
        )?;
    }
    let rewritings = Rc::new(rewritings);
    let plans = [&runs[0].planned.plan, &runs[1].planned.plan];
    let mut found = Vec::new();
    for index in targets(plans[0])? {
        let node = &plans[0].nodes()[index];
        let Some(other) = plans[1].get(&node.label) else {
            continue;
        };
        for (output, path) in node.output_paths() {
            let Some(other) = other.derivation.output_path(output) else {
                continue;
            };
            found.push(pair(
                context,
                &runs[0].store,
                &node.label,
                output,
                [path, other],
                &rewritings,
            )?);
        }
    }
    let ways = Ways {
        check: "diverse",
        first: format!("from the seed {}", seeds[0]),
        second: format!("from the seed {}", seeds[1]),
    };
    report(context, &[&runs[0], &runs[1]], &ways, found, key)
}

/// The same circumstances with another seed.
fn with_seed(context: &Context, seed: &str) -> Result<Context, Failure> {
    Context::new(Global {
        seed: Some(seed.to_owned()),
        ..context.options.clone()
    })
}

fn pair(
    context: &Context,
    store: &Store,
    label: &str,
    output: &str,
    [first, second]: [&StorePath; 2],
    rewritings: &Rc<[Rewriting; 2]>,
) -> Result<Pair, Failure> {
    let info = |path: &StorePath| {
        store.path_info(path)?.ok_or_else(|| Failure::NotBuilt {
            package: label.to_owned(),
            path: context.shown(path),
        })
    };
    Ok(Pair {
        label: label.to_owned(),
        output: output.to_owned(),
        first: info(first)?,
        second: info(second)?,
        rewritings: Rc::clone(rewritings),
    })
}

/// Compares the pairs, which come from `runs`, and tells what was found.
fn report(
    context: &Context,
    runs: &[&Run<'_>],
    ways: &Ways<'_>,
    mut pairs: Vec<Pair>,
    key: Option<&SecretKey>,
) -> Result<(), Failure> {
    // The small ones first: people look at the first lines while gcc is still being read.
    pairs.sort_by_key(|pair| pair.first.nar_size);
    let mut attestation = document::new(context, &runs[0].planned, &[ways.check]);
    for run in &runs[1..] {
        document::add_origin(&mut attestation, context, &run.planned);
    }
    let mut text = String::new();
    let mut different = 0;
    for pair in &pairs {
        let files = differences(context, pair)?;
        let Pair { label, output, .. } = pair;
        if files.is_empty() {
            text.push_str(&format!("the same: {label}:{output}\n"));
        } else {
            different += 1;
            text.push_str(&format!(
                "differs: {label}:{output}\n  first, {}: {}\n  second, {}: {}\n{}",
                ways.first,
                context.shown(&pair.first.path),
                ways.second,
                context.shown(&pair.second.path),
                compare::describe(&files)
            ));
        }
        let names: Vec<&str> = files
            .iter()
            .take(5)
            .map(|file| file.path.as_str())
            .collect();
        attestation.outputs.push(AttestedOutput {
            package: label.clone(),
            output: output.clone(),
            path: context.shown(&pair.first.path),
            sha256: pair.first.nar_sha256.to_base16(),
            size: pair.first.nar_size,
            result: match files.is_empty() {
                true => Seen::Reproducible,
                false => Seen::Differs,
            },
            second: Some(SecondOutput {
                made: ways.second.clone(),
                path: context.shown(&pair.second.path),
                sha256: pair.second.nar_sha256.to_base16(),
                size: pair.second.nar_size,
            }),
            detail: match files.is_empty() {
                true => format!("the same {}", ways.second),
                false => format!(
                    "{} files differ {}: {}",
                    files.len(),
                    ways.second,
                    names.join(", ")
                ),
            },
        });
    }
    attestation.good = different == 0;
    document::sort(&mut attestation);
    if context.options.json || key.is_some() {
        document::put_out(&attestation, key)?;
    } else {
        text.push_str(&format!(
            "{} of {} outputs the same, but for store hashes\n",
            pairs.len() - different,
            pairs.len()
        ));
        print(&text)?;
    }
    match different {
        0 => Ok(()),
        different => Err(Failure::Told {
            message: format!(
                "{different} outputs differ between those {} and those {}",
                ways.first, ways.second
            ),
            status: Status::Hashes,
        }),
    }
}

fn differences(context: &Context, pair: &Pair) -> Result<Vec<FileDifference>, Failure> {
    let roots = [&pair.first, &pair.second].map(|info| context.directories.physical(&info.path));
    let circumstances = [&pair.first, &pair.second].map(|info| Circumstances {
        time: info.registration_time,
        ..Circumstances::default()
    });
    let side = |number: usize| Side {
        root: &roots[number],
        rewriting: &pair.rewritings[number],
        circumstances: &circumstances[number],
    };
    compare::compare(side(0), side(1)).map_err(|error| Failure::Io {
        action: error.action,
        what: error.path.display().to_string(),
        error: error.source,
    })
}
