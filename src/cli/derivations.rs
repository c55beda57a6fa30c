// SPDX-License-Identifier: GPL-3.0-or-later
//! `build` of derivations that are in the store, whichever program added them.

use super::arguments::{BuildArguments, ProgressStyle};
use super::context::{Context, print, print_json};
use super::failure::{CommandFailure, Status, of_run};
use super::realise::{ready, write_manifest};
use crate::engine::{RealiseMode, StoredRun, WantedDerivation};
use crate::show::progress::size::counted;
use crate::show::rebuilds::{DIFFERENCE, describe_outcomes};

/// The derivations that a user calls `names`, and whether `arguments` make sense for them.
pub(super) fn read(
    context: &Context,
    arguments: &BuildArguments,
    names: &[String],
) -> Result<Vec<WantedDerivation>, CommandFailure> {
    let mut wanted = Vec::new();
    for name in names {
        wanted.push(WantedDerivation::parse(&context.directories, name)?);
    }
    let options = [
        (
            "--dependents",
            arguments.dependents,
            "no plan says what needs a derivation",
        ),
        (
            "--shell-on-failure",
            arguments.shell_on_failure,
            "--keep-failed keeps the build directory",
        ),
    ];
    match options.into_iter().find(|(_, given, _)| *given) {
        Some((option, _, hint)) if !wanted.is_empty() => Err(CommandFailure::usage(
            format!("{option} is for packages, and {} is a derivation", names[0]),
            hint,
        )),
        _ => Ok(wanted),
    }
}

/// Builds `wanted` and nothing else.
pub(super) fn build(
    context: &Context,
    arguments: &BuildArguments,
    wanted: &[WantedDerivation],
) -> Result<(), CommandFailure> {
    if arguments.repair {
        repair(context, wanted)?;
    }
    let run = realise(context, wanted)?;
    finish(context, arguments, &run, true)?;
    match arguments.check {
        true => check(context, wanted),
        false => Ok(()),
    }
}

/// `--repair`: repairs the outputs of `wanted` and all that they refer to. A build that fails is reported by the run
/// that follows.
pub(super) fn repair(context: &Context, wanted: &[WantedDerivation]) -> Result<(), CommandFailure> {
    Ok(context.session.repair_derivations(wanted, context)?)
}

/// Makes `wanted` valid, with progress shown. What could not be made is in the run's report.
pub(super) fn realise(
    context: &Context,
    wanted: &[WantedDerivation],
) -> Result<StoredRun, CommandFailure> {
    ready(context)?;
    Ok(StoredRun::start(
        &context.session,
        wanted,
        RealiseMode::Build,
        context,
    )?)
}

/// Leaves roots where all went well, sums up, and prints the path of each output. With `--json` a summary is printed
/// only where this is the `only` run of the command.
pub(super) fn finish(
    context: &Context,
    arguments: &BuildArguments,
    run: &StoredRun,
    only: bool,
) -> Result<(), CommandFailure> {
    let report = &run.realised.report;
    let failure = of_run(report);
    if failure.is_none() {
        run.add_roots()?;
        if let Some(link) = &arguments.add_root {
            run.add_links(link)?;
        }
    }
    write_manifest(context, None, &report.summary);
    if context.options.progress == ProgressStyle::Json {
        // The last event was the summary.
    } else if context.options.json {
        if only {
            print_json(&report.summary)?;
        }
    } else {
        let changed = !report.summary.made.is_empty();
        if (changed || failure.is_some()) && !context.options.quiet {
            context.sum_up(&report.summary);
        }
        if failure.is_none() {
            let outputs = run.outputs.iter();
            let lines = outputs.map(|output| format!("{}\n", context.shown(&output.path)));
            print(&lines.collect::<String>())?;
        }
    }
    failure.map_or(Ok(()), Err)
}

/// `--check`: builds `wanted`, whose outputs are valid, again and compares.
pub(super) fn check(context: &Context, wanted: &[WantedDerivation]) -> Result<(), CommandFailure> {
    if wanted.is_empty() {
        return Ok(());
    }
    let mode = RealiseMode::Check {
        keeps: true,
        fails: false,
    };
    let run = StoredRun::start(&context.session, wanted, mode, context)?;
    let outcomes = &run.realised.outcomes;
    let text = describe_outcomes(&context.session, outcomes);
    let bad = outcomes.iter();
    let bad = bad.filter(|outcome| outcome.difference.is_some()).count();
    match context.options.json {
        true => print_json(&run.realised.report.summary)?,
        false => print(&context.invocation.complete(&text))?,
    }
    if bad > 0 {
        return Err(CommandFailure::new(
            Status::Hashes,
            format!(
                "{} came out differently when built again",
                counted(bad, "output")
            ),
            DIFFERENCE,
        ));
    }
    of_run(&run.realised.report).map_or(Ok(()), Err)
}
