// SPDX-License-Identifier: GPL-3.0-or-later
//! A place to build in: a store, and derivations whose builder is the toy.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bootstrap::builder::alternative::{Alternative, Delivery};
use bootstrap::builder::builtin::Builtins;
use bootstrap::builder::error::{BuildError, BuildFailureCause, FailureKind};
use bootstrap::builder::graph::{BuildGraph, BuildJob, Offered, WantedJob};
use bootstrap::builder::log::LogCompression;
use bootstrap::builder::rebuild::{Again, rebuild};
use bootstrap::builder::run::{RunRequest, lock_policy, realise};
use bootstrap::builder::scheduler::RunReport;
use bootstrap::builder::settings::{BuildSettings, Fallback, Tools};
use bootstrap::builder::variation::Variation;
use bootstrap::builder::watch;
use bootstrap::engine::builtins::download::DownloadBuiltin;
use bootstrap::engine::builtins::seed::UnpackSeed;
use bootstrap::engine::builtins::{self, DOWNLOAD, UNPACK_SEED};
use bootstrap::events::cancellation::Cancellation;
use bootstrap::events::{Event, EventSender};
use bootstrap::fetch::{self, Attempts, FetchError, FetchedFile, Fetcher, Progress};
use bootstrap::formats::derivation::{Derivation, DerivationSet, Output, instantiate};
use bootstrap::formats::nar::Tree;
use bootstrap::formats::store_path::{StoreDir, StorePath};
use bootstrap::road::seed::unpack::{SeedUnpacker, Unpacker};
use bootstrap::sandbox::namespaces::Namespaces;
use bootstrap::sandbox::{BuildUser, ResourceLimits};
use bootstrap::store::directories::Directories;
use bootstrap::store::remove::remove_tree;
use bootstrap::store::{OpenOptions, Store};

/// Serves files from a directory, by name; refuses the rest.
#[derive(Debug)]
pub struct Shelf(pub PathBuf);

impl Fetcher for Shelf {
    fn fetch(
        &self,
        request: &fetch::FetchRequest,
        progress: &dyn Fn(Progress<'_>),
    ) -> Result<FetchedFile, FetchError> {
        let file = self.0.join(&request.name);
        if request.name == "endless" {
            std::thread::sleep(std::time::Duration::from_secs(600));
        }
        if !file.exists() {
            return Err(FetchError::NotFetched {
                name: request.name.clone(),
                hash: request.hash,
                attempts: Attempts::default(),
                cache: self.0.clone(),
            });
        }
        progress(Progress {
            name: &request.name,
            received: 1,
            total: request.size,
            location: "the shelf",
        });
        Ok(FetchedFile {
            path: file,
            cached: false,
        })
    }
}

/// Offers the items with these labels, and delivers none.
pub struct Promises(pub Vec<&'static str>);

impl Alternative for Promises {
    fn offers(&self, jobs: &[WantedJob<'_>]) -> Result<Vec<Option<Offered>>, BuildError> {
        let offers = jobs.iter().map(|job| {
            let brings = job.outputs.clone();
            self.0
                .contains(&job.job.label)
                .then_some(Offered { brings })
        });
        Ok(offers.collect())
    }

    fn make(&self, _: BuildJob<'_>, _: &BTreeSet<StorePath>) -> Result<Delivery, BuildError> {
        Ok(Delivery::Failed)
    }

    fn pause(&self) {}
}

/// The toy builder, compiled once.
pub fn toy() -> &'static [u8] {
    static TOY: OnceLock<Vec<u8>> = OnceLock::new();
    TOY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/build/toy.c");
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("toy");
        let compiled = Command::new("cc")
            .args(["-static", "-O1", "-Wall", "-Wextra", "-Werror", "-s", "-o"])
            .args([&program, &source])
            .status()
            .expect("these tests need a C compiler");
        assert!(compiled.success(), "cc -static failed");
        fs::read(&program).unwrap()
    })
}

/// One derivation of a site.
pub struct Item {
    pub label: String,
    pub path: StorePath,
    pub derivation: Derivation,
}

/// A temporary directory with a store in it, whose read-only directories only root could remove without further ado.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let removed = remove_tree(&self.0);
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
    }
}

pub struct Site {
    /// The directory to be removed at the end; `None` where another owns it.
    _temporary: Option<Temporary>,
    pub root: PathBuf,
    pub store: Store,
    pub sandbox: Namespaces,
    pub settings: BuildSettings,
    pub cancellation: Cancellation,
    /// Another way to make items.
    pub promises: Option<Promises>,
    events: EventSender,
    received: Arc<Mutex<Vec<Event>>>,
    toy: StorePath,
    known: DerivationSet,
    pub items: Vec<Item>,
}

impl Site {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap().keep();
        Self {
            _temporary: Some(Temporary(root.clone())),
            ..Self::at(&root)
        }
    }

    /// A site in a directory that others share.
    pub fn at(root: &Path) -> Self {
        let store_dir = StoreDir::new("/gnu/store").unwrap();
        let (events, receiver) = EventSender::channel();
        let received = Arc::new(Mutex::new(Vec::new()));
        let collected = Arc::clone(&received);
        // Ends with the site, which has the other end.
        std::thread::spawn(move || {
            for event in receiver {
                collected.lock().unwrap().push(event);
            }
        });
        let cancellation = Cancellation::new();
        let options = OpenOptions {
            lock_policy: lock_policy(&events, &cancellation),
            ..OpenOptions::default()
        };
        let store =
            Store::open_with(Directories::new(store_dir.clone(), Some(root)), options).unwrap();
        let tree = Tree::executable(toy());
        let toy = bootstrap::formats::store_path::source_path(
            &store_dir,
            "toy",
            &tree.nar_sha256().unwrap(),
            &Default::default(),
        );
        let two = NonZeroUsize::new(2).unwrap();
        Self {
            _temporary: None,
            root: root.to_owned(),
            store,
            sandbox: Namespaces::new(env!("CARGO_BIN_EXE_bootstrap")),
            settings: BuildSettings {
                only_elsewhere: false,
                system: "x86_64-linux".to_owned(),
                cores: two,
                tells_all_cores: false,
                tokens: two,
                shared_tokens: None,
                max_jobs: two,
                downloads: two,
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
            },
            cancellation,
            promises: None,
            events,
            received,
            toy: toy.unwrap(),
            known: DerivationSet::new(),
            items: Vec::new(),
        }
    }

    /// Adds a derivation that runs `commands` and has an output `out`. Gives its number.
    pub fn add(&mut self, label: &str, commands: &[&str]) -> usize {
        self.add_with(label, commands, |_, _| {})
    }

    /// As [`add`](Self::add), for a build that shares jobs as those by this program's phases do.
    pub fn add_own(&mut self, label: &str, commands: &[&str]) -> usize {
        self.add_with(label, commands, |_, derivation| share_jobs(derivation))
    }

    /// Adds a derivation that `change` may change.
    pub fn add_with(
        &mut self,
        label: &str,
        commands: &[&str],
        change: impl FnOnce(&Self, &mut Derivation),
    ) -> usize {
        let mut derivation = Derivation {
            outputs: BTreeMap::from([("out".to_owned(), Output::input_addressed())]),
            input_sources: [self.toy.clone()].into(),
            system: "x86_64-linux".to_owned(),
            builder: self.store.directories().store_dir.display(&self.toy).into(),
            arguments: commands.iter().map(|&command| command.into()).collect(),
            environment: [("name", label)].into(),
            ..Derivation::default()
        };
        change(self, &mut derivation);
        let store_dir = &self.store.directories().store_dir;
        let (path, derivation) =
            instantiate(store_dir, label, derivation, &mut self.known).unwrap();
        self.items.push(Item {
            label: label.to_owned(),
            path,
            derivation,
        });
        self.items.len() - 1
    }

    /// Makes item `input` an input of `derivation`.
    pub fn input(&self, derivation: &mut Derivation, input: usize) {
        let input = &self.items[input];
        let outputs = input.derivation.outputs.keys().cloned().collect();
        derivation
            .input_derivations
            .insert(input.path.clone(), outputs);
    }

    /// The logical path of an output of an item.
    pub fn logical(&self, item: usize, output: &str) -> String {
        let path = self.items[item].derivation.output_path(output).unwrap();
        self.store.directories().store_dir.display(path)
    }

    /// Where the output `out` of an item is on disk.
    pub fn physical(&self, item: usize) -> PathBuf {
        let path = self.items[item].derivation.output_path("out").unwrap();
        self.store.directories().physical(path)
    }

    pub fn is_valid(&self, item: usize) -> bool {
        let path = self.items[item].derivation.output_path("out").unwrap();
        self.store.is_valid(path).unwrap()
    }

    /// Builds the items, and gives what became of the run.
    pub fn try_run(&self, wanted: &[usize]) -> Result<RunReport, BuildError> {
        let graph = self.graph();
        let request = RunRequest {
            graph: &graph,
            wanted: wanted
                .iter()
                .map(|item| (&self.items[*item].path).into())
                .collect(),
            impure: None,
            add_source: &|store, path| {
                assert_eq!(*path, self.toy);
                store.add_tree("toy", &Tree::executable(toy())).map(drop)
            },
        };
        let download = self.download();
        let builtins = Builtins::new().with(DOWNLOAD, &download).with(
            UNPACK_SEED,
            &UnpackSeed {
                unpacker: &Unpacker,
            },
        );
        realise(
            &request,
            self.tools(&builtins),
            &self.settings,
            &self.events,
            &self.cancellation,
        )
    }

    /// Builds valid items again, or seeds with `unpacker`, and looks at nothing.
    pub fn build_again(&self, wanted: &[usize], unpacker: &dyn SeedUnpacker) -> RunReport {
        let graph = self.graph();
        let again = Again {
            graph: &graph,
            wanted: wanted.iter().map(|item| &self.items[*item].path).collect(),
            variation: Variation::default(),
            impure: None,
            add_source: &|_, _| Ok(()),
            log_apart: true,
        };
        let unpack_seed = UnpackSeed { unpacker };
        let builtins = Builtins::new().with(UNPACK_SEED, &unpack_seed);
        rebuild(
            &again,
            self.tools(&builtins),
            &self.settings,
            &|_| Ok(()),
            &self.events,
            &self.cancellation,
        )
        .unwrap()
    }

    /// All items.
    fn graph(&self) -> BuildGraph<'_> {
        self.items
            .iter()
            .map(|item| BuildJob {
                label: &item.label,
                path: &item.path,
                derivation: &item.derivation,
                size: None,
                typical: None,
                kind: builtins::kind(&item.derivation.builder),
                root: builtins::root(
                    &self.store.directories().store_dir,
                    &item.derivation,
                    |path| {
                        let mut items = self.items.iter();
                        let found = items.find(|other| other.path == *path);
                        found.map(|other| &other.derivation)
                    },
                ),
            })
            .collect()
    }

    fn download(&self) -> DownloadBuiltin {
        DownloadBuiltin {
            fetcher: Arc::new(Shelf(self.root.join("shelf"))),
        }
    }

    fn tools<'t>(&'t self, builtins: &'t Builtins<'t>) -> Tools<'t> {
        Tools {
            hook: None,
            store: &self.store,
            sandbox: &self.sandbox,
            builtins,
            alternative: self.promises.as_ref().map(|promises| promises as _),
        }
    }

    pub fn run(&self, wanted: &[usize]) -> RunReport {
        self.try_run(wanted).unwrap()
    }

    /// Builds one item, which must work.
    pub fn build(&self, item: usize) {
        let report = self.run(&[item]);
        assert!(report.errors.is_empty(), "{}", report.errors[0]);
        assert!(self.is_valid(item));
        self.assert_clean();
    }

    /// Builds one item, which must fail, and leave nothing behind. Gives the error.
    pub fn fail(&self, item: usize) -> BuildError {
        let mut report = self.run(&[item]);
        assert_eq!(report.errors.len(), 1, "{report:?}");
        assert!(!self.is_valid(item));
        assert!(!self.physical(item).exists());
        self.assert_clean();
        report.errors.remove(0)
    }

    /// Builds one item, which must fail as a build. Gives the cause.
    pub fn fail_build(&self, item: usize) -> BuildFailureCause {
        let error = self.fail(item);
        let kind = error.kind();
        let BuildError::Failed(failed) = error else {
            panic!("{error}");
        };
        let expected = match failed.cause {
            BuildFailureCause::HashDiffers { .. } => FailureKind::HashDiffers,
            BuildFailureCause::NoSpace { .. } => FailureKind::Environment,
            _ => FailureKind::Build,
        };
        assert_eq!(kind, expected);
        failed.cause
    }

    /// The events of runs that have ended, since they were last asked for.
    pub fn events(&self) -> Vec<Event> {
        let start = Instant::now();
        loop {
            let mut received = self.received.lock().unwrap();
            if matches!(received.last(), Some(Event::RunFinished { .. })) {
                return std::mem::take(&mut *received);
            }
            drop(received);
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "the run does not end"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// No staging directory, lock or build directory is left.
    pub fn assert_clean(&self) {
        let directories = self.store.directories();
        for entry in fs::read_dir(&directories.store).unwrap() {
            let name = entry.unwrap().file_name();
            let text = name.to_str().unwrap();
            assert!(
                !text.ends_with(".chroot") && !text.ends_with(".lock"),
                "left: {text}"
            );
        }
        let trash = directories.store.join("trash");
        assert!(!trash.exists() || fs::read_dir(&trash).unwrap().count() == 0);
        let scratch = names(&self.settings.temporary);
        assert!(
            !scratch
                .iter()
                .any(|name| name.starts_with("bootstrap-build-")),
            "{scratch:?}"
        );
    }
}

/// The names in a directory, sorted; none where it is not there.
pub fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Has the build of `derivation` count on the pipe of tokens.
pub fn share_jobs(derivation: &mut Derivation) {
    derivation
        .environment
        .insert("phasesDirectory", "/gnu/store/none");
}
