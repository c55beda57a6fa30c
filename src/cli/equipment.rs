//! What a run works with, made of a command's options: the graph, settings, downloads, the sandbox, reporters, signals.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::arguments::ProgressStyle;
use super::context::{Context, Planned};
use super::failure::Failure;
use crate::builder::error::BuildError;
use crate::builder::graph::{Graph, Job};
use crate::builder::settings::BuildSettings;
use crate::builder::watch::Patience;
use crate::engine::builtins;
use crate::events::Event;
use crate::events::cancellation::Cancellation;
use crate::fetch::{self, Downloader};
use crate::formats::derivation::Derivation;
use crate::formats::store_path::{StoreDir, StorePath};
use crate::road::plan::{Item, Plan};
use crate::sandbox::{self, BuildUser, Limits, Sandbox};
use crate::show::progress::{self, Following, Reporter, Style, Verbosity};
use crate::show::records::{Recorder, Runs};
use crate::store::{Store, StoreError};

/// Downloads at a time: enough to keep a line busy that is faster than any one server, and to have several packages
/// fetched by one call of the distribution's tools.
const DOWNLOADS: NonZeroUsize = NonZeroUsize::new(12).unwrap();

/// The derivations of `plan`; the store is at `store_dir`.
pub(super) fn graph<'p>(plan: &'p Plan, store_dir: &StoreDir) -> Graph<'p> {
    let derivations: BTreeMap<&StorePath, &Derivation> = plan
        .nodes()
        .iter()
        .map(|node| (&node.derivation_path, &node.derivation))
        .collect();
    let nodes = plan.nodes().iter();
    nodes
        .map(|node| Job {
            label: &node.label,
            path: &node.derivation_path,
            derivation: &node.derivation,
            size: node.size,
            typical: node.typical,
            kind: builtins::kind(&node.derivation.builder),
            root: builtins::root(store_dir, &node.derivation, |path| {
                derivations.get(path).copied()
            }),
        })
        .collect()
}

pub(super) fn derivations<'p>(plan: &'p Plan, wanted: &[usize]) -> Vec<&'p StorePath> {
    let paths = wanted
        .iter()
        .map(|index| &plan.nodes()[*index].derivation_path);
    paths.collect()
}

pub(super) fn platform_sandbox(context: &Context) -> Result<Box<dyn Sandbox>, Failure> {
    sandbox::platform(&context.directories.state).map_err(|source| {
        Failure::Build(Box::new(BuildError::Sandbox {
            label: "the sandbox".to_owned(),
            source: Box::new(source),
        }))
    })
}

/// Adds the item at `path`, whose contents the plan knows.
pub(super) fn add_item(store: &Store, plan: &Plan, path: &StorePath) -> Result<(), StoreError> {
    match plan.items().get(path) {
        Some(Item::Text { name, contents }) => {
            store.add_text(name, contents, &Default::default())?;
        }
        Some(Item::Tree { name, tree }) => {
            store.add_tree(name, tree)?;
        }
        // The plan has all sources of its derivations; one that is missing is found out when it is not valid.
        None => {}
    }
    Ok(())
}

pub(super) fn settings(context: &Context) -> BuildSettings {
    let options = &context.options;
    let number = |option: Option<u16>| option.and_then(|number| NonZeroUsize::new(number.into()));
    let all = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let cores = number(options.cores).unwrap_or(all);
    let tokens = tokens(number(options.cores), all);
    let seconds = |option: Option<u64>| option.map(Duration::from_secs);
    BuildSettings {
        system: context.system.name().to_owned(),
        cores,
        tokens,
        max_jobs: number(options.max_jobs).unwrap_or(tokens),
        downloads: DOWNLOADS,
        keep_going: options.keep_going,
        keep_failed: options.keep_failed,
        patience: Patience {
            timeout: seconds(options.timeout),
            max_silent_time: seconds(options.max_silent_time),
            ..Patience::default()
        },
        limits: Limits {
            memory: options.max_memory,
            processes: options.max_processes,
            ..Limits::default()
        },
        user: BuildUser::default(),
        temporary: std::env::temp_dir(),
    }
}

/// How many more jobs than processors there are: for those that sleep (many tests do) or wait for the disk, and hold their
/// tokens all the same. As many as ninja's `GuessParallelism` takes on most machines.
const SPARE: usize = 2;

/// Job tokens on a machine of so many `processors`. Whoever gives a number of `cores` gets just that: the rest of the machine is
/// not for this run to use.
fn tokens(cores: Option<NonZeroUsize>, processors: NonZeroUsize) -> NonZeroUsize {
    cores.unwrap_or_else(|| processors.saturating_add(SPARE))
}

pub(super) fn downloader(context: &Context, planned: &Planned) -> Downloader {
    let distribution = planned.seeds.seed.distribution.as_ref();
    let settings = fetch::Settings {
        offline: context.options.offline,
        apt: distribution.map(|distribution| distribution.apt_settings()),
        mirrors: context.options.mirrors.clone().unwrap_or_default(),
        ..fetch::Settings::new(&context.directories.cache)
    };
    Downloader::new(settings)
}

pub(super) fn follow(context: &Context, events: Receiver<Event>) -> Following {
    let style = match context.options.progress {
        ProgressStyle::Auto => Style::for_terminal(),
        ProgressStyle::Plain => Style::Lines,
        ProgressStyle::Json => Style::Json,
    };
    let verbosity = match (context.options.quiet, context.options.verbose) {
        (true, _) => Verbosity::Quiet,
        (false, 0) => Verbosity::Normal,
        (false, _) => Verbosity::Verbose,
    };
    let reporters: Vec<Box<dyn Reporter>> = vec![
        style.reporter(verbosity, context.color, context.invocation.clone()),
        Box::new(Recorder::new(&Runs::new(&context.directories.state))),
    ];
    progress::follow(events, reporters)
}

/// The first signal stops the run in order, a second one at once: builds die with us in any case.
pub(super) fn cancel_on_signals(cancellation: &Cancellation) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(|error| Failure::Io {
        action: "wait for",
        what: "signals".to_owned(),
        error,
    })?;
    let cancellation = cancellation.clone();
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if cancellation.is_cancelled() {
                // What shells make of a death by signal.
                std::process::exit(128 + signal);
            }
            cancellation.cancel();
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_spare_tokens_unless_cores_are_given() {
        let [two, three, four] = [2, 3, 4].map(|count| NonZeroUsize::new(count).unwrap());
        assert_eq!(tokens(None, two), four);
        assert_eq!(tokens(Some(two), two), two);
        assert_eq!(tokens(Some(three), two), three);
    }
}
