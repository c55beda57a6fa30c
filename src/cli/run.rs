//! `all`, `build`, `fetch`: making what is missing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::arguments::{BuildArguments, ProgressStyle};
use super::build_shell;
use super::context::{Context, Planned, print, print_json};
use super::dry_run;
use super::equipment::{
    add_item, cancel_on_signals, derivations, downloader, follow, graph, platform_sandbox, settings,
};
use super::explain;
use super::failure::{Failure, Status};
use super::garbage::ALL;
use super::manifest;
use super::repair;
use super::seeds::Asking;
use super::substitutes;
use super::verify;
use crate::builder::error::BuildError;
use crate::builder::rebuild::{Again, Inspect, rebuild};
use crate::builder::run::{Request, lock_patience, realise};
use crate::builder::scheduler::Report;
use crate::builder::settings::{BuildSettings, Tools};
use crate::builder::variation::Variation;
use crate::engine::builtins::{self, download::Download};
use crate::events::cancellation::Cancellation;
use crate::events::{EventSender, Kind};
use crate::fetch::Downloader;
use crate::formats::store_path::StorePath;
use crate::road::plan::{self, Node, Plan};
use crate::road::seed::Archive;
use crate::road::seed::release;
use crate::store::{OpenOptions, Store};

/// What is wanted of a plan, as indices of its nodes.
type Targets<'t> = &'t dyn Fn(&Plan) -> Result<Vec<usize>, Failure>;

/// `bootstrap all`.
pub fn all(context: &Context, dry_run: bool) -> Result<(), Failure> {
    let targets = |plan: &Plan| Ok(plan.everything()?);
    if dry_run {
        return forecast(context, &targets);
    }
    let run = Run::start(context, &targets)?;
    run.finish(|run, plan, targets| run.add_roots(ALL, plan, plan.closure(targets.iter().copied())))
}

/// `bootstrap build PKG…`.
pub fn build(context: &Context, arguments: &BuildArguments) -> Result<(), Failure> {
    let packages = &arguments.packages;
    if let (Some(link), [_, _, ..]) = (&arguments.add_root, packages.as_slice()) {
        return Err(Failure::Usage(format!(
            "one link, {}, cannot lead to {} packages; expected one package with --add-root",
            link.display(),
            packages.len()
        )));
    }
    let targets = |plan: &Plan| {
        let named = named(plan, packages)?;
        match arguments.dependents {
            true => Ok(plan.dependents(named).into_iter().collect()),
            false => Ok(named),
        }
    };
    if arguments.dry_run {
        return forecast(context, &targets);
    }
    if arguments.repair {
        repair::repair(context, packages)?;
    }
    let run = Run::start(context, &targets)?;
    if arguments.shell_on_failure {
        build_shell::after_failure(&run)?;
    }
    if arguments.check {
        run.succeeded()?;
    }
    run.finish(|run, plan, targets| {
        for target in targets {
            let name = format!("build/{}", plan.nodes()[*target].label);
            run.add_roots(&name, plan, plan.closure([*target]))?;
        }
        if let Some(link) = &arguments.add_root {
            run.add_links(link, &plan.nodes()[plan.find(&packages[0])?])?;
        }
        Ok(())
    })?;
    match arguments.check {
        true => verify::rebuild::check(context, packages),
        false => Ok(()),
    }
}

/// `bootstrap fetch [PKG…]`.
pub fn fetch(context: &Context, packages: &[String], dry_run: bool) -> Result<(), Failure> {
    let targets = |plan: &Plan| {
        let packages = match packages {
            [] => plan.everything()?,
            packages => named(plan, packages)?,
        };
        let needed = plan.closure(packages).into_iter();
        Ok(needed
            .filter(|index| plan.nodes()[*index].kind == plan::Kind::Download)
            .collect())
    };
    if dry_run {
        return forecast(context, &targets);
    }
    Run::start(context, &targets)?.finish(|_, _, _| Ok(()))
}

/// `--dry-run`: what making `targets` would mean.
fn forecast(context: &Context, targets: Targets<'_>) -> Result<(), Failure> {
    let planned = context.plan()?;
    let wanted = targets(&planned.plan)?;
    dry_run::forecast(context, &planned, &wanted)
}

/// The nodes called `names`, each once.
pub(super) fn named(plan: &Plan, names: &[String]) -> Result<Vec<usize>, Failure> {
    let mut targets = Vec::new();
    for name in names {
        let target = plan.find(name)?;
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    Ok(targets)
}

/// A run that is over, and what it worked with.
pub(super) struct Run<'c> {
    context: &'c Context,
    pub(super) store: Store,
    pub(super) planned: Planned,
    targets: Vec<usize>,
    report: Report,
    downloader: Arc<Downloader>,
    cancellation: Cancellation,
}

impl<'c> Run<'c> {
    /// Plans, and makes what is missing of the targets. What could not be made is in the report.
    pub(super) fn start(context: &'c Context, targets: Targets<'_>) -> Result<Self, Failure> {
        Self::start_extended(context, targets, &|_| Ok(()))
    }

    /// Like [`start`](Self::start), with a plan that `extend` has added to.
    pub(super) fn start_extended(
        context: &'c Context,
        targets: Targets<'_>,
        extend: &dyn Fn(&mut Plan) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let cancellation = Cancellation::new();
        cancel_on_signals(&cancellation)?;
        let (events, receiver) = EventSender::channel();
        // From the start: waits for locks and what servers give come before anything is built.
        let reporter = follow(context, receiver);
        let run = Self::begun(context, targets, extend, events, cancellation);
        reporter.end();
        run
    }

    /// The run, whose events somebody reads.
    fn begun(
        context: &'c Context,
        targets: Targets<'_>,
        extend: &dyn Fn(&mut Plan) -> Result<(), Failure>,
        events: EventSender,
        cancellation: Cancellation,
    ) -> Result<Self, Failure> {
        let options = OpenOptions {
            patience: lock_patience(&events, &cancellation),
            ..OpenOptions::default()
        };
        events.preparing("reading recipes and seed");
        let mut planned = context.plan()?;
        extend(&mut planned.plan)?;
        let mut wanted = targets(&planned.plan)?;
        events.preparing("opening the store");
        let store = Store::open_with(context.directories.clone(), options)?;
        let downloader = Arc::new(downloader(context, &planned));
        events.preparing("looking up what is missing");
        let stopped =
            substitutes::install(context, &planned, &wanted, &store, &events, &cancellation)?;
        if let Some(report) = stopped {
            return Ok(Self {
                context,
                store,
                targets: wanted,
                planned,
                report,
                downloader,
                cancellation,
            });
        }
        let Missing { archives, builds } = missing(&planned, &wanted, &store, &downloader)?;
        if !archives.is_empty() {
            // What the lock pins may be gone from the archive.
            let has = |archive: &Archive| !archives.contains(&archive.sha256);
            let index = downloader.apt();
            let asking = Asking {
                has: &has,
                index: index.as_ref().map(|apt| apt as _),
            };
            events.preparing("checking the seed's packages against their archive");
            planned = context.plan_with(&asking)?;
            extend(&mut planned.plan)?;
            wanted = targets(&planned.plan)?;
        }
        if wanted
            .iter()
            .any(|index| planned.plan.nodes()[*index].kind != plan::Kind::Download)
        {
            release::check_host(&planned.seeds.seed)?;
        }
        if !builds.is_empty() && !context.options.quiet {
            for line in explain::in_short(context, &planned, &builds) {
                context.note(&line);
            }
        }
        events.preparing("writing derivations and checking the sandbox");
        let report = realise_targets(
            context,
            &planned,
            &wanted,
            &store,
            Arc::clone(&downloader),
            &events,
            &cancellation,
        )?;
        Ok(Self {
            context,
            store,
            targets: wanted,
            planned,
            report,
            downloader,
            cancellation,
        })
    }

    /// The options of the run.
    pub(super) fn context(&self) -> &'c Context {
        self.context
    }

    /// What went wrong.
    pub(super) fn errors(&self) -> &[BuildError] {
        &self.report.errors
    }

    /// Fails where something could not be made, and says what in words.
    pub(super) fn succeeded(&self) -> Result<(), Failure> {
        let Some(failure) = failure(&self.report) else {
            return Ok(());
        };
        if !self.context.options.quiet {
            self.context.sum_up(&self.report.summary);
        }
        Err(failure)
    }

    /// Makes the nodes `wanted` of the plan again, all of whose inputs are valid, and has `inspect` look at each.
    pub(super) fn rebuild(
        &self,
        wanted: &[usize],
        variation: &Variation,
        inspect: Inspect<'_>,
    ) -> Result<Report, Failure> {
        let plan = &self.planned.plan;
        let graph = graph(plan, &self.context.directories.store_dir);
        let again = Again {
            graph: &graph,
            wanted: derivations(plan, wanted),
            variation: variation.clone(),
            impure: self.planned.seeds.seed.impurity(),
        };
        let sandbox = platform_sandbox(self.context)?;
        let download = Download {
            fetcher: self.downloader.clone(),
        };
        let builtins = builtins::all(&download);
        let tools = Tools {
            store: &self.store,
            sandbox: sandbox.as_ref(),
            builtins: &builtins,
        };
        let (events, receiver) = EventSender::channel();
        let reporter = follow(self.context, receiver);
        let settings = BuildSettings {
            // One that cannot be built again says nothing of the others.
            keep_going: true,
            ..settings(self.context)
        };
        let report = rebuild(
            &again,
            tools,
            &settings,
            inspect,
            &events,
            &self.cancellation,
        );
        drop(events);
        reporter.end();
        report.map_err(|error| Failure::Build(Box::new(error)))
    }

    /// Leaves roots with `add_roots` where all went well, sums up, and says where everything is.
    fn finish(
        self,
        add_roots: impl FnOnce(&Self, &Plan, &[usize]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let context = self.context;
        let plan = &self.planned.plan;
        let summary = &self.report.summary;
        let failure = failure(&self.report);
        if failure.is_none() {
            add_roots(&self, plan, &self.targets)?;
        }
        let changed = !summary.made.is_empty();
        if changed && let Err(failure) = manifest::write(context, &self.planned, summary) {
            // What was built is there, and how that ended does not depend on a note of it.
            context.note(&format!(
                "this run leaves no record of what it was made from: {failure}"
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
                context.note_impurity(&self.planned);
            }
            if failure.is_none() {
                let outputs = self
                    .targets
                    .iter()
                    .flat_map(|target| plan.nodes()[*target].output_paths());
                let lines: String = outputs
                    .map(|(_, path)| format!("{}\n", context.shown(path)))
                    .collect();
                print(&lines)?;
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Makes the packages among `nodes` the newest generation of roots called `name`: what people use, and the stages
    /// before it, which a changed recipe would want again. Sources and seeds can go.
    pub(super) fn add_roots(
        &self,
        name: &str,
        plan: &Plan,
        nodes: impl IntoIterator<Item = usize>,
    ) -> Result<(), Failure> {
        let nodes = nodes.into_iter().map(|index| &plan.nodes()[index]);
        let outputs: Vec<(String, &StorePath)> = nodes
            .filter(|node| node.stage.is_some())
            .flat_map(|node| {
                let label = &node.label;
                node.output_paths()
                    .map(move |(output, path)| (format!("{label}/{output}"), path))
            })
            .collect();
        // A stage before may be gone while what was built from it is still there.
        let valid = self
            .store
            .valid_among(outputs.iter().map(|(_, path)| *path))?;
        let roots: BTreeMap<String, StorePath> = outputs
            .into_iter()
            .filter(|(_, path)| valid.contains(*path))
            .map(|(label, path)| (label, path.clone()))
            .collect();
        self.store.add_generation(name, &roots)?;
        Ok(())
    }

    /// Makes links to the outputs of `node`, which are roots: `link` to `out`, `link-NAME` to others.
    fn add_links(&self, link: &Path, node: &Node) -> Result<(), Failure> {
        for (output, path) in node.output_paths() {
            let mut name = link.as_os_str().to_owned();
            if output != "out" {
                name.push("-");
                name.push(output);
            }
            self.store.add_indirect_root(Path::new(&name), path)?;
        }
        Ok(())
    }
}

/// What a run would have to make.
struct Missing {
    /// The SHA-256 of those archives of seeds that would have to be fetched.
    archives: Vec<crate::formats::hash::Sha256Digest>,
    /// The labels of what would be built.
    builds: Vec<String>,
}

fn missing(
    planned: &Planned,
    wanted: &[usize],
    store: &Store,
    downloader: &Downloader,
) -> Result<Missing, Failure> {
    let plan = &planned.plan;
    let graph = graph(plan, &store.directories().store_dir);
    let todo = graph
        .missing(derivations(plan, wanted), store, |_| None)
        .map_err(|error| Failure::Build(Box::new(error.into())))?;
    let archives: Vec<_> = planned
        .seeds
        .archives()
        .map(|archive| archive.sha256)
        .collect();
    let of_kind = |kind: Kind| todo.tasks.iter().filter(move |task| task.job.kind == kind);
    Ok(Missing {
        archives: of_kind(Kind::Download)
            .filter_map(|task| task.job.derivation.fixed_output()?.hash.sha256())
            .filter(|sha256| archives.contains(sha256) && !downloader.cache().holds(sha256))
            .collect(),
        builds: of_kind(Kind::Build)
            .map(|task| task.job.label.to_owned())
            .collect(),
    })
}

fn realise_targets(
    context: &Context,
    planned: &Planned,
    wanted: &[usize],
    store: &Store,
    downloader: Arc<Downloader>,
    events: &EventSender,
    cancellation: &Cancellation,
) -> Result<Report, Failure> {
    let plan = &planned.plan;
    let add_source = |store: &Store, path: &StorePath| add_item(store, plan, path);
    let graph = graph(plan, &context.directories.store_dir);
    let request = Request {
        graph: &graph,
        wanted: derivations(plan, wanted),
        impure: planned.seeds.seed.impurity(),
        add_source: &add_source,
    };
    let sandbox = platform_sandbox(context)?;
    let download = Download {
        fetcher: downloader,
    };
    let builtins = builtins::all(&download);
    let tools = Tools {
        store,
        sandbox: sandbox.as_ref(),
        builtins: &builtins,
    };
    realise(&request, tools, &settings(context), events, cancellation)
        .map_err(|error| Failure::Build(Box::new(error)))
}

/// What a report means for the exit status: a failure's own, of several the first one's.
pub(super) fn failure(report: &Report) -> Option<Failure> {
    let summary = &report.summary;
    let count = summary.failed.len();
    let real = report
        .errors
        .iter()
        .find(|error| !matches!(error, BuildError::Interrupted));
    let message = match real {
        Some(_) => {
            let untried = summary.skipped.len() + summary.not_started.len();
            let all = summary.made.len() + count + untried;
            match untried {
                0 => format!("{count} of {all} failed"),
                1 => format!("{count} of {all} failed, and 1 was not tried"),
                _ => format!("{count} of {all} failed, and {untried} were not tried"),
            }
        }
        None if summary.interrupted => {
            "interrupted; the same command goes on where this one stopped".to_owned()
        }
        None => return None,
    };
    let status = real.map_or(Status::Failed, |error| error.kind().into());
    Some(Failure::Told { message, status })
}
