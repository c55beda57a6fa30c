// SPDX-License-Identifier: GPL-3.0-or-later
//! `report`: what happened, as one HTML file.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rayon::prelude::*;

use super::context::{Context, print};
use super::exchange::{place, write_whole};
use super::failure::CommandFailure;
use crate::show::records::{Rebuilds, RecordedRun, Runs};
use crate::show::report::collect::{ReportSources, collect};
use crate::show::report::page;

/// `bootstrap report -o FILE`.
pub fn report(context: &Context, output: &PathBuf) -> Result<(), CommandFailure> {
    let planned = context.plan()?;
    let store = context.store_to_read()?;
    let state = &context.directories.state;
    let history = context.session.history();
    let rebuilds = Rebuilds::new(state);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let report = collect(&ReportSources {
        system: context.session.options().system,
        recipes: &planned.recipes,
        plan: &planned.plan,
        seeds: planned.seeds.all().collect(),
        store: &store,
        history: as_far_as_readable(context, history.path(), history.read()),
        runs: recorded(context),
        rebuilds: as_far_as_readable(context, rebuilds.path(), rebuilds.read()),
        now: now.unwrap_or_default().as_secs(),
        invocation: &context.invocation,
    })?;
    if context.options.json {
        return super::context::print_json(&report);
    }
    let page = page::html(&report);
    let Some(file) = place(Some(output)) else {
        return print(&page);
    };
    write_whole(file, |sink| {
        let written = sink.write_all(page.as_bytes());
        written.map_err(CommandFailure::writing(file.display().to_string()))
    })?;
    context.note(&format!("the report is in {}", file.display()));
    Ok(())
}

/// The recorded runs that can be read, oldest first.
fn recorded(context: &Context) -> Vec<RecordedRun> {
    let runs = Runs::new(&context.directories.state);
    let files = as_far_as_readable(context, runs.directory(), runs.files());
    crate::threads::ready();
    let read: Vec<_> = files.par_iter().map(|file| runs.read(file)).collect();
    let read = files.iter().zip(read);
    read.filter_map(|(file, run)| as_far_as_readable(context, file, run.map(Some)))
        .collect()
}

/// What was `read` of `path`, or nothing where that failed: a note says so, and the report shows the other records.
fn as_far_as_readable<T: Default>(context: &Context, path: &Path, read: io::Result<T>) -> T {
    read.unwrap_or_else(|error| {
        context.note(&format!(
            "cannot read {}: {error}; the report does without it",
            path.display()
        ));
        T::default()
    })
}
