// SPDX-License-Identifier: GPL-3.0-or-later
//! What `all`, `build` and `fetch` have in common: the run, and its end with roots, records, the summary and the paths.

use std::io::Write;
use std::time::SystemTime;

use super::arguments::ProgressStyle;
use super::context::{Context, print, print_json};
use super::failure::{Failure, Status, of_run};
use super::inherited;
use crate::diagnostics::FileError;
use crate::engine::{EngineError, Manifest, Run, Targets};
use crate::show::records::Runs;

impl Context {
    /// Makes what is missing of the targets, with progress shown. What could not be made is in the run's report.
    pub(super) fn run(&self, targets: Targets<'_>) -> Result<Run<'_>, Failure> {
        inherited::try_threads().map_err(|error| {
            Failure::new(
                Status::Environment,
                format!("cannot start threads: {error}"),
                "raise the limit on processes (`ulimit -u`)",
            )
        })?;
        for limit in inherited::low_limits() {
            self.note(&limit);
        }
        Ok(Run::start(&self.session, targets, self)?)
    }
}

/// Leaves roots with `add_roots` where all went well, sums up, and prints the path of each output.
pub(super) fn finish(
    context: &Context,
    run: &Run<'_>,
    add_roots: impl FnOnce(&Run<'_>) -> Result<(), EngineError>,
) -> Result<(), Failure> {
    let summary = &run.report.summary;
    let failure = of_run(&run.report);
    if failure.is_none() {
        add_roots(run)?;
    }
    let changed = !summary.made.is_empty();
    if changed && let Err(error) = write_manifest(context, run) {
        // What was built is valid, whatever becomes of a note about it.
        context.note(&format!(
            "this run leaves no record of what it was made from: {error}"
        ));
    }
    if context.options.progress == ProgressStyle::Json {
        // The last event was the summary.
    } else if context.options.json {
        print_json(summary)?;
    } else {
        if changed || failure.is_some() {
            if !context.options.quiet {
                context.sum_up(summary);
            }
        } else {
            context.note_impurity(&run.planned);
        }
        if failure.is_none() {
            let nodes = run.planned.plan.nodes();
            let outputs = run
                .targets
                .iter()
                .flat_map(|target| nodes[*target].output_paths());
            let lines: String = outputs
                .map(|(_, path)| format!("{}\n", context.shown(path)))
                .collect();
            print(&lines)?;
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Writes the manifest of `run` to the records of runs, under the time of its end.
fn write_manifest(context: &Context, run: &Run<'_>) -> Result<(), FileError> {
    let now = SystemTime::now();
    let manifest = Manifest::new(&context.session, &run.planned, &run.report.summary, now);
    let runs = Runs::new(&context.directories.state);
    let failed = |error| FileError::in_store("write", runs.directory())(error);
    let text = serde_json::to_vec_pretty(&manifest).map_err(|error| failed(error.into()))?;
    let (mut file, path) = runs.create_manifest(now).map_err(failed)?;
    file.write_all(&text)
        .map_err(FileError::in_store("write", path))
}
