//! `report`: what happened, as one HTML file.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::context::Context;
use super::failure::Failure;
use crate::build::history::History;
use crate::records::{Rebuilds, Runs};
use crate::report::collect::{Sources, collect};
use crate::report::page;

/// `bootstrap report -o FILE`.
pub fn report(context: &Context, output: &Path) -> Result<(), Failure> {
    let planned = context.plan()?;
    let store = context.store_to_read()?;
    let state = &context.directories.state;
    let runs = Runs::new(state);
    let files = runs.files().map_err(Failure::reading(state))?;
    let recorded = files
        .iter()
        .map(|file| runs.read(file).map_err(Failure::reading(file)))
        .collect::<Result<Vec<_>, _>>()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let report = collect(&Sources {
        system: context.system,
        recipes: &planned.recipes,
        plan: &planned.plan,
        seeds: planned.seeds.all().collect(),
        store: &store,
        history: History::new(state).records(),
        runs: recorded,
        rebuilds: Rebuilds::new(state)
            .read()
            .map_err(Failure::reading(state))?,
        now: now.unwrap_or_default().as_secs(),
    })?;
    if context.options.json {
        return super::context::print_json(&report);
    }
    let what = output.display().to_string();
    std::fs::write(output, page::html(&report)).map_err(Failure::writing(what))?;
    context.note(&format!("the report is in {}", output.display()));
    Ok(())
}
