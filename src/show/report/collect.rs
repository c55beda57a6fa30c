// SPDX-License-Identifier: GPL-3.0-or-later
//! Gathers a report from the plan, the store and the records of runs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::other_builds::other_builds;
use super::runs::{self, Unmade, cleaned};
use super::span::{Span, is_duration, is_sound, made_name, processor_seconds};
use super::{
    OutputShown, ReportData, ReportFile, ReportItem, ReportRebuild, SeedShown, ValidShown,
};
use crate::builder::history::FinishedItem;
use crate::builder::log::find_log;
use crate::fetch::attributes;
use crate::formats::secrets::without_secrets;
use crate::formats::store_path::StorePath;
use crate::formats::system::System;
use crate::formats::visible::visible;
use crate::road::plan::{Node, NodeKind, Plan};
use crate::road::recipe::{Recipes, Stage};
use crate::road::seed::Seed;
use crate::show::graph::kind_name;
use crate::show::progress::invocation::Invocation;
use crate::show::records::{Rebuild, RecordedRun};
use crate::store::{Store, StoreError};

/// The input of a report.
pub struct ReportSources<'s> {
    /// The system.
    pub system: System,
    /// The recipes.
    pub recipes: &'s Recipes,
    /// The plan.
    pub plan: &'s Plan,
    /// The seeds, the run's own first, each with its differences from its lock.
    pub seeds: Vec<(&'s Seed, &'s [String])>,
    /// The store, for queries.
    pub store: &'s Store,
    /// The finished items, oldest first.
    pub history: Vec<FinishedItem>,
    /// The recorded runs, oldest first.
    pub runs: Vec<RecordedRun>,
    /// Second builds, oldest first.
    pub rebuilds: Vec<Rebuild>,
    /// Now, in seconds since the Epoch.
    pub now: u64,
    /// Completes commands for the same store, recipes and seed.
    pub invocation: &'s Invocation,
}

/// Makes the report.
///
/// For each derivation of the plan it has the last recorded build; for each output the last substitute; for missing
/// outputs the last failure, or else the last unfinished build. Builds from other recipes are left out; of derivations
/// that were built by their paths, the last build is in `others`.
///
/// # Errors
/// If the store cannot be queried.
pub fn collect(sources: &ReportSources<'_>) -> Result<ReportData, StoreError> {
    let nodes = sources.plan.nodes();
    let by_derivation: HashMap<&str, usize> = nodes
        .iter()
        .enumerate()
        .map(|(index, node)| (node.derivation_path.base_name(), index))
        .collect();
    let records = last_records(sources, &by_derivation);
    let critical = critical_path(nodes, &records);
    let mut unmade = runs::unmade(&sources.runs);
    let rebuilds = rebuilt(&sources.rebuilds);
    let wanted: BTreeSet<usize> = sources
        .plan
        .everything()
        .unwrap_or_default()
        .into_iter()
        .collect();
    let mut spans: Vec<Span> = records
        .iter()
        .map(|(index, record)| span(record, critical.contains(index)))
        .collect();
    let substitutes = runs::substitutes(&sources.runs).into_iter();
    spans.extend(
        substitutes
            .filter(|(derivation, _)| by_derivation.contains_key(*derivation))
            .map(|(_, span)| span),
    );

    let mut place: HashMap<usize, usize> = HashMap::new();
    let mut place_of_file: HashMap<usize, usize> = HashMap::new();
    let (mut items, mut files) = (Vec::new(), Vec::new());
    for (index, node) in nodes.iter().enumerate() {
        let unmade = take_unmade(&mut unmade, node, sources.invocation);
        if node.kind == NodeKind::Download {
            let mut file = file(sources, node)?;
            if let Some(unmade) = unmade.filter(|_| !file.valid) {
                file.failure = unmade.shown;
                spans.extend(unmade.span);
            }
            place_of_file.insert(index, files.len());
            files.push(file);
            continue;
        }
        place.insert(index, items.len());
        let record = records.get(&index).copied();
        let mut item = item(sources, node)?;
        let inputs = node.dependencies.iter();
        item.files = inputs
            .filter_map(|used| place_of_file.get(used).copied())
            .collect();
        item.wanted = wanted.contains(&index);
        item.critical = critical.contains(&index);
        item.rebuilt = rebuilds.get(node.derivation_path.base_name()).cloned();
        item.seconds = record.map(|record| record.made.seconds);
        item.processor_seconds = record.map(processor_seconds);
        let missing = item.outputs.iter().any(|output| output.valid.is_none());
        if let Some(unmade) = unmade.filter(|_| missing) {
            item.failure = unmade.shown;
            spans.extend(unmade.span);
        }
        items.push(item);
    }
    let edges = nodes.iter().enumerate().flat_map(|(index, node)| {
        let user = place.get(&index).copied();
        let used = node.dependencies.iter().filter_map(|used| place.get(used));
        used.filter_map(move |used| Some((user?, *used)))
    });
    let edges = edges.collect();
    spans.sort_by(|one, other| {
        one.start
            .total_cmp(&other.start)
            .then(one.label.cmp(&other.label))
    });
    let seeds = sources.seeds.iter().map(|(seed, changes)| SeedShown {
        name: seed.name.clone(),
        sha256: seed.digest().to_base16(),
        archives: seed.archives.len(),
        size: seed
            .archives
            .iter()
            .filter_map(|archive| archive.size)
            .sum(),
        changes: changes.iter().map(visible).collect(),
        impure: seed.impure.as_ref().map(visible),
    });
    Ok(ReportData {
        version: env!("CARGO_PKG_VERSION"),
        program: sources.invocation.program(),
        system: sources.system.name().to_owned(),
        seed: sources
            .seeds
            .first()
            .map_or_else(String::new, |(seed, _)| seed.name.clone()),
        made: sources.now,
        cores: records
            .values()
            .max_by_key(|record| record.ended)
            .map(|record| record.cores)
            .or_else(|| runs::cores(&sources.runs))
            .map_or(1, |cores| cores.max(1)),
        items,
        edges,
        files,
        seeds: seeds.collect(),
        others: other_builds(
            sources.store.directories(),
            &sources.history,
            |name| by_derivation.contains_key(name),
            unmade,
            sources.invocation,
        ),
        samples: runs::samples(&sources.runs, &spans),
        spans,
    })
}

/// The last record of each node, by its index.
fn last_records<'s>(
    sources: &'s ReportSources<'_>,
    by_derivation: &HashMap<&str, usize>,
) -> BTreeMap<usize, &'s FinishedItem> {
    sources
        .history
        .iter()
        .filter(|record| is_sound(record))
        .filter_map(|record| Some((*by_derivation.get(record.derivation.as_str())?, record)))
        .collect()
}

/// The result of building each derivation again. After one difference it stays different.
fn rebuilt(records: &[Rebuild]) -> HashMap<&str, ReportRebuild> {
    let mut found: HashMap<&str, ReportRebuild> = HashMap::new();
    for record in records {
        let rebuilt = found
            .entry(&record.derivation)
            .or_insert_with(|| ReportRebuild {
                same: true,
                ..ReportRebuild::default()
            });
        rebuilt.same &= record.same;
        rebuilt.rounds = rebuilt.rounds.saturating_add(record.rounds);
        let names = record.variations.iter().flat_map(BTreeMap::keys);
        // The time differs in all builds, so it does not count as varied.
        let varied = names.filter(|name| *name != "time");
        rebuilt.varied.extend(varied.cloned());
    }
    found
}

/// The end of a record's build, more precisely than in whole seconds.
fn end(record: &FinishedItem) -> f64 {
    (record.started as f64 + record.made.seconds).max(record.ended as f64)
}

/// The chain of items, each an input of the next, with the longest total time: the least time with any number of cores.
fn critical_path(nodes: &[Node], records: &BTreeMap<usize, &FinishedItem>) -> BTreeSet<usize> {
    let dependencies = nodes.iter().map(|node| &node.dependencies);
    let seconds = |index: usize| records.get(&index).map(|record| record.made.seconds);
    longest_chain(dependencies, seconds)
}

/// The chain with the most `seconds`, among items that come after all their `dependencies`.
fn longest_chain<'d>(
    dependencies: impl ExactSizeIterator<Item = &'d BTreeSet<usize>> + Clone,
    seconds: impl Fn(usize) -> Option<f64>,
) -> BTreeSet<usize> {
    let longest = |among: &mut dyn Iterator<Item = usize>, chains: &[f64]| {
        among.max_by(|one, other| chains[*one].total_cmp(&chains[*other]))
    };
    let mut chains: Vec<f64> = Vec::with_capacity(dependencies.len());
    for (index, inputs) in dependencies.clone().enumerate() {
        let before = longest(&mut inputs.iter().copied(), &chains);
        let before = before.map_or(0.0, |input| chains[input]);
        chains.push(before + seconds(index).unwrap_or(0.0));
    }
    let dependencies: Vec<_> = dependencies.collect();
    let mut path = BTreeSet::new();
    let mut next = longest(&mut (0..chains.len()), &chains);
    while let Some(index) = next {
        if seconds(index).is_some() {
            path.insert(index);
        }
        next = longest(&mut dependencies[index].iter().copied(), &chains);
    }
    path
}

/// The failed or unfinished build of `node`, if that was the same derivation.
fn take_unmade(
    unmade: &mut HashMap<&str, Unmade>,
    node: &Node,
    invocation: &Invocation,
) -> Option<Unmade> {
    let by_derivation = unmade.remove(node.derivation_path.base_name());
    let mut found = by_derivation.or_else(|| unmade.remove(node.label.as_str()))?;
    if let Some(shown) = &mut found.shown {
        cleaned(shown, invocation);
    }
    Some(found)
}

fn item(sources: &ReportSources<'_>, node: &Node) -> Result<ReportItem, StoreError> {
    let directories = sources.store.directories();
    let store_dir = &directories.store_dir;
    let recipe = node.recipe.as_deref();
    let recipe = recipe.and_then(|name| sources.recipes.get(name));
    let environment = &node.derivation.environment;
    let log = find_log(&directories.log, &node.derivation_path);
    let outputs = node
        .output_paths()
        .map(|(name, path)| {
            Ok(OutputShown {
                name: name.to_owned(),
                path: store_dir.display(path),
                valid: valid(sources.store, path)?,
            })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    let settings = recipe.zip(node.stage);
    let settings = settings.map(|(recipe, stage)| recipe.settings(stage, sources.system));
    Ok(ReportItem {
        label: node.label.clone(),
        kind: kind_name(node.kind),
        stage: node.stage.map(Stage::name),
        version: recipe.map_or_else(String::new, |recipe| visible(&recipe.version)),
        synopsis: recipe.map_or_else(String::new, |recipe| visible(&recipe.synopsis)),
        derivation: store_dir.display(&node.derivation_path),
        log: log.exists().then(|| log.display().to_string()),
        files: Vec::new(),
        outputs,
        wanted: false,
        tests: node
            .stage
            .and_then(|_| environment.get("tests"))
            .map(|tests| tests == "1"),
        tests_reason: settings
            .and_then(|settings| settings.tests_reason)
            .map(visible),
        rebuilt: None,
        seconds: None,
        processor_seconds: None,
        failure: None,
        critical: false,
    })
}

fn valid(store: &Store, path: &StorePath) -> Result<Option<ValidShown>, StoreError> {
    let store_dir = &store.directories().store_dir;
    let info = store.path_info(path)?;
    Ok(info.map(|info| ValidShown {
        sha256: info.nar_sha256.to_base16(),
        size: info.nar_size,
        references: info
            .references
            .iter()
            .filter(|reference| **reference != info.path)
            .map(|reference| store_dir.display(reference))
            .collect(),
    }))
}

fn file(sources: &ReportSources<'_>, node: &Node) -> Result<ReportFile, StoreError> {
    let environment = &node.derivation.environment;
    let output = node.output_paths().next();
    let info = match output {
        Some((_, path)) => sources.store.path_info(path)?,
        None => None,
    };
    let urls = attributes::urls(environment.text("url").unwrap_or_default()).unwrap_or_default();
    let named = environment.text("size").and_then(|size| size.parse().ok());
    Ok(ReportFile {
        label: node.label.clone(),
        sha256: environment.text("sha256").unwrap_or_default().to_owned(),
        // The NAR of one file is only a little larger: padding and names.
        size: named.or(info.as_ref().map(|info| info.nar_size)),
        urls: urls
            .iter()
            .map(|url| visible(&*without_secrets(url)))
            .collect(),
        valid: info.is_some(),
        failure: None,
    })
}

fn span(record: &FinishedItem, critical: bool) -> Span {
    let mut after = 0.0;
    let phases = record.made.phases.iter().map(|phase| {
        // Records of older versions lack the start of phases: each follows the one before.
        let start = phase.start.unwrap_or(after);
        after = start + phase.seconds;
        (phase.phase.clone(), start, phase.seconds)
    });
    let phases = phases.filter(|(_, start, seconds)| is_duration(*start) && is_duration(*seconds));
    Span {
        phases: phases.collect(),
        label: record.item.clone(),
        kind: made_name(record.kind),
        start: end(record) - record.made.seconds,
        seconds: record.made.seconds,
        processor_seconds: processor_seconds(record),
        critical,
        failed: false,
        unfinished: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(derivation: &str, same: bool, varied: &[&str]) -> Rebuild {
        let varied = varied.iter().chain(&["time"]);
        Rebuild {
            item: "sed".into(),
            derivation: derivation.into(),
            same,
            time: 7,
            rounds: 2,
            variations: vec![
                varied
                    .map(|name| ((*name).to_owned(), "x".into()))
                    .collect(),
            ],
        }
    }

    #[test]
    fn the_critical_path_is_the_longest_chain() {
        // 0 and 1 need nothing; 2 is long and needs 0, 3 is short; 4 needs both, 5 was not built.
        let needs = [&[][..], &[], &[0], &[1], &[2, 3], &[]];
        let needs = needs.map(|inputs| inputs.iter().copied().collect::<BTreeSet<usize>>());
        let took = [
            Some(1.0),
            Some(5.0),
            Some(60.0),
            Some(2.0),
            Some(10.0),
            None,
        ];
        let path = longest_chain(needs.iter(), |index| took[index]);
        assert_eq!(path, BTreeSet::from([0, 2, 4]));
        assert!(longest_chain([].iter(), |_| None).is_empty());
    }

    #[test]
    fn a_difference_stays_after_later_builds_without_one() {
        let records = [
            record("a", true, &[]),
            record("a", false, &["host-name"]),
            record("a", true, &[]),
            record("b", true, &["cores", "umask"]),
        ];
        let found = rebuilt(&records);
        assert_eq!((found["a"].same, found["a"].rounds), (false, 6));
        assert_eq!((found["b"].same, found["b"].rounds), (true, 2));
        let varied: Vec<&String> = found["b"].varied.iter().collect();
        assert_eq!(varied, ["cores", "umask"]);
    }
}
