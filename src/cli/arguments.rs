// SPDX-License-Identifier: GPL-3.0-or-later
//! The command line as users type it. What each command does is in the module of its name.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::fetch::mirrors::Mirrors;
use crate::formats::system::System;
use crate::show::progress::invocation::Invocation;

mod commands;
mod daemon;
mod examples;

pub use commands::{BuildArguments, LOCK, SeedCommand, VerifyArguments};
pub use daemon::DaemonArguments;
use examples::*;

/// Build the implicit inputs of GNU Guix's gnu-build-system from an official base system
#[derive(Debug, Parser)]
#[command(name = "bootstrap", version, max_term_width = 100, disable_help_subcommand = true, after_help = EXIT_STATUS, after_long_help = format!("{EXIT_STATUS}\n\n{SETTINGS}"))]
pub struct Arguments {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The store directory of Guix, and of everything that is to be shared.
const STORE_DIR: &str = "/gnu/store";

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Build for this system [default: the seed's; without --seed, the host's]
    #[arg(long, global = true, value_name = "SYSTEM")]
    pub system: Option<System>,
    /// Start from this seed, or `host`, a running FreeBSD's own base [default: the system's; see `bootstrap seed list`]
    #[arg(long, global = true, value_name = "NAME")]
    pub seed: Option<String>,
    /// Start from this base archive or unpacked base directory; --seed names the seed that it resembles
    #[arg(long, global = true, value_name = "PATH")]
    pub seed_file: Option<PathBuf>,
    /// Put store, state, logs and cache under DIR; builds still see the store directory's own name
    #[arg(long, global = true, value_name = "DIR", env = "BOOTSTRAP_ROOT")]
    pub root: Option<PathBuf>,
    /// The store directory; every store path depends on it
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = STORE_DIR,
        hide_short_help = true
    )]
    pub store_dir: String,
    /// The directory of database, roots and locks [default: /var/guix, under --root]
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    pub state_dir: Option<PathBuf>,
    /// The directory of build logs [default: /var/log/guix, under --root]
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    pub log_dir: Option<PathBuf>,
    /// The directory of downloads [default: /var/cache/bootstrap, under --root]
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    pub cache_dir: Option<PathBuf>,
    /// Read recipes from DIR instead of the binary, and phases from the folder stage0 beside it
    #[arg(long, global = true, value_name = "DIR")]
    pub recipes: Option<PathBuf>,
    /// Read seeds from DIR instead of the binary
    #[arg(long, global = true, value_name = "DIR")]
    pub seeds: Option<PathBuf>,
    /// Run at most N builds at a time [default: as many as jobs, see --cores; `daemon`: 1 for each client]
    #[arg(short = 'j', long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub max_jobs: Option<u16>,
    /// Keep N processor cores busy, all builds together; with `daemon`, each build [default: all]
    ///
    /// N jobs run at a time, never more. By default there are two more jobs than processors, since jobs that sleep, as
    /// many tests do, leave processors idle.
    #[arg(short = 'c', long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub cores: Option<u16>,
    /// Keep the build directory of a failed build. Clients of `daemon` say this themselves, and --keep-going
    #[arg(short = 'K', long, global = true)]
    pub keep_failed: bool,
    /// After a failure, go on with what does not depend on it
    #[arg(long, global = true)]
    pub keep_going: bool,
    /// Use no network: sources and seed must be in the store or the cache; of substitute servers, folders are asked
    #[arg(long, global = true)]
    pub offline: bool,
    /// Take store items from these servers, separated by spaces, where they have them signed by a trusted key
    #[arg(long, global = true, value_name = "URLS", hide_short_help = true)]
    pub substitute_urls: Option<String>,
    /// The public keys whose signatures are trusted, separated by spaces; `daemon` has --acl instead
    #[arg(long, global = true, value_name = "KEYS", hide_short_help = true)]
    pub trusted_keys: Option<String>,
    /// Use these servers for `mirror://NAME/` in place of the usual ones: NAME=URL, separated by spaces
    #[arg(
        long,
        global = true,
        value_name = "MIRRORS",
        env = "BOOTSTRAP_MIRRORS",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub mirrors: Option<Mirrors>,
    /// Take what the seed's pinned lock says, also where `seed update` has replaced it on this machine
    #[arg(long, global = true)]
    pub locked: bool,
    /// Stop a build that takes longer than SECONDS [default: never; `daemon`: 86400]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..), hide_short_help = true)]
    pub timeout: Option<u64>,
    /// Stop a build that says nothing for SECONDS [default: never; `daemon`: 3600]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..), hide_short_help = true)]
    pub max_silent_time: Option<u64>,
    /// Let no process of a build have more than SIZE of address space: a number with K, M, G or T
    #[arg(long, global = true, value_name = "SIZE", value_parser = crate::show::progress::size::parse, hide_short_help = true)]
    pub max_memory: Option<u64>,
    /// Let no build have more than N processes and threads at a time
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), hide_short_help = true)]
    pub max_processes: Option<u64>,
    /// How to show progress
    #[arg(long, global = true, value_enum, default_value_t = ProgressStyle::Auto, value_name = "HOW", hide_possible_values = false)]
    pub progress: ProgressStyle,
    /// Show what builds print; twice, say what this program does as well
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Show nothing but errors and what was asked for
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
    /// Print JSON, where the command prints data
    #[arg(long, global = true)]
    pub json: bool,
}

impl Global {
    /// How commands are typed that are about the same store, recipes and seed.
    pub fn invocation(&self) -> Invocation {
        let path = |path: &Option<PathBuf>| Some(path.as_ref()?.to_string_lossy().into_owned());
        let options = [
            ("system", self.system.map(|system| system.name().to_owned())),
            ("seed", self.seed.clone()),
            ("seed-file", path(&self.seed_file)),
            ("root", path(&self.root)),
            (
                "store-dir",
                (self.store_dir != STORE_DIR).then(|| self.store_dir.clone()),
            ),
            ("state-dir", path(&self.state_dir)),
            ("log-dir", path(&self.log_dir)),
            ("cache-dir", path(&self.cache_dir)),
            ("recipes", path(&self.recipes)),
            ("seeds", path(&self.seeds)),
        ];
        let given = options.into_iter();
        Invocation::new(given.filter_map(|(name, value)| Some((name, value?))))
    }
}

/// How to show progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressStyle {
    /// Bars on a terminal, lines elsewhere
    Auto,
    /// One line for each thing that happens
    Plain,
    /// One JSON object for each thing that happens
    Json,
}

/// How a graph is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// For Graphviz
    Dot,
    /// A drawing, with stages as bands
    Svg,
    /// Nodes and edges
    Json,
}

/// What shells complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompletedNames {
    /// Packages, and their outputs other than `out`
    Packages,
    /// Packages alone
    PackagesWithoutOutputs,
    /// Seeds
    Seeds,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build everything, from the seed to the proof
    #[command(after_help = ALL_EXAMPLES)]
    All {
        /// Only say what would be downloaded, built and reused, and how long that took before
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Build packages and what they need
    #[command(after_help = BUILD_EXAMPLES)]
    Build(BuildArguments),
    /// Say why a package is built again: what has changed since its last build
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain {
        /// The package: NAME, stage0/NAME, or the derivation: /gnu/store/….drv
        #[arg(value_name = "PKG")]
        package: String,
    },
    /// Fetch sources and seed, and build nothing
    #[command(after_help = FETCH_EXAMPLES)]
    Fetch {
        /// Only say what would be downloaded
        #[arg(short = 'n', long)]
        dry_run: bool,
        /// The packages whose sources to fetch [default: everything]
        #[arg(value_name = "PKG")]
        packages: Vec<String>,
    },
    /// Compare what the store holds with the database, with a lock, or with other builds
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArguments),
    /// Write what is built, with its hashes, to a lock for others to compare with
    #[command(after_help = LOCK_EXAMPLES)]
    Lock {
        /// The lock; what it has of other seeds stays
        #[arg(value_name = "FILE", default_value = LOCK)]
        file: PathBuf,
    },
    /// List packages in build order, and whether they are built
    #[command(after_help = LIST_EXAMPLES)]
    List,
    /// Show a package: version, inputs, outputs, source, derivation
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// The package: NAME, or stage0/NAME
        #[arg(value_name = "PKG")]
        package: String,
    },
    /// Print the store path of each output, `out` first; fail where one is not valid
    #[command(after_help = PATH_EXAMPLES)]
    Path {
        /// The package: NAME, NAME:OUTPUT, or stage0/NAME
        #[arg(value_name = "PKG")]
        package: String,
    },
    /// Print the log of a package's last build
    #[command(after_help = LOG_EXAMPLES)]
    Log {
        /// The package: NAME, or stage0/NAME; or a derivation: FILE.drv
        #[arg(value_name = "PKG")]
        package: String,
        /// Print the bytes as they are to a terminal, too, which obeys escape sequences in them
        #[arg(long)]
        raw: bool,
    },
    /// Print the graph of derivations: as DOT for Graphviz, as SVG or as JSON
    #[command(after_help = GRAPH_EXAMPLES)]
    Graph {
        /// The packages, or derivations of the store, to show with what they need [default: everything]
        #[arg(value_name = "PKG")]
        packages: Vec<String>,
        /// Leave out sources, seeds and what they are made from
        #[arg(long)]
        packages_only: bool,
        /// Leave out edges that follow from others: where A needs B and B needs C, that A needs C
        #[arg(long)]
        reduce: bool,
        /// The language; --json is --format json
        #[arg(long, value_enum, default_value_t = GraphFormat::Dot, value_name = "FORMAT")]
        format: GraphFormat,
    },
    /// Write what happened as one HTML page: time line, packages, graph, sources
    #[command(after_help = REPORT_EXAMPLES)]
    Report {
        /// The file to write, `-` for standard output; replaced where it exists. With --json the data is printed
        /// instead
        #[arg(
            short,
            long,
            value_name = "FILE",
            default_value = "bootstrap-report.html"
        )]
        output: PathBuf,
    },
    /// Run a command in a sandbox with the final inputs and nothing else
    #[command(after_help = SHELL_EXAMPLES)]
    Shell {
        /// Packages to have in it beside the final inputs
        #[arg(value_name = "PKG")]
        packages: Vec<String>,
        /// Have the sandbox of PKG's build instead: its inputs and environment, and no more
        #[arg(long, value_name = "PKG", conflicts_with = "packages")]
        of: Option<String>,
        /// With --of: the build directory, such as one that --keep-failed has kept; it is written to [default: an empty
        /// one]
        #[arg(long, value_name = "DIR", requires = "of")]
        directory: Option<PathBuf>,
        /// Show the directory DIR at /mnt/NAME, NAME being its own; read-only, or with `:rw` writable for the build
        /// user. Can be given again
        #[arg(long, value_name = "DIR[:rw]")]
        mount: Vec<String>,
        /// The command; with --of, `run_phase PHASE...` runs phases of the build [default: an interactive bash]
        #[arg(last = true, value_name = "CMD")]
        command: Vec<String>,
    },
    /// Remove what no root keeps alive
    #[command(after_help = GC_EXAMPLES)]
    Gc {
        /// Only say what would be removed
        #[arg(short = 'n', long)]
        dry_run: bool,
        /// Stop after freeing SIZE: a number with K, M, G or T
        #[arg(short = 'F', long, value_name = "SIZE", value_parser = crate::show::progress::size::parse)]
        max_freed: Option<u64>,
        /// First forget the generations of roots before the newest N of each name
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        keep_generations: Option<u64>,
        /// Keep the derivations that live items were built from; `explain` reads them
        #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true, default_missing_value = "yes", default_value = "yes", value_parser = yes_or_no, action = clap::ArgAction::Set)]
        keep_derivations: bool,
        /// Keep the outputs of live derivations as well
        #[arg(long)]
        keep_outputs: bool,
    },
    /// List what keeps store items alive
    #[command(after_help = ROOTS_EXAMPLES)]
    Roots,
    /// The seeds and what they pin
    #[command(after_help = SEED_EXAMPLES)]
    #[command(subcommand)]
    Seed(SeedCommand),
    /// Write store items as `nix-store --import`, `guix archive --import` and `bootstrap import` read them
    #[command(after_help = EXPORT_EXAMPLES)]
    Export {
        /// The packages: NAME, NAME:OUTPUT, or stage0/NAME; or paths of items in the store, of whatever
        /// built them [default: what `all` builds]
        #[arg(value_name = "PKG")]
        packages: Vec<String>,
        /// Write the items alone, without what they refer to
        // `--nar` is what this was called: the file is a stream of exports, and not a NAR.
        #[arg(long, alias = "nar", conflicts_with = "closure")]
        alone: bool,
        /// Write the items with all they refer to; this is what happens anyway
        #[arg(long)]
        closure: bool,
        /// The file to write [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Sign with the key in FILE
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Write a Guile module for Guix instead: the implicit inputs as packages, called as the file. For FreeBSD,
        /// also guix/platforms/x86_64-freebsd.scm beside it
        #[arg(long, value_name = "FILE", conflicts_with_all = ["packages", "alone", "closure", "output", "key"])]
        guix: Option<PathBuf>,
    },
    /// Make the items of an export valid here, where their signatures are by a trusted key
    #[command(after_help = IMPORT_EXAMPLES)]
    Import {
        /// The file [default: standard input]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Also take what is not signed: the author of the file then decides what is in the store
        #[arg(long)]
        unsigned: bool,
    },
    /// Write a substitute server: files that any HTTP server can serve, for --substitute-urls here, Nix and Guix
    #[command(after_help = PUBLISH_EXAMPLES)]
    Publish {
        /// The directory to write; what is published there already stays
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// The packages, or paths of items in the store, with all they refer to [default: what `all`
        /// builds]
        #[arg(value_name = "PKG")]
        packages: Vec<String>,
        /// Sign with the key in FILE
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Make a key to sign with: the secret key in FILE, the public one in FILE.pub and printed
    #[command(after_help = KEY_EXAMPLES)]
    Key {
        /// The key's name, such as the host's name and a number
        #[arg(value_name = "NAME", required_unless_present = "guix")]
        name: Option<String>,
        /// The file to make
        #[arg(value_name = "FILE", required_unless_present = "guix")]
        file: Option<PathBuf>,
        /// Make no key: print the public one of FILE, which has it or the secret one, for `guix archive --authorize`
        #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "file"])]
        guix: Option<PathBuf>,
    },
    /// Serve Guix's clients, as guix-daemon does
    #[command(after_help = DAEMON_EXAMPLES)]
    Daemon(DaemonArguments),
    /// Show who is connected to the daemon, what it builds and how many job tokens that takes
    #[command(after_help = TOP_EXAMPLES)]
    Top,
    /// Check that this machine can build: system, privileges, disk, network, clock, kernel
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor {
        /// Instead check that a Guix client can build on the inputs: from its program to a lowered package, up to the
        /// first boundary that does not hold [default: `guix` on PATH]
        #[arg(long, value_name = "PROGRAM", num_args = 0..=1, require_equals = true, default_missing_value = "guix")]
        guix: Option<PathBuf>,
    },
    /// Show every setting, its value and where that is from
    #[command(after_help = CONFIG_EXAMPLES)]
    Config,
    /// Write the manual pages
    #[command(after_help = MAN_EXAMPLES)]
    Man {
        /// The directory to write them to; made where there is none
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Print names, one a line, for the scripts of `completions`
    #[command(hide = true)]
    Names {
        /// Which names
        #[arg(value_enum)]
        what: CompletedNames,
    },
    /// Print a script that completes the command line
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell it is for
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

pub(super) fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("expected `yes` or `no`".to_owned()),
    }
}
