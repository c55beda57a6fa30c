// SPDX-License-Identifier: GPL-3.0-or-later
//! What can be wrong between a Guix client and a build, each with what to do about it.

use std::io;

use crate::engine::error::EngineError;
use crate::exchange::daemon_connection::ConnectionError;
use crate::formats::derivation::InstantiateError;
use crate::formats::visible::visible_list;
use crate::store::StoreError;

/// How many names a message lists.
const LISTED: usize = 5;

/// What is wrong at a boundary.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum GuixFault {
    /// No such program.
    #[error("there is no program `{program}`")]
    #[diagnostic(help(
        "install Guix, or name its program: `bootstrap doctor --guix=/path/to/guix`"
    ))]
    NoProgram {
        /// The client's program.
        program: String,
    },
    /// A program that does not run.
    #[error("cannot run {program}: {error}")]
    #[diagnostic(help("name Guix's program: `bootstrap doctor --guix=/path/to/guix`"))]
    NotRun {
        /// The client's program.
        program: String,
        /// The system's error.
        error: io::Error,
    },
    /// A command of the client that fails.
    #[error("`{command}` failed ({ended}){}", shown_output(output))]
    #[diagnostic(help("run `{command}`: the client itself does not work"))]
    Failed {
        /// What was run.
        command: String,
        /// How it ended.
        ended: String,
        /// The end of what it printed.
        output: String,
    },
    /// A command of the client that takes too long.
    #[error("`{command}` did not end within {seconds} s{}", shown_output(output))]
    #[diagnostic(help("run it by hand to see what it waits for"))]
    Endless {
        /// What was run.
        command: String,
        /// How long it was waited for.
        seconds: u64,
        /// The end of what it printed.
        output: String,
    },
    /// An answer of the client that is not one.
    #[error("expected {expected} from `{command}`, saw `{seen}`")]
    #[diagnostic(help("name Guix's own program: `bootstrap doctor --guix=/path/to/guix`"))]
    Answer {
        /// What was run.
        command: String,
        /// What it should have printed.
        expected: &'static str,
        /// What it printed.
        seen: String,
    },
    /// A version that was not tried.
    #[error("Guix {seen}: only 1.4 and 1.5 are known to work")]
    #[diagnostic(help("if a check below fails, try Guix 1.5"))]
    Version {
        /// The client's version.
        seen: String,
    },
    /// Another store directory.
    #[error(
        "the client's store directory is {seen}, and this store's is {expected}: no store path is the same"
    )]
    #[diagnostic(help(
        "use a client for {expected} and unset NIX_STORE_DIR and NIX_STORE, or build a store for {seen} with --store-dir"
    ))]
    StoreDirectory {
        /// The client's.
        seen: String,
        /// Ours.
        expected: String,
    },
    /// A store that is elsewhere on disk than where the client reads it.
    #[error("the client reads {logical}, but the store is in {physical}")]
    #[diagnostic(help(
        "mount {physical} at {logical} for the client, in a mount namespace of its own"
    ))]
    Elsewhere {
        /// Where the client looks.
        logical: String,
        /// Where the store is.
        physical: String,
    },
    /// Another state directory.
    #[error(
        "the client's state directory is {seen}, and this store's is {expected}: roots and profiles in the one keep nothing alive in the other"
    )]
    #[diagnostic(help(
        "set GUIX_STATE_DIRECTORY={expected} for the client, or start the daemon with --state-dir {seen}"
    ))]
    StateDirectory {
        /// The client's.
        seen: String,
        /// Ours.
        expected: String,
    },
    /// Another system.
    #[error("the client builds for {seen}, and the inputs are for {expected}")]
    #[diagnostic(help("use a client of {expected}, or give --system {seen} and a seed of it"))]
    System {
        /// The client's.
        seen: String,
        /// Ours.
        expected: String,
    },
    /// A Guile that is too old.
    #[error("the client runs Guile {seen}: expected 3.0 or newer")]
    #[diagnostic(help("use a Guix that was built with Guile 3.0"))]
    Guile {
        /// Its version.
        seen: String,
    },
    /// No daemon that serves.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Connection(#[from] ConnectionError),
    /// A way to the daemon that cannot be asked from here.
    #[error("the client reaches the daemon by {socket}, which cannot be asked from here")]
    #[diagnostic(help("if a check below fails, run this on the daemon's machine"))]
    Remote {
        /// The URI.
        socket: String,
    },
    /// Another program's daemon.
    #[error("the daemon at {socket} is not this program's, or serves another store")]
    #[diagnostic(help(
        "stop it and start `bootstrap daemon`, or name the socket of that in GUIX_DAEMON_SOCKET"
    ))]
    NotOurs {
        /// The socket.
        socket: String,
    },
    /// What the client reports instead of an answer.
    #[error("{what}: {message}")]
    #[diagnostic(help("the message is from the Guix client: fix what it names"))]
    Client {
        /// What it was to do.
        what: &'static str,
        /// Its message.
        message: String,
    },
    /// A store path that is not one.
    #[error("expected a store path from the client, saw `{seen}`")]
    #[diagnostic(help(
        "the client and this program disagree on what a store path is: try Guix 1.5"
    ))]
    Path {
        /// What it gave.
        seen: String,
    },
    /// An item that the client added to another store.
    #[error(
        "the client added {path}, and it is not in this store: the daemon at {socket} serves another one"
    )]
    #[diagnostic(help(
        "name the socket of this store's `bootstrap daemon` in GUIX_DAEMON_SOCKET, or this store with --root, --state-dir and --store-dir"
    ))]
    OtherStore {
        /// The item.
        path: String,
        /// The socket.
        socket: String,
    },
    /// A derivation that cannot be read.
    #[error("cannot read the client's derivation {path}: {problem}")]
    #[diagnostic(help("the client writes another format than Guix 1.5's: try that"))]
    Derivation {
        /// The derivation.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// A derivation whose paths are computed differently.
    #[error("the client and this program compute different paths: {0}")]
    #[diagnostic(help("the client computes paths as another version of Guix does: try Guix 1.5"))]
    Paths(InstantiateError),
    /// An answer of the daemon that does not fit the store.
    #[error("the daemon's {what} of {path} is {seen}: expected {expected}")]
    #[diagnostic(help(
        "stop that daemon and start `bootstrap daemon`; `bootstrap verify` checks the store"
    ))]
    Daemon {
        /// What was asked.
        what: &'static str,
        /// Of which item.
        path: String,
        /// The answer.
        seen: String,
        /// What the store says.
        expected: String,
    },
    /// Inputs that are not built.
    #[error("not in the store: {}", visible_list(missing, LISTED))]
    #[diagnostic(help("run `bootstrap all`, then `bootstrap build guile`"))]
    Inputs {
        /// Their names.
        missing: Vec<String>,
    },
    /// Inputs whose derivations the client cannot read.
    #[error(
        "the derivations of {} are not in the store",
        visible_list(missing, LISTED)
    )]
    #[diagnostic(help("run `bootstrap export --guix FILE`, which adds them"))]
    Derivations {
        /// The packages.
        missing: Vec<String>,
    },
    /// A recipe that is missing.
    #[error("the recipes have no package `guile`, which runs Guix's builders")]
    #[diagnostic(help("leave out --recipes, or add the recipe"))]
    NoGuile,
    /// A build with another result.
    #[error("the build of a trivial derivation made {seen} instead of {expected}")]
    #[diagnostic(help("run `bootstrap doctor` to check that this machine can build"))]
    Built {
        /// What it made.
        seen: String,
        /// What it should have made.
        expected: String,
    },
    /// A build that failed.
    #[error("a trivial derivation was not built: {message}")]
    #[diagnostic(help(
        "run `bootstrap doctor` to check that this machine can build, and read the daemon's log"
    ))]
    NotBuilt {
        /// What the client reports.
        message: String,
    },
    /// A module that the client does not load or use.
    #[error(
        "the client cannot lower `hello` with the module of `bootstrap export --guix`: {message}"
    )]
    #[diagnostic(help(
        "write the module again with this program, for a store that the client reads at its own path"
    ))]
    Module {
        /// What the client reports.
        message: String,
    },
    /// Items of Guix's own bootstrap.
    #[error(
        "`hello` needs items of Guix's own bootstrap: {}",
        visible_list(items, LISTED)
    )]
    #[diagnostic(help("the module does not replace all that this client uses: try Guix 1.5"))]
    Foreign {
        /// The base names of derivations.
        items: Vec<String>,
    },
    /// Inputs that the client does not use.
    #[error("`hello` is lowered without {}", visible_list(unused, LISTED))]
    #[diagnostic(help("the module does not replace all that this client uses: try Guix 1.5"))]
    Unused {
        /// The packages.
        unused: Vec<String>,
    },
    /// Our side.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Engine(Box<EngineError>),
}

/// What a program printed, on lines of its own.
fn shown_output(output: &str) -> String {
    match output.is_empty() {
        true => String::new(),
        false => format!(":\n{output}"),
    }
}

impl From<EngineError> for GuixFault {
    fn from(error: EngineError) -> Self {
        Self::Engine(Box::new(error))
    }
}

impl From<StoreError> for GuixFault {
    fn from(error: StoreError) -> Self {
        EngineError::from(error).into()
    }
}
