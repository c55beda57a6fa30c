// SPDX-License-Identifier: GPL-3.0-or-later
//! What a build costs beside its builder: sandbox, locks, checks, registration.
//!
//! ```text
//! cargo bench --bench builds -- [BUILDS]
//! ```
//!
//! makes a store in a temporary directory, builds so many derivations (100) one after another whose builder does next
//! to nothing, then asks for them again; and does the same with `nix-build` and its sandbox, where there is one. Prints
//! the ratios to 15 ms for each build, and to nix-build; wanted: at most 1. What asking again costs the whole program
//! is in the benchmark `road`.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bootstrap::builder::builtin::Builtins;
use bootstrap::builder::graph::BuildJob;
use bootstrap::builder::log::LogCompression;
use bootstrap::builder::run::{RunRequest, realise};
use bootstrap::builder::settings::{BuildSettings, Fallback, Tools};
use bootstrap::builder::watch;
use bootstrap::events::cancellation::Cancellation;
use bootstrap::events::{EventSender, Kind};
use bootstrap::formats::derivation::{Derivation, DerivationSet, Output, instantiate};
use bootstrap::formats::nar::Tree;
use bootstrap::formats::store_path::{StoreDir, StorePath};
use bootstrap::sandbox::namespaces::Namespaces;
use bootstrap::sandbox::{BuildUser, ResourceLimits};
use bootstrap::store::Store;
use bootstrap::store::directories::Directories;

/// What a trivial build may take.
const MARK: Duration = Duration::from_millis(15);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let count = std::env::args()
        .skip(1)
        .find(|argument| argument != "--bench");
    let count = count.map_or(Ok(100), |count| count.parse::<usize>())?;
    let directory = tempfile::tempdir()?;
    let toy = directory.path().join("toy");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/build/toy.c");
    let compiled = Command::new("cc")
        .args(["-static", "-O1", "-s", "-o"])
        .args([&toy, &source])
        .status()?;
    if !compiled.success() {
        return Err("cc -static failed".into());
    }
    let builder = std::fs::read(&toy)?;

    println!("{count} trivial builds one after another");
    let ours = Times::print("bootstrap", count, || {
        build(directory.path(), &builder, count)
    })?;
    println!(
        "ratio to {} ms for each build: {:.2}",
        MARK.as_millis(),
        ours.build.as_secs_f64() / count.max(1) as f64 / MARK.as_secs_f64()
    );
    let expression = expression(&toy, count);
    match nix_build(directory.path(), &expression) {
        Ok(first) => {
            let again = nix_build(directory.path(), &expression)?;
            let nix = Times::print("nix-build", count, || Ok((first, again)))?;
            println!(
                "ratio: {:.2} for builds, {:.2} for the no-op",
                ours.build.as_secs_f64() / nix.build.as_secs_f64(),
                ours.again.as_secs_f64() / nix.again.as_secs_f64()
            );
        }
        Err(error) => println!("nix-build: {error}"),
    }
    Ok(())
}

struct Times {
    build: Duration,
    again: Duration,
}

impl Times {
    fn print(
        who: &str,
        count: usize,
        measure: impl FnOnce() -> Result<(Duration, Duration)>,
    ) -> Result<Self> {
        let (build, again) = measure()?;
        let each = build.as_secs_f64() * 1000.0 / count as f64;
        println!(
            "{who}: {each:.1} ms each; {:.1} ms when all are there",
            again.as_secs_f64() * 1000.0
        );
        Ok(Self { build, again })
    }
}

fn build(root: &Path, builder: &[u8], count: usize) -> Result<(Duration, Duration)> {
    let store_dir = StoreDir::new("/gnu/store")?;
    let store = Store::open(Directories::new(store_dir.clone(), Some(root)))?;
    let toy = store.add_tree("toy", &Tree::executable(builder))?;
    let mut known = DerivationSet::new();
    let mut items: Vec<(String, StorePath, Derivation)> = Vec::new();
    for number in 0..count {
        let name = format!("trivial-{number}");
        let derivation = Derivation {
            outputs: BTreeMap::from([("out".to_owned(), Output::input_addressed())]),
            input_sources: [toy.clone()].into(),
            system: "x86_64-linux".to_owned(),
            builder: store_dir.display(&toy).into(),
            arguments: vec!["write $out".into()],
            ..Derivation::default()
        };
        let (path, derivation) = instantiate(&store_dir, &name, derivation, &mut known)?;
        items.push((name, path, derivation));
    }
    let one = NonZeroUsize::MIN;
    let settings = BuildSettings {
        only_elsewhere: false,
        system: "x86_64-linux".to_owned(),
        cores: one,
        tells_all_cores: false,
        tokens: one,
        shared_tokens: None,
        max_jobs: one,
        downloads: one,
        keep_going: false,
        ends_others: false,
        ignores_strays: false,
        fallback: Fallback::Careful,
        keep_failed: false,
        keeps_for: None,
        cache_failures: false,
        log_compression: LogCompression::Gzip,
        rounds: NonZeroU32::MIN,
        build_limits: watch::BuildLimits::default(),
        limits: ResourceLimits::default(),
        user: BuildUser::default(),
        host_directories: BTreeSet::new(),
        sandbox_is_fit: false,
        temporary: root.join("tmp"),
    };
    let sandbox = Namespaces::new(env!("CARGO_BIN_EXE_bootstrap"));
    let run = || -> Result<Duration> {
        let start = Instant::now();
        let graph = items
            .iter()
            .map(|(label, path, derivation)| BuildJob {
                label,
                path,
                derivation,
                size: None,
                typical: None,
                kind: Kind::Build,
                root: None,
            })
            .collect();
        let request = RunRequest {
            graph: &graph,
            wanted: items.iter().map(|(_, path, _)| path.into()).collect(),
            impure: None,
            add_source: &|_, _| Ok(()),
        };
        let tools = Tools {
            hook: None,
            store: &store,
            sandbox: &sandbox,
            builtins: &Builtins::new(),
            alternative: None,
        };
        let report = realise(
            &request,
            tools,
            &settings,
            &EventSender::ignored(),
            &Cancellation::new(),
        )?;
        let elapsed = start.elapsed();
        match report.errors.into_iter().next() {
            Some(error) => Err(error.into()),
            None => Ok(elapsed),
        }
    };
    Ok((run()?, run()?))
}

fn expression(toy: &Path, count: usize) -> String {
    format!(
        "builtins.genList (n: derivation {{ name = \"trivial-${{toString n}}\"; system = \"x86_64-linux\"; \
         builder = \"${{{}}}\"; args = [ \"write $out\" ]; }}) {count}",
        toy.display()
    )
}

/// Builds the expression in a store of its own, with a sandbox and one job at a time.
fn nix_build(root: &Path, expression: &str) -> Result<Duration> {
    let start = Instant::now();
    let options = [
        ("sandbox", "true"),
        ("sandbox-fallback", "false"),
        ("build-users-group", ""),
        ("substitute", "false"),
        ("max-jobs", "1"),
        ("cores", "1"),
    ];
    let mut command = Command::new("nix-build");
    command.args(["--no-out-link", "--expr", expression]);
    for (name, value) in options {
        command.args(["--option", name, value]);
    }
    for (variable, place) in [
        ("NIX_STORE_DIR", "nix/store"),
        ("NIX_STATE_DIR", "nix/state"),
        ("NIX_LOG_DIR", "nix/log"),
        ("NIX_CONF_DIR", "nix/conf"),
    ] {
        command.env(variable, root.join(place));
    }
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(start.elapsed());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(text.lines().last().unwrap_or("failed").into())
}
