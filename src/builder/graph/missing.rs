// SPDX-License-Identifier: GPL-3.0-or-later
//! Cuts a graph down to what is missing, and orders it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{BuildGraph, BuildTask, GraphError, Offered, Todo, WantedJob, WantedOutputs, Way};
use crate::formats::store_path::StorePath;
use crate::store::Store;

/// What is missing: how it is made, and which outputs are wanted.
type MissingJobs<'a> = BTreeMap<&'a StorePath, (Way, BTreeSet<StorePath>)>;

/// Finds which paths are valid in `store`, and keeps them so.
fn kept(
    store: &Store,
) -> impl Fn(&BTreeSet<&StorePath>) -> Result<BTreeSet<StorePath>, GraphError> {
    |paths| {
        // First kept, then asked: what is found valid stays so.
        store.add_temporary_roots(paths.iter().copied())?;
        Ok(store.valid_among(paths.iter().copied())?)
    }
}

/// No offer for any of `jobs`.
fn no_offers(jobs: &[WantedJob<'_>]) -> Vec<Option<Offered>> {
    jobs.iter().map(|_| None).collect()
}

impl<'a> BuildGraph<'a> {
    /// What has to be made for the `wanted` outputs to be valid. What is relied on (valid outputs
    /// of wanted derivations and of inputs) and what will be made is kept from the garbage collector.
    ///
    /// `estimate` gives how long an item took before.
    ///
    /// # Errors
    /// Where an input is not in the graph, or the store cannot be asked.
    pub fn missing(
        &self,
        wanted: impl IntoIterator<Item = impl Into<WantedOutputs<'a>>>,
        store: &Store,
        estimate: impl Fn(&str) -> Option<Duration>,
    ) -> Result<Todo<'a>, GraphError> {
        self.missing_with(wanted, kept(store), |jobs| Ok(no_offers(jobs)), estimate)
    }

    /// As [`missing`](Self::missing). What is missing is listed as a task of an
    /// [`Alternative`](crate::builder::alternative::Alternative), without its inputs, where `offers`
    /// says so: it gets jobs, many
    /// at a time, and returns an offer or none for each.
    ///
    /// # Errors
    /// As for [`missing`](Self::missing), and those of `offers`.
    pub fn missing_or_offered<E: From<GraphError>>(
        &self,
        wanted: impl IntoIterator<Item = impl Into<WantedOutputs<'a>>>,
        store: &Store,
        offers: impl Fn(&[WantedJob<'a>]) -> Result<Vec<Option<Offered>>, E>,
        estimate: impl Fn(&str) -> Option<Duration>,
    ) -> Result<Todo<'a>, E> {
        self.missing_with(wanted, kept(store), offers, estimate)
    }

    /// As [`missing`](Self::missing), for a store that is only looked at: what is found valid may be gone a moment
    /// later.
    ///
    /// # Errors
    /// As for [`missing`](Self::missing).
    pub fn missing_now(
        &self,
        wanted: impl IntoIterator<Item = impl Into<WantedOutputs<'a>>>,
        store: &Store,
        estimate: impl Fn(&str) -> Option<Duration>,
    ) -> Result<Todo<'a>, GraphError> {
        let valid = |paths: &BTreeSet<&StorePath>| Ok(store.valid_among(paths.iter().copied())?);
        self.missing_with(wanted, valid, |jobs| Ok(no_offers(jobs)), estimate)
    }

    /// As [`missing_or_offered`](Self::missing_or_offered), for a store that is only looked at.
    ///
    /// # Errors
    /// As for [`missing_or_offered`](Self::missing_or_offered).
    pub fn missing_or_offered_now<E: From<GraphError>>(
        &self,
        wanted: impl IntoIterator<Item = impl Into<WantedOutputs<'a>>>,
        store: &Store,
        offers: impl Fn(&[WantedJob<'a>]) -> Result<Vec<Option<Offered>>, E>,
        estimate: impl Fn(&str) -> Option<Duration>,
    ) -> Result<Todo<'a>, E> {
        let valid = |paths: &BTreeSet<&StorePath>| Ok(store.valid_among(paths.iter().copied())?);
        self.missing_with(wanted, valid, offers, estimate)
    }

    pub(in crate::builder) fn missing_with<E: From<GraphError>>(
        &self,
        wanted: impl IntoIterator<Item = impl Into<WantedOutputs<'a>>>,
        valid: impl Fn(&BTreeSet<&StorePath>) -> Result<BTreeSet<StorePath>, GraphError>,
        offers: impl Fn(&[WantedJob<'a>]) -> Result<Vec<Option<Offered>>, E>,
        estimate: impl Fn(&str) -> Option<Duration>,
    ) -> Result<Todo<'a>, E> {
        // One round asks the store, and the alternative, about one layer of the graph.
        let mut layer: BTreeMap<&'a StorePath, BTreeSet<&'a str>> = BTreeMap::new();
        for wanted in wanted {
            let wanted = wanted.into();
            let job = self.require(wanted.path, "the request")?;
            let all = || job.derivation.outputs.keys().map(String::as_str).collect();
            let names = wanted.names.unwrap_or_else(all);
            layer.entry(job.path).or_default().extend(names);
        }
        let wanted: Vec<&'a StorePath> = layer.keys().copied().collect();
        let mut missing: MissingJobs<'a> = BTreeMap::new();
        while !layer.is_empty() {
            let mut outputs = BTreeSet::new();
            for (path, names) in &layer {
                let job = self.require(path, "the request")?;
                outputs.extend(
                    names
                        .iter()
                        .filter_map(|name| job.derivation.output_path(name)),
                );
            }
            let valid = valid(&outputs)?;
            let mut new: Vec<WantedJob<'a>> = Vec::new();
            for (path, names) in layer {
                let job = self.require(path, "the request")?;
                let paths = names.iter().map(|name| job.derivation.output_path(name));
                let is_valid =
                    |path: Option<&StorePath>| path.is_some_and(|path| valid.contains(path));
                if paths.clone().all(is_valid) {
                    continue;
                }
                let mut outputs: BTreeSet<StorePath> = paths.flatten().cloned().collect();
                match missing.get(path) {
                    // It makes all outputs.
                    Some((Way::Builder, _)) => continue,
                    Some((_, others)) if outputs.is_subset(others) => continue,
                    // Offered, but with other outputs.
                    Some((_, others)) => outputs.extend(others.iter().cloned()),
                    None => {}
                }
                new.push(WantedJob { job, outputs });
            }
            let offered = offers(&new)?;
            layer = BTreeMap::new();
            for (WantedJob { job, outputs }, offered) in new.into_iter().zip(offered) {
                if let Some(offered) = offered {
                    missing.insert(job.path, (Way::Alternative(offered), outputs));
                    continue;
                }
                missing.insert(job.path, (Way::Builder, outputs));
                for (input, names) in &job.derivation.input_derivations {
                    let input_job = self.require(input, job.label)?;
                    for name in names {
                        if !input_job.derivation.outputs.contains_key(name) {
                            return Err(E::from(GraphError::NoOutput {
                                label: job.label.to_owned(),
                                input: input_job.label.to_owned(),
                                output: name.clone(),
                            }));
                        }
                    }
                    let wanted = layer.entry(input_job.path).or_default();
                    wanted.extend(names.iter().map(String::as_str));
                }
            }
        }
        let reused = wanted.iter().filter(|path| !missing.contains_key(*path));
        let reused = reused.filter_map(|path| Some(self.get(path)?.label));
        let reused = reused.collect();
        Ok(Todo {
            tasks: self.order(missing, estimate)?,
            reused,
            impure: None,
        })
    }

    /// What each of `missing` waits for: the inputs of its builder, or the items that an alternative brings along and
    /// that are tasks of their own.
    fn waits(
        &self,
        missing: &MissingJobs<'a>,
    ) -> Result<BTreeMap<&'a StorePath, BTreeSet<&'a StorePath>>, GraphError> {
        let mut offered: BTreeMap<&StorePath, &'a StorePath> = BTreeMap::new();
        for (path, (way, outputs)) in missing {
            if let Way::Alternative(_) = way {
                offered.extend(outputs.iter().map(|output| (output, *path)));
            }
        }
        let mut waits = BTreeMap::new();
        for (path, (way, _)) in missing {
            let job = self.require(path, "the request")?;
            let before: BTreeSet<&'a StorePath> = match way {
                Way::Builder => job
                    .derivation
                    .input_derivations
                    .keys()
                    .filter(|input| missing.contains_key(input))
                    .collect(),
                Way::Alternative(offer) => offer
                    .brings
                    .iter()
                    .filter_map(|brought| offered.get(brought).copied())
                    .filter(|other| other != path)
                    .collect(),
            };
            waits.insert(*path, before);
        }
        Ok(waits)
    }

    /// `missing` as tasks, dependencies first, with their urgency.
    fn order(
        &self,
        missing: MissingJobs<'a>,
        estimate: impl Fn(&str) -> Option<Duration>,
    ) -> Result<Vec<BuildTask<'a>>, GraphError> {
        let mut tasks: Vec<BuildTask<'a>> = Vec::with_capacity(missing.len());
        if missing.is_empty() {
            // What earlier runs took is not needed.
            return Ok(tasks);
        }
        let pace = self.pace(&estimate);
        let mut index: BTreeMap<&'a StorePath, usize> = BTreeMap::new();
        let waits_for = self.waits(&missing)?;
        let mut open: Vec<(&'a StorePath, (Way, BTreeSet<StorePath>))> =
            missing.into_iter().collect();
        // Rounds instead of recursion: a chain may be as long as it likes.
        while !open.is_empty() {
            let before = open.len();
            let mut left = Vec::new();
            for (path, (way, outputs)) in open {
                let job = self.require(path, "the request")?;
                let inputs = waits_for.get(path).into_iter().flatten();
                let known: Option<Vec<usize>> =
                    inputs.map(|input| index.get(input).copied()).collect();
                match known {
                    Some(inputs) => {
                        index.insert(job.path, tasks.len());
                        tasks.push(BuildTask {
                            way,
                            outputs,
                            inputs,
                            ..BuildTask::alone(job, pace, &estimate)
                        });
                    }
                    None => left.push((path, (way, outputs))),
                }
            }
            if left.len() == before {
                // What an alternative brings makes its tasks wait for each other only as far as that is possible: it
                // makes an item with all that it refers to in any case.
                let Some(position) = left.iter().position(|(_, (way, _))| *way != Way::Builder)
                else {
                    let path = left.first().map(|(path, _)| *path);
                    let label = path.and_then(|path| self.get(path)).map(|job| job.label);
                    return Err(GraphError::Cycle {
                        label: label.unwrap_or_default().to_owned(),
                    });
                };
                let (path, (way, outputs)) = left.remove(position);
                let job = self.require(path, "the request")?;
                index.insert(job.path, tasks.len());
                tasks.push(BuildTask {
                    way,
                    outputs,
                    ..BuildTask::alone(job, pace, &estimate)
                });
            }
            open = left;
        }
        for number in 0..tasks.len() {
            for input in tasks[number].inputs.clone() {
                tasks[input].dependants.push(number);
            }
        }
        for number in (0..tasks.len()).rev() {
            let task = &tasks[number];
            let after = task
                .dependants
                .iter()
                .map(|next| tasks[*next].urgency)
                .max();
            tasks[number].urgency = task.urgency.saturating_add(after.unwrap_or(0));
        }
        Ok(tasks)
    }
}
