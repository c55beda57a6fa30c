// SPDX-License-Identifier: GPL-3.0-or-later
//! `verify --rebuild` and `build --check`: building again, and what came out differently.

use std::time::{SystemTime, UNIX_EPOCH};

use super::document;
use crate::cli::arguments::VerifyArguments;
use crate::cli::context::{Context, print};
use crate::cli::failure::{Failure, Status};
use crate::engine::{RebuildOptions, Rounds, Run, Targets, nodes};
use crate::formats::keys::SecretKey;
use crate::road::plan::Plan;
use crate::show::progress::size::counted;
use crate::show::records::{Rebuild, Rebuilds};
use crate::verify::compare;

/// `bootstrap verify --rebuild`.
pub fn rebuild(
    context: &Context,
    arguments: &VerifyArguments,
    key: Option<&SecretKey>,
) -> Result<(), Failure> {
    let rounds = usize::from(arguments.rounds);
    let options = match arguments.vary {
        true => {
            let directory = arguments.vary_directory.as_deref();
            RebuildOptions::varied(&context.session, rounds, directory)?
        }
        false => RebuildOptions::plain(rounds),
    };
    let wanted = |plan: &Plan| match arguments.packages.as_slice() {
        [] => Ok(plan.everything()?),
        packages => nodes(plan, packages),
    };
    again(context, &wanted, options, key)
}

/// `bootstrap build --check`, once everything is built.
pub fn check(context: &Context, packages: &[String]) -> Result<(), Failure> {
    let wanted = |plan: &Plan| nodes(plan, packages);
    again(context, &wanted, RebuildOptions::plain(1), None)
}

/// Builds what is `wanted` again and reports the result.
fn again(
    context: &Context,
    wanted: Targets<'_>,
    options: RebuildOptions,
    key: Option<&SecretKey>,
) -> Result<(), Failure> {
    let done = context.session.rebuild(wanted, options, context);
    let (run, rounds) = done.map_err(|error| context.failure(error))?;
    let bad = rounds.differing();
    let attestation = (context.options.json || key.is_some()).then(|| {
        let mut attestation = context.session.attestation(&run.planned, &["rebuild"]);
        rounds.note(&context.session, &mut attestation);
        document::note_rebuilds(context, &run.planned.plan, &mut attestation);
        attestation.good = bad == 0 && rounds.failed.is_empty();
        attestation
    });
    // Not before: the document keeps these rounds apart from those that were recorded already.
    record(context, &run, &rounds);
    match attestation {
        Some(attestation) => document::put_out(&attestation, key)?,
        None => print(&context.invocation.complete(&describe(context, &rounds)))?,
    }
    match (bad, rounds.failed.len()) {
        (0, 0) => Ok(()),
        (0, failed) => Err(Failure::new(
            rounds.first_failure.map_or(Status::Failed, Status::from),
            format!(
                "{} could not be built again: the reasons are above, the logs under {}",
                counted(failed, "package"),
                context.directories.log.join("rebuilds").display()
            ),
            "",
        )),
        (bad, _) => Err(Failure::new(
            Status::Hashes,
            format!(
                "{} came out differently when built again",
                counted(bad, "output")
            ),
            "`bootstrap verify` shows whether the store's outputs are as they were registered; a difference in sound ones means \
             that the build is not reproducible",
        )),
    }
}

/// Records, for reports, what came of each package.
fn record(context: &Context, run: &Run<'_>, rounds: &Rounds) {
    let records = Rebuilds::new(&context.directories.state);
    let all = run.planned.plan.nodes();
    let nodes = run.targets.iter().map(|index| &all[*index]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs());
    for (node, same) in rounds.compared(nodes) {
        let rebuild = Rebuild {
            item: node.label.clone(),
            derivation: node.derivation_path.base_name().to_owned(),
            same,
            time: now,
            rounds: rounds.count(),
            variations: rounds.described_variations(),
        };
        if let Err(error) = records.append(&rebuild) {
            tracing::warn!("cannot record that {} was built again: {error}", node.label);
        }
    }
}

fn describe(context: &Context, rounds: &Rounds) -> String {
    let mut text = String::new();
    for ((label, output), seen) in &rounds.outputs {
        let info = &seen.outcome.info;
        if seen.differing.is_empty() {
            text.push_str(&format!(
                "reproducible: {label}:{output} {} {}\n",
                context.shown(&info.path),
                info.nar_sha256
            ));
        }
        for (round, difference) in &seen.differing {
            text.push_str(&format!(
                "differs in round {round}: {label}:{output} {}\n  expected the SHA-256 {}, saw {}\n",
                context.shown(&info.path),
                info.nar_sha256,
                difference.found
            ));
            match &difference.files {
                Ok(files) => text.push_str(&compare::describe(files)),
                Err(reason) => text.push_str(&format!("  {reason}\n")),
            }
            let first = context.directories.physical(&info.path);
            let pair = format!("{} {}", first.display(), difference.kept.display());
            text.push_str(&match has_diffoscope() {
                true => format!("  see more with `diffoscope {pair}`\n"),
                false => format!("  both are there until `bootstrap gc`: {pair}\n"),
            });
        }
    }
    for (label, reason) in &rounds.failed {
        text.push_str(&format!("failed: {label}: {reason}\n"));
    }
    for (number, variation) in rounds.variations.iter().enumerate() {
        let varied: Vec<String> = variation
            .describe()
            .into_iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        if !varied.is_empty() {
            text.push_str(&format!("round {}: {}\n", number + 1, varied.join(", ")));
        }
    }
    for (what, reason) in &rounds.not_varied {
        text.push_str(&format!("not varied: {what}: {reason}\n"));
    }
    let same = rounds
        .outputs
        .values()
        .filter(|seen| seen.differing.is_empty());
    text.push_str(&format!(
        "{} of {} outputs the same in {}\n",
        same.count(),
        rounds.outputs.len(),
        counted(rounds.variations.len(), "round")
    ));
    text
}

fn has_diffoscope() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join("diffoscope").is_file())
}
