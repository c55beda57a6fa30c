//! `--dry-run`: what a run would download, build and reuse, without doing any of it.

use std::collections::BTreeSet;

use serde::Serialize;

use super::context::{Context, Planned, print, print_json};
use super::equipment::{derivations, downloader, graph, settings};
use super::failure::Failure;
use crate::build::builder::Settings;
use crate::build::error::BuildError;
use crate::build::events::{Event, Kind, PlannedItem};
use crate::build::graph::Task;
use crate::build::history::History;
use crate::progress::estimate::Estimator;
use crate::progress::size;

/// What would be done, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Forecast<'p> {
    downloads: Vec<Download<'p>>,
    builds: Vec<Build<'p>>,
    /// Labels of packages that are there already.
    reused: Vec<&'p str>,
    /// How long the whole run would take, in seconds, by what earlier runs took; `null` where too little is known.
    seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Download<'p> {
    item: &'p str,
    /// In bytes, where that is known.
    size: Option<u64>,
    /// Whether it is in the cache: nothing would cross the network.
    cached: bool,
}

#[derive(Debug, Serialize)]
struct Build<'p> {
    item: &'p str,
    kind: Kind,
    /// What it took when it was last made here, in seconds.
    seconds: Option<f64>,
}

/// Says what making `wanted` would mean.
pub fn forecast(context: &Context, planned: &Planned, wanted: &[usize]) -> Result<(), Failure> {
    let plan = &planned.plan;
    let store = context.store_to_read()?;
    let downloader = downloader(context, planned);
    let graph = graph(plan);
    let durations = History::new(&context.directories.state).durations();
    let todo = graph
        .missing_now(derivations(plan, wanted), &store, |label| {
            durations.get(label).copied()
        })
        .map_err(|error| Failure::Build(Box::new(BuildError::from(error))))?;
    let (downloads, builds): (Vec<&Task<'_>>, Vec<&Task<'_>>) = todo
        .tasks
        .iter()
        .partition(|task| task.job.kind() == Kind::Download);
    let missing: BTreeSet<&str> = todo.tasks.iter().map(|task| task.job.label).collect();
    let closure = plan.closure(wanted.iter().copied());
    let packages = closure.iter().map(|index| &plan.nodes()[*index]);
    let packages: Vec<_> = packages
        .filter(|node| node.stage.is_some() && !missing.contains(node.label.as_str()))
        .collect();
    let outputs = packages.iter().flat_map(|node| node.output_paths());
    let valid = store.valid_among(outputs.map(|(_, path)| path))?;
    let reused = packages
        .iter()
        .filter(|node| node.output_paths().all(|(_, path)| valid.contains(path)));
    let forecast = Forecast {
        downloads: downloads
            .iter()
            .map(|task| {
                let fixed = task.job.derivation.fixed_output();
                let size = task.job.derivation.environment.get("size");
                Download {
                    item: task.job.label,
                    size: size.and_then(|size| size.parse().ok()),
                    cached: fixed.is_some_and(|fixed| downloader.cache().holds(&fixed.hash)),
                }
            })
            .collect(),
        builds: builds
            .iter()
            .map(|task| Build {
                item: task.job.label,
                kind: task.job.kind(),
                seconds: task.expected.map(|expected| expected.as_secs_f64()),
            })
            .collect(),
        reused: reused.map(|node| node.label.as_str()).collect(),
        seconds: seconds(&todo.tasks, &settings(context)),
    };
    match context.options.json {
        true => print_json(&forecast),
        false => print(&describe(&forecast)),
    }
}

/// How long all of `tasks` would take.
fn seconds(tasks: &[Task<'_>], settings: &Settings) -> Option<f64> {
    let item = |task: &Task<'_>| PlannedItem {
        item: task.job.label.to_owned(),
        kind: task.job.kind(),
        inputs: task
            .inputs
            .iter()
            .map(|input| tasks[*input].job.label.to_owned())
            .collect(),
        seconds: task.expected.map(|expected| expected.as_secs_f64()),
    };
    let planned = Event::Planned {
        items: tasks.iter().map(item).collect(),
        jobs: settings.max_jobs.get(),
        downloads: settings.downloads.get(),
        cores: settings.cores.get(),
    };
    let mut estimator = Estimator::default();
    estimator.observe(&planned, 0.0);
    estimator.remaining(0.0).map(|time| time.as_secs_f64())
}

fn describe(forecast: &Forecast<'_>) -> String {
    let mut text = String::new();
    let fetched: Vec<_> = forecast
        .downloads
        .iter()
        .filter(|file| !file.cached)
        .collect();
    if !forecast.downloads.is_empty() {
        let known: u64 = fetched.iter().filter_map(|file| file.size).sum();
        let unknown = fetched.iter().filter(|file| file.size.is_none()).count();
        text.push_str(&format!(
            "to download: {} file{}",
            fetched.len(),
            plural(fetched.len())
        ));
        if known > 0 {
            text.push_str(&format!(", {}", size::bytes(known)));
        }
        if unknown > 0 {
            text.push_str(&format!(", {unknown} of them of unknown size"));
        }
        let cached = forecast.downloads.len() - fetched.len();
        if cached > 0 {
            text.push_str(&format!("; {cached} more from the cache"));
        }
        text.push('\n');
        for file in fetched {
            let size = file
                .size
                .map_or_else(|| "size unknown".to_owned(), size::bytes);
            text.push_str(&format!("  {}  {size}\n", file.item));
        }
    }
    if !forecast.builds.is_empty() {
        text.push_str(&format!("to build: {}", forecast.builds.len()));
        match forecast.seconds {
            Some(seconds) => {
                text.push_str(&format!(", in about {}\n", size::seconds(seconds)));
            }
            None => {
                text.push_str("; how long that takes is not known, for most was never built here\n")
            }
        }
        let width = forecast.builds.iter().map(|build| build.item.len()).max();
        let width = width.unwrap_or(0);
        for build in &forecast.builds {
            let took = match build.seconds {
                Some(seconds) => format!("took {} last time", size::seconds(seconds)),
                None => "never built here".to_owned(),
            };
            text.push_str(&format!("  {:<width$}  {took}\n", build.item));
        }
    }
    if !forecast.reused.is_empty() {
        text.push_str(&format!("there already: {}\n", forecast.reused.join(" ")));
    }
    if forecast.builds.is_empty() && forecast.downloads.is_empty() {
        text.push_str("nothing to do\n");
    }
    text
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forecast_reads_well() {
        let forecast = Forecast {
            downloads: vec![
                Download {
                    item: "seed/a.deb",
                    size: Some(3 << 20),
                    cached: false,
                },
                Download {
                    item: "source/b.tar.xz",
                    size: None,
                    cached: false,
                },
                Download {
                    item: "source/c.tar.xz",
                    size: Some(1),
                    cached: true,
                },
            ],
            builds: vec![
                Build {
                    item: "gcc",
                    kind: Kind::Build,
                    seconds: Some(1800.0),
                },
                Build {
                    item: "ld-wrapper",
                    kind: Kind::Build,
                    seconds: None,
                },
            ],
            reused: vec!["libc"],
            seconds: Some(1801.0),
        };
        assert_eq!(
            describe(&forecast),
            "to download: 2 files, 3.0 MiB, 1 of them of unknown size; 1 more from the cache\n  \
             seed/a.deb  3.0 MiB\n  source/b.tar.xz  size unknown\n\
             to build: 2, in about 30 min 01 s\n  \
             gcc         took 30 min 00 s last time\n  ld-wrapper  never built here\n\
             there already: libc\n"
        );
    }
}
