// SPDX-License-Identifier: GPL-3.0-or-later
//! What `all`, `build` and `fetch` have in common: the run, and its end with roots, records, the summary and the paths.

use super::arguments::ProgressStyle;
use super::context::{Context, print, print_json};
use super::failure::{CommandFailure, Status, of_run};
use super::inherited;
use crate::engine::{EngineError, FinishedRun, PlanTarget, Planned, Targets};
use crate::events::Summary;
use crate::sandbox::inherited::low_limits;
use crate::show::records::Runs;

impl Context {
    /// Makes what is missing of the targets, with progress shown. What could not be made is in the run's report.
    pub(super) fn run(&self, targets: Targets<'_>) -> Result<FinishedRun<'_>, CommandFailure> {
        ready(self)?;
        Ok(FinishedRun::start(&self.session, targets, self)?)
    }
}

/// Checks that the process may start threads, and names limits that are low.
pub(super) fn ready(context: &Context) -> Result<(), CommandFailure> {
    inherited::try_threads().map_err(|error| {
        CommandFailure::new(
            Status::Environment,
            format!("cannot start threads: {error}"),
            "raise the limits on processes (`ulimit -u`) and on address space (`ulimit -v`)",
        )
    })?;
    for limit in low_limits() {
        context.note(&format!("{limit}; raise it"));
    }
    Ok(())
}

/// Leaves roots with `add_roots` where all went well, sums up, and prints the path of each output.
pub(super) fn finish(
    context: &Context,
    run: &FinishedRun<'_>,
    add_roots: impl FnOnce(&FinishedRun<'_>) -> Result<(), EngineError>,
) -> Result<(), CommandFailure> {
    let targets: Vec<PlanTarget> = run.targets.iter().copied().map(PlanTarget::all).collect();
    finish_with(context, run, &targets, None, add_roots)
}

/// Like [`finish`], and prints the outputs `named` alone. With `--json` the summary that is printed is also of the
/// `later` run of the same command.
pub(super) fn finish_with(
    context: &Context,
    run: &FinishedRun<'_>,
    named: &[PlanTarget],
    later: Option<&Summary>,
    add_roots: impl FnOnce(&FinishedRun<'_>) -> Result<(), EngineError>,
) -> Result<(), CommandFailure> {
    let summary = &run.report.summary;
    let failure = of_run(&run.report);
    if failure.is_none() {
        add_roots(run)?;
    }
    let changed = !summary.made.is_empty();
    write_manifest(context, Some(&run.planned), summary);
    if context.options.progress == ProgressStyle::Json {
        // The last event was the summary.
    } else if context.options.json {
        match later {
            Some(later) => print_json(&summary.and(later))?,
            None => print_json(summary)?,
        }
    } else {
        if changed || failure.is_some() {
            if !context.options.quiet {
                context.sum_up(summary);
            }
        } else {
            context.note_impurity(&run.planned);
        }
        if failure.is_none() {
            let plan = &run.planned.plan;
            let outputs = named.iter().flat_map(|target| target.outputs(plan));
            let lines: String = outputs
                .map(|(_, path)| format!("{}\n", context.shown(path)))
                .collect();
            print(&lines)?;
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Writes the manifest of a run that made something to the records of runs.
pub(super) fn write_manifest(context: &Context, planned: Option<&Planned>, summary: &Summary) {
    let runs = Runs::new(&context.directories.state);
    if let Err(error) = runs.keep_manifest(&context.session, planned, summary) {
        // What was built is valid, whatever becomes of a note about it.
        context.note(&format!(
            "this run leaves no record of what it was made from: {error}"
        ));
    }
}
