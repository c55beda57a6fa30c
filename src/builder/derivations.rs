// SPDX-License-Identifier: GPL-3.0-or-later
//! Puts the derivations that are to be built into the store.

use std::collections::BTreeSet;

use super::error::BuildError;
use super::graph::{BuildGraph, BuildJob, Todo, Way};
use crate::formats::derivation::aterm;
use crate::formats::store_path::StorePath;
use crate::store::add::Text;
use crate::store::{Store, StoreError};

/// Makes one of the derivations' input sources valid.
pub type AddSource<'s> = &'s (dyn Fn(&Store, &StorePath) -> Result<(), StoreError> + Sync);

/// Makes the derivations that are to be built valid, with everything they refer to but other outputs: a store item
/// without its derivation could not be traced back to where it comes from.
pub(super) fn add_derivations(
    graph: &BuildGraph<'_>,
    add_source: AddSource<'_>,
    todo: &Todo<'_>,
    store: &Store,
) -> Result<(), BuildError> {
    let built = todo.tasks.iter().filter(|task| task.way == Way::Builder);
    add_with_inputs(graph, add_source, built.map(|task| task.job.path), store)
}

/// Makes the derivations `wanted` of `graph` valid, with all that they are built from but outputs.
///
/// # Errors
/// Where one is not in the graph, or the store cannot be written.
pub fn add_with_inputs<'g>(
    graph: &BuildGraph<'g>,
    add_source: AddSource<'_>,
    wanted: impl IntoIterator<Item = &'g StorePath>,
    store: &Store,
) -> Result<(), BuildError> {
    let store_dir = &store.directories().store_dir;
    let jobs = graph.closure(wanted)?;
    let sources: BTreeSet<&StorePath> = jobs
        .iter()
        .flat_map(|job| &job.derivation.input_sources)
        .collect();
    let fail = BuildError::store("the sources of builds");
    store
        .add_temporary_roots(sources.iter().copied())
        .map_err(&fail)?;
    let valid = store.valid_among(sources.iter().copied()).map_err(&fail)?;
    for source in sources {
        if !valid.contains(source) {
            add_source(store, source).map_err(&fail)?;
        }
    }

    let fail = BuildError::store("the derivations");
    let paths = jobs.iter().map(|job| job.path);
    let valid = store.valid_among(paths).map_err(&fail)?;
    let jobs: Vec<&BuildJob<'_>> = jobs
        .iter()
        .filter(|job| !valid.contains(job.path))
        .collect();
    let contents: Vec<_> = jobs
        .iter()
        .map(|job| {
            (
                aterm::write(store_dir, job.derivation),
                job.derivation.references(),
            )
        })
        .collect();
    let texts: Vec<Text<'_>> = jobs
        .iter()
        .zip(&contents)
        .map(|(job, (content, references))| Text {
            name: job.path.name(),
            content,
            references,
        })
        .collect();
    let paths = store.add_texts(&texts).map_err(&fail)?;
    match jobs
        .iter()
        .zip(&paths)
        .find(|(job, path)| job.path != *path)
    {
        Some((job, path)) => Err(BuildError::Derivation {
            label: job.label.to_owned(),
            problem: format!(
                "it was planned as {}, but is {}",
                store_dir.display(job.path),
                store_dir.display(path)
            ),
        }),
        None => Ok(()),
    }
}
